"""A compiled network: index tables and admittances that every power-flow method shares, and what is read from them.

Everything is per unit, see :mod:`powergrid.powerflow.compile`, which makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from powergrid.core.errors import NetworkError
from powergrid.powerflow.topology import Moving

Sparse: TypeAlias = Any
"""A SciPy sparse matrix, whose stubs distinguish more than the code does."""
Meter: TypeAlias = int | Sequence[int]
"""A branch, or several whose powers are added up, by their indices."""


class Terms(NamedTuple):
    """Meters as signed sums of the powers ``[branch from ends (b), branch to ends (b), bus draws (m)]``.

    Attributes
    ----------
    start
        Row pointer, ``(meters + 1,)``.
    power
        Which power, ``(terms,)``.
    sign
        Its sign, ``(terms,)``.
    """

    start: np.ndarray
    power: np.ndarray
    sign: np.ndarray


class PhaseTables(NamedTuple):
    """Elements between several nodes, and loads between two.

    Attributes
    ----------
    size
        Terminals of each block, ``(n,)``.
    bus
        Bus (that is, phase of a bus) of each terminal, block by block, ``(t,)``.
    y
        Admittance matrices by rows, block by block [pu].
    row, at_to
        Branch that shows a terminal, and whether at its to end, ``(t,)``.
    percent
        Loading per unit of current [%/pu], ``(t,)``.
    pair_a, pair_b
        Buses that a load lies between, ``(d,)``.
    source_buses
        Buses that the source holds, ``(n_source,)``.
    """

    size: np.ndarray
    bus: np.ndarray
    y: np.ndarray
    row: np.ndarray
    at_to: np.ndarray
    percent: np.ndarray
    pair_a: np.ndarray
    pair_b: np.ndarray
    source_buses: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """First terminal of each terminal's block, ``(t,)``."""
        return np.repeat(np.cumsum(self.size) - self.size, self.size)

    @property
    def y_start(self) -> np.ndarray:
        """Where each terminal's row begins in `y`, ``(t,)``."""
        width = np.repeat(self.size, self.size)
        starts: np.ndarray = np.cumsum(width) - width
        return starts

    @property
    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column terminal of every entry of `y`."""
        width = np.repeat(self.size, self.size)
        rows = np.repeat(np.arange(len(width)), width)
        return rows, self.first[rows] + np.arange(len(rows)) - self.y_start[rows]

    def currents(self, v: np.ndarray) -> np.ndarray:
        """Current into every terminal [pu] at bus voltages `v` ``(m, ...)``."""
        rows, columns = self.entries
        matrix = sp.csr_matrix((self.y, (rows, self.bus[columns])), shape=(len(self.bus), len(v)))
        currents: np.ndarray = matrix @ v
        return currents


@dataclass(frozen=True, eq=False)
class Compiled:
    """A network with its closed switches fused, ready to be turned into a method's plan.

    Buses keep the network's index everywhere outside; nodes are what is left after fusing. The source is the last node.

    Attributes
    ----------
    n_bus, n_branch, n_node
        Counts; `n_node` leaves the source out.
    node
        Node of each bus, ``(m,)``.
    source_bus, source_v_pu
        Bus of the source and its voltage [pu].
    branch_name
        Names for messages, ``(b,)``.
    from_bus, to_bus, from_node, to_node
        Ends of each branch, ``(b,)``.
    live, switch
        True for closed branches that are no switch, and for closed switches, ``(b,)``.
    series, half_shunt
        Admittances of the pi section [pu], ``(b,)``; zero where a branch is not live.
    gain
        Complex no-load voltage gain from the from bus to the to bus, ``(b,)``.
    percent_from, percent_to
        Loading per unit of current at either end [%/pu], ``(b,)``; zero where there is no rating.
    regulator
        Branch of each regulator, ``(k,)``.
    shunt
        Power drawn at 1 pu by the fixed shunts of each bus [MW + j Mvar], ``(m,)``.
    cap_bus, cap
        Bus of each switchable shunt and its power drawn at 1 pu [MW + j Mvar], ``(c,)``.
    other_source_bus
        Bus of each source beside the first one.
    moving
        Elements that the plan's topologies open and close.
    source_phasor
        Voltages of the source's nodes at 1 pu, ``(n_source,)``; one node in a balanced network.
    phases
        What only a three-phase network has.
    """

    n_bus: int
    n_branch: int
    n_node: int
    node: np.ndarray
    source_bus: int
    source_v_pu: float
    branch_name: tuple[str, ...]
    from_bus: np.ndarray
    to_bus: np.ndarray
    from_node: np.ndarray
    to_node: np.ndarray
    live: np.ndarray
    switch: np.ndarray
    series: np.ndarray
    half_shunt: np.ndarray
    gain: np.ndarray
    percent_from: np.ndarray
    percent_to: np.ndarray
    regulator: np.ndarray
    shunt: np.ndarray
    cap_bus: np.ndarray
    cap: np.ndarray
    moving: Moving
    other_source_bus: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    source_phasor: np.ndarray = field(default_factory=lambda: np.ones(1, complex))
    phases: PhaseTables | None = None

    @property
    def is_rated(self) -> np.ndarray:
        """Whether each branch has a rating, at one end or both, ``(b,)``."""
        rated: np.ndarray = (self.percent_from > 0) | (self.percent_to > 0)
        return rated

    @property
    def n_topology(self) -> int:
        """Number of topologies, the network as given among them."""
        return len(self.moving.closed)

    def energised(self, topology: int | np.ndarray) -> np.ndarray:
        """Whether each bus has a path to the source or a reference, ``(*batch, m)``, in topologies ``(*batch,)``."""
        return self.moving.energised[np.asarray(topology, np.int64)]

    @property
    def n_source(self) -> int:
        """Number of nodes that the source holds: one, or one per phase."""
        return len(self.source_phasor)

    @property
    def n_place(self) -> int:
        """Places that a load may have: the buses, then the pairs of nodes of a three-phase network."""
        return self.n_bus + (0 if self.phases is None else len(self.phases.pair_a))

    @property
    def place_nodes(self) -> np.ndarray:
        """Node that a load's current at each place comes from, and the one it goes to, -1 for earth, ``(2, w)``."""
        earth = np.full(self.n_bus, -1)
        if self.phases is None:
            return np.stack([self.node, earth])
        pairs = self.node[np.stack([self.phases.pair_a, self.phases.pair_b])]
        return np.concatenate([np.stack([self.node, earth]), pairs], axis=1)

    @property
    def tap_ratio(self) -> np.ndarray:
        """The network's own regulator gains [1], ``(k,)``."""
        gains: np.ndarray = np.abs(self.gain[self.regulator])
        return gains

    def gains(self, tap_ratio: np.ndarray | None = None) -> np.ndarray:
        """Complex gain of every branch with the regulators at `tap_ratio`, ``(b,)``."""
        if tap_ratio is None:
            return self.gain
        gain = self.gain.copy()
        own = gain[self.regulator]
        gain[self.regulator] = own / np.abs(own) * tap_ratio
        return gain

    def ybus(
        self, tap_ratio: np.ndarray | None = None, *, regulators: bool = True, moving: bool = True
    ) -> sp.csc_matrix:
        """Nodal admittance matrix, fixed shunts included [pu], square over ``n_node + n_source``, the source last.

        Parameters
        ----------
        tap_ratio
            Regulator gains [1]; the network's own by default.
        regulators
            False leaves the regulator branches out.
        moving
            False leaves the elements out that topologies open and close.
        """
        keep = self.live.copy()
        if not regulators:
            keep[self.regulator] = False
        if not moving:
            keep &= self.moving.branch < 0
        series, half, gain = self.series[keep], self.half_shunt[keep], self.gains(tap_ratio)[keep]
        f, t, size = self.from_node[keep], self.to_node[keep], self.n_node + self.n_source
        values = ((series + half) * np.abs(gain) ** 2, -series * np.conj(gain), -series * gain, series + half)
        rows, columns = np.concatenate([f, f, t, t, self.node]), np.concatenate([f, t, f, t, self.node])
        data = np.concatenate([*values, np.conj(self.shunt)])
        if self.phases is not None:
            at, (r, c) = self.node[self.phases.bus], self.phases.entries
            y = self.phases.y
            if not moving:
                y = np.where(self.moving.branch[self.phases.row[r]] < 0, y, 0.0)
            rows, columns = np.concatenate([rows, at[r]]), np.concatenate([columns, at[c]])
            data = np.concatenate([data, y])
        return sp.csc_matrix((data, (rows, columns)), shape=(size, size))

    def terms(self, meters: Iterable[Meter], *, references: bool = False) -> Terms:
        """Sums that give the power entering each metered branch at its from bus, and last what the source feeds in.

        Before the source come, on request, the references: what each feeds in leaves its nodes.

        A closed switch has no voltage across it; its power is what the buses behind it draw. A meter is a branch, or
        several of them, whose powers it adds up.

        Raises
        ------
        NetworkError
            If a meter is no branch, or a switch that lies in a loop of closed switches.
        """
        rows = []
        for branches in meters:
            parts = [self._meter(int(branch)) for branch in np.atleast_1d(branches)]
            signs = [np.full(len(index), sign) for index, sign in parts]
            rows.append((np.concatenate([index for index, _ in parts]), np.concatenate(signs)))
        feeding = [np.isin(self.node, self.node[self.moving.held_by(r)]) for r in range(self.moving.n_reference)]
        for member in (*(feeding if references else ()), self.node >= self.n_node):
            fed = self.leaving(member)
            rows.append((fed, np.ones(len(fed))))
        start = np.cumsum([0] + [len(index) for index, _ in rows])
        index, sign = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return Terms(start.astype(np.int64), index.astype(np.int64), sign)

    def _meter(self, branch: int) -> tuple[np.ndarray, float]:
        if not 0 <= branch < self.n_branch:
            raise NetworkError(f"meter {branch} is no branch; allowed are 0 to {self.n_branch - 1}")
        if not self.switch[branch]:
            return np.array([branch]), 1.0
        others = self.switch.copy()
        others[branch] = False
        part = connected_parts(self.n_bus, self.from_bus[others], self.to_bus[others])
        near, far = part[self.from_bus[branch]], part[self.to_bus[branch]]
        if near == far:
            raise NetworkError(
                f'"{self.branch_name[branch]}" cannot be metered: it lies in a loop of closed switches, which share '
                "the current in an undetermined way; open one of them or meter a line"
            )
        sources = [self.source_bus] if self.phases is None else self.phases.source_buses
        if far in part[sources]:
            return self.leaving(part == near), -1.0
        return self.leaving(part == far), 1.0

    def leaving(self, member: np.ndarray) -> np.ndarray:
        """Powers that leave a set of buses: into live branches and into their own loads and shunts."""
        at_from = at_to = self.live | (self.moving.branch >= 0)
        if self.phases is not None:
            at_from, at_to = at_from | (self.terminal_of[0] >= 0), at_to | (self.terminal_of[1] >= 0)
        from_ends = np.flatnonzero(at_from & member[self.from_bus])
        to_ends = np.flatnonzero(at_to & member[self.to_bus]) + self.n_branch
        parts = [from_ends, to_ends, np.flatnonzero(member) + 2 * self.n_branch]
        if self.phases is not None:
            pairs, first = len(self.phases.pair_a), 2 * self.n_branch + self.n_bus
            parts.append(np.flatnonzero(member[self.phases.pair_a]) + first)
            parts.append(np.flatnonzero(member[self.phases.pair_b]) + first + pairs)
        return np.concatenate(parts)

    @property
    def terminal_of(self) -> np.ndarray:
        """Terminal at the from end and at the to end of each branch, -1 for none, ``(2, b)``."""
        found = np.full((2, self.n_branch), -1)
        if self.phases is not None:
            found[self.phases.at_to.astype(int), self.phases.row] = np.arange(len(self.phases.bus))
        return found


def connected_parts(size: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Label of the connected part each bus belongs to."""
    graph = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    return connected_components(graph, directed=False)[1]


def injected_powers(compiled: Compiled, v: np.ndarray, drawn: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The powers that :class:`Terms` counts [MW + j Mvar]: into branches at either end, and drawn at the buses.

    Parameters
    ----------
    v
        Complex bus voltages [pu], ``(m,)``.
    drawn
        Power drawn by the loads and shunts of each bus [MW + j Mvar], ``(m,)``.
    gain
        Complex branch gains, ``(b,)``.
    """
    inner, v_to = gain * v[compiled.from_bus], v[compiled.to_bus]
    series = compiled.series * (inner - v_to)
    s_from = inner * np.conj(series + compiled.half_shunt * inner)
    s_to = v_to * np.conj(compiled.half_shunt * v_to - series)
    if compiled.phases is not None:
        into = v[compiled.phases.bus] * np.conj(compiled.phases.currents(v))
        for ends, terminal in zip((s_from, s_to), compiled.terminal_of, strict=True):
            ends[terminal >= 0] = into[terminal[terminal >= 0]]
    return np.concatenate([s_from, s_to, drawn])


def no_load_voltages(compiled: Compiled, tap_ratio: np.ndarray | None = None) -> np.ndarray:
    """Node voltages without any load at a source of 1 pu, the source last, ``(n_node + n_source,)``.

    `tap_ratio` holds the regulators' gains [1]; the network's own by default.
    """
    n, y = compiled.n_node, compiled.ybus(tap_ratio)
    if n == 0:
        return compiled.source_phasor
    inner = splu(y[:n, :n].tocsc()).solve(-(y[:n, n:] @ compiled.source_phasor))
    return np.concatenate([inner, compiled.source_phasor])
