"""Switches and outages in an environment: what is dead, what it costs, and that every backend agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.engine.switching import enumerate_topologies
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

HOUR = 4  # ticks


def world(outages: Any = (), agents: Any = (), **network: Any) -> dict[str, Any]:
    """The 33-bus feeder with a battery at its far end (bus 17, behind line 16) and a tie switch to it."""
    battery = {"id": "ess_1", "type": "ESS", "bus": "17", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.5}}
    return {
        "name": "outages",
        "network": {"base": "case33bw", "outages": list(outages), **network},
        "agents": [battery, *agents],
    }


def tie(**params: Any) -> dict[str, Any]:
    return {"id": "sw_1", "type": "Switch", "bus": "line_35", "params": params}  # bus 17 to bus 32


def run(source: Any, ticks: int, value: float = 1.0, **given: Any) -> tuple[Any, list, list]:
    env = powergrid.make(source, episode_length=ticks, **given)
    env.reset(seed=3, options={"day": 30})
    outputs, infos = [], []
    for _ in range(ticks):
        actions = {agent: np.full(env.action_space(agent).shape, value, np.float32) for agent in env.agents}
        infos.append(env.step(actions)[4])
        outputs.append(env.output)
    return env, outputs, infos


FAULT = {"branch": "line_16", "start": HOUR * 900, "duration": 2 * HOUR * 900}


def test_an_island_is_dead_its_load_unserved_and_its_devices_stand_still() -> None:
    env, outputs, infos = run(world([FAULT]), 4 * HOUR)
    bus = env.world.network.bus("17")
    alive = np.array([output.flow.energised[bus] for output in outputs])
    assert alive.tolist() == [not HOUR <= t < 3 * HOUR for t in range(4 * HOUR)]
    for t, (output, info) in enumerate(zip(outputs, infos, strict=True)):
        assert info["ess_1"]["available"] is bool(alive[t])
        costs = env.named(info["ess_1"])["costs"]
        unserved = costs["unserved"] + costs["shared_unserved"]
        if alive[t]:
            assert unserved == 0
            assert output.p_mw[0] != 0 or t > HOUR
        else:
            row = env.world.table[30 * env.world.ticks_per_day + t]
            layout = env.world.layout
            own_mw = (row[layout.grid.load_series] @ layout.grid.load_p_mw)[bus]
            assert own_mw > 0
            assert unserved == pytest.approx(own_mw * 0.25 * layout.settings.unserved_price)
            assert output.p_mw[0] == 0
            assert output.flow.v_pu[bus] == 0
            assert info["ess_1"]["converged"]
    live = outputs[HOUR].flow.energised
    below = np.maximum(0.95 - outputs[HOUR].flow.v_pu[live], 0).sum()
    assert infos[HOUR]["ess_1"]["costs"].sum() < 1000 * 0.25 * below + unserved + 1e4 * 0.25  # no voltage cost at 0 V


def test_a_switch_restores_the_island() -> None:
    closing = tie()
    env, outputs, infos = run(world([FAULT], [closing]), 3 * HOUR)
    assert all(output.flow.energised.all() for output in outputs)
    assert {info["sw_1"]["money"].sum() for info in infos} == {0.0}
    env, outputs, _ = run(world([FAULT], [tie(closed_init=False)]), 3 * HOUR, value=-1.0)
    assert not outputs[HOUR].flow.energised.all()
    _, _, infos = run(world([], [tie(move_cost=7.0)]), 2)
    assert infos[0]["sw_1"]["money"].sum() == 7.0
    assert infos[1]["sw_1"]["money"].sum() == 0.0
    assert "sw_1.closed [1]" in env.observation_labels("sw_1")


def test_equal_to_pandapower_in_the_same_step() -> None:
    source = world([FAULT, {"branch": "line_2", "start": 0, "duration": 900}], [tie()])
    _, ours, _ = run(source, 6)
    _, theirs, _ = run(source, 6, method="pandapower")
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.flow.energised, other.flow.energised)
        assert np.abs(one.flow.v_pu - other.flow.v_pu).max() < 1e-6
        assert np.abs(one.costs - other.costs).max() < 0.02


def random_outages() -> dict[str, Any]:
    fault = {"branch": ["line_4", "line_1?"], "start": [0, 3600], "duration": 1800, "probability": 0.8}
    return world([fault], [tie()])


def test_jax_gives_the_same_day() -> None:
    import jax
    import jax.numpy as jnp

    numpy_world = build(random_outages(), tol_pu=1e-11)
    simulation = Simulation(numpy_world)
    seeds = range(6)
    key = np.stack([np.asarray(jax.random.key_data(jax.random.key(seed))) for seed in seeds])
    with jax.enable_x64(True):
        env = powergrid.make_functional(random_outages(), dtype="float64", tol_pu=1e-11, days=[30])
        reset, step = jax.jit(jax.vmap(env.reset)), jax.jit(env.step)
        _, state = reset(jnp.asarray(key))
        engine = jax.tree.map(np.asarray, state.engine)
        mine, *_ = simulation.reset(engine.key, np.full(6, 30))
        assert np.array_equal(mine.outages.begin, engine.outages.begin)
        assert np.array_equal(mine.outages.which, engine.outages.which)
        rng = np.random.default_rng(0)
        for _ in range(8):
            actions = rng.uniform(-1, 1, (6, 2, numpy_world.layout.action_size))
            mine, output = simulation.step(mine, actions)
            given = {name: jnp.asarray(actions[:, rows]) for name, rows in _rows(env).items()}
            _, state, *_ = step(key, state, given)
            theirs = jax.tree.map(np.asarray, state.engine)
            assert np.abs(mine.v_re - theirs.v_re).max() < 1e-9
            for one, other in zip(mine.devices, theirs.devices, strict=True):
                for a, b in zip(one, other, strict=True):
                    assert np.abs(a - b).max() < 1e-9
            assert output.flow.converged.all()


def _rows(env: Any) -> dict[str, list[int]]:
    agents = list(env.world.layout.actors)
    return {group: [agents.index(agent) for agent in members] for group, members in env.groups.items()}


def test_environments_of_a_batch_have_outages_of_their_own() -> None:
    """Each environment of a batch is the single one with its seed, and they do not all fail alike."""
    env = powergrid.make_vec(random_outages(), 12, episode_length=8)
    env.reset(seed=1)
    worlds = [powergrid.make(random_outages(), episode_length=8) for _ in range(12)]
    for i, single in enumerate(worlds):
        single.reset(seed=1 + i)
    rng, dead = np.random.default_rng(0), set()
    for _ in range(6):
        actions = rng.uniform(-1, 1, (12, 2, env.world.layout.action_size)).astype(np.float32)
        batch = env.step_array(actions)
        for i, single in enumerate(worlds):
            names = single.possible_agents
            shapes = [single.action_space(name).shape[0] for name in names]
            given = {name: actions[i, k, :n] for k, (name, n) in enumerate(zip(names, shapes, strict=True))}
            _, rewards, *_, infos = single.step(given)
            np.testing.assert_allclose(batch.reward[i], [rewards[name] for name in names], atol=1e-9)
            assert batch.available[i].tolist() == [infos[name]["available"] for name in names]
            dead.add((~single.output.flow.energised).tobytes())
    assert len(dead) > 3


def test_regulators_without_voltage_stay_where_they_are() -> None:
    source = {
        "name": "regulators",
        "network": {"base": "ieee34", "outages": {"branch": "808-812", "start": 1800, "duration": 3600}},
        "agents": [{"id": "ess_1", "type": "ESS", "bus": "890", "params": {"capacity_mwh": 0.5, "max_p_mw": 0.1}}],
    }
    env = powergrid.make(source, episode_length=8)
    env.reset(seed=0)
    taps = []
    for _ in range(8):
        env.step({"ess_1": np.zeros(env.action_space("ess_1").shape, np.float32)})
        taps.append(np.array(env._state.devices[env.world.layout.taps].tap))
        assert env.output.flow.converged
    assert all(np.array_equal(taps[t], taps[2]) for t in (3, 4, 5))


def test_wrong_outages_and_switches_are_named_at_once() -> None:
    wrong = world(
        [{"branch": ["line_99", "line_4"], "start": [7200, 3600], "duration": 900}],
        [{"id": "sw_1", "type": "Switch", "bus": "line_ 35"}],
    )
    with pytest.raises(ConfigError) as caught:
        powergrid.make(wrong)
    text = str(caught.value)
    for part in ("network.outages[0].branch[0]", 'no branch "line_99"', "start", "line_ 35", "line_35"):
        assert part in text


def test_too_many_combinations_are_refused() -> None:
    grid = powergrid.network("case33bw")
    with pytest.raises(NetworkError, match="8,192 topologies"):
        enumerate_topologies(grid, [(i,) for i in range(13)], [])


def test_the_index_counts_every_combination_once() -> None:
    from powergrid.engine.switching import Outage

    grid = powergrid.network("case33bw")
    found, values = enumerate_topologies(grid, [(35,), (32,)], [Outage(((4,), (35,)), 0, 0, 1, 1.0)])
    assert values.tolist() == [1, 2, 4]
    assert len(found) == 11
    assert found[0] == (35,)  # the tie closed
    assert found[1] == (32,)
    assert found[3] == (4,)  # line 4 out
    assert found[7] == ()  # the open tie out: nothing changes
    assert found[8] == ()  # and it cannot close
