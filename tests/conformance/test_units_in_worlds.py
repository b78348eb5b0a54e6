"""Units inside an environment against closed forms and pvlib, on the weather of the dataset."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest

import powergrid
from powergrid import datasets

FIRST_DAY, TICKS, DT_H = 170, 96, 0.25
ROOM = {"r_k_per_kw": 3.0, "c_kwh_per_k": 1.5, "gain_kw": 0.2, "t_init_c": 21.0, "cop_heating": 3.5, "cop_cooling": 3.0}
PARAMS = {
    "room": ("AirConditioner", ROOM),
    "tank": ("WaterHeater", {"daily_draw_l": 0.0, "volume_l": 200.0, "ua_kw_per_k": 0.002, "t_init_c": 55.0}),
    "roof": ("SolarPlant", {"p_max_mw": 0.1, "tilt_degree": 35.0, "azimuth_degree": 200.0}),
}
WEATHER = {name: f"{name}:greensboro" for name in ("ghi_w_m2", "dni_w_m2", "ambient_temp_c")}


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    """Labelled observations of a day of random actions, from the reset on."""
    agents = [
        {"id": id, "type": kind, "bus": "671", "params": params, "policy": "learned"}
        for id, (kind, params) in PARAMS.items()
    ]
    env = powergrid.make({"network": "ieee13", "agents": agents, "simulation": {"episode_length": TICKS}})
    observations, _ = env.reset(seed=0, options={"day": FIRST_DAY})
    random, rows = np.random.default_rng(0), [observations]
    while env.agents:
        actions = {id: random.uniform(-1.0, 1.0, env.action_space(id).shape) for id in env.agents}
        observations, *_ = env.step(actions)
        rows.append(observations)
    return {
        label: np.array([row[id][k] for row in rows], float)
        for id in PARAMS
        for k, label in enumerate(env.observation_labels(id))
    }


@pytest.fixture(scope="module")
def weather() -> dict[str, np.ndarray]:
    window = datasets.load("embedded").window(FIRST_DAY, TICKS, 900)
    return {name: window[column] for name, column in WEATHER.items()}


def test_weather_is_that_of_the_day(seen: dict[str, np.ndarray], weather: dict[str, np.ndarray]) -> None:
    units = {"ghi_w_m2": "W/m2", "dni_w_m2": "W/m2", "ambient_temp_c": "degC"}
    for name, column in WEATHER.items():
        assert seen[f"{column} [{units[name]}]"][:-1] == pytest.approx(weather[name], rel=1e-6, abs=1e-6)


def test_room_relaxes_as_its_resistance_and_capacity_say(
    seen: dict[str, np.ndarray], weather: dict[str, np.ndarray]
) -> None:
    temp_c, used_kw = seen["room.temp [degC]"], 1000.0 * seen["room.p_used [MW]"]
    cooled = 0
    for k in range(TICKS):
        rests = [weather["ambient_temp_c"][k] + 3.0 * (0.2 + used_kw[k + 1] * cop) for cop in (3.5, -3.0)]
        after = [rest_c + (temp_c[k] - rest_c) * exp(-DT_H / 4.5) for rest_c in rests]
        error = np.abs(np.array(after) - temp_c[k + 1])
        cooled += int(error.argmin())
        assert error.min() < 6e-6  # roundings to single precision
    assert 0 < cooled < TICKS


def test_tank_relaxes_as_its_wall_and_volume_say(seen: dict[str, np.ndarray]) -> None:
    temp_c, used_kw = seen["tank.temp [degC]"], 1000.0 * seen["tank.p_used [MW]"]
    rest_c = 19.7 + used_kw[1:] / 0.002
    after = rest_c + (temp_c[:-1] - rest_c) * exp(-DT_H * 0.002 / (200.0 * 4.186 / 3600.0))
    assert np.abs(after - temp_c[1:]).max() < 8e-6


def test_roof_delivers_what_pvlib_says_of_the_weather(
    seen: dict[str, np.ndarray], weather: dict[str, np.ndarray]
) -> None:
    pvlib = pytest.importorskip("pvlib")
    begin = np.arange(TICKS) * DT_H
    day, hour = 1.0 + FIRST_DAY + begin / 24.0, begin + DT_H / 2.0
    declination = pvlib.solarposition.declination_spencer71(day)
    time = pvlib.solarposition.equation_of_time_spencer71(day)
    angle, latitude = np.radians(15.0 * (hour + 5.0 - 12.0) - 79.95 + time / 4.0), np.radians(36.1)
    zenith = pvlib.solarposition.solar_zenith_analytical(latitude, angle, declination)
    turned = (angle + np.pi) % (2.0 * np.pi) - np.pi
    azimuth = np.degrees(pvlib.solarposition.solar_azimuth_analytical(latitude, turned, declination, zenith))
    dni = np.where(zenith < np.pi / 2.0, weather["dni_w_m2"], 0.0)
    diffuse = np.maximum(weather["ghi_w_m2"] - dni * np.cos(zenith), 0.0)
    sky = pvlib.irradiance.get_total_irradiance(
        35.0, 200.0, np.degrees(zenith), azimuth, dni, weather["ghi_w_m2"], diffuse, albedo=0.25
    )
    cell = pvlib.temperature.faiman(sky["poa_global"], weather["ambient_temp_c"], 1.0, u0=25.0, u1=6.84)
    dc = pvlib.pvsystem.pvwatts_dc(sky["poa_global"], cell, 0.1 * 1.2 * 0.86, -0.0035)
    ac = pvlib.inverter.pvwatts(dc, 0.1 / 0.96, eta_inv_nom=0.96)
    assert ac.max() > 0.05
    assert seen["roof.p_available [MW]"][1:] == pytest.approx(ac, rel=1e-6, abs=1e-8)
