"""From stamps and values of many files to a dataset: wall clocks to UTC, one regular grid, gaps NaN."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import DAY_S, Series

if TYPE_CHECKING:
    import pandas as pd


class Collector:
    """Values of columns from several tables, until they become a dataset.

    Parameters
    ----------
    place
        What is read, for messages.
    """

    def __init__(self, place: str):
        self.place = place
        self._parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        self._interval_s: dict[str, int] = {}

    def add(self, column: str, seconds: np.ndarray, values: np.ndarray, interval_s: int, place: str) -> None:
        """Take more values of a column.

        Parameters
        ----------
        column
            ``<quantity>_<unit>:<site>``.
        seconds
            Starts of intervals, seconds since 1970 UTC, ``(n,)``, in any order.
        values
            Their values, ``(n,)``; NaN where the source has none.
        interval_s
            Interval [s].
        place
            The table, for messages.

        Raises
        ------
        DataError
            If the interval does not divide a day, differs from that of earlier values, or stamps are off its grid.
        """
        if interval_s <= 0 or DAY_S % interval_s:
            raise DataError(f"{place}: {column} has an interval of {interval_s} s, which does not divide a day")
        known = self._interval_s.setdefault(column, interval_s)
        if known != interval_s:
            raise DataError(f"{place}: {column} has an interval of {interval_s} s, in another file {known} s")
        off = seconds % interval_s != 0
        if off.any():
            raise DataError(f"{place}: {column}: {_stamp(seconds[off][0])} is off the grid of {interval_s} s")
        self._parts[column].append((seconds.astype(np.int64), np.asarray(values, dtype=np.float64)))

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns so far, in order."""
        return tuple(sorted(self._parts))

    def dataset(
        self,
        name: str,
        *,
        utc_offset_h: float,
        source: str,
        licence: str,
        year: int | None = None,
    ) -> Dataset:
        """All values as a dataset over the local days that they touch.

        Parameters
        ----------
        name, source, licence
            Of the dataset.
        utc_offset_h
            Local standard time minus UTC [h], which days begin by.
        year
            Calendar year to cover exactly, with its 29 February; what lies outside is left out.

        Raises
        ------
        DataError
            If there are no values, none in the year, or two files state different values for one interval.
        """
        if not self._parts:
            raise DataError(f"{self.place}: no values found")
        offset_s = round(utc_offset_h * 3600)
        if year is None:
            begin = min(part[0].min() for parts in self._parts.values() for part in parts if part[0].size) + offset_s
            end = max(part[0].max() for parts in self._parts.values() for part in parts if part[0].size) + offset_s
            first, days = int(begin // DAY_S), int(end // DAY_S - begin // DAY_S + 1)
        else:
            first = (date(year, 1, 1) - date(1970, 1, 1)).days
            days = (date(year + 1, 1, 1) - date(year, 1, 1)).days
        start_s = first * DAY_S - offset_s
        series = {column: self._series(column, start_s, days) for column in self.columns}
        if all(np.isnan(one.values).all() for one in series.values()):
            raise DataError(f"{self.place}: has no value in {year}")
        local = date(1970, 1, 1) + timedelta(days=first)
        return Dataset.from_columns(
            name,
            series,
            start=datetime.fromtimestamp(start_s, tz=UTC),
            utc_offset_h=utc_offset_h,
            interval=min(self._interval_s.values()),
            source=source,
            licence=licence,
            first_day=local.timetuple().tm_yday - 1,
        )

    def _series(self, column: str, start_s: int, days: int) -> Series:
        interval_s = self._interval_s[column]
        rows = days * DAY_S // interval_s
        seconds = np.concatenate([part[0] for part in self._parts[column]])
        values = np.concatenate([part[1] for part in self._parts[column]])
        slot = (seconds - start_s) // interval_s
        inside = (slot >= 0) & (slot < rows) & ~np.isnan(values)
        slot, values = slot[inside], values[inside]
        grid = np.full(rows, np.nan)
        grid[slot] = values
        unlike = grid[slot] != values
        if unlike.any():
            at = int(slot[unlike].min())
            two = sorted({float(value) for value in values[slot == at]})
            raise DataError(
                f"{self.place}: {column} has the values {' and '.join(f'{value:g}' for value in two[:2])} at "
                f"{_stamp(start_s + at * interval_s)}; leave one of the files out"
            )
        return Series(grid, interval_s)


def utc_seconds(local: pd.Series | pd.DatetimeIndex, zone: str, repeated: np.ndarray | None, place: str) -> np.ndarray:
    """Seconds since 1970 UTC of a wall clock that changes in spring and autumn, ``(n,)``.

    Parameters
    ----------
    local
        Wall clock without zone, one a row.
    zone
        Such as ``America/Chicago``.
    repeated
        True in the second of the two equal hours of autumn, ``(n,)``; ignored elsewhere. ``None`` if the rows of one
        series are in order of time, so that the second run of equal stamps is the later one.
    place
        The table, for messages.

    Raises
    ------
    DataError
        If a stamp lies in the hour that spring leaves out.
    """
    import pandas as pd

    index = pd.DatetimeIndex(local)
    try:
        if repeated is None:
            known = index.tz_localize(zone, ambiguous="infer", nonexistent="raise")
        else:
            known = index.tz_localize(zone, ambiguous=~np.asarray(repeated, dtype=bool), nonexistent="raise")
    except Exception as error:  # pandas raises classes of whichever zone library it uses
        message = " ".join(str(error).split())
        raise DataError(f"{place}: a stamp does not exist or is unclear in {zone} ({message:.120})") from error
    seconds: np.ndarray = known.tz_convert("UTC").tz_localize(None).as_unit("s").asi8
    return seconds


def seconds_of(texts: pd.Series, form: str, place: str) -> np.ndarray:
    """Seconds since 1970 of stamps; those with an offset in UTC, others on their own clock, ``(n,)``.

    Each different text is read once: tables of markets repeat them for every node.

    Parameters
    ----------
    texts
        One stamp a row.
    form
        As for `pandas.to_datetime`.
    place
        The table, for messages.

    Raises
    ------
    DataError
        If a stamp cannot be read.
    """
    import pandas as pd

    codes, unique = pd.factorize(texts)
    if (codes < 0).any():
        raise DataError(f"{place}: row {int((codes < 0).argmax()) + 2} has no stamp")
    try:
        times = pd.DatetimeIndex(pd.to_datetime(pd.Series(unique), format=form, utc=True))
    except (ValueError, TypeError) as error:
        raise DataError(f"{place}: a stamp cannot be read ({' '.join(str(error).split()):.120})") from error
    seconds: np.ndarray = times.tz_localize(None).as_unit("s").asi8
    return seconds[codes]


def numbers_of(cells: pd.Series, column: str, place: str) -> np.ndarray:
    """Numbers of cells, NaN where a cell is empty, ``(n,)``.

    Raises
    ------
    DataError
        If a cell is neither empty nor a number.
    """
    import pandas as pd

    if cells.dtype.kind in "fiu":
        return cells.to_numpy(dtype=np.float64)
    text = cells.astype(str).str.strip().str.replace(",", "", regex=False)
    values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    bad = np.isnan(values) & cells.notna().to_numpy() & ~text.str.lower().isin(("", "nan", "none")).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f'{place}: column {column}: "{cells.iloc[row]!s:.40}" is no number (row {row + 2})')
    return values


def refuse_missing(found: Mapping[str, object] | list[str], wanted: tuple[str, ...], place: str, what: str) -> None:
    """Refuse a table without some columns.

    Raises
    ------
    DataError
        If one is missing.
    """
    if missing := [name for name in wanted if name not in found]:
        raise DataError(f"{place}: no column {', '.join(missing)}; {what}")


def _stamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(int(seconds), tz=UTC):%Y-%m-%d %H:%M} UTC"
