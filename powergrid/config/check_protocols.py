"""Checks of the protocols: known names, the right kind, valid parameters and members that exist."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import ValidationError

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, choices, entries, known_names, quoted, section, text, whole
from powergrid.core.graph import of_pairs
from powergrid.plugins.registries import PROTOCOLS

DAY_S = 86_400
DEFAULT_TICK_S = 900
DEFAULT_TICKS = 96


def check_protocol(
    findings: Findings, path: Keys, written: Any, key: str, *, wanted: tuple[str, ...] = (), short: bool = False
) -> Any:
    """Check type, kind and parameters of one protocol; return its class, or ``None``.

    Parameters
    ----------
    key
        Name of the key that holds the type.
    wanted
        Kinds it may be of; any if empty.
    short
        True if the type alone was written in place of a mapping.
    """
    if not isinstance(written, dict):
        return None
    name, params = text(written.get(key)), written.get("params", {})
    place = path if short else (*path, key)
    if name is None:
        return None
    known = known_names(PROTOCOLS)
    if name not in known:
        findings.unknown(place, "protocol", name, known)
        for param, value in (params if isinstance(params, dict) else {}).items():
            findings.unchecked((*path, "params", param), value, "the protocol is unknown")
        return None
    kind = PROTOCOLS.get(name)
    if wanted and kind.kind not in wanted:
        there = "in `protocol` of a coordinator" if kind.kind == "vertical" else "on the list `protocols`"
        needed = " or ".join(wanted)
        findings.add(place, f'protocol "{name}" is {kind.kind}, a {needed} one is needed here', f"put it {there}")
    if isinstance(params, dict):
        check_tick_multiple(findings, (*path, "params", "update_freq"), params.get("update_freq"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings appear once, when the protocol is made
                kind.Settings.model_validate(params)
        except ValidationError as error:
            findings.invalid((*path, "params"), params, kind.Settings, error)
    return kind


def check_protocols(findings: Findings, data: dict[str, Any], agents: list[AgentEntry]) -> None:
    """Note every fault of ``protocols`` and ``coordination`` that the schema does not cover."""
    ids = [agent.id for agent in agents if agent.id is not None]
    coordinators = [agent for agent in agents if agent.level > 1]
    tick = tick_s(findings)
    for i, written in entries(data.get("protocols")):
        path: Keys = ("protocols", i)
        kind = check_protocol(findings, path, written, "type", wanted=("horizontal", "learning"))
        check_members(findings, path, written, ids)
        if kind is not None and kind.kind == "horizontal" and not written.get("members") and not coordinators:
            findings.add(
                path, f"protocol {quoted(written.get('type'))} has no members", "name them; there is no coordinator"
            )
        check_topology(findings, path, written, ids)
        if written.get("topology", "full") != "full" and kind is not None and not kind.linked:
            message = f'topology {quoted(written["topology"])}: "{written["type"]}" knows no links, all take part alike'
            findings.add((*path, "topology"), message, 'leave it out or write "full"')
        elif kind is not None and kind.needs_connected and (apart := _unreached(written)):
            first = written["members"][0]
            message = f'topology: "{first}" reaches {", ".join(map(quoted, apart))} over no link'
            findings.add((*path, "topology"), message, f'"{written["type"]}" needs a connected graph: add pairs')
        interval = whole(written.get("interval"))
        if kind is not None and kind.kind == "learning" and interval is not None:
            message = f'interval {interval}: "{written["type"]}" acts after updates of the learners, not in time'
            findings.add((*path, "interval"), message, "write it under params, in updates")
        elif interval is not None and tick is not None and interval != tick:
            message = f"interval {written['interval']}: protocols run in every tick ({tick} s)"
            findings.add((*path, "interval"), message, "leave it out")
    _check_coordination(findings, data, coordinators)


def check_members(findings: Findings, path: Keys, written: dict[str, Any], ids: list[str]) -> None:
    """Note members that do not exist, and those that are named twice."""
    members = written.get("members")
    seen: set[str] = set()
    for k, member in enumerate(members if isinstance(members, list) else []):
        name = text(member)
        if name is None:
            continue
        if name not in ids:
            findings.add((*path, "members", k), f'there is no agent "{name}"', choices(name, ids))
        elif name in seen:
            findings.add((*path, "members", k), f'"{name}" is a member already', "name it once")
        seen.add(name)


def _check_coordination(findings: Findings, data: dict[str, Any], coordinators: list[AgentEntry]) -> None:
    raw = data.get("coordination")
    short = isinstance(raw, str)
    written = {"protocol": raw} if short else section(data, "coordination")
    kind = check_protocol(findings, ("coordination",), written, "protocol", short=short)
    if kind is None or coordinators:
        return
    if kind.kind != "vertical" or kind.commands_children:
        message = f'protocol "{written["protocol"]}" needs a coordinator, and there is none'
        findings.add(("coordination",), message, "add an agent of type GridCoordinator, or leave coordination out")


def check_topology(findings: Findings, path: Keys, written: dict[str, Any], ids: list[str]) -> None:
    """Note links with agents that take no part."""
    members, topology = names_of(written.get("members")) or ids, written.get("topology")
    for k, pair in enumerate(topology if isinstance(topology, list) else []):
        names = [text(name) for name in pair] if isinstance(pair, list) else []
        for j, name in enumerate(names):
            if name is not None and name not in members:
                message = f'"{name}" is no member' if name in ids else f'there is no agent "{name}"'
                findings.add((*path, "topology", k, j), message, choices(name, members))
        if len(names) == 2 and names[0] == names[1]:
            findings.add((*path, "topology", k), f'"{names[0]}" is linked with itself', "name two members")


def names_of(listed: Any) -> list[str]:
    """Names on a list; none where it is no list, which the schema notes."""
    return [name for name in map(text, listed) if name is not None] if isinstance(listed, list) else []


def _unreached(written: dict[str, Any]) -> list[str]:
    """Members that the first one does not reach over a list of pairs."""
    members, topology = names_of(written.get("members")), written.get("topology")
    if not isinstance(topology, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in topology):
        return []
    place = {name: k for k, name in enumerate(members)}
    pairs = [[text(name) for name in pair] for pair in topology]
    if not all(name in place for pair in pairs for name in pair):
        return []
    graph = of_pairs(len(members), [(place[str(a)], place[str(b)]) for a, b in pairs])
    return [members[k] for k in graph.unreached]


def tick_s(findings: Findings) -> int | None:
    """Time step [s]; ``None`` where it has a fault."""
    tick = whole(section(findings.document.data, "simulation").get("time_step", DEFAULT_TICK_S))
    return tick if tick is not None and tick > 0 and DAY_S % tick == 0 else None


def check_tick_multiple(findings: Findings, path: Keys, seconds: object) -> None:
    """Note a time between decisions that is no whole number of ticks."""
    tick, own_s = tick_s(findings), whole(seconds)
    if own_s is None or own_s <= 0:
        return
    if tick is None:
        findings.unchecked(path, own_s, "the time step is not valid")
    elif own_s % tick:
        lower = own_s // tick * tick
        options = " or ".join(str(value) for value in (lower, lower + tick) if value)
        findings.add(path, f"{own_s} s is not a multiple of the time step of {tick} s", f"use {options}")
