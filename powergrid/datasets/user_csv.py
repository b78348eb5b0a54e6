"""One series from a user's CSV file, checked before it is believed.

A file holds a header, one time column and value columns; lines that begin with ``#`` before the header are comments.
The time column is the one called ``time``, ``timestamp``, ``datetime``, ``date``, ``hour`` or ``interval_start``, else
the first. It holds either ISO stamps or whole numbers that count intervals. Stamps mark the start of an interval, in
local standard time; with a UTC offset they are brought to the offset of the first, which undoes clock changes. A file
covers one calendar year from 1 January 00:00; 29 February is dropped. Days are used by their place in the year, so
weekdays are the file's own.
"""

from __future__ import annotations

import csv
import os
from calendar import isleap
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.datasets.resample import DAY_S, Series

TIME_NAMES = ("time", "timestamp", "datetime", "date", "hour", "interval_start", "interval_start_utc")

YEAR_DAYS = 365
_LEAP_DAY = 59
_EMPTY = ("", "nan", "na", "n/a", "null", "none", "-")
_LARGEST_PU = 5.0


class _Column(NamedTuple):
    """Two columns of a file as text, with the line each row stands on."""

    place: str
    time_name: str
    lines: Sequence[int]
    times: Sequence[str]
    values: Sequence[str]


def read_series(path: str | os.PathLike, column: str | None = None, *, quantity: str, unit: str) -> tuple[str, Series]:
    """Read and check one series of a CSV file.

    Parameters
    ----------
    path
        File to read.
    column
        Value column; may be left out where the file has only one.
    quantity, unit
        What the values are: ``"load_p"`` and ``"pu"``, ``"price"`` and ``"per_mwh"``.

    Returns
    -------
    name
        Dataset column, ``"<quantity>_<unit>:<file name>"``.
    series
        365 days on the file's own interval.

    Raises
    ------
    DataError
        If the file or column is missing, a time or number cannot be read, values are missing or implausible for their
        unit, stamps are doubled or have gaps, or the file does not cover one year. Names file, column, line and time.
    """
    file = Path(path)
    raw = _read_column(file, column)
    values = _numbers(raw)
    seconds, leap = _seconds_of_year(raw)
    order = np.argsort(seconds, kind="stable")
    interval_s = _interval(raw, seconds, order)
    series = _one_year(raw, values[order], interval_s, leap)
    name = f"{quantity}_{unit}:{file.stem}"
    _check_unit(raw, name, series)
    return name, Series(series, interval_s)


def _read_column(file: Path, column: str | None) -> _Column:
    """Text of the time column and of one value column."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            lines = stream.readlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); give a CSV file in UTF-8") from error
    skipped = 0
    while skipped < len(lines) and (not lines[skipped].strip() or lines[skipped].startswith("#")):
        skipped += 1
    rows = [(skipped + 1 + k, row) for k, row in enumerate(csv.reader(lines[skipped:])) if any(row)]
    if len(rows) < 2:
        raise DataError(f"{file}: no data; expected a header line and one line an interval, separated by commas")
    header = [cell.strip() for cell in rows[0][1]]
    time = next((k for k, cell in enumerate(header) if cell.lower() in TIME_NAMES), 0)
    value = _value_position(file, header, time, column)
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(f"{file}, line {line}: {len(row)} cells, the header has {len(header)}; complete the line")
    return _Column(
        place=f"{file}, column {header[value]}",
        time_name=header[time],
        lines=[line for line, _ in rows[1:]],
        times=[row[time].strip() for _, row in rows[1:]],
        values=[row[value].strip() for _, row in rows[1:]],
    )


def _value_position(file: Path, header: list[str], time: int, column: str | None) -> int:
    others = [k for k in range(len(header)) if k != time]
    if column is not None:
        if column not in header or header.index(column) == time:
            raise DataError(f"{file}: {unknown_name('column', column, [header[k] for k in others])}")
        return header.index(column)
    if len(others) != 1:
        found = ", ".join(header[k] for k in others) or "none"
        raise DataError(f"{file}: one value column expected beside {header[time]}, found {found}; name it with column=")
    return others[0]


def _numbers(raw: _Column) -> np.ndarray:
    """Values as numbers; refuses text, infinities and missing values."""
    values = np.full(len(raw.values), np.nan)
    for row, text in enumerate(raw.values):
        if text.lower() in _EMPTY:
            continue
        try:
            values[row] = float(text)
        except ValueError as error:
            raise DataError(
                f'{raw.place}: "{text}" is not a number at {_row(raw, row)}; write 12.5, no units'
            ) from error
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{raw.place}: {int(bad.sum())} values missing or infinite, the first at {_row(raw, int(bad.argmax()))}; "
            "fill them, for example from the hours beside them or the day before"
        )
    return values


def _seconds_of_year(raw: _Column) -> tuple[np.ndarray, bool | None]:
    """Time of each row [s from 1 January 00:00] and whether the year has a 29 February; ``None`` for plain counts."""
    if all(text.lstrip("+-").isdigit() for text in raw.times) and len(raw.times[0]) < 8:
        counts = np.array([int(text) for text in raw.times], dtype=np.int64)
        interval_s = _counted_interval(raw)
        return (counts - counts.min()) * interval_s, None
    stamps = [_stamp(raw, row) for row in range(len(raw.times))]
    if len({stamp.tzinfo is None for stamp in stamps}) == 2:
        raise DataError(f"{raw.place}: some stamps have a UTC offset and some have none; write all of them alike")
    first = min(stamps)
    zone = first.tzinfo
    local = [stamp.astimezone(zone).replace(tzinfo=None) if zone else stamp for stamp in stamps]
    begin = min(local)
    if (begin.month, begin.day, begin.hour, begin.minute, begin.second) != (1, 1, 0, 0, 0):
        raise DataError(
            f"{raw.place}: the first interval starts at {first.isoformat()}; "
            "a file begins on 1 January at 00:00 of its local standard time"
        )
    seconds = np.array([(stamp - begin) // timedelta(seconds=1) for stamp in local], dtype=np.int64)
    return seconds, isleap(begin.year)


def _stamp(raw: _Column, row: int) -> datetime:
    try:
        return datetime.fromisoformat(raw.times[row])
    except ValueError as error:
        raise DataError(
            f'{raw.place}: "{raw.times[row]}" is no time in column {raw.time_name}, line {raw.lines[row]}; '
            "write 2024-01-31T14:00, with or without a UTC offset, or count intervals in whole numbers"
        ) from error


def _counted_interval(raw: _Column) -> int:
    """Interval of a file without stamps, from the number of its rows [s]."""
    for days in (YEAR_DAYS, YEAR_DAYS + 1):
        a_day, rest = divmod(len(raw.times), days)
        if not rest and a_day and DAY_S % a_day == 0:
            return DAY_S // a_day
    raise DataError(
        f"{raw.place}: {len(raw.times)} rows are not a year of equal intervals; expected 8,760 (hours) or 35,040 "
        "(quarter hours), in a leap year 8,784 or 35,136, and no row left out"
    )


def _interval(raw: _Column, seconds: np.ndarray, order: np.ndarray) -> int:
    """Interval of the rows in time order [s]; refuses doubled stamps and gaps."""
    steps = np.diff(seconds[order])
    if not len(steps):
        raise DataError(f"{raw.place}: one row only; a file covers one year")
    clock = "clock changes need UTC offsets, or local standard time all year"
    if (steps == 0).any():
        row = int(order[int((steps == 0).argmax()) + 1])
        raise DataError(f"{raw.place}: time given twice at {_row(raw, row)}; remove one row ({clock})")
    interval_s = int(np.median(steps))
    odd = steps != interval_s
    if odd.any():
        step = int(odd.argmax())
        before, after = (_row(raw, int(row)) for row in order[step : step + 2])
        raise DataError(
            f"{raw.place}: the interval is {interval_s} s, but {after} comes {int(steps[step])} s after {before} "
            f"({int(odd.sum())} such places); add the missing rows ({clock})"
        )
    if DAY_S % interval_s:
        raise DataError(f"{raw.place}: an interval of {interval_s} s does not divide a day")
    return interval_s


def _one_year(raw: _Column, values: np.ndarray, interval_s: int, leap: bool | None) -> np.ndarray:
    """365 days, without 29 February."""
    a_day = DAY_S // interval_s
    if leap is None:
        leap = len(values) == (YEAR_DAYS + 1) * a_day
    needed = (YEAR_DAYS + int(leap)) * a_day
    if len(values) != needed:
        verdict = "too short: complete the year" if len(values) < needed else "too long: keep one calendar year"
        raise DataError(
            f"{raw.place}: {len(values)} rows of {interval_s} s from {raw.times[0]} on, a year has {needed}; {verdict}"
        )
    return np.delete(values, slice(_LEAP_DAY * a_day, (_LEAP_DAY + 1) * a_day)) if leap else values


def _check_unit(raw: _Column, name: str, values: np.ndarray) -> None:
    """Refuse per-unit values that are plainly in another unit, and generation below zero."""
    quantity = name.split(":")[0]
    if not quantity.endswith("_pu"):
        return
    if np.abs(values).max() > _LARGEST_PU:
        raise DataError(
            f"{raw.place}: the largest value is {np.abs(values).max():g}, too much for {quantity}; "
            "divide the column by its rating (kW or MW), so that 1 is full power"
        )
    if quantity in ("pv_pu", "wind_pu") and values.min() < 0:
        raise DataError(
            f"{raw.place}: {int((values < 0).sum())} values below zero, the least {values.min():g}; "
            "generation available is never negative: set the plant's own use at night to zero"
        )


def _row(raw: _Column, row: int) -> str:
    return f"line {raw.lines[row]} ({raw.time_name} {raw.times[row]})"
