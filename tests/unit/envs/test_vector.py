"""Environments that step together: equal to single ones, to the same bits however many there are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ActionError, ConfigError
from powergrid.envs import vector

TICKS = 30
"""More than two of the short episodes below."""
SHORT = {"episode_length": 12}


def actions_of(env, rng) -> dict[str, np.ndarray]:
    return {agent: rng.uniform(-1.2, 1.2, (8, *space.shape)) for agent, space in env.single_action_space.spaces.items()}


@pytest.mark.parametrize("preset", ["p2p_microgrids", "ieee34_multi", "voltage_control_13"])
def test_equal_to_single_environments_with_the_same_seeds(preset):
    env = powergrid.make_vec(preset, 8, **SHORT)
    singles = [powergrid.make(preset, **SHORT) for _ in range(3)]
    observations, _ = env.reset(seed=5)
    for i, single in enumerate(singles):
        first, _ = single.reset(seed=5 + i)
        for agent in env.possible_agents:
            assert np.allclose(observations[agent][i], first[agent], rtol=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(TICKS):
        actions = actions_of(env, rng)
        observations, rewards, terminations, truncations, infos = env.step(actions)
        for i, single in enumerate(singles):
            seen, reward, terminated, truncated, info = single.step({a: rows[i] for a, rows in actions.items()})
            ended = not single.agents
            assert ended == truncations[i]
            assert not terminations[i]
            assert not any(terminated.values())
            assert all(truncated.values()) == ended
            if ended:
                assert infos["_final_obs"][i]
                last, (seen, _) = seen, single.reset()
                for agent in env.possible_agents:
                    assert np.allclose(infos["final_obs"][agent][i], last[agent], rtol=1e-6, atol=1e-6)
            for agent in env.possible_agents:
                assert np.allclose(observations[agent][i], seen[agent], rtol=1e-6, atol=1e-6)
                assert rewards[agent][i] == pytest.approx(reward[agent], rel=1e-9, abs=1e-9)
                assert np.allclose(infos["money"][agent][i], info[agent]["money"], rtol=1e-9, atol=1e-9)
                assert infos["clipped"][agent][i] == info[agent]["clipped"]


def test_same_bits_whatever_the_number_of_environments_and_threads(monkeypatch):
    monkeypatch.setattr(vector, "FEWEST", 3)  # several blocks, the last one not full
    monkeypatch.setattr(vector, "MOST", 3)
    found = []
    for count, threads in ((2, 1), (8, 1), (8, 3)):
        env = powergrid.make_vec("p2p_microgrids", count, threads=threads, **SHORT)
        record = [np.stack([rows[:2] for rows in env.reset(seed=3)[0].values()])]
        rng = np.random.default_rng(1)
        for _ in range(TICKS):
            actions = {agent: rows[:count] for agent, rows in actions_of(env, rng).items()}
            observations, rewards, *_ = env.step(actions)
            record += [np.stack([rows[:2] for rows in observations.values()]), rewards["microgrid_1"][:2]]
        env.close()
        found.append(record)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("preset", ["two_microgrids", "p2p_microgrids", "voltage_control_13"])
def test_same_bits_side_by_side_and_alone(preset):
    """Two environments run one after the other, more of them as lanes of the processor's vectors, 40 in two pieces."""
    found = []
    for count in (2, 13, 40):
        env = powergrid.make_vec(preset, count, **SHORT)
        assert env.backend == "fused"
        env.reset(seed=3)
        rng, record = np.random.default_rng(1), []
        shape = (40, len(env.possible_agents), env.world.layout.action_size)
        for _ in range(TICKS):
            done = env.step_array(rng.uniform(-1.2, 1.2, shape)[:count])
            tables = (done.observation, done.reward, done.cost, done.money, done.costs, done.clipped, done.converged)
            record += [table[:2] for table in tables]
        found.append(record)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert np.array_equal(one, two)


def test_costs_can_be_asked_for_later():
    env = powergrid.make_vec("two_microgrids", 9, **SHORT)
    env.reset(seed=0)
    actions = {agent: space.sample() for agent, space in env.action_space.items()}
    _, rewards, _, _, infos = env.step(actions)
    env.step(actions)  # the tables of the first step are still its own
    assert set(infos) == {"cost", "costs", "money", "clipped", "due", "due_next", "available", "converged", "day"}
    whole = dict(infos)
    for agent, reward in rewards.items():
        assert np.allclose(-whole["money"][agent].sum(-1) - whole["costs"][agent].sum(-1), reward)
        assert np.allclose(whole["costs"][agent].sum(-1), infos["cost"][agent])
    assert infos["money"] is whole["money"] is infos.get("money")
    assert {**infos}.keys() == infos.keys() == pickle.loads(pickle.dumps(infos)).keys()
    assert infos.get("nothing", 3) == 3
    infos["money"] = 1
    assert dict(infos.items())["money"] == 1


def test_an_environment_that_physics_ends_begins_anew_while_the_others_go_on():
    heavy = {"base": "ieee13", "load_scale": 1.0, "load_series": "load_p_pu:com_1"}
    unit = {"id": "dg_1", "type": "DG", "bus": "680", "params": {"p_max_mw": 400.0}}
    env = powergrid.make_vec(
        {"name": "fragile", "network": heavy, "agents": [unit]}, 5, episode_length=6, terminate_on_divergence=True
    )
    env.reset(seed=0, options={"day": 40})
    actions = np.full((5, 1, 1), -1.0)
    actions[3] = 1.0  # 400 MW at 4.16 kV cannot be carried
    done = env.step_array(actions)
    assert done.terminated.tolist() == [False, False, False, True, False]
    assert done.final_observation.shape[0] == 1
    ends = [env.step_array(np.full((5, 1, 1), -1.0)).truncated for _ in range(6)]
    assert [tick.tolist() for tick in ends][4] == [True, True, True, False, True]  # the sixth tick of the others
    assert [tick.tolist() for tick in ends][5] == [False, False, False, True, False]
    assert np.isfinite(done.reward).all()


def test_gymnasium_conventions():
    from gymnasium.vector import AutoresetMode, VectorEnv

    env = powergrid.make_vec("two_microgrids", 4, **SHORT)
    assert isinstance(env, VectorEnv)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observations, infos = env.reset(seed=[4, 4, 9, 1], options={"day": [1, 1, 2, 3]})
    assert env.observation_space.contains(observations)
    assert infos["day"].tolist() == [1, 1, 2, 3]
    for rows in observations.values():
        assert np.array_equal(rows[0], rows[1])
    observations, *_ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observations)
    again, infos = env.reset()
    assert env.observation_space.contains(again)
    assert set(infos["day"]) <= set(env.world.days["train"])


def test_environments_in_which_nobody_learns_step_too():
    devices = [{"id": "ess_1", "type": "ESS", "bus": "671", "policy": "rule_based", "params": {"capacity_mwh": 1.0}}]
    env = powergrid.make_vec({"name": "by rule", "network": "ieee13", "agents": devices}, 3)
    env.reset(seed=0)
    assert env.possible_agents == []
    done = env.step_array(np.zeros((3, 0, env.world.layout.action_size)))
    assert done.converged.all()


def test_wrong_input_is_named():
    env = powergrid.make_vec("two_microgrids", 2, **SHORT)
    actions = {agent: np.zeros((2, *space.shape)) for agent, space in env.single_action_space.spaces.items()}
    with pytest.raises(ActionError, match="reset"):
        env.step(actions)
    env.reset(seed=0)
    agent = env.possible_agents[1]
    with pytest.raises(ActionError, match=f'no actions for agent "{agent}"'):
        env.step({env.possible_agents[0]: actions[env.possible_agents[0]]})
    with pytest.raises(ActionError, match=rf"{agent}.*\(3, 1\).*expected"):
        env.step({**actions, agent: np.zeros((3, 1))})
    bad = actions[agent].copy()
    bad[1, 0] = np.nan
    with pytest.raises(ActionError, match=f'"{agent}" in environment 1 is not finite'):
        env.step({**actions, agent: bad})
    with pytest.raises(ValueError, match="3 seeds"):
        env.reset(seed=[1, 2, 3])
    for keywords in ({"num_envs": 0}, {"num_envs": 2, "threads": 0}, {"num_envs": 2.5}):
        with pytest.raises(ConfigError, match="whole number"):
            powergrid.make_vec("two_microgrids", **keywords)
    with pytest.raises(ConfigError, match="make_functional"):
        powergrid.make_vec("two_microgrids", 2, dtype="float32")
