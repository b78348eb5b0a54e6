"""Cogeneration, biomass and data centre against figures worked out by hand."""

from typing import Any

import numpy as np
import pytest
from device_families import build, outlook
from pydantic import ValidationError

close = pytest.approx


def run(unit: Any, row: Any, command: Any, series: list[Any], dt_h: float = 1.0) -> list[tuple[Any, Any]]:
    """States and injections under one command, over series."""
    state, found = unit.reset(np, row, 0.5), []
    for now in series:
        state, injection = unit.step(np, row, state, command, unit.Exogenous(*now), dt_h)
        found.append((state, injection))
    return found


def test_engine_makes_heat_in_proportion_and_the_boiler_makes_the_rest() -> None:
    unit, row = build("CHP", p_max_mw=0.1, buffer_loss_per_h=0.0, fill_init=0.0, heating_limit_c=15.0)
    # 10 K below the limit: 0.06 MW and 0.02 MW of hot water
    (state, injection), *_ = run(unit, row, unit.Command(0.05), [(5.0,)])
    heat = 0.05 * 0.50 / 0.35
    assert (state.served_mwh, state.boiler_mwh) == (close(0.08), close(0.08 - heat))
    gas = 0.05 / 0.35 + (0.08 - heat) / 0.9
    assert unit.money(np, row, state, injection, None, 1.0)[0] == close(35.0 * gas)


def test_buffer_fills_and_what_is_too_much_is_dumped() -> None:
    unit, row = build("CHP", buffer_mwh=0.2, fill_init=0.5, buffer_loss_per_h=0.01, hot_water_mw=0.0)
    first, second = run(unit, row, unit.Command(0.1), [(30.0,), (30.0,)])
    heat = 0.1 * 0.50 / 0.35
    assert first[0].heat_mwh == close(0.2)
    assert first[0].dumped_mwh == close(0.1 * 0.99 + heat - 0.2)
    assert second[0].dumped_mwh == close(0.2 * 0.99 + heat - 0.2)


def test_engine_stops_below_its_smallest_load() -> None:
    unit, row = build("CHP", p_max_mw=0.1, min_load_share=0.5)
    powers = [run(unit, row, unit.Command(p), [(0.0,)])[0][1].p_mw for p in (0.049, 0.05, 0.07)]
    assert powers == close([0.0, 0.05, 0.07])


def test_cogeneration_runs_where_power_with_its_heat_pays() -> None:
    unit, row = build("CHP", fill_init=0.0)
    cost = 35.0 * (1.0 / 0.35 - 0.50 / 0.35 / 0.90)
    assert unit.marginal_cost(np, row, 0.1) == close(cost)
    state = unit.reset(np, row, np.array([0.5]))
    now = unit.Exogenous(np.array([0.0]))
    for price, p_mw in ((cost + 1e-3, 0.1), (cost - 1e-3, 0.0)):
        assert unit.rule(np, row, state, now, outlook(retail=price, feed_in=price), 0.25).p_mw == close(p_mw)


def test_engine_above_the_need_for_heat_runs_in_turns_of_an_hour_or_more() -> None:
    unit, row = build("CHP")
    state, running = unit.reset(np, row, np.array([0.5])), []
    now = unit.Exogenous(np.array([10.0]))  # 0.056 MW of heat are needed, the smallest load gives 0.071
    for hour in np.arange(0.0, 72.0, 0.25):
        # dear by day, though never so dear that power alone pays
        ahead = 70.0 + 20.0 * np.sin(2 * np.pi * (hour + np.arange(24.0) - 8.0) / 24)
        view = outlook(retail=ahead[0], feed_in=ahead[0], net_load_mw=0.2, ahead=ahead)
        state, injection = unit.step(np, row, state, unit.rule(np, row, state, now, view, 0.25), now, 0.25)
        running.append(bool(injection.p_mw[0] > 0.0))
        assert state.boiler_mwh[0] == state.dumped_mwh[0] == 0.0
    changes = [k for k in range(1, len(running)) if running[k] != running[k - 1]]
    assert len(changes) > 6
    assert min(np.diff(changes)) * 0.25 >= 1.0


def test_plant_ramps_and_burns_its_store() -> None:
    unit, row = build("Biomass", p_max_mw=1.0, ramp_mw_per_h=0.4, store_t=10.0, fill_init=0.5, delivery_t_per_h=0.0)
    found = run(unit, row, unit.Command(np.inf), [()] * 8)
    powers = [injection.p_mw for _, injection in found]
    energy_mwh = 5.0 * 3.4 * 0.20
    assert powers[:3] == close([0.4, 0.8, 1.0])
    assert sum(powers) == close(energy_mwh)
    assert powers[-1] == 0.0
    assert found[-1][0].fuel_t == close(0.0, abs=1e-12)


def test_store_takes_deliveries_while_it_has_room() -> None:
    unit, row = build("Biomass", store_t=10.0, fill_init=0.9, delivery_t_per_h=0.8)
    fuel = [state.fuel_t for state, _ in run(unit, row, unit.Command(0.0), [()] * 3)]
    assert fuel == close([9.8, 10.0, 10.0])


def test_fuel_costs_what_the_plant_burns() -> None:
    unit, row = build("Biomass", efficiency=0.25, ramp_mw_per_h=9.0)
    state, injection = run(unit, row, unit.Command(0.85), [()])[0]
    assert unit.money(np, row, state, injection, None, 1.0)[0] == close(60.0 * 0.85 / 0.85 + 5.0 * 0.85)


def test_work_waits_until_the_queue_is_full() -> None:
    unit, row = build(
        "DataCenter", p_max_mw=1.0, idle_share=0.3, interactive_share=0.4, batch_share=0.2, max_wait_h=2.0, pue=1.5
    )
    found = run(unit, row, unit.Command(0.0), [(0.5,)] * 4)
    assert [state.queue_mwh for state, _ in found] == close([0.2, 0.4, 0.4, 0.4])
    idle, busy = -1.5 * (0.3 + 0.2), -1.5 * (0.3 + 0.2 + 0.2)
    assert [injection.p_mw for _, injection in found] == close([idle, idle, busy, busy])
    assert found[-1][0].refused_mwh == 0.0


def test_work_is_done_at_once_where_machines_are_free_and_refused_where_none_are() -> None:
    unit, row = build("DataCenter", idle_share=0.3, interactive_share=0.35, batch_share=0.3, max_wait_h=1.0)
    assert run(unit, row, unit.idle(), [(1.0,)])[0][0].queue_mwh == close(0.0)
    # twice the interactive work leaves no machine: 0.3 MWh wait, from then on all is turned away
    found = run(unit, row, unit.idle(), [(2.0,)] * 3)
    assert [state.refused_mwh for state, _ in found] == close([0.0, 0.3, 0.3])
    assert found[0][1].p_mw == close(-1.5)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("CHP", {"eta_electric": 0.6}),
        ("DataCenter", {"idle_share": 0.6}),
        ("Biomass", {"ramp_mw_per_h": 0.0}),
    ],
)
def test_impossible_settings_are_refused(name: str, wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build(name, **wrong)
