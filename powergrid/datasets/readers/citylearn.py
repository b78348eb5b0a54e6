"""Homes in the form of CityLearn: a folder with one CSV file for each building, by the hour, without stamps.

Such folders come with the package CityLearn (MIT) and hold metered homes (Fontana, California) or simulated ones of
ResStock. The first row is the first hour of a day, whichever number its column ``hour`` has. The homes of the 2022
challenge follow a clock with daylight saving time, although their column ``daylight_savings_status`` is 0 all year: the
middle of the sun's day moves by an hour on 6 November and 12 March. Their weather file does not; it is left out.
"""

from __future__ import annotations

import os
from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.datasets.cleaning import clean
from powergrid.datasets.readers.homes import YEAR_DAYS, Homes, in_year, label, per_unit, read_table, refuse_wrong_noon
from powergrid.datasets.resample import Series

if TYPE_CHECKING:
    import pandas as pd

HOUR_S = 3600
_NEEDED = ("month", "hour", "day_type", "non_shiftable_load", "solar_generation")
_OTHERS = {
    "pricing": ("electricity_pricing", "price_per_mwh", 1000.0),
    "carbon_intensity": ("carbon_intensity", "carbon_t_per_mwh", 1.0),
}
"""Files beside the buildings: column, quantity, and factor from $/kWh and kg/kWh."""
_HOUR_LATER = 0.5
"""Difference of the middle of the sun's day between summer and winter above which the clock is advanced [h]."""


def read(
    folder: str | os.PathLike[str], buildings: Sequence[str] = (), *, zone: str | None = None, year: int | None = None
) -> Homes:
    """Homes of a folder of CityLearn.

    Load is ``non_shiftable_load`` (kWh per hour). Demands for heat and cold are thermal and are not added. Generation
    is ``solar_generation`` (W per kW of modules). Prices (``pricing.csv``) and the grid's mean carbon intensity
    (``carbon_intensity.csv``) become ``price_per_mwh:citylearn`` and ``carbon_t_per_mwh:citylearn`` where they are
    there, by the same clock.

    Parameters
    ----------
    folder
        Folder with ``Building_1.csv`` ..., plain or compressed (``.csv.gz``).
    buildings
        Names of files without their endings; all files with the columns of a building where empty.
    zone
        Zone of a clock with daylight saving time, such as ``America/Los_Angeles``; the clock is standard time if
        ``None``. The hour that the file has only once in autumn stands for both.
    year
        Calendar year of the first row; by default the last one before 2023 whose weekdays fit.

    Raises
    ------
    DataError
        If a file has another form or length, the sun does not shine around noon, or its day is later in summer than in
        winter, as on a clock with daylight saving time, and no zone is given.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place}: is no folder; give that with the files of the buildings")
    files = {file.name.partition(".csv")[0]: file for file in sorted(place.glob("*.csv*"))}
    for name in buildings:
        if name not in files:
            raise unknown_name("building", name, files)
    tables = {name: read_table(files[name]) for name in buildings or files}
    homes = {name: table for name, table in tables.items() if set(_NEEDED) <= set(table)}
    if wrong := [name for name in buildings if name not in homes]:
        missing = ", ".join(column for column in _NEEDED if column not in tables[wrong[0]])
        raise DataError(f"{files[wrong[0]]}: no column {missing}; this is no building of CityLearn")
    if not homes:
        raise DataError(f"{place}: no file has the columns {', '.join(_NEEDED)}; give a folder of CityLearn")
    series: dict[str, Series] = {}
    ratings: dict[str, float] = {}
    notes = []
    for name, table in homes.items():
        start = _start(table, year, str(files[name]))
        if zone is None:
            _refuse_advanced_clock(table["solar_generation"].to_numpy(float), start, str(files[name]))
        load = _year(table["non_shiftable_load"], start, zone, str(files[name]))
        load_pu, rating_kw = per_unit(load, f"{files[name]}, column non_shiftable_load")
        home = label(name)
        series[f"load_p_pu:{home}"], ratings[f"load_p_pu:{home}"] = Series(load_pu, HOUR_S), rating_kw
        sun = _year(table["solar_generation"], start, zone, str(files[name])) / 1000.0
        if np.nanmax(sun) > 0.0:
            refuse_wrong_noon("pv_pu", sun, HOUR_S, f"{files[name]}, column solar_generation")
            series[f"pv_pu:{home}"] = Series(sun, HOUR_S)
        clock = "standard time" if zone is None else f"the clock of {zone}"
        notes.append(f"{name}: rows from {start:%d %B %Y} on by {clock}; 1 per unit of load is {rating_kw:.3f} kW")
    for name, (column, quantity, factor) in _OTHERS.items():
        found = next((file for key, file in files.items() if key == name or key.endswith(f"_{name}")), None)
        if found is not None and column in (table := read_table(found)):
            values = _year(table[column], start, zone, str(found)) * factor
            series[f"{quantity}:citylearn"] = Series(values, HOUR_S)
    return Homes(
        series,
        ratings,
        source=f"CityLearn, {place.name}: {', '.join(homes)}",
        licence="as the folder states; those in the package CityLearn: MIT",
        notes=tuple(notes),
    )


def _start(table: pd.DataFrame, year: int | None, place: str) -> datetime:
    """Midnight of the first day, whose weekday is that of the file."""
    if len(table) != YEAR_DAYS * 24:
        raise DataError(f"{place}: {len(table):,} rows, expected 8,760 hours")
    first_hour = int(table["hour"].iloc[0])
    if first_hour not in (1, 24, 0):
        raise DataError(f"{place}: begins with hour {first_hour}; the first row of a folder is the first hour of a day")
    noon = table.iloc[12]  # by then both numberings name the same day
    month, weekday = int(noon["month"]), int(noon["day_type"])
    if not 1 <= month <= 12 or not 1 <= weekday <= 8:
        raise DataError(f"{place}: month {month}, day_type {weekday}; expected 1 to 12 and 1 (Monday) to 8 (holiday)")
    noons = table["month"].iloc[12::24].to_numpy()
    day = max(monthrange(2021, month)[1] - int((noons != month).argmax()) + 1, 1)
    fits = [y for y in range(2022, 2004, -1) if weekday == 8 or datetime(y, month, day).isoweekday() == weekday]
    return datetime(year or fits[0], month, day)


def _year(column: pd.Series, start: datetime, zone: str | None, place: str) -> np.ndarray:
    """An hourly column in standard time by its place in the year."""
    import pandas as pd

    values, stamps = column.to_numpy(float), pd.date_range(start, periods=len(column), freq="h")
    if zone is None:
        return in_year(stamps, values, HOUR_S, place)
    steps: list[Mapping[str, object]] = [
        {"clock_changes": {"zone": zone, "skipped": "drop"}},
        {"gaps": {"fill": "hold", "longest_h": 1}},
    ]
    found = clean(pd.DataFrame({"values_h:x": values}, index=stamps), steps).table
    local = found.stamps.tz_localize(None) + timedelta(hours=found.utc_offset_h or 0.0)
    return in_year(local, found.frame.iloc[:, 0].to_numpy(), HOUR_S, place)


def _refuse_advanced_clock(sun: np.ndarray, start: datetime, place: str) -> None:
    """Refuse generation whose day is later in summer than in winter."""
    import pandas as pd

    months = np.asarray(pd.date_range(start, periods=YEAR_DAYS, freq="D").month)
    by_day, hour = sun.reshape(YEAR_DAYS, 24), np.arange(24) + 0.5
    middle = []
    for season in ((6, 7, 8), (12, 1, 2)):
        mean = by_day[np.isin(months, season)].mean(axis=0)
        if mean.sum() <= 0.0:
            return
        middle.append(float((mean * hour).sum() / mean.sum()))
    if middle[0] - middle[1] > _HOUR_LATER:
        raise DataError(
            f"{place}: the middle of the sun's day is {middle[0] - middle[1]:.1f} h later in summer than in winter, as "
            "on a clock with daylight saving time; give its zone, such as America/Los_Angeles"
        )
