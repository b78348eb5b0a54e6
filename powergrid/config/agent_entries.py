"""Agents of a configuration as they are written, before anything about them is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from powergrid.agents.base import PYTHON
from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.python_policy import is_python_policy
from powergrid.config.findings import Findings, entries, known_names, text
from powergrid.plugins.registries import DEVICES, POLICIES

COORDINATORS = {"GridCoordinator": 2, "GridAgent": 2, "SystemAgent": 3}
"""Agent types that are not devices, and their level."""


class AgentEntry(NamedTuple):
    """One agent as the user wrote it.

    Attributes
    ----------
    at
        Position in the list.
    id
        Its id, or ``None`` where it has none.
    kind
        Device class; ``None`` for coordinators and unknown types.
    level
        1 device, 2 and 3 coordinators, 0 unknown.
    raw
        Its keys.
    """

    at: int
    id: str | None
    kind: type[DeviceAgent] | None
    level: int
    raw: dict[str, Any]

    @property
    def policy(self) -> str | None:
        """Its policy in one word; ``None`` where none is written."""
        return policy_word(self.raw.get("policy"))

    def path(self, *keys: str | int) -> tuple[str | int, ...]:
        """Path of one of its keys."""
        return ("agents", self.at, *keys)


def agent_entries(findings: Findings, data: dict[str, Any]) -> list[AgentEntry]:
    """Every agent of a configuration; notes each type that does not exist."""
    return [_read(findings, at, raw) for at, raw in entries(data.get("agents"))]


def _read(findings: Findings, at: int, raw: dict[str, Any]) -> AgentEntry:
    id, type = text(raw.get("id")), text(raw.get("type"))
    if type in COORDINATORS:
        return AgentEntry(at, id, None, COORDINATORS[type], raw)
    if type is None:
        return AgentEntry(at, id, None, 0, raw)
    if type not in DEVICES:
        findings.unknown(("agents", at, "type"), "device type", type, [*known_names(DEVICES), *COORDINATORS])
        return AgentEntry(at, id, None, 0, raw)
    return AgentEntry(at, id, DEVICES.get(type), 1, raw)


def own_constructor(kind: type[DeviceAgent]) -> bool:
    """Whether a device class takes its parameters in a constructor of its own, as plain Python devices do."""
    return kind.__init__ is not DeviceAgent.__init__ or kind.is_python()


def policy_word(written: Any) -> str | None:
    """One word for a policy as it is written: ``"python"`` for every policy in plain Python; ``None`` without one."""
    if isinstance(written, Mapping):
        if written.get("python") is not None:
            return PYTHON
        written = written.get("type")
    name = text(written)
    return PYTHON if name is not None and in_python(name) else name


def in_python(name: str) -> bool:
    """Whether a policy in plain Python is registered under a name."""
    return name in POLICIES and is_python_policy(POLICIES.get(name))
