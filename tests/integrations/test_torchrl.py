"""TorchRL: the environment passes the library's check, plays what `make_vec` plays, and its losses learn on it."""

import importlib
import sys

import numpy as np
import pytest

pytest.importorskip("torchrl", reason='needs pip install "powergrid-marl[torchrl]"')

import torch
from pages import run_page
from systems import leaves_after
from torchrl.envs.utils import check_env_specs

import powergrid
from powergrid.core.errors import ConfigError, MissingExtraError
from powergrid.integrations import torchrl

SHORT = {"time_step": 3600, "episode_length": 3}
LEAVES = leaves_after(3600)


@pytest.mark.parametrize("cfg", ["p2p_microgrids", "voltage_control_13", "ieee13_single", LEAVES])
def test_passes_the_check_of_the_library(cfg):
    check_env_specs(torchrl.make(cfg, 2, **SHORT))


def test_plays_what_the_vector_environment_plays():
    env = torchrl.make("voltage_control_13", 2, **SHORT)
    plain = powergrid.make_vec("voltage_control_13", 2, normalize=True, pad="role", autoreset="next_step", **SHORT)
    env.set_seed(5)
    played = env.rollout(3)
    observations, _ = plain.reset(seed=5)
    for tick in range(3):
        actions = {}
        for role, agents in env.group_map.items():
            for row, agent in enumerate(agents):
                np.testing.assert_array_equal(played[role, "observation"][:, tick, row], observations[agent])
                actions[agent] = played[role, "action"][:, tick, row].numpy()
        np.testing.assert_array_equal(played["state"][:, tick], plain.state())
        observations, rewards, _, truncated, _ = plain.step(actions)
        for role, agents in env.group_map.items():
            for row, agent in enumerate(agents):
                paid = played["next", role, "reward"][:, tick, row, 0]
                np.testing.assert_array_equal(paid, rewards[agent].astype(np.float32))
        np.testing.assert_array_equal(played["next", "truncated"][:, tick, 0], truncated)
    for role, agents in env.group_map.items():
        for row, agent in enumerate(agents):
            np.testing.assert_array_equal(played["next", role, "observation"][:, 2, row], observations[agent])


def test_episodes_follow_each_other():
    env = torchrl.make("p2p_microgrids", 2, **SHORT)
    env.set_seed(5)
    played = env.rollout(7, break_when_any_done=False)
    assert played["next", "done"][:, :, 0].tolist() == [[False, False, True, False, False, True, False]] * 2
    plain = powergrid.make_vec("p2p_microgrids", 2, normalize=True, pad="role", **SHORT)
    plain.reset(seed=5)
    second, _ = plain.reset()
    seen = played["microgrid", "observation"]
    for row, agent in enumerate(env.group_map["microgrid"]):
        np.testing.assert_array_equal(seen[:, 3, row], second[agent])
    assert (played["next", "microgrid", "observation"][:, 2] != seen[:, 3]).any()


def test_only_chosen_environments_begin():
    env = torchrl.make("p2p_microgrids", 2, **SHORT)
    before = env.rollout(1)["next"][:, 0]
    after = env.reset(before.clone().set("_reset", torch.tensor([[True], [False]])))
    same = (after["state"] == before["state"]).all(-1)
    assert same.tolist() == [False, True]


def test_equal_seeds_play_the_same():
    env = torchrl.make("p2p_microgrids", 2, **SHORT)
    starts = []
    for seed in (1, 1, 2):
        env.set_seed(seed)
        starts.append(env.reset()["state"])
    assert (starts[0] == starts[1]).all()
    assert (starts[0] != starts[2]).any()


def test_agents_that_leave_are_masked():
    env = torchrl.make(LEAVES, 2, **SHORT)
    played = env.rollout(3)
    assert played["next", "ess", "mask"][0].tolist() == [[True, False]] * 3
    assert not played["next", "ess", "observation"][:, :, 1].any()
    assert not played["next", "ess", "reward"][:, 1:, 1].any()


def test_roles_need_equal_spaces():
    agents = [
        {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "learned", "params": {"capacity_mwh": 1.0}},
        {
            "id": "ess_2",
            "type": "ESS",
            "bus": "675",
            "policy": "learned",
            "params": {"capacity_mwh": 1.0, "sn_mva": 1.0},
        },
    ]
    with pytest.raises(ConfigError, match="different spaces"):
        torchrl.make({"network": "ieee13", "agents": agents}, 2, pad=None, **SHORT)


def test_names_the_extra(monkeypatch):
    for name in [*sys.modules]:
        if name.partition(".")[0] == "torchrl" or name == "powergrid.integrations.torchrl":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchrl", None)
    with pytest.raises(MissingExtraError, match=r"powergrid-marl\[torchrl\]"):
        importlib.import_module("powergrid.integrations.torchrl")


def test_the_page_learns():
    page = run_page("torchrl.md")
    assert page["trained"] > page["random"] + 0.1 * abs(page["random"])
    policies = [{"torchrl": torchrl.as_policy(page["actor"], page["env"])}, "random"]
    found = powergrid.evaluate(page["base"].cfg, policy=policies, days=[3, 4], show=False)
    assert found["torchrl"].objective.mean() < found["random"].objective.mean()
