"""Unpickling of arrays, dictionaries and texts without calling NumPy's own builders.

A pickle chooses the arguments of what it calls, and NumPy's builders take shapes of any size, arrays of objects, and
types whose state may be set at will. So the names that pickles of arrays import are answered by stand-ins, which keep
plain numbers only and make an array of the bytes that are really there.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np

from powergrid.core.errors import DataError

_NUMBERS = re.compile("b1|[iu][1248]|f[248]")


class _Type:
    """Stands in for ``numpy.dtype``: a plain number and its byte order."""

    __slots__ = ("code",)

    def __init__(self, code: Any):
        if not (isinstance(code, str) and _NUMBERS.fullmatch(code)):
            raise DataError(f"arrays of {code!r} are no numbers")
        self.code = code

    def __setstate__(self, state: Any) -> None:
        order, *inner = state[1:5]
        if order not in tuple("<>|=") or any(part is not None for part in inner):
            raise DataError("an array of records is no vector of numbers")
        self.code = order + self.code[-2:]

    def array(self, content: Any, shape: Any, order: str) -> np.ndarray:
        if not isinstance(content, bytes | bytearray):
            raise DataError("an array whose content is no bytes")
        return np.frombuffer(content, self.code).reshape(shape, order=order).copy()  # type: ignore[call-overload]


class _Array:
    """Stands in for an array until its content is known; the pickle's own shape at birth is not used."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None):
        self.value = value

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _Type):
            raise DataError("an array without a type")
        self.value = kind.array(content, shape, "F" if fortran else "C")


class _Builder:
    """Answers a call by its name; without attributes that a pickle could set."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "dtype":
            return _Type(arguments[0])
        if self.name == "_reconstruct":
            return _Array()
        if self.name == "_frombuffer":
            content, kind, shape, order = arguments
            return _Array(kind.array(content, shape, order))
        if self.name == "scalar":
            kind, content = arguments
            return kind.array(content, (), "C")[()]
        if self.name == "encode" and arguments[1:] == ("latin1",):
            return str(arguments[0]).encode("latin1")
        raise DataError(f"a call of {self.name}; only arrays, dicts and texts are allowed")


ALLOWED = {
    (f"{package}.{module}", name)
    for package in ("numpy.core", "numpy._core")
    for module, names in {"multiarray": ("_reconstruct", "scalar"), "numeric": ("_frombuffer",)}.items()
    for name in names
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
"""What pickles of arrays import, by NumPy 1 and 2 and by protocols 0 to 5."""


class _Unpickler(pickle.Unpickler):
    """Imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(f"it asks for {module}.{name}; only NumPy arrays, dicts and texts are allowed")
        return _Builder(name)


def load(content: bytes) -> Any:
    """What a pickle holds, its stand-ins replaced by arrays.

    Raises
    ------
    DataError
        If it asks for anything else.
    Exception
        Whatever a damaged pickle leads to.
    """
    return _arrays(_Unpickler(io.BytesIO(content)).load(), 4)


def _arrays(item: Any, depth: int) -> Any:
    """Replace the stand-ins in nested dictionaries; the layout is three deep."""
    if isinstance(item, _Array):
        return item.value
    if isinstance(item, dict) and depth:
        return {key: _arrays(value, depth - 1) for key, value in item.items()}
    return item
