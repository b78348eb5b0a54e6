"""From protocol objects to layers: slots of their orders, columns of their signals, and what is metered for members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from powergrid.agents.protocol import Action, Added, Inverter, Member, Members, Protocol, Unit, entry_of
from powergrid.agents.units import units_of
from powergrid.coordination.channels import Channels, Column, Replacements
from powergrid.coordination.deciders import commands_all
from powergrid.coordination.graph import Topology, graph_of
from powergrid.coordination.layers import Layer
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.graph import Graph
from powergrid.core.types import Entry
from powergrid.engine.assembly.families import Tariffs
from powergrid.engine.assembly.market import market_of
from powergrid.engine.assembly.metering import SOURCE
from powergrid.engine.assembly.ownership import Ownership, pays
from powergrid.engine.assembly.parts import Meters, Parts, SlotBook
from powergrid.engine.availability import Availability
from powergrid.engine.followers import rating_of
from powergrid.engine.gather import SumTo
from powergrid.engine.layout import DROPPED, SHARED, Columns, Family
from powergrid.networks import terminals


@dataclass(frozen=True)
class Opened:
    """A protocol whose orders have slots and whose channels have columns, before the devices are numbered."""

    protocol: Protocol
    added: Added
    members: tuple[Any, ...]
    parent: Any
    orders: tuple[np.ndarray, ...]
    channels: tuple[np.ndarray, ...]


def open_vertical(parts: Parts, book: SlotBook, channels: Channels) -> list[Opened]:
    """The vertical protocols in the order of the agents; a parent that is one actor with its children sends nothing."""
    found = []
    for agent in parts.agents:
        protocol = parts.vertical.get(agent.id)
        if protocol is not None and not commands_all(agent.policy, protocol):
            told = tuple(child for child in agent.subordinates if getattr(child, "role", "") != "meter")
            opened = _open(parts, book, channels, protocol, told, agent)
            if opened is not None:
                found.append(opened)
    return found


def open_horizontal(parts: Parts, book: SlotBook, channels: Channels) -> list[Opened]:
    """The horizontal protocols."""
    agents = {agent.id: agent for agent in parts.agents}
    opened = (
        _open(parts, book, channels, peers.protocol, tuple(agents[id] for id in peers.members), None, peers.topology)
        for peers in parts.horizontal
    )
    return [layer for layer in opened if layer is not None]


def _open(
    parts: Parts,
    book: SlotBook,
    channels: Channels,
    protocol: Protocol,
    members: tuple[Any, ...],
    parent: Any,
    topology: Topology = "full",
) -> Opened | None:
    links = _graph(parts, members, topology)
    if protocol.needs_connected and links.unreached:
        apart = ", ".join(f'"{members[k].id}"' for k in links.unreached)
        message = f'topology {links.name}: "{members[0].id}" reaches {apart} over no link'
        action = "close a switch between them, or choose topology full, star, neighbours or a list of pairs"
        raise ConfigError([Issue("protocols", message, action)])
    network = parts.network
    source = network.source_nodes[0] if network.is_three_phase else network.source_bus
    known, buses = [_member(parts, agent, protocol) for agent in members], len(network.buses.name)
    over = "" if parent is None else parent.id
    timing = parts.settings.dt_h, float(network.f_hz)
    added = protocol.entries(Members(known, links, *timing, source_bus=int(source), buses=buses, parent=over))
    if added == Added():
        return None
    speaker = parent if protocol.speakers == "parent" else None
    orders = [_order_slots(book, action, members, speaker) for action in added.actions]
    columns = []
    for channel in added.channels:
        entry = _with_prices(entry_of(channel), parts.columns)
        owners = [agent.id for agent in members] if channel.each or parent is None else [parent.id]
        owners = owners if channel.at is None else [owners[k] for k in channel.at]
        names = [entry.name + suffix for suffix in channel.suffixes] or [entry.name] * len(owners)
        below = parent is not None and not channel.each
        columns.append(
            channels.add(
                [
                    Column(
                        owner=owner,
                        entry=entry._replace(name=name),
                        default=channel.default,
                        below=below,
                        stands_for=channel.stands_for,
                        peers=parent is None,
                        whole_tariff=channel.whole_tariff,
                    )
                    for owner, name in zip(owners, names, strict=True)
                ]
            )
        )
    return Opened(protocol, added, members, parent, tuple(orders), tuple(columns))


def _graph(parts: Parts, members: Sequence[Any], topology: Topology) -> Graph:
    """Links among members."""
    ids, network = [agent.id for agent in members], parts.network
    if topology != "feeder":
        return graph_of(topology, ids, (), ())
    rows = {name: row for row, name in enumerate(terminals.bus_names(network))}
    bus = [rows[name] for name in (network.buses.bus if network.is_three_phase else network.buses.name)]
    table = network.branches
    closed = [
        (bus[a], bus[b]) for a, b, on in zip(table.from_bus, table.to_bus, table.closed, strict=True) if on and a != b
    ]
    return graph_of(topology, ids, [bus[_nodes(parts, agent)[0]] for agent in members], closed)


def _member(parts: Parts, agent: Any, protocol: Protocol) -> Member:
    """The member with the active power that its units can inject."""
    devices = _injecting(agent)
    free = [unit for device in devices for unit in _placed_units(parts, device)]
    units = tuple(unit for unit in free if unit.field == "p_mw")
    firm_mw = [device.firm_mw() for device in devices]
    return Member(
        agent.id,
        p_low_mw=sum(unit.p_low_mw for unit in units),
        p_high_mw=sum(unit.p_high_mw for unit in units),
        p_firm_mw=sum(power or 0.0 for power in firm_mw),
        not_firm=tuple(device.id for device, power in zip(devices, firm_mw, strict=True) if power is None),
        units=units,
        forming_mva=sum(device.forming_mva() for device in devices),
        dispatched=tuple(unit for unit in free if protocol.dispatches(unit)),
        bus=_nodes(parts, agent)[0],
        inverters=tuple(
            Inverter(device.id, rating_of(device.params())) for device in devices if "q_mvar" in device.action_entries()
        ),
        injecting=tuple(device.id for device in devices),
        firm_mw=tuple(power or 0.0 for power in firm_mw),
        may_be_absent=agent.presence is not None,
    )


def _placed_units(parts: Parts, device: Any) -> list[Unit]:
    """The unit of a device whose active power is free, at its bus."""
    bus = terminals.device_nodes(parts.network, device)[0]
    return [unit._replace(bus=bus) for unit in units_of(device)]


def _injecting(agent: Any) -> list[Any]:
    """Units of a member that inject."""
    return [device for device in (agent, *agent.descendants()) if getattr(device, "role", "") == "injection"]


def _order_slots(book: SlotBook, action: Action, members: Sequence[Any], parent: Any) -> np.ndarray:
    policy_of = book.ownership.policy_of
    if parent is None:
        having = [members[k] for k in range(len(members)) if action.at is None or k in action.at]
        slots = [book.add(a.id, entry_of(action, k), a.id, policy_of(a)) for k, a in enumerate(having)]
    elif action.each:
        by = parent.id, policy_of(parent)
        slots = [book.add(agent.id, entry_of(action, k), *by) for k, agent in enumerate(members)]
    else:
        slots = [book.add(parent.id, entry_of(action), parent.id, policy_of(parent))]
    return np.array(slots, dtype=int)


def _with_prices(entry: Entry, columns: Columns) -> Entry:
    """A price may go as far as those of the data."""
    if entry.unit != "$/MWh":
        return entry
    return entry._replace(high=max(entry.high, columns.bounds[columns.price][1]))


def close(
    parts: Parts,
    ownership: Ownership,
    meters: Meters,
    injecting: Sequence[Any],
    families: Sequence[Family],
    opened: Sequence[Opened],
    prices: Replacements,
    absent: Availability | None,
) -> tuple[Layer, ...]:
    """The layers, vertical ones top down and before the horizontal ones.

    Parameters
    ----------
    injecting
        Devices that inject power, in their order.
    prices
        Signals that replace the market price.
    absent
        Who may be out of service or absent.
    """
    _refuse_two_markets(opened)
    _refuse_paying_twice(opened)
    tariffs, noise, found = Tariffs(parts, ownership, meters), 0, []
    for item in sorted(opened, key=lambda item: 0 if item.parent is None else -item.parent.level):
        layer = _layer(parts, ownership, meters, injecting, families, tariffs, item, noise, absent)
        noise += layer.draws
        found.append(replace(layer, heard=-1 if item.parent is None else prices.heard_by(item.parent)))
    return tuple(found)


def _refuse_two_markets(opened: Sequence[Opened]) -> None:
    """Refuse a second market on the one network, which would sell its lines once more."""
    owners = [getattr(item.parent, "id", "the environment") for item in opened if item.added.market is not None]
    if len(owners) > 1:
        message = f'both "{owners[0]}" and "{owners[1]}" clear a market on the network'
        raise ConfigError([Issue("protocol", message, "let one operator clear it, with all members below it")])


def _refuse_paying_twice(opened: Sequence[Opened]) -> None:
    """Refuse members of two protocols that settle the energy of their meters."""
    settled: dict[str, str] = {}
    for item in opened:
        for member in item.members if item.protocol.settles_bills else ():
            name = type(item.protocol).__name__
            if member.id in settled:
                message = f'both {settled[member.id]} and {name} settle the energy of "{member.id}"'
                raise ConfigError([Issue("protocols", message, "make it a member of one of them")])
            settled[member.id] = name


def _layer(
    parts: Parts,
    ownership: Ownership,
    meters: Meters,
    injecting: Sequence[Any],
    families: Sequence[Family],
    tariffs: Tariffs,
    item: Opened,
    noise: int,
    absent: Availability | None,
) -> Layer:
    members, vertical = item.members, item.parent is not None
    account = [ownership.account(agent) if vertical else ownership.account_of(agent.id) for agent in members]
    below = [{agent.id, *(under.id for under in agent.descendants())} for agent in members]
    tariff = [tariffs.account(owner) for owner in account]
    settled_with = [ownership.account(item.parent) if vertical and pays(item.protocol) else DROPPED]
    settled_with += [DROPPED] if item.protocol.settles_source else []
    governed = _governed(parts, families, item)
    speakers = [item.parent] if vertical and item.protocol.speakers == "parent" else members
    turns = np.array([turn_of(parts, agent) for agent in speakers], dtype=int).reshape(-1, 2)
    nodes = [_nodes(parts, agent) for agent in members]
    own_load = [owner if not hasattr(agent, "role") else -1 for owner, agent in zip(account, members, strict=True)]
    return Layer(
        protocol=item.protocol,
        params=item.protocol.params(),
        added=item.added,
        ids=tuple(agent.id for agent in members),
        level=item.parent.level if vertical else 0,
        accounts=np.array([*account, *settled_with], dtype=int),
        orders=item.orders,
        channels=item.channels,
        retail=np.array([retail for retail, _ in tariff], dtype=int),
        feed_in=np.array([feed_in for _, feed_in in tariff], dtype=int),
        node=np.array([(*at, *[at[0]] * 2)[:3] for at in nodes], dtype=int).reshape(-1, 3),
        node_share=np.array([(*[1.0 / len(at)] * len(at), 0.0, 0.0)[:3] for at in nodes]).reshape(-1, 3),
        meter=_meters(parts, ownership, meters, account, item),
        units=_units(injecting, below),
        by_units=vertical and not item.protocol.settles_bills,
        load=np.array([-1 if owner == SHARED else owner for owner in own_load], dtype=int),
        governed=np.array([slot for slot, _ in governed], dtype=int),
        governed_member=np.array([member for _, member in governed], dtype=int),
        widths=_widths(item, len(members)),
        interval=turns[:, 0],
        offset=turns[:, 1],
        noise=noise,
        draws=_draws(item, len(members)),
        unit=np.array([_first_unit(injecting, ids) for ids in below], dtype=int),
        f_hz=float(parts.network.f_hz),
        works=_columns([unit.id for agent in members for unit in _injecting(agent)], absent, "units"),
        absent=_columns([agent.id for agent in speakers], absent, "agents"),
        market=None
        if item.added.market is None
        else market_of(
            parts, ownership, meters, families, item.added.market, item.parent, members, [slot for slot, _ in governed]
        ),
    )


def _governed(parts: Parts, families: Sequence[Family], item: Opened) -> list[tuple[int, int]]:
    """Slot and member of each governed command: of the units that the protocol dispatches, else of its fields."""
    slots = {
        (id, name): int(family.slot[row, j])
        for family in families
        for j, name in enumerate(family.kernel.Command._fields)
        for row, id in enumerate(family.ids)
        if family.free[row, j]
    }
    found = [
        (under.id, name, k)
        for k, agent in enumerate(item.members)
        for under in (agent, *agent.descendants())
        for name in _fields_of(under, item)
    ]
    return [(slots[id, name], k) for id, name, k in found if (id, name) in slots]


def _fields_of(agent: Any, item: Opened) -> tuple[str, ...]:
    """Fields of an agent's command that a protocol governs."""
    dispatched = tuple(unit.field for unit in units_of(agent) if item.protocol.dispatches(unit))
    return dispatched or item.added.governs


def _columns(ids: Sequence[str], absent: Availability | None, which: str) -> np.ndarray:
    """Column of the signals that says of each unit, or agent, whether it is out; -1 for those that never are."""
    if absent is None:
        return np.full(len(ids), -1)
    known, first = (absent.units, 0) if which == "units" else (absent.agents, len(absent.units))
    column = {id: absent.column + first + k for k, id in enumerate(known)}
    return np.array([column.get(id, -1) for id in ids], dtype=int)


def _widths(item: Opened, members: int) -> tuple[int, ...]:
    """Columns of each field of a protocol's state."""
    widths = item.added.widths
    return (members,) * len(item.protocol.State._fields) if widths is None else widths


def _draws(item: Opened, members: int) -> int:
    """Random numbers that a protocol uses in a tick."""
    if not item.protocol.noisy:
        return 0
    return members if item.added.draws is None else item.added.draws


def turn_of(parts: Parts, agent: Any) -> tuple[int, int]:
    """Ticks between two decisions of an agent, and its first."""
    tick_s = parts.settings.dt_h * 3600.0
    return round((agent.interval_s or tick_s) / tick_s), round(agent.offset_s / tick_s)


def _meters(parts: Parts, ownership: Ownership, meters: Meters, account: Sequence[int], item: Opened) -> SumTo:
    """Sum of the measurements of accounts' meters into members, and of the source behind them where it is settled."""
    count = len(meters.names)
    target, member_of = np.full(count, -1), {owner: k for k, owner in enumerate(account)}
    for agent in parts.devices:
        owner = ownership.account(agent)
        if agent.role == "meter" and owner in member_of:
            target[meters.paid[agent.bus]] = member_of[owner]
    if not item.protocol.settles_source:
        return SumTo(target, len(item.members))
    source = np.append(np.arange(count), meters.rows[SOURCE])
    return SumTo(np.append(target, len(item.members)), len(item.members) + 1, source=source)


def _first_unit(injecting: Sequence[Any], below: set[str]) -> int:
    """Number of the first unit of a member, whose id or one below is among `below`; -1 for none."""
    return next((number for number, agent in enumerate(injecting) if agent.id in below), -1)


def _units(injecting: Sequence[Any], below: Sequence[set[str]]) -> SumTo:
    """Sum of injections into the members that units belong to."""
    target = [next((k for k, ids in enumerate(below) if agent.id in ids), -1) for agent in injecting]
    return SumTo(np.array(target, dtype=int), len(below))


def _nodes(parts: Parts, agent: Any) -> tuple[int, ...]:
    """Nodes at which a member meets the network: of its unit, of its meter, of its first unit, or the source."""
    network, devices = parts.network, [a for a in (agent, *agent.descendants()) if hasattr(a, "role")]
    for device in devices:
        rows = terminals.branch_rows(network, device.bus) if device.role == "meter" else ()
        if rows:
            return tuple(int(network.branches.to_bus[row]) for row in rows)[:3]
    for device in devices:
        if device.role == "injection":
            return terminals.device_nodes(network, device)
    source = network.source_nodes if network.is_three_phase else [network.source_bus]
    return tuple(int(node) for node in source)[:3]
