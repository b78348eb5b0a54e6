"""Checks of the protocols: known names, the right kind, valid parameters and members that exist."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import ValidationError

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, choices, entries, known_names, number, quoted, section, text, whole
from powergrid.plugins.registries import PROTOCOLS

DAY_S = 86_400
DEFAULT_TICK_S = 900


def check_protocol(
    findings: Findings, path: Keys, written: Any, key: str, *, wanted: str | None = None, short: bool = False
) -> Any:
    """Check type, kind and parameters of one protocol; return its class, or ``None``.

    Parameters
    ----------
    key
        Name of the key that holds the type.
    wanted
        Kind it must be of.
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
    if wanted is not None and kind.kind != wanted:
        there = "in `protocol` of a coordinator" if kind.kind == "vertical" else "on the list `protocols`"
        findings.add(place, f'protocol "{name}" is {kind.kind}, a {wanted} one is needed here', f"put it {there}")
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
        kind = check_protocol(findings, path, written, "type", wanted="horizontal")
        _check_members(findings, path, written, ids)
        if kind is not None and not written.get("members") and not coordinators:
            findings.add(
                path, f"protocol {quoted(written.get('type'))} has no members", "name them; there is no coordinator"
            )
        if written.get("topology", "full") != "full":
            message = f"topology {quoted(written['topology'])}: only the full topology is available yet"
            findings.add((*path, "topology"), message, 'leave it out or write "full"')
        interval = whole(written.get("interval"))
        if interval is not None and tick is not None and interval != tick:
            message = f"interval {written['interval']}: protocols run in every tick ({tick} s)"
            findings.add((*path, "interval"), message, "leave it out")
    _check_coordination(findings, data, coordinators)
    _check_messages(findings, section(data, "messages"))


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


def _check_messages(findings: Findings, written: dict[str, Any]) -> None:
    hint = "leave it at 0: messages then arrive in the tick of sending"
    delay = written.get("delay", 0)
    spread = [delay.get("mean", 0), delay.get("std", 0)] if isinstance(delay, dict) else [delay]
    if any((number(value) or 0) > 0 for value in spread):
        findings.add(("messages", "delay"), f"delay {quoted(delay)}: delayed messages are not available yet", hint)
    loss = written.get("loss", 0)
    if (number(loss) or 0) > 0:
        findings.add(("messages", "loss"), f"loss {quoted(loss)}: lossy messages are not available yet", hint)
    for key, usual in (("topology", "full"), ("width", 4)):
        if written.get(key, usual) not in (usual, str(usual)):
            message = f"{key} {quoted(written[key])}: agents send no messages yet, so that it would change nothing"
            findings.add(("messages", key), message, "leave it out")
    if written.get("links"):
        message = f"links {quoted(written['links'])}: links of their own are not available yet"
        findings.add(("messages", "links"), message, "leave it out")


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
