"""RLlib: the batched runner gives the episodes of `make_vec`, and what it trains is evaluated here."""

from __future__ import annotations

import importlib
import os
import sys

import numpy as np
import pytest

pytest.importorskip("ray.rllib", reason="needs ray[rllib]: make test-integrations")

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
import torch
from pages import costs, run_page
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.pre_checks.env import check_multiagent_environments
from systems import UNEQUAL, leaves_after

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, ConfigError, MissingExtraError
from powergrid.integrations.rllib import as_policy, config, make
from powergrid.integrations.rllib_parts import RewardScale, VectorEnvRunner

SHORT = {"episode_length": 6}
LEAVES = leaves_after(2700)


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield
    ray.shutdown()


def runner_of(source, cls=VectorEnvRunner, **arguments) -> MultiAgentEnvRunner:
    made = config(source, **{"num_envs": 3, **SHORT, **arguments}).debugging(seed=5)
    return cls(config=made, worker_index=0)


def steps(episodes: list[MultiAgentEpisode], agent: str) -> list[tuple]:
    """What one agent sees, does, is paid and sees next, and how its episode has ended, step by step."""
    found = []
    for episode in episodes:
        own = episode.agent_episodes[agent]
        seen, last = own.get_observations(), [(False, False)] * (len(own) - 1)
        ends = [*last, (own.is_terminated, own.is_truncated)]
        found += zip(seen, own.get_actions(), own.get_rewards(), seen[1:], ends, strict=False)
    return found


@pytest.mark.parametrize("due_only", [False, True])
def test_one_environment_passes_the_librarys_examiner(due_only):
    check_multiagent_environments(make(UNEQUAL, due_only=due_only, **SHORT))


def test_dictionaries_are_new_and_the_end_is_a_time_out():
    env, parallel = make(UNEQUAL, **SHORT), powergrid.make(UNEQUAL, normalize=True, pad="role", **SHORT)
    seen, (expected, _) = env.reset(seed=3)[0], parallel.reset(seed=3)
    results = []
    for tick in range(1, 7):
        for agent, numbers in expected.items():
            np.testing.assert_array_equal(seen[agent], numbers)
        actions = {agent: np.full(env.action_spaces[agent].shape, 0.1 * tick) for agent in env.agents}
        results.append(env.step(actions))
        seen, paid, terminated, truncated, _ = results[-1]
        expected, theirs, *_ = parallel.step(actions)
        assert paid == theirs
        assert (terminated["__all__"], truncated["__all__"]) == (False, tick == 6)
    assert len({id(part) for result in results for part in result}) == 30
    with pytest.raises(ActionError):
        env.step(actions)


def test_an_agent_that_leaves_is_terminated_and_the_rest_time_out():
    env = make(LEAVES, **SHORT)
    env.reset(seed=0)
    ends = []
    while env.agents:
        _, _, terminated, truncated, _ = env.step({agent: np.zeros(1) for agent in env.agents})
        ends.append((terminated, truncated))
    assert ends[2] == (
        {"ess_1": False, "ess_2": True, "__all__": False},
        {"ess_1": False, "ess_2": False, "__all__": False},
    )
    assert ends[-1] == ({"ess_1": False, "__all__": False}, {"ess_1": True, "__all__": True})


def test_only_due_agents_appear():
    battery, *others = UNEQUAL["agents"]
    hourly = {**UNEQUAL, "agents": [{**battery, "interval": 3600}, *others]}
    env = make(hourly, due_only=True, gamma=0.9, episode_length=8)
    seen, _ = env.reset(seed=0)
    appear = [set(seen)]
    ticks = []
    while env.agents:
        seen, paid, _, _, infos = env.step({agent: np.zeros(env.action_spaces[agent].shape) for agent in seen})
        assert set(paid) == set(seen) == set(infos)
        appear.append(set(seen))
        ticks += [infos["ess_1"]["ticks"]] if "ess_1" in infos else []
    assert appear == [set(env.possible_agents) if tick % 4 == 0 else {"dg_1", "ess_2"} for tick in range(9)]
    assert ticks == [4, 4]
    made = config(hourly, due_only=True, gamma=0.9, num_envs=1, episode_length=8)
    episodes = MultiAgentEnvRunner(config=made, worker_index=0).sample(num_episodes=1)
    assert {agent: len(own) for agent, own in episodes[0].agent_episodes.items()} == {"ess_1": 2, "dg_1": 8, "ess_2": 8}


@pytest.mark.parametrize(
    ("share", "models"), [("role", {"ess", "dg"}), ("all", {"agents"}), ("none", {"ess_1", "dg_1", "ess_2"})]
)
def test_episodes_are_those_of_make_vec(share, models):
    """Over three episodes and a third in two samples: what was done, done again, gives the same, bit for bit."""
    runner = runner_of(UNEQUAL, share=share)
    assert set(runner.module.keys()) == models
    samples = [runner.sample(num_timesteps=30) for _ in range(2)]
    assert [len(sample) for sample in samples] == [6, 9]  # environment by environment, the last one unfinished
    by_env = [samples[0][2 * env : 2 * env + 2] + samples[1][3 * env : 3 * env + 3] for env in range(3)]
    for first, second, rest, third, fourth in by_env:
        assert second.id_ == rest.id_
        assert len({first.id_, second.id_, third.id_, fourth.id_}) == 4
        assert (second.env_t, rest.env_t_started, rest.env_t) == (4, 4, 6)
    form = {name: value for name, value in runner.config.env_config.items() if name in ("normalize", "pad", "agent_id")}
    vector = powergrid.make_vec(UNEQUAL, 3, **form, **SHORT)
    agents = vector.possible_agents
    sampled = {agent: [steps(episodes, agent) for episodes in by_env] for agent in agents}
    expected, _ = vector.reset(seed=5)
    for tick in range(20):
        now = {agent: [own[tick] for own in sampled[agent]] for agent in agents}
        last = tick % 6 == 5
        before = expected
        expected, paid, *_, infos = vector.step(
            {agent: np.clip([done for _, done, *_ in now[agent]], -1.0, 1.0) for agent in agents}
        )
        after = infos["final_obs"] if last else expected
        for agent in agents:
            for env, (seen, _, reward, following, ends) in enumerate(now[agent]):
                np.testing.assert_array_equal(seen, before[agent][env])
                np.testing.assert_array_equal(following, after[agent][env])
                assert reward == paid[agent][env]
                assert ends == (False, last)


def test_models_give_the_probabilities_that_are_learnt_from():
    runner = runner_of(UNEQUAL)
    (episode, *_) = runner.sample(num_timesteps=18)
    own, model = episode.agent_episodes["ess_2"], runner.module["ess"]
    given = model.forward_inference({Columns.OBS: torch.as_tensor(own.get_observations(slice(0, 6)))})
    found = own.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS)
    np.testing.assert_allclose(found, given[Columns.ACTION_DIST_INPUTS].numpy(), atol=1e-6)
    spread = np.exp(found[:, 1:])
    likely = -0.5 * ((own.get_actions() - found[:, :1]) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(own.get_extra_model_outputs(Columns.ACTION_LOGP), likely[:, 0], atol=1e-4)


def test_an_agent_that_leaves_has_a_shorter_episode_and_its_metrics_are_counted():
    runner = runner_of(LEAVES, num_envs=2)
    episodes = runner.sample(num_episodes=4)
    assert len(episodes) == 4
    for episode in episodes:
        assert {agent: len(own) for agent, own in episode.agent_episodes.items()} == {"ess_1": 6, "ess_2": 3}
    assert [steps(episodes, agent)[-1][-1] for agent in ("ess_1", "ess_2")] == [(False, True), (True, False)]
    metrics = runner.get_metrics()
    assert metrics["episode_len_mean"].peek() == 6
    assert metrics["num_env_steps_sampled"].peek() == 24
    assert metrics["num_agent_steps_sampled"]["ess_2"].peek() == 12
    total = np.mean([one.get_return() for one in episodes])
    assert metrics["episode_return_mean"].peek() == pytest.approx(total)


@pytest.mark.parametrize("critic", ["own", "central"])
def test_trains_saves_and_is_evaluated_as_it_acts_here(tmp_path, critic):
    """The policy of the algorithm is that of its checkpoint, and gives the actions that a runner plays unexplored."""
    made = config(UNEQUAL, critic=critic, num_envs=3, residual="rule_based", **SHORT).debugging(seed=1)
    algorithm = made.training(num_epochs=1).build_algo()
    before = algorithm.get_module("ess").get_state()["actor.0.weight"].copy()
    for _ in range(2):
        result = algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 36
    assert np.isfinite(result["learners"]["ess"]["total_loss"])
    assert not np.array_equal(before, algorithm.get_module("ess").get_state()["actor.0.weight"])
    algorithm.save_to_path(tmp_path / "run")
    cfg = made.env_config["cfg"]
    policies = [{"now": as_policy(algorithm)}, {"saved": as_policy(tmp_path / "run")}, "rule_based"]
    now, saved, rule = powergrid.evaluate(cfg, policy=policies, days=[3, 4], show=False).outcomes
    assert now.residual == "rule_based"
    assert now.trajectory_hash == saved.trajectory_hash != rule.trajectory_hash
    env = powergrid.make_vec(cfg, 2, normalize=True, pad="role", agent_id=True)
    shown = env._shapes.observation(np, now.arrays["obs"][:, 0])
    actions = np.zeros((2, 3, env._shapes.action_width))
    for row, (agent, own) in enumerate(env.observation_slices.items()):
        mean = algorithm.get_module(agent.split("_")[0]).actor(torch.as_tensor(shown[:, own])).detach().numpy()
        actions[:, row, : mean.shape[1]] = mean
    np.testing.assert_allclose(now.arrays["actions"][:, 0], env._shapes.actions(np, actions), atol=1e-6)
    algorithm.stop()


@pytest.mark.slow
def test_remote_runners_draw_other_episodes():
    made = config("two_microgrids", num_envs=2, **SHORT).debugging(seed=1)
    algorithm = made.env_runners(num_env_runners=2).training(num_epochs=1).build_algo()
    seeds = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.sample(num_episodes=2) and runner.env.np_random_seed, local_env_runner=False
    )
    assert sorted(sum(seeds, ())) == [3, 4, 5, 6]
    assert algorithm.train()["env_runners"]["num_env_steps_sampled"] == 24 + 12  # the samples above, and a batch
    algorithm.stop()


def test_rewards_are_scaled_by_what_an_episode_pays():
    episodes = runner_of(UNEQUAL).sample(num_timesteps=18)
    scale, batch = RewardScale(gamma=0.5), {}
    scale(rl_module=None, batch=batch, episodes=episodes)
    sums = []
    for episode in episodes:
        for agent in ("ess_1", "ess_2"):
            total = 0.0
            for reward in episode.agent_episodes[agent].get_rewards():
                total = 0.5 * total + reward
                sums.append(total)
    own = episodes[0].agent_episodes["ess_1"]
    (scaled,) = batch[Columns.REWARDS][episodes[0].id_, "ess_1", "ess"]
    np.testing.assert_allclose(scaled, own.get_rewards() / np.std(sums), rtol=1e-5)


def test_what_cannot_be_used_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"'rol' is not available\n *did you mean \"role\""):
        config(UNEQUAL, share="rol")
    with pytest.raises(ConfigError, match=r"'shared' is not available\n *one of own, central"):
        config(UNEQUAL, critic="shared")
    with pytest.raises(ConfigError, match=r'agents "ess_1" and "dg_1" have different spaces\n *leave out pad'):
        config(UNEQUAL, share="all", pad="role")
    with pytest.raises(ConfigError, match=r"no agent learns"):
        config({**UNEQUAL, "agents": [{**agent, "policy": "rule_based"} for agent in UNEQUAL["agents"]]})
    for source in ("ieee13_single", "p2p_microgrids"):
        with pytest.raises(ConfigError, match=r'powergrid.make\(cfg, api="gymnasium"\) is an environment that RLlib'):
            make(source, api="gymnasium")
        with pytest.raises(ConfigError, match=r"'gymnasium' is not available here"):
            config(source, api="gymnasium")
    made = config(UNEQUAL).env_runners(env_to_module_connector=lambda env, spaces, device: [])
    with pytest.raises(ConfigError, match=r"environments that step together have no connectors"):
        VectorEnvRunner(config=made, worker_index=0)
    with pytest.raises(ArgumentError, match=r"is no checkpoint of an algorithm; give the folder"):
        as_policy(tmp_path)
    other = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0).build_algo()
    with pytest.raises(ArgumentError, match=r"the algorithm trains CartPole-v1; give one of .*config"):
        as_policy(other)


def test_commands_are_learnt_from_nothing():
    """On test days the policy lies far below what random actions cost, and what it began with."""
    hourly = {"time_step": 3600, "episode_length": 24}
    made = config("p2p_microgrids", num_envs=64, **hourly).debugging(seed=1)
    algorithm = made.build_algo()

    def cost(policy) -> float:
        return (
            powergrid.evaluate(made.env_config["cfg"], policy=policy, days="test", show=False)
            .outcomes[0]
            .objective.mean()
        )

    first = cost({"rllib": as_policy(algorithm)})
    for _ in range(15):
        algorithm.train()
    learnt, rule, random = (cost(policy) for policy in ({"rllib": as_policy(algorithm)}, "rule_based", "random"))
    assert learnt < 0.95 * first
    assert learnt < 0.5 * (rule + random)
    algorithm.stop()


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "powergrid.integrations.rllib")
    monkeypatch.setitem(sys.modules, "ray.rllib.algorithms.algorithm", None)
    with pytest.raises(MissingExtraError, match=r"powergrid-marl\[rllib\]"):
        importlib.import_module("powergrid.integrations.rllib")


@pytest.mark.slow
def test_the_page_in_short(tmp_path, monkeypatch):
    """With six updates in place of a hundred: models that correct the rule stay near it."""
    monkeypatch.chdir(tmp_path)
    ray.shutdown()  # the page starts it
    cost = costs(run_page("rllib.md", updates=("range(100)", "range(6)")))
    assert cost["rllib"] < 1.02 * cost["rule_based"] < cost["random"]
    assert (tmp_path / "microgrids").is_dir()
