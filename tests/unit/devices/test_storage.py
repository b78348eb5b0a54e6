"""Storage against figures worked out by hand, and its properties."""

from typing import Any

import numpy as np
import pytest
from device_families import build, outlook
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


def charged(unit: Any, soc: Any) -> Any:
    """A new unit's state at a state of charge."""
    return unit.State(soc)


def test_charging_stores_less_and_discharging_takes_more() -> None:
    unit, row = build("ESS", capacity=2.0, max_p_mw=0.5, eta_charge=0.9, eta_discharge=0.8)
    state = unit.reset(np, row, 0.5)
    charged, injection = unit.step(np, row, state, unit.Command(-0.4, 0.0), unit.Exogenous(), 0.5)
    assert injection.p_mw == pytest.approx(-0.4)
    assert charged.soc == pytest.approx(0.5 + 0.4 * 0.5 * 0.9 / 2.0)
    emptied, injection = unit.step(np, row, state, unit.Command(0.4, 0.0), unit.Exogenous(), 0.5)
    assert injection.p_mw == pytest.approx(0.4)
    assert emptied.soc == pytest.approx(0.5 - 0.4 * 0.5 / 0.8 / 2.0)
    assert unit.money(np, row, emptied, injection, unit.Exogenous(), 0.5)[0] == pytest.approx(2.0 * 0.4 * 0.5)


def test_window_bounds_the_power() -> None:
    unit, row = build("ESS", capacity_mwh=1.0, max_p_mw=0.5, soc_init=0.15, eta_discharge=0.95)
    state = unit.reset(np, row, 0.5)
    emptied, injection = unit.step(np, row, state, unit.Command(0.5, 0.0), unit.Exogenous(), 1.0)
    assert injection.p_mw == pytest.approx(0.05 * 0.95)
    assert emptied.soc == pytest.approx(0.1)


def test_reactive_power_only_with_a_rating_and_inside_the_circle() -> None:
    plain, row = build("ESS")
    assert "q_mvar" not in plain.action_entries()
    _, injection = plain.step(np, row, charged(plain, 0.5), plain.Command(0.3, 0.3), plain.Exogenous(), 0.25)
    assert injection.q_mvar == 0.0
    rated, row = build("ESS", max_p_mw=0.3, sn_mva=0.5)
    _, injection = rated.step(np, row, charged(rated, 0.5), rated.Command(0.3, 9.0), rated.Exogenous(), 0.25)
    assert injection.q_mvar == pytest.approx(0.4)


def test_refilling_takes_the_window_at_full_power() -> None:
    unit, _ = build("ESS", capacity_mwh=2.0, max_p_mw=0.5, eta_charge=0.8)
    assert unit.refill() == (0.8 * 2.0 / (0.5 * 0.8), 0.8, 24.0)


def test_stored_energy_is_worth_the_settlement_price() -> None:
    unit, row = build("ESS", capacity_mwh=2.0)
    fallen = unit.worth(np, row, charged(unit, 0.5), 80.0) - unit.worth(np, row, charged(unit, 0.3), 80.0)
    assert fallen == pytest.approx(0.2 * 2.0 * 80.0)


def ruled(
    soc: float,
    price: float,
    ahead: list[float],
    retail: float | None = None,
    feed_in: float | None = None,
    settled: float = 0.0,
    load_mw: float = 0.0,
):
    """Power by the rule [MW] of a battery that lasts 3.04 h when full; without a tariff the price holds both ways."""
    unit, row = build("ESS", capacity_mwh=1.0, max_p_mw=0.25)
    retail, feed_in = price if retail is None else retail, price if feed_in is None else feed_in
    view = outlook(retail, feed_in, net_load_mw=load_mw, ahead=np.array(ahead))
    view = view._replace(price_per_mwh=np.array([price]), settlement_per_mwh=np.array([settled]))
    return float(unit.rule(np, row, charged(unit, np.array([soc])), unit.Exogenous(), view, 0.25).p_mw[0])


def test_rule_buys_for_dear_hours_in_the_cheapest_before_them() -> None:
    dear = [200.0] * 3 + [20.0] * 21
    assert ruled(0.1, 176.0, dear) == -0.25  # (176 + 2) / 0.95 / 0.95 + 2 < 200
    assert ruled(0.1, 177.0, dear) == 0.0
    assert ruled(0.9, 100.0, [200.0] * 4 + dear[4:]) == 0.0  # full
    assert ruled(0.1, 100.0, [20.0] * 4 + dear[:20]) == 0.0  # four hours before are cheaper, and fill it in 3.4
    assert ruled(0.1, 100.0, [20.0] * 3 + dear[:21]) == -0.25
    assert ruled(0.1 + 0.25 / 0.95, 100.0, [200.0] + [20.0] * 23) == 0.0  # what it holds lasts for the dear hour


def test_rule_waits_for_hours_that_are_dearer_still() -> None:
    ahead = [100.0, 200.0, 300.0] + [20.0] * 21
    assert ruled(0.9, 100.0, ahead) == 0.25  # two hours are dearer, the energy lasts 3.04
    assert ruled(0.6, 199.0, [199.0, 200.0, 300.0] + [20.0] * 21) == 0.0  # it lasts 1.9 hours, and filling pays no more
    assert ruled(0.5, 100.0, ahead) == -0.25  # it lasts 1.52 hours, and for two more than energy costs now
    assert ruled(0.5, 200.0, ahead) == 0.25
    assert ruled(0.1, 300.0, ahead) == 0.0  # nothing left
    assert ruled(0.5, 100.0, [20.0] * 4 + ahead[:20]) == 0.25  # it can be bought back before the dearer ones


def test_rule_counts_what_is_left_at_the_refill_price() -> None:
    flat = [50.0] * 24
    assert ruled(0.5, 50.0, flat, settled=(50.0 - 2.0) * 0.95) == 0.0  # selling brings no more
    assert ruled(0.5, 50.0, flat, settled=45.0) == 0.25
    assert ruled(0.5, 50.0, flat, settled=52.0 / 0.95) == 0.0  # nor is anything won by filling up
    assert ruled(0.5, 50.0, flat, settled=55.0) == -0.25


def test_rule_knows_the_two_sides_of_a_tariff() -> None:
    tariff = {"retail": 95.0, "feed_in": 45.0, "settled": 60.0}
    ahead = [50.0] * 23 + [150.0]
    assert ruled(0.5, 50.0, ahead, **tariff) == 0.0  # feeding in brings (45 - 2) 0.95
    assert ruled(0.1, 50.0, ahead, **tariff) == -0.25  # (95 + 2) / 0.95 / 0.95 + 2 < 0.9 * 150
    assert ruled(0.5, 50.0, [50.0] * 24, **tariff, load_mw=0.1) == 0.1  # saves 95 as far as there is load
    assert ruled(0.1, 50.0, ahead, **tariff, load_mw=-0.1) == pytest.approx(-0.1)  # its own sun, worth 45
    assert ruled(0.5, 150.0, ahead, retail=195.0, feed_in=135.0, settled=60.0) == 0.25


@pytest.mark.parametrize(
    "wrong",
    [{"soc_min": 0.9, "soc_max": 0.8}, {"soc_init": 0.95}, {"sn_mva": 0.1}, {"capacity_mwh": -1.0}, {"size": 1}],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build("ESS", **wrong)


def cycled(unit: Any, row: Any, powers_mw: list[float], dt_h: float) -> tuple[list[float], list[float], float]:
    """States of charge, shares of life and money of a run of commands."""
    kernel = unit.kernel
    state, soc, lost, paid = kernel.reset(np, row, 0.5), [], [], 0.0
    soc.append(state.soc)
    for p_mw in powers_mw:
        state, injection = kernel.step(np, row, state, unit.Command(p_mw, 0.0), unit.Exogenous(), dt_h)
        soc.append(state.soc)
        lost.append(state.life_lost)
        paid += kernel.money(np, row, state, injection, unit.Exogenous(), dt_h)[0]
    return soc, lost, paid


AGEING: dict[str, Any] = {
    "eta_charge": 1.0, "eta_discharge": 1.0, "wear_cost_per_mwh": 0.0, "replacement_cost_per_mwh": 200_000.0
}  # fmt: skip


def test_half_cycles_take_the_life_that_the_source_gives_for_their_depth() -> None:
    unit, row = build("ESS", max_p_mw=0.8, soc_init=0.1, calendar_life_y=1e12, **AGEING)
    _, lost, paid = cycled(unit, row, [-0.4, -0.4, 0.2, 0.6], 1.0)
    # 3,000 cycles of 80 % depth is what the source's curve passes through
    assert sum(lost) == pytest.approx(0.8**2.03 / 1908.0, rel=1e-9)
    assert 1.0 / sum(lost) == pytest.approx(3000.0, rel=2e-3)
    assert sum(lost[:2]) == pytest.approx(sum(lost[2:]), rel=1e-9)
    assert paid == pytest.approx(200_000.0 * sum(lost))


def test_a_shallow_cycle_inside_a_deep_one_begins_a_new_half_cycle() -> None:
    unit, row = build("ESS", soc_init=0.1, calendar_life_y=1e12, **AGEING)
    soc, lost, _ = cycled(unit, row, [-0.4, 0.1, -0.4, 0.0, -0.1], 1.0)
    stress = [0.5 * depth**2.03 / 1908.0 for depth in (0.4, 0.1, 0.5)]
    assert sum(lost) == pytest.approx(sum(stress), rel=1e-9)
    assert lost[3] == pytest.approx(0.0, abs=1e-15)
    # rainflow closes the inner cycle instead: one of 0.1, and half of one of 0.8
    found = unit.life_lost(soc, 1.0)
    assert found.by_cycles == pytest.approx((0.1**2.03 + 0.5 * 0.8**2.03) / 1908.0, rel=1e-9)


def test_time_takes_its_share_by_state_of_charge_and_temperature() -> None:
    unit, row = build("ESS", **AGEING)
    soc, lost, paid = cycled(unit, row, [0.0] * 24, 1.0)
    assert sum(lost) * 8766.0 * 10.0 / 24.0 == pytest.approx(1.0, rel=1e-9)
    assert unit.life_lost(soc, 1.0) == pytest.approx((0.0, sum(lost)))
    assert paid == pytest.approx(200_000.0 * sum(lost))
    _, full = build("ESS", soc_init=0.9, cell_temp_c=35.0, **AGEING)
    faster = cycled(unit, full, [0.0], 1.0)[1][0] / lost[0]
    assert faster == pytest.approx(np.exp(1.04 * 0.4) * np.exp(6.93e-2 * 10.0 * 298.0 / 308.0), rel=1e-9)


def test_rule_leaves_a_battery_alone_that_wears_out_for_more_than_it_earns() -> None:
    ahead = [20.0] * 12 + [200.0] * 12
    for price_per_mwh, p_mw in ((0.0, -0.25), (600_000.0, 0.0)):
        unit, row = build("ESS", capacity_mwh=1.0, max_p_mw=0.25, replacement_cost_per_mwh=price_per_mwh)
        view = outlook(20.0, 20.0, ahead=np.array(ahead))
        found = unit.rule(np, row, charged(unit, np.array([0.5])), unit.Exogenous(), view, 0.25)
        assert found.p_mw[0] == p_mw


@given(
    eta_in=st.floats(0.5, 1.0),
    eta_out=st.floats(0.5, 1.0),
    p_mw=st.floats(0.01, 0.4),
    dt_h=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_round_trip_returns_the_product_of_both_efficiencies(
    eta_in: float, eta_out: float, p_mw: float, dt_h: float
) -> None:
    unit, row = build("ESS", capacity_mwh=1.0, max_p_mw=0.5, eta_charge=eta_in, eta_discharge=eta_out)
    start = unit.reset(np, row, 0.5)
    full, bought = unit.step(np, row, start, unit.Command(-p_mw, 0.0), unit.Exogenous(), dt_h)
    end, sold = unit.step(np, row, full, unit.Command(p_mw * eta_in * eta_out, 0.0), unit.Exogenous(), dt_h)
    assert end.soc == pytest.approx(start.soc, abs=1e-12)
    assert sold.p_mw / -bought.p_mw == pytest.approx(eta_in * eta_out)


@given(commands=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=12), draw=st.floats(0, 0.999))
def test_no_command_leaves_the_energy_window(commands: list[float], draw: float) -> None:
    unit, row = build("ESS", capacity_mwh=0.2, soc_init_spread=0.8)
    state = unit.reset(np, row, draw)
    for wanted in commands:
        state, injection = unit.step(np, row, state, unit.Command(wanted, wanted), unit.Exogenous(), 0.25)
        assert 0.1 - 1e-12 <= state.soc <= 0.9 + 1e-12
        assert abs(injection.p_mw) <= 0.5
