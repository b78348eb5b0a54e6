"""Arrays, dictionaries and texts of a pickle, read without Python's unpickler.

A pickle is a program that chooses what is imported, called and allocated. Here its opcodes are read one by one: names
of imports stay names, an array is made of the bytes that are really in the file, and every number that the file chooses
(places in the memo, shapes, bytes copied) is held against the file's own length first.
"""

from __future__ import annotations

import pickletools
import re
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import DataError

MOST_OPCODES = 200_000
"""Opcodes of the largest pickle that is read; a file of arrays has about thirty for each."""
_SPARE_BYTES = 1 << 20
"""Bytes that may be copied beyond the file's length: short contents are stored once and used several times."""
_NUMBERS = re.compile("b1|[iu][1248]|f[248]")
_MARK = object()

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
    *("BINBYTES8", "BYTEARRAY8"),
}
_MADE: dict[str, Any] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

ALLOWED = {
    (f"{package}.{module}", name)
    for package in ("numpy.core", "numpy._core")
    for module, names in {"multiarray": ("_reconstruct", "scalar"), "numeric": ("_frombuffer",)}.items()
    for name in names
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
"""What pickles of arrays import, by NumPy 1 and 2 and by protocols 0 to 5."""


class ForeignImport(DataError):
    """A pickle that imports or calls something else than arrays."""


class _Name(NamedTuple):
    """An import that is allowed, by its last part."""

    name: str


class _Type:
    """Stands in for ``numpy.dtype``: a plain number and its byte order."""

    __slots__ = ("code",)

    def __init__(self, code: Any):
        if not (isinstance(code, str) and _NUMBERS.fullmatch(code)):
            raise DataError(f"arrays of {code!r:.60} are no numbers")
        self.code = code

    def build(self, state: Any) -> None:
        order, *inner = state[1:5]
        if order not in tuple("<>|=") or any(part is not None for part in inner):
            raise DataError("an array of records is no vector of numbers")
        self.code = order + self.code[-2:]


class _Array:
    """Stands in for an array until its content is known; the pickle's own shape at birth is not used."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None):
        self.value = value


class _Reader:
    """The stack, the memo and what may still be copied."""

    def __init__(self, content: bytes):
        self.content = content
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.bytes_left = len(content) + _SPARE_BYTES

    def read(self) -> Any:
        for count, (code, argument, _) in enumerate(pickletools.genops(self.content)):
            if count >= MOST_OPCODES:
                raise DataError(f"it has more than {MOST_OPCODES:,} opcodes, too many for a file of arrays")
            if code.name == "STOP":
                return _arrays(self.stack.pop(), 4)
            self.step(code.name, argument)
        raise DataError("it has no end")

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _MADE:
            self.stack.append(_MADE[name]())
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(self.stack[-_TUPLES[name] :])]
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "GLOBAL":
            self.stack.append(_imported(*str(argument).split(" ", 1)))
        elif "PUT" in name or name == "MEMOIZE":
            self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]
        elif "GET" in name:
            self.stack.append(self.memo[int(argument)])
        elif method := getattr(self, f"_{name.lower()}", None):
            method()
        else:
            raise ForeignImport(f"an object by {name}")

    def since_mark(self) -> list[Any]:
        """Everything above the last mark, taken off together with it."""
        at = next(k for k in range(len(self.stack) - 1, -1, -1) if self.stack[k] is _MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _tuple(self) -> None:
        self.stack.append(tuple(self.since_mark()))

    def _list(self) -> None:
        self.stack.append(self.since_mark())

    def _dict(self) -> None:
        items = self.since_mark()
        self.stack.append({})
        self._fill(items)

    def _append(self) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self) -> None:
        items = self.since_mark()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise DataError("a list of its own kind")
        self.stack[-1].extend(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _setitems(self) -> None:
        items = self.since_mark()
        self._fill(items)

    def _fill(self, items: list[Any]) -> None:
        into = self.stack[-1]
        # Keys of nested tuples would be hashed by C code of unbounded depth.
        if not isinstance(into, dict) or not all(isinstance(key, str | bytes | int | float) for key in items[::2]):
            raise DataError("a dictionary whose keys are neither texts nor numbers")
        into.update(zip(items[::2], items[1::2], strict=True))

    def _stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_imported(module, name))

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ForeignImport("a call of something that has no name")
        self.stack.append(self.call(function.name, arguments))

    def _build(self) -> None:
        state, item = self.stack.pop(), self.stack[-1]
        if isinstance(item, _Type):
            item.build(state)
        elif isinstance(item, _Array):
            _, shape, kind, fortran, content = state
            item.value = self.array(kind, content, shape, "F" if fortran else "C")
        else:
            raise DataError(f"a state for {type(item).__name__.strip('_').lower()}")

    def call(self, name: str, arguments: tuple) -> Any:
        """What NumPy's builder of that name would return."""
        if name == "dtype":
            return _Type(arguments[0])
        if name == "_reconstruct":
            return _Array()
        if name == "_frombuffer":
            content, kind, shape, order = arguments
            return _Array(self.array(kind, content, shape, order))
        if name == "scalar":
            kind, content = arguments
            return self.array(kind, content, (), "C")[()]
        if name == "encode" and arguments[1:] == ("latin1",):
            self.spend(len(arguments[0]))
            return str(arguments[0]).encode("latin1")
        raise DataError(f"a call of {name}; only arrays, dicts and texts are allowed")

    def array(self, kind: Any, content: Any, shape: Any, order: Any) -> np.ndarray:
        if not isinstance(kind, _Type):
            raise DataError("an array without a type")
        if not isinstance(content, bytes | bytearray):
            raise DataError("an array whose content is no bytes")
        self.spend(len(content))
        return np.frombuffer(content, kind.code).reshape(shape, order=order).copy()

    def spend(self, count: int) -> None:
        """Note bytes that are copied: together they cannot be more than the file has."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise DataError("its arrays together are larger than the file")


def _imported(module: Any, name: Any) -> _Name:
    if (module, name) not in ALLOWED:
        raise ForeignImport(f"{module!s:.60}.{name!s:.60}")
    return _Name(name)


def load(content: bytes) -> Any:
    """What a pickle holds.

    Raises
    ------
    ForeignImport
        If it imports or calls anything but what arrays, dictionaries and texts are made of; nothing was run.
    DataError
        If its arrays are no plain numbers, or if it is larger inside than outside.
    Exception
        Whatever a damaged pickle leads to.
    """
    return _Reader(content).read()


def _arrays(item: Any, depth: int) -> Any:
    """Replace the stand-ins in nested dictionaries; the layout is three deep."""
    seen: dict[tuple[int, int], Any] = {}  # a dictionary that stands in many places is walked once

    def walk(item: Any, depth: int) -> Any:
        if isinstance(item, _Array):
            return item.value
        if not isinstance(item, dict) or not depth:
            return item
        key = (id(item), depth)
        if key not in seen:
            seen[key] = {name: walk(value, depth - 1) for name, value in item.items()}
        return seen[key]

    return walk(item, depth)
