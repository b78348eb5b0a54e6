"""Topologies: which branches stand differently than in the network as given, and which islands result.

A plan may hold several topologies, and every scenario of a batch chooses one by its index. The elements that any of
them opens or closes keep their own place in the compiled tables instead of being fused into nodes or factored into the
shared part of the admittance matrix.

An island, cut off from the source, is dead unless the topology names a bus that forms its grid: there a reference
holds 1 pu, and the power it delivers is what the island lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from powergrid.core.errors import NetworkError
from powergrid.networks.kinds import AnyNetwork

SWITCH_PU = 1e-7
"""Resistance of a closed switch that topologies move [pu on 1 MVA]: 0.1 uV/V for each MW, far below a contact's own."""
HOLD_PU = 1e-7
"""Resistance behind which a reference holds 1 pu [pu on 1 MVA]."""
Elements: TypeAlias = str | int | Sequence[str | int]
"""Branches by their names or indices."""
Place: TypeAlias = str | int | tuple[int, ...]
"""A bus by its name or index, or rows of ``network.buses``."""
_ANGLE_DEGREE = {"a": 0.0, "b": -120.0, "c": 120.0}


class Moving(NamedTuple):
    """Elements that topologies open and close, each an admittance matrix between its terminals.

    Behind the branches come the nodes of references: a voltage behind an admittance at one terminal, in service in the
    topologies whose island it holds.

    Attributes
    ----------
    branch
        Element that each branch belongs to, -1 for none, ``(b,)``.
    size
        Terminals of each element, ``(s,)``.
    bus
        Bus of each terminal, element by element.
    y
        Admittance matrices by rows, element by element [pu].
    closed
        Whether each element conducts in each topology, ``(T, s)``; topology 0 is the network as given.
    energised
        Whether each bus has a path to the source or to a reference in service, ``(T, m)``.
    ground
        Buses of open terminals in dead islands, by topology; earthed there, the island's equations have a solution.
    reference
        Reference that each element belongs to, -1 for branches, ``(s,)``.
    held
        Voltage that each element holds [pu], 0 for branches, ``(s,)``.
    """

    branch: np.ndarray
    size: np.ndarray
    bus: np.ndarray
    y: np.ndarray
    closed: np.ndarray
    energised: np.ndarray
    ground: tuple[np.ndarray, ...]
    reference: np.ndarray
    held: np.ndarray

    @property
    def n_branch(self) -> int:
        """Elements that are branches; they come first."""
        return int(np.sum(self.reference < 0))

    @property
    def n_reference(self) -> int:
        """Number of references."""
        return int(self.reference.max(initial=-1)) + 1

    @property
    def holds(self) -> np.ndarray:
        """Whether each reference is in service in each topology, ``(T, references)``."""
        first = np.searchsorted(self.reference, np.arange(self.n_reference))
        holds: np.ndarray = self.closed[:, first]
        return holds

    @property
    def held_bus(self) -> np.ndarray:
        """Bus of each element of a reference."""
        return self.bus[int(self.size[: self.n_branch].sum()) :]

    def held_by(self, reference: int) -> np.ndarray:
        """Buses that a reference holds; in a three-phase network phases of one bus."""
        buses: np.ndarray = self.held_bus[self.reference[self.n_branch :] == reference]
        return buses

    @property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Element, row terminal and column terminal of every entry of `y`."""
        first = np.cumsum(self.size) - self.size
        rows = [np.repeat(np.arange(n), n) + f for f, n in zip(first, self.size, strict=True)]
        columns = [np.tile(np.arange(n), n) + f for f, n in zip(first, self.size, strict=True)]
        none = np.zeros(0, np.int64)
        element = np.repeat(np.arange(len(self.size)), self.size**2)
        return element, np.concatenate([none, *rows]), np.concatenate([none, *columns])


def nothing_moves(m: int, b: int) -> Moving:
    """No element that moves among `m` buses and `b` branches."""
    none = np.zeros(0, np.int64)
    one = np.ones((1, m), bool)
    return Moving(
        np.full(b, -1), none, none, none.astype(complex), one[:, :0], one, (none,), none, none.astype(complex)
    )


class Blocked(Protocol):
    """What :func:`moving_blocks` reads of :class:`~powergrid.powerflow.compiled.PhaseTables`."""

    @property
    def size(self) -> np.ndarray: ...
    @property
    def bus(self) -> np.ndarray: ...
    @property
    def y(self) -> np.ndarray: ...
    @property
    def row(self) -> np.ndarray: ...


class Topologies:
    """Topologies as rows of branches that change, checked.

    Parameters
    ----------
    network
        A :class:`~powergrid.networks.Network` or :class:`~powergrid.networks.UnbalancedNetwork`.
    topologies
        For each topology, the branches (names or indices) that stand differently than in the network as given: closed
        ones are open in it, open ones are closed. In a three-phase network an element's name means all of its phases.
    forming
        For each topology, the buses (names or indices) that hold an island, at most one an island. In a three-phase
        network a bus's name means all of its phases, a tuple of indices some of them.

    Raises
    ------
    NetworkError
        If a branch is unknown, or a regulator; if a bus is unknown, or `forming` longer than `topologies`.
    """

    def __init__(self, network: AnyNetwork, topologies: Sequence[Elements], forming: Sequence[Sequence[Place]] = ()):
        branches = network.branches
        self.network = network
        self.changes = tuple(_rows(network, topology) for topology in topologies)
        if len(forming) > len(topologies):
            raise NetworkError(f"forming buses of {len(forming)} topologies, but there are {len(topologies)}")
        formed = [[_nodes(network, bus) for bus in buses] for buses in forming]
        self.references = tuple(dict.fromkeys(nodes for buses in formed for nodes in buses))
        self.holds = np.zeros((len(topologies) + 1, len(self.references)), bool)
        for row, buses in zip(self.holds[1:], formed, strict=False):
            row[[self.references.index(nodes) for nodes in buses]] = True
        self.moves = np.zeros(len(branches.name), bool)
        for rows in self.changes:
            self.moves[rows] = True
        for row in np.flatnonzero(self.moves):
            if branches.kind[row] == "regulator":
                raise NetworkError(
                    f'regulator "{branches.name[row]}" of "{network.name}" cannot be opened by a topology; open the '
                    "line or the switch beside it"
                )

    def closed(self) -> np.ndarray:
        """Whether each branch is closed in each topology, the first being the network as given, ``(T, b)``."""
        closed = np.tile(np.asarray(self.network.branches.closed, bool), (len(self.changes) + 1, 1))
        for row, changes in zip(closed[1:], self.changes, strict=True):
            row[changes] = ~row[changes]
        return closed


def _rows(network: AnyNetwork, topology: Elements) -> np.ndarray:
    """Rows of the branches that a topology changes."""
    names, phases_of = network.branches.name, getattr(network, "rows", lambda element: ())
    if isinstance(topology, str | int | np.integer):
        topology = (topology,)
    found: list[int] = []
    for branch in topology:
        if isinstance(branch, str):
            found += phases_of(branch) or [network.branch(branch)]
        elif 0 <= int(branch) < len(names):
            found.append(int(branch))
        else:
            raise NetworkError(f'branch {branch} of "{network.name}" does not exist; allowed are 0 to {len(names) - 1}')
    return np.unique(np.array(found, np.int64))


def _nodes(network: AnyNetwork, bus: Place) -> tuple[int, ...]:
    """Rows of ``network.buses`` that a forming bus means."""
    if isinstance(bus, str):
        names, of_bus = network.buses.name, getattr(network.buses, "bus", ())
        phases = tuple(i for i, name in enumerate(of_bus) if name == bus)
        return phases or (names.index(bus) if bus in names else network.bus(bus),)
    rows, count = tuple(int(row) for row in np.atleast_1d(bus)), len(network.buses.name)
    for row in rows:
        if not 0 <= row < count:
            raise NetworkError(f'bus {row} of "{network.name}" does not exist; allowed are 0 to {count - 1}')
    return rows


def _with_references(given: Topologies, moving: Moving, sources: Sequence[int], parts: np.ndarray) -> Moving:
    """The moving branches with the references behind them, and what these hold energised.

    `parts` labels the connected parts in each topology, ``(T, m)``.
    """
    held_by = given.references
    energised = np.stack([np.isin(part, part[list(sources)]) for part in parts])
    for t, holds in enumerate(given.holds):
        taken: dict[int, int] = {}
        for reference in np.flatnonzero(holds).tolist():
            nodes = list(held_by[reference])
            name = given.network.buses.name[nodes[0]]
            if energised[t, nodes].any():
                other = [taken[part] for part in parts[t, nodes] if part in taken]
                by = (
                    f'"{given.network.buses.name[held_by[other[0]][0]]}" holds it already'
                    if other
                    else "it is not cut off"
                )
                raise NetworkError(f'bus "{name}" cannot hold an island in topology {t}: {by}; leave it out of forming')
            taken |= dict.fromkeys(parts[t, nodes].tolist(), reference)
            energised[t] |= np.isin(parts[t], parts[t, nodes])
    held = [node for nodes in held_by for node in nodes]
    owner = np.repeat(np.arange(len(held_by)), np.array([len(nodes) for nodes in held_by], int))
    phase = getattr(given.network.buses, "phase", None)
    angle = np.zeros(len(held)) if phase is None else np.deg2rad([_ANGLE_DEGREE[phase[node]] for node in held])
    return moving._replace(
        size=np.concatenate([moving.size, np.ones(len(held), np.int64)]),
        bus=np.concatenate([moving.bus, np.array(held, np.int64)]),
        y=np.concatenate([moving.y, np.full(len(held), 1 / HOLD_PU)]),
        closed=np.concatenate([moving.closed, given.holds[:, owner]], axis=1),
        energised=energised,
        ground=_grounds(moving.size, moving.bus, moving.closed, energised),
        reference=np.concatenate([moving.reference, owner]),
        held=np.concatenate([moving.held, np.exp(1j * angle)]),
    )


def moving_elements(
    given: Topologies,
    from_bus: np.ndarray,
    to_bus: np.ndarray,
    series: np.ndarray,
    half_shunt: np.ndarray,
    gain: np.ndarray,
) -> Moving:
    """The moving elements of a balanced network: pi sections behind an ideal ratio, as ``Compiled.ybus`` has them."""
    rows, all_closed = np.flatnonzero(given.moves), given.closed()
    branch = np.full(len(from_bus), -1)
    branch[rows] = np.arange(len(rows))
    y_s, y_h, c = series[rows], half_shunt[rows], gain[rows]
    y = np.stack([(y_s + y_h) * np.abs(c) ** 2, -y_s * np.conj(c), -y_s * c, y_s + y_h], axis=1)
    bus, size = np.stack([from_bus[rows], to_bus[rows]], axis=1).ravel(), np.full(len(rows), 2)
    closed = all_closed[:, rows]

    def edges(t: int) -> tuple[np.ndarray, np.ndarray]:
        return from_bus[all_closed[t]], to_bus[all_closed[t]]

    parts = _parts(len(given.network.buses.name), edges, len(closed))
    return _with_references(given, _branches(branch, size, bus, y.ravel(), closed), [given.network.source_bus], parts)


def _branches(branch: np.ndarray, size: np.ndarray, bus: np.ndarray, y: np.ndarray, closed: np.ndarray) -> Moving:
    """Moving branches alone, before dead islands are found."""
    s = len(size)
    return Moving(branch, size, bus, y, closed, np.zeros((0, 0), bool), (), np.full(s, -1), np.zeros(s, complex))


def _parts(m: int, edges: Callable[[int], tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """Label of the connected part of each bus in each of `count` topologies, ``(T, m)``; `edges` gives theirs."""
    found = np.empty((count, m), np.int64)
    for t in range(count):
        rows, columns = edges(t)
        graph = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(m, m))
        found[t] = connected_components(graph, directed=False)[1]
    return found


def _grounds(size: np.ndarray, bus: np.ndarray, closed: np.ndarray, energised: np.ndarray) -> tuple[np.ndarray, ...]:
    """Dead buses at open elements, by topology."""
    open_at = [bus[np.repeat(~row, size)] for row in closed]
    return tuple(np.unique(at[~alive[at]]) for at, alive in zip(open_at, energised, strict=True))


def moving_blocks(
    given: Topologies, tables: Blocked, m: int, joined: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> Moving:
    """The moving elements of a three-phase network: whole blocks of several conductors, and switches phase by phase.

    Parameters
    ----------
    tables
        The network's :class:`~powergrid.powerflow.compiled.PhaseTables`.
    m
        Number of nodes.
    joined
        Edges between nodes when the branches ``(b,)`` are closed and their blocks conduct.
    """
    branches, all_closed = given.network.branches, given.closed()
    block_of = np.repeat(np.arange(len(tables.size)), tables.size)
    branch = np.full(len(branches.name), -1)
    size: list[int] = []
    bus, y, closed = [np.zeros(0, np.int64)], [np.zeros(0, complex)], []
    first_terminal, first_y = np.cumsum(tables.size) - tables.size, np.cumsum(tables.size**2) - tables.size**2
    for block in np.unique(block_of[given.moves[tables.row]]):
        n, t, e = int(tables.size[block]), first_terminal[block], first_y[block]
        rows = np.unique(tables.row[t : t + n])
        partly = [changes for changes in given.changes if np.isin(rows, changes).any() != np.isin(rows, changes).all()]
        if partly:
            raise NetworkError(
                f'the phases {", ".join(branches.name[i] for i in rows)} of "{given.network.name}" are one element and '
                f'open together; name it "{branches.name[rows[0]].rpartition(".")[0]}"'
            )
        branch[rows] = len(size)
        size.append(n)
        bus.append(tables.bus[t : t + n])
        y.append(tables.y[e : e + n * n])
        closed.append(all_closed[:, rows[0]])
    for row in np.flatnonzero(given.moves & (branch < 0)):
        branch[row] = len(size)
        size.append(2)
        bus.append(np.array([branches.from_bus[row], branches.to_bus[row]]))
        y.append(np.array([1.0, -1.0, -1.0, 1.0]) / SWITCH_PU)
        closed.append(all_closed[:, row])
    sizes, buses = np.array(size, np.int64), np.concatenate(bus)
    table = np.array(closed, bool).reshape(len(size), len(all_closed)).T
    parts = _parts(m, lambda t: joined(all_closed[t]), len(table))
    moving = _branches(branch, sizes, buses, np.concatenate(y), table)
    assert given.network.is_three_phase
    return _with_references(given, moving, given.network.source_nodes.tolist(), parts)
