"""The solar plant against pvlib's functions of the same models, and against the sun itself."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from device_families import build

from powergrid import datasets
from powergrid.devices import solar_plant

GOLDEN = Path(__file__).parents[2] / "golden" / "solar"


@pytest.fixture(scope="module")
def record() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "pvlib.csv", comment="#")


def weather(unit: Any, seen: Any) -> Any:
    """Exogenous columns of a moment in the middle of a tick of no length."""
    day, year = 2 * np.pi * seen.hour / 24, 2 * np.pi * (seen.day - 1) / 365
    return unit.Exogenous(
        seen.ghi, seen.dni, seen.air, seen.wind, np.sin(day), np.cos(day), np.sin(year), np.cos(year)
    )  # fmt: skip


def plant(seen: Any) -> tuple[Any, Any]:
    return build(
        "SolarPlant",
        p_max_mw=1.0,
        latitude_degree=seen.latitude,
        longitude_degree=seen.longitude,
        utc_offset_h=seen.offset_h,
        tilt_degree=seen.tilt,
        azimuth_degree=seen.azimuth,
        wind_series="wind_speed_m_s:here",
    )


def test_sun_irradiance_and_power_are_pvlibs(record: pd.DataFrame) -> None:
    for seen in record.itertuples():
        unit, row = plant(seen)
        now = weather(unit, seen)
        *_, up = solar_plant.sun(np, row, now, 0.0)
        assert np.degrees(np.arccos(up)) == pytest.approx(seen.zenith, abs=1e-6)
        assert solar_plant.irradiance(np, row, now, 0.0) == pytest.approx(seen.poa, rel=1e-6, abs=1e-6)
        assert unit.available(np, row, now, 0.0) == pytest.approx(seen.ac, rel=1e-6, abs=1e-9)


def test_record_is_what_pvlib_says(record: pd.DataFrame) -> None:
    pytest.importorskip("pvlib")
    spec = importlib.util.spec_from_file_location("record", GOLDEN / "record.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    np.testing.assert_allclose(script.rows().to_numpy(float), record.to_numpy(float), rtol=1e-9, atol=1e-9)


def test_sun_position_is_near_the_exact_one() -> None:
    """The exact algorithm's zenith, by pvlib's get_solarposition, at Greensboro on days 0, 100 and 200 of 2022."""
    pvlib = pytest.importorskip("pvlib")
    unit, row = build("SolarPlant")
    times = pd.date_range("2022-01-01", "2022-12-31 23:00", freq="h", tz="Etc/GMT+5")
    exact = pvlib.solarposition.get_solarposition(times, 36.1, -79.95)["zenith"].to_numpy()
    hours = np.arange(len(times))
    day, year = 2 * np.pi * hours / 24, 2 * np.pi * hours / 8760
    zero = hours * 0.0
    now = unit.Exogenous(zero, zero, zero, zero, np.sin(day), np.cos(day), np.sin(year), np.cos(year))
    *_, up = solar_plant.sun(np, row, now, 0.0)
    assert np.abs(np.degrees(np.arccos(up)) - exact).max() < 0.5


def test_tick_sees_the_sun_in_its_middle() -> None:
    unit, row = build("SolarPlant")
    for dt_h in (0.25, 1.0, 4.0):
        begin, middle = (
            weather(unit, pd.Series({"hour": h, "day": 80, "ghi": 500, "dni": 700, "air": 10, "wind": 1}))
            for h in (9.0, 9.0 + dt_h / 2)
        )
        assert solar_plant.sun(np, row, begin, dt_h) == pytest.approx(solar_plant.sun(np, row, middle, 0.0), abs=1e-9)


def test_year_at_greensboro_gives_a_plausible_yield() -> None:
    unit, row = build("SolarPlant", p_max_mw=1.0, dc_ac_ratio=1.0)
    year = datasets.load("embedded")
    names = ("ghi_w_m2:greensboro", "dni_w_m2:greensboro", "ambient_temp_c:greensboro")
    _, values = year.table(900, list(names))
    hours = np.arange(len(values)) / 4
    day, season = 2 * np.pi * hours / 24, 2 * np.pi * hours / 8760
    now = unit.Exogenous(*values.T, hours * 0.0, np.sin(day), np.cos(day), np.sin(season), np.cos(season))
    power_mw = unit.available(np, row, now, 0.25)
    # PVWatts gives 1,300 to 1,450 kWh a year and kW in the middle of North Carolina
    assert 1300.0 < power_mw.sum() / 4 < 1450.0
    assert power_mw[(hours % 24 < 4) | (hours % 24 > 21)].max() == 0.0
    # power turns to the west where the modules do
    west, west_row = build("SolarPlant", p_max_mw=1.0, dc_ac_ratio=1.0, azimuth_degree=260.0)
    noon = [(p * (hours % 24)).sum() / p.sum() for p in (power_mw, west.available(np, west_row, now, 0.25))]
    assert noon[1] > noon[0] + 0.3


def test_inverter_limits_power_and_gives_reactive_power() -> None:
    unit, row = build("SolarPlant", p_max_mw=0.1, sn_mva=0.11, dc_ac_ratio=2.0)
    now = weather(unit, pd.Series({"hour": 12.3, "day": 170, "ghi": 950, "dni": 800, "air": 20, "wind": 1}))
    _, injection = unit.step(np, row, None, unit.Command(1.0, 9.0), now, 0.25)
    assert injection.p_mw == pytest.approx(0.1)
    assert injection.q_mvar == pytest.approx(np.sqrt(0.11**2 - 0.1**2))
    _, injection = unit.step(np, row, None, unit.Command(0.5, -9.0), now, 0.25)
    assert injection.q_mvar == pytest.approx(-np.sqrt(0.11**2 - 0.05**2))


def test_linear_plant_knows_the_length_of_its_ticks() -> None:
    unit, row = build("SolarPlant", curtailable=False)
    hours = np.arange(0, 24, 0.5)
    seen = pd.DataFrame({"hour": hours, "day": 100, "ghi": 600.0, "dni": 500.0, "air": 15.0, "wind": 0.0})
    now = weather(unit, seen)
    linear = unit.linear(now)
    assert linear.p_max_mw == pytest.approx(unit.available(np, row, now, 0.5), abs=1e-12)
    assert linear.p_min_mw == pytest.approx(linear.p_max_mw)
