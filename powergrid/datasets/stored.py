"""A whole dataset in one file: numpy arrays, and its description as JSON. Nothing in it is executed."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from powergrid.core.errors import DataError
from powergrid.core.files import write_whole
from powergrid.datasets.resample import PowerCurve, Series

if TYPE_CHECKING:
    from powergrid.datasets.dataset import Dataset

ENDING = ".npz"
FORMAT = 1
"""Version of the format; another one is refused."""

_ABOUT = "about"
_PLAIN = ("name", "source", "licence", "interval", "utc_offset_h", "first_day", "stress_price")


def save(dataset: Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset into one ``.npz`` file, which `powergrid.datasets.load` and ``datasets:`` in YAML read.

    Parameters
    ----------
    dataset
        A dataset, gaps included.
    path
        The file; its folder must exist.

    Raises
    ------
    DataError
        If the path has another ending.
    RunError
        If the file cannot be written.
    """
    file = Path(path)
    if file.suffix != ENDING:
        raise DataError(f'{file}: a stored dataset has the ending {ENDING}, not "{file.suffix}"')
    arrays: dict[str, np.ndarray] = {}
    keys: dict[tuple[int, bytes], str] = {}
    columns = []
    for name in dataset.columns:
        series = dataset.series(name)
        columns.append(
            {
                "name": name,
                "interval_s": series.interval_s,
                "values": _once(arrays, keys, series.values),
                "curve": None if series.curve is None else _once(arrays, keys, np.stack(series.curve)),
            }
        )
    about = {
        "format": FORMAT,
        **{key: getattr(dataset, key) for key in _PLAIN},
        "start": dataset.start.isoformat(),
        "columns": columns,
    }
    arrays["stress"], arrays["made"] = dataset.stress_days(), dataset.made
    arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)

    def write(stream: BinaryIO) -> None:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    write_whole(file, write)


def read(path: str | os.PathLike[str]) -> Dataset:
    """Read a dataset that `save` has written.

    Raises
    ------
    DataError
        If the file is absent, damaged, or written by a version with another format.
    """
    from powergrid.datasets.dataset import Dataset

    file = Path(path)
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        about: dict[str, Any] = json.loads(arrays.pop(_ABOUT).tobytes())
        if about["format"] != FORMAT:
            raise DataError(f"{file}: has format {about['format']}, this version reads {FORMAT}; make it again")
        series = {
            column["name"]: Series(
                arrays[column["values"]],
                int(column["interval_s"]),
                None if column["curve"] is None else PowerCurve(*arrays[column["curve"]]),
            )
            for column in about["columns"]
        }
        return Dataset.from_columns(
            about["name"],
            series,
            start=datetime.fromisoformat(about["start"]),
            stress=arrays["stress"],
            made=arrays["made"],
            **{key: about[key] for key in _PLAIN if key != "name"},
        )
    except FileNotFoundError as error:
        raise DataError(f"{file}: there is no such file") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: is no stored dataset or is damaged ({error}); make it again") from error


def _once(arrays: dict[str, np.ndarray], keys: dict[tuple[int, bytes], str], values: np.ndarray) -> str:
    """Key of an array; equal arrays, such as the wind speed and what a turbine makes of it, are stored once."""
    found = keys.setdefault((values.size, values.tobytes()), f"values_{len(keys)}")
    arrays[found] = values
    return found
