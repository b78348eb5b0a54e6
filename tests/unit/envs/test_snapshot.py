"""States of environments in mid-episode: what goes on from one is what would have been, to the bit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ArgumentError

SHORT = {"episode_length": 8}
STORED = {
    "name": "stored",
    "network": "ieee13",
    "agents": [
        {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "learned"},
        {"id": "dg_1", "type": "DG", "bus": "675", "policy": "random"},
        {"id": "dg_2", "type": "DG", "bus": "634", "policy": "learned", "interval": 7200},
    ],
    "forecast": {"noise": {"load_p_pu": 0.1}, "horizon_h": 6},
    "simulation": {"time_step": 3600, "episode_length": 8},
}
"""Forecast errors, a random policy and actions that are held."""
COUNTING = """
import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.plugins import register_device


@register_device("Counting")
class Counting(DeviceAgent):
    def __init__(self, id, bus, phases=None, policy=None, **kw):
        super().__init__(id, bus, phases, policy, **kw)
        self.action.dim_c, self.action.range = 1, np.array([[-0.1], [0.1]])
        self.history = []
        self.me = self
        self.rng = np.random.default_rng(0)
        self.warmth = 0.0

    def update_state(self):
        self.history.append(float(self.action.c[0]))
        self.warmth = 0.9 * self.warmth + sum(self.history[-3:]) + self.rng.uniform()
        self.me.state.P = self.action.c[0] + 1e-3 * self.warmth + 1e-4 * self.dataset["ambient_temp"][self.t]

    def update_cost_safety(self):
        self.cost, self.safety = self.warmth, 0.0
"""
"""A plain Python device with a list, a generator of its own and a reference to itself."""


@pytest.fixture(scope="module")
def counting(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("counting")
    (folder / "counting.py").write_text(COUNTING)
    agents = [{"id": f"count_{i}", "type": "Counting", "bus": "671", "policy": "learned"} for i in range(2)]
    return {"name": "counting", "network": "ieee13", "agents": agents, "plugins": [str(folder)], "simulation": SHORT}


def actions_of(env, tick: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(tick)
    return {agent: rng.uniform(-1, 1, env.action_space(agent).shape) for agent in env.agents}


def played(env, ticks: int) -> list[bytes]:
    """All bits that leave the environment until the episode ends, and at the reset that follows."""
    found = []

    def note(*parts: Any) -> None:
        found.append(
            pickle.dumps([[np.asarray(part[agent]).tobytes() for agent in env.possible_agents] for part in parts])
        )

    for tick in range(ticks):
        if not env.agents:
            note(env.reset()[0])
        observations, rewards, *_, infos = env.step(actions_of(env, tick))
        note(observations, rewards, {agent: infos[agent]["money"] for agent in env.possible_agents})
        found.append(env.state().tobytes())
    return found


def source_of(name: str, counting: dict[str, Any]) -> Any:
    return {"stored": STORED, "counting": counting}.get(name, name)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
@pytest.mark.parametrize("name", ["p2p_microgrids", "ieee34_microgrid", "voltage_control_13", "stored", "counting"])
def test_states_go_on_as_the_original(name, backend, counting):
    """Back in the same environment, in another one, in a deep copy and in one that was pickled."""
    made = {"backend": backend, **SHORT}
    env, other = (powergrid.make(source_of(name, counting), **made) for _ in range(2))
    env.reset(seed=3)
    played(env, 3)
    kept, central = env.get_state(), env.state()
    twin, packed = copy.deepcopy(env), pickle.dumps(env)
    expected = played(env, 12)
    assert twin.agents == env.possible_agents
    assert np.array_equal(twin.state(), central)
    assert played(twin, 12) == expected
    other.reset(seed=99)
    played(other, 2)
    for again in (env, other, other, pickle.loads(packed)):
        if again is env or again is other:
            again.set_state(kept)
        assert np.array_equal(again.state(), central)
        assert played(again, 12) == expected
    other.set_state(pickle.loads(pickle.dumps(kept)))
    assert played(other, 12) == expected


def test_a_search_ahead_leaves_the_episode_as_it_was(counting):
    """Many branches from one state, and then the way that the episode would have gone."""
    for source in (STORED, counting):
        env, untouched = (powergrid.make(source) for _ in range(2))
        env.reset(seed=1)
        untouched.reset(seed=1)
        for _ in range(4):
            kept = env.get_state()
            best = []
            for value in (-1.0, 0.0, 1.0):
                env.set_state(kept)
                rewards = env.step({agent: np.full(env.action_space(agent).shape, value) for agent in env.agents})[1]
                best.append(sum(rewards.values()))
            env.set_state(kept)
            assert played(env, 1) == played(untouched, 1)
            assert len(set(best)) > 1


@pytest.mark.parametrize(("name", "threads"), [("stored", 1), ("stored", 2), ("counting", 1)])
def test_vector_environments_go_on_across_ends_of_episodes(name, threads, counting, monkeypatch):
    from powergrid.envs import vector

    monkeypatch.setattr(vector, "FEWEST", 3)
    monkeypatch.setattr(vector, "MOST", 3)
    env = powergrid.make_vec(source_of(name, counting), 7, threads=threads)
    env.reset(seed=2)

    def run(env: Any, ticks: int) -> list[bytes]:
        rng, found = np.random.default_rng(0), []
        for _ in range(ticks):
            step = env.step_array(rng.uniform(-1, 1, (7, 2, env.world.layout.action_size)))
            found += [step.observation.tobytes(), step.reward.tobytes(), step.money.tobytes()]
        return found

    run(env, 3)
    kept, twin, packed = env.get_state(), copy.deepcopy(env), pickle.dumps(env)
    expected = run(env, 12)
    assert run(twin, 12) == expected
    other = powergrid.make_vec(source_of(name, counting), 7, threads=3 - threads)
    for again in (env, other, pickle.loads(packed)):
        if again is env or again is other:
            again.set_state(kept)
        assert run(again, 12) == expected
    with pytest.raises(ArgumentError, match=r"7 vector environment.*expected one of 2 vector"):
        powergrid.make_vec(source_of(name, counting), 2).set_state(kept)


def test_agents_in_turn_go_on_within_a_tick():
    env, other = (powergrid.make(STORED, api="aec") for _ in range(2))
    env.reset(seed=4)
    other.reset(seed=5)

    def run(env: Any, turns: int) -> list[Any]:
        found = []
        for turn in range(turns):
            observation, reward, *ended, _ = env.last()
            found.append((env.agent_selection, observation.tobytes(), reward, tuple(ended)))
            env.step(None if any(ended) else np.full(1, 0.1 * turn))
        return found

    run(env, 3)  # the second agent has not acted yet
    kept, twin = env.get_state(), copy.deepcopy(env)
    expected = run(env, 12)
    assert run(twin, 12) == expected
    for again in (env, other, pickle.loads(pickle.dumps(twin))):
        again.set_state(kept)
        assert run(again, 12) == expected
    with pytest.raises(ArgumentError, match="no state of an AEC environment"):
        env.set_state(kept.parallel)


def test_the_single_agents_form_goes_on_with_its_generator():
    env, other = (powergrid.make("ieee34_microgrid", api="gymnasium", **SHORT) for _ in range(2))
    env.reset(seed=4)
    env.step(env.action_space.sample())
    env.np_random.uniform()
    kept, twin = env.get_state(), copy.deepcopy(env)
    action = np.full(env.action_space.shape, 0.2)
    expected, drawn = env.step(action), env.np_random.uniform()
    for again in (env, other, twin):
        if again is not twin:
            again.set_state(kept)
        found = again.step(action)
        assert np.array_equal(found[0], expected[0])
        assert found[1] == expected[1]
        assert again.np_random.uniform() == drawn
        assert again.np_random_seed == 4


def test_states_before_the_first_reset_and_after_the_last_tick():
    env = powergrid.make(STORED)
    fresh = env.get_state()
    env.reset(seed=1)
    played(env, 8)
    assert env.agents == []
    ended = copy.deepcopy(env)
    assert ended.agents == []
    assert np.array_equal(ended.reset()[0]["ess_1"], env.reset()[0]["ess_1"])
    env.set_state(fresh)
    assert env.agents == []
    with pytest.raises(powergrid.PowerGridError, match="reset"):
        env.step({})


def test_copies_share_nothing_that_changes():
    env = powergrid.make(STORED)
    env.reset(seed=1)
    twin = copy.deepcopy(env)
    twin.agent("ess_1").send_message({"price": 3.0}, [twin.agent("dg_1")])
    assert not env.agent("dg_1").mailbox
    assert len(copy.deepcopy(twin).agent("dg_1").mailbox) == 1
    assert len(pickle.loads(pickle.dumps(twin)).agent("dg_1").mailbox) == 1


def test_states_of_another_configuration_are_refused():
    env, other = powergrid.make(STORED), powergrid.make(STORED, episode_length=9)
    other.reset(seed=1)
    with pytest.raises(ArgumentError, match='another configuration than this environment\'s, "stored"'):
        env.set_state(other.get_state())
    with pytest.raises(ArgumentError, match="dict is no state of an environment"):
        env.set_state({})
    vector = powergrid.make_vec(STORED, 1)
    vector.reset(seed=1)
    with pytest.raises(ArgumentError, match="1 vector environment"):
        env.set_state(vector.get_state())
