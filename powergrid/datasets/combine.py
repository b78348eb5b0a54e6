"""A dataset put together from CSV files, columns of other datasets, and a base for whatever is not named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from powergrid.core.errors import DataError, nearest
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.loaders import SHORT_NAMES, load
from powergrid.datasets.resample import Series
from powergrid.datasets.user_csv import read_series
from powergrid.plugins.registries import DATASETS

UNITS = ("pu", "mw", "mvar", "mwh", "per_mwh", "c", "m_s", "w_m2", "t_per_mwh", "h")
"""Units a quantity may end with."""

USER_SITE = "user"


def from_series(
    series: Mapping[str, str | os.PathLike],
    base: str | Dataset = "embedded_2022",
    *,
    folder: str | os.PathLike | None = None,
    name: str = "user",
) -> Dataset:
    """A year whose named quantities come from elsewhere.

    A quantity without a site replaces all sites of the base by one, called ``user``; with a site, that column only.
    ``load`` replaces active and reactive load alike (both follow the file's shape), unless ``load_q_pu`` is given too.

    Parameters
    ----------
    series
        ``{quantity: place}``. A quantity is ``load``, ``solar``, ``wind``, ``price``, ``temperature`` or a name with
        its unit such as ``load_q_pu`` or ``load_p_pu:res_1``. A place is the path of a CSV file (see `read_series`),
        ``"<path>:<column>"`` where the file has several value columns, or ``"<dataset>:<column>"``.
    base
        Dataset, or its name, for the quantities that are not named.
    folder
        Folder that relative paths start from; by default the working folder.
    name
        Name of the new dataset.

    Raises
    ------
    DataError
        If a quantity or place is unknown, a file cannot be used, or days do not match those of the base.
    """
    ground = load(base) if isinstance(base, str) else base
    columns = {column: ground.series(column) for column in ground.columns}
    origins = [f"base {ground.name}: {ground.source}"]
    wanted = {SHORT_NAMES.get(key, key): place for key, place in series.items()}
    if "load" in series and "load_q_pu" not in wanted:
        wanted["load_q_pu"] = series["load"]
    for key, place in wanted.items():
        quantity, _, site = key.partition(":")
        found = _fetch(_checked(quantity, ground), place, Path(folder or "."))
        if not site:
            columns = {column: one for column, one in columns.items() if column.split(":")[0] != quantity}
        columns[f"{quantity}:{site or USER_SITE}"] = found
        origins.append(f"{key}: {place}")
    return Dataset.from_columns(
        name,
        columns,
        start=ground.start,
        utc_offset_h=ground.utc_offset_h,
        interval=ground.interval,
        source="; ".join(origins),
        licence=f"the files' own; base {ground.name}: {ground.licence}",
        first_day=ground.first_day,
        stress_price=ground.stress_price,
        stress=None if any(key.partition(":")[0] == "price_per_mwh" for key in wanted) else ground.stress_days(),
    )


def _checked(quantity: str, ground: Dataset) -> str:
    known = {column.split(":")[0] for column in ground.columns}
    if quantity not in known and not quantity.endswith(tuple(f"_{unit}" for unit in UNITS)):
        options = sorted([*SHORT_NAMES, *known])
        raise DataError(
            f'unknown series "{quantity}"; {nearest(quantity, options)} available: {", ".join(options)}, '
            f"or a name that ends with its unit ({', '.join(UNITS)})"
        )
    return quantity


def _fetch(quantity: str, place: str | os.PathLike, folder: Path) -> Series:
    """A column of a dataset, or of a file."""
    head, colon, column = str(place).partition(":")
    if colon and head in DATASETS:
        return _column(load(head), column, quantity)
    stem, unit = _parts(quantity)
    file = folder / Path(place).expanduser()
    if not file.exists() and colon:
        left, _, column = str(place).rpartition(":")
        if (folder / left).expanduser().is_file():
            return read_series((folder / left).expanduser(), column, quantity=stem, unit=unit)[1]
    if not file.exists():
        hint = nearest(head, DATASETS.names()) if colon else ""
        raise DataError(
            f"{quantity}: {file} does not exist; give a CSV file, <file>:<column>, "
            f"or <dataset>:<column> with a dataset of {', '.join(DATASETS.names())} {hint}".rstrip()
        )
    return read_series(file, quantity=stem, unit=unit)[1]


def _column(dataset: Dataset, column: str, quantity: str) -> Series:
    """The column of that name, or the first site of a quantity of that name."""
    full = column if ":" in column else next(iter(dataset.sites(SHORT_NAMES.get(column, column))), column)
    if not full:
        raise DataError(f"{quantity}: name a column of {dataset.name}, one of {', '.join(dataset.columns)}")
    return dataset.series(full)


def _parts(quantity: str) -> tuple[str, str]:
    """Quantity and unit: ``("price", "per_mwh")``."""
    for unit in sorted(UNITS, key=len, reverse=True):
        if quantity.endswith(f"_{unit}"):
            return quantity.removesuffix(f"_{unit}"), unit
    return quantity, ""
