"""Generator against figures worked out by hand, and its properties."""

from itertools import pairwise

import numpy as np
import pytest
from device_families import build, outlook
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from powergrid.core.types import Injection
from powergrid.devices.generator import OFF, ON, STARTING, STOPPING

NONE = ()


def test_marginal_cost_is_the_slope_of_the_fuel_cost() -> None:
    unit, row = build("DG", p_range=[0, 0.4], fuel_cost=45.0, marginal_cost_slope_per_mw2h=80.0, no_load_cost_per_h=3.0)
    state, injection = unit.step(np, row, unit.reset(np, row, 0.5), unit.Command(0.3, 0.0, 1.0), NONE, 0.5)
    fuel, start = unit.money(np, row, state, injection, NONE, 0.5)
    assert unit.marginal_cost(np, row, 0.3) == pytest.approx(45.0 + 80.0 * 0.3)
    assert fuel == pytest.approx((3.0 + 45.0 * 0.3 + 40.0 * 0.09) * 0.5)
    assert start == 0.0


def test_power_factor_and_rating_bound_the_reactive_power() -> None:
    unit, row = build("DG", p_range=[0, 0.4], sn_mva=0.5, min_power_factor=0.8)
    state = unit.reset(np, row, 0.5)
    _, low = unit.step(np, row, state, unit.Command(0.2, 9.0, 1.0), NONE, 0.25)
    assert low.q_mvar == pytest.approx(0.2 * 0.75)
    _, high = unit.step(np, row, state, unit.Command(0.4, 9.0, 1.0), NONE, 0.25)
    assert high.q_mvar == pytest.approx(0.3)
    assert unit.action_entries()["q_mvar"].high == pytest.approx(0.3)
    plain, row = build("DG")
    assert set(plain.action_entries()) == {"p_mw"}


def test_ramp_holds_between_ticks() -> None:
    unit, row = build("DG", p_range=[0.1, 0.5], ramp_mw_per_h=0.4)
    state = unit.reset(np, row, 0.5)
    powers = []
    for wanted in (0.5, 0.5, 0.0):
        state, injection = unit.step(np, row, state, unit.Command(wanted, 0.0, 1.0), NONE, 0.25)
        powers.append(float(injection.p_mw))
    assert powers == pytest.approx([0.2, 0.3, 0.2])


def test_commitment_takes_its_times_and_costs() -> None:
    unit, row = build(
        "DG", p_range=[0.1, 0.5], commitment=True, min_up_h=0.5, min_down_h=0.5, start_up_h=0.5, shut_down_h=0.25,
        start_cost=5.0, shut_down_cost=2.0,
    )  # fmt: skip
    state = unit.reset(np, row, 0.5)
    modes, money = [], []
    for commit in (0, 0, 1, 1, 1, 1, 0, 0):
        state, injection = unit.step(np, row, state, unit.Command(0.3, 0.0, commit), NONE, 0.25)
        modes.append(float(state.mode))
        money.append(float(unit.money(np, row, state, injection, NONE, 0.25)[1]))
        assert (injection.p_mw > 0.0) == (state.mode == ON)
    # stops at once, is off from the second tick, may start after half an hour, gives power half an hour later
    assert modes == [STOPPING, OFF, OFF, STARTING, STARTING, ON, ON, STOPPING]
    assert money == [2.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 2.0]


def test_a_unit_told_to_stop_goes_down_its_ramp_first() -> None:
    unit, row = build("DG", p_range=[0.1, 0.5], commitment=True, ramp_mw_per_h=0.8)
    state = unit.reset(np, row, 0.5)._replace(p_mw=0.5)
    powers = []
    for _ in range(3):
        state, injection = unit.step(np, row, state, unit.Command(0.5, 0.0, 0.0), NONE, 0.25)
        powers.append(float(injection.p_mw))
    assert powers == pytest.approx([0.3, 0.0, 0.0])


def test_unit_status_is_settled_by_the_restart_cost() -> None:
    unit, row = build("DG", commitment=True, start_cost=7.0)
    on = unit.reset(np, row, 0.5)
    off = on._replace(mode=OFF)
    worth = [float(unit.worth(np, row, state, 50.0)) for state in (on, off, on._replace(mode=STARTING))]
    assert worth == [7.0, 0.0, 7.0]


@given(
    net=st.floats(-0.5, 1.0),
    feed_in=st.floats(0.0, 90.0),
    adder=st.floats(0.0, 60.0),
    marginal=st.floats(20.0, 110.0),
    slope=st.floats(0.0, 200.0),
)
def test_rule_is_the_cheapest_output_behind_a_meter(
    net: float, feed_in: float, adder: float, marginal: float, slope: float
) -> None:
    unit, row = build("DG", p_range=[0.05, 0.4], fuel_cost=marginal, marginal_cost_slope_per_mw2h=slope)
    view = outlook(retail=feed_in + adder, feed_in=feed_in, net_load_mw=net)
    ruled = unit.rule(np, row, unit.reset(np, row, np.array([0.5])), NONE, view, 0.25).p_mw[0]

    def bill(p_mw: np.ndarray) -> np.ndarray:
        bought = np.maximum(net - p_mw, 0.0) * (feed_in + adder) - np.maximum(p_mw - net, 0.0) * feed_in
        return bought + marginal * p_mw + slope * p_mw**2 / 2

    assert 0.05 <= ruled <= 0.4
    assert bill(ruled) <= bill(np.linspace(0.05, 0.4, 401)).min() + 1e-9


def test_rule_starts_for_a_gain_and_stops_for_a_loss() -> None:
    unit, row = build("DG", p_range=[0.1, 0.4], fuel_cost=60.0, commitment=True, start_cost=2.0)
    on = unit.reset(np, row, np.array([0.5]))
    off = on._replace(mode=np.array([OFF]))

    def commit(state: object, retail: float) -> float:
        return float(unit.rule(np, row, state, NONE, outlook(retail, retail, 0.4), 0.25).commit[0])

    # 0.4 MW gain 0.4 (retail - 60) $/h; below 60 the lowest power 0.1 MW loses 0.1 (60 - retail) $/h
    assert [commit(off, retail) for retail in (64.0, 66.0)] == [0.0, 1.0]
    assert [commit(on, retail) for retail in (41.0, 39.0)] == [1.0, 0.0]


def test_linear_cost_lies_below_the_true_one_and_touches_it() -> None:
    unit, _ = build("DG", p_range=[0, 0.4], fuel_cost=45.0, marginal_cost_slope_per_mw2h=80.0)
    linear = unit.linear(NONE)
    assert sum(linear.cost_mw) == pytest.approx(0.4)
    total = float(np.dot(linear.cost_mw, linear.cost_per_mwh))
    assert 45.0 * 0.4 + 40.0 * 0.16 - 80.0 * 0.16 / 3200 * 21 <= total <= 45.0 * 0.4 + 40.0 * 0.16 + 1e-12


@pytest.mark.parametrize(
    "wrong",
    [
        {"p_range": [0.5, 0.1]},
        {"p_range": 0.5},
        {"p_range": [0, 1], "p_max_mw": 1.0},
        {"sn_mva": 0.1},
        {"on_init": False},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build("DG", **wrong)


@given(data=st.data())
def test_limits_ramp_and_times_hold_for_any_commands(data: st.DataObject) -> None:
    unit, row = build("DG", p_range=[0.1, 0.5], commitment=True, ramp_mw_per_h=0.8, min_up_h=0.75, min_down_h=0.5)
    state, history = unit.reset(np, row, 0.5), []
    for _ in range(16):
        command = unit.Command(data.draw(st.floats()), 0.0, data.draw(st.sampled_from([0.0, 1.0, np.nan])))
        before = state
        state, injection = unit.step(np, row, state, command, NONE, 0.25)
        history.append(bool(state.mode == ON))
        assert injection.p_mw == 0.0 if not history[-1] else 0.1 - 1e-12 <= injection.p_mw <= 0.5
        if before.mode == ON and state.mode == ON:
            assert abs(state.p_mw - before.p_mw) <= 0.2 + 1e-12
    changes = [i for i in range(1, 16) if history[i] != history[i - 1]]
    for start, end in pairwise(changes):
        assert (end - start) * 0.25 >= (0.75 if history[start] else 0.5)


def test_kind_gives_usual_values_where_nothing_is_said() -> None:
    unit, row = build("DG", kind="diesel", p_max_mw=0.4)
    assert (row.p_min_mw, row.marginal_cost_per_mwh, row.commitment) == (pytest.approx(0.12), 264.0, 1.0)
    # 0.27 l/kWh at full power, of 10 kWh/l and 1.10 $/l
    full_per_h = row.no_load_cost_per_h + row.marginal_cost_per_mwh * row.p_max_mw
    assert full_per_h / row.p_max_mw == pytest.approx(1100.0 * 0.27)
    assert row.efficiency == pytest.approx(1.0 / (0.27 * 10.0), abs=0.005)
    said, row = build("DG", kind="diesel", p_range=[0.1, 0.5], fuel_cost=200.0, commitment=False, min_up_h=2.0)
    assert (row.p_min_mw, row.p_max_mw, row.marginal_cost_per_mwh, row.commitment, row.min_up_h) == (
        0.1,
        0.5,
        200.0,
        0,
        2,
    )
    assert "commit" in unit.action_entries()
    assert "commit" not in said.action_entries()


def test_diesel_burns_what_the_chart_of_its_source_says() -> None:
    unit, row = build("Generator", kind="diesel", p_max_mw=0.5)
    state = unit.reset(np, row, 0.5)
    for load, litres in ((0.25, 41.6), (0.5, 70.0), (0.75, 99.9), (1.0, 135.1)):
        running = Injection(0.5 * load, 0.0)
        fuel, _ = unit.money(np, row, state._replace(p_mw=0.5 * load), running, unit.Exogenous(), 1.0)
        assert fuel / 1.10 == pytest.approx(litres, rel=0.09)
    assert fuel / 1.10 == pytest.approx(135.1, rel=0.002)


def test_gas_turbine_burns_what_the_test_system_of_its_source_says() -> None:
    unit, row = build("Generator", kind="gas_turbine", p_max_mw=55.0)
    state = unit.reset(np, row, 0.5)
    # unit 302_CT_3 of the RTS-GMLC: heat at the lowest load, and for each MWh more in the thirds above [MMBtu]
    heat, burnt = 22.0 * 15.395, []
    for p_mw, more in ((22.0, 0.0), (33.0, 8.693), (44.0, 9.874), (55.0, 9.939)):
        heat += 11.0 * more
        fuel, _ = unit.money(np, row, state._replace(p_mw=p_mw), Injection(p_mw, 0.0), unit.Exogenous(), 1.0)
        burnt.append((fuel / 35.0, 0.29307107 * heat))
    assert [line for line, _ in burnt] == pytest.approx([curve for _, curve in burnt], rel=0.021)
    # the line meets the curve at both ends to the digits of the settings
    assert [burnt[0][0], burnt[-1][0]] == pytest.approx([burnt[0][1], burnt[-1][1]], rel=1e-3)
    assert row.efficiency == pytest.approx(55.0 / burnt[-1][1], abs=5e-4)
    assert (row.p_min_mw, row.ramp_limit_mw_per_h) == (pytest.approx(22.0), pytest.approx(60.0 * 3.7, rel=1e-4))
    assert (row.min_up_h, row.min_down_h, row.start_up_h) == (2.2, 2.2, 0.25)
    assert row.start_cost == pytest.approx(67.0 * 55.0)


def test_gas_turbine_is_on_power_after_its_start() -> None:
    unit, row = build("DG", kind="gas_turbine", p_max_mw=5.0, on_init=False)
    state, power = unit.reset(np, row, 0.5), []
    for _ in range(7):
        state, injection = unit.step(np, row, state, unit.Command(5.0, 0.0, 1.0), unit.Exogenous(), 1.0 / 12.0)
        power.append(float(injection.p_mw))
    # a quarter of an hour to start, then at once at its lowest, and up by a third of its range in five minutes
    assert power == pytest.approx([0.0, 0.0, 0.0, 2.0, 3.6817, 5.0, 5.0], abs=1e-4)


@pytest.mark.parametrize("wrong", [{"kind": "steam"}, {"kind": "diesel", "p_max_mw": "much"}])
def test_impossible_kinds_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build("DG", **wrong)
