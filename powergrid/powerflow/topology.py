"""Topologies: which branches stand differently than in the network as given, and what that makes dead.

A plan may hold several topologies, and every scenario of a batch chooses one by its index. The elements that any of
them opens or closes keep their own place in the compiled tables instead of being fused into nodes or factored into the
shared part of the admittance matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from powergrid.core.errors import NetworkError

SWITCH_PU = 1e-7
"""Resistance of a closed switch that topologies move [pu on 1 MVA]: 0.1 uV/V for each MW, far below a contact's own."""


class Moving(NamedTuple):
    """Elements that topologies open and close, each an admittance matrix between its terminals.

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
        Whether each bus has a path to the source, ``(T, m)``.
    ground
        Buses of open terminals in dead islands, by topology; earthed there, the island's equations have a solution.
    """

    branch: np.ndarray
    size: np.ndarray
    bus: np.ndarray
    y: np.ndarray
    closed: np.ndarray
    energised: np.ndarray
    ground: tuple[np.ndarray, ...]

    @property
    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Element, row terminal and column terminal of every entry of `y`."""
        first = np.cumsum(self.size) - self.size
        rows = [np.repeat(np.arange(n), n) + f for f, n in zip(first, self.size, strict=True)]
        columns = [np.tile(np.arange(n), n) + f for f, n in zip(first, self.size, strict=True)]
        none = np.zeros(0, np.int64)
        element = np.repeat(np.arange(len(self.size)), self.size**2)
        return element, np.concatenate([none, *rows]), np.concatenate([none, *columns])


class Topologies:
    """Topologies as rows of branches that change, checked.

    Parameters
    ----------
    network
        A :class:`~powergrid.networks.Network` or :class:`~powergrid.networks.UnbalancedNetwork`.
    topologies
        For each topology, the branches (names or indices) that stand differently than in the network as given: closed
        ones are open in it, open ones are closed. In a three-phase network an element's name means all of its phases.

    Raises
    ------
    NetworkError
        If a branch is unknown, or a regulator.
    """

    def __init__(self, network: Any, topologies: Sequence[Any]):
        branches = network.branches
        self.network = network
        self.changes = tuple(_rows(network, topology) for topology in topologies)
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


def _rows(network: Any, topology: Any) -> np.ndarray:
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

    energised = energised_buses(len(given.network.buses.name), [given.network.source_bus], edges, len(closed))
    return Moving(branch, size, bus, y.ravel(), closed, energised, _grounds(size, bus, closed, energised))


def energised_buses(
    m: int, sources: Iterable[int], edges: Callable[[int], tuple[np.ndarray, np.ndarray]], count: int
) -> np.ndarray:
    """Whether each bus has a path to the source in each of `count` topologies, ``(T, m)``; `edges` gives theirs."""
    found, held = np.empty((count, m), bool), np.asarray(list(sources))
    for t in range(count):
        rows, columns = edges(t)
        graph = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(m, m))
        part = connected_components(graph, directed=False)[1]
        found[t] = np.isin(part, part[held])
    return found


def _grounds(size: np.ndarray, bus: np.ndarray, closed: np.ndarray, energised: np.ndarray) -> tuple[np.ndarray, ...]:
    """Dead buses at open elements, by topology."""
    open_at = [bus[np.repeat(~row, size)] for row in closed]
    return tuple(np.unique(at[~alive[at]]) for at, alive in zip(open_at, energised, strict=True))


def moving_blocks(given: Topologies, tables: Any, m: int, joined: Callable[[np.ndarray], Any]) -> Moving:
    """The moving elements of a three-phase network: whole blocks of several conductors, and switches phase by phase.

    Parameters
    ----------
    tables
        The network's :class:`~powergrid.powerflow.compile.PhaseTables`.
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
    energised = energised_buses(m, given.network.source_nodes, lambda t: joined(all_closed[t]), len(table))
    return Moving(
        branch, sizes, buses, np.concatenate(y), table, energised,
        _grounds(sizes, buses, table, energised),
    )  # fmt: skip
