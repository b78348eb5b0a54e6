"""What a dataset contains, as facts: span, columns with their sizes and gaps, days of each split."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from powergrid.datasets.dataset import Dataset
from powergrid.datasets.splits import SPLITS


class ColumnFacts(NamedTuple):
    """One series.

    Attributes
    ----------
    name, interval_s
        Column, and its own interval [s].
    least, mean, most
        Over what is not missing [unit of the column], NaN where everything is.
    missing
        Intervals without a value.
    gaps, longest_h
        Runs of such intervals, and the longest of them [h].
    """

    name: str
    interval_s: int
    least: float
    mean: float
    most: float
    missing: int
    gaps: int
    longest_h: float


class Card(NamedTuple):
    """A dataset in numbers.

    Attributes
    ----------
    name, source, licence
        As of the dataset.
    first, last
        Local days.
    days, made
        Number of days, and how many of them were made.
    interval_s, utc_offset_h
        Interval of the frame [s]; local standard time minus UTC [h].
    splits
        Days of each split.
    columns
        Facts of each column.
    """

    name: str
    source: str
    licence: str
    first: date
    last: date
    days: int
    made: int
    interval_s: int
    utc_offset_h: float
    splits: dict[str, int]
    columns: tuple[ColumnFacts, ...]


def card(dataset: Dataset) -> Card:
    """The facts of a dataset."""
    return Card(
        name=dataset.name,
        source=dataset.source,
        licence=dataset.licence,
        first=dataset.local_date(0),
        last=dataset.local_date(dataset.days - 1),
        days=dataset.days,
        made=int(dataset.made.sum()),
        interval_s=dataset.interval,
        utc_offset_h=dataset.utc_offset_h,
        splits={name: len(dataset.split(name)) for name in SPLITS},
        columns=tuple(_facts(dataset, name) for name in dataset.columns),
    )


def runs(missing: np.ndarray) -> list[tuple[int, int]]:
    """First index and length of each run of True, ``(n,)`` booleans in time order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    return [(int(first), int(end - first)) for first, end in edges.reshape(-1, 2)]


def _facts(dataset: Dataset, name: str) -> ColumnFacts:
    series = dataset.series(name)
    missing = np.isnan(series.values)
    values = series.values[~missing]
    if series.curve is not None:  # what the wind makes of the curve at its points
        values = series.curve.power(values)
    empty = not values.size
    gaps = runs(missing)
    return ColumnFacts(
        name=name,
        interval_s=series.interval_s,
        least=np.nan if empty else float(values.min()),
        mean=np.nan if empty else float(values.mean()),
        most=np.nan if empty else float(values.max()),
        missing=int(missing.sum()),
        gaps=len(gaps),
        longest_h=max((length for _, length in gaps), default=0) * series.interval_s / 3600.0,
    )
