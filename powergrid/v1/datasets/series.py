"""The four series of a v1 environment, from whichever source there is."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.core.files import size_of
from powergrid.v1.datasets.pickle_file import read_pickle

VARIABLE = "POWERGRID_V1_DATA"
"""Environment variable with the path of a v1 data file, for programs that cannot be told otherwise."""
EMBEDDED_LOAD = {"AVA": "com_1", "AZPS": "com_2", "BANC": "com_3", "BANCMID": "com_3"}
"""Load of the embedded year that stands in for an area; every other area takes the first."""
EMBEDDED_SOLAR = {"NP15": "south", "SP15": "southwest"}
"""Solar series that stands in for a trading hub; every other hub takes the first."""
EMBEDDED_YEAR = {"train": "embedded_2022", "test": "ercot_2021"}
"""Dataset behind each split: they share load, sun and wind and differ in their prices."""

_HASHED_BYTES = 1 << 25
"""Files up to this size are compared by their content too."""

Series = dict[str, np.ndarray]

_read: dict[Path, tuple[Any, dict[str, dict[str, Series]]]] = {}
"""Fingerprint and content of every file read so far."""


def read_data(
    train: str, load_area: str, renew_area: str, price_area: str, *, source: Any = None
) -> dict[str, np.ndarray]:
    """Hourly series as v1's environments consume them.

    Parameters
    ----------
    train
        ``"train"`` or ``"test"``.
    load_area, renew_area, price_area
        Names in the source, such as ``"AVA"``, ``"NP15"``, ``"0096WD_7_N001"``.
    source
        Path of a v1 data file or what :func:`~powergrid.v1.datasets.read_caiso` returns; by default the file named by
        the environment variable ``POWERGRID_V1_DATA``, else the embedded data.

    Returns
    -------
    dict
        ``load``, ``solar``, ``wind`` [1] and ``price`` [$/MWh], one value per hour.

    Raises
    ------
    DataError
        If the file cannot be used, lacks the split, or the four series differ in length.
    UnknownNameError
        If it has no such area; names the nearest.
    """
    if train not in EMBEDDED_YEAR:
        raise DataError(f'the split must be "train" or "test", not "{train}"')
    source = os.environ.get(VARIABLE) if source is None else source
    if source is None:
        return _embedded(train, load_area, renew_area)
    if not isinstance(source, dict | str | os.PathLike):
        raise DataError(f"data must be the path of a v1 data file or a dict in its layout, not {source!r}")
    data = source if isinstance(source, dict) else _held(Path(source).expanduser().resolve())
    place = "the data" if isinstance(source, dict) else str(source)
    if train not in data:
        raise DataError(
            f'{place}: has no split "{train}", only {", ".join(map(str, data)) or "nothing"}; train is True for "train"'
        )
    wanted = {"load": load_area, "solar": renew_area, "wind": renew_area, "price": price_area}
    for quantity, area in wanted.items():
        if quantity not in data[train]:
            raise DataError(
                f'{place}: the split "{train}" has no "{quantity}", only {", ".join(data[train]) or "nothing"}'
            )
        if area not in data[train][quantity]:
            raise unknown_name(f"{quantity} series of the split {train}", area, data[train][quantity])
    series = {quantity: data[train][quantity][area] for quantity, area in wanted.items()}
    lengths = {f"{quantity}/{wanted[quantity]}": len(values) for quantity, values in series.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f'{place}: the series of the split "{train}" differ in length ({told}); choose others')
    return series


def _held(file: Path) -> dict[str, dict[str, Series]]:
    """Content of a file, read anew whenever the file is another than before."""
    key = _fingerprint(file)
    if key is None or _read.get(file, (None,))[0] != key:
        _read[file] = key, read_pickle(file)
    return _read[file][1]


def _fingerprint(file: Path) -> tuple[Any, ...] | None:
    """What changes with a file's content; ``None`` for a file that cannot be read.

    Two writes within the resolution of the file system's clock leave time and size alike, hence the hash.
    """
    try:
        seen = file.stat()
        small = size_of(file) <= _HASHED_BYTES
        content = hashlib.blake2b(file.read_bytes()).hexdigest() if small else ""
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino, content


@cache
def _embedded(split: str, load_area: str, renew_area: str) -> dict[str, np.ndarray]:
    from powergrid.datasets import load

    columns = {
        "load": f"load_p_pu:{EMBEDDED_LOAD.get(load_area, 'com_1')}",
        "solar": f"pv_pu:{EMBEDDED_SOLAR.get(renew_area, 'south')}",
        "wind": "wind_pu:turbine",
        "price": "price_per_mwh:lz_north",
    }
    _, table = load(EMBEDDED_YEAR[split]).table(3600, columns.values())
    series = {quantity: table[:, k].astype(np.float32) for k, quantity in enumerate(columns)}
    series["load"] /= series["load"].max()  # v1 scales loads by their maximum
    for quantity in ("solar", "wind"):
        np.clip(series[quantity], 0.0, 1.0, out=series[quantity])
    for values in series.values():
        values.setflags(write=False)
    return series
