"""Tianshou: the lanes play what `make_vec` plays, collectors take them, and what it trains is evaluated here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tianshou", reason="needs Tianshou: make test-integrations")

import torch
from pages import costs, run_page
from systems import FORMS, UNEQUAL, leaves_after
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, PettingZooEnv, VectorEnvNormObs
from tianshou.utils.net.common import Net, Recurrent
from tianshou.utils.net.continuous import ContinuousActorDeterministic, ContinuousActorProbabilistic

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, ConfigError, RunError
from powergrid.integrations.tianshou import as_policy, make

SHORT = {"episode_length": 3}
LEAVES = leaves_after(1800)


def drawn(env, steps, seed=0):
    shape = (steps, len(env), *env.lanes.action_space.shape)
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


def deterministic(env, body=Net, **kinds):
    spaces = env.lanes.observation_space, env.lanes.action_space
    net = body(state_shape=spaces[0].shape, **kinds)
    actor = ContinuousActorDeterministic(preprocess_net=net, action_shape=spaces[1].shape)
    return ContinuousDeterministicPolicy(actor=actor, action_space=spaces[1], observation_space=spaces[0])


@pytest.mark.parametrize("source", ["p2p_microgrids", "ieee13_single", UNEQUAL], ids=["three", "one", "unequal"])
def test_lanes_are_the_agents_of_make_vec(source):
    """Over two episodes and a half, bit for bit, with the resets of a collector."""
    env = make(source, 2, **FORMS, **SHORT)
    vector = powergrid.make_vec(source, 2, pad="all", autoreset="same_step", **FORMS, **SHORT)
    agents = vector.possible_agents
    env.seed(5)
    seen, (expected, _) = env.reset()[0], vector.reset(seed=5)
    assert len(env) == 2 * len(agents)
    assert env.get_env_attr("agent") == agents * 2
    assert env.action_space == [vector.single_action_space[agents[0]]] * len(env)
    for tick, actions in enumerate(drawn(env, 8), start=1):
        np.testing.assert_array_equal(seen, np.stack(list(expected.values()), 1).reshape(len(env), -1))
        seen, rewards, terminated, truncated, infos = env.step(torch.as_tensor(actions))
        rows = actions.reshape(2, len(agents), -1)
        expected, paid, _, _, their = vector.step({agent: rows[:, k] for k, agent in enumerate(agents)})
        np.testing.assert_array_equal(rewards, np.stack(list(paid.values()), 1).reshape(-1).astype(np.float32))
        assert truncated.all() == truncated.any() == (tick % 3 == 0)
        assert not terminated.any()
        assert [info["env_id"] for info in infos] == list(range(len(env)))
        if truncated.all():
            last = np.stack(list(their["final_obs"].values()), 1).reshape(len(env), -1)
            np.testing.assert_array_equal(seen, last)
            seen, _ = env.reset(np.flatnonzero(truncated))


def test_equal_to_the_librarys_own_of_single_environments():
    single = DummyVectorEnv([lambda: powergrid.make("ieee13_single", api="gymnasium", **SHORT)] * 2)
    env = make("ieee13_single", 2, api="gymnasium", **SHORT)
    env.seed(9), single.seed(9)
    own, theirs = env.reset()[0], single.reset(seed=None)[0]
    assert own.shape == theirs.shape
    single.workers[0].env.reset(seed=9), single.workers[1].env.reset(seed=10)
    for actions in drawn(env, 3):
        for mine, other in list(zip(env.step(actions), single.step(actions), strict=True))[:4]:
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


def test_seeds_and_options():
    env, other = (make("two_microgrids", 2, **SHORT) for _ in range(2))
    assert env.seed(7) == [[7], [7], [8], [8]]
    first = env.reset()[0]
    assert other.seed([8, 8, 9, 9]) == [[8], [8], [9], [9]]
    np.testing.assert_array_equal(first[2:], other.reset()[0][:2])
    assert not np.array_equal(first, env.reset()[0])  # a seed holds for one reset
    np.testing.assert_array_equal(first, env.reset(seed=7)[0])
    env.reset(options={"day": [40, 41]})
    assert env.batch.get_state().day.tolist() == [40, 41]
    with pytest.raises(ArgumentError, match=r"one for each of 4 lanes, equal within an environment"):
        env.seed([1, 2, 3, 4])


def test_a_lane_whose_agent_has_left_waits_for_the_others():
    env = make(LEAVES, 2, **SHORT)
    env.reset()
    ends = []
    for actions in drawn(env, 3):
        seen, paid, terminated, truncated, _ = env.step(actions)
        ends.append((terminated.tolist(), truncated.tolist()))
        done = np.flatnonzero(terminated | truncated)
        if len(done) == 2:
            assert not env.reset(done)[0].any()
    gone = [False, True, False, True]
    assert ends == [([False] * 4, [False] * 4), (gone, [False] * 4), ([False] * 4, [True] * 4)]
    assert not paid[1::2].any()
    assert not seen[1::2].any()
    assert np.all(env.reset(done)[0].any(-1))  # the next episode begins with both


def test_lanes_without_an_action_follow_the_rule():
    env, vector = make("two_microgrids", 2, **SHORT), powergrid.make_vec("two_microgrids", 2, pad="all", **SHORT)
    env.seed(3), env.reset(), vector.reset(seed=3)
    actions = drawn(env, 1)[0]
    rewards = env.step(actions[[0, 1, 3]], [0, 1, 3])[1]
    everyone = vector.policy_actions("rule_based")
    first, second = vector.possible_agents
    everyone[first][0], everyone[second][0], everyone[second][1] = actions[0], actions[1], actions[3]
    paid = vector.step(everyone)[1]
    np.testing.assert_array_equal(rewards, np.float32([paid[first][0], paid[second][0], paid[second][1]]))


def test_an_episode_that_physics_ends_is_no_time_out():
    fragile = {"base": "ieee13", "load_scale": 100.0}
    env = make("ieee13_single", 2, network=fragile, terminate_on_divergence=True)
    env.reset()
    _, _, terminated, truncated, _ = env.step(drawn(env, 1)[0])
    assert (terminated.all(), truncated.any()) == (True, False)


def test_a_collector_takes_episodes_and_steps():
    env = make("two_microgrids", 2, **SHORT)
    policy = deterministic(env)
    collector = Collector(policy, env, VectorReplayBuffer(40, 4))
    collector.reset()
    assert collector.collect(n_episode=6).n_collected_episodes == 6
    stats = collector.collect(n_step=20)
    assert stats.n_collected_steps == 20
    assert set(stats.lens) == {3}


@pytest.mark.parametrize("residual", [None, "rule_based"])
def test_a_policy_of_one_role_is_evaluated_as_it_acts(residual):
    env = make(UNEQUAL, 2, role="ess", residual=residual, **FORMS, **SHORT)
    scaled = VectorEnvNormObs(env)
    policy = deterministic(env)
    collector = Collector(policy, scaled, VectorReplayBuffer(40, 4))
    collector.collect(n_step=8, reset_before_collect=True)
    cfg = {**UNEQUAL, "simulation": SHORT}
    policies = [{"tianshou": as_policy(policy, scaled)}, "rule_based"]
    found, rule = powergrid.evaluate(cfg, policy=policies, days=[3], show=False).outcomes
    assert found.residual == residual
    follows = 0.0 if residual else rule.arrays["actions"][:, :, 1]
    np.testing.assert_array_equal(found.arrays["actions"][:, :, 1] - follows, 0.0)  # the generator follows the rule
    seen = env.batch._shapes.observation(np, found.arrays["obs"][:, 0])[:, env.lanes._columns].reshape(2, -1)
    with torch.no_grad():
        actions = policy.actor(scaled.get_obs_rms().norm(seen))[0].numpy()
    own = found.arrays["actions"][0, 0, [0, 2]]
    np.testing.assert_allclose(own[:, : actions.shape[1]], actions[:, : own.shape[1]], atol=1e-5)


def test_agents_in_turn_are_refused_where_tianshou_would_pay_them_nothing():
    """One agent is paid with its own turn; of several the last one alone."""
    env = PettingZooEnv(powergrid.make("ieee13_single", api="aec", **SHORT))
    rewards = [env.step(env.action_space.sample())[1][0] for _ in range(3)]
    assert all(rewards)
    with pytest.raises(ArgumentError, match=r"the policies of the others would learn from zeros.*tianshou\.make"):
        PettingZooEnv(powergrid.make("p2p_microgrids", api="aec", normalize=True, pad="all", **SHORT))


def test_recurrent_policies_begin_each_evaluation_anew():
    env = make("two_microgrids", 1, **FORMS, **SHORT)
    net = Recurrent(layer_num=1, state_shape=env.lanes.observation_space.shape, action_shape=8)
    actor = ContinuousActorProbabilistic(preprocess_net=net, action_shape=env.lanes.action_space.shape, unbounded=True)
    policy = ProbabilisticActorPolicy(
        actor=actor,
        dist_fn=lambda outputs: torch.distributions.Independent(torch.distributions.Normal(*outputs), 1),
        action_space=env.lanes.action_space,
    )
    one = as_policy(policy, env)
    played = [
        powergrid.evaluate(env.cfg, policy={"tianshou": each}, days=[3, 4], show=False)["tianshou"].trajectory_hash
        for each in (one, one, as_policy(policy, env))
    ]
    assert len(set(played)) == 1
    assert not policy.deterministic_eval  # as it was


def test_what_cannot_be_used_is_refused_with_a_sentence():
    with pytest.raises(ConfigError, match=r"one learning agent"):
        make("p2p_microgrids", 2, api="gymnasium")
    with pytest.raises(ConfigError, match=r'agents "ess_1" and "dg_1" have different spaces\n *pad="all" gives'):
        make(UNEQUAL, 2, pad=None)
    with pytest.raises(ConfigError, match=r'"same_step" is not available here'):
        make("two_microgrids", 2, autoreset="same_step")
    env = make(UNEQUAL, 2, **SHORT)
    env.reset()
    with pytest.raises(ActionError, match=r"actions have shape \(2, 1\), expected \(6, \d\): rows are lanes"):
        env.step(np.zeros((2, 1)))
    with pytest.raises(ArgumentError, match=r'"day" cannot be set'):
        env.set_env_attr("day", 3)
    policy = deterministic(env)
    with pytest.raises(ArgumentError, match=r"DummyVectorEnv; give what .*make returned"):
        as_policy(policy, DummyVectorEnv([lambda: powergrid.make("ieee13_single", api="gymnasium")]))
    with pytest.raises(ArgumentError, match=r"the policy has the action space .*arguments of the training"):
        as_policy(policy, make("p2p_microgrids", 1))
    with pytest.raises(RunError, match=r"evaluate the configuration that the environment of the policy was made of"):
        powergrid.evaluate("two_microgrids", policy={"tianshou": as_policy(policy, env)}, days=[3], show=False)


def test_the_page_in_short_begins_near_the_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cost = costs(run_page("tianshou.md", updates=("updates, steps = 60,", "updates, steps = 2,")))
    assert cost["tianshou"] < 1.05 * cost["rule_based"] < cost["random"]
    assert (tmp_path / "microgrids.pt").exists()
