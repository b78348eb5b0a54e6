"""Checks of the agents: known types, valid parameters, buses that exist, a hierarchy without cycles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from powergrid.agents.base import CENTRALIZED, LEARNED, PYTHON
from powergrid.agents.device_agent import DeviceAgent
from powergrid.agents.policy import is_policy
from powergrid.config.agent_entries import AgentEntry, agent_entries, own_constructor
from powergrid.config.build_network import branch_names, capacitor_names, opening_names, regulator_names
from powergrid.config.check_failures import check_failures
from powergrid.config.check_intervals import check_intervals
from powergrid.config.check_meters import check_meters
from powergrid.config.check_network import Grid
from powergrid.config.check_presence import check_presence
from powergrid.config.check_protocols import check_protocol
from powergrid.config.findings import Findings, choices, field_names, known_names, quoted, text
from powergrid.config.python_policies import check_policy_mapping
from powergrid.core.errors import NetworkError
from powergrid.core.settings import check_argument
from powergrid.engine.assembly.metering import UNIT
from powergrid.engine.layout import UTILITY
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.regulation import regulators_at, standing_tap
from powergrid.networks.terminals import branch_rows, bus_names, has_phases
from powergrid.networks.unbalanced import UnbalancedNetwork
from powergrid.plugins.registries import POLICIES


def check_agents(findings: Findings, data: dict[str, Any], grid: Grid) -> list[AgentEntry]:
    """Note every fault of the agents that the schema does not cover; return the agents that can be read."""
    agents = agent_entries(findings, data)
    for agent in agents:
        _check_params(findings, agent)
        _check_place(findings, agent, grid, agents)
        _check_role(findings, agent, grid)
    check_intervals(findings, data, agents)
    check_failures(findings, agents)
    check_presence(findings, data, agents)
    _check_once_moved(findings, agents, grid)
    _check_ids(findings, agents)
    _check_hierarchy(findings, agents)
    check_meters(findings, data, grid, agents)
    return agents


def _check_once_moved(findings: Findings, agents: Iterable[AgentEntry], grid: Grid) -> None:
    """Note regulators, capacitors and switches that several agents would move."""
    if grid.network is None:
        return
    network, first = grid.network, dict[tuple[str, Any], AgentEntry]()
    for agent in agents:
        bus, role = text(agent.raw.get("bus")), agent.kind.role if agent.kind is not None else ""
        if bus is None or role not in ("tap", "cap", "switch"):
            continue
        rows: Iterable[Any] = (bus,)
        if role != "cap":
            rows = regulators_at(network, bus) if role == "tap" else branch_rows(network, bus)
        for row in rows:
            other = first.setdefault((role, row), agent)
            if other is not agent:
                message = f'"{bus}" is moved by "{other.id}" already'
                findings.add(agent.path("bus"), message, "leave one of the two out, or give each a phase of its own")
                break


# -- one agent ------------------------------------------------------------------------------------------------------


def _check_params(findings: Findings, agent: AgentEntry) -> None:
    params = agent.raw.get("params", {})
    if not isinstance(params, dict):
        return
    if agent.level == 0:
        for key, value in params.items():
            findings.unchecked(agent.path("params", key), value, "the agent's type is unknown")
    elif agent.kind is None:
        for key, value in params.items():
            findings.add(
                agent.path("params", key),
                f"unknown key {quoted(key)} (value {quoted(value)})",
                "a coordinator has no params",
            )
    elif own_constructor(agent.kind):
        _try_constructor(findings, agent, agent.kind, params)
    else:
        try:
            agent.kind.Settings.model_validate(params)
        except ValidationError as error:
            findings.invalid(agent.path("params"), params, agent.kind.Settings, error)


def _try_constructor(findings: Findings, agent: AgentEntry, kind: type[DeviceAgent], params: dict[str, Any]) -> None:
    import inspect

    named = {
        name: parameter
        for owner in reversed(kind.__mro__)
        if issubclass(owner, DeviceAgent) and owner is not DeviceAgent and "__init__" in vars(owner)
        for name, parameter in inspect.signature(owner.__init__).parameters.items()
        if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    allowed = {*named, *field_names(kind.Settings)} - {"id", "bus", "phases", "policy"}
    allowed |= {"p_sign"} if kind.is_python() else set()
    unknown = [key for key in params if key not in allowed]
    for key in unknown:
        findings.add(
            agent.path("params", key), f"unknown key {quoted(key)} (value {quoted(params[key])})", choices(key, allowed)
        )
    for key, value in params.items():
        try:
            if key in named:
                check_argument(named[key], value)
        except ValueError as error:
            unknown.append(key)
            findings.add(agent.path("params", key), f"{quoted(value)}: {error}")
    if unknown:
        return
    try:
        made = kind(id=agent.id or "unnamed", bus=text(agent.raw.get("bus")) or "", **params)
        if not hasattr(made, "settings"):
            message = f"{kind.__name__}.__init__ does not call super().__init__(**kwargs)"
            findings.add(agent.path("type"), message, "call it first and pass on the keywords that are not yours")
    except ValidationError as error:
        findings.invalid(agent.path("params"), params, kind.Settings, error)
    except Exception as error:  # a stranger's constructor may fail in any way, and that is one fault among others
        findings.add(agent.path("params"), f"{kind.__name__} cannot be made: {type(error).__name__}: {error}")


def _check_place(findings: Findings, agent: AgentEntry, grid: Grid, agents: Iterable[AgentEntry]) -> None:
    bus = text(agent.raw.get("bus"))
    phases = agent.raw.get("phases")
    three = grid.network is not None and grid.network.is_three_phase
    if phases is not None and agent.level == 1 and not three:
        findings.add(agent.path("phases"), f"phases {quoted(phases)}: the network is balanced", "leave phases out")
    if agent.level > 1:
        if bus is not None:
            findings.add(agent.path("bus"), f"bus {quoted(bus)}: a coordinator has no bus", "its area says where it is")
        return
    role = agent.kind.role if agent.kind is not None else "injection"
    if bus is None:
        if agent.kind is not None and role != "meter" and agent.raw.get("bus") is None:
            written = ("bus",) if "bus" in agent.raw else ()
            findings.add(agent.path(*written), f'"bus" is missing: a {agent.raw.get("type")} needs one', _WHERE[role])
        return
    if grid.network is None:
        findings.unchecked(agent.path("bus"), bus, grid.because)
        return
    if role == "meter" and bus.startswith(UNIT):
        units = [other.id for other in agents if other.id and other.kind is not None and other.kind.role == "injection"]
        what, names = "device", tuple(UNIT + unit for unit in units)
    else:
        what, names = {
            "injection": ("bus", bus_names(grid.network)),
            "tap": ("regulator", regulator_names(grid.network)),
            "cap": ("switchable capacitor", capacitor_names(grid.network)),
            "meter": ("branch", branch_names(grid.network)),
            "switch": ("branch that opens", opening_names(grid.network)),
        }[role]
    if bus in names:
        three_phase = grid.network if isinstance(grid.network, UnbalancedNetwork) else None
        if three_phase and role == "injection" and isinstance(phases, str):
            _check_phases(findings, agent, bus, phases, three_phase)
        if role == "tap":
            _check_tap(findings, agent, bus, grid.network)
        if three_phase and role != "injection" and isinstance(phases, str):
            _check_controlled_phase(findings, agent, bus, phases, three_phase)
        return
    if grid.lacks(bus):
        findings.unchecked(agent.path("bus"), bus, "a modification of the network has a fault")
    elif agent.kind is None and bus in (*regulator_names(grid.network), *grid.network.branches.name):
        return
    else:
        findings.add(agent.path("bus"), f'the network has no {what} "{bus}"', choices(bus, names))


def _check_tap(findings: Findings, agent: AgentEntry, bus: str, network: AnyNetwork) -> None:
    """Note a regulator without local control whose tap position in the network does not fit its settings."""
    assert agent.kind is not None, "it has a role"
    try:
        written = agent.kind.Settings.model_validate(agent.raw.get("params", {}))
    except ValidationError:  # noted with the parameters
        return
    if not written.local_control and written.tap_init is None:
        try:
            standing_tap(network, bus, written)
        except NetworkError as error:
            message, _, hint = str(error).partition("; ")
            findings.add(agent.path("params") if "params" in agent.raw else agent.path(), message, hint)


def _check_controlled_phase(
    findings: Findings, agent: AgentEntry, bus: str, phases: str, network: UnbalancedNetwork
) -> None:
    """Note phases of a device without a bus: only the relay of a regulator reads one phase."""
    assert agent.kind is not None, "it has a role"
    if agent.kind.role != "tap":
        message = f"phases {quoted(phases)}: a {agent.raw.get('type')} has those of its place"
        findings.add(
            agent.path("phases"), message, f"leave phases out; one phase alone is called {bus.split('.')[0]}.a"
        )
        return
    branches = network.regulators.branch[list(regulators_at(network, bus))]
    here = "".join(network.buses.phase[network.branches.to_bus[branch]] for branch in branches)
    if phases not in tuple(here):
        message = f'phases {quoted(phases)}: the relay of "{bus}" reads one phase'
        findings.add(agent.path("phases"), message, has_phases(here))


def _check_phases(findings: Findings, agent: AgentEntry, bus: str, phases: str, network: UnbalancedNetwork) -> None:
    """Note a phase that the bus of a device does not have."""
    here = network.phases_of(bus)
    missing = [phase for phase in phases if phase not in here]
    if missing:
        message = f'phases {quoted(phases)}: bus "{bus}" has no phase {missing[0]}'
        findings.add(agent.path("phases"), message, has_phases(here))


_WHERE = {
    "injection": "the bus it is connected to",
    "tap": "the regulator branch it moves",
    "cap": "the capacitor it switches",
    "switch": "the switch or line it opens",
}


def _check_role(findings: Findings, agent: AgentEntry, grid: Grid) -> None:
    """Note faults of policy, protocol and area."""
    policy = agent.policy
    local = known_names(POLICIES)
    check_policy_mapping(findings, agent)
    if policy == CENTRALIZED and agent.level == 1:
        hint = "put it on the coordinator above; here: learned or a local policy"
        findings.add(agent.path("policy"), 'policy "centralized" is for coordinators', hint)
    elif policy is not None and policy not in (LEARNED, CENTRALIZED, PYTHON, *local):
        findings.unknown(agent.path("policy"), "policy", policy, [LEARNED, CENTRALIZED, PYTHON, *local])
    elif policy in local and not is_policy(POLICIES.get(policy)):
        message = f'policy "{policy}" is no class of LocalPolicy or PythonPolicy of powergrid.agents'
        findings.add(agent.path("policy"), message, "`powergrid new policy my_policy` writes one to start from")
    protocol = agent.raw.get("protocol")
    if protocol is not None and agent.level == 1:
        hint = "put it on a coordinator, or on the list of protocols among peers"
        findings.add(agent.path("protocol"), "a device has no protocol", hint)
    elif protocol is not None:
        short = isinstance(protocol, str)
        written = {"type": protocol} if short else protocol
        check_protocol(findings, agent.path("protocol"), written, "type", wanted=("vertical",), short=short)
    area = agent.raw.get("area")
    if not isinstance(area, str) or not area:
        return
    if agent.level == 1:
        findings.add(agent.path("area"), f"area {quoted(area)}: only coordinators answer for an area", "leave it out")
    elif grid.network is None or area in grid.lost:
        findings.unchecked(agent.path("area"), area, grid.because or "a modification of the network has a fault")
    elif area not in grid.network.buses.area:
        known = sorted({name for name in grid.network.buses.area if name})
        hint = choices(area, known) if known else "the network has no areas; attach another network to get one"
        findings.add(agent.path("area"), f'the network has no area "{area}"', hint)


# -- all agents together -------------------------------------------------------------------------------------------


def _check_ids(findings: Findings, agents: list[AgentEntry]) -> None:
    first: dict[str, AgentEntry] = {}
    areas: dict[str, AgentEntry] = {}
    for agent in agents:
        if agent.id is not None and agent.id in first:
            other = first[agent.id]
            line = findings.document.line(other.path("id"))
            where = f"agents[{other.at}]" + (f" (line {line})" if line else "")
            findings.add(agent.path("id"), f'id "{agent.id}" is taken by {where}', "give every agent an id of its own")
        elif agent.id == UTILITY:
            findings.add(agent.path("id"), f'id "{UTILITY}" is the account of the utility', "choose another id")
        elif agent.id is not None:
            first[agent.id] = agent
        area = agent.raw.get("area")
        if isinstance(area, str) and area and agent.level > 1:
            if area in areas:
                findings.add(
                    agent.path("area"),
                    f'area "{area}" belongs to "{areas[area].id}" already',
                    "one coordinator an area",
                )
            areas.setdefault(area, agent)


def _check_hierarchy(findings: Findings, agents: list[AgentEntry]) -> None:
    by_id: dict[str, AgentEntry] = {}
    for agent in agents:
        if agent.id is not None:
            by_id.setdefault(agent.id, agent)
    parent: dict[str, str] = {}
    below: dict[str, list[str]] = {}
    for agent in agents:
        children = agent.raw.get("sub_agents")
        for k, child in enumerate(children if isinstance(children, list) else []):
            name = text(child)
            if name is None:
                continue
            path = agent.path("sub_agents", k)
            if agent.level == 1:
                findings.add(path, f'"{name}": a device has no sub_agents', "make this agent a GridCoordinator")
            elif name not in by_id:
                findings.add(path, f'there is no agent "{name}"', choices(name, by_id))
            elif name in parent:
                findings.add(path, f'"{name}" already belongs to "{parent[name]}"', "an agent has one parent at most")
            else:
                parent[name] = agent.id or ""
                below.setdefault(agent.id or "", []).append(name)
                if agent.level and by_id[name].level > agent.level:
                    findings.add(
                        path, f'"{name}" stands above "{agent.id}"', "an operator coordinates, it is not coordinated"
                    )
    _check_cycles(findings, by_id, parent)


def _check_cycles(findings: Findings, by_id: dict[str, AgentEntry], parent: dict[str, str]) -> None:
    """Note each cycle at its first member: with one parent each, a cycle is a closed walk upwards."""
    reported: set[str] = set()
    for start in by_id:
        walk = [start]
        while walk[-1] in parent and parent[walk[-1]] not in walk:
            walk.append(parent[walk[-1]])
        top = parent.get(walk[-1])
        if top != start or reported & set(walk):
            continue
        reported.update(walk)
        circle = " -> ".join([start, *reversed(walk[1:]), start])
        message = f"the hierarchy has a cycle: {circle}"
        findings.add(
            by_id[start].path("sub_agents"), message, "take one of these out of the sub_agents of the one before it"
        )
