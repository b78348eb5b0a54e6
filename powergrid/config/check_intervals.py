"""Checks of the times at which agents decide: whole ticks, and a first decision within the first interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.check_protocols import check_tick_multiple, tick_s
from powergrid.config.findings import Findings, section, whole
from powergrid.config.schema import RATES_S

LEVELS = tuple(RATES_S)
"""Names of the levels 1, 2 and 3."""


def check_intervals(findings: Findings, data: dict[str, Any], agents: Iterable[AgentEntry]) -> None:
    """Note every interval and offset that agents cannot have, by level and by agent."""
    simulation = section(data, "simulation")
    by_level = section(simulation, "intervals")
    for level in LEVELS:
        _check_interval(findings, ("simulation", "intervals", level), by_level.get(level), simulation)
    for agent in agents:
        _check_interval(findings, agent.path("interval"), agent.raw.get("interval"), simulation)
        check_tick_multiple(findings, agent.path("offset"), agent.raw.get("offset"))
        _check_offset(findings, agent, _interval_s(agent, data, by_level) or tick_s(findings))


def _check_interval(
    findings: Findings, path: tuple[str | int, ...], written: object, simulation: Mapping[str, Any]
) -> None:
    """Note an interval that is no whole number of ticks, or that ``simulation.async`` denies."""
    check_tick_multiple(findings, path, written)
    seconds = whole(written)
    if seconds is not None and seconds > 0 and simulation.get("async") is False and seconds != tick_s(findings):
        message = f"interval {seconds}: simulation.async is false, so that every agent acts in every tick"
        findings.add(path, message, "leave one of the two out")


def _check_offset(findings: Findings, agent: AgentEntry, interval_s: int | None) -> None:
    """Note a first decision after the first interval."""
    offset_s = whole(agent.raw.get("offset"))
    if offset_s is None or interval_s is None or not 0 < interval_s <= offset_s:
        return
    message = f"offset {offset_s}: an agent decides first within its interval of {interval_s} s"
    below = offset_s % interval_s
    instead = f"use {below}" if below else "leave it out"
    findings.add(agent.path("offset"), message, f"{instead}, or give it an interval above {offset_s}")


def _interval_s(agent: AgentEntry, data: Mapping[str, Any], by_level: Mapping[str, Any]) -> int | None:
    """Interval of an agent as it is written for itself, its protocol or its level; ``None`` where it is not."""
    own = agent.raw.get("protocol")
    protocol = section(data, "coordination") if own in (None, "none") else section(agent.raw, "protocol")
    frequency = section(protocol, "params").get("update_freq") if agent.level > 1 else None
    level = by_level.get(level_name(agent.level)) if agent.level else None
    written = (whole(value) for value in (agent.raw.get("interval"), frequency, level))
    return next((seconds for seconds in written if seconds is not None), None)


def level_name(level: int) -> str:
    """Name of a level; those above the third are systems, too."""
    return LEVELS[min(level, len(LEVELS)) - 1]
