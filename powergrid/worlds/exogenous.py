"""Exogenous rows: one wide row per tick with series, day-ahead prices and the values that forecasts start from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from powergrid.core.errors import DataError
from powergrid.core.types import CONSTANT_SERIES
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import DAY_S
from powergrid.datasets.tariff import check_tariff, tariff
from powergrid.devices.grid_connection import tariff_series
from powergrid.engine.layout import Columns

PRICE_HOURS = 24
"""Hours of day-ahead prices that agents observe."""

_USUAL_BOUNDS = {
    "price_per_mwh": (-10_000.0, 10_000.0),
    "retail_per_mwh": (-10_000.0, 11_000.0),
    "feed_in_per_mwh": (-10_000.0, 10_000.0),
    "ambient_temp_c": (-60.0, 60.0),
    "wind_speed_m_s": (0.0, 60.0),
    "ghi_w_m2": (0.0, 1500.0),
    "dni_w_m2": (0.0, 1500.0),
    "hour": (0.0, 24.0),
    "ev_stay_h": (0.0, 168.0),
}
_YEAR_S = 365 * DAY_S
"""The phase of the year begins again after so many seconds in data of several years."""
_PIECE = 2**14
"""Rows of the year that are computed at once."""
_CLOCK = ("clock_day_sin", "clock_day_cos", "clock_year_sin", "clock_year_cos")


def bounds_of(name: str, *values: np.ndarray) -> tuple[float, float]:
    """Finite bounds of a series: the usual ones of its quantity, wider where its values exceed them.

    Parameters
    ----------
    name
        Series.
    values
        Values of the series, and of others that share its bounds.
    """
    quantity = name.split(":")[0]
    if quantity.startswith("clock_"):
        return -1.0, 1.0
    low, high = _USUAL_BOUNDS.get(quantity, (-2.0, 5.0))
    lowest, highest = min(part.min() for part in values), max(part.max() for part in values)
    return (low if lowest >= low else -_rounded_up(-lowest)), (high if highest <= high else _rounded_up(highest))


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 ... of a positive value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value))


class ExogenousTable:
    """Exogenous rows of the data, one per tick, computed when they are read; no table of the year is stored.

    ``table[rows]`` returns whole rows, ``table.series(columns, rows)`` some of their columns, which is cheaper. Rows
    count from 00:00 of the first day; after the last row the first follows. A row has the same bits whichever other
    rows are read with it.

    Parameters
    ----------
    dataset
        A :class:`~powergrid.datasets.dataset.Dataset`.
    dt_s
        Tick [s].
    columns
        Columns of a row: the series (columns of the dataset, tariffs, clock), then the prices and the series of the
        hours ahead.
    tariffs
        ``(feed_in_share, retail_adder_per_mwh)`` of each tariff.

    Attributes
    ----------
    tariffs
        The terms behind each retail and each feed-in price, by series.
    """

    def __init__(self, dataset: Dataset, dt_s: int, columns: Columns, tariffs: Sequence[tuple[float, float]]):
        self._dataset, self._dt_s, self._columns = dataset, dt_s, columns
        self.tariffs = {name: pair for pair in tariffs for name in tariff_series(*pair)}
        self._rows: int = dataset.days * DAY_S // dt_s
        self._price_rows, self._ahead_rows = (
            np.array([round(hour * 3600 / dt_s) for hour in range(1, hours + 1)], dtype=int)
            for hours in (columns.price_hours, columns.ahead_hours)
        )

    def __len__(self) -> int:
        """Number of rows of all days."""
        return self._rows

    @property
    def width(self) -> int:
        """Number of columns of a row, W."""
        columns = self._columns
        return len(columns.series) + columns.price_hours + columns.ahead_hours * len(columns.ahead)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Whole rows, ``(*rows, W)``."""
        chosen = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        columns = self._columns
        parts = [
            self.series(range(len(columns.series)), chosen),
            self.series([columns.price], chosen[..., None] + self._price_rows),
            self.series(columns.ahead, chosen[..., None] + self._ahead_rows),
        ]
        return np.concatenate([parts[0], *(part.reshape(*chosen.shape, -1) for part in parts[1:])], axis=-1)

    def series(self, columns: Sequence[int] | np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Some of the series, by their position in ``Columns.series``: ``(*rows, len(columns))``."""
        distinct, place = np.unique(np.asarray(rows, dtype=np.int64) % self._rows, return_inverse=True)
        values = np.empty((len(distinct), len(columns)))
        for k, column in enumerate(columns):
            values[:, k] = self._one(self._columns.series[column], distinct)
        shaped: np.ndarray = values[place.reshape(np.shape(rows))]
        return shaped

    def column(self, column: int) -> np.ndarray:
        """One series at all rows, ``(len(table),)``."""
        return self._one(self._columns.series[column], np.arange(self._rows))

    def year(self, dtype: DTypeLike = np.float64) -> np.ndarray:
        """All rows, ``(len(table), W)``, computed at each call."""
        table = np.empty((self._rows, self.width), dtype)
        for first in range(0, self._rows, _PIECE):
            table[first : first + _PIECE] = self[slice(first, first + _PIECE)]
        return table

    def _one(self, name: str, rows: np.ndarray) -> np.ndarray:
        if name in self.tariffs:
            price = self._one(self._columns.series[self._columns.price], rows)
            feed_in, retail = tariff(np, price, *self.tariffs[name])
            return retail if name.startswith("retail") else feed_in
        if name == CONSTANT_SERIES:
            return np.ones(len(rows))
        if name not in self._dataset.columns and _derived(name):
            return _clock(name, rows, min(self._rows, _YEAR_S // self._dt_s), self._dt_s)
        values: np.ndarray = self._dataset.at(name, self._dt_s, rows)
        return values


def build(
    dataset: Dataset,
    dt_s: int,
    needed: Iterable[str],
    tariffs: Sequence[tuple[float, float]],
    *,
    forecast_hours: int,
    forecast_noise: Mapping[str, float],
    public: Iterable[str] = (),
) -> tuple[Columns, ExogenousTable]:
    """Columns and table for an environment.

    Parameters
    ----------
    dataset
        A :class:`~powergrid.datasets.dataset.Dataset`.
    dt_s
        Tick [s].
    needed
        Series or quantities that loads and devices read; a quantity stands for its first column.
    tariffs
        ``(feed_in_share, retail_adder_per_mwh)`` of each tariff, the default first.
    forecast_hours
        Hours of forecasts that agents observe [h].
    forecast_noise
        Standard deviation of the relative error by quantity [1].
    public
        Series or quantities that every agent observes, beside clock and price.

    Returns
    -------
    columns, table
        Names and bounds of the columns, and the rows.

    Raises
    ------
    DataError
        If the dataset lacks a needed series, or a needed series has NaN.
    """
    public = tuple(public)
    wanted, given = list(dict.fromkeys(["price_per_mwh", *needed, *public])), frozenset(dataset.columns)
    columns_read = list(dict.fromkeys(resolve(dataset, name) for name in wanted if name in given or not _derived(name)))
    for name in columns_read:
        dataset.at(name, dt_s, np.zeros(0, dtype=int))  # refuses gaps
    priced = resolve(dataset, "price_per_mwh")
    reach = {name: _reach(dataset, name) for name in columns_read}
    for share, adder in tariffs:
        check_tariff(reach[priced], share, adder)
        feed_in, retail = tariff(np, reach[priced], share, adder)
        reach.update(zip(tariff_series(share, adder), (retail, feed_in), strict=True))
    bounds = {name: bounds_of(name, values) for name, values in reach.items()}
    retails = [values for name, values in reach.items() if name.startswith("retail_per_mwh")]
    bounds[priced] = bounds_of(priced, reach[priced], *retails)  # a market's price lies between those of the tariff
    constant = [CONSTANT_SERIES] if CONSTANT_SERIES in wanted else []
    bounds.update({name: bounds_of(name, np.zeros(1)) for name in ("hour", *_CLOCK, *constant)})
    series = tuple(bounds)
    ahead = tuple(i for i, name in enumerate(series) if forecast_hours and name.split(":")[0] in forecast_noise)
    columns = Columns(
        series=series,
        price=series.index(priced),
        price_hours=PRICE_HOURS,
        ahead=ahead,
        ahead_hours=forecast_hours if ahead else 0,
        ahead_noise=tuple(forecast_noise[series[i].split(":")[0]] for i in ahead),
        bounds=tuple(bounds.values()),
        public=tuple(series.index(resolve(dataset, name)) for name in public),
    )
    return columns, ExogenousTable(dataset, dt_s, columns, tariffs)


def _reach(dataset: Dataset, name: str) -> np.ndarray:
    """Values whose least and greatest bound the means of a series over ticks of any length."""
    series = dataset.series(name)
    reach: np.ndarray = series.values if series.curve is None else series.curve.power_pu
    return reach


def _derived(name: str) -> bool:
    """Whether a series is computed rather than read from the dataset."""
    computed = ("retail_per_mwh", "feed_in_per_mwh", "hour", CONSTANT_SERIES)
    return name.split(":")[0] in computed or name.startswith("clock_")


def resolve(dataset: Dataset, name: str) -> str:
    """Full column name of a series or a quantity.

    Raises
    ------
    DataError
        If the dataset has neither.
    """
    if name in dataset.columns:
        return name
    sites: Sequence[str] = dataset.sites(name)
    if not sites:
        raise DataError(f'dataset "{dataset.name}" has no series "{name}"; its series: {", ".join(dataset.columns)}')
    return sites[0]


def _clock(name: str, rows: np.ndarray, total: int, dt_s: int) -> np.ndarray:
    """Hour of the day, or sine or cosine of the phase of day or year, which has `total` rows."""
    hours = rows * dt_s / 3600.0
    if name == "hour":
        return hours % 24.0
    phase = 2.0 * np.pi * hours / 24.0 if "_day_" in name else 2.0 * np.pi * hours / total / (dt_s / 3600.0)
    value: np.ndarray = np.sin(phase) if name.endswith("_sin") else np.cos(phase)
    return value
