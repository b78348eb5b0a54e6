"""WIND Toolkit of the U.S. national laboratories: CSV files of one site, wind speeds by height."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.readers.archives import csv_table, members
from powergrid.datasets.readers.assemble import Collector, numbers_of

if TYPE_CHECKING:
    import pandas as pd

LICENCE = "WIND Toolkit, a product of the U.S. Department of Energy's national laboratory: free use with credit"
_CLOCK = ("Year", "Month", "Day", "Hour", "Minute")
_SPEED = re.compile(r"wind ?speed at (\d+) ?m \(m/s\)", re.IGNORECASE)
_TEMPERATURE = re.compile(r"(?:air )?temperature at (\d+) ?m \(C\)", re.IGNORECASE)


def read(file: str | os.PathLike[str], *, utc_offset_h: float | None = None, name: str = "wind_toolkit") -> Dataset:
    """Wind speeds [m/s] and temperatures [degC] of a site, with the height as site: ``wind_speed_m_s:100m``.

    Other columns, such as directions and pressures, are left out; `Dataset.source` lists them.

    Parameters
    ----------
    file
        CSV file, plain or compressed: a line of keys and values, a line of names, then rows with year, month, day, hour
        and minute.
    utc_offset_h
        Offset of the clock by which days begin [h]; by default that of the file, whose days are whole there.
    name
        Name of the dataset.

    Raises
    ------
    DataError
        If the file has another form or no such column.
    """
    path = Path(file)
    member = next(iter(members(path)))
    first, _, rest = member.content.partition(b"\n")
    cells = next(csv.reader([first.decode("utf-8-sig", "replace")]), [])
    about = {key.strip(): value.strip() for key, value in zip(cells[::2], cells[1::2], strict=False)}
    if "Data Timezone" not in about or "Latitude" not in about:
        raise DataError(f"{path}: the first line states no Data Timezone and Latitude; this is no WIND Toolkit file")
    table = csv_table(member._replace(content=rest))
    if missing := [column for column in _CLOCK if column not in table]:
        raise DataError(f"{path}: no column {', '.join(missing)}; this is no WIND Toolkit file")
    try:
        data_offset_h = float(about["Data Timezone"])
    except ValueError as error:
        raise DataError(f'{path}: Data Timezone "{about["Data Timezone"]:.20}" is no number of hours') from error
    seconds = _seconds(table, str(path)) - round(data_offset_h * 3600)
    steps = np.diff(np.unique(seconds))
    if not len(steps):
        raise DataError(f"{path}: has fewer than two times")
    interval_s = int(np.median(steps))
    found, left_out = Collector(str(path)), []
    for column in table.columns:
        speed, temperature = _SPEED.fullmatch(column), _TEMPERATURE.fullmatch(column)
        if match := speed or temperature:
            label = f"{'wind_speed_m_s' if speed else 'ambient_temp_c'}:{match[1]}m"
            found.add(label, seconds, numbers_of(table[column], column, str(path)), interval_s, str(path))
        elif column not in _CLOCK:
            left_out.append(column)
    if not found:
        raise DataError(
            f'{path}: no column such as "wind speed at 100m (m/s)"; its columns: {", ".join(table.columns)}'
        )
    source = f"WIND Toolkit, {about['Latitude']} N {about.get('Longitude', '?')} E"
    if left_out:
        source += f"; left out: {', '.join(left_out)}"
    offset_h = data_offset_h if utc_offset_h is None else utc_offset_h
    return found.dataset(name, utc_offset_h=offset_h, source=source, licence=LICENCE)


def _seconds(table: pd.DataFrame, place: str) -> np.ndarray:
    """Stamps of the file's clock as seconds since 1970."""
    import pandas as pd

    try:
        times = pd.to_datetime(table[list(_CLOCK)].rename(columns=str.lower))
    except (ValueError, TypeError) as error:
        raise DataError(f"{place}: a time cannot be read ({' '.join(str(error).split()):.120})") from error
    seconds: np.ndarray = pd.DatetimeIndex(times).as_unit("s").asi8
    return seconds
