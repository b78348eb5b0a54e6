"""Shapes per unit beside the powers of a market, so that devices and loads can follow them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import Series

SHAPES = {"load_mw": ("load_p_pu", "load_q_pu"), "solar_mw": ("pv_pu",), "wind_mw": ("wind_pu",)}
"""Quantities that follow each power."""
_FUELS = {"generation_mw:wind": "wind_pu:nyiso", "generation_mw:solar": "pv_pu:nyiso"}
_GENERATION = ("pv_pu", "wind_pu")


def with_per_unit(dataset: Dataset, first: Sequence[str] = ()) -> Dataset:
    """The data with a shape for each load, solar and wind power: over the largest value of the series.

    Reactive load has the shape of active load. What plants draw at night, a negative generation, counts as zero there.
    Series without a positive value have no shape.

    Parameters
    ----------
    dataset
        Data of a market, gaps included.
    first
        Columns that are put first.
    """
    shapes: dict[str, Series] = {}
    for column in dataset.columns:
        quantity, _, site = column.partition(":")
        wanted = [f"{name}:{site}" for name in SHAPES.get(quantity, ())]
        wanted += [_FUELS[column]] if column in _FUELS else []
        series = dataset.series(column)
        if not wanted or not np.isfinite(series.values).any() or np.nanmax(series.values) <= 0.0:
            continue
        shape = series.values / np.nanmax(series.values)
        if wanted[0].startswith(_GENERATION):
            shape = np.where(shape < 0.0, 0.0, shape)
        for name in wanted:
            if name not in dataset.columns:
                shapes[name] = Series(shape, series.interval_s)
    found = {**{column: dataset.series(column) for column in dataset.columns}, **shapes}
    ordered = {column: found[column] for column in (*(one for one in first if one in found), *found)}
    return Dataset.from_columns(
        dataset.name,
        ordered,
        start=dataset.start,
        utc_offset_h=dataset.utc_offset_h,
        interval=dataset.interval,
        source=dataset.source,
        licence=dataset.licence,
        first_day=dataset.first_day,
    )
