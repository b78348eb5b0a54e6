"""Volt-var and volt-watt as protocols: the curves of policies, curves given as data, and a burden that is shared."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import powergrid
from powergrid.agents.curves import CATEGORY_A, CATEGORY_B, Curve, droop
from powergrid.agents.protocol import Context, Inverter, Member, Members
from powergrid.agents.protocols.volt_var import VoltVar
from powergrid.agents.protocols.volt_watt import VoltWatt
from powergrid.core import graph
from powergrid.core.errors import ConfigError
from powergrid.core.graph import Graph
from powergrid.datasets import Dataset
from powergrid.datasets.resample import Series
from powergrid.testing import check_protocol

BUSES, RATING = ("17", "16", "14"), np.array([0.6, 0.6, 1.2])
IDS = [f"pv_{bus}" for bus in BUSES]


@powergrid.register_dataset("full sun")
def full_sun(start: Any = None, end: Any = None, cache_dir: Any = None, download: bool = False) -> Dataset:
    """One day whose sun and load never change."""
    names = ("load_p_pu:x", "load_q_pu:x", "pv_pu:x", "price_per_mwh:x")
    one = {name: Series(np.ones(96), 900) for name in names}
    return Dataset.from_columns("full sun", one, start=datetime(2022, 1, 1, tzinfo=UTC), utc_offset_h=0.0)


def world(
    *protocols: dict[str, Any], policy: str = "rule_based", p_mw: float = 0.5, ticks: int = 3, **network: Any
) -> dict[str, Any]:
    """Three plants at the end of a feeder in full sun."""
    plants = [
        {"id": id, "type": "RES", "bus": bus, "policy": policy, "params": {"p_max_mw": p_mw, "sn_mva": float(rating)}}
        for id, bus, rating in zip(IDS, BUSES, RATING, strict=True)
    ]
    battery = {
        "id": "ess",
        "type": "ESS",
        "bus": "2",
        "policy": "learned",
        "params": {"max_p_mw": 1e-6, "capacity_mwh": 1e-6},
    }
    return {
        "name": "curves",
        "network": {"base": "case33bw", "load_scale": 0.6, "source_pu": 1.05, **network},
        "datasets": "full sun",
        "agents": [*plants, battery],
        "protocols": list(protocols),
        "simulation": {"time_step": 900, "episode_length": ticks},
    }


def named(kind: str, members: list[str] = IDS, topology: Any = None, **params: Any) -> dict[str, Any]:
    given = {"type": kind, "members": members, "params": params}
    return given if topology is None else {**given, "topology": topology}


def run(config: dict[str, Any], backend: str = "numpy", actions: dict[str, Any] | None = None) -> tuple[Any, list[Any]]:
    """The environment, and active power, reactive power, voltages and signals of every tick."""
    env = powergrid.make(config, backend=backend, tol_pu=1e-12)
    env.reset(seed=0)
    found = []
    while env.agents:
        env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents} | (actions or {}))
        output = env.output
        found.append((output.p_mw.copy(), output.q_mvar.copy(), output.flow.v_pu.copy(), np.array(env._state.signals)))
    return env, found


def voltages(env: Any, tick: Any) -> np.ndarray:
    """Voltages of the plants' terminals [pu]."""
    return tick[2][[env.world.network.bus(bus) for bus in BUSES]]


# -- each by its own curve


@pytest.mark.parametrize(
    ("policy", "protocols"),
    [
        ("volt_var_a", [named("volt_var", category="A")]),
        ("volt_watt", [named("volt_watt")]),
        ("volt_var_watt", [named("volt_var"), named("volt_watt")]),
    ],
    ids=["volt_var_a", "volt_watt", "volt_var_watt"],
)
def test_results_are_those_of_the_policy_with_the_same_curve(policy: str, protocols: list[dict[str, Any]]) -> None:
    by_policy, by_protocol = run(world(policy=policy, ticks=2))[1], run(world(*protocols, ticks=2))[1]
    for one, other in zip(by_policy, by_protocol, strict=True):
        for a, b in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(a, b)
    assert (np.abs(one[1][:3]) > 0.05).all() or (one[0][:3] < 0.45).any()  # the curve answers


def test_units_rest_on_curves_given_as_data() -> None:
    corners, share, begin, end, left = (0.9, 0.95, 1.0, 1.05), 0.3, 1.01, 1.06, 0.4
    var = named("volt_var", v_pu=list(corners), q_share=share)
    watt = named("volt_watt", IDS[:2], v_begin_pu=begin, v_end_pu=end, left_share=left)
    env, found = run(world(var, watt))
    p_mw, q_mvar, *_ = found[-1]
    v = voltages(env, found[-1])
    assert ((v > begin) & (v < end)).all()
    allowed = 0.5 * (1.0 - (1.0 - left) * (v - begin) / (end - begin))
    assert p_mw[:2] == pytest.approx(allowed[:2], abs=1e-9)
    assert p_mw[2] == pytest.approx(0.5, abs=1e-12)
    assert q_mvar[:3] == pytest.approx(RATING * droop(np, v, Curve(*corners, share)), abs=1e-9)
    assert (q_mvar[:3] < -0.05).all()


def test_a_learner_chooses_below_the_limit_and_its_reactive_power_is_the_curves() -> None:
    config = world(
        named("volt_var"), named("volt_watt", v_begin_pu=1.01, v_end_pu=1.02, left_share=0.2), policy="learned"
    )
    env = powergrid.make(config, backend="numpy", tol_pu=1e-12)
    env.reset(seed=0)
    assert env.action_labels(IDS[0]) == (f"{IDS[0]}.p_share [1]", f"{IDS[0]}.q [Mvar]")
    for share, q_number in ((1.0, 1.0), (1.0, -1.0), (-0.9, 1.0)):
        env.step({id: np.array([share, q_number]) for id in IDS} | {"ess": np.zeros(1)})
        v = voltages(env, (None, None, env.output.flow.v_pu))
        assert env.output.q_mvar[:3] == pytest.approx(RATING * droop(np, v, CATEGORY_B), abs=1e-9)
        wanted, allowed = 0.5 * (0.5 + 0.5 * share), 0.5 * (1.0 - 0.8 * np.clip((v - 1.01) / 0.01, 0.0, 1.0))
        assert env.output.p_mw[:3] == pytest.approx(np.minimum(wanted, allowed), abs=1e-9)


def test_everything_below_a_coordinator_follows() -> None:
    config = world(named("volt_var", ["park"], category="A"))
    config["agents"].append({"id": "park", "type": "GridCoordinator", "sub_agents": IDS[:2]})
    env, found = run(config)
    v, q_mvar = voltages(env, found[-1]), found[-1][1]
    assert q_mvar[:2] == pytest.approx((RATING * droop(np, v, CATEGORY_A))[:2], abs=1e-9)
    assert q_mvar[2] == 0.0


# -- a burden that is shared


def test_at_rest_all_members_are_used_alike_and_give_what_their_curves_ask_for() -> None:
    shared = named("volt_var", topology=[IDS[:2], IDS[1:]], form="distributed", rounds_per_tick=5)
    env, found = run(world(shared, ticks=12))
    alone = run(world(named("volt_var"), ticks=1))[1][0]
    assert np.ptp(alone[1][:3] / RATING) > 0.02
    for tick, (_, q_mvar, _, shifts) in enumerate(found):
        asked = RATING * droop(np, voltages(env, found[tick]), CATEGORY_B)
        assert q_mvar[:3].sum() == pytest.approx(asked.sum(), abs=1e-9)  # what is handed over sums to zero
        before = found[tick - 1][3] if tick else 0.0 * shifts
        assert q_mvar[:3] == pytest.approx(asked + RATING * before, abs=1e-9)
    assert (found[0][1] == alone[1]).all()  # nothing is agreed yet
    assert np.ptp(found[-1][1][:3] / RATING) < 1e-6
    assert found[-1][1][:3] == pytest.approx(asked.sum() * RATING / RATING.sum(), abs=1e-6)


def test_a_unit_without_voltage_takes_back_what_it_handed_over() -> None:
    shared = named("volt_var", topology="full", form="distributed")
    config = world(shared, ticks=8, outages={"branch": "line_16", "start": 3 * 900, "duration": 2 * 900})
    env, found = run(config)
    for tick, (_, q_mvar, _, shifts) in enumerate(found):
        v = voltages(env, found[tick])
        dead = tick in (3, 4)
        assert (v[0] == 0.0) == dead
        assert (shifts[0] == 0.0) == dead
        assert RATING @ shifts == pytest.approx(0.0, abs=1e-12)
        if not dead and tick not in (0, 5):
            assert abs(shifts).min() > 1e-5
        if tick != 3:  # in this tick the others still give what the first one handed over
            asked = RATING * droop(np, v, CATEGORY_B) * (v > 0.0)
            assert q_mvar[:3].sum() == pytest.approx(asked.sum(), abs=1e-9)


def test_a_unit_out_of_service_takes_back_what_it_handed_over() -> None:
    config = world(named("volt_var", topology="full", form="distributed"), ticks=8)
    config["agents"][0]["failures"] = {}
    env = powergrid.make(config, backend="numpy", tol_pu=1e-12)
    env.reset(seed=0, options={"device_outages": [{"device": IDS[0], "start": 3 * 900, "duration": 2 * 900}]})
    for tick in range(8):
        env.step({"ess": np.zeros(1)})
        out, q_mvar, shifts = tick in (3, 4), env.output.q_mvar[:3], env._state.signals[:3]
        assert (q_mvar[0] == 0.0) == out
        assert (shifts[0] == 0.0) == out
        assert RATING @ shifts == pytest.approx(0.0, abs=1e-12)
        assert (np.abs(shifts[1:]) > 1e-5).all()


def test_the_compiled_step_gives_the_same() -> None:
    shared = named("volt_var", topology=[IDS[:2], IDS[1:]], form="distributed", rounds_per_tick=3)
    config = world(shared, named("volt_watt", v_begin_pu=1.01, v_end_pu=1.06), ticks=5)
    for one, other in zip(run(config)[1], run(config, "fused")[1], strict=True):
        for a, b in zip(one, other, strict=True):
            assert a == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("links", [graph.full(2), graph.ring(6), graph.star(7)], ids=lambda g: g.name)
def test_the_loop_is_stable_at_any_gain(links: Graph, rounds: int) -> None:
    """Voltages ``v = v0 + X S u`` with random reactances and ratings, far beyond a loop gain of 1."""
    rng, size = np.random.default_rng(rounds), links.size
    rating, curve = rng.uniform(0.1, 3.0, size), Curve(0.5, 1.0, 1.0, 1.5, 1.0)
    root = rng.normal(0.0, 1.0, (size, size))
    reactance = 20.0 * root @ root.T / size
    members = Members(
        (Member(f"m{k}", 0.0, 0.0, inverters=(Inverter(f"m{k}", s),)) for k, s in enumerate(rating)), links, 0.25
    )
    protocol = VoltVar(form="distributed", v_pu=[*curve[:4]], q_share=1.0, rounds_per_tick=rounds)
    added, nothing = protocol.entries(members), np.zeros(size)
    state = protocol.initial(np, (), added.widths, float)
    ctx = Context(
        params=protocol.params(),
        dt_h=0.25,
        tick=np.zeros(1),
        due=nothing,
        retail_per_mwh=nothing,
        feed_in_per_mwh=nothing,
        price_per_mwh=nothing[:1],
        v_pu=nothing,
        governed=nothing[:0],
        command_member=np.zeros(0, int),
        tables=added.tables,
        uniform=nothing,
        frequency_hz=nothing,
        island=nothing,
        works=nothing + 1.0,
    )
    slope, base = 2.0, 1.0 + rng.uniform(-0.3, 0.3, size)
    gain = slope * reactance * rating
    shift = nothing
    for _ in range(4000):
        # v - 1 = base - 1 + X S (-slope (v - 1) + shift)
        v = 1.0 + np.linalg.solve(np.eye(size) + gain, base - 1.0 + reactance @ (rating * shift))
        state, sent, *_ = protocol.after(np, ctx._replace(v_pu=v), state, nothing)
        shift = sent.volt_var_shift
        assert rating @ shift == pytest.approx(0.0, abs=1e-9)
    used = droop(np, v, curve) + shift
    assert np.abs(gain).max() > 10.0
    assert np.ptp(used) < 1e-3 * np.abs(shift).max()
    assert used == pytest.approx(rating @ droop(np, v, curve) / rating.sum(), abs=1e-3)


# -- what is refused


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        (VoltVar, {"category": "C"}, "category"),
        (VoltVar, {"v_pu": [0.9, 0.98, 0.97, 1.05]}, "must rise"),
        (VoltVar, {"v_pu": [0.9, 0.98, 1.02, 2.0]}, "between 0.5 and 1.5"),
        (VoltVar, {"q_share": 1.5}, "q_share"),
        (VoltVar, {"rounds_per_tick": 3}, "form: distributed"),
        (VoltVar, {"form": "distributed", "rounds_per_tick": 0}, "rounds_per_tick"),
        (VoltWatt, {"v_begin_pu": 1.1, "v_end_pu": 1.06}, "must be below"),
        (VoltWatt, {"v_begin_pu": 0.9}, "v_begin_pu"),
        (VoltWatt, {"left_share": -0.1}, "left_share"),
    ],
)
def test_wrong_settings_are_refused(kind: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**params)


def _no_reactive_power(config: dict[str, Any]) -> None:
    del config["agents"][0]["params"]["sn_mva"]


def _learns_that_alone(config: dict[str, Any]) -> None:
    config["agents"][0] = {"id": IDS[0], "type": "Statcom", "bus": "17", "policy": "learned", "params": {"sn_mva": 0.3}}


def _only_draws(config: dict[str, Any]) -> None:
    config["agents"][0] = {
        "id": IDS[0],
        "type": "Load",
        "bus": "17",
        "policy": "rule_based",
        "params": {"p_mw": 0.1, "curtailable_share": 0.5},
    }


def _forms_islands(config: dict[str, Any]) -> None:
    forming = {"max_p_mw": 0.5, "capacity_mwh": 2.0, "sn_mva": 0.8, "grid_forming": True}
    config["agents"][0] = {"id": IDS[0], "type": "ESS", "bus": "17", "policy": "rule_based", "params": forming}
    config["network"]["outages"] = {"branch": "line_12", "start": 900, "duration": 900}


@pytest.mark.parametrize(
    ("protocols", "change", "message"),
    [
        ([named("volt_var")], _no_reactive_power, 'a volt-var curve for "pv_17": it has no unit that offers'),
        ([named("volt_var", form="distributed")], _no_reactive_power, '"pv_17" is no unit with reactive power'),
        ([named("volt_var")], _forms_islands, 'a volt-var curve for "pv_17": it has no unit that offers'),
        ([named("volt_var")], _learns_that_alone, '"pv_17" learns its reactive power alone'),
        ([named("volt_watt")], _only_draws, 'a volt-watt curve for "pv_17": it has no unit that offers'),
        ([named("volt_var"), named("volt_var", IDS[:1])], None, '"pv_17" gets a volt-var curve from two protocols'),
        ([named("volt_var", topology="neighbours")], None, "follow their own voltage use no links"),
        ([named("volt_watt", topology="star")], None, "knows no links"),
        ([named("volt_var", topology=[IDS[:2]], form="distributed")], None, '"pv_17" reaches "pv_14" over no link'),
    ],
)
def test_members_and_links_that_do_not_fit_are_refused(protocols: Any, change: Any, message: str) -> None:
    config = world(*protocols)
    if change is not None:
        change(config)
    with pytest.raises(ConfigError, match=message):
        powergrid.make(config, backend="numpy")


def test_the_example_shares_its_burden() -> None:
    env = powergrid.make("configs/shared_volt_var.yaml", backend="numpy")
    env.reset(seed=0, options={"day": 180})
    spread, used = [], []
    while env.agents:
        env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
        units = {id: k for k, id in enumerate(env.world.layout.units)}
        share = [env.output.q_mvar[units[id]] / rating for id, rating in (("pv_1", 0.6), ("pv_2", 0.6), ("pv_3", 1.2))]
        spread.append(np.ptp(share))
        used.append(max(map(abs, share)))
    assert max(used) > 0.1
    assert np.median(spread) < 0.1 * max(used)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("volt_var", {"category": "A"}),
        ("volt_var", {"form": "distributed", "v_pu": [0.9, 0.98, 0.98, 1.02]}),
        ("volt_watt", {"v_begin_pu": 1.001, "v_end_pu": 1.01}),
    ],
    ids=str,
)
def test_every_form_of_the_step_gives_the_same(name: str, params: dict[str, Any]) -> None:
    check_protocol(name, **params)
