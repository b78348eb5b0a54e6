"""BenchMARL: its tasks are our environments of TorchRL, and what it trains is evaluated here."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("benchmarl", reason="needs BenchMARL: make test-integrations")

import torch
from benchmarl.algorithms import IqlConfig, MaddpgConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models import GruConfig, MlpConfig
from pages import costs, run_page
from systems import UNEQUAL, leaves_after
from torchrl.envs.utils import ExplorationType, check_env_specs, set_exploration_type

import powergrid
from powergrid.config.sources import preset_names
from powergrid.core.errors import ArgumentError, ConfigError
from powergrid.integrations import torchrl
from powergrid.integrations.benchmarl import PowerGridTask, as_policy, make

SHORT = {"episode_length": 6}
LEAVES = leaves_after(1800)


def experiment(task, algorithm, folder, model=MlpConfig):
    config = ExperimentConfig.get_from_yaml()
    config.loggers, config.create_json, config.render, config.save_folder = [], False, False, str(folder)
    config.max_n_iters, config.max_n_frames, config.evaluation_interval, config.evaluation_episodes = 1, None, 24, 2
    config.off_policy_n_envs_per_worker, config.off_policy_collected_frames_per_batch = 4, 24
    config.off_policy_n_optimizer_steps, config.off_policy_train_batch_size = 2, 8
    return Experiment(
        task=task,
        algorithm_config=algorithm.get_from_yaml(),
        model_config=model.get_from_yaml(),
        seed=3,
        config=config,
    )


@pytest.mark.parametrize("source", ["voltage_control_13", UNEQUAL, LEAVES], ids=["roles", "mapping", "leaves"])
def test_tasks_are_the_environments_of_torchrl(source):
    task = make(source, **SHORT)
    assert task.name == (source if isinstance(source, str) else "powergrid")
    env = task.get_env_fun(2, continuous_actions=True, seed=5, device="cpu")()
    check_env_specs(env)
    env.set_seed(5)
    other = torchrl.make(source, 2, **SHORT)
    other.set_seed(5)
    first, expected = env.reset(), other.reset()
    assert task.group_map(env) == other.group_map
    assert task.max_steps(env) == 6
    np.testing.assert_array_equal(first["state"], expected["state"])
    specs = task.observation_spec(env)
    assert set(specs.keys(include_nested=True, leaves_only=True)) == {(role, "observation") for role in env.group_map}
    assert task.state_spec(env)["state"].shape == first["state"].shape[1:]
    (scale,) = task.get_env_transforms(env)
    assert len(scale.in_keys) == len(env.group_map)


def test_each_preset_is_a_task():
    assert {task.name.lower() for task in PowerGridTask} == set(preset_names())
    task = PowerGridTask.TWO_MICROGRIDS.get_task({**SHORT, "reward_scale": 0.1})
    assert task == make("two_microgrids", reward_scale=0.1, **SHORT)
    again = pickle.loads(pickle.dumps(task))  # as an experiment that is saved
    assert again == task
    assert again.cfg.config.simulation.episode_length == 6
    assert pickle.loads(pickle.dumps(PowerGridTask.TWO_MICROGRIDS)) is PowerGridTask.TWO_MICROGRIDS


@pytest.mark.parametrize("source", [UNEQUAL, LEAVES], ids=["roles", "leaves"])
def test_an_off_policy_experiment_is_evaluated_as_it_acts(source, tmp_path):
    """Its actions in an evaluation are those that its networks take, for agents of two roles and where one leaves."""
    trained = experiment(make(source, reward_scale=0.1, **SHORT), MaddpgConfig, tmp_path)
    trained.run()
    policy = as_policy(trained)
    cfg = {**source, "simulation": SHORT}
    found = powergrid.evaluate(cfg, policy={"benchmarl": policy}, days=[3, 4], show=False)["benchmarl"]
    base = torchrl.base_of(trained.test_env)
    shown = base.env._shapes.observation(np, found.arrays["obs"][:, 0])
    for role, agents in base.group_map.items():
        seen = {"observation": torch.as_tensor(shown[:, base._columns[role]])}
        with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
            acted = trained.group_policies[role](
                torchrl.TensorDict({role: torchrl.TensorDict(seen, (2, len(agents)))}, (2,))
            )
        for row, agent in enumerate(agents):
            k = base.env.possible_agents.index(agent)
            own = found.arrays["actions"][:, 0, k]
            expected = acted[role, "action"][:, row, : own.shape[-1]].numpy()
            np.testing.assert_allclose(own[:, : expected.shape[-1]], expected, atol=1e-6)


def test_what_cannot_be_used_is_refused_with_a_sentence(tmp_path):
    other = {"id": "ess_3", "type": "ESS", "bus": "890", "params": {"capacity_mwh": 0.5, "sn_mva": 1.0}}
    with pytest.raises(ConfigError, match="different spaces"):
        make({**UNEQUAL, "agents": [*UNEQUAL["agents"], other]}, pad=None)
    with pytest.raises(ConfigError, match="p2p_microgrids"):
        make("p2p_microgrid")
    with pytest.raises(ValueError, match="not compatible with the action space"):
        experiment(make("two_microgrids", **SHORT), IqlConfig, tmp_path)
    recurrent = experiment(make("two_microgrids", **SHORT), MaddpgConfig, tmp_path, GruConfig)
    with pytest.raises(ArgumentError, match="recurrent"):
        as_policy(recurrent)
    with pytest.raises(ArgumentError, match=r"env is .*; give what .*torchrl.make returned"):
        torchrl.as_policy(None, recurrent)


def test_the_page_trains_a_policy_that_is_better_than_random(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cost = costs(run_page("benchmarl.md"))
    assert cost["benchmarl"] < cost["random"]
