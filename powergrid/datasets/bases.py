"""Datasets that are there without files of series: those with a name, and stored ones."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

from powergrid.core.errors import unknown_name
from powergrid.datasets import stored
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.cache import load_named
from powergrid.datasets.fetching.source import examples, source_of
from powergrid.plugins.registries import DATASETS

SHORT_NAMES = {
    "load": "load_p_pu",
    "solar": "pv_pu",
    "wind": "wind_pu",
    "price": "price_per_mwh",
    "temperature": "ambient_temp_c",
}
"""Short names of quantities in configurations."""


def load_base(
    name: str,
    start: str | date | None = None,
    end: str | date | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Dataset:
    """A registered dataset, one of a source, or a stored one (``.npz``).

    Arguments are those of `powergrid.datasets.load`.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    DataError
        If the days are not in it or its file cannot be used.
    """
    if name.endswith(stored.ENDING):
        return stored.read(name).clip(start, end)
    folder = None if cache_dir is None else Path(cache_dir).expanduser()
    if name not in DATASETS:
        if source_of(name) is None:
            raise unknown_name("dataset", name, [*DATASETS.names(), *examples(name)])
        return load_named(name, folder, download=download).clip(start, end)
    dataset: Dataset = DATASETS.get(name)(start=start, end=end, cache_dir=folder, download=download)
    return dataset
