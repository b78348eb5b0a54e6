"""Checks of the protocols: known names, the right kind, valid parameters and members that exist."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import ValidationError

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, choices, entries, known_names, number, quoted, section, text, whole
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
    """Note every fault of ``protocols``, ``coordination`` and ``messages`` that the schema does not cover."""
    ids = [agent.id for agent in agents if agent.id is not None]
    coordinators = [agent for agent in agents if agent.level > 1]
    tick = tick_s(findings)
    for i, written in entries(data.get("protocols")):
        path: Keys = ("protocols", i)
        kind = check_protocol(findings, path, written, "type", wanted=("horizontal", "learning"))
        _check_members(findings, path, written, ids)
        if kind is not None and kind.kind == "horizontal" and not written.get("members") and not coordinators:
            findings.add(
                path, f"protocol {quoted(written.get('type'))} has no members", "name them; there is no coordinator"
            )
        _check_topology(findings, path, written, ids)
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
    carried = _check_over_messages(findings, data, agents)
    _check_messages(findings, data, ids, carried)


def _check_members(findings: Findings, path: Keys, written: dict[str, Any], ids: list[str]) -> None:
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
    if kind.kind == "horizontal" or kind.commands_children:
        message = f'protocol "{written["protocol"]}" needs a coordinator, and there is none'
        findings.add(("coordination",), message, "add an agent of type GridCoordinator, or leave coordination out")


def _check_over_messages(findings: Findings, data: dict[str, Any], agents: list[AgentEntry]) -> bool:
    """Note protocols over messages where there are none; whether there is any such protocol."""
    places: list[tuple[Keys, Any]] = [(agent.path("protocol"), agent.raw.get("protocol")) for agent in agents]
    places += [(("protocols", i), written) for i, written in entries(data.get("protocols"))]
    places.append((("coordination",), data.get("coordination")))
    found = False
    for path, written in places:
        params = written.get("params") if isinstance(written, dict) else None
        if not isinstance(params, dict) or params.get("over_messages") is not True:
            continue
        found = True
        if data.get("messages") is None:
            message = "over_messages true: there are no messages whose delay and loss it could have"
            findings.add((*path, "params", "over_messages"), message, "add messages: {delay: 60, loss: 0.1, width: 0}")
    return found


def _check_messages(findings: Findings, data: dict[str, Any], ids: list[str], carried: bool) -> None:
    """Note members and links that do not exist, and delays that no message survives.

    `carried` says whether a protocol sends its signals over the links.
    """
    if data.get("messages") is None:
        return
    path, written = ("messages",), section(data, "messages")
    if whole(written.get("width")) == 0:
        for key in ("members", "topology", "links"):
            if key in written:
                findings.add((*path, key), f"{key}: with width 0 agents send no messages", "leave it out")
        if not carried:
            message = "width 0: no protocol sends its signals over these links"
            findings.add((*path, "width"), message, "write over_messages: true under params of a protocol, or a width")
    _check_members(findings, path, written, ids)
    _check_topology(findings, path, written, ids)
    kind = _check_delay(findings, (*path, "delay"), written.get("delay", 0), data)
    listed = written.get("topology", "full")
    pairs = {frozenset(pair) for pair in listed if isinstance(pair, list)} if isinstance(listed, list) else None
    for k, link in entries(written.get("links")):
        place: Keys = (*path, "links", k)
        own = _check_delay(findings, (*place, "delay"), link.get("delay", 0), data)
        if own != kind and not (own == "fixed" and not section(link, "delay").get("std")):
            message = f"delay of this link is {own}, that of the others {kind}"
            findings.add((*place, "delay"), message, "use one distribution for all links")
        ends = [text(link.get(key)) for key in ("sender", "receiver")]
        for key, name in zip(("sender", "receiver"), ends, strict=True):
            if name is not None and name not in ids:
                findings.add((*place, key), f'there is no agent "{name}"', choices(name, ids))
        if ends[1] is None or not set(ends) <= set(ids):
            continue
        if listed == "full":
            message = "with the full topology a sender has one delay for all receivers"
            findings.add((*place, "receiver"), message, "leave receiver out, or choose another topology")
        elif pairs is not None and frozenset(ends) not in pairs:
            findings.add(place, f'"{ends[0]}" and "{ends[1]}" are not linked', "add the pair to the topology")


def _check_delay(findings: Findings, path: Keys, written: Any, data: dict[str, Any]) -> str:
    """Name of a delay's distribution; a fault if it has a spread without one, or is longer than an episode."""
    delay = written if isinstance(written, dict) else {"mean": written}
    mean, std = number(delay.get("mean", 0)) or 0.0, number(delay.get("std", 0)) or 0.0
    dist = text(delay.get("dist", "fixed")) or "fixed"
    if dist == "fixed" and std > 0:
        findings.add((*path, "std"), f"std {quoted(delay['std'])}: a fixed delay has none", "use uniform or normal")
    tick = tick_s(findings)
    ticks = whole(section(data, "simulation").get("episode_length", DEFAULT_TICKS))
    longest = mean + {"normal": 4.0, "uniform": 3.0**0.5}.get(dist, 0.0) * std
    if tick is not None and ticks is not None and longest > tick * ticks:
        message = f"delay {quoted(written)}: a message may take {longest:g} s, an episode has {tick * ticks} s"
        findings.add(path, message, "use less, or loss: 1")
    return dist


def _check_topology(findings: Findings, path: Keys, written: dict[str, Any], ids: list[str]) -> None:
    """Note links with agents that take no part."""
    members = [name for name in map(text, written.get("members") or ids) if name is not None]
    topology = written.get("topology")
    for k, pair in enumerate(topology if isinstance(topology, list) else []):
        names = [text(name) for name in pair] if isinstance(pair, list) else []
        for j, name in enumerate(names):
            if name is not None and name not in members:
                message = f'"{name}" is no member' if name in ids else f'there is no agent "{name}"'
                findings.add((*path, "topology", k, j), message, choices(name, members))
        if len(names) == 2 and names[0] == names[1]:
            findings.add((*path, "topology", k), f'"{names[0]}" is linked with itself', "name two members")


def _unreached(written: dict[str, Any]) -> list[str]:
    """Members that the first one does not reach over a list of pairs."""
    members, topology = written.get("members") or [], written.get("topology")
    if not isinstance(topology, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in topology):
        return []
    place = {name: k for k, name in enumerate(members)}
    if not all(name in place for pair in topology for name in pair):
        return []
    graph = of_pairs(len(members), [(place[a], place[b]) for a, b in topology])
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
