"""Changing a configuration from a program, value by value."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from powergrid.config.document import Document, Keys, plain
from powergrid.config.findings import choices, field_names, quoted, spellings
from powergrid.config.schema import EnvironmentConfig, Forecast, Penalties, Simulation, TariffConfig, Training
from powergrid.config.schema_types import Section
from powergrid.core.errors import ConfigError, Issue
from powergrid.plugins.registries import DEVICES

_SECTIONS: dict[str, type[Section]] = {
    "simulation": Simulation,
    "training": Training,
    "tariff": TariffConfig,
    "forecast": Forecast,
    "penalties": Penalties,
}
"""Sections whose keys may be given by their own name."""

_OWN = frozenset(field_names(EnvironmentConfig))
"""The environment's own keys, which go before equal ones of sections."""

_SHORT = {
    name: (section, name) for section, model in _SECTIONS.items() for name in field_names(model) if name not in _OWN
}
_SHORT["phases"] = ("network", "phases")


def overridden(document: Document, overrides: Mapping[str, Any]) -> Document:
    """Copy of a document with values replaced; see :func:`powergrid.config.resolve.with_overrides`.

    Raises
    ------
    ConfigError
        If a name is unknown.
    """
    data, lines, issues = deepcopy(document.data), dict(document.lines), []
    for name, value in overrides.items():
        path = _path(name)
        if path is None:
            hint = choices(name, [*_SHORT, *field_names(EnvironmentConfig)])
            issues.append(Issue(name, f'unknown override "{name}" (value {value!r})', hint))
            continue
        try:
            _put(data, lines, (), path, plain(value))
        except _UnknownAgent as error:
            issues.append(Issue(name, f'there is no agent "{error.id}"', choices(error.id, error.known)))
        except _NoMapping as error:
            message = f'agent "{error.id}": {quoted(error.value)} must be a mapping (key: value)'
            issues.append(Issue(name, message, "give the keys of the agent that change"))
    if issues:
        raise ConfigError(issues)
    return replace(document, data=data, lines=lines)


class _UnknownAgent(Exception):
    def __init__(self, id: str, known: list[str]):
        super().__init__(id)
        self.id = id
        self.known = known


class _NoMapping(Exception):
    def __init__(self, id: str, value: object):
        super().__init__(id)
        self.id = id
        self.value = value


def _path(name: str) -> tuple[str, ...] | None:
    """Path of the key that a keyword names; ``None`` for an unknown one."""
    parts = tuple(name.removesuffix("_").split("."))
    if parts[0] in _SHORT:
        return (*_SHORT[parts[0]], *parts[1:])
    return parts if parts[0] in _OWN else None


def _put(here: dict[str, Any], lines: dict[Keys, int], at: Keys, path: tuple[str, ...], value: object) -> None:
    """Write `value` at `path` below `here`, merging mappings and addressing agents by their id."""
    key, rest = path[0], path[1:]
    if at == () and key == "agents" and (rest or isinstance(value, dict)):
        changes: Any = {rest[0]: _nested(rest[1:], value)} if rest else value
        for id, change in changes.items():
            if not isinstance(change, dict):
                raise _NoMapping(id, change)
            _change_agent(*_agent(here, id), lines, change)
        return
    if rest:
        if not isinstance(here.get(key), dict):
            short = at == () and key == "network" and isinstance(here.get(key), str)
            here[key] = {"base": here[key]} if short else {}
        _put(here[key], lines, (*at, key), rest, value)
    elif isinstance(value, dict) and isinstance(here.get(key), dict):
        for name, item in value.items():
            _put(here[key], lines, (*at, key), (name,), item)
    else:
        here[key] = value
        _forget(lines, (*at, key))


def _nested(path: tuple[str, ...], value: object) -> Any:
    """The value inside one mapping per key of the path."""
    for key in reversed(path):
        value = {key: value}
    return value


def _change_agent(agent: dict[str, Any], place: Keys, lines: dict[Keys, int], change: dict[str, Any]) -> None:
    """Merge a change into one agent; a parameter replaces its other spellings."""
    params, type = agent.get("params"), str(agent.get("type"))
    if isinstance(params, dict) and isinstance(change.get("params"), dict) and type in DEVICES:
        for name in change["params"]:
            for spelling in spellings(DEVICES.get(type).Settings, name):
                params.pop(spelling, None)
    for key, value in change.items():
        _put(agent, lines, place, (key,), value)


def _agent(data: dict[str, Any], id: str) -> tuple[dict[str, Any], Keys]:
    agents = data.get("agents", [])
    for i, agent in enumerate(agents):
        if str(agent.get("id")) == id:
            return agent, ("agents", i)
    raise _UnknownAgent(id, [str(agent.get("id")) for agent in agents])


def _forget(lines: dict[Keys, int], path: Keys) -> None:
    """Forget the lines at and below `path`: its value is no longer that of the file."""
    for known in [known for known in lines if known[: len(path)] == path]:
        del lines[known]
    if lines:
        lines[path] = 0
