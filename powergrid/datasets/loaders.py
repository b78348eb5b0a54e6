"""Datasets by name."""

from __future__ import annotations

import os
from datetime import date

import numpy as np

from powergrid.datasets import described, stored
from powergrid.datasets.bases import SHORT_NAMES, load_base
from powergrid.datasets.dataset import BASE_S, Dataset
from powergrid.datasets.resample import means
from powergrid.plugins.registries import DATASETS


def load(
    name: str,
    start: str | date | None = None,
    end: str | date | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Dataset:
    """Return a registered dataset, or one in a file.

    Parameters
    ----------
    name
        Name or alias, see `names`; a year or place of a source, such as ``caiso_2024`` or
        ``nsrdb:39.74,-105.18,2022``, see `powergrid.datasets.sources`; or the path of a stored dataset (``.npz``, see
        `powergrid.datasets.stored`) or of a description (``.yaml``, see `powergrid.datasets.described`).
    start, end
        First local day and the day after the last (ISO dates); by default everything.
    cache_dir
        Folder of downloads; by default that of the environment variable ``POWERGRID_DATA``, or the user's cache.
    download
        True allows a dataset to fetch what is not in its cache; embedded datasets never do.

    Raises
    ------
    UnknownNameError
        If there is no such dataset.
    DataError, ConfigError
        If the days are not in it or its files cannot be used.
    """
    if name.endswith(described.ENDINGS):
        return described.read(name).clip(start, end)
    return load_base(name, start, end, cache_dir, download)


def names() -> tuple[str, ...]:
    """Names of all registered datasets."""
    return DATASETS.names()


def is_file(name: str) -> bool:
    """Whether a name of a dataset is a path, by its ending."""
    return name.endswith((stored.ENDING, *described.ENDINGS))


class DatasetRegistry:
    """Datasets as plain arrays on a 15-min base."""

    @staticmethod
    def load(
        name: str, cache_dir: str | os.PathLike[str] | None = None, download: bool = False
    ) -> dict[str, np.ndarray]:
        """Series of a dataset by column name, and the first of each quantity under its short name, such as ``"load"``.

        Parameters
        ----------
        name, cache_dir, download
            As in `powergrid.datasets.load`.

        Returns
        -------
        dict
            Arrays with one value per quarter hour, read-only; NaN where a value is missing.

        Raises
        ------
        UnknownNameError
            If there is no such dataset.
        """
        dataset = load(name, cache_dir=cache_dir, download=download)
        arrays = {column: means(column, dataset.series(column), BASE_S) for column in dataset.columns}
        for values in arrays.values():
            values.setflags(write=False)
        for short, quantity in SHORT_NAMES.items():
            for column in dataset.sites(quantity)[:1]:
                arrays[short] = arrays[column]
        return arrays
