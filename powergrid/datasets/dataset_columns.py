"""Single columns of datasets by ``"<dataset>:<column>"``, and markets laid over the series that they do not have."""

from __future__ import annotations

from datetime import date

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.datasets.bases import SHORT_NAMES, load_base
from powergrid.datasets.cleaning import clean
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.source import source_of
from powergrid.datasets.resample import DAY_S, Series
from powergrid.datasets.series_file import SeriesFile
from powergrid.datasets.units import parts_of
from powergrid.plugins.registries import DATASETS

_LEAP_DAY, _YEAR_DAYS = 59, 365


def split_place(path: str) -> tuple[str, str] | None:
    """Dataset and column of ``"<dataset>:<column>"``, the column empty where none is named; ``None`` for others."""
    head, colon, column = path.partition(":")
    if colon and head in DATASETS:
        return head, column
    at = len(path)
    while at > 0:  # names of places contain a colon themselves
        if source_of(path[:at]) is not None:
            return path[:at], path[at + 1 :]
        at = path.rfind(":", 0, at)
    return None


def series_of(key: str, form: SeriesFile, quantity: str, days: int) -> Series | None:
    """The series that a place names, if it is a column of a dataset.

    Parameters
    ----------
    key
        Name of the series in a configuration, for messages.
    form
        The place, with steps of cleaning if there are any.
    quantity
        Quantity that it stands for, with its unit.
    days
        Days that it must cover: a leap year loses its 29 February for 365.

    Returns
    -------
    Series or None
        ``None`` if the place is a file.

    Raises
    ------
    DataError
        If other keys than cleaning are stated, or the dataset cannot be used.
    UnknownNameError
        If there is no such column.
    """
    place = split_place(form.path)
    if place is None:
        return None
    stated = sorted(form.changed_fields().keys() - {"path", "cleaning"})
    if stated:
        raise DataError(f"{key}: {form.path} is a column of a dataset, to which {', '.join(stated)} does not apply")
    dataset = load_base(place[0])
    column = column_name(dataset, place[1], quantity)
    if form.cleaning:
        return _fitted(_cleaned(dataset, column, form), dataset, days)
    return _fitted(dataset.series(column), dataset, days)


def column_name(dataset: Dataset, column: str, quantity: str) -> str:
    """Full name of a column: as it is, by its site, or the first site of a quantity.

    Raises
    ------
    DataError
        If none is named and the dataset has none of the quantity, or the unit is another.
    UnknownNameError
        If there is no such column; names the nearest.
    """
    sites = dataset.sites(quantity)
    if ":" in column:
        full = column
    elif f"{quantity}:{column}" in sites:
        full = f"{quantity}:{column}"
    elif source_of(dataset.name) is not None and column and not dataset.sites(SHORT_NAMES.get(column, column)):
        known = [name.partition(":")[2] for name in sites]
        raise unknown_name(f"{quantity} of dataset {dataset.name}", column, known or dataset.columns)
    else:
        full = next(iter(dataset.sites(SHORT_NAMES.get(column or quantity, column or quantity))), column)
    if not full:
        raise DataError(f"{quantity}: name a column of {dataset.name}, one of {', '.join(dataset.columns)}")
    dataset.series(full)
    unit, wanted = parts_of(full.split(":")[0])[1], parts_of(quantity)[1]
    if unit != wanted:
        raise DataError(f"{quantity}: {dataset.name}:{full} is given in {unit}; name a column in {wanted}")
    return full


def completed(dataset: Dataset, base: str = "embedded_2022") -> Dataset:
    """A market's data with those series of a base that it does not have, by position in the year.

    Prices of a market replace those of the base. Its loads and plants are those of whole areas, so they stand behind
    the households and roofs of the base: a configuration that names a quantity alone gets the latter, one that names
    the column the former. Sun and weather of a source without prices stand first. The base repeats 28 February in a
    leap year.

    Parameters
    ----------
    dataset
        A calendar year.
    base
        Dataset of 365 days.
    """
    ground = load_base(base)
    if dataset.days not in (ground.days, ground.days + 1):
        raise DataError(f"dataset {dataset.name} has {dataset.days} days; a year has {ground.days} or one more")
    prices = dataset.sites("price_per_mwh")
    own = {column: dataset.series(column) for column in (prices or dataset.columns)}
    for column in ground.columns:
        if column not in dataset.columns and not (prices and column.startswith("price_per_mwh:")):
            own[column] = _with_days(ground.series(column), dataset.days)
    own |= {column: dataset.series(column) for column in dataset.columns}
    return Dataset.from_columns(
        dataset.name,
        own,
        start=dataset.start,
        utc_offset_h=dataset.utc_offset_h,
        interval=dataset.interval,
        source=f"{dataset.source}; other series are those of {ground.name}: {ground.source}",
        licence=f"{dataset.licence}; {ground.name}: {ground.licence}",
        first_day=dataset.first_day,
        stress_price=dataset.stress_price,
    )


def _cleaned(dataset: Dataset, column: str, form: SeriesFile) -> Series:
    """A column after steps of cleaning, on the same stamps."""
    import pandas as pd

    series = dataset.series(column)
    start = pd.Timestamp(dataset.start).tz_localize(None) + pd.Timedelta(hours=dataset.utc_offset_h)
    index = pd.date_range(start, periods=len(series.values), freq=f"{series.interval_s}s")
    found = clean(pd.DataFrame({column: series.values}, index=index), form.cleaning).frame
    values = found.reindex(index).to_numpy(dtype=np.float64)[:, 0]
    return series._replace(values=values)


def _fitted(series: Series, dataset: Dataset, days: int) -> Series:
    """A leap year without its 29 February where 365 days are wanted."""
    if dataset.days != days + 1 or days != _YEAR_DAYS or dataset.local_date(_LEAP_DAY) != _leap_day(dataset):
        return series
    a_day = DAY_S // series.interval_s
    return series._replace(values=np.delete(series.values, slice(_LEAP_DAY * a_day, (_LEAP_DAY + 1) * a_day)))


def _leap_day(dataset: Dataset) -> date | None:
    first = dataset.local_date(0)
    return date(first.year, 2, 29) if first.year % 4 == 0 and (first.month, first.day) == (1, 1) else None


def _with_days(series: Series, days: int) -> Series:
    a_day = DAY_S // series.interval_s
    if len(series.values) == days * a_day:
        return series
    before = series.values[: _LEAP_DAY * a_day]
    return series._replace(values=np.concatenate([before, before[-a_day:], series.values[_LEAP_DAY * a_day :]]))
