"""Check of a file of ``pandapower.to_json`` before pandapower reads it.

pandapower's format names a module and a class for whatever is not a plain JSON value, and its reader imports that
module and builds that class. Here a net and its tables pass, and nothing else does; each table is one rectangle of
plain values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from powergrid.core.errors import NetworkError

Json: TypeAlias = Any
"""A value of a JSON file."""
MAX_BYTES = 20_000_000
"""Largest file that is read; pandapower's own net of 9,241 buses has 4 MB."""
MAX_VALUES = 500_000
"""Most objects and lists in it; that net has 57,000."""
MAX_DEPTH = 60
"""Deepest nesting, texts that are JSON themselves included; pandapower writes 12 levels."""

NET = ("pandapower.auxiliary", "pandapowerNet")
TABLES = (("pandas.core.frame", "DataFrame"), ("pandas", "DataFrame"))
WITHOUT_EFFECT = ("controller",)
"""Tables that are left out unread: ``runpp`` ignores them by default."""

_TABLE_KEYS = {"_module", "_class", "_object", "orient", "dtype"}
_NAMES_OF_AXES = ("is_multiindex", "is_multicolumn", "index_name", "index_names", "column_name", "column_names")
_NUMBERS = {f"{kind}{bits}" for kind in ("int", "uint", "Int", "UInt") for bits in (8, 16, 32, 64)}
_DTYPES = {"object", "str", "string", "category", "bool", "boolean", "float32", "float64", "Float64", *_NUMBERS}
_ADVICE = "remove it from the net and save again with pandapower.to_json"


def read_json(file: Path) -> str:
    """The net of a file as JSON of the same meaning, with every part checked.

    Raises
    ------
    NetworkError
        If the file cannot be read, is no saved net, is too large or too deep, or names a class that is no table.
    """
    held = _load(_text(file), str(file))
    if not isinstance(held, dict) or (held.get("_module"), held.get("_class")) != NET:
        raise NetworkError(f"{file} holds no pandapower net; save the net with pandapower.to_json")
    inside = held.get("_object")
    if set(held) != {"_module", "_class", "_object"} or not isinstance(inside, dict):
        raise NetworkError(f"{file} holds an incomplete pandapower net; save the net with pandapower.to_json")
    tables = {key: _checked(value, f"{file}: {key}", 1) for key, value in inside.items() if key not in WITHOUT_EFFECT}
    return json.dumps({**held, "_object": tables})


def is_net(file: Path) -> bool:
    """Whether a file begins like a saved net."""
    try:
        with file.open(encoding="utf-8") as stream:
            return f'"{NET[1]}"' in stream.read(10_000)
    except (OSError, ValueError):
        return False


def _text(file: Path) -> str:
    """Content of a regular file that is not too large."""
    try:
        if not file.exists():
            raise NetworkError(f"{file} does not exist; save a pandapower net there with pandapower.to_json")
        size = file.stat().st_size
        if not file.is_file() or size > MAX_BYTES:
            what = (
                f"{size:,} bytes are more than the {MAX_BYTES:,} that" if file.is_file() else "no regular file, which"
            )
            raise NetworkError(f"{file}: {what} are read; load the net and pass it to Network.from_pandapower")
        with file.open(encoding="utf-8") as stream:
            text = stream.read(MAX_BYTES)
    except (OSError, ValueError) as error:  # not to be read, or not text
        raise NetworkError(f"{file} cannot be read as JSON ({error}); save the net with pandapower.to_json") from error
    if text.count("{") + text.count("[") > MAX_VALUES:
        raise NetworkError(
            f"{file}: more than {MAX_VALUES:,} objects and lists; load the net and pass it to Network.from_pandapower"
        )
    return text


def _load(text: str, place: str) -> Json:
    try:
        return json.loads(text)
    except RecursionError:
        raise NetworkError(f"{place} is nested too deep; {_ADVICE}") from None
    except ValueError as error:
        raise NetworkError(f"{place} cannot be read as JSON ({error}); save the net with pandapower.to_json") from error


def _table(given: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
    """A table whose content is one rectangle of values, written anew."""
    text, axes = given.get("_object"), {key: given[key] for key in _NAMES_OF_AXES if key in given}
    strange = sorted(set(given) - _TABLE_KEYS - set(_NAMES_OF_AXES)) or [key for key, value in axes.items() if value]
    if strange or not isinstance(text, str) or given.get("orient") != "split":
        what = f"has {strange[0]!r}" if strange else "is in another form"
        raise NetworkError(f"{place} is a table that {what}, which pandapower does not write; save the net again")
    dtype = given.get("dtype", {})
    kinds = list(dtype.values()) if isinstance(dtype, dict) else [dtype]
    unknown = [kind for kind in kinds if not isinstance(kind, str) or kind not in _DTYPES]
    if unknown:
        raise NetworkError(f"{place} is a table with values of type {unknown[0]!r:.60}; {_ADVICE}")
    held = _load(text, place)
    columns, index, data = (
        (held.get(key) for key in ("columns", "index", "data")) if isinstance(held, dict) else [0] * 3
    )
    if not (isinstance(columns, list) and isinstance(index, list) and isinstance(data, list)) or len(held) != 3:
        raise NetworkError(f"{place} is a table without columns, index and data; save the net again")
    if len(index) != len(data) or any(not isinstance(row, list) or len(row) != len(columns) for row in data):
        raise NetworkError(f"{place} is a table whose rows differ in length; save the net again")
    if any(isinstance(label, list | dict) for label in (*columns, *index)):
        raise NetworkError(f"{place} is a table with more than one level of names; {_ADVICE}")
    _checked(data, place, depth + 1)
    try:
        return {**given, "_object": json.dumps(held, allow_nan=False)}
    except ValueError:
        raise NetworkError(f"{place} is a table with numbers that are not finite; {_ADVICE}") from None


def _checked(value: Json, place: str, depth: int) -> Json:
    """The value with its tables written anew; whatever else names a class is refused, also in texts that are JSON."""
    if depth > MAX_DEPTH:
        raise NetworkError(f"{place:.200} is nested more than {MAX_DEPTH} levels deep; {_ADVICE}")
    if isinstance(value, dict):
        if (value.get("_module"), value.get("_class")) in TABLES:
            return _table(value, place, depth)
        if not {"_module", "_class"}.isdisjoint(value):
            named = f"{value.get('_module', '')!s:.60}.{value.get('_class', '')!s:.60}"
            raise NetworkError(
                f"{place} is of class {named}, and a file may hold tables and plain values only; {_ADVICE}"
            )
        return {key: _checked(part, f"{place}.{key:.40}", depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_checked(part, place, depth + 1) if isinstance(part, dict | list | str) else part for part in value]
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(value)
        except RecursionError:
            raise NetworkError(f"{place} is nested too deep; {_ADVICE}") from None
        except ValueError:
            return value  # a text that only begins like JSON
        _checked(inner, place, depth + 1)
    return value
