"""Homes of Pecan Street Dataport under their own name, read from the user's own copy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.plugins.registries import register_dataset

_GET = (
    "sign an agreement at https://www.pecanstreet.org/dataport, download a file such as 15minute_data_austin.csv, and "
    "put it there; or write `powergrid data homes pecan_street FILE`"
)


@register_dataset("pecan_street")
def pecan_street(
    start: str | date | None = None,
    end: str | date | None = None,
    cache_dir: Path | None = None,
    download: bool = False,
) -> Dataset:
    """Homes of Pecan Street in the user's own copy, the one ``*minute_data_*.csv`` of `cache_dir`; never downloaded."""
    if cache_dir is None:
        raise DataError(f"pecan_street: its licence forbids to pass the data on, so it is read from cache_dir: {_GET}")
    files = sorted(cache_dir.glob("*minute_data_*.csv*"))
    if len(files) != 1:
        raise DataError(f"pecan_street: {len(files)} files *minute_data_*.csv in {cache_dir}, expected one: {_GET}")
    from powergrid.datasets.readers.pecan_street import read

    return read(files[0]).dataset("pecan_street").clip(start, end)
