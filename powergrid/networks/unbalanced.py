"""UnbalancedNetwork: the columns of a three-phase network, one row per node, and its studies.

A node is one phase of a bus, called ``"671.a"``. The columns are those of a balanced :class:`Network`, read phase by
phase, and two more tables hold what a balanced network does not have: :class:`Blocks`, elements that couple several
phases, and :class:`Pairs`, loads that lie between two phases.

Everything is per unit on 1 MVA *per phase* and the nodes' line-to-neutral voltage ``vn_kv / sqrt(3)``, so a power in MW
and its per-unit value are the same number, as in a balanced network. Earth is the reference of every voltage.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import NodeLoad
from powergrid.networks.studied import Studied
from powergrid.networks.tables import (
    NO_STATIC_GENERATORS,
    Blocks,
    Branches,
    Nodes,
    Pairs,
    PhaseLoads,
    Regulators,
    Shunts,
    StaticGenerators,
    filled,
    index_of,
)


@dataclass(frozen=True, eq=False)
class UnbalancedNetwork(Studied):
    """A three-phase network as columns.

    Parameters
    ----------
    name
        Registered name.
    buses
        Its nodes.
    branches
        One row per phase of a line, transformer, regulator or switch, named ``"<element>.<phase>"``. The rows of
        regulators and switches are pi sections as in a balanced network; those that belong to a block have no impedance
        of their own.
    blocks, pairs, regulators, loads, shunts
        See there. `shunts` lie between a node and earth.
    source_nodes
        Nodes that the source holds, ``(3,)``.
    source_v_pu
        Voltage of the source [pu].
    source_angle_degree
        Angle of each of its phases [degree], ``(3,)``.
    f_hz
        Frequency [Hz].
    source_note
        Where the figures come from.
    """

    name: str
    buses: Nodes
    branches: Branches
    blocks: Blocks
    pairs: Pairs
    regulators: Regulators
    loads: PhaseLoads
    shunts: Shunts
    source_nodes: np.ndarray
    source_v_pu: float = 1.0
    source_angle_degree: np.ndarray = field(default_factory=lambda: np.array([0.0, -120.0, 120.0]))
    f_hz: float = 60.0
    source_note: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", filled(self.branches, np.nan))
        for what, names in (("node", self.buses.name), ("branch", self.branches.name), ("load", self.loads.name)):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise NetworkError(f'network "{self.name}": {what} names must be unique; repeated: {repeated}')

    @property
    def is_three_phase(self) -> Literal[True]:
        """True: a row of `buses` is one phase of a bus."""
        return True

    @property
    def static_generators(self) -> StaticGenerators:
        """An empty table: devices feed in phase by phase."""
        return NO_STATIC_GENERATORS

    @property
    def source_bus(self) -> int:
        """First of the source's nodes."""
        return int(self.source_nodes[0])

    @property
    def places(self) -> np.ndarray:
        """Node of every place that a load may have: the nodes, then the first node of each pair, ``(m + d,)``."""
        return np.concatenate([np.arange(len(self.buses.name)), self.pairs.first])

    def node_load(self, scale: float = 1.0) -> NodeLoad:
        """Power that the network's own loads draw at every place, multiplied by `scale`; ``(m + d,)`` columns."""
        loads, count = self.loads, len(self.places)
        p_mw, q_mvar = scale * loads.p_mw, scale * loads.q_mvar
        parts = (
            p_mw * (1 - loads.i_share_p - loads.z_share_p),
            q_mvar * (1 - loads.i_share_q - loads.z_share_q),
            p_mw * loads.i_share_p,
            q_mvar * loads.i_share_q,
            p_mw * loads.z_share_p,
            q_mvar * loads.z_share_q,
        )
        return NodeLoad(*(np.bincount(loads.bus, part, count) for part in parts))

    def phases_of(self, bus: str) -> str:
        """Phases of a bus, such as ``"ac"``.

        Raises
        ------
        NetworkError
            If there is no such bus; the message holds the nearest match.
        """
        index_of(self.name, "bus", bus, tuple(dict.fromkeys(self.buses.bus)))
        return "".join(phase for name, phase in zip(self.buses.bus, self.buses.phase, strict=True) if name == bus)

    def place(self, bus: str, phases: str) -> int:
        """Place of a load at one phase (``"a"``) or between two (``"ab"``, which must be a pair of the network).

        Raises
        ------
        NetworkError
            If the bus or the phase does not exist, or nothing lies between the two phases.
        """
        here = self.phases_of(bus)
        missing = [phase for phase in phases if phase not in here]
        if missing:
            raise NetworkError(f'bus "{bus}" has no phase {missing[0]}; it has {" and ".join(here)}')
        nodes = [self.buses.name.index(f"{bus}.{phase}") for phase in phases]
        if len(nodes) == 1:
            return nodes[0]
        match = np.flatnonzero((self.pairs.first == nodes[0]) & (self.pairs.second == nodes[1]))
        if not len(match):
            raise NetworkError(f'nothing lies between phases {" and ".join(phases)} of bus "{bus}"')
        return len(self.buses.name) + int(match[0])

    def bus(self, name: str) -> int:
        """Index of the node called `name`, such as ``"671.a"``.

        Raises
        ------
        NetworkError
            If there is none; the message holds the nearest match.
        """
        return index_of(self.name, "node", name, self.buses.name)

    def branch(self, name: str) -> int:
        """Index of the branch called `name`, such as ``"650-RG60.a"``.

        Raises
        ------
        NetworkError
            If there is none; the message holds the nearest match.
        """
        return index_of(self.name, "branch", name, self.branches.name)

    def rows(self, element: str) -> tuple[int, ...]:
        """Rows of `branches` that make up an element: all phases of ``"650-RG60"``, or one row by its own name."""
        names = self.branches.name
        if element in names:
            return (names.index(element),)
        return tuple(i for i, name in enumerate(names) if name[:-2] == element and name[-2] == ".")
