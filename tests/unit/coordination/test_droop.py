"""Secondary control of frequency: closed forms in an island, the averaging among members, and what is refused."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import powergrid
from powergrid.agents.protocol import Context, Member, Members
from powergrid.agents.protocols.droop import SecondaryFrequencyControl
from powergrid.core import graph
from powergrid.core.errors import ConfigError, NetworkWarning
from powergrid.core.graph import Graph
from powergrid.testing import check_protocol

import strange  # noqa: F401  isort: skip  (registers protocols and policies)

F_HZ, TICK_S, DAY = 60.0, 30, 30
STIFFNESS = np.array([0.4 / 0.05, 0.6 / 0.04, 0.2 / 0.02]) / F_HZ  # 1 / m [MW/Hz]
PATH = [["a", "b"], ["b", "c"]]


def ess(name: str, bus: str, max_p_mw: float, **params: Any) -> dict[str, Any]:
    given = {"capacity_mwh": 4.0, "max_p_mw": max_p_mw, "sn_mva": 1.5 * max_p_mw, "grid_forming": True}
    return {"id": name, "type": "ESS", "bus": bus, "params": given | params}


def world(members: list[str] | None = None, ticks: int = 16, until: int = 900, **params: Any) -> dict[str, Any]:
    """Three units carry buses 13 to 17 from tick 1 on."""
    units = [ess("a", "17", 0.4), ess("b", "14", 0.6, droop_percent=4.0), ess("c", "15", 0.2, droop_percent=2.0)]
    protocol = {"type": "droop", "members": members, "topology": PATH, "params": params}
    if members is not None and len(members) < 3:
        protocol["topology"] = "full"
    return {
        "name": "islands",
        "network": {
            "base": "case33bw",
            "outages": {"branch": "line_12", "start": TICK_S, "duration": TICK_S * until},
        },
        "agents": units,
        "protocols": [] if members is None else [protocol],
        "simulation": {"time_step": TICK_S, "episode_length": ticks},
    }


def run(config: dict[str, Any], backend: str = "numpy", sets: tuple[float, ...] = (0.0, 0.0, 0.0)) -> list[Any]:
    """Outputs of an episode in which the units' set points of active power stay as they are [MW]."""
    env = powergrid.make(config, backend=backend)
    env.reset(seed=0, options={"day": DAY})
    actions = {id: np.array([p / most, 0.0]) for id, p, most in zip("abc", sets, (0.4, 0.6, 0.2), strict=True)}
    outputs = []
    while env.agents:
        env.step(actions)
        outputs.append((env.output.frequency_hz.copy(), env.output.p_mw.copy(), np.array(env._state.signals)))
    env.close()
    return outputs


def test_frequency_returns_to_nominal_and_sharing_stays_as_by_droop() -> None:
    sets = (0.04, -0.06, 0.0)
    alone, restored = run(world(), sets=sets), run(world(list("abc"), restoration_time_s=30.0), sets=sets)
    missing = alone[1][1].sum() - sum(sets)
    assert missing > 0.05
    for tick in range(1, 16):
        frequency_hz, p_mw, shifts_hz = restored[tick]
        now = alone[tick][1].sum() - sum(sets)
        assert alone[tick][0] == pytest.approx(F_HZ - now / STIFFNESS.sum(), abs=1e-6)  # f = f0 - R / sum(1 / m)
        assert p_mw == pytest.approx(alone[tick][1], abs=5e-7)
        assert p_mw - sets == pytest.approx(now * STIFFNESS / STIFFNESS.sum(), abs=5e-7)
        assert np.ptp(shifts_hz) <= 1e-12
        if abs(now - missing) < 1e-9:  # the load is constant within a quarter of an hour
            left = math.exp(-TICK_S / 30.0) ** (tick - 1)
            assert frequency_hz == pytest.approx(F_HZ - left * missing / STIFFNESS.sum(), abs=1e-5)
    assert restored[-1][0] == pytest.approx(F_HZ, abs=1e-5)
    assert restored[-1][2] == pytest.approx(missing / STIFFNESS.sum(), abs=1e-5)


def test_an_island_is_where_leader_and_followers_of_a_voltage_control_come_to_rest() -> None:
    """The largest unit holds 1 pu, and reactive power is shared as ``q_i / q_j = m_j / m_i``, whatever the voltages."""
    env = powergrid.make(world(["a", "b", "c"], ticks=6), backend="numpy")
    env.reset(seed=0, options={"day": DAY})
    while env.agents:
        env.step({id: np.zeros(env.action_space(id).shape) for id in env.agents})
    flow, q_mvar = env.output.flow, env.output.q_mvar
    buses = [env.world.network.bus(bus) for bus in ("17", "14", "15")]
    assert flow.v_pu[buses[1]] == pytest.approx(1.0, abs=1e-6)
    assert np.ptp(flow.v_pu[buses]) > 1e-5
    assert q_mvar.sum() > 0.05
    np.testing.assert_allclose(q_mvar, q_mvar.sum() * STIFFNESS / STIFFNESS.sum(), atol=1e-5)


def test_units_that_are_no_members_return_to_their_set_points() -> None:
    outputs = run(world(["a", "b"], restoration_time_s=15.0), sets=(0.0, 0.0, 0.05))
    first, last = outputs[1][1] - [0.0, 0.0, 0.05], outputs[-1][1] - [0.0, 0.0, 0.05]
    assert first / STIFFNESS == pytest.approx(first[0] / STIFFNESS[0], rel=1e-5)
    assert outputs[-1][0] == pytest.approx(F_HZ, abs=1e-3)
    assert last[2] == pytest.approx(0.0, abs=2e-4)
    assert last[0] / last[1] == pytest.approx(STIFFNESS[0] / STIFFNESS[1], rel=1e-4)
    assert last.sum() == pytest.approx(first.sum(), abs=1e-5)


def test_a_unit_at_its_limit_leaves_the_rest_to_others_at_nominal_frequency() -> None:
    config = world(list("abc"), restoration_time_s=15.0)
    config["agents"][0]["params"] |= {"max_p_mw": 0.01, "sn_mva": 0.3, "droop_percent": 0.1}
    frequency_hz, p_mw, _ = run(config)[-1]
    assert p_mw[0] == pytest.approx(0.01, abs=1e-12)
    assert p_mw[1] / p_mw[2] == pytest.approx(STIFFNESS[1] / STIFFNESS[2], rel=1e-5)
    assert frequency_hz == pytest.approx(F_HZ, abs=1e-4)


def test_beside_the_source_shifts_are_zero_and_set_points_hold() -> None:
    outputs = run(world(list("abc"), ticks=8, until=4), sets=(0.1, 0.0, -0.05))
    assert (outputs[4][2] != 0.0).all()
    for tick in (0, 5, 6, 7):
        assert outputs[tick][0] == pytest.approx(F_HZ, abs=0.0)
        assert outputs[tick][1] == pytest.approx([0.1, 0.0, -0.05], abs=1e-12)
        assert (outputs[tick][2] == 0.0).all()


def test_shifts_end_at_their_bound() -> None:
    outputs = run(world(list("abc"), ticks=6, max_offset_percent=0.1))
    assert outputs[-1][2] == pytest.approx(0.06, abs=1e-12)
    assert outputs[-1][0] == pytest.approx(outputs[1][0] + 0.06, abs=1e-5)
    assert (outputs[-1][0] < F_HZ - 0.05).all()


def test_the_compiled_step_gives_the_same() -> None:
    config = world(list("abc"), ticks=8, until=4, delay_s=45.0)
    pairs = zip(run(config, sets=(0.1, 0.0, -0.05)), run(config, "fused", sets=(0.1, 0.0, -0.05)), strict=True)
    for one, other in pairs:
        for a, b in zip(one, other, strict=True):
            assert a == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("cut", [False, True])
def test_protocols_read_frequency_and_island_of_members_with_a_unit(cut: bool) -> None:
    """A member without a unit reads neither; a world without islands has the nominal frequency."""
    config = world(ticks=3, until=1)
    if not cut:
        del config["network"]["outages"]
    config["agents"].append({"id": "operator", "type": "GridCoordinator", "sub_agents": []})
    config["protocols"] = [{"type": "frequency_meter", "members": ["operator", "b"]}]
    for backend in ("numpy", "fused"):
        outputs = run(config, backend)
        for tick in range(3):
            hertz, island = outputs[tick][2].reshape(2, 2)
            assert np.isnan([hertz[0], island[0]]).all()
            assert hertz[1] == (outputs[tick][0][1] if cut else F_HZ)
            assert island[1] == (0.0 if cut and tick == 1 else -1.0)


# -- the averaging alone


def loop(links: Graph, **params: Any) -> tuple[Any, Any]:
    """The protocol among members on a graph, and what its kernel uses at nominal frequency in one island."""
    protocol, size = SecondaryFrequencyControl(**params), links.size
    members = (Member(f"m{k}", 0.0, 1.0, forming_mva=1.0, injecting=(f"m{k}",)) for k in range(size))
    added = protocol.entries(Members(members, links, TICK_S / 3600.0, F_HZ))
    nothing = np.zeros(size)
    ctx = Context(
        params=protocol.params(),
        dt_h=TICK_S / 3600.0,
        tick=np.zeros(1),
        due=nothing,
        retail_per_mwh=nothing,
        feed_in_per_mwh=nothing,
        price_per_mwh=nothing[:1],
        v_pu=nothing + 1.0,
        governed=nothing[:0],
        command_member=np.zeros(0, int),
        tables=added.tables,
        uniform=nothing,
        frequency_hz=nothing + F_HZ,
        island=nothing,
        works=nothing + 1.0,
    )
    start = protocol.initial(np, (), added.widths, float)
    return start, lambda state, **now: protocol.after(np, ctx._replace(**now), state, nothing)[0]


def test_differences_contract_as_the_graph_says() -> None:
    links = graph.ring(6)
    state, tick = loop(links, rounds_per_tick=2)
    values = np.array([0.3, -0.1, 0.2, 0.0, 0.4, -0.2])
    state = state._replace(offset_hz=values)
    start = np.linalg.norm(values - values.mean())
    for k in range(1, 6):
        state = tick(state)
        assert state.offset_hz.mean() == pytest.approx(values.mean(), abs=1e-12)
        distance = np.linalg.norm(state.offset_hz - values.mean())
        assert distance <= links.contraction ** (2 * k) * start + 1e-12
    assert distance < 0.01 * start


def test_only_members_of_one_island_average() -> None:
    state, tick = loop(graph.full(5), rounds_per_tick=50)
    state = state._replace(offset_hz=np.array([0.4, 0.2, -0.3, -0.1, 0.5]))
    island = np.array([0.0, 0.0, 1.0, 1.0, -1.0])
    state = tick(state, island=island)
    assert state.offset_hz == pytest.approx([0.3, 0.3, -0.2, -0.2, 0.0], abs=1e-9)
    frequency_hz = np.array([59.0, 59.0, 60.0, 60.0, 60.0])
    gain = 1.0 - math.exp(-TICK_S / 60.0)
    state = tick(state, island=island, frequency_hz=frequency_hz)
    assert state.offset_hz == pytest.approx([0.3 + gain, 0.3 + gain, -0.2, -0.2, 0.0], abs=1e-9)


def test_members_out_of_service_neither_average_nor_restore() -> None:
    state, tick = loop(graph.full(3), rounds_per_tick=50)
    state = state._replace(offset_hz=np.array([0.4, 0.2, 0.9]))
    state = tick(state, works=np.array([1.0, 1.0, 0.0]))
    assert state.offset_hz == pytest.approx([0.3, 0.3, 0.0], abs=1e-9)


@pytest.mark.parametrize("delay", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("links", [graph.full(2), graph.full(6), graph.ring(8), graph.star(7)], ids=lambda g: g.name)
def test_the_loop_is_stable_at_any_delay_and_gain(links: Graph, delay: int) -> None:
    """With a constant load and units of different stiffness, f = f0 + sum(w o) / sum(w) - R / sum(w)."""
    state, tick = loop(links, delay_s=float(delay * TICK_S), restoration_time_s=1.0)
    rng = np.random.default_rng(delay)
    share = rng.dirichlet(np.ones(links.size))
    wanted_hz = 0.7
    state = state._replace(offset_hz=rng.uniform(-1.0, 1.0, links.size))
    for _ in range(400 * (1 + delay)):
        deviation = share @ state.offset_hz - wanted_hz
        state = tick(state, frequency_hz=np.full(links.size, F_HZ + deviation))
    assert state.offset_hz == pytest.approx(wanted_hz, abs=1e-6)


def test_a_delay_counts_started_ticks() -> None:
    state, tick = loop(graph.full(2), delay_s=TICK_S + 1.0)  # two ticks
    state, seen = state._replace(offset_hz=np.array([0.0, 1.0])), []
    for _ in range(4):
        state = tick(state)
        seen.append(state.offset_hz[0])
    assert seen[:2] == [0.0, 0.0]
    assert seen[2] == pytest.approx(0.1)  # 1 / 2 over 1 + 2 * 2
    assert seen[3] > seen[2]


# -- what is refused


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"restores": "voltage"}, "an island holds 1 pu"),
        ({"q_droop_percent": 5.0}, "q_droop_percent"),
        ({"restoration_time_s": 0.0}, "restoration_time_s"),
        ({"rounds_per_tick": 3, "delay_s": 60.0}, "allow one round a tick"),
        ({"max_offset_percent": 30.0}, "max_offset_percent"),
    ],
)
def test_wrong_settings_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SecondaryFrequencyControl(**params)


def test_settings_as_they_are_written_out_are_read_again() -> None:
    settings = SecondaryFrequencyControl(delay_s=60.0).settings
    assert SecondaryFrequencyControl(**settings.model_dump()).settings == settings


def test_members_that_form_no_grid_are_refused_by_name() -> None:
    config = world(list("abc"))
    config["agents"][1]["params"]["grid_forming"] = False
    with pytest.raises(ConfigError, match=r'"b" has no unit that forms grids\s+.*grid_forming: true'):
        powergrid.make(config, backend="numpy")


def test_members_apart_and_members_of_two_are_refused() -> None:
    config = world(list("abc"))
    config["protocols"][0]["topology"] = PATH[:1]
    with pytest.raises(ConfigError, match='"a" reaches "c" over no link'):
        powergrid.load_config(config)
    config = world(list("abc"))
    config["protocols"].append({"type": "droop", "members": ["a", "b"]})
    with pytest.raises(ConfigError, match='"a" receives frequency_offset_hz from 2 protocols'):
        powergrid.make(config, backend="numpy")


def test_on_a_stiff_grid_it_says_that_it_does_nothing() -> None:
    config = world(list("abc"))
    del config["network"]["outages"]
    with pytest.warns(NetworkWarning, match='droop: no outage or switch leaves "a", "b", "c" in an island'):
        env = powergrid.make(config, backend="numpy")
    env.reset(seed=0)
    env.step({id: np.array([0.5, 0.0]) for id in "abc"})
    assert env.output.p_mw == pytest.approx([0.2, 0.3, 0.1])
    assert (env._state.signals == 0.0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        powergrid.make(world(list("abc")), backend="numpy")


def test_the_example_restores_the_frequency() -> None:
    env = powergrid.make("configs/droop_island.yaml", backend="numpy")
    observations, _ = env.reset(seed=0)
    label = env.observation_labels("dg_1").index("dg_1.frequency_offset [Hz]")
    lowest, last, shifts = F_HZ, F_HZ, []
    while env.agents:
        observations, *_ = env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
        shifts.append(observations.get("dg_1", np.zeros(label + 1))[label])
        hertz = float(env.output.frequency_hz[0])
        lowest, last = min(lowest, hertz), hertz if shifts[-1] else last
    assert lowest < F_HZ - 0.05
    assert last == pytest.approx(F_HZ, abs=0.01)
    assert max(np.abs(shifts)) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, {"delay_s": 3700.0, "restoration_time_s": 7000.0}], ids=str)
def test_it_is_the_same_in_every_form(params: dict[str, float]) -> None:
    check_protocol("droop", **params)
