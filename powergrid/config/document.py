"""A configuration as the user wrote it: plain data and the line of every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from powergrid.core.errors import ConfigError, Issue

Keys = tuple[str | int, ...]
"""Keys and positions from the top: ``("agents", 2, "params", "capacity")``."""

MAX_DEPTH = 32
"""Most levels of nesting; the deepest key of the schema is in the seventh."""
MAX_VALUES = 150_000
"""Most values of a configuration, with aliases written out; a configuration of 10,000 agents has 70,000."""


@dataclass(frozen=True)
class Document:
    """Plain data with its origin.

    Attributes
    ----------
    data
        Mappings, lists and scalars as written.
    lines
        Line (from 1) of each path; 0 or no entry for data from a program.
    file
        Path of the file as the user wrote it, or ``""``.
    folder
        Folder to which paths are relative.
    issues
        Faults of the text itself: duplicate keys, keys that are not text.
    places
        Where paths of the data stand in the text, for those at which groups of agents have been written out.
    before_groups
        The document before that; ``None`` where there are no groups.
    """

    data: Any
    lines: Mapping[Keys, int] = field(default_factory=dict)
    file: str = ""
    folder: Path = field(default_factory=Path.cwd)
    issues: tuple[Issue, ...] = ()
    places: Mapping[Keys, Keys] = field(default_factory=dict)
    before_groups: Document | None = None

    def line(self, path: Keys) -> int | None:
        """Line of a path, or of the nearest part of it that has one; ``None`` for data from a program."""
        return self._written(self._place(path)) or None

    def issue(self, path: Keys, message: str, hint: str = "") -> Issue:
        """An issue at a path of this document."""
        place = self._place(path)
        line = self._written(place)
        return Issue(show_path(place), message, hint, "" if line == 0 else self.file, line or None)

    def _place(self, path: Keys) -> Keys:
        """The path in the text of the user."""
        ends = (end for end in range(len(path), 0, -1) if path[:end] in self.places) if self.places else ()
        end = next(iter(ends), 0)
        return (*self.places[path[:end]], *path[end:]) if end else path

    def _written(self, path: Keys) -> int | None:
        parts = (path[:end] for end in range(len(path), -1, -1))
        return next((self.lines[part] for part in parts if part in self.lines), None)


def show_path(path: Keys) -> str:
    """``agents[2].params.capacity`` for ``("agents", 2, "params", "capacity")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def plain(value: object) -> Any:
    """Copy of nested data with plain containers, text keys and no NumPy scalars.

    Raises
    ------
    ConfigError
        If the data nest too deep, contain themselves or hold too many values.
    """
    return _copied(value, (), [0])


def _copied(value: object, path: Keys, count: list[int]) -> Any:
    count[0] += 1
    if len(path) > MAX_DEPTH:
        hint = "a configuration needs a handful of levels; does a mapping contain itself?"
        raise ConfigError([Issue(show_path(path[:4]), f"nested deeper than {MAX_DEPTH} levels", hint)])
    if count[0] > MAX_VALUES:
        hint = "write series of data into files and name them in datasets"
        raise ConfigError([Issue(show_path(path[:4]), f"more than {MAX_VALUES:,} values", hint)])
    if isinstance(value, Mapping):
        return {str(key): _copied(item, (*path, str(key)), count) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_copied(item, (*path, i), count) for i, item in enumerate(value)]
    if hasattr(value, "tolist"):
        listed = value.tolist()
        return _copied(listed, path, count) if isinstance(listed, list) else listed
    return str(value) if isinstance(value, Path) else value
