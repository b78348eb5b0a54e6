"""Compile the embedded year from the samples of its public sources.

    python scripts/build_embedded_year.py ../shared/data-samples

Reads SMART-DS load and PV profiles, ERCOT day-ahead prices, WIND Toolkit wind speeds, TMY3 temperatures and
irradiance, and one turbine's power curve, brings them to local standard time with the weekdays of 2022, and writes them
as scaled whole numbers, without rounding any published digit, to ``powergrid/datasets/data/embedded_year.npz``. The
same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from powergrid.datasets.embedded import FILE, PROFILES, SCALES

QUARTERS = 35_040
DAY_QUARTERS = 96

# SMART-DS carries no stamps. Its first day is a Sunday (commercial loads are low on days 0, 7, 14 ... and half low the
# day before) and its schedules move by one hour on days 70 and 308, which are the clock changes of 2017. So it is 2017
# in standard time; moved by one day it has the weekdays and the clock changes of 2022, whose first day is a Saturday.
SMARTDS_SHIFT_DAYS = 1

# The WIND Toolkit point lies at 128.8 degrees west, its stamps are UTC: local standard time is nine hours earlier.
WIND_SHIFT_QUARTERS = 9 * 4

TURBINE = "E48/800"
CUT_OUT_RAMP_M_S = 0.5


def profiles(folder: Path) -> np.ndarray:
    """SMART-DS profiles [1e-4 pu], one row for each entry of `PROFILES`, on the calendar of 2022."""
    frame = pd.read_csv(folder / "profiles" / "smartds_sfo_15min_year_pu.csv.gz")
    values = frame[list(PROFILES.values())].to_numpy().T
    day = np.arange(365)
    # The year wraps after 52 weeks, so that 1 January, too, takes a Saturday.
    source = (day - SMARTDS_SHIFT_DAYS) % 364
    by_day = values.reshape(len(PROFILES), 365, DAY_QUARTERS)
    return scaled(by_day[:, source].reshape(len(PROFILES), -1), "profiles", np.uint16)


def prices(folder: Path, first: str) -> np.ndarray:
    """A year of hourly day-ahead prices of LZ_NORTH [cents/MWh] from a local midnight on."""
    frame = pd.read_csv(folder / "ercot" / "ercot_dam_spp_2021_2022_hourly.csv.gz", index_col="interval_start_utc")
    frame.index = pd.to_datetime(frame.index, utc=True)
    # Central standard time all year: local midnight is 06:00 UTC in summer as in winter.
    hours = pd.date_range(f"{first}T06:00Z", periods=8760, freq="h")
    return scaled(frame.loc[hours, "LZ_NORTH"].to_numpy(), "price", np.int32)


def wind_speed(folder: Path) -> np.ndarray:
    """Wind speed at 100 m [cm/s] every quarter hour of local standard time."""
    frame = pd.read_csv(folder / "weather" / "nrel_wtk_wind100m_15min_2019.csv.gz", skiprows=1)
    utc = frame["wind speed at 100m (m/s)"].to_numpy()
    return scaled(np.roll(utc, -WIND_SHIFT_QUARTERS), "wind_speed", np.uint16)


def temperature(folder: Path) -> np.ndarray:
    """Dry-bulb temperature [0.1 degC] at the start of every hour of local standard time."""
    frame = pd.read_csv(folder / "weather" / "tmy3_723170TYA_greensboro.csv.gz", skiprows=1)
    # Stamps run from 01:00 to 24:00 and temperature is read at the stamp: the year's last value is its first midnight.
    return scaled(np.roll(frame["Dry-bulb (C)"].to_numpy(), 1), "temperature", np.int16)


def irradiance(folder: Path) -> np.ndarray:
    """Global horizontal and direct normal irradiance [W/m2], two rows, means over every hour of local standard time."""
    frame = pd.read_csv(folder / "weather" / "tmy3_723170TYA_greensboro.csv.gz", skiprows=1)
    # Stamps name the end of the hour over which the sun was averaged: row by row these are the hours of the year.
    return scaled(frame[["GHI (W/m^2)", "DNI (W/m^2)"]].to_numpy().T, "irradiance", np.uint16)


def power_curve(folder: Path) -> np.ndarray:
    """Wind speed [m/s] and power [pu], two rows, from cut-in to the end of the shut-down ramp."""
    table = pd.read_csv(folder / "wind" / "windpowerlib_power_curves.csv", index_col="turbine_type")
    curve = table.loc[TURBINE].dropna()
    speed, power = curve.index.to_numpy(dtype=float), curve.to_numpy(dtype=float)
    # The table stops at 25 m/s with full power; shut down along the ramp that other turbines of the table have.
    speed, power = np.append(speed, speed[-1] + CUT_OUT_RAMP_M_S), np.append(power, 0.0)
    return np.stack([speed, power / power.max()])


def scaled(values: np.ndarray, key: str, dtype: type) -> np.ndarray:
    """Whole multiples of the scale of `key`; refuses values with more digits, gaps or values out of range."""
    whole = np.rint(values / SCALES[key])
    if not np.allclose(whole * SCALES[key], values, rtol=0.0, atol=1e-9):
        raise SystemExit(f"{key}: values have more digits than {SCALES[key]}, or gaps")
    limits = np.iinfo(dtype)
    if whole.min() < limits.min or whole.max() > limits.max:
        raise SystemExit(f"{key}: values do not fit {dtype.__name__}")
    return whole.astype(dtype)


def build(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the embedded year."""
    arrays = {
        "profiles": profiles(folder),
        "price_2022": prices(folder, "2022-01-01"),
        # 2021 begins on a Friday; its year from 2 January on has the weekdays of 2022.
        "price_2021": prices(folder, "2021-01-02"),
        "wind_speed": wind_speed(folder),
        "temperature": temperature(folder),
        "irradiance": irradiance(folder),
        "power_curve": power_curve(folder),
    }
    if arrays["profiles"].shape[1] != QUARTERS or len(arrays["wind_speed"]) != QUARTERS:
        raise SystemExit("the sources do not hold 35,040 quarter hours")
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("samples", type=Path, help="folder with the samples (holds SOURCES.md)")
    parser.add_argument("--out", type=Path, default=FILE, help="file to write (default: inside the package)")
    options = parser.parse_args()
    partial = options.out.with_suffix(".partial.npz")
    np.savez_compressed(partial, allow_pickle=False, **build(options.samples))
    os.replace(partial, options.out)
    sys.stdout.write(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
