"""Which units form the grid of which island, topology by topology.

A topology names one bus an island at which a reference holds the voltage: that of the largest unit there that forms
grids. Further topologies let islands be dead that could be held, for an island collapses when its units lack power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.powerflow.compile import compile_network


@dataclass(frozen=True)
class Islands:
    """Who forms the grid of which island.

    Attributes
    ----------
    families
        Families with units that form grids.
    members
        Those units' rows in each of these families.
    unit
        Their places among all injecting units, ``(u,)``.
    island
        Reference of the island that each of them is in, by topology, -1 for none, ``(T, u)``.
    island_of_unit
        The same of every injecting unit, ``(T, N)``.
    fallen
        Topology in which a reference's island is dead and all else as before, ``(T, references)``.
    alive
        Whether each injecting unit has voltage, ``(T, N)``.
    f_hz
        Nominal frequency.
    shift
        Column of the signals that is added to the frequency set point of each of them, -1 for none, ``(u,)``.
    """

    families: tuple[int, ...]
    members: tuple[np.ndarray, ...]
    unit: np.ndarray
    island: np.ndarray
    island_of_unit: np.ndarray
    fallen: np.ndarray
    alive: np.ndarray
    f_hz: float
    shift: np.ndarray

    def number(self, xp: Namespace, topology: Array) -> Array:
        """Reference of the island that every injecting unit is in, -1 for none, ``(*batch, N)``."""
        found: Array = xp.asarray(self.island_of_unit)[topology]
        return found

    def shift_pu(self, xp: Namespace, signals: Array) -> Array | None:
        """Shift of the frequency set point of each forming unit [1], ``(*batch, u)``; ``None`` where nothing shifts."""
        if (self.shift < 0).all():
            return None
        return xp.where(self.shift >= 0, signals[..., np.maximum(self.shift, 0)], 0.0) / self.f_hz

    def frequency(self, xp: Namespace, topology: Array, drop: Array) -> Array:
        """Frequency at every injecting unit [Hz], ``(*batch, N)``: 0 without voltage, nominal beside the source.

        `drop` holds what each island's frequency has fallen by [1], ``(*batch, references)``.
        """
        alive = xp.asarray(self.alive)[topology]
        at = xp.asarray(self.island_of_unit)[topology]
        own = (drop[..., None, :] * (at[..., None] == np.arange(self.fallen.shape[1]))).sum(-1)
        return xp.where(alive, self.f_hz * (1.0 - own), 0.0)


class Held(NamedTuple):
    """Topologies with those added in which islands collapse.

    Attributes
    ----------
    topologies
        Changed branches of each topology after the first.
    forming
        Nodes of the references in each of them.
    fallen
        See :class:`Islands`.
    island
        Reference of the island that each bus is in, -1 for none, ``(T, m)``.
    """

    topologies: tuple[tuple[int, ...], ...]
    forming: tuple[tuple[tuple[int, ...], ...], ...]
    fallen: np.ndarray
    island: np.ndarray


def hold_islands(
    network: Any, topologies: Sequence[tuple[int, ...]], units: Sequence[tuple[int, ...]], limit: int
) -> Held | int:
    """Let the first unit in each island hold it, and add the topologies in which some of the islands are dead.

    Parameters
    ----------
    topologies
        Changed branches of each topology after the first.
    units
        Nodes of the units that form grids, those that shall hold before others first.
    limit
        Most topologies that there may be.

    Returns
    -------
    Held | int
        The number of topologies if they are too many.
    """
    references = tuple(dict.fromkeys(units))
    forming: list[list[tuple[int, ...]]] = [[] for _ in topologies]
    energised = compile_network(network, topologies).moving.energised
    island = np.full(energised.shape, -1)
    for row, nodes in enumerate(references):
        cut = ~energised[:, list(nodes)].any(axis=1)
        for t in np.flatnonzero(cut):
            forming[t - 1].append(nodes)
        after = compile_network(network, topologies, forming).moving.energised
        island[after & ~energised] = row
        energised = after
    holding = [frozenset(references.index(nodes) for nodes in row) for row in ((), *forming)]
    count: int = sum(2 ** len(held) for held in holding)
    if count > limit:
        return count
    return _with_fallen(topologies, references, holding, island)


def _with_fallen(
    topologies: Sequence[tuple[int, ...]],
    references: Sequence[tuple[int, ...]],
    holding: Sequence[frozenset[int]],
    island: np.ndarray,
) -> Held:
    """The topologies as given, then each with every choice of its islands dead."""
    rows = [(t, held) for t, held in enumerate(holding)]
    for t, held in enumerate(holding):
        subsets = chain.from_iterable(combinations(sorted(held), k) for k in range(len(held)))
        rows += [(t, frozenset(subset)) for subset in subsets]
    place = {row: index for index, row in enumerate(rows)}
    used = list(dict.fromkeys(r for _, held in rows for r in sorted(held)))  # the power flow's order of references
    fallen = np.array([[place[t, held - {r}] for r in used] for t, held in rows]).reshape(len(rows), len(used))
    number = {r: k for k, r in enumerate(used)}
    islands = np.array([[number[r] if r in held else -1 for r in island[t].tolist()] for t, held in rows])
    return Held(
        topologies=tuple(((), *topologies)[t] for t, _ in rows[1:]),
        forming=tuple(tuple(references[r] for r in sorted(held)) for _, held in rows[1:]),
        fallen=fallen,
        island=islands,
    )
