"""Checks of the decisions: every learned agent has a choice, and every interval belongs to an agent that decides."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from powergrid.agents.base import CENTRALIZED, LEARNED, PYTHON
from powergrid.config.agent_entries import AgentEntry
from powergrid.config.findings import Findings, entries, quoted, section, text
from powergrid.coordination.deciders import (
    OUTSIDE,
    Candidate,
    Deciders,
    commanded_fields,
    commands_all,
    members_send,
    parent_sends,
)
from powergrid.plugins.registries import PROTOCOLS


def check_deciders(findings: Findings, data: dict[str, Any], agents: list[AgentEntry]) -> None:
    """Note agents with a learned policy and no choice, and intervals of agents that decide nothing.

    A learned device whose numbers belong to the action of a learned coordinator above it executes that action, which is
    no fault. Nothing is noted while types, ids, parents or protocols have faults of their own.
    """
    by_id = {agent.id: agent for agent in agents if agent.id is not None and agent.level}
    vertical, members = _protocols(data, by_id)
    if len(by_id) != len(agents) or vertical is None:
        return
    parent = {child: agent.id for agent in by_id.values() for child in _children(agent)}
    if not set(parent) <= set(by_id) or _goes_round(parent):
        return
    for id, made in vertical.items():
        if not members_send(made.protocol):
            continue
        if commands_all(_policy(by_id[id]), made.protocol):
            message = f'"{id}" commands everything below it (policy: {CENTRALIZED}), and would run no {made.name}'
            findings.add(by_id[id].path("policy"), message, "leave policy out")
            return
        members |= {child for child in _children(by_id[id]) if getattr(by_id[child].kind, "role", "") != "meter"}
    candidates = []
    for id, agent in by_id.items():
        protocols, above = [], parent.get(id)
        while above is not None:
            protocols += [vertical[above].protocol] if above in vertical else []
            above = parent.get(above)
        own = vertical[id].protocol if id in vertical else None
        candidates.append(_candidate(agent, parent.get(id), own, id in members, protocols))
    deciders = Deciders(candidates)
    policies = {candidate.id: candidate for candidate in candidates}
    for id, agent in by_id.items():
        executes = agent.level == 1 and deciders.commander(id) is not None
        idle = id not in deciders.acting and id not in deciders.in_python
        if agent.policy in (*OUTSIDE, PYTHON) and idle and not executes:
            message, hint = _why(agent, policies, deciders, vertical)
            findings.add(agent.path("policy"), f"policy {quoted(agent.raw['policy'])}: {message}", hint)
            continue
        _check_objective(findings, agent, id in deciders.acting)
        for key in ("interval", "offset"):
            if agent.raw.get(key) and id not in deciders.deciding:
                by = deciders.decider(id)
                message, hint = f'"{id}" decides nothing', "leave it out"
                if by != id:
                    message, hint = f'"{by}" decides for "{id}", at its own {key}', f'write it at "{by}"'
                findings.add(agent.path(key), f"{key} {quoted(agent.raw[key])}: {message}", hint)


def _check_objective(findings: Findings, agent: AgentEntry, acts: bool) -> None:
    """Note an objective of a device, and of an agent that has no reward."""
    objective = text(agent.raw.get("objective"))
    if objective in (None, "own"):
        return
    message, hint = "", ""
    if agent.level == 1:
        message, hint = f'"{agent.id}" is a device, whose reward sums its own account', "write it at a coordinator"
    elif not acts:
        message = f'"{agent.id}" has no reward, because no outside code acts for it'
        hint = "give it policy: learned, or leave objective out"
    if message:
        findings.add(agent.path("objective"), f"objective {quoted(objective)}: {message}", hint)


def _why(
    agent: AgentEntry, policies: Mapping[str, Candidate], deciders: Deciders, vertical: Mapping[str, _Made]
) -> tuple[str, str]:
    """Reason why a learned agent has no choice, and what would give it one."""
    own = policies[str(agent.id)]
    by = deciders.decider(own.id)
    if own.device and by != own.id:
        local = policies[by].policy
        return (
            f'"{by}" commands "{own.id}" by its local policy "{local}", so that no learned agent acts for it',
            f'give "{by}" policy: learned, or "{own.id}" a local policy',
        )
    if own.device:
        return f'"{own.id}" has nothing to choose: {_nothing(agent)}', _offer(agent)
    below = [candidate for candidate in policies.values() if candidate.parent == own.id]
    above = own.parent
    while above is not None and not policies[above].commands:
        above = policies[above].parent
    if not own.commands:
        return (
            f'"{own.id}" has nothing to choose: it sends nothing and commands no agent',
            "give it protocol: {type: setpoint} to command its devices, protocol: {type: price_signal} to send them a "
            "price, policy: centralized, or a place in a market; or leave policy out",
        )
    if above is not None:
        policy = policies[above].policy
        commands = above in vertical and not commands_all(policy, vertical[above].protocol)
        own_policy = "its policy in Python" if policy == PYTHON else f"policy: {policy}"
        how = f"protocol: {vertical[above].name}" if commands else own_policy
        return (
            f'"{own.id}" has nothing to choose: "{above}" commands everything below it ({how})',
            f'take {how} from "{above}", or leave policy out here',
        )
    coordinators = [candidate.id for candidate in below if not candidate.device]
    if coordinators:
        return (
            f'"{own.id}" has nothing to choose: it commands {_listed(coordinators)}, which '
            f"{'does' if len(coordinators) == 1 else 'do'} not hand commands on to devices",
            f"give {_listed(coordinators)} protocol: {{type: setpoint}}, or "
            f'"{own.id}" protocol: {{type: price_signal}}',
        )
    return (
        f'"{own.id}" has nothing to choose: none of its devices is learned with something to choose',
        "give one of its sub_agents policy: learned and parameters that offer a choice",
    )


def _nothing(agent: AgentEntry) -> str:
    return f"a {agent.raw.get('type')} with these parameters follows its data"


def _offer(agent: AgentEntry) -> str:
    known = getattr(agent.kind.Settings, "model_fields", {}) if agent.kind is not None else {}
    offers = [f"{key}: {value}" for key, value in _OFFERS.items() if key in known]
    written = " or ".join(f"params: {{{offer}}}" for offer in offers)
    return f"write {written}, or leave policy out" if written else "leave policy out: there is nothing to learn"


_OFFERS = {"curtailable": "true", "sn_mva": "1.0", "curtailable_share": "0.2"}
"""Parameters that give devices a choice."""


def _listed(ids: list[str]) -> str:
    return " and ".join(f'"{id}"' for id in ids)


def _policy(agent: AgentEntry) -> str:
    if agent.policy is not None:
        return agent.policy
    return LEARNED if agent.kind is None else str(agent.kind.default_policy)


def _candidate(agent: AgentEntry, parent: str | None, protocol: Any, member: bool, above: Sequence[Any]) -> Candidate:
    policy = _policy(agent)
    central = commands_all(policy, protocol)
    return Candidate(
        id=str(agent.id),
        policy=policy,
        parent=parent,
        device=agent.level == 1,
        offers=agent.level == 1 and _offers(agent, above),
        sends=member or (not central and parent_sends(protocol)),
        commands=agent.level > 1 and (central or (protocol is not None and protocol.commands_children)),
    )


def _offers(agent: AgentEntry, above: Sequence[Any]) -> bool:
    """Whether a device has a choice; a device that cannot be made has a fault of its own."""
    assert agent.kind is not None, "it is a device"
    params = agent.raw.get("params", {})
    try:
        made = agent.kind(id=str(agent.id), bus=text(agent.raw.get("bus")) or "", **params)
        return bool(made.action_entries().keys() - commanded_fields(made, above))
    except Exception:  # a stranger's constructor may fail in any way, which is noted with its parameters
        return True


class _Made(NamedTuple):
    """A protocol and its name."""

    name: str
    protocol: Any


def _protocols(data: dict[str, Any], by_id: Mapping[str, AgentEntry]) -> tuple[dict[str, _Made] | None, set[str]]:
    """Vertical protocols of coordinators, ``None`` if one cannot be made; and the market members that have a choice."""
    coordinators = {id: agent for id, agent in by_id.items() if agent.level > 1}
    raw = data.get("coordination")
    short = {"protocol": raw} if isinstance(raw, str) else section(data, "coordination")
    try:
        common = _made(short, "protocol")
        vertical, members = {}, set()
        for id, agent in coordinators.items():
            written = agent.raw.get("protocol")
            own = _made({"type": written} if isinstance(written, str) else written, "type")
            if own is None or own.name == "none":
                own = common if common is not None and common.protocol.kind == "vertical" else own
            if own is not None and own.protocol.kind != "vertical":
                return None, set()  # noted with the protocol
            if own is not None:
                vertical[id] = own
        markets = [(_made(written, "type"), written.get("members")) for _, written in entries(data.get("protocols"))]
        if common is not None and common.protocol.kind == "horizontal":
            markets.append((common, None))
        for market, named in markets:
            if market is not None and market.protocol.speaks:
                members |= set(named or coordinators)
    except Exception:  # noted with the protocol
        return None, set()
    return vertical, members


def _made(written: Any, key: str) -> _Made | None:
    name = text(written.get(key)) if isinstance(written, Mapping) else None
    if name is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings appear once, when the environment is built
        return _Made(name, PROTOCOLS.get(name)(**(written.get("params") or {})))


def _children(agent: AgentEntry) -> list[str]:
    written = agent.raw.get("sub_agents")
    return [name for name in map(text, written if isinstance(written, list) else []) if name is not None]


def _goes_round(parent: Mapping[str, str | None]) -> bool:
    """Whether an agent is above itself in the hierarchy."""
    for start in parent:
        above, steps = parent.get(start), 0
        while above is not None and steps <= len(parent):
            above, steps = parent.get(above), steps + 1
        if steps > len(parent):
            return True
    return False
