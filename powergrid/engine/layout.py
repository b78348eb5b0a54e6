"""Index arrays and parameters that turn objects into one step over arrays.

A :class:`Layout` is made once from a network, agents and protocols, by ``powergrid.engine.assembly``, and never
changes. Index arrays are NumPy constants on every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import Refill
from powergrid.coordination.channels import Column
from powergrid.coordination.layers import Layer
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Control, Entry, Flow, NodeLoad
from powergrid.engine import formulas
from powergrid.engine.assembly.metering import Metering
from powergrid.engine.availability import Absences, Availability
from powergrid.engine.blocks import Blocks, CostColumns, MoneyColumns
from powergrid.engine.gather import SumTo
from powergrid.engine.islands import Islands
from powergrid.engine.switching import Switching
from powergrid.engine.view import View
from powergrid.networks.regulation import Relays

SHARED = -1
"""Account index of what nobody owns: its cost is shared equally by the actors and reported apart."""

DROPPED = -2
"""Account index of a column that belongs to nobody here: a protocol settles its members' meters."""

UTILITY = "utility"
"""Account of what nobody owns where nobody acts."""

CORE_COSTS = ("voltage", "overload", "unserved", "shared_voltage", "shared_overload", "shared_unserved")
"""Constraint columns that every environment has, before those of its devices."""


UNBALANCE = "unbalance"
"""Constraint column of three-phase networks."""


class Settings(NamedTuple):
    """Numbers that hold for a whole environment.

    Attributes
    ----------
    dt_h
        Length of a tick [h].
    episode_length
        Ticks of an episode.
    v_min_pu, v_max_pu
        Voltage band [pu].
    voltage_price, overload_price, unserved_price
        Prices of violations [$/(pu bus h), $/(% h), $/MWh].
    unbalance_max_percent, unbalance_price
        Negative over positive sequence voltage that a three-phase bus may have [%], and the price of more
        [$/(% bus h)].
    terminate_on_divergence
        Whether a diverged power flow ends the episode.
    forecast_rho
        AR(1) coefficient of forecast errors from one hour ahead to the next [1].
    """

    dt_h: float = 0.25
    episode_length: int = 96
    v_min_pu: float = 0.95
    v_max_pu: float = 1.05
    voltage_price: float = 1000.0
    overload_price: float = 10.0
    unserved_price: float = 10_000.0
    unbalance_max_percent: float = 2.0
    unbalance_price: float = 10.0
    terminate_on_divergence: bool = False
    forecast_rho: float = 0.9


class Columns(NamedTuple):
    """What one row of the exogenous table holds, in order: series now, price ahead, other series ahead.

    Attributes
    ----------
    series
        Names of the series.
    price
        Index of the market price among them.
    price_hours
        Number of hourly day-ahead prices that follow.
    ahead
        Series (indices) whose forecasts follow, hour by hour.
    ahead_hours
        Number of forecast hours.
    ahead_noise
        Standard deviation of the relative forecast error of each such series [1].
    bounds
        ``(low, high)`` of each series.
    public
        Series (indices) that every agent observes, beside clock and price.
    """

    series: tuple[str, ...]
    price: int
    price_hours: int
    ahead: tuple[int, ...]
    ahead_hours: int
    ahead_noise: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    public: tuple[int, ...] = ()

    def column(self, name: str) -> int:
        """Index of a series, by full name or by quantity (its first column)."""
        if name in self.series:
            return self.series.index(name)
        return next(i for i, column in enumerate(self.series) if column.split(":")[0] == name)

    @property
    def ahead_start(self) -> int:
        """First column of the forecasts."""
        return len(self.series) + self.price_hours

    @property
    def width(self) -> int:
        """Length of a row."""
        return self.ahead_start + self.ahead_hours * len(self.ahead)


class Source(NamedTuple):
    """Where an exogenous field comes from: ``series``, ``v_pu`` or ``p_branch_mw``, and its column for each unit."""

    kind: str
    place: np.ndarray


@dataclass(frozen=True)
class Family:
    """All units of one device class.

    Attributes
    ----------
    kernel
        The device class, asked only for its static kernels.
    ids
        Unit names.
    params
        Columns ``(n,)``.
    place
        Bus of an injection, regulator row of a tap, shunt row of a capacitor, measurement row of a meter.
    account
        Account of each unit, or :data:`SHARED`.
    sources
        One for each field of ``Exogenous``.
    slot
        Slot of each command field, ``(n, k)``.
    free
        Whether somebody chooses it, ``(n, k)``.
    idle
        Constant value of each command field that nobody chooses for any unit, else ``None``.
    price
        Column of the price each unit sees, among series then signals, ``(n,)``.
    retail, feed_in
        Tariff columns at each unit's meter, ``(n,)``.
    base
        Column of the price that the tariff is made from, ``(n,)``: the market's, in whose place a signal may stand.
        Where a signal stands for the whole tariff it is the signal's own.
    """

    kernel: Any
    ids: tuple[str, ...]
    params: Any
    place: np.ndarray
    account: np.ndarray
    sources: tuple[Source, ...]
    slot: np.ndarray
    free: np.ndarray
    idle: tuple[np.ndarray | None, ...]
    price: np.ndarray
    retail: np.ndarray
    feed_in: np.ndarray
    base: np.ndarray

    @property
    def size(self) -> int:
        """Number of units."""
        return len(self.ids)

    def tariff(self, market: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns of what buying costs and selling earns before signals shift it, where `market` is the market's."""
        whole = (self.base == self.price) & (self.price != market)
        return np.where(whole, self.price, self.retail), np.where(whole, self.price, self.feed_in)

    def on_off(self, units: slice = slice(None)) -> tuple[str, ...]:
        """Fields of the command that choose between off and on, and that somebody chooses for one of the `units`."""
        fields = self.kernel.Command._fields
        return tuple(name for name in self.kernel.on_off if self.free[units, fields.index(name)].any())

    @property
    def paid(self) -> np.ndarray:
        """Measurement that each meter charges for: what it reads less what meters behind it read, ``(n,)``."""
        fields = self.kernel.Exogenous._fields
        return self.sources[fields.index("p_net_mw")].place if "p_net_mw" in fields else self.place


@dataclass(frozen=True)
class Slots:
    """The flat vector of everything that can be chosen, each in [-1, 1].

    Attributes
    ----------
    size
        Its length, at least one.
    low, half_span
        Physical range of each slot, ``(K,)``; a slot that nobody chooses has no span.
    rest
        What each slot holds before the first decision: devices are idle, ``(K,)`` in [-1, 1].
    given
        For each slot, its position in the flattened ``(A, k_max)`` actions; 0 where a local policy decides.
    interval, offset
        Ticks between two decisions and first tick of each actor and Python agent, ``(A,)``.
    actor
        Row of the actor or Python agent that decides each slot, -1 for local policies.
    slot_interval, slot_offset
        Ticks between two decisions on each slot and the first of them, ``(K,)``: those of the agent that decides,
        whatever its policy.
    by
        Agent that decides each slot, empty for none.
    """

    size: int
    low: np.ndarray
    half_span: np.ndarray
    rest: np.ndarray
    given: np.ndarray
    interval: np.ndarray
    offset: np.ndarray
    actor: np.ndarray
    slot_interval: np.ndarray
    slot_offset: np.ndarray
    by: tuple[str, ...]

    def waits(self, mask: np.ndarray | None = None) -> bool:
        """Whether any of some slots is decided on in some ticks only."""
        chosen = slice(None) if mask is None else mask
        return bool((self.slot_interval[chosen] > 1).any() or (self.slot_offset[chosen] > 0).any())

    def physical(self, slots: Array) -> Array:
        """Slots in physical units, ``(*batch, K)``."""
        return formulas.physical(slots, self.low, self.half_span)


@dataclass(frozen=True)
class Ledger:
    """Where money and violations go.

    Attributes
    ----------
    money_names, cost_names
        Columns of the two ledgers.
    money_blocks, cost_blocks
        Where the columns of a step lie that are summed up in them.
    money
        From all money columns of the step to ``accounts x names`` plus one shared row.
    costs
        From priced voltage, overload, unserved energy and device violations to the same with its own names.
    load_to_account
        The network's own load that each account's meters read first, its last column the rest [MW],
        ``(series, accounts + 1)``.
    unserved_to_account
        The network's own load in each account's area, the shared rest last [MW], ``(series, accounts + 1)``.
    transfers
        Which of the money columns are transfers to peers and utility.
    sharing
        Whether an account takes an equal part of what nobody owns, ``(accounts,)``.
    objective
        From the totals of the accounts to those that the rewards of acting agents sum; ``None`` where each has its own.
    settling, settle_at
        Families that hold something of worth, and for each of their units the place of its settlement price.
    settle_columns, settle_refill
        Settlement prices: retail series of each, ``(s,)``, and how what is settled at it is put back.
    renewable_series, renewable_to_account
        Series that renewables follow, ``(r,)``, and power of each account's renewables at a series value of 1 [MW],
        ``(r, accounts + 1)``.
    """

    money_names: tuple[str, ...]
    cost_names: tuple[str, ...]
    money_blocks: Blocks[MoneyColumns]
    cost_blocks: Blocks[CostColumns]
    money: SumTo
    costs: SumTo
    transfers: np.ndarray
    load_to_account: np.ndarray
    unserved_to_account: np.ndarray
    sharing: np.ndarray
    objective: SumTo | None
    settling: tuple[int, ...]
    settle_at: tuple[np.ndarray, ...]
    settle_columns: np.ndarray
    settle_refill: tuple[Refill, ...]
    renewable_series: np.ndarray
    renewable_to_account: np.ndarray

    @property
    def renewable_accounts(self) -> np.ndarray:
        """Accounts with renewables, whose net load differs from their load."""
        return np.flatnonzero(self.renewable_to_account[:, :-1].any(axis=0))

    def settlement_names(self, columns: Columns) -> tuple[str, ...]:
        """Names of the settlement prices by their retail series, and how long refilling takes where that differs."""
        names = [f"settlement_per_mwh:{columns.series[i].partition(':')[2]}" for i in self.settle_columns]
        refills = zip(names, self.settle_refill, strict=True)
        full = [f"{name}:{r.hours:g}h:{r.within_h:g}h:{r.efficiency:g}" for name, r in refills]
        return tuple(short if names.count(short) == 1 else long for short, long in zip(names, full, strict=True))


@dataclass(frozen=True)
class Grid:
    """The network: its own loads, what units inject, and how its power flow is solved.

    Attributes
    ----------
    v_start
        Bus voltages without load [pu], complex, ``(m,)``: where the first flow of an episode starts.
    solve
        ``solve(load, control, start) -> Flow`` of the chosen power-flow method.
    by_rows
        The same from rows to rows (:class:`powergrid.powerflow.sparse_lu.RowSolver`), where the method has it.
    inject
        Sum of unit injections into buses.
    load_series, load_p_mw, load_q_mvar
        Series of the network's own loads and their peak power by bus, ``(l,)`` and ``(l, m)``.
    load_by_voltage
        Constant current and constant impedance of the network's own loads: active and reactive, each ``(l, m)`` [MW,
        Mvar at 1 pu]; empty where it has none. `load_p_mw` and `load_q_mvar` are then the rest.
    three_phase
        Nodes of the buses that have three phases, ``(t, 3)``; empty in a balanced network.
    switching
        Topologies that switches and outages make; ``None`` where nothing switches or fails.
    """

    v_start: np.ndarray
    solve: Callable[[NodeLoad, Control, Any], Flow]
    by_rows: Any
    inject: SumTo
    load_series: np.ndarray
    load_p_mw: np.ndarray
    load_q_mvar: np.ndarray
    load_by_voltage: tuple[np.ndarray, ...]
    three_phase: np.ndarray
    switching: Switching | None

    @property
    def islands(self) -> Islands | None:
        """Units that form the grids of islands, ``None`` where no unit ever does."""
        return None if self.switching is None else self.switching.islands


class Regulators(NamedTuple):
    """Where the voltage regulators are, and what their relays read.

    Attributes
    ----------
    upstream
        ``upstream[i, j] = 1`` if the regulator of unit i lies upstream of that of unit j.
    relay_bus
        Regulated bus of each unit of the regulators' family.
    relays
        Compensators of the regulators' relays; ``None`` where they read their regulated bus.
    tap_of
        Unit of the regulators' family that moves each of the network's regulators, ``(k,)``; ``None`` where each moves
        one, in their order.
    """

    upstream: np.ndarray
    relay_bus: np.ndarray
    relays: Relays | None
    tap_of: np.ndarray | None


class Measurements(NamedTuple):
    """What is measured.

    Attributes
    ----------
    names
        Names of the measurements: metered branches, the source, the units of `units`, and net readings.
    units
        Position (among all injecting units) of devices that have a meter of their own.
    net
        Sum of the measurements into net readings: what a meter reads less what the meters directly behind it read.
    zones
        What each meter measures first.
    """

    names: tuple[str, ...]
    units: np.ndarray
    net: SumTo
    zones: Metering

    @property
    def branches(self) -> int:
        """Number of metered branches."""
        return len(self.names) - self.net.size - len(self.units) - 1


class Coordination(NamedTuple):
    """Protocols at work.

    Attributes
    ----------
    layers
        One for each protocol, vertical ones top down.
    signals
        What they send.
    ordering
        Whether a slot holds an order of a protocol, ``(K,)``.
    """

    layers: tuple[Layer, ...]
    signals: tuple[Column, ...]
    ordering: np.ndarray


class Policies(NamedTuple):
    """What local policies decide, and what one policy would decide for all who act from outside.

    Attributes
    ----------
    choices_of
        What fills each slot (:class:`powergrid.engine.choices.Choices`) under such a policy; ``None`` for those
        who act from outside as they do.
    inverters_of
        Units that then follow their voltage within the tick (:class:`powergrid.engine.inverters.Inverters`); ``None``
        where no local policy says so.
    corrected
        Policy that actions from outside correct; ``None`` where they are commands.
    """

    choices_of: Callable[[Any], Any]
    inverters_of: Callable[[Any], Any]
    corrected: Any = None

    @property
    def choices(self) -> Any:
        """What fills each slot."""
        return self.choices_of(None)

    @property
    def inverters(self) -> Any:
        """Units that follow their voltage within the tick, or ``None``."""
        return self.inverters_of(None)


@dataclass(frozen=True)
class Layout:
    """Everything static about an environment.

    Attributes
    ----------
    settings, columns
        See there.
    accounts
        Who owns money: first the actors, then the Python agents.
    actors
        Agents that outside code acts for.
    python_agents
        Agents that decide in Python. In a step they act like actors and follow these in every array.
    action_entries
        Owner and entry of each number of the action of each actor and each Python agent.
    families, injecting
        Device families, and the indices of those that inject power.
    taps, caps
        Index of the family of regulators and of capacitors, or ``None``.
    python
        Plain Python devices (:class:`powergrid.engine.python.devices.PythonDevices`); ``None`` where there are none.
    availability
        Devices that may be out of service; ``None`` where none ever is.
    grid, regulators, meters, slots, coordination, policies, ledger, view
        See there.
    """

    settings: Settings
    columns: Columns
    accounts: tuple[str, ...]
    actors: tuple[str, ...]
    python_agents: tuple[str, ...]
    action_entries: tuple[tuple[tuple[str, Entry], ...], ...]
    families: tuple[Family, ...]
    injecting: tuple[int, ...]
    taps: int | None
    caps: int | None
    python: Any
    availability: Availability | None
    grid: Grid
    regulators: Regulators
    meters: Measurements
    slots: Slots
    coordination: Coordination
    policies: Policies
    ledger: Ledger
    view: View

    @cached_property
    def action_size(self) -> int:
        """Longest action vector of any actor or Python agent."""
        return max((len(entries) for entries in self.action_entries), default=0)

    @cached_property
    def acting(self) -> int:
        """Rows of actions in a step: actors and Python agents."""
        return len(self.actors) + len(self.python_agents)

    @cached_property
    def objectives(self) -> dict[str, tuple[str, ...]]:
        """Accounts whose money and violations the reward of each acting agent sums."""
        acting, of = self.accounts[: self.acting], self.ledger.objective
        if of is None:
            return {id: (id,) for id in acting}
        return {
            id: tuple(self.accounts[row] for row in of.source[of.target == k].tolist()) for k, id in enumerate(acting)
        }

    def of_objectives(self, xp: Namespace, totals: Array) -> Array:
        """What the rewards of acting agents sum, ``(*batch, acting)``, of a total by account ``(*batch, accounts)``."""
        of = self.ledger.objective
        return totals[..., : self.acting] if of is None else of(xp, totals)

    @cached_property
    def seen_by_actors(self) -> int:
        """Numbers that actors observe; those of Python agents follow them."""
        return int(self.view.offsets[len(self.actors)])

    def net_load(self, xp: Namespace, params: Params, row: Array) -> Array:
        """The network's own load minus available renewable power of each account [MW], ``(*batch, accounts + 1)``."""
        load = row[..., self.grid.load_series] @ params.load_to_account
        if not len(self.ledger.renewable_series):
            return load
        return load - row[..., self.ledger.renewable_series] @ params.renewable_to_account

    @cached_property
    def actor_alive(self) -> np.ndarray:
        """Whether a unit that an actor acts for has voltage, by topology ``(T, A)``; so it is where it has no unit."""
        assert self.grid.switching is not None
        alive = np.concatenate(self.grid.switching.unit_alive, axis=1)
        found: np.ndarray = self._some_unit(np, alive.astype(float))
        return found

    @cached_property
    def _units_of_actors(self) -> tuple[SumTo, np.ndarray]:
        """Sum of all units into the actors that act for them, and actors without a unit, ``(A,)``."""
        pairs, first = [], 0
        for family in self.families:
            for unit, column in np.argwhere(family.free).tolist():
                pairs.append((first + unit, int(self.slots.actor[family.slot[unit, column]])))
            first += family.size
        found = np.array(sorted({pair for pair in pairs if pair[1] >= 0}), dtype=int).reshape(-1, 2)
        without = np.isin(np.arange(self.acting), found[:, 1], invert=True)
        return SumTo(found[:, 1], self.acting, source=found[:, 0], values=first), without

    def _some_unit(self, xp: Namespace, units: Array) -> Array:
        """Whether any unit of each actor counts, ``(*batch, A)``, of all units ``(*batch, n)``; true without units."""
        of_actors, without = self._units_of_actors
        return (of_actors(xp, units) > 0.5) | without

    def available(self, xp: Namespace, topology: Array | None, out: Array | None, batch: tuple[int, ...]) -> Array:
        """Whether each actor has a unit in service with voltage, ``(*batch, A)``; so it is where it has no unit.

        Parameters
        ----------
        topology
            The topology that holds, ``None`` where there is only one.
        out
            Whether each device that may be out of service is, ``(*batch, f)``; ``None`` where there are none.
        """
        if out is None or not out.shape[-1]:
            alive = xp.ones((*batch, self.acting), dtype=bool)
            return alive if topology is None else xp.asarray(self.actor_alive)[topology]
        assert self.availability is not None
        first = np.cumsum([0, *(family.size for family in self.families)])
        place = first[self.availability.family] + self.availability.row
        source = np.full(first[-1], -1)
        source[place] = np.arange(len(place))
        works = xp.where(source >= 0, xp.logical_not(out[..., np.maximum(source, 0)]), True)
        if topology is not None:
            assert self.grid.switching is not None
            works = works & xp.asarray(np.concatenate(self.grid.switching.unit_alive, axis=1))[topology]
        return self._some_unit(xp, xp.where(works, 1.0, 0.0))

    @cached_property
    def device_of_slot(self) -> np.ndarray:
        """Device of :attr:`availability` that each slot commands, -1 for one always in service and for orders."""
        device = np.full(self.slots.size, -1)
        if self.availability is not None:
            for k, (i, row) in enumerate(zip(self.availability.family, self.availability.row, strict=True)):
                family = self.families[i]
                device[family.slot[row, family.free[row]]] = k
        return device

    @cached_property
    def actors_change(self) -> bool:
        """Whether an actor may be absent in a part of an episode."""
        return self.availability is not None and bool((self.availability.actor >= 0).any())

    def alive(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Whether each actor is there in a tick, ``(*batch, actors)``."""
        if self.availability is None:
            return xp.ones((*tick.shape, len(self.actors)), dtype=bool)
        return self.availability.present(xp, tick, absences, self.acting)[..., : len(self.actors)]

    @cached_property
    def agent_of_slot(self) -> np.ndarray:
        """Which of the agents that may be absent decides each slot, ``(K,)``; -1 for others."""
        known = () if self.availability is None else self.availability.agents
        number = {id: k for k, id in enumerate(known)}
        return np.array([number.get(by, -1) for by in self.slots.by], dtype=int)

    def in_service(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Whether each number of an action moves something in service in a tick, ``(*batch, A, k_max)``.

        Orders do so while their agent is there.
        """
        assert self.availability is not None
        flat = np.full(self.acting * self.action_size, -1)
        mine = self.slots.actor >= 0
        flat[self.slots.given[mine]] = self.device_of_slot[mine]
        device = flat.reshape(self.acting, self.action_size)
        out = self.availability.out(xp, tick, absences)
        works = xp.asarray(device < 0)
        if out.shape[-1]:
            works = works | xp.logical_not(out[..., np.maximum(device, 0)])
        return works & self.availability.present(xp, tick, absences, self.acting)[..., None]

    @cached_property
    def silenced(self) -> tuple[SumTo, np.ndarray]:
        """Sum of devices that may be out into the actors that act for nothing else, and all other actors, ``(A,)``."""
        mine = self.slots.actor >= 0
        others = np.isin(np.arange(self.acting), self.slots.actor[mine & (self.device_of_slot < 0)])
        pairs = np.unique(np.column_stack([self.device_of_slot, self.slots.actor])[mine], axis=0)
        pairs = pairs[~others[pairs[:, 1]]]
        assert self.availability is not None
        devices = len(self.availability.units)
        return SumTo(pairs[:, 1], self.acting, source=pairs[:, 0], values=devices), others

    def effective(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Whether each actor is there, and its action moves anything in service in a tick, ``(*batch, A)``."""
        assert self.availability is not None
        of_actors, others = self.silenced
        out = self.availability.out(xp, tick, absences)
        moves = (of_actors(xp, xp.where(out, 0.0, 1.0)) > 0.5) | others
        return moves & self.availability.present(xp, tick, absences, self.acting)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Names of all injecting units, in the order of ``Output.p_mw``."""
        return tuple(id for i in self.injecting for id in self.families[i].ids)


class Params(NamedTuple):
    """Numbers of the step that follow the backend's dtype: the families' columns and the network's own loads."""

    families: tuple[Any, ...]
    load_p_mw: Array
    load_q_mvar: Array
    load_to_account: Array
    unserved_to_account: Array
    renewable_to_account: Array
    load_by_voltage: tuple[Array, ...] = ()


def params_of(layout: Layout, xp: Namespace = np, dtype: Any = float) -> Params:
    """The layout's numbers as arrays of one backend and dtype."""

    def cast(values: Any) -> Array:
        return xp.asarray(values, dtype=dtype)

    return Params(
        families=tuple(type(family.params)(*map(cast, family.params)) for family in layout.families),
        load_p_mw=cast(layout.grid.load_p_mw),
        load_q_mvar=cast(layout.grid.load_q_mvar),
        load_to_account=cast(layout.ledger.load_to_account),
        unserved_to_account=cast(layout.ledger.unserved_to_account),
        renewable_to_account=cast(layout.ledger.renewable_to_account),
        load_by_voltage=tuple(map(cast, layout.grid.load_by_voltage)),
    )
