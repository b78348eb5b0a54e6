"""The v1 data file: a pickle that may hold dictionaries, texts and NumPy arrays, and nothing else.

A pickle is a program. Every import it asks for is therefore read from its opcodes before anything runs, and loading
itself imports nothing (:mod:`powergrid.v1.datasets.array_pickle`).
"""

from __future__ import annotations

import os
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import DataError
from powergrid.v1.datasets.array_pickle import ALLOWED, load

SPLITS = ("train", "test")
QUANTITIES = ("load", "solar", "wind", "price")
_CALLS_WITHOUT_NAME = {"INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}


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
        If the file cannot be read, asks for anything but arrays, dictionaries and texts (nothing is loaded then), or
        has another layout.
    """
    file = Path(path).expanduser()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); give the path of a v1 data file") from error
    _refuse_foreign_imports(file, content)
    try:
        data = load(content)
    except DataError as error:
        raise DataError(f"{file}: refused, {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise DataError(f"{file}: is no readable pickle ({type(error).__name__}: {error})") from error
    _check_layout(file, data)
    return data


def _refuse_foreign_imports(file: Path, content: bytes) -> None:
    """Look through the opcodes for imports and for calls that hide theirs."""
    texts: list[str] = []
    memo: dict[int, str] = {}
    foreign: set[str] = set()
    last = ""
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name == "GLOBAL":
                module, name = str(argument).split(" ", 1)
                foreign |= {f"{module}.{name}"} if (module, name) not in ALLOWED else set()
            elif code.name == "STACK_GLOBAL":
                pair = tuple(texts[-2:])
                foreign |= {".".join(pair)} if pair not in ALLOWED else set()
            elif code.name in _CALLS_WITHOUT_NAME:
                foreign.add(f"an object by {code.name}")
            if "UNICODE" in code.name or code.name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):
                last = str(argument)
                texts.append(last)
            elif code.name == "MEMOIZE":
                memo[len(memo)] = last
            elif code.name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[int(argument or 0)] = last
            elif code.name in ("BINGET", "LONG_BINGET", "GET"):
                texts.append(memo.get(int(argument or 0), ""))
                continue
            if code.name not in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT") and "UNICODE" not in code.name:
                last = ""
    except Exception as error:
        raise DataError(f"{file}: is no readable pickle ({error})") from error
    if foreign:
        raise DataError(
            f"{file}: refused before loading, for it asks for {', '.join(sorted(foreign))}; a v1 data file holds only "
            "NumPy arrays, dicts and texts"
        )


def _check_layout(file: Path, data: Any) -> None:
    """``{split: {quantity: {area: vector}}}``; one split is enough, areas of other lengths do no harm unless used."""

    def fault(what: str) -> DataError:
        layout = '{"train"|"test": {"load"|"solar"|"wind"|"price": {name: array}}}'
        return DataError(f"{file}: {what}; expected {layout}")

    splits = [split for split in SPLITS if split in data] if isinstance(data, dict) else []
    if not splits:
        found = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise fault(f"the top level holds {found or 'nothing'}")
    for split in splits:
        for quantity in QUANTITIES:
            series = data[split].get(quantity) if isinstance(data[split], dict) else None
            if not isinstance(series, dict) or not series:
                raise fault(f'"{split}" has no "{quantity}"')
            for name, values in series.items():
                if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "fiu":
                    raise fault(f"{split}/{quantity}/{name} is no vector of numbers")
