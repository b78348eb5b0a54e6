"""YAML text to plain data with the line of every key, within limits of size, depth and number of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from powergrid.config.document import MAX_DEPTH, MAX_VALUES, Document, Keys, show_path
from powergrid.core.errors import ConfigError, Issue

_KINDS = {
    "scalar": ("null", "bool", "int", "float", "str", "timestamp"),
    "sequence": ("seq",),
    "mapping": ("map",),
}
"""Kinds of values in a configuration; YAML text can name others with ``!!``."""

_TOO_MANY = f"more than {MAX_VALUES:,} values"
_MANY_HINT = "an alias (*name) counts as all that it stands for; series of data go into a file that datasets names"


def read_yaml(text: str, file: str, folder: Path) -> Document:
    """Parse YAML 1.2, of which JSON is a part; keep the lines and note duplicate keys.

    Raises
    ------
    ConfigError
        If the text is no YAML, nests too deep, or holds too many values once its aliases are written out.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if text.count(",") + text.count("\n") > 2 * MAX_VALUES:  # only text with more values than that takes long to parse
        raise ConfigError([Issue("", _TOO_MANY, _MANY_HINT, file)])
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _bounded(Composer)
    try:
        reader = _Reader(yaml.constructor, file)
        root = yaml.compose(text)
        data = None if root is None else reader.read(root, ())
    except _Refused as error:
        raise ConfigError([Issue("", error.message, error.hint, file, error.line)]) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        message = "; ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            [Issue("", f"not valid YAML: {message}", "check quotes and indentation", file, line)]
        ) from error
    except (YAMLError, ValueError, AssertionError) as error:
        raise ConfigError([Issue("", f"not valid YAML: {error}", "check quotes and indentation", file)]) from error
    return Document(data, reader.lines, file, folder, tuple(reader.issues))


class _Refused(Exception):
    """YAML text that is no configuration."""

    def __init__(self, message: str, hint: str, line: int):
        super().__init__(message)
        self.message, self.hint, self.line = message, hint, line


def _bounded(composer: type[Any]) -> type[Any]:
    """The library's composer of nodes with limits of depth and number of values.

    An alias counts as many values as it stands for, so that text cannot grow when its aliases are written out.
    """

    class Bounded(composer):
        def __init__(self, loader: Any = None):
            super().__init__(loader)
            self._sizes: dict[int, tuple[int, int]] = {}
            self._depth = self._written = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            line = self.parser.peek_event().start_mark.line + 1
            self._depth += 1
            self._written += 1
            _bound(self._depth, self._written, line)
            node = super().compose_node(parent, index)
            self._depth -= 1
            if id(node) not in self._sizes:
                if node.end_mark is None:  # an alias inside of what it stands for
                    raise _Refused("not valid YAML: an alias contains itself", "write the values out", line)
                self._sizes[id(node)] = self._size(node)
            size, height = self._sizes[id(node)]
            _bound(self._depth + height, size, line)
            return node

        def _size(self, node: Any) -> tuple[int, int]:
            """Number of values with aliases written out, and levels of nesting."""
            if node.id == "scalar":
                return 1, 0
            inner = node.value if node.id == "sequence" else [item for pair in node.value for item in pair]
            inside = [self._sizes[id(item)] for item in inner]
            return 1 + sum(size for size, _ in inside), 1 + max((height for _, height in inside), default=0)

    return Bounded


def _bound(depth: int, count: int, line: int) -> None:
    if depth > MAX_DEPTH:
        hint = "a configuration needs a handful of levels; check brackets and indentation"
        raise _Refused(f"nested deeper than {MAX_DEPTH} levels", hint, line)
    if count > MAX_VALUES:
        raise _Refused(_TOO_MANY, _MANY_HINT, line)


class _Reader:
    """Converts YAML nodes into plain data."""

    def __init__(self, constructor: Any, file: str):
        self.constructor = constructor
        self.file = file
        self.lines: dict[Keys, int] = {}
        self.issues: list[Issue] = []

    def read(self, node: Any, path: Keys) -> Any:
        """Convert one node, and store the line of every path below it."""
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        kind = str(node.tag).rpartition(":")[2]
        if kind not in _KINDS[node.id]:
            self._note(path, f"a {node.id} tagged {node.tag} has no place here", "leave the tag out", line)
            return None
        if node.id == "mapping":
            return self._mapping(node, path)
        if node.id == "sequence":
            return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
        if kind in ("str", "timestamp"):
            return node.value
        try:
            return self.constructor.construct_object(node)
        except (ValueError, LookupError, ArithmeticError):
            message = f"{_short(node.value)} cannot be read as a value of the kind {kind}"
            self._note(path, message, "write a number of usual length, or text in quotes", line)
            return None

    def _mapping(self, node: Any, path: Keys) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag.endswith(":merge"):
                merged.update(self._merged(value_node, path, line))
                continue
            if key_node.id != "scalar":
                self._note(path, "a key that is a list or a mapping", "a key is text; put { or [ into quotes", line)
                continue
            key = key_node.value
            below = (*path, key)
            if key in own:
                first = self.lines[below]
                message = f'duplicate key "{_short(key)}"; it was given in line {first} already'
                self._note(below, message, "keep one of the two", line)
                continue
            self.lines[below] = line
            own[key] = self.read(value_node, below)
        return {**merged, **own}

    def _merged(self, node: Any, path: Keys, line: int) -> dict[str, Any]:
        """The values of a merge key: one mapping, or a list of mappings of which the first wins."""
        parents = node.value if node.id == "sequence" else [node]
        merged: dict[str, Any] = {}
        for parent in reversed(parents):
            if parent.id == "mapping":
                merged.update(self._mapping(parent, path))
            else:
                value = _short(parent.value) if parent.id == "scalar" else "a list"
                hint = "write <<: *name, with a mapping that &name marks"
                self._note((*path, "<<"), f"{value} is no mapping, and only mappings can be merged", hint, line)
        return merged

    def _note(self, path: Keys, message: str, hint: str, line: int) -> None:
        self.issues.append(Issue(show_path(path), message, hint, self.file, line))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
