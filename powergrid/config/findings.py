"""Collection of all faults of a configuration, in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from powergrid.config.document import Document, Keys
from powergrid.core.errors import Issue, nearest
from powergrid.core.registry import Registry
from powergrid.plugins.registries import ALL

_MOST_LISTED = 40

_WANTED = {
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
}
"""Kinds of values by the name of pydantic's error, in plain words."""


class Findings:
    """Issues of one document.

    Parameters
    ----------
    document
        The configuration as the user wrote it.
    unread
        Plugin folders whose files are not executed: unknown names may come from them.
    execute
        Whether Python files that the configuration names may be executed.

    Attributes
    ----------
    pending
        Checks that need these files; they are no faults.
    """

    def __init__(self, document: Document, unread: tuple[str, ...] = (), execute: bool = True):
        self.document = document
        self.unread = unread
        self.execute = execute
        self.pending: list[Issue] = []
        self._issues: list[Issue] = list(document.issues)

    def add(self, path: Keys, message: str, hint: str = "") -> None:
        """Note a fault."""
        issue = self.document.issue(path, message, hint)
        if issue not in self._issues:
            self._issues.append(issue)

    def unchecked(self, path: Keys, value: object, because: str) -> None:
        """Note a value that cannot be checked before another fault is mended."""
        message = f"{quoted(value)} could not be checked: {because}"
        if self.unread:
            self._pend(path, message)
        else:
            self.add(path, message, "mend that first, then validate again")

    def unknown(self, path: Keys, kind: str, name: str, options: Iterable[str]) -> None:
        """Note an unknown name with the nearest known one, or the reason why its plugin cannot be used."""
        broken = next(
            (registry.broken[name] for registry in ALL if registry.kind == kind and name in registry.broken), ""
        )
        if self.unread:
            self._pend(path, f'{kind} "{name}" may come from a plugin')
        elif broken:
            self.add(path, f'the plugin for {kind} "{name}" cannot be used: {broken}', "mend or uninstall it")
        else:
            self.add(path, f'unknown {kind} "{name}"', choices(name, options))

    def pending_module(self, path: Keys, target: str) -> None:
        """Note a class whose module is not executed."""
        hint = "its module has not been executed; --plugins executes it, with your rights"
        self.pending.append(self.document.issue(path, f"{quoted(target)} could not be checked", hint))

    def _pend(self, path: Keys, message: str) -> None:
        folders = ", ".join(self.unread)
        hint = (
            f"the files in {folders} decide this and have not been executed; --plugins executes them, with your rights"
        )
        self.pending.append(self.document.issue(path, message, hint))

    def invalid(self, path: Keys, raw: object, model: type[BaseModel], error: ValidationError) -> None:
        """Note every fault in pydantic's error about `raw`, the data at `path`."""
        grouped: dict[Keys, list[tuple[str, str]]] = {}
        for detail in error.errors(include_url=False):
            where, value = _written(raw, model, detail)
            grouped.setdefault((*path, *where), []).append(_say(model, detail, value))
        for where, said in grouped.items():
            # every branch of a union gives a reason of its own for the same value
            messages = list(dict.fromkeys(message for message, _ in said))
            hints = list(dict.fromkeys(hint for _, hint in said if hint))
            self.add(where, "; or ".join(messages), "; ".join(hints))

    @property
    def issues(self) -> tuple[Issue, ...]:
        """All faults, by line."""
        return tuple(sorted(self._issues, key=lambda issue: issue.line or 0))


def quoted(value: object) -> str:
    """A value in YAML's flow style, shortened."""
    text = value if isinstance(value, str) else None
    shown = json.dumps(text if text is not None else value, default=str)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def choices(name: str, options: Iterable[str]) -> str:
    """``did you mean "x"?; available: ...``, without the list where it is long."""
    known = sorted(set(options))
    parts = [nearest(name, known)]
    if len(known) <= _MOST_LISTED:
        parts.append(f"available: {', '.join(known)}")
    return "; ".join(part for part in parts if part)


def known_names(registry: Registry[Any]) -> list[str]:
    """Every name and alias of a registry."""
    return [name for first in registry.names() for name in (first, *registry.aliases(first))]


def entries(value: object) -> list[tuple[int, dict[str, Any]]]:
    """Position and content of every mapping in a list; the schema reports other items."""
    listed = value if isinstance(value, list) else []
    return [(i, item) for i, item in enumerate(listed) if isinstance(item, dict)]


def text(value: object) -> str | None:
    """A name as text; whole numbers count as names."""
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """A number as the schema reads it, from a number or its text; ``None`` for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def whole(value: object) -> int | None:
    """A whole number as the schema reads it; ``None`` for everything else."""
    read = number(value)
    return int(read) if read is not None and read.is_integer() else None


def section(data: object, *keys: str) -> dict[str, Any]:
    """A nested mapping, empty where something else stands."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


# -- pydantic's findings in plain words ---------------------------------------------------------------------------


def _names(field_name: str, field: FieldInfo) -> list[str]:
    """All spellings of a field, its own first."""
    alias = field.validation_alias
    extra = alias.choices if isinstance(alias, AliasChoices) else [alias or field.alias]
    own = [] if field_name.endswith("_") else [field_name]
    return list(dict.fromkeys([*own, *(name for name in extra if isinstance(name, str))]))


def field_names(model: type[BaseModel]) -> list[str]:
    """All spellings of all fields of a model."""
    return [name for field_name, field in model.model_fields.items() for name in _names(field_name, field)]


def spellings(model: type[BaseModel], name: str) -> list[str]:
    """All spellings of the field that may be written as `name`."""
    return _field(model, name)[1]


def _field(model: type[BaseModel] | None, part: object) -> tuple[FieldInfo | None, list[str]]:
    for field_name, field in model.model_fields.items() if model else ():
        names = _names(field_name, field)
        if part in names:
            return field, names
    return None, []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (_model_in(inner) for inner in get_args(annotation))
    return next((model for model in models if model is not None), None)


def _written(raw: object, model: type[BaseModel], detail: Mapping[str, Any]) -> tuple[Keys, Any]:
    """Path and value as the user wrote them, with the user's spelling and without short forms and union branches."""
    path: list[str | int] = []
    here: Any = raw
    below: type[BaseModel] | None = model
    for part in detail["loc"]:
        field, names = _field(below, part)
        if isinstance(here, dict):
            spelling = next((name for name in [part, *names] if name in here), None)
            if spelling is not None:
                path.append(spelling)
                here = here[spelling]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            path.append(part)
            here = here[part]
        below = _model_in(field.annotation) if field is not None else below
    return tuple(path), here


def _say(model: type[BaseModel], detail: Mapping[str, Any], value: object) -> tuple[str, str]:
    """Message and hint for one of pydantic's errors."""
    owner: type[BaseModel] | None = model
    field: FieldInfo | None = None
    last = detail["loc"][-1] if detail["loc"] else ""
    for part in detail["loc"]:
        below, _ = _field(owner, part)
        if below is not None:
            field = below
            inner = _model_in(below.annotation)
            if part is not last or inner is not None:
                owner = inner
    if detail["type"] == "extra_forbidden":
        allowed = field_names(owner) if owner else []
        if last in allowed:
            same = " and ".join(f'"{name}"' for name in spellings(owner, str(last)) if name != last) if owner else ""
            return f'"{last}" (value {quoted(value)}) is another name of {same}, which is given too', "keep one of them"
        hint = "; ".join(
            part for part in (nearest(str(last), allowed), f"allowed: {', '.join(sorted(allowed))}") if part
        )
        return f'unknown key "{last}" (value {quoted(value)})', hint
    described = (field.description or "") if field is not None else ""
    if detail["type"] == "missing":
        return f'"{last}" is missing', described
    message = str(detail["msg"])
    if detail["type"] == "value_error":
        return message.removeprefix("Value error, "), ""
    wanted = _WANTED.get(detail["type"], message.removeprefix("Input should be "))
    if detail["type"] == "literal_error" and isinstance(value, str):
        options = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        return f"{quoted(value)} must be {wanted}", "; ".join(
            part for part in (nearest(value, options), described) if part
        )
    if wanted != message:
        return f"{quoted(value)} must be {wanted}", described
    return f"{quoted(value)}: {message[0].lower()}{message[1:]}", described
