"""Islands that carry themselves: droop, frequency, collapse, and that every backend agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.core.types import Control, NodeLoad
from powergrid.engine.islands import hold_islands
from powergrid.powerflow import pandapower
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

DAY = 30
FAULT = {"branch": "line_12", "start": 900, "duration": 1800}  # cuts buses 13 to 17 off in ticks 1 and 2


def ess(name: str, bus: str, max_p_mw: float = 0.5, **params: Any) -> dict[str, Any]:
    given = {"capacity_mwh": 4.0, "max_p_mw": max_p_mw, "sn_mva": 1.5 * max_p_mw, "grid_forming": True}
    return {"id": name, "type": "ESS", "bus": bus, "params": given | params}


def world(agents: list[dict[str, Any]], outages: Any = FAULT, **network: Any) -> dict[str, Any]:
    return {"name": "islands", "network": {"base": "case33bw", "outages": outages, **network}, "agents": agents}


def run(source: Any, ticks: int = 4, actions: dict[str, Any] | None = None, **given: Any) -> tuple[Any, list, list]:
    env = powergrid.make(source, episode_length=ticks, **given)
    env.reset(seed=0, options={"day": DAY})
    outputs, infos = [], []
    for _ in range(ticks):
        idle = {agent: np.zeros(env.action_space(agent).shape) for agent in env.agents}
        infos.append(env.step({**idle, **(actions or {})})[4])
        outputs.append(env.output)
    return env, outputs, infos


def own_load(env: Any, tick: int) -> tuple[np.ndarray, np.ndarray]:
    layout, row = env.world.layout, env.world.table[DAY * env.world.ticks_per_day + tick]
    own = row[layout.grid.load_series]
    return own @ layout.grid.load_p_mw, own @ layout.grid.load_q_mvar


def test_equal_to_newton_with_a_grid_at_the_forming_bus() -> None:
    """pandapower with an external grid of 1 pu at bus 17 delivers what the battery there books."""
    env, outputs, _ = run(world([ess("a", "17")]))
    grid = env.world.network
    plan = pandapower.plan(grid, topologies=[("line_12",)], forming=[("17",)])
    for tick in (1, 2):
        flow, load = outputs[tick].flow, NodeLoad(*own_load(env, tick))
        exact = pandapower.solve(plan, load, Control(topology=np.array(1)))
        assert flow.energised.all()
        assert np.abs(flow.v_re - exact.v_re).max() < 1e-6
        assert np.abs(flow.v_im - exact.v_im).max() < 1e-6
        assert outputs[tick].p_mw[0] == pytest.approx(exact.p_form_mw[0], abs=1e-6)
        assert outputs[tick].q_mvar[0] == pytest.approx(exact.q_form_mvar[0], abs=1e-6)
        assert outputs[tick].p_mw[0] > 0.1
    assert outputs[0].p_mw[0] == outputs[3].p_mw[0] == 0  # beside the source it follows its command again


def test_units_share_by_their_droop() -> None:
    """Three units with their own set points: equal frequency, ``p_i = p_set,i - df / m_i``, reactive power alike."""
    units = [ess("a", "17", 0.4), ess("b", "14", 0.6, droop_percent=4.0), ess("c", "15", 0.2, droop_percent=2.0)]
    given = {"a": np.array([0.1, 0.0]), "b": np.array([-0.1, 0.0]), "c": np.array([0.0, 0.2])}
    env, outputs, _ = run(world(units), actions=given)
    f_hz = env.world.network.f_hz
    per_hz = np.array([0.4 / 0.05, 0.6 / 0.04, 0.2 / 0.02]) / f_hz  # 1 / m [MW/Hz]
    set_p, set_q = np.array([0.04, -0.06, 0.0]), np.array([0.0, 0.0, 0.2 * 0.3])
    for output in outputs[1:3]:
        deviation = output.frequency_hz - f_hz
        missing = output.p_mw.sum() - set_p.sum()
        np.testing.assert_allclose(deviation, -missing / per_hz.sum(), atol=1e-9)
        np.testing.assert_allclose(output.p_mw, set_p - deviation * per_hz, atol=2e-7)
        spread = (output.q_mvar - set_q) / per_hz
        np.testing.assert_allclose(spread, spread[0], atol=1e-5)
        assert missing > 0.05
        assert abs(output.flow.p_form_mw).max() < 1e-6
    assert (outputs[0].frequency_hz == f_hz).all()
    label = env.observation_labels("a").index("a.frequency [Hz]")
    assert env.observation_space("a").high[label] == pytest.approx(1.2 * f_hz)


def test_a_unit_at_its_limit_leaves_the_rest_to_others() -> None:
    units = [ess("a", "17", 0.05, sn_mva=0.3), ess("b", "14", 0.6)]
    _, outputs, _ = run(world(units), actions={"a": np.array([1.0, 0.0])})
    f_hz = 60.0
    for output in outputs[1:3]:
        assert output.p_mw[0] == pytest.approx(0.05, abs=1e-12)
        needed = output.p_mw.sum()
        assert output.p_mw[1] == pytest.approx(needed - 0.05, abs=1e-6)
        assert output.frequency_hz[1] == pytest.approx(f_hz * (1 - 0.05 * output.p_mw[1] / 0.6), abs=1e-6)


def test_energy_and_money_balance() -> None:
    """What the units book is what the flow took, tick by tick; their batteries lose what they delivered."""
    pv = {"id": "pv", "type": "Renewable", "bus": "16", "params": {"p_max_mw": 0.1}}
    env = powergrid.make(
        world([ess("a", "17", soc_max=1.0), ess("b", "14", wear_cost_per_mwh=7.0), pv]), episode_length=4
    )
    env.reset(seed=0, options={"day": DAY})
    for tick in range(4):
        before = env._state.devices[0].soc
        infos = env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})[4]
        output, drawn = env.output, own_load(env, tick)[0]
        units = list(env.world.layout.units)
        a, b = (units.index(name) for name in "ab")
        assert output.flow.p_slack_mw + output.p_mw.sum() == pytest.approx(drawn.sum() + output.flow.loss_mw, abs=1e-6)
        moved = (before[0] - env._state.devices[0].soc[0]) * 4.0
        p_mw = output.p_mw[a]
        assert moved == pytest.approx(0.25 * (max(p_mw, 0) / 0.95 + min(p_mw, 0) * 0.95), abs=1e-9)
        assert env.named(infos["b"])["money"]["wear"] == pytest.approx(7.0 * 0.25 * abs(output.p_mw[b]), abs=1e-9)
        assert sum(env.named(infos["a"])["costs"].values()) >= 0


@pytest.mark.parametrize("weakness", [{"soc_init": 0.1}, {"sn_mva": 0.04, "max_p_mw": 0.04}])
def test_an_island_collapses_when_its_units_lack_power(weakness: dict[str, Any]) -> None:
    env, outputs, infos = run(world([ess("a", "17", **weakness), ess("far", "25")]))
    layout = env.world.layout
    for tick, (output, info) in enumerate(zip(outputs, infos, strict=True)):
        dead = ~output.flow.energised
        costs = env.named(info["a"])["costs"]
        unserved = costs["unserved"] + costs["shared_unserved"] + env.named(info["far"])["costs"]["shared_unserved"]
        assert info["a"]["converged"]
        if tick in (1, 2):
            assert dead.sum() == 5
            assert output.frequency_hz.tolist() == [0.0, 60.0]
            assert output.p_mw[0] == 0
            own_mw = own_load(env, tick)[0][dead].sum()
            assert unserved == pytest.approx(own_mw * 0.25 * layout.settings.unserved_price)
        else:  # connected again
            assert not dead.any()
            assert unserved == 0
    assert env._state.devices[0].soc[0] == pytest.approx(weakness.get("soc_init", 0.5))


def test_a_battery_runs_empty_and_its_neighbour_island_lives_on() -> None:
    """Two islands at once: one collapses when its battery is empty, the other is carried on."""
    outages = [{"branch": "line_12", "start": 0, "duration": 7200}, {"branch": "line_27", "start": 0, "duration": 7200}]
    units = [ess("a", "17", soc_init=0.11), ess("b", "29", 1.5)]
    env, outputs, _ = run(world(units, outages), ticks=8)
    alive = np.array(
        [output.flow.energised[[env.world.network.bus(bus) for bus in ("17", "29")]] for output in outputs]
    )
    assert alive[0, 0]
    assert not alive[-1, 0]
    assert alive[:, 1].all()
    assert outputs[0].frequency_hz[0] != outputs[0].frequency_hz[1]
    first = int(np.argmin(alive[:, 0]))
    assert not alive[first:, 0].any()
    assert env.world.layout.grid.islands.fallen.shape[1] == 2


def test_a_generator_forms_a_grid_only_while_it_is_on() -> None:
    dg = {"p_max_mw": 0.6, "sn_mva": 0.8, "grid_forming": True, "commitment": True, "droop_percent": 3.0}
    unit = {"id": "g", "type": "DG", "bus": "17", "params": dg}
    for commit, alive in ((1.0, True), (-1.0, False)):
        _, outputs, _ = run(world([unit]), actions={"g": np.array([-1.0, 0.0, commit])})
        assert [bool(output.flow.energised.all()) for output in outputs] == [True, alive, alive, True]
    off = {"id": "g", "type": "DG", "bus": "17", "params": dg}
    _, outputs, _ = run(world([off, ess("a", "14")]), actions={"g": np.array([-1.0, 0.0, -1.0])})
    assert all(output.flow.energised.all() for output in outputs)  # the battery takes its place
    assert outputs[1].p_mw.tolist().count(0.0) == 1


def batch_world() -> dict[str, Any]:
    """Random outages, a tie switch, two units that form grids and a generator that does not."""
    fault = {"branch": ["line_4", "line_12", "line_27"], "start": [0, 2700], "duration": 2700, "probability": 0.9}
    tie = {"id": "sw", "type": "Switch", "bus": "line_35"}
    dg = {"id": "g", "type": "DG", "bus": "30", "params": {"p_max_mw": 0.4, "sn_mva": 0.5}}
    return world([ess("a", "17", 0.3, soc_init=0.11), ess("b", "29", 0.9), ess("c", "14", 0.05), tie, dg], fault)


def test_jax_gives_the_same_day() -> None:
    import jax
    import jax.numpy as jnp

    numpy_world = build(batch_world(), tol_pu=1e-11)
    simulation, fallen, frequencies = Simulation(numpy_world), 0, set()
    seeds = range(8)
    key = np.stack([np.asarray(jax.random.key_data(jax.random.key(seed))) for seed in seeds])
    with jax.enable_x64(True):
        env = powergrid.make_functional(batch_world(), dtype="float64", tol_pu=1e-11, days=[DAY])
        reset, step = jax.jit(jax.vmap(env.reset)), jax.jit(env.step)
        _, state = reset(jnp.asarray(key))
        engine = jax.tree.map(np.asarray, state.engine)
        mine, *_ = simulation.reset(engine.key, np.full(len(seeds), DAY))
        actors, rng = list(env.world.layout.actors), np.random.default_rng(0)
        for _ in range(7):
            actions = rng.uniform(-1, 1, (len(seeds), len(actors), numpy_world.layout.action_size))
            mine, output = simulation.step(mine, actions)
            given = {
                group: jnp.asarray(actions[:, [actors.index(name) for name in members], : env.action_size[group]])
                for group, members in env.groups.items()
            }
            _, state, *_ = step(key, state, given)
            theirs = jax.tree.map(np.asarray, state.engine)
            assert output.flow.converged.all()
            assert np.abs(mine.v_re - theirs.v_re).max() < 1e-9
            for one, other in zip(mine.devices, theirs.devices, strict=True):
                for a, b in zip(one, other, strict=True):
                    assert np.abs(a - b).max() < 1e-9
            fallen += int((~output.flow.energised).any(-1).sum())
            frequencies |= set(np.round(output.frequency_hz[:, 0], 6).tolist())
    assert fallen > 0
    assert len(frequencies) > 5


def test_each_environment_has_its_bits_in_any_batch() -> None:
    made, rng = build(batch_world()), np.random.default_rng(1)
    simulation, singles = Simulation(made), [Simulation(made) for _ in range(6)]
    key = rng.integers(0, 2**32, (6, 2), dtype=np.uint32)
    together, *_ = simulation.reset(key, np.full(6, DAY))
    alone = [single.reset(key[i], np.array(DAY))[0] for i, single in enumerate(singles)]
    for _ in range(6):
        actions = rng.uniform(-1, 1, (6, len(simulation.layout.actors), simulation.layout.action_size))
        together, output = simulation.step(together, actions)
        for i in range(6):
            alone[i], one = singles[i].step(alone[i], actions[i])
            np.testing.assert_array_equal(one.frequency_hz, output.frequency_hz[i])
            np.testing.assert_array_equal(one.flow.v_re, output.flow.v_re[i])
            np.testing.assert_allclose(one.p_mw, output.p_mw[i], rtol=0, atol=1e-15)


def test_a_feeder_phase_by_phase() -> None:
    """An island of a three-phase feeder with a battery of three phases: balance, and three voltages of 1 pu."""
    battery = {"capacity_mwh": 2.0, "max_p_mw": 0.4, "sn_mva": 0.6, "grid_forming": True}
    source = {
        "name": "phases",
        "network": {
            "base": "ieee34",
            "phases": "three",
            "outages": {"branch": "834-860", "start": 900, "duration": 900},
        },
        "agents": [{"id": "a", "type": "ESS", "bus": "836", "params": battery}],
    }
    env = powergrid.make(source, episode_length=3)
    env.reset(seed=0, options={"day": DAY})
    for tick in range(3):
        env.step({"a": np.zeros(env.action_space("a").shape)})
        flow = env.output.flow
        assert flow.converged
        assert flow.energised.all()
        if tick == 1:
            held = [i for i, bus in enumerate(env.world.network.buses.bus) if bus == "836"]
            np.testing.assert_allclose(flow.v_pu[held], 1.0, atol=1e-6)
            assert env.output.p_mw[0] > 0.02
            assert abs(flow.p_form_mw).max() < 1e-6
            assert env.output.frequency_hz[0] < 60.0


def test_worlds_without_forming_units_know_no_frequency() -> None:
    following = ess("a", "17")
    following["params"]["grid_forming"] = False
    env, outputs, _ = run(world([following]))
    assert env.world.layout.grid.islands is None
    assert outputs[1].frequency_hz.shape == (0,)
    assert not outputs[1].flow.energised.all()
    assert not any("frequency" in label for label in env.observation_labels("a"))


def test_wrong_settings_are_named() -> None:
    lonely = ess("a", "17")
    del lonely["params"]["sn_mva"]
    with pytest.raises(ConfigError, match="grid_forming needs sn_mva"):
        powergrid.make(world([lonely]))
    with pytest.raises(ConfigError, match="droop_percent"):
        powergrid.make(world([ess("a", "17", droop_percent=0.0)]))


def test_islands_that_may_collapse_count_as_topologies() -> None:
    grid = powergrid.network("case33bw")
    cut = [tuple(grid.branch(f"line_{i}") for i in (4, 12, 27))]
    nodes = [(grid.bus(bus),) for bus in ("17", "9", "29")]
    held = hold_islands(grid, cut, nodes, 100)
    assert len(held.topologies) == 8  # as given apart: three islands, each held or dead
    assert sorted(len(references) for references in held.forming) == [0, 1, 1, 1, 2, 2, 2, 3]
    assert hold_islands(grid, cut, nodes, 8) == 9
    switches = [{"id": f"sw_{i}", "type": "Switch", "bus": f"line_{i}"} for i in range(6, 18)]
    with pytest.raises(NetworkError, match=r"islands that may collapse make .* topologies; at most 4,096"):
        powergrid.make(world([ess("a", "17"), *switches], []))
