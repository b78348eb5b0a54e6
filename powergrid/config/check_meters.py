"""Checks of the meters: every unit of energy passes exactly one meter that charges for it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.build_network import branch_names, opening_names
from powergrid.config.check_network import Grid
from powergrid.config.findings import Findings, entries, quoted, section, text
from powergrid.core.errors import NetworkError
from powergrid.engine.assembly.metering import SOURCE, UNIT, metering
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.terminals import branch_rows, bus_names, device_nodes


def check_meters(findings: Findings, data: dict[str, Any], grid: Grid, agents: Sequence[AgentEntry]) -> None:
    """Note meters that stand at one place, or that would charge for energy that goes another way."""
    meters = [agent for agent in agents if agent.kind is not None and agent.kind.role == "meter"]
    first: dict[str, AgentEntry] = {}
    for agent in meters:
        place = text(agent.raw.get("bus")) or SOURCE
        if place in first:
            where = f'at "{place}"' if place else "at the source"
            message = f'meter "{agent.id}": "{first[place].id}" is {where} already, and energy is paid at one meter'
            findings.add(agent.path("bus") if place else agent.path(), message, "leave one of the two out")
        first.setdefault(place, agent)
    if grid.network is None:
        return
    known = branch_names(grid.network)
    branches = [place for place in first if place in known and not place.startswith(UNIT)]
    moving = _moving(data, grid.network, agents) if branches else []
    for place in branches:
        try:
            metering(grid.network, [place], {}, moving)
        except NetworkError as error:
            message, _, hint = str(error).partition("; ")
            findings.add(first[place].path("bus"), f"{message} (found {quoted(place)})", hint)
            return
    if branches and grid.network.is_three_phase:
        _check_phases(findings, grid.network, branches, moving, agents)


def _check_phases(
    findings: Findings, network: AnyNetwork, branches: list[str], moving: list[int], agents: Sequence[AgentEntry]
) -> None:
    """Note devices whose phases different meters measure first."""
    for agent in agents:
        phases, bus = agent.raw.get("phases"), text(agent.raw.get("bus"))
        if agent.kind is None or agent.kind.role != "injection" or agent.id is None or bus not in bus_names(network):
            continue
        unit = SimpleNamespace(id=agent.id, bus=bus, phases=phases if isinstance(phases, str) else None)
        try:
            nodes = device_nodes(network, unit)
        except NetworkError:  # noted with the agent's place
            continue
        try:
            metering(network, branches, {agent.id: nodes}, moving)
        except NetworkError as error:
            message, _, hint = str(error).partition("; ")
            findings.add(agent.path("bus"), message, hint)


def _moving(data: dict[str, Any], network: AnyNetwork, agents: Sequence[AgentEntry]) -> list[int]:
    """Rows of the branches that switches and outages of a configuration move, as far as they can be read."""
    names = opening_names(network)
    patterns = [
        text(agent.raw.get("bus")) for agent in agents if agent.kind is not None and agent.kind.role == "switch"
    ]
    rules = section(data, "network").get("outages")
    for _, rule in entries([rules] if isinstance(rules, dict) else rules):
        written = rule.get("branch")
        patterns += [text(item) for item in (written if isinstance(written, list) else [written])]
    chosen = [name for name in names if any(pattern and fnmatchcase(name, pattern) for pattern in patterns)]
    return [row for name in chosen for row in branch_rows(network, name)]
