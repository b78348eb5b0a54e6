"""Topology as state: which of the power flow's topologies holds in a tick, and what is dead in it.

Switches are devices, opened and closed by commands. Outages are drawn when an episode begins and known to nobody before
they happen. Every combination of both is one topology of the power-flow plan; its index is a number with one digit a
switch (as in the network, or not) and one an outage (none, or which of its branches is out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.errors import NetworkError
from powergrid.core.types import Array
from powergrid.engine.gather import SumTo
from powergrid.engine.islands import Held, Islands, hold_islands
from powergrid.networks import terminals

MAX_TOPOLOGIES = 4096
"""Combinations of switches and outages that a world may have; each holds a row of buses and of elements."""
NEVER = np.iinfo(np.int32).max
"""First tick of an outage that does not happen."""


class Outage(NamedTuple):
    """Branches of which one may fail once an episode.

    Attributes
    ----------
    branches
        Rows of ``network.branches`` of each candidate; all phases of an element fail together.
    earliest, latest
        First tick of the outage, drawn evenly from this range, both ends included.
    ticks
        How long it lasts.
    probability
        Share of episodes in which it happens [1].
    """

    branches: tuple[tuple[int, ...], ...]
    earliest: int
    latest: int
    ticks: int
    probability: float


class FormingUnit(NamedTuple):
    """A unit that can form the grid of an island: its family, its row in it, its nodes and its rating [MVA]."""

    family: int
    row: int
    nodes: tuple[int, ...]
    rating_mva: float


class Outages(NamedTuple):
    """Outages of running episodes: first tick, and which of its branches, ``(*batch, outages)``."""

    begin: Array
    which: Array


@dataclass(frozen=True)
class Switching:
    """The topologies of a world and what selects one.

    Attributes
    ----------
    topologies
        Branches that stand differently in each topology after the first, for the power-flow plan.
    outages
        What may fail.
    family
        Index of the family of switches, or ``None``.
    as_given
        Whether each switch is closed in the network as given, ``(w,)``.
    place_value
        Place value of each switch's digit, then of each outage's.
    energised
        Whether each place of a load has voltage in each topology, ``(T, places)``.
    energised_bus
        The same of each bus, ``(T, m)``.
    unit_alive
        Whether each unit of every family has voltage in each topology, by family ``(T, n)``.
    alive_relay
        Whether each regulator's relay has voltage, ``(T, k)``.
    to_account
        Sum of places into accounts, the shared rest last.
    forming
        Nodes that hold the islands of each topology after the first, for the power-flow plan.
    islands
        Units that form the grids of islands; ``None`` where no unit ever does.
    """

    topologies: tuple[tuple[int, ...], ...]
    outages: tuple[Outage, ...]
    family: int | None
    as_given: np.ndarray
    place_value: np.ndarray
    energised: np.ndarray
    energised_bus: np.ndarray
    unit_alive: tuple[np.ndarray, ...]
    alive_relay: np.ndarray
    to_account: SumTo
    forming: tuple[tuple[tuple[int, ...], ...], ...] = ()
    islands: Islands | None = None

    def draw(self, xp: Namespace, uniform: Array) -> Outages:
        """Outages of an episode from numbers in [0, 1), ``(*batch, 3 outages)``: whether, when and which."""
        e = len(self.outages)
        given = np.array([(o.earliest, o.latest, len(o.branches), o.probability) for o in self.outages], np.float32)
        earliest, latest, count, probability = given.reshape(e, 4).T
        happens = uniform[..., :e] < probability
        begin = xp.floor(earliest + uniform[..., e : 2 * e] * (latest - earliest + 1.0)).astype(np.int32)
        which = xp.floor(uniform[..., 2 * e :] * count).astype(np.int32)
        return Outages(xp.where(happens, xp.minimum(begin, latest.astype(np.int32)), NEVER), which)

    def topology(self, xp: Namespace, tick: Array, outages: Outages, devices: Sequence[Any]) -> Array:
        """Index of the topology that holds at `tick` with the switches as they stand, ``(*batch,)``."""
        switches, e = len(self.as_given), len(self.outages)
        index = xp.zeros(tick.shape, np.int32)
        if self.family is not None:
            moved = (devices[self.family].closed > 0.5) != self.as_given
            index = index + (moved * self.place_value[:switches]).sum(-1).astype(np.int32)
        if e:
            ticks = np.array([outage.ticks for outage in self.outages], np.int32)
            since = tick[..., None] - outages.begin
            digit = xp.where((since >= 0) & (since < ticks), outages.which + 1, 0)
            index = index + (digit * self.place_value[switches:]).sum(-1).astype(np.int32)
        return index


def enumerate_topologies(
    network: Any, switches: Sequence[tuple[int, ...]], outages: Sequence[Outage]
) -> tuple[tuple[tuple[int, ...], ...], np.ndarray]:
    """Changed branches of every combination, the network as given first, and the place values of their index.

    A branch that is out is open however its switch stands.

    Raises
    ------
    NetworkError
        If there are more than :data:`MAX_TOPOLOGIES`.
    """
    radix = [2] * len(switches) + [len(outage.branches) + 1 for outage in outages]
    values = np.cumprod([1, *radix]).astype(np.int64)
    if values[-1] > MAX_TOPOLOGIES:
        raise NetworkError(
            f"{len(switches)} switches and {len(outages)} outages make {values[-1]:,} topologies; at most "
            f"{MAX_TOPOLOGIES:,} are possible: let fewer branches switch and fail independently"
        )
    closed = np.asarray(network.branches.closed, bool)
    found = []
    for digits in product(*(range(n) for n in reversed(radix))):
        digits = digits[::-1]
        state = closed.copy()
        for rows, moved in zip(switches, digits, strict=False):
            if moved:
                state[list(rows)] = ~closed[list(rows)]
        for outage, digit in zip(outages, digits[len(switches) :], strict=True):
            if digit:
                state[list(outage.branches[digit - 1])] = False
        found.append(tuple(np.flatnonzero(state != closed).tolist()))
    return tuple(found[1:]), values[:-1]


def switching(
    network: Any,
    switches: Sequence[tuple[int, ...]],
    family: int | None,
    outages: Sequence[Outage],
    unit_buses: Sequence[np.ndarray],
    relay_bus: np.ndarray,
    account_of_place: np.ndarray,
    accounts: int,
    forming: Sequence[FormingUnit] = (),
) -> Switching | None:
    """The topologies of a world; ``None`` where nothing switches or fails.

    Parameters
    ----------
    switches
        Rows of branches that each switch moves.
    family
        Index of the family of switches.
    unit_buses
        Buses that the units of each family sit at, -1 for none, ``(n,)`` each.
    relay_bus
        Bus that each regulator's relay reads.
    account_of_place
        Account of each place of a load, the shared rest counted last.
    accounts
        Number of accounts without that rest.
    forming
        Units that form grids.

    Raises
    ------
    NetworkError
        If there are more than :data:`MAX_TOPOLOGIES`, those counted in which islands collapse.
    """
    from powergrid.powerflow.compile import compile_network

    if not switches and not outages:
        return None
    topologies, values = enumerate_topologies(network, switches, outages)
    held = _held(network, topologies, forming)
    if held is not None:
        topologies = held.topologies
    energised = compile_network(network, topologies, () if held is None else held.forming).moving.energised
    closed = np.asarray(network.branches.closed, bool)
    reachable = [np.where(buses >= 0, energised[:, buses], True) for buses in unit_buses]
    return Switching(
        topologies=topologies,
        outages=tuple(outages),
        family=family,
        as_given=np.array([closed[rows[0]] for rows in switches], bool),
        place_value=values,
        energised=energised[:, terminals.node_of_place(network)],
        energised_bus=energised,
        unit_alive=tuple(reachable),
        alive_relay=energised[:, relay_bus],
        to_account=SumTo(account_of_place, accounts + 1),
        forming=() if held is None else held.forming,
        islands=None if held is None else _islands(network, held, forming, energised, unit_buses),
    )


def _held(network: Any, topologies: Sequence[tuple[int, ...]], forming: Sequence[FormingUnit]) -> Held | None:
    """Who holds the islands of each topology, the unit of the largest rating before others."""
    ranked = sorted(forming, key=lambda unit: -unit.rating_mva)
    held = hold_islands(network, topologies, [unit.nodes for unit in ranked], MAX_TOPOLOGIES) if ranked else None
    if isinstance(held, int):
        raise NetworkError(
            f"switches, outages and islands that may collapse make {held:,} topologies; at most {MAX_TOPOLOGIES:,} are "
            "possible: let fewer branches switch and fail independently, or fewer units form grids"
        )
    return held if held is not None and any(held.forming) else None


def _islands(
    network: Any, held: Held, forming: Sequence[FormingUnit], energised: np.ndarray, unit_buses: Sequence[np.ndarray]
) -> Islands:
    """Tables of the units that form grids, family by family."""
    families = tuple(sorted({unit.family for unit in forming}))
    members = tuple(np.array(sorted(u.row for u in forming if u.family == i), np.int64) for i in families)
    injecting = [i for i, buses in enumerate(unit_buses) if len(buses) and (buses >= 0).all()]
    first = dict(zip(injecting, np.cumsum([0, *(len(unit_buses[i]) for i in injecting)]).tolist(), strict=False))
    places = np.concatenate([unit_buses[i] for i in injecting])
    unit = np.concatenate([first[i] + rows for i, rows in zip(families, members, strict=True)])
    return Islands(
        families=families,
        members=members,
        unit=unit,
        island=held.island[:, places[unit]],
        island_of_unit=held.island[:, places],
        fallen=held.fallen,
        alive=energised[:, places],
        f_hz=float(network.f_hz),
        shift=np.full(len(unit), -1),
    )
