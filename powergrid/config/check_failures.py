"""Checks of the devices that may fail: their kind is one that an outage is modelled for."""

from __future__ import annotations

from collections.abc import Iterable

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.findings import Findings

_KEEPS = {
    "tap": "a regulator keeps its tap; let the branch beside it fail under network.outages",
    "cap": "a capacitor stays as it is; let the branch beside it fail under network.outages",
    "switch": "a switch stays as it is; let its branch fail under network.outages",
    "meter": "a meter only measures",
}


def check_failures(findings: Findings, agents: Iterable[AgentEntry]) -> None:
    """Note failures of agents that are no devices, and of devices whose outage is not modelled."""
    for agent in agents:
        if agent.raw.get("failures") is None or agent.level == 0:
            continue
        if agent.kind is None:
            message, action = "failures: only devices fail", "put it on the devices below this agent"
        elif agent.kind.role != "injection":
            message = f"failures: outages of a {agent.raw.get('type')} are not modelled"
            action = f"leave it out: {_KEEPS[agent.kind.role]}"
        elif agent.kind.is_python():
            message = f"failures: outages of the plain Python device {agent.raw.get('type')} are not modelled"
            action = "give its class a step kernel, see the tutorial of custom devices"
        else:
            continue
        findings.add(agent.path("failures"), message, action)
