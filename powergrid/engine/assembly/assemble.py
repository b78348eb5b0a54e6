"""From objects to a :class:`~powergrid.engine.layout.Layout`, once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from powergrid.agents.device_agent import Refill
from powergrid.coordination.channels import Channels, Replacements
from powergrid.coordination.layers import Layer
from powergrid.core.errors import NetworkError, NetworkWarning
from powergrid.engine import ledger
from powergrid.engine.assembly import curves, layers, observation_layout
from powergrid.engine.assembly.availability import availability
from powergrid.engine.assembly.families import (
    families_of,
    leading_row,
    python_devices,
    regulator_rows,
    switched_rows,
    unit_of_rows,
)
from powergrid.engine.assembly.metering import SOURCE, UNIT
from powergrid.engine.assembly.objectives import objectives_of
from powergrid.engine.assembly.ownership import Ownership
from powergrid.engine.assembly.parts import Meters, Parts, SlotBook
from powergrid.engine.choices import Choices, choices_of
from powergrid.engine.followers import Followers, Given, Unit
from powergrid.engine.gather import SumTo
from powergrid.engine.islands import Islands
from powergrid.engine.layout import (
    CORE_COSTS,
    SHARED,
    UNBALANCE,
    Coordination,
    Family,
    Grid,
    Layout,
    Ledger,
    Measurements,
    Policies,
    Regulators,
    Slots,
)
from powergrid.engine.switching import FormingUnit, Switching, switching
from powergrid.networks import terminals
from powergrid.networks.regulation import relays_of, upstream
from powergrid.powerflow.compile import compile_network, no_load_voltages
from powergrid.powerflow.sensitivity import voltage_sensitivity
from powergrid.powerflow.sequence import three_phase_buses

__all__ = ["SOURCE", "UNIT", "Parts", "assemble"]


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
    meters = Meters(parts, injecting_units)
    book = SlotBook(ownership)
    channels = Channels()
    opened = layers.open_vertical(parts, book, channels)
    prices = channels.standing_for("price_per_mwh")
    families = tuple(families_of(parts, ownership, meters, book, prices))
    python = python_devices(parts, ownership, book, families)
    opened += layers.open_horizontal(parts, book, channels)
    absent = availability(parts, ownership, families, channels)
    injectors = [agent for agent in devices if agent.role == "injection"]
    protocols = layers.close(parts, ownership, meters, injectors, families, opened, prices, absent)
    injecting = tuple(i for i, family in enumerate(families) if family.kernel.role == "injection")
    network = parts.network
    load_series, (load_p, load_q, *by_voltage) = _loads(parts)
    inject = _injections(network, injectors, load_p.shape[1])
    tap_units = [agent for agent in devices if agent.role == "tap"]
    driven = [regulator_rows(network, agent) for agent in tap_units]
    leads = [leading_row(network, agent, rows) for agent, rows in zip(tap_units, driven, strict=True)]
    moved = [row for rows in driven for row in rows]
    capacitors = [row for family in families if family.kernel.role == "cap" for row in family.place.tolist()]
    relay_bus = network.branches.to_bus[network.regulators.branch[leads]]
    shifts = channels.standing_for("frequency_offset_hz")
    moves = _shifted(_switching(parts, ownership, families, relay_bus), injectors, shifts)
    drawing = np.flatnonzero(np.any([table != 0.0 for table in (load_p, load_q, *by_voltage)], axis=(0, 1)))
    plan = solver.plan(
        network,
        tol_pu=tol_pu,
        max_iter=max_iter,
        meters=tuple(rows if network.is_three_phase else rows[0] for rows in meters.branches),
        buses=np.union1d(inject.target, drawing),
        topologies=() if moves is None else moves.topologies,
        forming=() if moves is None else moves.forming,
    )
    renewables = _renewables(families, len(ownership.accounts))
    total = load_p + sum(by_voltage[::2])
    accounts = _ledger(parts, ownership, meters, families, protocols, load_series, total, renewables)
    islands = None if moves is None else moves.islands
    _warn_of_no_island(opened, injectors, islands)
    forms = [] if islands is None else [injecting_units[k] for k in islands.unit]
    slots, policy_of = _slots(parts, book), _policies(parts, book)
    taps = _only(families, "tap", len(network.regulators.branch), moved, "regulator")

    @cache
    def choices(policy: Any = None) -> Choices:
        """What fills the slots where `policy` decides for all who act from outside."""
        corrected = (slots.actor >= 0) & (slots.actor < len(ownership.actors)) & (policy is None)
        fills = lambda slot: policy_of(slot, parts.residual if corrected[slot] else policy)  # noqa: E731
        return choices_of(families, protocols, slots.rest, taps, fills, corrected)

    given = curves.given(opened, channels.standing_for("volt_var_shift"))
    followers = _followers(parts, policy_of, families, injecting, slots, 10.0 * tol_pu, islands is not None, given)
    curves.check(opened, followers(), injectors, families, book.decider)
    curves.check_corrected(parts.residual, followers, injecting_units)
    view = observation_layout.view(parts, ownership, meters, families, channels.columns, accounts, forms)
    ordering = np.zeros(slots.size, bool)
    ordering[[slot for layer in protocols for order in layer.orders for slot in order]] = True
    return Layout(
        settings=parts.settings,
        columns=parts.columns,
        accounts=tuple(ownership.accounts),
        actors=tuple(ownership.actors),
        python_agents=tuple(ownership.python_agents),
        action_entries=tuple(map(tuple, book.actions.values())),
        families=families,
        injecting=injecting,
        taps=taps,
        caps=_only(families, "cap", int(np.sum(network.shunts.switchable)), capacitors, "switchable shunt"),
        python=None if python is None else python.attach(slots),
        availability=absent,
        grid=Grid(
            v_start=_unloaded(network),
            solve=lambda load, control, start: solver.solve(plan, load, control, start),
            by_rows=solver.RowSolver(plan) if hasattr(solver, "RowSolver") else None,
            inject=inject,
            load_series=load_series,
            load_p_mw=load_p,
            load_q_mvar=load_q,
            load_by_voltage=tuple(by_voltage),
            three_phase=_three_phase_nodes(network),
            switching=moves,
        ),
        regulators=Regulators(
            upstream=upstream(network)[leads][:, leads],
            relay_bus=relay_bus,
            relays=relays_of(network, leads, [unit.settings for unit in tap_units]),
            tap_of=unit_of_rows(driven),
        ),
        meters=Measurements(meters.names, meters.units, meters.net, meters.zones),
        slots=slots,
        coordination=Coordination(protocols, tuple(channels.columns), ordering),
        policies=Policies(choices, followers, parts.residual),
        ledger=accounts,
        view=view,
    )


def _switching(
    parts: Parts, ownership: Ownership, families: Sequence[Family], relay_bus: np.ndarray
) -> Switching | None:
    """Topologies that the switches and outages make."""
    switches = [agent for agent in parts.devices if agent.role == "switch"]
    found = [i for i, family in enumerate(families) if family.kernel.role == "switch"]
    if len(found) > 1:
        raise NetworkError(f"switches of {len(found)} device types in one environment; use one type")
    nodes = terminals.node_of_place(parts.network)
    at = [nodes[family.place] if family.kernel.role == "injection" else np.full(family.size, -1) for family in families]
    accounts = len(ownership.accounts)
    owner = ownership.by_area(parts.network.buses.area)[nodes]
    return switching(
        parts.network,
        [switched_rows(parts.network, agent) for agent in switches],
        found[0] if found else None,
        parts.outages,
        at,
        relay_bus,
        np.where(owner == SHARED, accounts, owner),
        accounts,
        _forming(parts, families),
    )


def _shifted(moves: Switching | None, injectors: Sequence[Any], shifts: Replacements) -> Switching | None:
    """The topologies with the signals that shift the frequency set points of units that form grids."""
    if moves is None or moves.islands is None:
        return moves
    columns = np.array([shifts.heard_by(injectors[unit]) for unit in moves.islands.unit], dtype=int)
    return replace(moves, islands=replace(moves.islands, shift=columns))


def _warn_of_no_island(opened: Sequence[layers.Opened], injectors: Sequence[Any], islands: Islands | None) -> None:
    """Say which members of protocols that act in islands are never in one."""
    numbers = [] if islands is None else islands.unit[(islands.island >= 0).any(axis=0)].tolist()
    forms = {injectors[number].id for number in numbers}
    for item in opened:
        below = {agent.id: {agent.id, *(unit.id for unit in agent.descendants())} for agent in item.members}
        never = [id for id, units in below.items() if not units & forms]
        if item.protocol.in_islands and never:
            warnings.warn(item.protocol.without_island(never), NetworkWarning, stacklevel=2)


def _forming(parts: Parts, families: Sequence[Family]) -> list[FormingUnit]:
    """Units that can form the grid of an island."""
    agents = {agent.id: agent for agent in parts.devices}
    return [
        FormingUnit(i, row, terminals.device_nodes(parts.network, agents[id]), agents[id].forming_mva())
        for i, family in enumerate(families)
        for row, id in enumerate(family.ids)
        if family.kernel.role == "injection" and agents[id].forming_mva() > 0.0
    ]


def _injections(network: Any, units: Sequence[Any], places: int) -> SumTo:
    """Sum of unit injections into places, in equal shares where a unit has several phases."""
    at = [terminals.device_nodes(network, unit) for unit in units]
    source = np.repeat(np.arange(len(at)), [len(nodes) for nodes in at])
    target = np.array([node for nodes in at for node in nodes], dtype=int)
    weight = np.array([1.0 / len(nodes) for nodes in at for _ in nodes])
    return SumTo(target, places, weight, source)


def _loads(parts: Parts) -> tuple[np.ndarray, list[np.ndarray]]:
    """Series of the network's own loads, and their power at 1 pu by series and place.

    Active and reactive: of constant power, and where any follows the voltage, of constant current and impedance.
    """
    names = list(dict.fromkeys(parts.load_series))
    loads, places = parts.network.loads, len(terminals.node_of_place(parts.network))
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
    return three_phase_buses(network.buses)[1] if network.is_three_phase else np.zeros((0, 3), dtype=int)


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
    unloaded: np.ndarray = network.source_v_pu * no_load_voltages(compiled)[compiled.node]
    return unloaded


def _slots(parts: Parts, book: SlotBook) -> Slots:
    actors = {id: row for row, id in enumerate(book.actions)}
    size = max(len(book.decider), 1)
    width = max((len(entries) for entries in book.actions.values()), default=0)
    actor = np.full(size, -1)
    given = np.zeros(size, dtype=int)
    for i, (by, outside, _, position) in enumerate(book.decider):
        if outside:
            actor[i] = actors[by]
            given[i] = actor[i] * width + position
    turns = {**{agent.id: layers.turn_of(parts, agent) for agent in parts.agents}, "": (1, 0)}
    slot_turns = np.array([turns[by] for by, *_ in book.decider] or [turns[""]])
    ranges = np.array(book.ranges or [(0.0, 0.0)], dtype=float)
    return Slots(
        size=size,
        low=ranges[:, 0],
        half_span=0.5 * (ranges[:, 1] - ranges[:, 0]),
        rest=np.array(book.rest or [0.0]),
        given=given,
        interval=np.array([turns[id][0] for id in actors], dtype=int),
        offset=np.array([turns[id][1] for id in actors], dtype=int),
        actor=actor,
        slot_interval=slot_turns[:, 0],
        slot_offset=slot_turns[:, 1],
        by=tuple(by for by, *_ in book.decider) or ("",),
    )


def _policies(parts: Parts, book: SlotBook) -> Callable[[int, Any], Any]:
    """Policy that decides a slot where another decides for all who act from outside; ``None`` where there is none."""
    local = [parts.policies.get(policy) for *_, policy, _ in book.decider] or [None]
    outside = [acts for _, acts, *_ in book.decider] or [False]

    def policy_of(slot: int, policy: Any) -> Any:
        return policy if outside[slot] else local[slot]

    return policy_of


def _followers(
    parts: Parts,
    policy_of: Callable[[int, Any], Any],
    families: Sequence[Family],
    injecting: Sequence[int],
    slots: Slots,
    rest_pu: float,
    islands: bool,
    given: Mapping[str, Given],
) -> Followers:
    """Units that may follow their voltage: all that inject, but those that form the grid of an island hold theirs."""
    agents = {agent.id: agent for agent in parts.devices}
    placed = [(i, row, agents[id]) for i in injecting for row, id in enumerate(families[i].ids)]
    units = [
        Unit(
            i,
            row,
            number,
            terminals.device_nodes(parts.network, agent),
            agent.volt_var_curve(),
            given.get(agent.id, Given()),
        )
        for number, (i, row, agent) in enumerate(placed)
        if not (islands and agent.forming_mva() > 0.0)
    ]
    network = parts.network
    return Followers(families, slots, units, policy_of, lambda at: voltage_sensitivity(network, at), rest_pu)


def _ledger(
    parts: Parts,
    ownership: Ownership,
    meters: Meters,
    families: Sequence[Family],
    protocols: Sequence[Layer],
    load_series: np.ndarray,
    load_p_mw: np.ndarray,
    renewables: tuple[np.ndarray, np.ndarray],
) -> Ledger:
    accounts = len(ownership.accounts)
    bus_account = ownership.by_area(parts.network.buses.area)
    branch_account = bus_account[parts.network.branches.to_bus]
    settling = ledger.settling_families(families)
    settle_columns, refills, settle_at = _settlement(parts, [families[i] for i in settling])
    money = ledger.money_columns(families, protocols, settling)
    three_phase = _three_phase_nodes(parts.network)
    costs = ledger.cost_columns(families, bus_account, branch_account, accounts, three_phase, protocols)
    core = (*CORE_COSTS, *((UNBALANCE, f"shared_{UNBALANCE}") if len(three_phase) else ()))
    money_names = tuple(dict.fromkeys(charge.name for block in money for charge in block)) or ("grid",)
    cost_names = tuple(dict.fromkeys([*core, *(charge.name for block in costs for charge in block)]))
    at = terminals.node_of_place(parts.network)
    loads = [np.zeros((len(load_series), accounts + 1)) for _ in range(2)]
    for table, owner in zip(loads, (meters.account_of_node(ownership), bus_account), strict=True):
        np.add.at(table.T, np.where(owner == SHARED, accounts, owner)[at], load_p_mw.T)
    return Ledger(
        money_names=money_names,
        cost_names=cost_names,
        money_blocks=ledger.blocks_of(money),
        cost_blocks=ledger.blocks_of(costs),
        money=SumTo(ledger.money_targets(money, money_names, accounts), (accounts + 1) * len(money_names)),
        costs=SumTo(ledger.cost_targets(costs, cost_names, accounts), (accounts + 1) * len(cost_names)),
        transfers=np.isin(money_names, sorted(ledger.transfer_names(families, protocols))),
        load_to_account=loads[0],
        unserved_to_account=loads[1],
        sharing=ownership.sharing,
        objective=objectives_of(parts.agents, ownership.accounts, [*ownership.actors, *ownership.python_agents]),
        settling=tuple(settling),
        settle_at=settle_at,
        settle_columns=settle_columns,
        settle_refill=refills,
        renewable_series=renewables[0],
        renewable_to_account=renewables[1],
    )


def _settlement(
    parts: Parts, settling: Sequence[Family]
) -> tuple[np.ndarray, tuple[Refill, ...], tuple[np.ndarray, ...]]:
    """Settlement prices, each once: retail series and how one refills; and the place of each unit's among them.

    Units whose worth follows no price of energy point at the first.
    """
    agents = {agent.id: agent for agent in parts.devices}
    keys = [
        [(int(retail), _whole_hours(agents[id].refill())) for id, retail in zip(f.ids, f.retail, strict=True)]
        for f in settling
    ]
    found = sorted({(column, refill) for family in keys for column, refill in family if refill is not None})
    if not found and keys:
        found = [(keys[0][0][0], Refill())]
    places = tuple(np.array([found.index(key) if key in found else 0 for key in family], dtype=int) for family in keys)
    return np.array([column for column, _ in found], dtype=int), tuple(refill for _, refill in found), places


def _whole_hours(refill: Refill | None) -> Refill | None:
    """Hours up to whole ones, at least one and no more than there are."""
    if refill is None:
        return None
    within = min(max(math.ceil(refill.within_h - 1e-9), 1), 24)
    return Refill(min(max(math.ceil(refill.hours - 1e-9), 1), within), refill.efficiency, within)
