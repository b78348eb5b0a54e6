"""Checks of a frame or a set of series before it becomes a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.resample import DAY_S, Series
from powergrid.datasets.units import beyond_sense

if TYPE_CHECKING:
    import pandas as pd


def whole_days(name: str, series: Mapping[str, Series]) -> int:
    """Number of days that every series covers.

    Raises
    ------
    DataError
        If a column name has no site, the series do not cover the same whole days, or a value is beyond physical sense.
    """
    lengths = {}
    for column, one in series.items():
        if ":" not in column:
            raise DataError(f'dataset {name}: column "{column}" has no site; name it "{column}:<site>"')
        days, rest = divmod(len(one.values) * one.interval_s, DAY_S)
        if rest or not days:
            raise DataError(
                f"dataset {name}, series {column}: {len(one.values)} values of {one.interval_s} s are not whole days"
            )
        if told := beyond_sense(column.split(":")[0], one.values):
            raise DataError(f"dataset {name}, series {column}: {told}; check its unit")
        lengths[column] = days
    if len(set(lengths.values())) != 1:
        raise DataError(f"dataset {name}: series must cover the same days, found {lengths}")
    return next(iter(lengths.values()))


def frame_start(name: str, frame: pd.DataFrame, interval: int, utc_offset_h: float | None) -> tuple[datetime, float]:
    """First stamp (UTC) and UTC offset [h] of a frame, after checking its index.

    Raises
    ------
    DataError
        If the index is empty, has no time zone, is not regular, or does not begin at a local midnight.
    """
    index = frame.index
    if not len(index) or getattr(index, "tz", None) is None:
        raise DataError(f"dataset {name}: the frame needs rows and an index in UTC (tz_localize, tz_convert)")
    stamps = index.tz_convert("UTC").as_unit("ns").asi8 // 10**9  # type: ignore[attr-defined]
    steps = np.diff(stamps)
    if (steps != interval).any():
        row = int((steps != interval).argmax()) + 1
        raise DataError(f"dataset {name}: {index[row]} does not follow its predecessor by {interval} s (row {row})")
    start = datetime.fromtimestamp(int(stamps[0]), tz=UTC)
    after_midnight_h = (int(stamps[0]) % DAY_S) / 3600
    if utc_offset_h is None:
        utc_offset_h = -after_midnight_h if after_midnight_h <= 12 else 24 - after_midnight_h
    if (after_midnight_h + utc_offset_h) % 24:
        raise DataError(f"dataset {name}: the first row, {index[0]}, is not a midnight at UTC{utc_offset_h:+g} h")
    return start, utc_offset_h
