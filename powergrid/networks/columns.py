"""The columns of a balanced network, with checks and look-ups; conversions and studies build on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import NodeLoad
from powergrid.networks.tables import (
    BRANCH_KINDS,
    NO_GENERATORS,
    NO_SOURCES,
    NO_STATIC_GENERATORS,
    Branches,
    Buses,
    Generators,
    Loads,
    Regulators,
    Shunts,
    Sources,
    StaticGenerators,
    filled,
    index_of,
)


@dataclass(frozen=True, eq=False)
class NetworkColumns:
    """A balanced (positive-sequence) network as columns, with checks and look-ups by name.

    :class:`~powergrid.networks.Network` adds conversions and studies.

    Parameters
    ----------
    name
        Registered name.
    source_bus
        Index of the bus that holds the source.
    source_v_pu
        Its voltage [pu].
    source_note
        Where the figures come from.
    f_hz
        Frequency [Hz].
    generators
        Generators that hold the voltage of their bus; they need the power-flow method ``newton``.
    sources
        Sources beside the one at `source_bus`; they need ``newton``, too.
    static_generators
        Generation and storage of given power.
    """

    name: str
    buses: Buses
    branches: Branches
    regulators: Regulators
    loads: Loads
    shunts: Shunts
    source_bus: int
    source_v_pu: float = 1.0
    f_hz: float = 60.0
    source_note: str = field(default="", repr=False)
    generators: Generators = NO_GENERATORS
    sources: Sources = NO_SOURCES
    static_generators: StaticGenerators = NO_STATIC_GENERATORS

    def __post_init__(self) -> None:
        object.__setattr__(self, "loads", filled(self.loads))
        object.__setattr__(self, "branches", filled(self.branches, np.nan))
        buses, branches = len(self.buses.name), self.branches
        for what, names in (
            ("bus", self.buses.name),
            ("branch", branches.name),
            ("generator", self.generators.name),
            ("static generator", self.static_generators.name),
        ):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise self._fault(f"{what} names must be unique; repeated: {', '.join(repeated)}")
        for what, index in (
            ("branch", np.concatenate([branches.from_bus, branches.to_bus])),
            ("load", self.loads.bus),
            ("shunt", self.shunts.bus),
            ("source", np.append(self.sources.bus, self.source_bus)),
            ("generator", self.generators.bus),
            ("static generator", self.static_generators.bus),
        ):
            if len(index) and (index.min() < 0 or index.max() >= buses):
                raise self._fault(f"a {what} names a bus beyond the {buses} buses")
        unknown = sorted(set(branches.kind) - set(BRANCH_KINDS))
        if unknown:
            raise self._fault(f'branch kind "{unknown[0]}" is none of {", ".join(BRANCH_KINDS)}')
        wound = np.isin(branches.kind, ("transformer", "regulator"))
        if np.any(~wound & ((branches.ratio != 1) | (branches.shift_degree != 0))):
            raise self._fault("only transformers and regulators may have a ratio or a phase shift")

    def _fault(self, message: str) -> NetworkError:
        return NetworkError(f'network "{self.name}": {message}')

    @property
    def is_three_phase(self) -> Literal[False]:
        """False: a row of `buses` is a bus."""
        return False

    def node_load(self, scale: float = 1.0) -> NodeLoad:
        """Power of the network's own loads at every bus, multiplied by `scale`, less what static generators feed in.

        Returns
        -------
        NodeLoad
            ``(m,)`` columns.
        """
        loads, m = self.loads, len(self.buses.name)
        p_mw, q_mvar = scale * loads.p_mw, scale * loads.q_mvar
        parts = [p_mw * (1 - loads.i_share_p - loads.z_share_p), q_mvar * (1 - loads.i_share_q - loads.z_share_q)]
        if loads.by_voltage.any():
            parts += [
                p_mw * loads.i_share_p,
                q_mvar * loads.i_share_q,
                p_mw * loads.z_share_p,
                q_mvar * loads.z_share_q,
            ]
        drawn, static = [np.bincount(loads.bus, part, m).astype(float) for part in parts], self.static_generators
        for part, fed_in in zip(drawn, (static.p_mw, static.q_mvar), strict=False):
            part -= np.bincount(static.bus, fed_in, m)
        return NodeLoad(*drawn)

    def bus(self, name: str) -> int:
        """Index of the bus called `name`.

        Raises
        ------
        NetworkError
            If there is none; the message holds the nearest match.
        """
        return index_of(self.name, "bus", name, self.buses.name)

    def branch(self, name: str) -> int:
        """Index of the branch called `name`.

        Raises
        ------
        NetworkError
            If there is none; the message holds the nearest match.
        """
        return index_of(self.name, "branch", name, self.branches.name)
