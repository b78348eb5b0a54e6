"""Checks of messages: who sends to whom over which links, and protocols whose signals travel over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from powergrid.config.agent_entries import AgentEntry
from powergrid.config.check_protocols import DEFAULT_TICKS, check_members, check_topology, names_of, tick_s
from powergrid.config.document import Keys
from powergrid.config.findings import Findings, choices, entries, number, quoted, section, text, whole
from powergrid.plugins.registries import PROTOCOLS


class Carrier(NamedTuple):
    """What sends over the links of `messages`.

    Attributes
    ----------
    name
        What it is, for messages of faults.
    path
        Where it is written.
    senders, receivers
        Ids of those who may send and receive; ``None`` where they are not known before the environment is built.
    topology
        Who is linked with whom: as in a configuration, or ``parent`` from one to all others.
    travels
        Whether its signals travel over the links; otherwise it is a protocol on an ideal network.
    """

    name: str
    path: Keys
    senders: Sequence[str] | None
    receivers: Sequence[str] | None
    topology: Any
    travels: bool

    def may_carry(self, sender: str, receiver: str | None) -> bool:
        """Whether something may travel from one agent to another, or to anybody."""
        if self.senders is not None and sender not in self.senders:
            return False
        if receiver is None:
            return True
        return (self.receivers is None or receiver in self.receivers) and self._linked(sender, receiver)

    def _linked(self, sender: str, receiver: str) -> bool:
        """Whether two who take part may be linked; which parts of a feeder touch is known later."""
        if isinstance(self.topology, list):
            return any(isinstance(pair, list) and set(map(text, pair)) == {sender, receiver} for pair in self.topology)
        if self.topology == "full":
            return not self.to_everybody
        known = list(self.senders or ())
        if self.topology == "star" and known:
            return known[0] in (sender, receiver)
        if self.topology == "neighbours" and known:
            return abs(known.index(sender) - known.index(receiver)) in (1, len(known) - 1)
        return True

    @property
    def to_everybody(self) -> bool:
        """Whether what a sender says has one delay and one loss for all receivers."""
        return self.path == ("messages",) and self.topology == "full"


def check_messages(findings: Findings, data: dict[str, Any], agents: list[AgentEntry]) -> None:
    """Note every fault of ``messages``, and of protocols over them, that the schema does not cover."""
    protocols = _protocols(data, agents)
    carried = any(protocol.travels for protocol in protocols)
    if data.get("messages") is None:
        for protocol in protocols:
            if protocol.travels:
                message = "over_messages true: there are no messages whose delay and loss it could have"
                hint = "add messages: {delay: 60, loss: 0.1, width: 0}"
                findings.add((*protocol.path, "params", "over_messages"), message, hint)
        return
    path, written = ("messages",), section(data, "messages")
    ids = [agent.id for agent in agents if agent.id is not None]
    free = whole(written.get("width")) != 0
    if not free:
        for key in ("members", "topology"):
            if key in written:
                findings.add((*path, key), f"{key}: with width 0 agents send no messages", "leave it out")
        if not carried:
            message = "width 0: no protocol sends its signals over these links"
            findings.add((*path, "width"), message, "write over_messages: true under params of a protocol, or a width")
    check_members(findings, path, written, ids)
    check_topology(findings, path, written, ids)
    kind = _check_delay(findings, (*path, "delay"), written.get("delay", 0), data)
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
        if ends[0] in ids and (ends[1] is None or ends[1] in ids):
            carriers = [*([_free(written)] if free else []), *protocols]
            _check_link(findings, place, str(ends[0]), ends[1], carriers)


def _free(written: Mapping[str, Any]) -> Carrier:
    """Messages whose numbers agents choose; without a list of members all that learn send and receive."""
    members = names_of(written.get("members")) or None
    return Carrier("messages", ("messages",), members, members, written.get("topology", "full"), True)


def _protocols(data: dict[str, Any], agents: list[AgentEntry]) -> list[Carrier]:
    """All protocols with who may send and receive in each."""
    coordinators = [agent for agent in agents if agent.level > 1 and agent.id is not None]
    short, found = data.get("coordination"), []
    for agent in coordinators:
        own, place = agent.raw.get("protocol"), agent.path("protocol")
        if own is None and isinstance(short, dict) and _kind(short.get("protocol")) == "vertical":
            own, place = {"type": short["protocol"], "params": short.get("params")}, ("coordination",)
        name = text(own.get("type") if isinstance(own, dict) else own)
        if name not in (None, "none"):
            below = names_of(agent.raw.get("sub_agents"))
            found.append(Carrier(str(name), place, [str(agent.id)], below, "parent", _travels(own)))
    for i, written in entries(data.get("protocols")):
        if _kind(written.get("type")) != "learning":
            members = names_of(written.get("members")) or [str(agent.id) for agent in coordinators]
            topology, name = written.get("topology", "full"), str(written.get("type"))
            found.append(Carrier(name, ("protocols", i), members, members, topology, _travels(written)))
    if isinstance(short, dict) and _kind(short.get("protocol")) == "horizontal":
        members = [str(agent.id) for agent in coordinators]
        found.append(Carrier(str(short["protocol"]), ("coordination",), members, members, "full", _travels(short)))
    return found


def _travels(written: Any) -> bool:
    params = written.get("params") if isinstance(written, dict) else None
    return isinstance(params, dict) and params.get("over_messages") is True


def _kind(name: Any) -> str:
    known = text(name)
    return PROTOCOLS.get(known).kind if known is not None and known in PROTOCOLS else ""


def _check_link(
    findings: Findings, place: Keys, sender: str, receiver: str | None, carriers: Sequence[Carrier]
) -> None:
    """Note a link over which nothing travels, with what would travel over it."""
    over = [carrier for carrier in carriers if carrier.travels]
    carried = any(carrier.may_carry(sender, receiver) for carrier in over)
    heard = {sender, *([] if receiver is None else [receiver])}
    for own in over:
        both = receiver is not None and (heard <= set(own.senders) if own.senders is not None else not carried)
        if own.to_everybody and both:
            message = f'"{sender}" has one delay for all receivers, with the full topology of messages'
            findings.add((*place, "receiver"), message, "leave receiver out, or choose another topology")
            return
    if carried:
        return
    to = "" if receiver is None else f' to "{receiver}"'
    message = f'nothing travels from "{sender}"{to} over a link'
    hint = "name a sender and a receiver of messages, or of a protocol with over_messages: true"
    ideal = [carrier for carrier in carriers if not carrier.travels and carrier.may_carry(sender, receiver)]
    upward = [
        own for own in over if receiver is not None and own.topology == "parent" and own.may_carry(receiver, sender)
    ]
    apart = [own for own in over if own.topology != "parent" and (own.senders is None or heard <= set(own.senders))]
    if upward:
        hint = f'{upward[0].name} sends from "{receiver}" to "{sender}": exchange sender and receiver'
    elif ideal:
        hint = f"{ideal[0].name} is on an ideal network: write over_messages: true under its params, if it has that"
    elif apart:
        message, hint = f'"{sender}" and "{receiver}" are not linked', "add the pair to the topology"
    findings.add(place, message, hint)


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
