"""A configuration as the user wrote it: plain data, and the line of every key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from powergrid.core.errors import ConfigError, Issue, nearest

Keys = tuple[str | int, ...]
"""Keys and positions from the top: ``("agents", 2, "params", "capacity")``."""

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Document:
    """Plain data with its origin.

    Attributes
    ----------
    data
        Mappings, lists and scalars as written.
    lines
        Line (from 1) of each path; 0, or no entry at all, where a program gave the data.
    file
        Name of the file as the user gave it, or ``""``.
    folder
        Folder that relative paths start from.
    issues
        What was wrong with the text itself: duplicate keys, keys that are not text.
    """

    data: Any
    lines: Mapping[Keys, int] = field(default_factory=dict)
    file: str = ""
    folder: Path = field(default_factory=Path.cwd)
    issues: tuple[Issue, ...] = ()

    def line(self, path: Keys) -> int | None:
        """Line of a path, or of the nearest part of it that was written; ``None`` for what a program gave."""
        return self._written(path) or None

    def issue(self, path: Keys, message: str, hint: str = "") -> Issue:
        """An issue at a path of this document."""
        file = "" if self._written(path) == 0 else self.file
        return Issue(show_path(path), message, hint, file, self.line(path))

    def _written(self, path: Keys) -> int | None:
        parts = (path[:end] for end in range(len(path), -1, -1))
        return next((self.lines[part] for part in parts if part in self.lines), None)


def show_path(path: Keys) -> str:
    """``agents[2].params.capacity`` for ``("agents", 2, "params", "capacity")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def preset_names() -> tuple[str, ...]:
    """Names of the configurations that ship with the package."""
    return tuple(sorted(file.stem for file in PRESETS.glob("*.yaml")))


def open_document(source: str | Path | Mapping[str, Any]) -> Document:
    """Read a preset by name, a YAML or JSON file, or take a mapping.

    Raises
    ------
    ConfigError
        If there is no such preset or file, or the text is no YAML.
    """
    if isinstance(source, Mapping):
        return Document(plain(source))
    path = Path(source)
    if isinstance(source, str) and source in preset_names():
        path = PRESETS / f"{source}.yaml"
        return read_yaml(path.read_text(encoding="utf-8"), f"{source}.yaml", path.parent)
    if not path.is_file():
        names = preset_names()
        hint = "; ".join(part for part in (nearest(str(source), names), f"presets: {', '.join(names)}") if part)
        raise ConfigError([Issue("", f'there is no preset and no file "{source}"', hint)])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Issue("", f"cannot be read: {error}", "save it as UTF-8 text", str(source))]) from error
    return read_yaml(text, str(source), path.resolve().parent)


def read_yaml(text: str, file: str, folder: Path) -> Document:
    """Parse YAML 1.2 (JSON is part of it), keeping lines and noting duplicate keys.

    Raises
    ------
    ConfigError
        If the text is no YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        reader = _Reader(yaml.constructor, file)
        root = yaml.compose(text)
        data = None if root is None else reader.read(root, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        message = "; ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            [Issue("", f"not valid YAML: {message}", "check quotes and indentation", file, line)]
        ) from error
    except (YAMLError, ValueError) as error:
        raise ConfigError([Issue("", f"not valid YAML: {error}", "", file)]) from error
    return Document(data, reader.lines, file, folder, tuple(reader.issues))


class _Reader:
    """Turns YAML nodes into plain data."""

    def __init__(self, constructor: Any, file: str):
        self.constructor = constructor
        self.file = file
        self.lines: dict[Keys, int] = {}
        self.issues: list[Issue] = []
        self._open: list[Any] = []

    def read(self, node: Any, path: Keys) -> Any:
        """Data of one node; every path below it gets its line."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if node in self._open:
            raise ValueError(f"line {node.start_mark.line + 1} contains itself through an alias")
        self._open.append(node)
        value = self._value(node, path)
        self._open.pop()
        return value

    def _value(self, node: Any, path: Keys) -> Any:
        if node.tag.endswith(":map"):
            return self._mapping(node, path)
        if node.tag.endswith(":seq"):
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        if node.tag.endswith((":str", ":timestamp")):
            return node.value
        return self.constructor.construct_object(node)

    def _mapping(self, node: Any, path: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag.endswith(":merge"):
                parents = value_node.value if value_node.tag.endswith(":seq") else [value_node]
                for parent in reversed(parents):
                    merged.update(self.read(parent, path))
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            below = (*path, key)
            if key in found:
                first = self.lines[below]
                message = f'duplicate key "{key}"; it was given in line {first} already'
                self.issues.append(Issue(show_path(below), message, "keep one of the two", self.file, line))
                continue
            self.lines[below] = line
            found[key] = self.read(value_node, below)
        return {**merged, **found}


def plain(value: Any) -> Any:
    """Copy of nested data with plain containers, text keys and no NumPy scalars."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
