"""The v1 data file: a pickle that may hold dictionaries, texts and NumPy arrays, and nothing else.

A pickle is a program. It is therefore never run: its opcodes are read one by one, nothing is imported, and nothing is
allocated that is not in the file (:mod:`powergrid.v1.datasets.array_pickle`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import DataError
from powergrid.core.files import size_of
from powergrid.v1.datasets.array_pickle import ForeignImport, load

SPLITS = ("train", "test")
QUANTITIES = ("load", "solar", "wind", "price")
MOST_BYTES = 1 << 29
"""Size of the largest file that is read; the year of all CAISO areas has about 10 MB."""


def read_pickle(path: str | os.PathLike) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Read a v1 data file.

    Parameters
    ----------
    path
        File such as ``data2023-2024.pkl``.

    Returns
    -------
    dict
        ``data["train"]["load"]["AVA"]`` and the like: load, solar and wind as factors [1], price [$/MWh], one value
        an hour from midnight Pacific standard time. One of the splits may be missing.

    Raises
    ------
    DataError
        If the file cannot be read or is larger than 512 MiB, asks for anything but arrays, dictionaries and texts
        (nothing is loaded then), claims more than it holds, or has another layout.
    """
    file = Path(path).expanduser()
    try:
        size = size_of(file)
        if size > MOST_BYTES:
            raise DataError(
                f"{file}: has {size / 1e6:,.0f} MB, a v1 data file at most {MOST_BYTES / 1e6:,.0f}; "
                "keep only the areas that you use"
            )
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); give the path of a v1 data file") from error
    try:
        data = load(content)
    except ForeignImport as error:
        raise DataError(
            f"{file}: refused before loading, for it asks for {error}; a v1 data file holds only NumPy arrays, dicts "
            "and texts"
        ) from error
    except DataError as error:
        raise DataError(f"{file}: refused, {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise DataError(f"{file}: is no readable pickle ({type(error).__name__}: {error!s:.200})") from error
    _check_layout(file, data)
    return data


def _check_layout(file: Path, data: Any) -> None:
    """``{split: {quantity: {area: vector}}}``; one split is enough, areas of other lengths do no harm unless used."""

    def fault(what: str) -> DataError:
        layout = '{"train"|"test": {"load"|"solar"|"wind"|"price": {name: array}}}'
        return DataError(f"{file}: {what}; expected {layout}")

    splits = [split for split in SPLITS if split in data] if isinstance(data, dict) else []
    if not splits:
        found = ", ".join(f"{name!s:.40}" for name in list(data)[:8]) if isinstance(data, dict) else type(data).__name__
        raise fault(f"the top level holds {found or 'nothing'}")
    for split in splits:
        for quantity in QUANTITIES:
            series = data[split].get(quantity) if isinstance(data[split], dict) else None
            if not isinstance(series, dict) or not series:
                raise fault(f'"{split}" has no "{quantity}"')
            for name, values in series.items():
                if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "fiu":
                    raise fault(f"{split}/{quantity}/{name!s:.40} is no vector of numbers")
