"""A dataset made of CSV and Excel files, columns of other datasets, and a base for all series that are not named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from powergrid.core.errors import DataError, nearest
from powergrid.core.files import path_fault
from powergrid.datasets.bases import SHORT_NAMES, load_base
from powergrid.datasets.cells import read_once
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.dataset_columns import series_of
from powergrid.datasets.resample import Series
from powergrid.datasets.series_file import SeriesFile
from powergrid.datasets.units import UNITS
from powergrid.datasets.user_file import read_series
from powergrid.plugins.registries import DATASETS

USER_SITE = "user"


Place = str | os.PathLike[str] | SeriesFile | Mapping[str, object]
"""Source of a series: a path, a column of a dataset, or a file with its format."""


def from_csv(
    path: str | os.PathLike[str],
    columns: Mapping[str, str | None],
    base: str | Dataset = "embedded_2022",
    *,
    folder: str | os.PathLike[str] | None = None,
    name: str = "user",
    **form: object,
) -> Dataset:
    """A year whose named quantities are columns of one CSV or Excel file.

    Parameters
    ----------
    path
        The file.
    columns
        ``{quantity: column}``, ``None`` for the only column of the file.
    base, folder, name
        As for `from_series`.
    **form
        How the file is written: the other fields of `SeriesFile`, such as ``sep=";"`` and ``unit="kW"``.

    Raises
    ------
    DataError, MissingExtraError
        As for `from_series`.
    """
    places = {quantity: {"path": os.fspath(path), "column": column, **form} for quantity, column in columns.items()}
    return from_series(places, base, folder=folder, name=name)


def from_series(
    series: Mapping[str, Place],
    base: str | Dataset = "embedded_2022",
    *,
    folder: str | os.PathLike[str] | None = None,
    name: str = "user",
) -> Dataset:
    """A year in which other sources replace the named quantities.

    A quantity without a site replaces all sites of the base by one, called ``user``; with a site, that column only.
    ``load`` replaces active and reactive load alike (both follow the file's shape), unless ``load_q_pu`` is given too.

    Parameters
    ----------
    series
        ``{quantity: place}``. A quantity is ``load``, ``solar``, ``wind``, ``price``, ``temperature`` or a name with
        its unit such as ``load_q_pu`` or ``load_p_pu:res_1``. A place is the path of a CSV or Excel file (see
        `read_series`), ``"<path>:<column>"`` where the file has several value columns, ``"<dataset>:<column>"``, or a
        `SeriesFile` with the format of the file, or a mapping with its fields.
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
    ground = load_base(base) if isinstance(base, str) else base
    with read_once():
        found = {key: series_at(key, place, ground, folder) for key, place in series.items()}
    return combined(found, {key: as_text(place) for key, place in series.items()}, ground, name)


def series_at(key: str, place: Place, ground: Dataset, folder: str | os.PathLike[str] | None = None) -> Series:
    """One series, read and checked.

    Parameters
    ----------
    key
        Its quantity, as for `from_series`.
    place, ground, folder
        Where it comes from, the dataset that it is laid over, and the folder that relative paths start from.

    Raises
    ------
    DataError
        As for `from_series`.
    """
    quantity = _checked(key, ground)
    form, start = _form(key, place), Path(folder or ".")
    if (known := series_of(key, form, quantity, ground.days)) is not None:
        return known
    head, colon, _ = form.path.partition(":")
    if fault := path_fault(form.path):
        raise DataError(f"{key}: {form.path[:40]!r} is no path: {fault}")
    form = with_column(form, start)
    file = start / Path(form.path).expanduser()
    if not file.exists():
        hint = nearest(head, DATASETS.names()) if colon else ""
        raise DataError(
            f"{quantity}: {file} does not exist; give a CSV file, <file>:<column>, "
            f"or <dataset>:<column> with a dataset of {', '.join(DATASETS.names())} {hint}".rstrip()
        )
    return read_series(form, quantity=quantity, key=key, folder=start)


def with_column(form: SeriesFile, folder: Path) -> SeriesFile:
    """The form of ``"<file>:<column>"`` with file and column apart; any other as it is."""
    left, colon, column = form.path.rpartition(":")
    if not colon or form.column is not None or (folder / Path(form.path).expanduser()).exists():
        return form
    if not (folder / left).expanduser().is_file():
        return form
    return form.model_copy(update={"path": left, "column": column})


def combined(series: Mapping[str, Series], origins: Mapping[str, str], ground: Dataset, name: str = "user") -> Dataset:
    """Series that replace those of a dataset: first those without a site, which replace all sites, then single sites.

    Raises
    ------
    DataError
        If a series is given under two names, or days do not match those of the base.
    """
    found: dict[str, Series] = {}
    for key, one in sorted(series.items(), key=lambda item: ":" in item[0]):
        full = SHORT_NAMES.get(key, key)
        if full in found:
            twice = " and ".join(name for name in series if SHORT_NAMES.get(name, name) == full)
            raise DataError(f"{full} is given twice, as {twice}; leave one of them out")
        found[full] = one
    if "load" in series and "load_q_pu" not in found:
        found = {"load_q_pu": found["load_p_pu"], **found}
    columns = {column: ground.series(column) for column in ground.columns}
    for full, one in found.items():
        quantity, _, site = full.partition(":")
        if not site:
            columns = {column: old for column, old in columns.items() if column.split(":")[0] != quantity}
        columns[f"{quantity}:{site or USER_SITE}"] = one
    return Dataset.from_columns(
        name,
        columns,
        start=ground.start,
        utc_offset_h=ground.utc_offset_h,
        interval=ground.interval,
        source="; ".join([f"base {ground.name}: {ground.source}", *(f"{key}: {at}" for key, at in origins.items())]),
        licence=f"the files' own; base {ground.name}: {ground.licence}",
        first_day=ground.first_day,
        stress_price=ground.stress_price,
        stress=None if any(key.partition(":")[0] == "price_per_mwh" for key in found) else ground.stress_days(),
        made=ground.made,
    )


def _checked(key: str, ground: Dataset) -> str:
    """The quantity of a key, if it is known or ends with a unit."""
    quantity = SHORT_NAMES.get(key, key).partition(":")[0]
    known = {column.split(":")[0] for column in ground.columns}
    if quantity not in known and not quantity.endswith(tuple(f"_{unit}" for unit in UNITS)):
        options = sorted([*SHORT_NAMES, *known])
        raise DataError(
            f'unknown series "{quantity}"; {nearest(quantity, options)} available: {", ".join(options)}, '
            f"or a name that ends with its unit ({', '.join(UNITS)})"
        )
    return quantity


def _form(key: str, place: Place) -> SeriesFile:
    """A place with its format."""
    if isinstance(place, SeriesFile):
        return place
    try:
        return SeriesFile.model_validate(place if isinstance(place, Mapping) else {"path": os.fspath(place)})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise DataError(f"{key}: {faults}; known: {', '.join(SeriesFile.model_fields)}") from error


def as_text(place: Place) -> str:
    """A place as text: its path and the stated format."""
    if isinstance(place, str | os.PathLike):
        return os.fspath(place)
    fields = place.changed_fields() if isinstance(place, SeriesFile) else dict(place)
    if steps := fields.get("cleaning"):
        names = [step if isinstance(step, str) else next(iter(step)) for step in cast(Sequence[Any], steps)]
        fields["cleaning"] = ", ".join(names)
    more = ", ".join(f"{name} {value}" for name, value in fields.items() if name != "path" and value is not None)
    return f"{fields.get('path')}{f' ({more})' if more else ''}"
