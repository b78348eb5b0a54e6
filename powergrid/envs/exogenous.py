"""The exogenous table: one wide row a tick with series, day-ahead prices and the futures that forecasts start from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.tariff import check_tariff, tariff
from powergrid.devices.grid_connection import tariff_series
from powergrid.engine.layout import Columns

PRICE_HOURS = 24
"""Hours of day-ahead prices that agents see."""

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
_CLOCK = ("clock_day_sin", "clock_day_cos", "clock_year_sin", "clock_year_cos")


def bounds_of(name: str, *values: np.ndarray) -> tuple[float, float]:
    """Finite bounds of a series: the usual ones of its quantity, wider where its values are.

    Parameters
    ----------
    name
        Series.
    values
        What it takes, and whatever else shares its bounds.
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


def build(
    dataset: Any,
    dt_s: int,
    needed: Iterable[str],
    tariffs: Sequence[tuple[float, float]],
    *,
    forecast_hours: int,
    forecast_noise: Mapping[str, float],
) -> tuple[Columns, np.ndarray]:
    """Columns and table for an environment.

    Parameters
    ----------
    dataset
        A :class:`~powergrid.datasets.dataset.Dataset`.
    dt_s
        Tick [s].
    needed
        Series or quantities that loads and devices ask for; a quantity stands for its first column.
    tariffs
        ``(feed_in_share, retail_adder_per_mwh)`` of each tariff, the default first.
    forecast_hours
        Hours of forecasts that agents see.
    forecast_noise
        Standard deviation of the relative error by quantity [1].

    Returns
    -------
    columns, table
        What a row holds, and the rows of the year, ``(ticks, W)``.

    Raises
    ------
    DataError
        If a needed series is missing from the dataset, or holds NaN.
    """
    wanted = list(dict.fromkeys(["price_per_mwh", *needed]))
    names = list(dict.fromkeys(resolve(dataset, name) for name in wanted if not _derived(name)))
    found, values = dataset.table(dt_s, columns=names)
    price = values[:, list(found).index(resolve(dataset, "price_per_mwh"))]
    derived: dict[str, np.ndarray] = {}
    for share, adder in tariffs:
        check_tariff(price, share, adder)
        feed_in, retail = tariff(np, price, share, adder)
        derived.update(zip(tariff_series(share, adder), (retail, feed_in), strict=True))
    derived.update(_clock(len(values), dt_s))
    series = (*found, *derived)
    table = np.column_stack([values, *derived.values()])
    bounds = [bounds_of(name, column) for name, column in zip(series, table.T, strict=True)]
    at = list(series).index(resolve(dataset, "price_per_mwh"))
    retail = [values for name, values in derived.items() if name.startswith("retail_per_mwh")]
    bounds[at] = bounds_of(series[at], price, *retail)  # a market's price lies between those of the tariff
    ahead = tuple(i for i, name in enumerate(series) if forecast_hours and name.split(":")[0] in forecast_noise)
    columns = Columns(
        series=series,
        price=at,
        price_hours=PRICE_HOURS,
        ahead=ahead,
        ahead_hours=forecast_hours if ahead else 0,
        ahead_noise=tuple(forecast_noise[series[i].split(":")[0]] for i in ahead),
        bounds=tuple(bounds),
    )
    return columns, _widen(table, columns, dt_s)


def _derived(name: str) -> bool:
    return name.split(":")[0] in ("retail_per_mwh", "feed_in_per_mwh", "hour") or name.startswith("clock_")


def resolve(dataset: Any, name: str) -> str:
    """Full column name for a series or a quantity."""
    if name in dataset.columns:
        return name
    sites: Sequence[str] = dataset.sites(name)
    if not sites:
        raise DataError(f'dataset "{dataset.name}" has no series "{name}"; it holds: {", ".join(dataset.columns)}')
    return sites[0]


def _clock(ticks: int, dt_s: int) -> dict[str, np.ndarray]:
    """Hour of the day and phases of day and year."""
    hours = np.arange(ticks) * dt_s / 3600.0
    day, year = 2.0 * np.pi * hours / 24.0, 2.0 * np.pi * hours / hours.size / (dt_s / 3600.0)
    phases = (np.sin(day), np.cos(day), np.sin(year), np.cos(year))
    return {"hour": hours % 24.0, **dict(zip(_CLOCK, phases, strict=True))}


def _widen(table: np.ndarray, columns: Columns, dt_s: int) -> np.ndarray:
    """Append future values to each row; beyond the last day the year begins again."""

    def later(values: np.ndarray, hours: int) -> list[np.ndarray]:
        return [np.roll(values, -round(hour * 3600 / dt_s), axis=0) for hour in range(1, hours + 1)]

    prices = later(table[:, columns.price], columns.price_hours)
    futures = later(table[:, list(columns.ahead)], columns.ahead_hours)
    return np.ascontiguousarray(np.column_stack([table, *prices, *futures]))
