"""Dataset: one or more days of named series on a regular interval, with splits, windows and resampling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError, nearest, unknown_name
from powergrid.datasets.resample import DAY_S, Series, check_tick, is_point, means, points_at
from powergrid.datasets.splits import SPLITS, of_weeks, stress_days, usual_limit
from powergrid.datasets.validate import frame_start, whole_days

if TYPE_CHECKING:
    import pandas as pd

BASE_S = 900
"""Default interval of a dataset's frame [s]."""


class Dataset:
    """Named series over whole days of local standard time.

    Columns are named ``<quantity>_<unit>:<site>``, such as ``"load_p_pu:res_1"``. Powers and prices are means over the
    interval that starts at their stamp; temperature and wind speed are values at their stamp.

    Parameters
    ----------
    name
        Name of the dataset.
    frame
        One row per interval, indexed by the interval start in UTC, from a local midnight on.
    missing
        True where a value is missing, shaped like `frame`; by default where it is NaN.
    interval
        Interval of the frame [s].
    source, licence
        Origin and terms of the data, one text each.
    utc_offset_h
        Local standard time minus UTC [h]; by default the offset nearest to zero that makes the first row midnight.
    stress_price
        Price above which a day belongs to the split ``stress`` [the prices' own unit]; by default relative to the
        prices, see :meth:`split`.

    Attributes
    ----------
    made
        Days that were made from training days, ``(days,)``; see `powergrid.datasets.synthesis`.

    Raises
    ------
    DataError
        If the index is not regular, in UTC and made of whole days, or if a column name has no site.
    """

    def __init__(
        self,
        name: str,
        frame: pd.DataFrame,
        missing: pd.DataFrame | None = None,
        interval: int = BASE_S,
        source: str = "",
        licence: str = "",
        *,
        utc_offset_h: float | None = None,
        stress_price: float | None = None,
    ):
        start, offset_h = frame_start(name, frame, interval, utc_offset_h)
        values = frame.to_numpy(dtype=np.float64)
        if missing is not None:
            values = np.where(missing.to_numpy(dtype=bool), np.nan, values)
        series = {str(column): Series(values[:, k], interval) for k, column in enumerate(frame.columns)}
        self._setup(name, series, start, offset_h, interval, source, licence, 0, stress_price)

    @classmethod
    def from_columns(
        cls,
        name: str,
        series: Mapping[str, Series],
        *,
        start: datetime,
        utc_offset_h: float,
        interval: int = BASE_S,
        source: str = "",
        licence: str = "",
        first_day: int = 0,
        stress_price: float | None = None,
        stress: np.ndarray | None = None,
        made: np.ndarray | None = None,
    ) -> Dataset:
        """Dataset from arrays, without pandas.

        Parameters
        ----------
        series
            Column names and their values; all cover the same whole days.
        start
            First interval start, UTC.
        first_day
            Day of the year of the first row, so that weeks keep their split in a part of a year.
        stress_price
            As for the class.
        stress
            Stress days if they are known, for example for a part of a year, ``(days,)``.
        made
            Days that were made from training days, which belong to no split but train, ``(days,)``; by default none.

        Raises
        ------
        DataError
            If the series differ in length or do not cover whole days, or if a column name has no site.
        """
        self = cls.__new__(cls)
        self._setup(name, series, start, utc_offset_h, interval, source, licence, first_day, stress_price)
        self._stress = stress
        if made is not None:
            self.made = np.asarray(made, dtype=bool)
        return self

    def _setup(
        self,
        name: str,
        series: Mapping[str, Series],
        start: datetime,
        utc_offset_h: float,
        interval: int,
        source: str,
        licence: str,
        first_day: int,
        stress_price: float | None,
    ) -> None:
        self.name, self.interval, self.source, self.licence = name, interval, source, licence
        self.start, self.utc_offset_h, self.first_day = start, utc_offset_h, first_day
        self.days = whole_days(name, series)
        self.made = np.zeros(self.days, dtype=bool)
        self.stress_price = stress_price
        self._series = dict(series)
        self._stress: np.ndarray | None = None
        self._tables: dict[tuple[int, tuple[str, ...]], np.ndarray] = {}
        self._checked: set[str] = set()  # series without gaps
        self._frame: pd.DataFrame | None = None

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self.days} days, {len(self._series)} series every {self.interval} s)"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all series."""
        return tuple(self._series)

    def series(self, column: str) -> Series:
        """One series as published.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        """
        if column not in self._series:
            raise unknown_name(f"series of dataset {self.name}", column, self._series)
        return self._series[column]

    def sites(self, quantity: str) -> tuple[str, ...]:
        """Columns of one quantity: ``sites("pv_pu")`` gives ``("pv_pu:south", "pv_pu:southwest")``."""
        return tuple(column for column in self._series if column.split(":")[0] == quantity)

    def local_date(self, day: int) -> date:
        """Calendar day of a day index."""
        return (self.start + timedelta(hours=self.utc_offset_h, days=day)).date()

    @property
    def frame(self) -> pd.DataFrame:
        """All series on the dataset's interval, indexed by the interval start in UTC; made at the first use."""
        if self._frame is None:
            import pandas as pd

            columns = {column: self._at_interval(column) for column in self._series}
            rows = self.days * DAY_S // self.interval
            index = pd.date_range(self.start, periods=rows, freq=f"{self.interval}s", name="interval_start")
            self._frame = pd.DataFrame(columns, index=index)
        return self._frame

    @property
    def missing(self) -> pd.DataFrame:
        """True where a value of `frame` is missing."""
        return self.frame.isna()

    def split(self, name: str) -> np.ndarray:
        """Day indices of one split, ascending.

        Whole weeks ``w = day of the year // 7`` are assigned by ``w % 5``: 0, 1 and 2 to train, 3 to validation, 4 to
        test. Made days are train days. Stress days are in the split ``stress`` and in no other. They are the days with
        a price above `stress_price`; by default with a price above ten times the 90th percentile of the year or, if
        there are none, the 1 % of days with the highest prices. The default is independent of the currency.

        Raises
        ------
        DataError
            If `name` is none of train, validation, test and stress.
        """
        if name not in SPLITS:
            raise DataError(f'unknown split "{name}"; {nearest(name, SPLITS)} available: {", ".join(SPLITS)}')
        stress = self.stress_days()
        return np.flatnonzero(stress if name == "stress" else self._of_split(name) & ~stress)

    def why_empty(self, name: str) -> tuple[str, str]:
        """The reason why a split has no day, and the remedy."""
        prices = self._prices()
        if name == "stress":
            reason = f"no price exceeds the stress price of {self.stress_price:g}" if self.stress_price else "no prices"
        elif count := int(self._of_split(name).sum()):
            limits = [self.stress_price or usual_limit(values) for values in prices.values()]
            above = ", ".join(f"{limit:,g}" for limit in limits)
            reason = f'all {count} days of its weeks have a price above {above} and form the split "stress"'
        else:
            reason = f"the {self.days} days lie in weeks of other splits"
        return reason, "set training.stress_price, or choose another split or day indices"

    def with_series(self, series: Mapping[str, Series]) -> Dataset:
        """The same data with more columns, which do not change its splits."""
        both = {**self._series, **series}
        return self._copy(both, 0, self.days, stress_price=self.stress_price, stress=self.stress_days())

    def with_stress_price(self, price: float | None) -> Dataset:
        """The same data with stress days above a price [unit of the prices]; ``None`` changes nothing."""
        if price is None:
            return self
        return self._copy(self._series, 0, self.days, stress_price=price, stress=None)

    def stress_days(self) -> np.ndarray:
        """Whether each day is in the split ``stress``, ``(days,)``."""
        if self._stress is None:
            self._stress = stress_days(self._prices(), self.days, self.stress_price)
        return self._stress

    def _prices(self) -> dict[str, np.ndarray]:
        return {site: self._series[site].values for site in self.sites("price_per_mwh")}

    def _of_split(self, name: str) -> np.ndarray:
        """Whether each day is in a split, stress days included."""
        real = of_weeks(name, self.first_day + np.arange(self.days))
        return real & ~self.made | (self.made if name == "train" else False)

    def table(self, dt_s: int, columns: Iterable[str] | None = None) -> tuple[tuple[str, ...], np.ndarray]:
        """All days resampled to a tick, from local 00:00 of day 0; see `powergrid.datasets.resample` for the rules.

        Parameters
        ----------
        dt_s
            Tick length [s], a divisor of a day such as 60, 300, 900 or 3600.
        columns
            Series to return, in this order; by default all.

        Returns
        -------
        names
            Column names.
        values
            ``(days * 86400 / dt_s, len(names))``, read-only and kept for the next call.

        Raises
        ------
        DataError
            If the tick does not fit or a series has missing values.
        UnknownNameError
            If there is no such column.
        """
        names = self.columns if columns is None else tuple(columns)
        key = (check_tick(dt_s), names)
        if key not in self._tables:
            table = np.empty((self.days * DAY_S // key[0], len(names)))
            for k, column in enumerate(names):
                table[:, k] = self.at(column, key[0])
            table.setflags(write=False)
            self._tables[key] = table
        return names, self._tables[key]

    def at(self, column: str, dt_s: int, ticks: np.ndarray | None = None) -> np.ndarray:
        """One series at some ticks of `dt_s` seconds, without the table of the others: the same numbers as there.

        Parameters
        ----------
        column
            Name of the series.
        dt_s
            Tick length [s], a divisor of a day.
        ticks
            Indices of ticks from local 00:00 of day 0, any shape. After the last day the first follows. ``None`` means
            all.

        Raises
        ------
        DataError
            If the tick does not fit or the series has missing values.
        UnknownNameError
            If there is no such column.
        """
        return means(column, self._complete(column), check_tick(dt_s), ticks)

    def window(self, day: int, ticks: int, dt_s: int) -> dict[str, np.ndarray]:
        """All series for `ticks` ticks of `dt_s` seconds from local 00:00 of `day`; the first day follows the last.

        Raises
        ------
        DataError
            If there is no such day or the tick does not fit.
        """
        if not 0 <= day < self.days:
            raise DataError(f"dataset {self.name} has no day {day}; days are 0 to {self.days - 1}")
        first = day * DAY_S // check_tick(dt_s)
        return {column: self.at(column, dt_s, np.arange(first, first + ticks)) for column in self.columns}

    def clip(self, start: str | date | None = None, end: str | date | None = None) -> Dataset:
        """The local days from `start` up to, not including, `end` (ISO dates); days count from 0 again.

        Raises
        ------
        DataError
            If a date is not an ISO date or the dataset has no day in between.
        """
        if start is None and end is None:
            return self
        begin = self._day_of(start, 0)
        finish = self._day_of(end, self.days)
        if not 0 <= begin < finish <= self.days:
            raise DataError(
                f"dataset {self.name} has the days {self.local_date(0)} to {self.local_date(self.days - 1)}; "
                f"start={start} and end={end} (not included) do not lie within"
            )
        cut = {column: _slice(series, begin, finish) for column, series in self._series.items()}
        stress = self.stress_days()[begin:finish]  # by the prices of the whole year
        return self._copy(cut, begin, finish, stress_price=self.stress_price, stress=stress)

    def _copy(
        self,
        series: Mapping[str, Series],
        begin: int,
        finish: int,
        *,
        stress_price: float | None,
        stress: np.ndarray | None,
    ) -> Dataset:
        return Dataset.from_columns(
            self.name,
            series,
            start=self.start + timedelta(days=begin),
            utc_offset_h=self.utc_offset_h,
            interval=self.interval,
            source=self.source,
            licence=self.licence,
            first_day=self.first_day + begin,
            stress_price=stress_price,
            stress=stress,
            made=self.made[begin:finish],
        )

    def _day_of(self, when: str | date | None, default: int) -> int:
        if when is None:
            return default
        try:
            wanted = datetime.fromisoformat(when).date() if isinstance(when, str) else when
        except ValueError as error:
            raise DataError(f'"{when}" is not a date; write it as {self.local_date(0)}') from error
        return (wanted - self.local_date(0)).days

    def _at_interval(self, column: str) -> np.ndarray:
        series = self._series[column]
        if is_point(column):
            return points_at(series.values, series.interval_s, self.interval)
        return means(column, series, self.interval)

    def _complete(self, column: str) -> Series:
        """A series; no value may be missing."""
        series = self.series(column)
        if column in self._checked:
            return series
        bad = np.isnan(series.values)
        if bad.any():
            first = self.start + timedelta(seconds=int(bad.argmax()) * series.interval_s)
            raise DataError(
                f"dataset {self.name}, series {column}: {int(bad.sum())} values missing, the first at "
                f"{first:%Y-%m-%d %H:%M} UTC; fill them, or choose days without gaps with clip(start, end)"
            )
        self._checked.add(column)
        return series


def _slice(series: Series, begin: int, finish: int) -> Series:
    a_day = DAY_S // series.interval_s
    return series._replace(values=series.values[begin * a_day : finish * a_day])
