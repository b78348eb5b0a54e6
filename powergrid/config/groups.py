"""Groups of equal agents: ``count`` and ``buses`` of an entry, written out before anything is checked.

An entry ``{id: ev, count: 100, buses: [1, 7, 9]}`` stands for the agents ``ev_1`` to ``ev_100`` on these buses in turn.
Wherever ids of agents are listed, ``ev`` stands for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

from powergrid.config.document import MAX_VALUES, Document, Keys
from powergrid.config.findings import entries, section, text, whole
from powergrid.core.errors import ConfigError

_KEYS = ("count", "buses")


def with_groups_written_out(document: Document) -> Document:
    """The document with one entry for each agent of a group; faults of an agent are placed at its group.

    Entries with malformed keys stay as they are, and the schema reports them.

    Raises
    ------
    ConfigError
        If all agents together have more values than a configuration may hold.
    """
    data = document.data
    agents = data.get("agents") if isinstance(data, dict) else None
    if not isinstance(agents, list) or not any(key in raw for _, raw in entries(agents) for key in _KEYS):
        return document
    out = _WrittenOut(document)
    for at, raw in enumerate(agents):
        out.add(at, raw)
    rest = {key: out.with_members((key,), value) for key, value in data.items() if key != "agents"}
    data = {**rest, "agents": out.with_sub_agents()}
    return replace(
        document, data=data, places=out.places, issues=(*document.issues, *out.issues), before_groups=document
    )


class _WrittenOut:
    """Agents as they are written out, and where each stands in the user's text."""

    def __init__(self, document: Document):
        self.issues: list[Any] = []
        self.places: dict[Keys, Keys] = {}
        self._document = document
        self._agents: list[Any] = []
        self._groups: dict[str, list[str]] = {}
        self._values = 0
        self._single = {
            text(raw.get("id"))
            for _, raw in entries(section(document.data).get("agents"))
            if not any(key in raw for key in _KEYS)
        }

    def add(self, at: int, raw: Any) -> None:
        """Add an entry of the user: one agent or a group."""
        count = self._count(at, raw) if isinstance(raw, dict) else None
        if count is None:
            self._append(at, raw)
            return
        id, buses = str(raw["id"]), raw.get("buses")
        self._claim(("agents", at, "count"), count * _values(raw), f'"{id}" makes')
        if id in self._single or id in self._groups:
            message = f'"{id}" names a group and another agent or group'
            self.issues.append(self._document.issue(("agents", at, "id"), message, "give one of them another id"))
        shared = {key: value for key, value in raw.items() if key not in _KEYS}
        self._groups[id] = [f"{id}_{k + 1}" for k in range(count)]
        for k, own in enumerate(self._groups[id]):
            agent = {**shared, "id": own}
            if buses is not None:
                agent["bus"] = buses[k % len(buses)]
                self.places["agents", len(self._agents), "bus"] = ("agents", at, "buses", k % len(buses))
            self._append(at, agent)

    def with_sub_agents(self) -> list[Any]:
        """All agents; a group among sub-agents stands for its members."""
        return [
            {
                **raw,
                "sub_agents": self._members(("agents", k, "sub_agents"), self.places["agents", k], raw["sub_agents"]),
            }
            if isinstance(raw, dict) and "sub_agents" in raw
            else raw
            for k, raw in enumerate(self._agents)
        ]

    def with_members(self, path: Keys, value: Any) -> Any:
        """A section with the members of its protocols, where it has such; a group stands for its members."""
        if path == ("protocols",) and isinstance(value, list):
            return [self.with_members((*path, k), item) for k, item in enumerate(value)]
        if path[0] not in ("protocols", "messages") or not isinstance(value, dict):
            return value
        written_out = {"members": self._members, "topology": self._pairs, "links": self._links}
        return {
            key: written_out[key]((*path, key), path, item) if key in written_out else item
            for key, item in value.items()
        }

    def _append(self, at: int, raw: Any) -> None:
        self.places["agents", len(self._agents)] = ("agents", at)
        self._agents.append(raw)

    def _count(self, at: int, raw: Mapping[str, Any]) -> int | None:
        """Number of agents of a group; ``None`` for a single agent and for what the schema refuses."""
        if not any(key in raw for key in _KEYS) or text(raw.get("id")) is None:
            return None
        buses = raw.get("buses", [])
        if not isinstance(buses, list) or any(text(bus) is None for bus in buses):
            return None
        places = len(buses)
        if "buses" in raw and not places:
            return None
        count = whole(raw["count"]) if "count" in raw else places
        if count is None or count < 1:
            return None
        if places and raw.get("bus") is not None:
            issue = self._document.issue(("agents", at, "bus"), "bus and buses are both given", "keep one of them")
            self.issues.append(issue)
        return count

    def _members(self, path: Keys, place: Keys, listed: Any) -> Any:
        """A list of ids at `path` with the members of each group, whose owner stands at `place` in the user's text."""
        if not isinstance(listed, list):
            return listed
        found: list[Any] = []
        for k, name in enumerate(listed):
            for member in self._named(name):
                self.places[(*path, len(found))] = (*place, path[-1], k)
                found.append(member)
        return found

    def _pairs(self, path: Keys, place: Keys, listed: Any) -> Any:
        """Pairs of ids; a group in a pair stands for each of its members."""
        if not isinstance(listed, list):
            return listed
        found: list[Any] = []
        for k, pair in enumerate(listed):
            at = (*place, path[-1], k)
            for each in self._combined(at, pair) if isinstance(pair, list) else [pair]:
                self.places[(*path, len(found))] = at
                found.append(each)
        return found

    def _links(self, path: Keys, place: Keys, listed: Any) -> Any:
        """Links; a group as the sender or the receiver stands for each of its members."""
        if not isinstance(listed, list):
            return listed
        found: list[Any] = []
        for k, link in enumerate(listed):
            at = (*place, path[-1], k)
            ends = [key for key in ("sender", "receiver") if isinstance(link, dict) and key in link]
            for names in self._combined(at, [link[key] for key in ends]) if ends else [[]]:
                self.places[(*path, len(found))] = at
                found.append({**link, **dict(zip(ends, names, strict=True))} if ends else link)
        return found

    def _combined(self, at: Keys, names: list[Any]) -> list[list[Any]]:
        """Names at `at` with members in place of groups: of two groups each with each, but nobody with itself."""
        members = [self._named(name) for name in names]
        count = prod(map(len, members))
        self._claim(at, count - 1, "the groups make")
        return [list(chosen) for chosen in product(*members) if count == 1 or len(chosen) < 2 or chosen[0] != chosen[1]]

    def _named(self, name: Any) -> list[Any]:
        """Members of a group, or the name itself."""
        return self._groups.get(text(name) or "", [name])

    def _claim(self, at: Keys, values: int, what: str) -> None:
        """Refuse more values than a configuration may hold."""
        self._values += values
        if self._values > MAX_VALUES:
            message = f"{what} more than {MAX_VALUES:,} values of all agents together"
            raise ConfigError([self._document.issue(at, message, "lower the count")])


def _values(value: Any) -> int:
    """Number of values of nested data, but not those of buses, of which each agent has one."""
    if isinstance(value, dict):
        return 1 + sum(_values(item) for key, item in value.items() if key != "buses")
    return 1 + sum(_values(item) for item in value) if isinstance(value, list) else 1
