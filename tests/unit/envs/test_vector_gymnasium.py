"""The vector environment as Gymnasium has it: its own vector environment of single ones, and its wrappers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import (
    FlattenObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
)

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, ConfigError

SHORT = {"episode_length": 5}
MODES = {"same_step": AutoresetMode.SAME_STEP, "next_step": AutoresetMode.NEXT_STEP}


def made(count: int = 3, **keywords) -> VectorEnv:
    return powergrid.make_vec("ieee13_single", count, api="gymnasium", **{**SHORT, **keywords})


def singles(mode: AutoresetMode, count: int = 3) -> SyncVectorEnv:
    one = [lambda: powergrid.make("ieee13_single", api="gymnasium", **SHORT)] * count
    return SyncVectorEnv(one, autoreset_mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_equal_to_gymnasiums_own_of_single_environments(mode):
    """Also after a reset of some, whose episodes then end at other times than those of the others."""
    env, other = made(autoreset=mode), singles(MODES[mode])
    assert env.metadata["autoreset_mode"] == other.metadata["autoreset_mode"] == MODES[mode]
    assert env.single_observation_space == other.single_observation_space
    assert env.observation_space == other.observation_space
    assert env.action_space == other.action_space
    pairs = [(env.reset(seed=7)[0], other.reset(seed=7)[0])]
    rng = np.random.default_rng(0)
    for tick in range(18):
        if tick in (2, 6):
            mask = np.array([False, tick == 2, True])
            pairs.append(tuple(one.reset(seed=tick, options={"reset_mask": mask})[0] for one in (env, other)))
        actions = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        (seen, *rest, infos), (expected, *others, their) = env.step(actions), other.step(actions)
        pairs.append((seen, expected))
        assert np.allclose(rest[0], others[0], rtol=1e-9, atol=1e-9), tick
        for flag, same in zip(rest[1:], others[1:], strict=True):
            assert np.array_equal(flag, same), tick
        assert np.array_equal(infos.get("_final_obs", False), their.get("_final_obs", False))
        for k in np.flatnonzero(infos.get("_final_obs", False)):
            pairs.append((infos["final_obs"][k], their["final_obs"][k]))
        if "_final_obs" not in infos:
            assert np.allclose(infos["cost"], their["cost"], rtol=1e-9, atol=1e-9)
            assert np.allclose(infos["money"], np.stack(list(their["money"])), rtol=1e-9, atol=1e-9)
            assert np.array_equal(infos["due"], their["due"])
            assert np.array_equal(infos["due_next"], their["due_next"])
    for tick, (one, two) in enumerate(pairs):
        assert np.allclose(one, two, rtol=1e-6, atol=1e-6), tick


@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_wrappers_accept_it(mode):
    env = NormalizeReward(RecordEpisodeStatistics(made(autoreset=mode)))
    if mode == "next_step":  # the only one that these wrappers accept
        env = NormalizeObservation(FlattenObservation(env))
    env.reset(seed=0)
    lengths = []
    for _ in range(13):
        seen, reward, _, _, infos = env.step(env.action_space.sample())
        assert seen.shape == env.observation_space.shape
        assert np.isfinite(seen).all()
        assert np.isfinite(reward).all()
        if "episode" in infos:
            lengths += infos["episode"]["l"][infos["_episode"]].tolist()
    assert lengths == [5] * 6


def test_the_next_step_is_the_default_and_takes_no_action():
    env, twin = made(2), made(2)
    for one in (env, twin):
        one.reset(seed=1)
        for _ in range(5):
            *_, truncated, infos = one.step(np.zeros(one.action_space.shape))
        assert truncated.all()
        assert "final_obs" not in infos
        assert not infos["due_next"].any()
    size = env.action_space.shape
    (first, reward, *_, infos), (other, *_) = env.step(np.ones(size)), twin.step(-np.ones(size))
    assert np.array_equal(first, other)
    assert not reward.any()
    assert not infos["money"].any()
    assert infos["due_next"].all()
    assert np.array_equal(env.step(np.ones(size))[0], twin.step(np.ones(size))[0])


def test_an_episode_that_physics_ends_holds_until_the_next_step():
    env = made(2, network={"base": "ieee13", "load_scale": 100.0}, terminate_on_divergence=True)
    first, _ = env.reset(seed=1)
    actions = np.zeros(env.action_space.shape)
    for _ in range(2):
        *_, terminated, truncated, infos = env.step(actions)
        assert terminated.all()
        assert not truncated.any()
        assert not infos["converged"].any()
        seen, reward, terminated, *_ = env.step(actions)
        assert not terminated.any()
        assert not reward.any()
        assert seen.shape == first.shape


@pytest.mark.parametrize("ticks", [3, 5])
def test_states_and_copies_go_on_as_the_original(ticks):
    """In the middle of an episode, and between its end and the next one."""
    env = powergrid.make_vec("two_microgrids", 2, autoreset="next_step", **SHORT)
    env.reset(seed=1)
    actions = {agent: np.full(space.shape, 0.3) for agent, space in env.action_space.items()}
    for _ in range(ticks):
        env.step(actions)
    kept, twin = env.get_state(), pickle.loads(pickle.dumps(env))
    assert np.array_equal(twin.state(), env.state())
    expected = [env.step(actions) for _ in range(3)]
    env.set_state(kept)
    for one in (env, twin):
        for seen, reward, *_ in expected:
            again, paid, *_ = one.step(actions)
            for agent in env.possible_agents:
                assert np.array_equal(again[agent], seen[agent])
                assert np.array_equal(paid[agent], reward[agent])
    with pytest.raises(ArgumentError, match="resets in the next step"):
        powergrid.make_vec("two_microgrids", 2, **SHORT).set_state(kept)


@pytest.mark.parametrize("form", [{}, {"normalize": True}])
def test_batches_have_what_single_environments_have(form):
    env = powergrid.make_vec("two_microgrids", 2, **form)
    single = powergrid.make("two_microgrids", **form)
    _, infos = env.reset(seed=3)
    single.reset(seed=3)
    assert env.state_space == single.state_space
    assert env.describe() == single.describe()
    assert env.roles == single.roles
    for _ in range(2):
        assert env.state().shape == (2, *env.state_space.shape)
        assert np.allclose(env.state()[0], single.state(), rtol=1e-5, atol=1e-5)
        actions = env.policy_actions("rule_based")
        for agent, own in single.policy_actions("rule_based").items():
            assert np.allclose(actions[agent][0], own, atol=1e-6)
            assert env.observation_labels(agent) == single.observation_labels(agent)
            assert env.action_labels(agent) == single.action_labels(agent)
        *_, infos = env.step(actions)
        *_, own = single.step({agent: rows[0] for agent, rows in actions.items()})
        named = {name: rows[0] for name, rows in env.named(infos)["money"]["microgrid_1"].items()}
        assert named == pytest.approx(single.named(own["microgrid_1"])["money"])


def test_the_one_agents_form_has_them_too():
    env = made(2)
    env.reset(seed=0)
    actions = env.policy_actions("rule_based")
    assert actions.shape == env.action_space.shape
    *_, infos = env.step(actions)
    assert list(env.named(infos)["costs"]) == list(env.env.constraint_names)
    assert env.np_random_seed == (0, 1)
    kept = env.get_state()
    seen = env.step(actions)[0]
    env.set_state(kept)
    assert np.array_equal(env.step(actions)[0], seen)
    env.close()


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(ConfigError, match="one learning agent, found: microgrid_1, microgrid_2"):
        powergrid.make_vec("two_microgrids", 2, api="gymnasium")
    with pytest.raises(ConfigError, match='"gymnasium"'):
        powergrid.make_vec("ieee13_single", 2, api="gymnasum")
    with pytest.raises(ConfigError, match="next_step"):
        made(autoreset="next")
    env = made(2)
    with pytest.raises(ActionError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    for mask in (np.array([True]), np.array([False, False]), [1, 0]):
        with pytest.raises(ArgumentError, match="2 truth values"):
            env.reset(options={"reset_mask": mask})
