"""Stable-Baselines3: lanes are the agents of `make_vec`, step by step, and what it trains is evaluated here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="needs stable-baselines3: make test-integrations")
pytest.importorskip("sb3_contrib", reason="needs sb3-contrib: make test-integrations")

from pages import costs, run_page
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize
from systems import FORMS, UNEQUAL, leaves_after

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, ConfigError, RunError
from powergrid.integrations.stable_baselines3 import PowerGridVecEnv, as_policy, make

SHORT = {"episode_length": 6}
LEAVES = leaves_after(2700)


def drawn(env: PowerGridVecEnv, steps: int, seed: int = 0) -> np.ndarray:
    shape = (steps, env.num_envs, *env.action_space.shape)
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


def by_agent(env: PowerGridVecEnv, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of lanes as the vector environment has them, ``{agent: (num_envs, ...)}``."""
    parts = rows.reshape(env.env.num_envs, len(env.agents), *rows.shape[1:])
    return {agent: parts[:, row] for row, agent in enumerate(env.agents)}


@pytest.mark.parametrize("source", ["p2p_microgrids", "ieee13_single", UNEQUAL], ids=["three", "one", "unequal"])
def test_lanes_are_the_agents_of_make_vec(source):
    """Over two episodes and a half, bit for bit."""
    env = make(source, 3, **FORMS, **SHORT)
    vector = powergrid.make_vec(source, 3, pad="all", **FORMS, **SHORT)
    env.seed(5)
    seen, (expected, _) = by_agent(env, env.reset()), vector.reset(seed=5)
    assert env.num_envs == 3 * len(vector.possible_agents)
    assert env.get_attr("agent") == vector.possible_agents * 3
    assert env.observation_space == vector.single_observation_space[vector.possible_agents[0]]
    for tick, actions in enumerate(drawn(env, 15), start=1):
        for agent, rows in expected.items():
            np.testing.assert_array_equal(seen[agent], rows)
        observations, rewards, dones, infos = env.step(actions)
        expected, reward, terminated, truncated, their = vector.step(by_agent(env, actions))
        seen = by_agent(env, observations)
        for agent, paid in by_agent(env, rewards).items():
            np.testing.assert_array_equal(paid, reward[agent].astype(np.float32))
        assert dones.all() == dones.any() == truncated.all() == (tick % 6 == 0)
        assert not terminated.any()
        assert len({id(info) for info in infos}) == env.num_envs  # wrappers write into them
        for lane, info in enumerate(infos):
            assert set(info) == ({"terminal_observation", "TimeLimit.truncated"} if dones[lane] else set())
            if dones[lane]:
                agent = env.get_attr("agent", lane)[0]
                last = their["final_obs"][agent][lane // len(env.agents)]
                np.testing.assert_array_equal(info["terminal_observation"], last)
                assert info["TimeLimit.truncated"] is True


def test_equal_to_the_librarys_own_of_single_environments():
    single = DummyVecEnv([lambda: powergrid.make("ieee13_single", api="gymnasium", normalize=True, **SHORT)] * 3)
    env = make("ieee13_single", 3, api="gymnasium", normalize=True, **SHORT)
    assert env.observation_space.shape == single.observation_space.shape
    env.seed(9), single.seed(9)
    np.testing.assert_allclose(env.reset(), single.reset(), rtol=1e-5, atol=1e-5)
    for actions in drawn(env, 13):
        (seen, paid, over, infos), (their_seen, their_paid, their_over, their_infos) = (
            one.step(actions) for one in (env, single)
        )
        np.testing.assert_allclose(seen, their_seen, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(paid, their_paid, rtol=1e-5, atol=1e-5)
        assert paid.dtype == their_paid.dtype
        np.testing.assert_array_equal(over, their_over)
        for info, other in zip(infos, their_infos, strict=True):
            assert info.get("TimeLimit.truncated", False) == other["TimeLimit.truncated"]


def test_single_environments_pass_the_librarys_examiner():
    check_env(powergrid.make("ieee13_single", api="gymnasium", normalize=True, **SHORT), warn=True)


def test_seeds_and_options():
    env, other = (make("two_microgrids", 2, **SHORT) for _ in range(2))
    assert env.seed(7) == [7, 7, 8, 8]
    first = env.reset()
    other.seed(8)
    np.testing.assert_array_equal(first[2:], other.reset()[:2])  # environment 1 with seed 7 is environment 0 with 8
    assert not np.array_equal(first, env.reset())  # the next episode: a seed holds for one reset
    env.seed(7)
    np.testing.assert_array_equal(first, env.reset())
    env.set_options({"day": [40, 41]})
    env.reset()
    assert env.env.get_state().day.tolist() == [40, 41]
    env.reset()
    assert env.env.get_state().day.tolist() != [40, 41]
    assert len(set(make("two_microgrids", 2).seed())) == 2


def test_models_with_equal_seeds_are_equal():
    def weights(seed: int) -> np.ndarray:
        env = make("two_microgrids", 4, **FORMS, **SHORT)
        model = PPO("MlpPolicy", env, n_steps=6, batch_size=48, n_epochs=1, seed=seed, device="cpu")
        model.learn(2 * 48)
        return model.policy.action_net.weight.detach().numpy()

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_an_episode_that_physics_ends_is_no_time_out():
    fragile = {"base": "ieee13", "load_scale": 100.0}
    env = make("ieee13_single", 2, network=fragile, terminate_on_divergence=True)
    env.reset()
    *_, dones, infos = env.step(drawn(env, 1)[0])
    assert dones.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [False, False]


def test_an_agent_that_leaves_ends_its_lane():
    env = make(LEAVES, 2, **SHORT)
    env.seed(0), env.reset()
    ends, paid, seen = [], [], []
    for actions in drawn(env, 6):
        observations, rewards, _, infos = env.step(actions)
        ends.append([info.get("TimeLimit.truncated") for info in infos])
        paid.append(rewards)
        seen.append(observations)
    gone, out = [None, False] * 2, [True] * 4
    assert ends == [[None] * 4] * 2 + [gone] + [[None] * 4] * 2 + [out]
    assert not np.any(np.array(paid)[3:, 1::2])
    assert not np.any(np.array(seen)[2:5, 1::2])
    assert np.all(np.any(np.array(seen)[5], axis=-1))  # the next episode has begun with both


@pytest.mark.parametrize("residual", [None, "rule_based"])
def test_agents_of_one_role_learn_while_others_follow_the_rule(residual):
    env = make(UNEQUAL, 2, role="ess", residual=residual, **SHORT)
    vector = powergrid.make_vec(UNEQUAL, 2, pad="role", residual=residual, **SHORT)
    assert (env.agents, env.lanes.others) == (["ess_1", "ess_2"], ["dg_1"])
    env.seed(3), env.reset(), vector.reset(seed=3)
    for actions in drawn(env, 8):
        _, rewards, *_ = env.step(actions)
        everyone = vector.policy_actions("rule_based") | by_agent(env, actions)
        expected = vector.step(everyone)[1]
        for agent, paid in by_agent(env, rewards).items():
            np.testing.assert_array_equal(paid, expected[agent].astype(np.float32))


def test_attributes_methods_and_infos_by_lane():
    env = make("two_microgrids", 2, infos="flat", **SHORT)
    env.reset()
    rule, states = env.env.policy_actions("rule_based"), env.env.state()
    of_lanes = env.env_method("policy_actions", "rule_based", indices=[1, 2])
    np.testing.assert_array_equal(of_lanes[0], rule[env.agents[1]][0])
    np.testing.assert_array_equal(of_lanes[1], rule[env.agents[0]][1])
    np.testing.assert_array_equal(env.env_method("state")[3], states[1])
    assert env.get_attr("possible_agents", 0) == [env.agents]
    assert not env.has_attr("nothing")
    assert env.env_is_wrapped(Monitor) == [False] * 4
    with pytest.raises(ArgumentError, match=r'"day" cannot be set: make another environment'):
        env.set_attr("day", 3)
    *_, infos = env.step(drawn(env, 1)[0])
    assert infos[0]["money"].shape == (len(env.env.money_names),)
    assert all(info["converged"] and info["cost"] >= 0.0 for info in infos)
    env.close()


def test_wrappers_off_policy_and_recurrent_models():
    """Few steps each; a recurrent model is evaluated alone and after another one alike."""
    env = VecNormalize(VecFrameStack(VecMonitor(make("two_microgrids", 2, **FORMS, **SHORT)), 2))
    SAC("MlpPolicy", env, learning_starts=20, batch_size=8, seed=0, device="cpu").learn(40)
    with pytest.raises(ArgumentError, match=r"wrappers make observations of shape .* use VecMonitor and VecNormalize"):
        as_policy(None, env)
    scaled = VecNormalize(make("two_microgrids", 2, agent_id=True, **SHORT), norm_obs=True)
    model = RecurrentPPO("MlpLstmPolicy", scaled, n_steps=6, batch_size=12, n_epochs=1, seed=0, device="cpu")
    model.learn(48)
    assert np.isfinite(evaluate_policy(model, scaled, n_eval_episodes=2, warn=False)).all()
    policy = as_policy(model, scaled)
    played = [
        powergrid.evaluate(scaled.cfg, policy={"sb3": one}, days=[3, 4], show=False)["sb3"].trajectory_hash
        for one in (policy, policy, as_policy(model, scaled))
    ]
    assert len(set(played)) == 1


def test_a_saved_model_is_evaluated_as_it_acts_here(tmp_path):
    """Its actions in an evaluation are those that it takes on the lanes, and correct the rule as they do there."""
    arguments = {"residual": "rule_based", **FORMS, **SHORT}
    env = make(UNEQUAL, 2, **arguments)
    model = PPO("MlpPolicy", env, n_steps=6, batch_size=36, seed=0, device="cpu")
    model.learn(36)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    cfg = {**UNEQUAL, "simulation": SHORT}
    found = powergrid.evaluate(cfg, policy={"sb3": as_policy(loaded, env)}, days=[3, 4], show=False)["sb3"]
    assert found.residual == "rule_based"
    shapes = env.env._shapes
    shown = shapes.observation(np, found.arrays["obs"][:, 0]).reshape(6, -1)
    actions = loaded.predict(shown, deterministic=True)[0].reshape(2, 3, -1)
    np.testing.assert_allclose(found.arrays["actions"][:, 0], shapes.actions(np, actions), atol=1e-6)


def test_what_cannot_be_used_is_refused_with_a_sentence():
    with pytest.raises(ConfigError, match=r"one learning agent"):
        make("p2p_microgrids", 2, api="gymnasium")
    with pytest.raises(ConfigError, match=r'agents "ess_1" and "dg_1" have different spaces\n *pad="all" gives'):
        make(UNEQUAL, 2, pad=None)
    with pytest.raises(ConfigError, match=r'there is no role "es"\n *did you mean "ess"'):
        make(UNEQUAL, 2, role="es")
    with pytest.raises(ConfigError, match=r'"next_step" is not available here'):
        make("two_microgrids", 2, autoreset="next_step")
    rule = [{**agent, "policy": "rule_based"} for agent in UNEQUAL["agents"]]
    with pytest.raises(ConfigError, match=r"no agent learns"):
        make({**UNEQUAL, "agents": rule}, 2)
    env = make(UNEQUAL, 2, **SHORT)
    env.reset()
    with pytest.raises(ActionError, match=r"actions have shape \(2, 1\), expected \(6, \d\): rows are lanes"):
        env.step(np.zeros((2, 1)))
    bad = np.zeros((6, *env.action_space.shape))
    bad[4] = np.nan
    with pytest.raises(ActionError, match=r'agent "dg_1" in environment 1 is not finite'):
        env.step(bad)
    with pytest.raises(ArgumentError, match=r"options are one mapping for all environments.*2 days"):
        env.set_options([{"day": 3}] * 6)


def test_a_model_of_another_form_is_refused_and_one_of_a_role_is_played():
    env = make(UNEQUAL, 2, **FORMS, **SHORT)
    model = PPO("MlpPolicy", env, n_steps=6, batch_size=36, device="cpu")
    single = DummyVecEnv([lambda: powergrid.make("ieee13_single", api="gymnasium")])
    with pytest.raises(ArgumentError, match=r"DummyVecEnv; give what .*make returned"):
        as_policy(model, single)
    with pytest.raises(ArgumentError, match=r"shape \(\d+,\) with other bounds.*arguments of the training"):
        as_policy(model, make(UNEQUAL, 2, agent_id=True, **SHORT))
    with pytest.raises(RunError, match=r"evaluate the configuration that the environment of the policy was made of"):
        powergrid.evaluate("two_microgrids", policy={"sb3": as_policy(model, env)}, days=[3], show=False)
    batteries = make(UNEQUAL, 2, role="ess", **SHORT)
    model = PPO("MlpPolicy", batteries, n_steps=6, batch_size=24, device="cpu")
    corrects = make(UNEQUAL, 2, role="ess", residual="rule_based", **SHORT)
    cfg = {**UNEQUAL, "simulation": SHORT}
    policies = [{"sb3": as_policy(model, batteries)}, {"corrects": as_policy(model, corrects)}, "rule_based"]
    learnt, found, rule = powergrid.evaluate(cfg, policy=policies, days=[3], show=False).outcomes
    np.testing.assert_array_equal(learnt.arrays["actions"][:, :, 1], rule.arrays["actions"][:, :, 1])
    assert np.any(learnt.arrays["actions"][:, :, 1])
    assert not np.array_equal(learnt.arrays["actions"][:, :, 0], rule.arrays["actions"][:, :, 0])
    assert not np.any(found.arrays["actions"][:, :, 1])  # the generator follows the rule


def test_the_page_in_short_begins_near_the_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cost = costs(run_page("stable-baselines3.md", updates=("updates = 60", "updates = 2")))
    assert cost["sb3"] < 1.05 * cost["rule_based"] < cost["random"]
    assert (tmp_path / "microgrids.zip").exists()


@pytest.mark.slow
def test_the_page_trains_a_policy_that_costs_no_more_than_the_rule(tmp_path, monkeypatch):
    """About a minute."""
    monkeypatch.chdir(tmp_path)
    cost = costs(run_page("stable-baselines3.md"))
    assert cost["sb3"] < cost["rule_based"] < cost["random"]
