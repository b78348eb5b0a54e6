"""Checks of the times at which agents join and leave: they lie within the episode, a tick apart or more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.check_protocols import DEFAULT_TICKS, tick_s
from powergrid.config.findings import Findings, number, section, whole


def check_presence(findings: Findings, data: dict[str, Any], agents: Iterable[AgentEntry]) -> None:
    """Note times of agents that lie outside the episode, and stays shorter than a tick."""
    tick, ticks = tick_s(findings), whole(section(data, "simulation").get("episode_length", DEFAULT_TICKS))
    for agent in agents:
        written = agent.raw.get("presence")
        if not isinstance(written, dict) or tick is None or ticks is None:
            continue
        joins, leaves = (_times(written.get(key)) for key in ("joins", "leaves"))
        for key, times in (("joins", joins), ("leaves", leaves)):
            if times and times[-1] > tick * (ticks - 1):
                message = f"{key} {times[-1]:g} s lies outside the ticks of the episode, {tick * ticks} s"
                findings.add(agent.path("presence", key), message, f"use at most {tick * (ticks - 1)} s")
        joined = joins[-1] if joins else 0.0
        if leaves and joined < leaves[0] < joined + tick:  # one before it joins is a fault of its own
            message = f"leaves {leaves[0]:g} s: less than the time step of {tick} s after it joins at {joined:g} s"
            findings.add(agent.path("presence", "leaves"), message, f"use at least {joined + tick:g} s")


def _times(written: object) -> list[float]:
    """A time or two; none where it is not valid, which the schema notes."""
    times = [number(value) for value in (written if isinstance(written, list) else [written])]
    return [time for time in times if time is not None] if None not in times else []
