"""What every preset promises: PettingZoo contract, spaces, seeds, errors, pickling, one physics on NumPy and JAX."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

import powergrid
from powergrid.config.sources import preset_names
from powergrid.core import random
from powergrid.core.errors import ActionError, NetworkError
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

pytestmark = [
    pytest.mark.filterwarnings("ignore:lmp_solver"),  # the example configuration asks for what does not exist yet
    pytest.mark.filterwarnings("ignore:.*is not a valid.*:UserWarning"),
]
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""One episode is run once: a third less compilation is worth more than a faster step."""
FIXED_INFO = {"cost", "costs", "money", "converged", "due", "due_next", "available", "clipped", "day"}


LARGE = {"feeder_100_agents", "feeder_1000_agents", "iso_three_level_lmp", "voltage_control_34", "ieee34_multi"}
"""Presets whose every step takes long on NumPy and JAX, or whose likes are here."""

ON_THE_CPU = {"iso_case30"}
"""Presets whose generators hold voltages, which the power flow on JAX refuses."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in preset_names()],
)
def preset(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def env(preset) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return powergrid.make(preset)


def full_throttle(env, value: float) -> dict[str, np.ndarray]:
    return {agent: np.full(env.action_space(agent).shape, value, dtype=np.float32) for agent in env.agents}


def played(env, ticks: int, **reset: Any) -> list:
    """Everything that leaves an environment under the random policy of its own seed."""
    observations, infos = env.reset(**reset)
    record: list = [observations, infos]
    for _ in range(ticks):
        record.extend(env.step(env.policy_actions("random")))
    return record


def assert_same_bits(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_bits(one[key], other[key])
    else:
        assert np.array_equal(np.asarray(one), np.asarray(other)), (one, other)


def test_pettingzoo_contract(env):
    parallel_api_test(env, num_cycles=120)


def test_pettingzoo_seeds(preset):
    parallel_seed_test(lambda: powergrid.make(preset, episode_length=12), num_cycles=15)


def test_observations_stay_in_their_spaces(env):
    for day, value in ((18, 1.0), (200, -1.0), (355, None)):
        observations, _ = env.reset(seed=1, options={"day": day})
        while env.agents:
            for agent in env.agents:
                observation = observations[agent]
                assert observation.dtype == np.float32
                assert len(env.observation_labels(agent)) == len(observation)
                assert env.observation_space(agent).contains(observation)
            assert env.state_space.contains(env.state())
            actions = env.policy_actions("random") if value is None else full_throttle(env, value)
            observations, *_ = env.step(actions)
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)


def test_episode_ends_once_for_everybody(env):
    env.reset(seed=1)
    agents, length = list(env.possible_agents), env.world.layout.settings.episode_length
    for tick in range(1, length + 1):
        assert env.agents == agents
        _, rewards, terminated, truncated, infos = env.step(env.policy_actions("rule_based"))
        assert not any(terminated.values())
        assert set(truncated.values()) == {tick == length}
        assert set(infos) == set(rewards) == set(agents)
        for agent in agents:
            assert set(infos[agent]) == FIXED_INFO
            assert infos[agent]["money"].shape == (len(env.money_names),)
            assert infos[agent]["costs"].shape == (len(env.constraint_names),)
    assert env.agents == []
    with pytest.raises(ActionError, match="reset"):
        env.step({})


def test_labels_name_every_action(env):
    for agent in env.possible_agents:
        labels = env.action_labels(agent)
        assert len(labels) == len(set(labels)) == env.action_space(agent).shape[0] > 0
        assert all(re.fullmatch(r"[\w.:+-]+ \[[^\]]+\]", label) for label in labels)


def test_equal_seeds_give_equal_bits(env, preset):
    first = played(env, 5, seed=11)
    assert_same_bits(first[-5], played(env, 5, seed=11)[-5])
    other = powergrid.make(preset)
    for one, two in zip(first, played(other, 5, seed=11), strict=True):
        assert_same_bits(one, two)
    agent = env.possible_agents[0]
    assert not np.array_equal(first[0][agent], played(env, 0, seed=12)[0][agent])


def test_episodes_of_one_seed_differ_and_repeat(env):
    days = []
    for _ in range(2):
        env.reset(seed=5)
        days.append([env.reset()[1][env.possible_agents[0]]["day"] for _ in range(6)])
    assert days[0] == days[1]
    assert len(set(days[0])) > 1
    assert set(days[0]) <= set(env.world.days["train"].tolist())


def test_pickled_environments_go_on_alike(env):
    copy = pickle.loads(pickle.dumps(env))
    assert copy.possible_agents == env.possible_agents
    for agent in env.possible_agents:
        assert copy.observation_space(agent) == env.observation_space(agent)
    for one, two in zip(played(env, 3, seed=4), played(copy, 3, seed=4), strict=True):
        assert_same_bits(one, two)


def test_episodes_go_on_from_their_states_alike(env):
    env.reset(seed=6)
    env.step(env.policy_actions("random"))
    kept, twin = env.get_state(), copy.deepcopy(env)
    later = [[made.step(made.policy_actions("random")) for _ in range(3)] for made in (env, twin)]
    env.set_state(kept)
    later.append([env.step(env.policy_actions("random")) for _ in range(3)])
    for others in later[1:]:
        for one, other in zip(later[0], others, strict=True):
            for part, same in zip(one, other, strict=True):
                assert_same_bits(part, same)


def test_wrong_actions_name_the_agent(env):
    env.reset(seed=1)
    agent = env.possible_agents[-1]
    shape = env.action_space(agent).shape
    for wrong in (np.zeros((*shape, 2)), np.zeros(shape[0] + 1), np.full(shape, np.nan), "charge", None):
        with pytest.raises(ActionError, match=f'"{agent}"'):
            env.step({**full_throttle(env, 0.0), agent: wrong})
    incomplete = full_throttle(env, 0.0)
    del incomplete[agent]
    with pytest.raises(ActionError, match=f'no action for agent "{agent}"'):
        env.step(incomplete)
    with pytest.raises(ActionError, match='agent "nobody", which does not act here'):
        env.step({**full_throttle(env, 0.0), "nobody": np.zeros(1)})
    rows = np.zeros((len(env.possible_agents), env.world.layout.action_size))
    rows[-1, 0] = np.nan
    with pytest.raises(ActionError, match=f'"{agent}" is not finite'):
        env.step_array(rows)
    env.step(full_throttle(env, 0.0))  # and nothing was broken by it


def test_actions_out_of_range_are_clipped_and_counted(env):
    outcomes = []
    for value in (1.0, 3.0):
        env.reset(seed=1)
        outcomes.append(env.step(full_throttle(env, value)))
    for agent in env.possible_agents:
        assert outcomes[0][4][agent]["clipped"] == 0
        assert outcomes[1][4][agent]["clipped"] == env.action_space(agent).shape[0]
    for one, two in zip(outcomes[0][:4], outcomes[1][:4], strict=True):
        assert_same_bits(one, two)


def test_money_moves_between_accounts_only(env):
    env.reset(seed=2)
    while env.agents:
        env.step(env.policy_actions("random"))
        assert abs(env.output.transfers.sum()) <= 1e-9


def test_numpy_and_fused_play_the_same_episode(preset):
    """A whole day, side by side in a batch of two: every number within 1e-9 (of its size, above 1)."""
    world = build(preset, tol_pu=1e-11)
    numpy, fused = Simulation(world, "numpy"), Simulation(world, "fused")
    assert (numpy.backend, fused.backend) == ("numpy", "fused")
    layout, days = world.layout, np.array([180, 21], dtype=np.int32)
    shape = (layout.settings.episode_length, 2, len(layout.actors), layout.action_size)
    actions = np.random.default_rng(0).uniform(-1.2, 1.2, shape)
    key = random.fold_in(np, random.key_from_seed(np, np.array([3, 4])), np.zeros(2, np.int32))
    states = [simulation.reset(key, days)[0] for simulation in (numpy, fused)]
    for tick in range(shape[0]):
        steps = [
            simulation.step(state, actions[tick]) for simulation, state in zip((numpy, fused), states, strict=True)
        ]
        states = [state for state, _ in steps]
        assert_close(*steps, tick)


def assert_close(one: Any, other: Any, where: Any) -> None:
    """Two trees of named arrays are the same but for rounding; a residual and its iterations say how, not what."""
    if isinstance(one, tuple):
        names = getattr(one, "_fields", range(len(one)))
        assert type(one) is type(other), where
        for name, a, b in zip(names, one, other, strict=True):
            if name not in ("residual_pu", "iterations"):
                assert_close(a, b, (where, name))
        return
    a, b = np.asarray(one), np.asarray(other)
    assert a.shape == b.shape, where
    assert a.dtype.kind == b.dtype.kind, where
    assert np.allclose(a, b, rtol=1e-9, atol=1e-9), (where, np.abs(a.astype(float) - b.astype(float)).max())


def test_fused_step_gives_the_same_bits_alone_and_in_a_batch(preset):
    world = build(preset, episode_length=12)
    many, one = Simulation(world, "fused"), Simulation(world, "fused")
    layout, days = world.layout, np.array([100, 21, 300], dtype=np.int32)
    shape = (12, len(days), len(layout.actors), layout.action_size)
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, shape)
    key = random.fold_in(np, random.key_from_seed(np, np.arange(3)), np.zeros(3, np.int32))
    batch, alone = many.reset(key, days)[0], one.reset(key[1], days[1])[0]
    for tick in range(12):
        batch, found = many.step(batch, actions[tick])
        alone, expected = one.step(alone, actions[tick, 1])
        for name in ("observation", "money", "costs", "transfers", "p_mw", "measured_mw", "clipped", "due"):
            assert np.array_equal(getattr(found, name)[1], getattr(expected, name)), (tick, name)


def test_numpy_and_jax_play_the_same_episode(preset):
    """A whole day in float64, the flow solved to 1e-11: every number within 1e-9 (of its size, above 1)."""
    pytest.importorskip("jax")
    if preset in ON_THE_CPU:
        with pytest.raises(NetworkError, match="generators at a set voltage"):
            powergrid.make_functional(preset)
        return
    same_on_jax(preset)


def test_numpy_and_jax_correct_a_policy_alike():
    pytest.importorskip("jax")
    same_on_jax("p2p_microgrids", residual="rule_based")


def same_on_jax(preset, **overrides):
    """Compare NumPy and JAX over a day with random actions."""
    import jax

    from powergrid.core.backend import jax_float64

    simulation = Simulation(build(preset, tol_pu=1e-11, **overrides))
    layout = simulation.layout
    seed, day = random.key_from_seed(np, np.array(3)), np.array(180, dtype=np.int32)
    shape = (layout.settings.episode_length, len(layout.actors), layout.action_size)
    actions = np.random.default_rng(0).uniform(-1.2, 1.2, shape)  # some of them to be clipped
    for row, entries in enumerate(layout.action_entries):
        actions[:, row, len(entries) :] = 0.0  # padding
    with jax_float64():
        other = powergrid.make_functional(preset, dtype="float64", tol_pu=1e-11, auto_reset=False, **overrides)
        rows = {name: np.array([other.agents.index(a) for a in agents]) for name, agents in other.groups.items()}

        def tick(state, action):
            groups = {name: action[at][:, : other.action_size[name]] for name, at in rows.items()}
            _, state, reward, _, info = other.step(None, state, groups)
            return state, (info["output"], reward)

        def episode(key, actions):
            observation, state = other.reset(key, jax.numpy.asarray(180))
            return observation, jax.lax.scan(tick, state, actions)[1]

        first, (outputs, rewards) = jax.jit(episode, compiler_options=QUICK)(seed, actions)
    state, observation, *_ = simulation.reset(random.fold_in(np, seed, np.array(0)), day)
    for name, at in rows.items():
        assert np.abs(np.asarray(first[name]) - layout.view.stacked(observation, at)).max() <= 1e-9
    for t in range(shape[0]):
        state, output = simulation.step(state, actions[t])
        for field in ("observation", "central", "money", "costs", "transfers", "p_mw", "q_mvar", "measured_mw"):
            one, two = np.asarray(getattr(outputs, field))[t], getattr(output, field)
            assert np.allclose(one, two, rtol=1e-9, atol=1e-9), (t, field, np.abs(one - two).max())
        assert np.abs(np.asarray(outputs.flow.v_pu)[t] - output.flow.v_pu).max() <= 1e-10
        reward = simulation.world.rewards(np, output.money, output.costs)
        for name, at in rows.items():  # weighted sums of what was compared above
            assert np.allclose(np.asarray(rewards[name])[t], reward[at], rtol=1e-9, atol=1e-9)
        for field in ("clipped", "due", "done", "last"):
            assert np.array_equal(np.asarray(getattr(outputs, field))[t], getattr(output, field)), (t, field)


def test_every_number_has_a_label_of_its_own(env):
    for agent in env.possible_agents:
        for labels in (env.observation_labels(agent), env.action_labels(agent)):
            assert len(set(labels)) == len(labels), sorted(label for label in labels if labels.count(label) > 1)
