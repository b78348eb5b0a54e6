"""From objects to a :class:`~powergrid.engine.layout.Layout`, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from powergrid.core.errors import NetworkError, nearest
from powergrid.core.types import Entry
from powergrid.engine import ledger, look, phases
from powergrid.engine.gather import SumTo
from powergrid.engine.layout import (
    CORE_COSTS,
    SHARED,
    UNBALANCE,
    Columns,
    Family,
    Layout,
    Ledger,
    Market,
    Settings,
    Slots,
    Source,
)
from powergrid.engine.ownership import Ownership
from powergrid.engine.python_devices import PythonDevices, Surroundings
from powergrid.engine.switching import FormingUnit, Outage, Switching, switching
from powergrid.networks.regulation import regulators_at, relays_of, upstream
from powergrid.powerflow.compile import compile_network, no_load_voltages
from powergrid.powerflow.sequence import three_phase_buses

SOURCE = ""
"""Place of a meter that sits at the network's source."""
UNIT = "unit:"
"""Prefix of the place of a meter that sits at a device's own terminal."""
_PYTHON = "plain Python devices"
"""Who decides slots that plain Python devices fill."""


@dataclass(frozen=True)
class Parts:
    """Everything an environment is made of.

    Attributes
    ----------
    network
        The network's columns.
    agents
        All agents, in configuration order, already linked to their parents.
    vertical
        Vertical protocol object of each coordinator, by id.
    horizontal
        Horizontal protocol objects with the ids of their members.
    policies
        Local policies by name: ``act(xp, layout, params, state, exogenous, noise) -> slots``.
    load_series
        Series of each of the network's own loads.
    outages
        What may fail.
    series
        Values of a series over the year, for plain Python devices; ``None`` where there are none.
    columns
        What the exogenous table holds.
    settings
        Numbers of the environment.
    """

    network: Any
    agents: Sequence[Any]
    vertical: Mapping[str, Any]
    horizontal: Sequence[tuple[Any, Sequence[str]]]
    policies: Mapping[str, Callable[..., Any]]
    load_series: Sequence[str]
    columns: Columns
    settings: Settings
    outages: Sequence[Outage] = ()
    series: Callable[[str], np.ndarray] | None = None

    @property
    def devices(self) -> list[Any]:
        """Agents that are devices, family by family; regulators and capacitors in the network's order."""
        found = [agent for agent in self.agents if hasattr(agent, "role")]
        families = list(dict.fromkeys(agent.kernel for agent in found))
        shunts = list(self.network.shunts.name)

        def place(agent: Any) -> tuple[int, int]:
            rows: Sequence[int] = ()
            if agent.role == "tap":
                rows = regulators_at(self.network, agent.bus)
            elif agent.role == "cap" and agent.bus in shunts:
                rows = (shunts.index(agent.bus),)
            return families.index(agent.kernel), rows[0] if rows else 0

        return sorted(found, key=place)


class _Meters:
    """Numbering of measurements: metered branches, the source, devices with a meter of their own."""

    def __init__(self, parts: Parts, injecting_units: list[str]):
        self.places = list(dict.fromkeys(agent.bus for agent in parts.devices if agent.role == "meter"))
        network, names = parts.network, parts.network.branches.name
        branches = [place for place in self.places if place != SOURCE and not place.startswith(UNIT)]
        for place in branches:
            if not phases.branch_rows(network, place):
                raise NetworkError(f'no branch "{place}" to meter; {nearest(place, names)}')
        units = [place.removeprefix(UNIT) for place in self.places if place.startswith(UNIT)]
        self.branches = tuple(phases.branch_rows(network, place) for place in branches)
        self.units = np.array([injecting_units.index(unit) for unit in units], dtype=int)
        self.names = [*branches, "source", *units]
        self.rows = {name: row for row, name in enumerate([*branches, SOURCE, *(UNIT + unit for unit in units)])}

    def with_power(self, agents: Sequence[Any]) -> dict[str, list[str]]:
        """Feature owners of each metering agent's measurement."""
        return {agent.id: [self.names[self.rows[agent.bus]]] for agent in agents if agent.role == "meter"}


class _SlotBook:
    """Collects slots while families and markets are numbered."""

    def __init__(self, ownership: Ownership):
        self.ownership = ownership
        self.actions: dict[str, list[tuple[str, Entry]]] = {actor: [] for actor in ownership.actors}
        self.decider: list[tuple[str, str, int]] = []  # actor or "", local policy or "", position in the action
        self.ranges: list[tuple[float, float]] = []
        self.rest: list[float] = []  # held before the first decision

    def add(self, owner: str, entry: Entry, actor: str | None, policy: str, idle: float | None = None) -> int:
        """Number of a new slot that an actor or a local policy fills; before that it holds `idle`, or its middle."""
        position = 0
        if actor is not None:
            position = len(self.actions[actor])
            self.actions[actor].append((owner, entry))
        self.decider.append((actor or "", policy if actor is None else "", position))
        self.ranges.append((entry.low, entry.high))
        span = entry.high - entry.low
        rest = 0.0 if idle is None or span <= 0.0 else 2.0 * (idle - entry.low) / span - 1.0
        self.rest.append(min(max(rest, -1.0), 1.0))
        return len(self.decider) - 1

    def constant(self, value: float) -> int:
        """Number of a new slot that nobody fills."""
        self.decider.append(("", "", 0))
        self.ranges.append((value, value))
        self.rest.append(0.0)
        return len(self.decider) - 1


def assemble(parts: Parts, solver: Any, *, tol_pu: float = 1e-8, max_iter: int = 200) -> Layout:
    """Make the layout of an environment.

    Parameters
    ----------
    solver
        A power-flow method module with ``plan`` and ``solve``.

    Raises
    ------
    NetworkError
        If a device names a bus, branch, regulator or shunt that does not exist, or a regulator has no device.
    """
    ownership = Ownership(parts.agents, parts.vertical, parts.horizontal)
    devices = parts.devices
    injecting_units = [agent.id for agent in devices if agent.role == "injection"]
    meters = _Meters(parts, injecting_units)
    book = _SlotBook(ownership)
    signals = _signal_slots(parts, book)
    families = tuple(_families(parts, ownership, meters, book, signals))
    python = _python_devices(parts, ownership, book, families)
    markets = tuple(_market(parts, ownership, meters, book, devices, *item) for item in parts.horizontal)
    injecting = tuple(i for i, family in enumerate(families) if family.kernel.role == "injection")
    network = parts.network
    load_series, (load_p, load_q, *by_voltage) = _loads(parts)
    inject = _injections(network, [agent for agent in devices if agent.role == "injection"], load_p.shape[1])
    tap_units = [agent for agent in devices if agent.role == "tap"]
    driven = [_regulators(network, agent) for agent in tap_units]
    leads = [_lead(network, agent, rows) for agent, rows in zip(tap_units, driven, strict=True)]
    moved = [row for rows in driven for row in rows]
    capacitors = [row for family in families if family.kernel.role == "cap" for row in family.place.tolist()]
    relay_bus = network.branches.to_bus[network.regulators.branch[leads]]
    moves = _switching(parts, ownership, families, relay_bus)
    drawing = np.flatnonzero(np.any([table != 0.0 for table in (load_p, load_q, *by_voltage)], axis=(0, 1)))
    plan = solver.plan(
        network,
        tol_pu=tol_pu,
        max_iter=max_iter,
        meters=tuple(rows if phases.three_phase(network) else rows[0] for rows in meters.branches),
        buses=np.union1d(inject.target, drawing),
        topologies=() if moves is None else moves.topologies,
        forming=() if moves is None else moves.forming,
    )
    renewable_series, renewable_to_account = _renewables(families, len(ownership.accounts))
    total = load_p + sum(by_voltage[::2])
    accounts = _ledger(parts, ownership, families, markets, load_series, total, renewable_to_account)
    islands = None if moves is None else moves.islands
    forms = [] if islands is None else [injecting_units[k] for k in islands.unit]
    slots = _slots(parts, book, signals, python)
    view = look.view(parts, ownership, meters.names, len(meters.branches), families, markets, signals, accounts, forms)
    return Layout(
        settings=parts.settings,
        columns=parts.columns,
        accounts=tuple(ownership.accounts),
        actors=tuple(ownership.actors),
        action_entries=tuple(tuple(book.actions[actor]) for actor in ownership.actors),
        families=families,
        injecting=injecting,
        taps=_only(families, "tap", len(network.regulators.branch), moved, "regulator"),
        caps=_only(families, "cap", int(np.sum(network.shunts.switchable)), capacitors, "switchable shunt"),
        upstream=upstream(network)[leads][:, leads],
        relay_bus=relay_bus,
        inject=inject,
        load_series=load_series,
        load_p_mw=load_p,
        load_q_mvar=load_q,
        renewable_series=renewable_series,
        slots=slots,
        markets=markets,
        ledger=accounts,
        view=view,
        unit_meter=meters.units,
        meters=tuple(meters.names),
        v_start=_unloaded(network),
        solve=lambda load, control, start: solver.solve(plan, load, control, start),
        relays=relays_of(network, leads, [unit.settings for unit in tap_units]),
        tap_of=_unit_of(driven),
        load_by_voltage=tuple(by_voltage),
        three_phase=_three_phase_nodes(network),
        switching=moves,
        by_rows=solver.RowSolver(plan) if moves is None and hasattr(solver, "RowSolver") else None,
        python=None if python is None else python.attach(slots),
    )


def _signal_slots(parts: Parts, book: _SlotBook) -> dict[str, tuple[int, Entry]]:
    """Slots of coordinators that choose a price signal."""
    found = {}
    for agent in parts.agents:
        protocol = parts.vertical.get(agent.id)
        if protocol is None or agent.policy == "centralized":
            continue
        for entry in protocol.action_entries():
            found[agent.id] = book.add(agent.id, entry, book.ownership.acts(agent.id), agent.policy), entry
    return found


def _families(
    parts: Parts, ownership: Ownership, meters: _Meters, book: _SlotBook, signals: Mapping[str, Any]
) -> list[Family]:
    found = []
    devices, meter_of = parts.devices, _meter_of(ownership, parts.devices)
    seen_after = {id: parts.columns.width + i for i, id in enumerate(signals)}
    for kernel in dict.fromkeys(agent.kernel for agent in devices):
        units = [agent for agent in devices if agent.kernel is kernel]
        rows = [agent.params() for agent in units]
        params = kernel.Params(*(np.array(column, dtype=float) for column in zip(*rows, strict=True)))
        plain = units[0].facts is not None
        slot, free, idle = (_answer_slots if plain else _command_slots)(kernel, units, ownership, book)
        account = [ownership.account(agent) for agent in units]
        tariff = [_tariff(parts, meter_of.get(payer)) for payer in account]
        found.append(
            Family(
                kernel=kernel,
                ids=tuple(agent.id for agent in units),
                params=params,
                place=np.array([_place(parts.network, meters, agent) for agent in units], dtype=int),
                account=np.array(account, dtype=int),
                sources=_sources(parts, meters, kernel, units),
                slot=slot,
                free=free,
                idle=idle,
                price=np.array([_price_column(parts, agent, seen_after) for agent in units], dtype=int),
                retail=np.array([retail for retail, _ in tariff], dtype=int),
                feed_in=np.array([feed_in for _, feed_in in tariff], dtype=int),
            )
        )
    return found


def _command_slots(
    kernel: Any, units: Sequence[Any], ownership: Ownership, book: _SlotBook
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray | None, ...]]:
    """Slots of every command field, which of them are free, and the constants of fields that nobody chooses."""
    fields = kernel.Command._fields
    slot = np.zeros((len(units), len(fields)), dtype=int)
    free = np.zeros(slot.shape, dtype=bool)
    idle: list[np.ndarray | None] = []
    entries = [agent.action_entries() for agent in units]
    for j, name in enumerate(fields):
        constants = np.array([getattr(agent.idle(), name) for agent in units], dtype=float)
        free[:, j] = [name in entry for entry in entries]
        idle.append(None if free[:, j].any() else constants)
        if not free[:, j].any():
            continue
        for i, agent in enumerate(units):
            if free[i, j]:
                slot[i, j] = book.add(agent.id, entries[i][name], *ownership.decider(agent), constants[i])
            else:
                slot[i, j] = book.constant(constants[i])
    return slot, free, tuple(idle)


def _answer_slots(
    kernel: Any, units: Sequence[Any], ownership: Ownership, book: _SlotBook
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray | None, ...]]:
    """Slots for the answers of plain Python devices, which nobody else may choose."""
    fields = kernel.Command._fields
    entry = Entry("answer", "1", -1.0, 1.0)  # a slot that is its own physical value
    slot = np.array([[book.add(agent.id, entry, None, _PYTHON) for _ in fields] for agent in units], dtype=int)
    return slot, np.zeros(slot.shape, dtype=bool), (None,) * len(fields)


def _python_devices(
    parts: Parts, ownership: Ownership, book: _SlotBook, families: Sequence[Family]
) -> PythonDevices | None:
    """The plain Python devices with slots for their actions; ``None`` where there are none."""
    by_id = {agent.id: agent for agent in parts.devices}
    numbered = [(family, row, id) for family in families for row, id in enumerate(family.ids)]
    found = [(n, *item, by_id[item[2]]) for n, item in enumerate(numbered) if by_id[item[2]].facts is not None]
    if not found or parts.series is None:
        return None
    actions = [
        [
            book.add(agent.id, entry, *ownership.decider(agent), idle)
            for entry, idle in zip(agent.action_entries().values(), agent.action.idle().tolist(), strict=True)
        ]
        for *_, agent in found
    ]
    width = parts.columns.width
    told = [family.price[row] if family.price[row] >= width else family.retail[row] for _, family, row, *_ in found]
    around = Surroundings(
        place=np.array([family.place[row] for _, family, row, *_ in found], dtype=int),
        seen=np.array([family.price[row] for _, family, row, *_ in found], dtype=int),
        paid=np.array([at if agent.own_bill else -1 for at, (*_, agent) in zip(told, found, strict=True)], dtype=int),
        draw=np.array([number for number, *_ in found], dtype=int),
    )
    return PythonDevices(
        [agent for *_, agent in found],
        actions,
        [family.slot[row] for _, family, row, *_ in found],
        around,
        book.constant(0.0),
        parts.settings.episode_length,
        parts.series,
    )


def _place(network: Any, meters: _Meters, agent: Any) -> int:
    if agent.role == "meter":
        return meters.rows[agent.bus]
    if agent.role == "injection":
        return phases.terminals(network, agent)[0]
    if agent.role == "tap":
        return _regulators(network, agent)[0]
    if agent.role == "switch":
        return _switched(network, agent)[0]
    names = [name for name, free in zip(network.shunts.name, network.shunts.switchable, strict=True) if free]
    if agent.bus not in names:
        raise NetworkError(f'agent "{agent.id}": no switchable shunt "{agent.bus}"; {nearest(agent.bus, names)}')
    return names.index(agent.bus)


def _switched(network: Any, agent: Any) -> tuple[int, ...]:
    """Rows of ``network.branches`` that a switch opens and closes."""
    rows = phases.branch_rows(network, agent.bus)
    if not rows:
        raise NetworkError(f'agent "{agent.id}": no branch "{agent.bus}"; {nearest(agent.bus, network.branches.name)}')
    return rows


def _switching(
    parts: Parts, ownership: Ownership, families: Sequence[Family], relay_bus: np.ndarray
) -> Switching | None:
    """Topologies that the switches and outages make."""
    switches = [agent for agent in parts.devices if agent.role == "switch"]
    found = [i for i, family in enumerate(families) if family.kernel.role == "switch"]
    if len(found) > 1:
        raise NetworkError(f"switches of {len(found)} device types in one environment; use one type")
    nodes = phases.node_of_place(parts.network)
    at = [nodes[family.place] if family.kernel.role == "injection" else np.full(family.size, -1) for family in families]
    accounts = len(ownership.accounts)
    owner = ownership.by_area(parts.network.buses.area)[nodes]
    return switching(
        parts.network,
        [_switched(parts.network, agent) for agent in switches],
        found[0] if found else None,
        parts.outages,
        at,
        relay_bus,
        np.where(owner == SHARED, accounts, owner),
        accounts,
        _forming(parts, families),
    )


def _forming(parts: Parts, families: Sequence[Family]) -> list[FormingUnit]:
    """Units that can form the grid of an island."""
    agents = {agent.id: agent for agent in parts.devices}
    return [
        FormingUnit(i, row, phases.terminals(parts.network, agents[id]), agents[id].forming_mva())
        for i, family in enumerate(families)
        for row, id in enumerate(family.ids)
        if family.kernel.role == "injection" and agents[id].forming_mva() > 0.0
    ]


def _regulators(network: Any, agent: Any) -> tuple[int, ...]:
    """Rows of ``network.regulators`` that a device moves."""
    rows = regulators_at(network, agent.bus)
    if not rows:
        names = [network.branches.name[i] for i in network.regulators.branch]
        raise NetworkError(f'agent "{agent.id}": no regulator "{agent.bus}"; {nearest(agent.bus, names)}')
    return rows


def _lead(network: Any, agent: Any, rows: Sequence[int]) -> int:
    """Row whose phase the relay of a device reads: the one that it names, else the first."""
    if agent.phases is None or not phases.three_phase(network):
        return rows[0]
    here = {network.buses.phase[network.branches.to_bus[network.regulators.branch[row]]]: row for row in rows}
    if agent.phases not in here:
        raise NetworkError(
            f'agent "{agent.id}": regulator "{agent.bus}" has no phase {agent.phases} to read; '
            f"{phases.has_phases(''.join(here))}"
        )
    return here[agent.phases]


def _unit_of(driven: Sequence[Sequence[int]]) -> np.ndarray | None:
    """Unit that moves each regulator; ``None`` where every unit moves one."""
    if all(len(rows) == 1 for rows in driven):
        return None
    unit_of = np.empty(sum(map(len, driven)), dtype=int)
    for unit, rows in enumerate(driven):
        unit_of[list(rows)] = unit
    return unit_of


def _sources(parts: Parts, meters: _Meters, kernel: Any, units: Sequence[Any]) -> tuple[Source, ...]:
    found = []
    for name in kernel.Exogenous._fields:
        if name == "p_branch_mw":
            found.append(Source(name, np.array([meters.rows[agent.bus] for agent in units], dtype=int)))
        elif name == "v_pu":
            at = [phases.terminals(parts.network, agent)[0] for agent in units]
            found.append(Source(name, np.array(at, dtype=int)))
        else:
            index = [parts.columns.column(agent.series()[name]) for agent in units]
            found.append(Source("series", np.array(index, dtype=int)))
    return tuple(found)


def _meter_of(ownership: Ownership, devices: Sequence[Any]) -> dict[int, Any]:
    """First meter of each account that has one."""
    meters = [agent for agent in devices if agent.role == "meter"]
    return {ownership.account(meter): meter for meter in reversed(meters)}


def _tariff(parts: Parts, meter: Any) -> tuple[int, int]:
    """Tariff columns at a meter, or those of an account without one."""
    series = meter.series() if meter else {}
    names = (series.get(name, name) for name in ("retail_per_mwh", "feed_in_per_mwh"))
    retail, feed_in = (parts.columns.column(name) for name in names)
    return retail, feed_in


def _price_column(parts: Parts, agent: Any, seen_after: Mapping[str, int]) -> int:
    """Column of the price a unit sees, among the exogenous row and the signals after it."""
    above = (seen_after[ancestor.id] for ancestor in agent.ancestors() if ancestor.id in seen_after)
    return next(above, parts.columns.price)


def _market(
    parts: Parts,
    ownership: Ownership,
    meters: _Meters,
    book: _SlotBook,
    devices: Sequence[Any],
    protocol: Any,
    member_ids: Sequence[str],
) -> Market:
    agents = {agent.id: agent for agent in parts.agents}
    member_of = {ownership.account_of(id): i for i, id in enumerate(member_ids)}
    members = np.array(list(member_of), dtype=int)
    entries = protocol.action_entries()
    slot = np.zeros((len(members), len(entries)), dtype=int)
    for i, id in enumerate(member_ids):
        slot[i] = [book.add(id, entry, ownership.acts(id), agents[id].policy) for entry in entries]
    target = np.full(len(meters.names), -1)
    tariff = [(parts.columns.column("retail_per_mwh"), parts.columns.column("feed_in_per_mwh"))] * len(members)
    meter_of = _meter_of(ownership, devices)
    for agent in devices:
        account = ownership.account(agent)
        if agent.role == "meter" and account in member_of:
            target[meters.rows[agent.bus]] = member_of[account]
            tariff[member_of[account]] = _tariff(parts, meter_of[account])
    return Market(
        protocol=protocol,
        members=members,
        slot=slot,
        retail=np.array([retail for retail, _ in tariff], dtype=int),
        feed_in=np.array([feed_in for _, feed_in in tariff], dtype=int),
        meter_to_member=SumTo(target, len(members)),
    )


def _injections(network: Any, units: Sequence[Any], places: int) -> SumTo:
    """Sum of unit injections into places, in equal shares where a unit has several phases."""
    at = [phases.terminals(network, unit) for unit in units]
    source = np.repeat(np.arange(len(at)), [len(nodes) for nodes in at])
    target = np.array([node for nodes in at for node in nodes], dtype=int)
    weight = np.array([1.0 / len(nodes) for nodes in at for _ in nodes])
    return SumTo(target, places, weight, source)


def _loads(parts: Parts) -> tuple[np.ndarray, list[np.ndarray]]:
    """Series of the network's own loads, and their power at 1 pu by series and place.

    Active and reactive: of constant power, and where any follows the voltage, of constant current and impedance.
    """
    names = list(dict.fromkeys(parts.load_series))
    loads, places = parts.network.loads, len(phases.node_of_place(parts.network))
    rows = np.array([names.index(name) for name in parts.load_series], dtype=int)
    powers = [loads.p_mw, loads.q_mvar]
    if any(np.any(share) for share in (loads.i_share_p, loads.i_share_q, loads.z_share_p, loads.z_share_q)):
        current, impedance = (loads.i_share_p, loads.i_share_q), (loads.z_share_p, loads.z_share_q)
        rest = [power * (1 - i - z) for power, i, z in zip(powers, current, impedance, strict=True)]
        shares = [power * share for part in (current, impedance) for power, share in zip(powers, part, strict=True)]
        powers = [*rest, *shares]
    tables = [np.zeros((len(names), places)) for _ in powers]
    for table, power in zip(tables, powers, strict=True):
        np.add.at(table, (rows, loads.bus), power)
    return np.array([parts.columns.column(name) for name in names], dtype=int), tables


def _three_phase_nodes(network: Any) -> np.ndarray:
    return three_phase_buses(network.buses)[1] if phases.three_phase(network) else np.zeros((0, 3), dtype=int)


def _renewables(families: Sequence[Family], accounts: int) -> tuple[np.ndarray, np.ndarray]:
    """Series that renewables follow, and their power at a series value of 1 by series and account, the shared last."""
    found: list[tuple[int, int, float]] = []
    for family in families:
        fields = family.kernel.Exogenous._fields
        if "available_pu" in fields:
            place = family.sources[fields.index("available_pu")].place
            owners = np.where(family.account == SHARED, accounts, family.account)
            found += zip(place.tolist(), owners.tolist(), family.params.p_max_mw.tolist(), strict=True)
    series = sorted({column for column, _, _ in found})
    power = np.zeros((len(series), accounts + 1))
    for column, owner, p_mw in found:
        power[series.index(column), owner] += p_mw
    return np.array(series, dtype=int), power


def _only(families: Sequence[Family], role: str, needed: int, controlled: Sequence[int], what: str) -> int | None:
    """Index of the one family that holds every regulator or switchable shunt, each controlled by one device."""
    found = [i for i, family in enumerate(families) if family.kernel.role == role]
    if len(controlled) != needed or len(set(controlled)) != needed or len(found) > 1:
        units = sum(families[i].size for i in found)
        raise NetworkError(
            f"the network has {needed} {what}s but {units} devices in {len(found)} families control them"
        )
    return found[0] if found else None


def _unloaded(network: Any) -> np.ndarray:
    """Bus voltages without load at the network's own taps [pu], complex."""
    compiled = compile_network(network, generators=True)
    return network.source_v_pu * no_load_voltages(compiled)[compiled.node]


def _slots(
    parts: Parts, book: _SlotBook, signals: Mapping[str, tuple[int, Entry]], python: PythonDevices | None
) -> Slots:
    actors = book.ownership.actors
    size = max(len(book.decider), 1)
    width = max((len(entries) for entries in book.actions.values()), default=0)
    actor = np.full(size, -1)
    given = np.zeros(size, dtype=int)
    names = np.array([""] * size, dtype=object)
    for i, (who, policy, position) in enumerate(book.decider):
        names[i] = policy
        if who:
            actor[i] = actors.index(who)
            given[i] = actor[i] * width + position
    by_id = {agent.id: agent for agent in parts.agents}
    tick_s = parts.settings.dt_h * 3600.0
    local = tuple((name, names == name, parts.policies[name]) for name in sorted(set(names) - {"", _PYTHON}))
    if python is not None:  # last, for plain devices do what everybody else has chosen
        local += ((_PYTHON, names == _PYTHON, python.act),)
    ranges = np.array(book.ranges or [(0.0, 0.0)], dtype=float)
    return Slots(
        size=size,
        low=ranges[:, 0],
        half_span=0.5 * (ranges[:, 1] - ranges[:, 0]),
        rest=np.array(book.rest or [0.0]),
        given=given,
        local=local,
        signal=np.array([slot for slot, _ in signals.values()], dtype=int),
        interval=np.array([round((by_id[id].interval_s or tick_s) / tick_s) for id in actors], dtype=int),
        offset=np.array([round(by_id[id].offset_s / tick_s) for id in actors], dtype=int),
        actor=actor,
    )


def _ledger(
    parts: Parts,
    ownership: Ownership,
    families: Sequence[Family],
    markets: Sequence[Market],
    load_series: np.ndarray,
    load_p_mw: np.ndarray,
    renewable_to_account: np.ndarray,
) -> Ledger:
    accounts = len(ownership.accounts)
    bus_account = ownership.by_area(parts.network.buses.area)
    branch_account = bus_account[parts.network.branches.to_bus]
    settling = ledger.settling_families(families)
    retail = [families[i].retail for i in settling]
    settle_columns = np.unique(np.concatenate([np.zeros(0, dtype=int), *retail]))
    money = ledger.money_columns(families, markets, settling)
    three_phase = _three_phase_nodes(parts.network)
    costs = ledger.cost_columns(families, bus_account, branch_account, accounts, three_phase)
    core = (*CORE_COSTS, *((UNBALANCE, f"shared_{UNBALANCE}") if len(three_phase) else ()))
    money_names = tuple(dict.fromkeys(name for name, _ in money)) or ("grid",)
    cost_names = tuple(dict.fromkeys([*core, *(name for name, _ in costs)]))
    own = np.where(bus_account == SHARED, accounts, bus_account)[phases.node_of_place(parts.network)]
    load_to_account = np.zeros((len(load_series), accounts + 1))
    np.add.at(load_to_account.T, own, load_p_mw.T)
    return Ledger(
        money_names=money_names,
        cost_names=cost_names,
        money=SumTo(ledger.money_targets(money, money_names, accounts), (accounts + 1) * len(money_names)),
        costs=SumTo(ledger.cost_targets(costs, cost_names, accounts), (accounts + 1) * len(cost_names)),
        load_to_account=load_to_account,
        settling=tuple(settling),
        settle_at=tuple(np.searchsorted(settle_columns, columns) for columns in retail),
        settle_columns=settle_columns,
        renewable_to_account=renewable_to_account,
    )
