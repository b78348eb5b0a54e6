"""Renewable, load, capacitor and grid connection against figures worked out by hand."""

import numpy as np
import pytest
from device_families import build, outlook
from pydantic import ValidationError


def test_renewable_delivers_a_share_of_what_is_available() -> None:
    unit, row = build("RES", p_max=0.3, type="wind")
    assert unit.series() == {"available_pu": "wind_pu"}
    assert unit.policy == "mppt"
    state = unit.reset(np, row, 0.5)
    state, injection = unit.step(np, row, state, unit.Command(0.5, 1.0), unit.Exogenous(0.8), 0.25)
    assert state.available_mw == pytest.approx(0.24)
    assert tuple(injection) == pytest.approx((0.12, 0.0))
    account = unit.energy(np, row, state, state, injection, unit.Exogenous(0.8), 0.25)
    assert account.lost == pytest.approx(0.12 * 0.25)


def test_renewable_that_cannot_be_curtailed_delivers_everything() -> None:
    unit, row = build("RES", p_max_mw=0.2, curtailable=False)
    assert unit.action_entries() == {}
    _, injection = unit.step(np, row, unit.State(0.0), unit.Command(0.0, 0.0), unit.Exogenous(0.5), 0.25)
    assert injection.p_mw == pytest.approx(0.1)


def test_small_inverter_clips_the_plant() -> None:
    unit, row = build("RES", p_max_mw=0.5, sn_mva=0.4, series="pv_pu:site")
    state, injection = unit.step(np, row, unit.State(0.0), unit.idle(), unit.Exogenous(1.0), 0.25)
    assert state.available_mw == injection.p_mw == pytest.approx(0.4)
    _, injection = unit.step(np, row, state, unit.Command(0.6, -9.0), unit.Exogenous(1.0), 0.25)
    assert injection.q_mvar == pytest.approx(-0.32)
    assert unit.series() == {"available_pu": "pv_pu:site"}


def test_linear_renewable_offers_what_is_available() -> None:
    unit, _ = build("RES", p_max_mw=0.5)
    linear = unit.linear(unit.Exogenous(np.array([0.0, 0.4, 1.2])))
    assert linear.p_max_mw == pytest.approx([0.0, 0.2, 0.5])
    assert linear.p_min_mw == pytest.approx([0.0, 0.0, 0.0])


def test_load_serves_at_least_the_firm_share_and_pays_for_the_rest() -> None:
    unit, row = build("Load", p_mw=0.2, q_mvar=0.1, curtailable_share=0.25, curtailment_cost_per_mwh=400.0)
    state, injection = unit.step(np, row, unit.State(0.0), unit.Command(0.0), unit.Exogenous(0.5), 0.5)
    assert tuple(injection) == pytest.approx((-0.075, -0.0375))
    assert unit.money(np, row, state, injection, unit.Exogenous(0.5), 0.5)[0] == pytest.approx(0.025 * 0.5 * 400.0)
    assert unit.action_entries()["served_share"].low == 0.75
    fixed, _ = build("FixedLoad")
    assert fixed.action_entries() == {}


def test_load_power_factor_is_lagging() -> None:
    _, row = build("Load", p_mw=0.2, power_factor=0.8)
    assert row.q_nominal_mvar == pytest.approx(0.15)


def test_load_is_left_unserved_only_where_that_is_cheaper() -> None:
    unit, row = build("Load", curtailable_share=0.3, curtailment_cost_per_mwh=500.0)
    dear, cheap = (unit.rule(np, row, None, None, outlook(retail=price), 0.25) for price in (501.0, 499.0))
    assert (dear.served_share, cheap.served_share) == (pytest.approx(0.7), pytest.approx(1.0))


def test_linear_load_prices_what_is_not_served() -> None:
    unit, _ = build("Load", p_mw=0.2, curtailable_share=0.5)
    linear = unit.linear(unit.Exogenous(np.array([1.0, 0.5])))
    assert linear.p_min_mw == pytest.approx([-0.2, -0.1])
    assert linear.p_max_mw == pytest.approx([-0.1, -0.05])
    assert linear.curtailment_cost_per_mwh == 1000.0


def test_capacitor_follows_the_load_with_a_dead_band() -> None:
    unit, row = build("Shunt", control="load", load_on_pu=0.6, load_off_pu=0.5, move_cost=2.0, on_init=False)
    state, seen = unit.reset(np, row, 0.5), []
    for load_pu in (0.55, 0.61, 0.55, 0.5, 0.49, 0.6 + 1e-9):
        state, injection = unit.step(np, row, state, unit.Command(1.0), unit.Exogenous(load_pu), 0.25)
        money = unit.money(np, row, state, injection, unit.Exogenous(load_pu), 0.25)[0]
        seen.append((float(state.on), float(money)))
    assert seen == [(0, 0), (1, 2), (1, 0), (1, 0), (0, 2), (0, 0)]


def test_capacitor_under_manual_and_fixed_control() -> None:
    manual, row = build("Capacitor", control="manual")
    assert list(manual.action_entries()) == ["on"]
    on = [
        float(manual.step(np, row, manual.State(0.0, 0.0), manual.Command(x), manual.Exogenous(0.9), 0.25)[0].on)
        for x in (0.5, 0.51, np.nan)
    ]
    assert on == [0.0, 1.0, 0.0]
    wish = manual.rule(np, row, manual.State(np.zeros(1), np.zeros(1)), manual.Exogenous(np.array([0.9])), None, 0.25)
    assert wish.on == 1.0
    fixed, row = build("Capacitor", control="fixed")
    state, _ = fixed.step(np, row, fixed.reset(np, row, 0.1), fixed.Command(0.0), fixed.Exogenous(0.0), 0.25)
    assert (state.on, state.moves) == (1.0, 0.0)


def test_meter_buys_at_retail_and_sells_at_feed_in() -> None:
    unit, row = build("Grid", p_max_mw=0.5)
    assert unit.role == "meter"
    seen = unit.Exogenous(
        np.array([120.0, 120.0]), np.array([60.0, 60.0]), np.array([0.6, -0.4]), np.array([0.6, -0.4])
    )
    state, injection = unit.step(np, row, unit.State(), unit.Command(), seen, 0.25)
    assert injection.p_mw.tolist() == [0.0, 0.0]
    assert unit.money(np, row, state, injection, seen, 0.25)[0] == pytest.approx([0.6 * 120 * 0.25, -0.4 * 60 * 0.25])
    # a fifth above the limit is 20 %, at 10 $/(% h)
    assert unit.violation(np, row, state, injection, seen, 0.25)[0] == pytest.approx([20.0 * 10.0 * 0.25, 0.0])
    free, row = build("Grid")
    assert free.violation(np, row, state, injection, seen, 0.25)[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("RES", {"kind": "tidal"}),
        ("Load", {"q_mvar": 0.1, "power_factor": 0.9}),
        ("Load", {"curtailable_share": 1.5}),
        ("Shunt", {"load_on_pu": 0.4, "load_off_pu": 0.5}),
        ("Grid", {"feed_in_share": 1.1}),
        ("Grid", {"retail_adder_per_mwh": -1.0}),
    ],
)
def test_impossible_settings_are_refused(name: str, wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build(name, **wrong)
