"""One series from a user's CSV or Excel file, checked before use.

A file has a header, one time column and value columns. Lines that begin with ``#`` before the header are comments. The
time column has a name such as ``time``, ``timestamp``, ``datetime``, ``date`` or ``hour``, else it is the first; a date
column beside a clock column is read together with it. It contains stamps, or integers that count intervals. Stamps mark
the start of an interval in local standard time, unless a key says otherwise; stamps with a UTC offset are converted to
the offset of the first, which removes clock changes. A file covers one calendar year from 1 January 00:00; 29 February
is dropped. Days are used by their position in the year, so weekdays are those of the file.
"""

from __future__ import annotations

import os
import re
from calendar import isleap
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from powergrid.core.errors import DataError, nearest, unknown_name
from powergrid.datasets.cells import Cells, decimal_mark, number_form, numbers, of_file, read_cells
from powergrid.datasets.cleaning import Report, Table, clean
from powergrid.datasets.resample import DAY_S, Series
from powergrid.datasets.series_file import SeriesFile
from powergrid.datasets.stamps import UnclearStamps, read_stamps
from powergrid.datasets.units import Conversion, beyond_sense, conversion, converted, doubt, never_negative

if TYPE_CHECKING:
    import pandas as pd

TIME_NAMES = (
    *("time", "timestamp", "datetime", "date", "hour", "interval_start", "interval_start_utc", "date/time", "utc"),
    *("zeit", "zeitstempel", "datum"),
)
"""Names of time columns, in any case."""

YEAR_DAYS = 365
_LEAP_DAY = 59
_DATE_NAMES, _CLOCK_NAMES = ("date", "datum", "day"), ("time", "zeit", "uhrzeit")
USER_COLUMN = "value"
"""Site of the column in a pipeline of cleaning."""
_MOST_LISTED = 20
_EMPTY = ("", "nan", "na", "n/a", "null", "none", "-")
_CLOCK_CHANGES = "clock changes need UTC offsets, or local standard time all year"


class _Column(NamedTuple):
    """Two columns of a file as texts, with the line of each row and the stated format."""

    place: str
    key: str
    form: SeriesFile
    time_name: str
    lines: np.ndarray
    times: pd.Series
    values: pd.Series
    sep: str

    def row(self, row: int) -> str:
        """A row as text."""
        return f"line {self.lines[row]} ({self.time_name} {self.times.iloc[row]})"

    def write(self, **changes: object) -> str:
        """The line to write into the YAML."""
        return f"write {self.form.line(self.key, **changes)}"


class _Clock(NamedTuple):
    """Times of rows.

    Attributes
    ----------
    seconds
        Wall clock of the file, since 1970 or, for plain counts, since the first [s].
    offset_s
        Its offset from UTC [s]; ``None`` where the stamps have none.
    counted
        Whether the file counts intervals instead of giving stamps.
    """

    seconds: np.ndarray
    offset_s: int | None
    counted: bool


def read_series(
    file: str | os.PathLike[str] | SeriesFile,
    column: str | None = None,
    *,
    quantity: str,
    key: str = "",
    folder: str | os.PathLike[str] = ".",
) -> Series:
    """Read and check one series of a CSV or Excel file.

    Parameters
    ----------
    file
        Path, or a `SeriesFile` with the format of the file.
    column
        Value column; may be left out where the file has only one.
    quantity
        Quantity of the values, with its unit in a dataset: ``"load_p_pu"``, ``"price_per_mwh"``.
    key
        Name of the series in a YAML, for messages; by default the quantity.
    folder
        Folder that a relative path starts from.

    Returns
    -------
    Series
        365 days on the file's own interval.

    Raises
    ------
    DataError
        If the file or column is missing, a time or number cannot be read, values are missing or unusual for their unit,
        stamps are repeated or have gaps, or the file does not cover one year. The message contains file, separator,
        column, line and time, and the line for the YAML file if one helps.
    MissingExtraError
        If an Excel file needs openpyxl and it is absent.
    """
    form = file if isinstance(file, SeriesFile) else SeriesFile.model_validate({"path": os.fspath(file)})
    form = form if column is None else form.model_copy(update={"column": column})
    return read_cleaned(form, quantity, key or quantity, folder)[0]


def read_cleaned(
    form: SeriesFile, quantity: str, key: str, folder: str | os.PathLike[str] = "."
) -> tuple[Series, Report]:
    """As `read_series`, and what the steps of cleaning did, if the form has any.

    Parameters
    ----------
    form
        The file, its format and the steps.
    quantity, key, folder
        As for `read_series`.

    Raises
    ------
    DataError, MissingExtraError
        As for `read_series`; values may be missing where there are steps.
    """
    stated = conversion(quantity, form.unit) if form.unit else Conversion()
    cells = read_cells(Path(folder) / Path(form.path).expanduser(), form, key)
    raw = _column(cells, form, key)
    values, report = _numbers(raw), Report()
    clock = of_file(cells, (form.date_format, raw.time_name), lambda: _clock(raw))
    if form.cleaning:
        raw, values, clock, report = _cleaned(raw, values, clock, quantity)
    order = np.argsort(clock.seconds, kind="stable")
    interval_s = _interval(raw, clock.seconds, order)
    leap, turn_s = _new_year(raw, clock, interval_s)
    year = np.roll(_one_year(raw, values[order], interval_s, leap), turn_s // interval_s)
    if np.isnan(year).all():
        raise DataError(f"{raw.place}: no value is left in the year; check column, year and steps")
    try:
        year = converted(year, interval_s, stated, form.rating, form.unit)
    except DataError as error:
        raise DataError(f"{raw.place}: {error}") from error
    _check(raw, quantity, year, interval_s, sizes=form.unit is None or stated != Conversion())
    return Series(year, interval_s), report


def _cleaned(
    raw: _Column, values: np.ndarray, clock: _Clock, quantity: str
) -> tuple[_Column, np.ndarray, _Clock, Report]:
    """Rows after the steps of cleaning, in local standard time."""
    import pandas as pd

    form = raw.form
    if clock.counted:
        raise DataError(f"{raw.place}: cleaning needs time stamps, and this file counts intervals")
    index, offset_h = pd.DatetimeIndex(clock.seconds.astype("datetime64[s]")), form.utc_offset_h
    if clock.offset_s is not None or offset_h is not None:
        index = (index - pd.Timedelta(seconds=clock.offset_s or 0)).tz_localize("UTC")
        offset_h = (clock.offset_s or 0) / 3600.0 if offset_h is None else offset_h
    table = Table.of(pd.DataFrame({f"{quantity}:{USER_COLUMN}": values}, index=index))
    try:
        found = clean(table._replace(utc_offset_h=offset_h), list(form.cleaning))
    except DataError as error:
        raise DataError(f"{raw.place}: {error}") from error
    seconds = found.table.seconds
    if found.table.stamps.tz is not None:
        seconds = seconds + round((found.table.utc_offset_h or 0.0) * 3600)
    times = pd.Series(seconds.astype("datetime64[s]"))
    after = raw._replace(
        place=f"{raw.place}, after cleaning",
        form=form.model_copy(update={"utc_offset_h": None}),
        lines=np.arange(1, len(times) + 1),
        times=times,
    )
    return after, found.frame.iloc[:, 0].to_numpy(), _Clock(seconds, None, False), found.report


def _column(cells: Cells, form: SeriesFile, key: str) -> _Column:
    """The time column and one value column of a table."""
    header = cells.header
    time, clock = _time_positions(header)
    value = _value_position(cells, time, clock, form, key)
    if header[time][:1].isdigit() and re.fullmatch(number_form("."), header[value]):
        fault = f"line {cells.lines[0] - 1} is no header but a row ({header[time]:.40} {header[value]:.40})"
        raise DataError(f"{cells.place}: {fault}; put names above the columns, such as time and load")
    times = cells.frame[time]
    if clock is not None:
        times = times + " " + cells.frame[clock]
    return _Column(
        place=f"{cells.place}, column {header[value]}",
        key=key,
        form=form,
        time_name=header[time],
        lines=cells.lines,
        times=times,
        values=cells.frame[value],
        sep=cells.sep,
    )


def _time_positions(header: list[str]) -> tuple[int, int | None]:
    """Positions of the time column and, if it contains dates only, of the clock column."""
    names = [name.lower() for name in header]
    date = next((names.index(name) for name in _DATE_NAMES if name in names), None)
    clock = next((names.index(name) for name in _CLOCK_NAMES if name in names), None)
    if date is not None and clock is not None:
        return date, clock
    return next((k for k, name in enumerate(names) if name in TIME_NAMES), 0), None


def _value_position(cells: Cells, time: int, clock: int | None, form: SeriesFile, key: str) -> int:
    header = cells.header
    others = [k for k in range(len(header)) if k not in (time, clock)]
    if form.column is not None:
        found = [k for k in others if header[k] == form.column]
        if not found:
            fault = str(unknown_name("column", form.column, [header[k] for k in others]))
            if len(others) > _MOST_LISTED:
                fault = f'unknown column "{form.column}" among {len(others)}; {nearest(form.column, header)}'
            raise DataError(f"{cells.place}: {fault}")
        if len(found) > 1:
            raise DataError(f'{cells.place}: {len(found)} columns are called "{form.column}"; give each its own name')
        return found[0]
    if len(others) == 1:
        return others[0]
    names = ", ".join(header[k] for k in others[:_MOST_LISTED]) or "none"
    if others:
        hint = f"name it with column=, in YAML {form.line(key, column=header[others[0]])}"
    else:
        hint = f"if the separator is another, write {form.line(key, sep=';')}"
    raise DataError(f"{cells.place}: one value column expected beside {header[time]}, found {names}; {hint}")


def _numbers(raw: _Column) -> np.ndarray:
    """Values as numbers; refuses text, infinities and missing values."""
    empty = raw.values.str.lower().isin(_EMPTY)
    texts = raw.values.where(~empty, "")
    mark = raw.form.decimal or decimal_mark(texts[~empty], raw.sep)
    if mark is None:
        either = " or ".join(raw.form.line(raw.key, decimal=mark) for mark in ",.")
        first = texts[texts.str.contains("[.,]", regex=True)].iloc[0]
        raise DataError(f'{raw.place}: "{first}" may have a decimal mark or thousands; write {either}')
    values = numbers(texts, mark)
    wrong = np.isnan(values) & ~empty.to_numpy() & ~texts.str.lower().str.fullmatch(r"[+-]?inf(inity)?").to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f'{raw.place}: "{texts.iloc[row]:.60}" is not a number at {raw.row(row)} (decimal mark "{mark}"); '
            f"write 12.5, no units, or {raw.write(decimal='.' if mark == ',' else ',')}"
        )
    bad = np.isinf(values) if raw.form.cleaning else ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{raw.place}: {int(bad.sum())} values missing or infinite, the first at {raw.row(int(bad.argmax()))}; "
            f"fill them, or {raw.write(cleaning=[{'gaps': 'interpolate'}])}"
        )
    return values


def _clock(raw: _Column) -> _Clock:
    """Times of the rows."""
    if raw.form.date_format is None and raw.times.str.fullmatch(r"[+-]?\d{1,7}").all():
        counts = raw.times.astype(np.int64).to_numpy()
        return _Clock((counts - counts.min()) * _counted_interval(raw), None, True)
    try:
        stamps = read_stamps(raw.times, raw.form.date_format)
    except UnclearStamps as error:
        where = "" if error.row is None else f" in column {raw.time_name}, line {raw.lines[error.row]}"
        lines = " or ".join(raw.form.line(raw.key, date_format=form) for form in error.forms)
        if error.row is None and not lines:
            raise DataError(f"{raw.place}: {error}") from error
        hint = f"write {lines}"
        if error.row is not None:
            hint = "write 2024-01-31T14:00, with or without a UTC offset, or count intervals in whole numbers"
            hint += f", or state the form: {lines}" if lines else ""
        raise DataError(f"{raw.place}: {error}{where}; {hint}") from error
    seconds = stamps.local.dt.round("s").to_numpy().astype("datetime64[s]").astype(np.int64)
    return _Clock(seconds, stamps.offset_s, False)


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
    """Interval of the rows in time order [s]; refuses repeated stamps and gaps."""
    steps = np.diff(seconds[order])
    if not len(steps):
        raise DataError(f"{raw.place}: one row only; a file covers one year")
    if (steps == 0).any():
        row = int(order[int((steps == 0).argmax()) + 1])
        raise DataError(f"{raw.place}: time given twice at {raw.row(row)}; remove one row ({_CLOCK_CHANGES})")
    interval_s = int(np.median(steps))
    odd = steps != interval_s
    if odd.any():
        step = int(odd.argmax())
        before, after = (raw.row(int(row)) for row in order[step : step + 2])
        raise DataError(
            f"{raw.place}: the interval is {interval_s} s, but {after} comes {int(steps[step])} s after {before} "
            f"({int(odd.sum())} such places); add the missing rows ({_CLOCK_CHANGES})"
        )
    if DAY_S % interval_s:
        raise DataError(f"{raw.place}: an interval of {interval_s} s does not divide a day")
    return interval_s


def _new_year(raw: _Column, clock: _Clock, interval_s: int) -> tuple[bool | None, int]:
    """Whether the year has a 29 February (``None`` for plain counts), and by how much its rows are shifted [s].

    Stamps of another clock are converted to local standard time. If the file then starts with the year, no shift is
    needed. Otherwise the file's own clock starts with the year, and the hours beyond its end move to its beginning.
    """
    form = raw.form
    turn_s = 0 if form.utc_offset_h is None else round(form.utc_offset_h * 3600) - (clock.offset_s or 0)
    first = int(clock.seconds.min()) - (interval_s if form.time == "end" and not clock.counted else 0)
    if not clock.counted and _begins_year(first + turn_s):
        return isleap(_stamp(first + turn_s).year), 0
    if turn_s % interval_s:
        raise DataError(
            f"{raw.place}: a shift of {turn_s / 3600:g} h to local standard time is no multiple of {interval_s} s"
        )
    if clock.counted:
        return None, turn_s
    if not _begins_year(first):
        hint = "a file begins on 1 January at 00:00 of its local standard time"
        if form.time == "start" and _begins_year(first - interval_s):
            hint = f"its stamps look like the ends of intervals: {raw.write(time='end')}"
        elif form.time == "end" and _begins_year(first + interval_s):
            hint = f"its stamps look like the starts of intervals: {raw.write(time='start')}"
        raise DataError(f"{raw.place}: the first interval starts at {_stamp(first).isoformat()}; {hint}")
    return isleap(_stamp(first).year), turn_s


def _begins_year(second: int) -> bool:
    stamp = _stamp(second)
    return (stamp.month, stamp.day, stamp.hour, stamp.minute, stamp.second) == (1, 1, 0, 0, 0)


def _stamp(second: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=second)


def _one_year(raw: _Column, values: np.ndarray, interval_s: int, leap: bool | None) -> np.ndarray:
    """365 days, without 29 February."""
    a_day = DAY_S // interval_s
    if leap is None:
        leap = len(values) == (YEAR_DAYS + 1) * a_day
    needed = (YEAR_DAYS + int(leap)) * a_day
    if len(values) != needed:
        verdict = "too short: complete the year" if len(values) < needed else "too long: keep one calendar year"
        raise DataError(
            f"{raw.place}: {len(values)} rows of {interval_s} s from {raw.times.iloc[0]} on, a year has {needed}; "
            f"{verdict}"
        )
    return np.delete(values, slice(_LEAP_DAY * a_day, (_LEAP_DAY + 1) * a_day)) if leap else values


def _check(raw: _Column, quantity: str, values: np.ndarray, interval_s: int, *, sizes: bool) -> None:
    """Refuse values in another unit, on another clock, or beyond physical limits."""
    checked, found = raw.form.check, None
    senseless = beyond_sense(quantity, values)
    if checked or never_negative(quantity, values):
        found = doubt(quantity, values, interval_s, sizes=sizes and checked)
    if found is None:
        if senseless:
            raise DataError(f"{raw.place}: {senseless}; check its unit, and state the true one as `unit`")
        return
    unit = raw.write(unit=found.unit) if found.unit else ""
    anyway = "" if senseless or found.never else f"to leave it unchecked, {raw.write(check=False)}"
    hint = ", ".join(part for part in (unit, found.other, anyway) if part)
    raise DataError(f"{raw.place}: {quantity}: {found.finding}; {hint}")
