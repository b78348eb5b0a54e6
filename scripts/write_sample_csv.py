"""Write the sample CSV files beside the example configuration from the embedded year.

    python scripts/write_sample_csv.py

The files carry hourly stamps of 2024; row by row, without 29 February, they are the embedded year.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from powergrid.datasets import load

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "data"

LEAP_DAY = 59

LOADS = [f"load_p_pu:{kind}_{number}" for kind in ("res", "com") for number in (1, 2, 3)]

# File, value column, digits, columns averaged, what the file really holds.
FILES = (
    (
        "2024_load.csv",
        "load_pu",
        4,
        LOADS,
        "mean of six SMART-DS San Francisco load profiles (simulated), per unit of the published load",
    ),
    (
        "2024_solar.csv",
        "solar_pu",
        4,
        ["pv_pu:south"],
        "SMART-DS San Francisco PV profile (simulated), facing south, per unit of rating",
    ),
    (
        "2024_wind.csv",
        "wind_pu",
        4,
        ["wind_pu:turbine"],
        "WIND Toolkit 2019 wind speed off California through the power curve of an Enercon E48/800, per unit of rating",
    ),
    (
        "caiso_lmp_2024.csv",
        "price_per_mwh",
        2,
        ["price_per_mwh:lz_north"],
        "ERCOT day-ahead price of LZ_NORTH in 2022 ($/MWh): no California ISO data is shipped",
    ),
)

NOTE = "placed on the calendar of 2024, 29 February repeats the 28th; licences in powergrid/datasets/data/LICENSE-*"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamps = [datetime(2024, 1, 1) + timedelta(hours=hour) for hour in range(366 * 24)]
    for file, column, digits, series, content in FILES:
        by_day = load("embedded_2022").table(3600, series)[1].mean(axis=1).reshape(365, 24)
        values = np.insert(by_day, LEAP_DAY, by_day[LEAP_DAY - 1], axis=0).ravel()
        rows = [f"{stamp:%Y-%m-%dT%H:%M},{value:.{digits}f}" for stamp, value in zip(stamps, values, strict=True)]
        partial = FOLDER / f"{file}.partial"
        partial.write_text("\n".join([f"# {content}; {NOTE}", f"time,{column}", *rows, ""]), encoding="utf-8")
        os.replace(partial, FOLDER / file)


if __name__ == "__main__":
    main()
