"""Device models against closed forms and published points, to 1e-6."""

from math import exp, hypot, sqrt
from typing import Any

import numpy as np
import pytest
from device_families import build, outlook
from pydantic import ValidationError
from scipy.integrate import solve_ivp

close = pytest.approx


def run(unit: Any, row: Any, command: Any, series: list[Any], dt_h: float = 0.25) -> list[tuple[Any, Any]]:
    """States and injections under one command, over series."""
    state, found = unit.reset(np, row, 0.5), []
    for now in series:
        state, injection = unit.step(np, row, state, command, unit.Exogenous(*np.atleast_1d(now)), dt_h)
        found.append((state, injection))
    return found


def test_storage_round_trip_loses_the_product_of_both_efficiencies() -> None:
    unit, row = build("ESS", capacity_mwh=2.0, max_p_mw=0.5, eta_charge=0.93, eta_discharge=0.91)
    state, nothing = unit.reset(np, row, 0.5), unit.Exogenous()
    charged, into = unit.step(np, row, state, unit.Command(-0.4, 0.0), nothing, 0.5)
    back_mw = -into.p_mw * 0.93 * 0.91
    emptied, out = unit.step(np, row, charged, unit.Command(back_mw, 0.0), nothing, 0.5)
    assert emptied.soc == close(state.soc, abs=1e-9)
    assert out.p_mw / -into.p_mw == close(0.93 * 0.91, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "params", "p_mw"),
    [
        ("ESS", {"max_p_mw": 0.3, "sn_mva": 0.5}, 0.3),
        ("DG", {"p_max_mw": 0.3, "sn_mva": 0.5}, 0.3),
        ("RES", {"p_max_mw": 0.3, "sn_mva": 0.5}, 0.3),
        ("WindTurbine", {"p_max_mw": 0.3, "sn_mva": 0.5}, 0.3),
        ("RunOfRiver", {"sn_mva": 0.5, "design_flow_m3_s": 1.0, "head_m": 10.0}, 0.083385),
    ],
)
def test_capability_is_a_circle(name: str, params: dict, p_mw: float) -> None:
    unit, row = build(name, **params)
    high = {"available_pu": 1.0, "wind_speed_m_s": 12.0, "year_sin": 1.0, "year_cos": 0.0, "flow_m3_s": 0.0}
    now = unit.Exogenous(*(high[field] for field in unit.Exogenous._fields))
    wanted = unit.Command(*(1e9 if field == "q_mvar" else 1.0 for field in unit.Command._fields))
    _, injection = unit.step(np, row, unit.reset(np, row, 0.5), wanted, now, 0.25)
    assert injection.p_mw == close(p_mw, abs=1e-6)
    assert injection.q_mvar == close(sqrt(0.25 - p_mw**2), abs=1e-6)


@pytest.mark.parametrize("name", ["ESS", "DG", "RES", "WindTurbine", "RunOfRiver", "SolarPlant"])
def test_active_power_comes_first_and_reactive_power_takes_the_rest_of_the_circle(name: str) -> None:
    rating = 0.06 if name in ("RES", "SolarPlant") else 0.2 if name == "RunOfRiver" else 2.5
    unit, row = build(name, sn_mva=rating)
    high = {"available_pu": 1.0, "wind_speed_m_s": 12.0, "year_sin": 1.0, "year_cos": 0.0, "flow_m3_s": 3.0}
    high |= {"ghi_w_m2": 950.0, "dni_w_m2": 800.0, "ambient_temp_c": 20.0, "day_sin": 0.0, "day_cos": -1.0}
    now = unit.Exogenous(*(high[field] for field in unit.Exogenous._fields))
    random, limited = np.random.default_rng(0), 0
    for _ in range(300):
        wanted = unit.Command(*(random.uniform(-2.0 * rating, 2.0 * rating, len(unit.Command._fields))))
        wanted = wanted._replace(**{wanted._fields[0]: random.uniform(-1.5, 1.5)})
        without = wanted._replace(q_mvar=0.0)
        state = unit.reset(np, row, 0.5)
        p_mw, q_mvar = unit.step(np, row, state, wanted, now, 0.25)[1]
        assert p_mw == unit.step(np, row, state, without, now, 0.25)[1].p_mw
        room = sqrt(max(rating**2 - p_mw**2, 0.0))
        assert q_mvar == close(np.clip(wanted.q_mvar, -room, room), abs=1e-8)
        limited += abs(wanted.q_mvar) > room
    assert 0 < limited < 300


def test_wind_power_curve_meets_its_points() -> None:
    unit, row = build("WindTurbine", p_max_mw=2.0, cut_in_m_s=3.0, rated_m_s=12.0, cut_out_m_s=25.0)
    speeds = np.array([0.0, 3.0, 7.5, 12.0, 24.999, 25.0, 25.001, np.nan, np.inf])
    cubic = 2.0 * (7.5**3 - 27.0) / (1728.0 - 27.0)
    found = unit.step(np, row, None, unit.idle(), unit.Exogenous(speeds), 0.25)[1].p_mw
    assert found == close([0.0, 0.0, cubic, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0], abs=1e-9)


def test_wind_rises_with_height_by_the_power_law() -> None:
    low, high = build("WindTurbine", measured_height_m=10.0, hub_height_m=80.0), build("WindTurbine")
    lifted = 5.0 * 8.0 ** (1.0 / 7.0)
    powers = [
        unit.step(np, row, None, unit.idle(), unit.Exogenous(v), 0.25)[1].p_mw
        for (unit, row), v in ((low, 5.0), (high, lifted))
    ]
    assert powers[0] == close(powers[1], abs=1e-12)


def test_hydro_power_is_head_times_flow() -> None:
    unit, row = build("RunOfRiver", head_m=20.0, efficiency=0.8, series="flow_m3_s:river", residual_flow_m3_s=0.3)
    assert unit.series()["flow_m3_s"] == "flow_m3_s:river"
    # the turbine takes 0.4 to 2 m3/s of what is above the residual flow
    for river, turbine in ((0.69, 0.0), (0.7, 0.4), (1.5, 1.2), (9.0, 2.0)):
        _, injection = unit.step(np, row, None, unit.idle(), unit.Exogenous(0.3, 0.4, river), 0.25)
        assert injection.p_mw == close(0.8 * 9.81e-3 * 20.0 * turbine, abs=1e-9)


def test_hydro_without_a_series_swings_with_the_season() -> None:
    unit, row = build("RunOfRiver", mean_flow_m3_s=1.0, season_share=0.5, peak_day=0.0, residual_flow_m3_s=0.0)
    for sine, cosine, flow in ((0.0, 1.0, 1.5), (1.0, 0.0, 1.0), (0.0, -1.0, 0.5)):
        _, injection = unit.step(np, row, None, unit.idle(), unit.Exogenous(sine, cosine, 0.0), 0.25)
        assert injection.p_mw == close(0.85 * 9.81e-3 * 10.0 * flow, abs=1e-9)


def test_statcom_is_limited_by_its_current_and_pays_its_losses() -> None:
    unit, row = build("STATCOM", sn_mva=1.0, no_load_loss_share=0.002, full_load_loss_share=0.012)
    for v_pu, most in ((1.1, 1.0), (1.0, 1.0), (0.5, 0.5), (0.0, 0.0)):
        _, injection = unit.step(np, row, None, unit.Command(9.0), unit.Exogenous(v_pu), 0.25)
        assert injection.q_mvar == close(most * sqrt(1.0 - 0.012**2), abs=1e-9)
        assert hypot(*injection) <= 1.0 + 1e-12
    _, injection = unit.step(np, row, None, unit.Command(0.5), unit.Exogenous(1.0), 0.25)
    assert injection.p_mw == close(-(0.002 + 0.010 * 0.25), abs=1e-12)
    assert unit.rule(np, row, None, unit.Exogenous(0.985), None, 0.25).q_mvar == close(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "lift_k", "cop"),
    [
        ("air", 15.0, 5.13675),
        ("air", 28.0, 3.91592),
        ("air", 60.0, 1.818),
        ("ground", 20.0, 6.0636),
        ("ground", 25.0, 5.47875),
        ("ground", 60.0, 2.4124),
    ],
)
def test_heat_pump_reproduces_the_published_cop(kind: str, lift_k: float, cop: float) -> None:
    source = {"supply_temp_c": 50.0, "ground_temp_c": 50.0 - lift_k} if kind == "ground" else {"supply_temp_c": 50.0}
    if kind == "ground" and lift_k > 50.0:
        source = {"supply_temp_c": 65.0, "ground_temp_c": 5.0}
    unit, row = build("HeatPump", kind=kind, **source)
    state, injection = unit.step(np, row, unit.reset(np, row, 0.5), unit.Command(1.0), unit.Exogenous(50.0 - lift_k), 1)
    assert state.heat_kw / (1000.0 * -injection.p_mw) == close(cop, abs=1e-6)


@pytest.mark.parametrize("name", ["HeatPump", "AirConditioner"])
@pytest.mark.parametrize("dt_h", [1.0 / 60.0, 0.25, 1.0])
def test_room_follows_the_first_order_response(name: str, dt_h: float) -> None:
    unit, row = build(name, r_k_per_kw=3.0, c_kwh_per_k=1.5, gain_kw=0.2, t_init_c=21.0)
    ticks = round(8.0 / dt_h)
    state, injection = run(unit, row, unit.Command(0.4), [2.0] * ticks, dt_h)[-1]
    rest_c = 2.0 + 3.0 * (0.2 + state.heat_kw)
    assert state.temp_c == close(rest_c + (21.0 - rest_c) * exp(-8.0 / 4.5), abs=1e-6)
    assert injection.p_mw == close(-0.4 * row.p_max_mw)


def test_air_conditioner_cools_with_the_other_sign() -> None:
    unit, row = build("AC", p_max_mw=0.004, cop_cooling=3.0)
    (state, injection), *_ = run(unit, row, unit.Command(-0.5), [35.0])
    assert (state.heat_kw, injection.p_mw) == (close(-6.0), close(-0.002))
    still = run(unit, row, unit.Command(0.0), [35.0])[0][0]
    assert state.temp_c < still.temp_c


@pytest.mark.parametrize("name", ["HeatPump", "AirConditioner", "WaterHeater"])
def test_rule_reaches_its_temperature_in_one_tick(name: str) -> None:
    unit, row = build(name, t_init_c=50.0 if name == "WaterHeater" else 20.0)
    now, state = unit.Exogenous(*([5.0] if name != "WaterHeater" else [12.0])), unit.reset(np, row, 0.5)
    wish = unit.rule(np, row, state, now, outlook(), 2.0)
    state, _ = unit.step(np, row, state, wish, now, 2.0)
    target = {"HeatPump": 20.5, "AirConditioner": 21.0, "WaterHeater": 57.2}[name]
    assert 0.0 < wish.heat_share < 1.0
    assert state.temp_c == close(target, abs=1e-9)


def test_tank_cools_with_its_time_constant_and_stops_at_the_cut_out() -> None:
    unit, row = build("WaterHeater", daily_draw_l=0.0, volume_l=200.0, ua_kw_per_k=0.002, t_init_c=60.0)
    state, _ = run(unit, row, unit.Command(0.0), [float(hour) for hour in range(10)], 1.0)[-1]
    tau_h = 200.0 * 4.186 / 3600.0 / 0.002
    assert state.temp_c == close(19.7 + (60.0 - 19.7) * exp(-10.0 / tau_h), abs=1e-6)
    hot = run(unit, row, unit.Command(np.inf), [float(hour) for hour in range(10)], 1.0)
    assert max(state.temp_c for state, _ in hot) == close(75.0, abs=1e-9)
    # at the cut-out the element only makes good the loss
    assert hot[-1][1].p_mw == close(-0.002 * (75.0 - 19.7) / 1000.0, abs=1e-9)


def test_tank_with_draws_is_the_solution_of_its_equation() -> None:
    unit, row = build("WaterHeater")
    state, random = unit.reset(np, row, 0.5), np.random.default_rng(0)
    temp_c, c_kwh_per_k = 55.0, 189.0 * 4.186 / 3600.0
    # 243 l a day: 35 % in each of the peaks of three hours from 6 and 18 on, the rest over the whole day
    base, peak = (243.0 * 4.186 / 3600.0 * share for share in (0.3 / 24.0, 0.35 / 3.0))
    for hour in np.arange(0.0, 24.0, 0.25):
        state, injection = unit.step(np, row, state, unit.Command(random.uniform(0, 1)), unit.Exogenous(hour), 0.25)
        flow = base + peak * (6.0 <= hour < 9.0 or 18.0 <= hour < 21.0)

        def slope(_: float, t: np.ndarray, flow: float = flow, kw: float = -1000.0 * injection.p_mw) -> np.ndarray:
            return (kw - 0.0019 * (t - 19.7) - flow * (t - 14.4)) / c_kwh_per_k

        temp_c = solve_ivp(slope, (0.0, 0.25), [temp_c], rtol=1e-10, atol=1e-10).y[0, -1]
        assert state.temp_c == close(temp_c, abs=1e-6)


def test_day_of_hot_water_is_the_day_of_the_settings() -> None:
    unit, row = build("WaterHeater", morning_h=5.5, evening_h=22.0)
    flow = unit.energy.__globals__["drawn_kw_per_k"](np, row, np.arange(0.0, 24.0, 0.25))
    assert flow.sum() * 0.25 == close(243.0 * 4.186 / 3600.0, abs=1e-9)
    assert flow[22 * 4] == flow[0] > flow[2 * 4]


def test_vehicle_charges_drives_and_comes_back() -> None:
    unit, row = build("EV", soc_init=0.5, arrival_h=18.0, departure_h=7.5, trip_mwh=0.012)
    hours = np.arange(0.0, 24.0, 0.25)
    found = run(unit, row, unit.Command(-1.0), hours.tolist())
    soc = np.array([state.soc for state, _ in found])
    p_mw = np.array([injection.p_mw for _, injection in found])
    assert soc[29] == close(min(0.95, 0.5 + 7.5 * 0.0072 * 0.92 / 0.06), abs=1e-6)
    assert soc[30] == close(soc[29] - 0.2, abs=1e-9)
    assert (p_mw[30:72] == 0.0).all()
    assert p_mw[72] == close(-0.0072)
    assert [state.here for state, _ in found[28:32]] == [1.0, 1.0, 0.0, 0.0]
    assert found[0][0].stay_h == close(7.25)


def test_vehicle_that_is_not_charged_pays_for_its_trip_elsewhere() -> None:
    unit, row = build("EV", soc_init=0.2, soc_min=0.1, soc_target=0.8, trip_mwh=0.012)
    found = run(unit, row, unit.Command(0.0), [7.25, 7.5, 7.75])
    state, injection = found[1]
    assert (state.driven_mwh, state.missing_mwh, state.short_mwh) == (close(0.006), close(0.006), close(0.036))
    assert unit.money(np, row, state, injection, None, 0.25)[1] == close(500.0 * 0.006)
    assert unit.violation(np, row, state, injection, None, 0.25)[0] == close(200.0 * 0.036)
    assert found[2][0].missing_mwh == 0.0


def test_vehicle_feeds_back_only_where_it_may() -> None:
    for v2g, p_mw in ((False, 0.0), (True, 0.0072)):
        unit, row = build("EV", v2g=v2g)
        assert run(unit, row, unit.Command(1.0), [20.0])[0][1].p_mw == close(p_mw)
        assert unit.action_entries()["p_mw"].high == p_mw


def test_rule_has_the_vehicle_ready_at_any_price() -> None:
    unit, row = build("EV", soc_init=0.3, arrival_h=18.0, departure_h=7.5, soc_target=0.8)
    dear = outlook(retail=300.0, feed_in=300.0, ahead=np.full(24, 100.0))
    state = unit.reset(np, row, np.array([0.5]))
    for hour in [*np.arange(18.0, 24.0, 0.25), *np.arange(0.0, 7.75, 0.25)]:
        now = unit.Exogenous(np.array([hour]))
        state, _ = unit.step(np, row, state, unit.rule(np, row, state, now, dear, 0.25), now, 0.25)
    assert state.short_mwh[0] == close(0.0, abs=1e-9)


def test_fleet_keeps_its_energy_while_it_comes_and_goes() -> None:
    unit, row = build("EVFleet", vehicles=10.0, trip_each_mwh=0.0, soc_init=0.6)
    found = run(unit, row, unit.Command(0.0), np.arange(0.0, 24.0, 0.25).tolist())
    total = [state.here_mwh + state.away_mwh for state, _ in found]
    assert total == close([0.36] * 96, abs=1e-12)
    noon = found[48][0]
    assert (noon.share, noon.here_mwh) == (close(0.2), close(0.2 * 0.36))
    assert found[-1][0].away_mwh == close(0.0, abs=1e-12)


def test_fleet_drives_one_trip_a_vehicle_and_day() -> None:
    unit, row = build("EVFleet", vehicles=10.0, trip_each_mwh=0.01, soc_init=0.6, away_share=0.5)
    found = run(unit, row, unit.Command(0.0), np.arange(0.0, 24.0, 0.25).tolist())
    assert sum(state.driven_mwh for state, _ in found) == close(0.5 * 0.1, abs=1e-9)
    assert found[-1][0].here_mwh == close(0.36 - 0.05, abs=1e-9)


def test_fuel_cell_efficiency_is_the_cell_voltage_over_the_heating_value() -> None:
    unit, row = build("FuelCell", p_max_mw=1.0, v_open=0.9, v_rated=0.65, auxiliary_share=0.0)
    for current in (0.2, 0.5, 1.0):
        voltage = 0.9 - 0.25 * current
        state, injection = unit.step(
            np, row, unit.reset(np, row, 0.5), unit.Command(current * voltage / 0.65), unit.Exogenous(), 0.25
        )
        assert injection.p_mw / state.hydrogen_mw == close(voltage / 1.25, abs=1e-9)


def test_fuel_cell_marginal_cost_is_the_slope_of_its_fuel() -> None:
    unit, row = build("FuelCell")

    def cost(p_mw: float) -> float:
        state, injection = unit.step(np, row, unit.reset(np, row, 0.5), unit.Command(p_mw), unit.Exogenous(), 1.0)
        return float(unit.money(np, row, state, injection, unit.Exogenous(), 1.0)[0])

    slope = (cost(0.1 + 1e-5) - cost(0.1 - 1e-5)) / 2e-5
    assert unit.marginal_cost(np, row, 0.1) == close(slope, rel=1e-6)
    view = outlook(retail=slope, feed_in=slope, net_load_mw=0.0)
    assert unit.rule(np, row, None, None, view, 0.25).p_mw == close(0.1, abs=1e-6)


def test_electrolyzer_makes_its_rated_hydrogen_and_stops_at_a_full_tank() -> None:
    unit, row = build("Electrolyzer", p_max_mw=0.55, rated_kwh_per_kg=55.0, tank_kg=12.0, fill_init=0.5)
    full = unit.Command(-9.0)
    one, two, three = run(unit, row, full, [[], [], []], 1.0)
    assert (one[0].made_kg, one[0].tank_kg, one[1].p_mw) == (close(10.0), close(11.0), close(-0.55))
    # 6 kg still fit, 5 of which are taken: current 0.6 of rated, at a voltage of 0.75 + 0.25 * 0.6
    assert (two[0].made_kg, two[0].tank_kg) == (close(6.0), close(12.0))
    assert two[1].p_mw == close(-0.55 * 0.6 * 0.9, abs=1e-9)
    assert three[0].made_kg == close(5.0)


def test_electrolyzer_buys_what_it_cannot_deliver() -> None:
    unit, row = build("Electrolyzer", fill_init=0.02, demand_kg_per_h=5.0)
    state, injection = run(unit, row, unit.Command(-0.02), [[]], 1.0)[0]  # below the smallest load of 5 %
    assert injection.p_mw == 0.0
    assert (state.delivered_kg, state.bought_kg) == (close(2.0), close(3.0))
    assert unit.money(np, row, state, injection, unit.Exogenous(), 1.0)[0] == close(24.0)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("WindTurbine", {"cut_in_m_s": 13.0}),
        ("RunOfRiver", {"residual_flow_m3_s": 3.0}),
        ("STATCOM", {"no_load_loss_share": 0.05}),
        ("HeatPump", {"t_min_c": 24.0}),
        ("AirConditioner", {"t_max_c": 19.0}),
        ("WaterHeater", {"t_min_c": 10.0}),
        ("EV", {"arrival_h": 7.5}),
        ("EV", {"soc_target": 0.99}),
        ("EVFleet", {"departure_h": 16.0}),
        ("FuelCell", {"v_rated": 0.4}),
        ("Electrolyzer", {"rated_kwh_per_kg": 40.0}),
    ],
)
def test_impossible_settings_are_refused(name: str, wrong: dict) -> None:
    with pytest.raises(ValidationError):
        build(name, **wrong)
