"""Sums over groups and gathers, precomputed once, in the spelling that NumPy and JAX share."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array

_DENSE_LIMIT = 65_536
"""Largest matrix kept dense; beyond it the cost would grow with the product of both sides."""


class SumTo:
    """Sum values into targets: ``out[..., t] = sum of weight[i] * values[..., i] for i with target[i] == t``.

    A dense product for small sizes. Beyond them targets that take about as many values, to a factor of two, are
    gathered together, padded to the most of them, so that the cost stays linear even where one target takes from all.

    Parameters
    ----------
    target
        Target of each value, ``(n,)``; -1 drops the value.
    size
        Number of targets.
    weight
        Weight of each value, ``(n,)``; ones by default.
    source
        Value that each target takes, ``(n,)``, where one value goes to several; each value once by default.
    values
        Number of values, where `source` leaves out the last ones.
    """

    def __init__(
        self,
        target: np.ndarray,
        size: int,
        weight: np.ndarray | None = None,
        source: np.ndarray | None = None,
        values: int = 0,
    ):
        target = np.asarray(target, dtype=np.int64)
        source = np.arange(len(target)) if source is None else np.asarray(source, dtype=np.int64)
        weight = np.ones(len(target)) if weight is None else np.asarray(weight, dtype=float)
        kept = np.flatnonzero(target >= 0)
        self.size = size
        self.target, self.source, self.weights = target, source, weight
        values = max(int(source.max()) + 1, values) if len(source) else values
        self.empty = len(kept) == 0 or size == 0
        self.matrix: np.ndarray | None = None
        if self.empty:
            return
        if values * size <= _DENSE_LIMIT:
            self.matrix = np.zeros((values, size))
            np.add.at(self.matrix, (source[kept], target[kept]), weight[kept])
            return
        order = kept[np.argsort(target[kept], kind="stable")]
        counts = np.bincount(target[kept], minlength=size)
        position = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        room = np.frexp(np.maximum(counts - 1, 0))[1]  # counts up to 2**room
        self.groups: list[tuple[np.ndarray, np.ndarray]] = []
        place, placed = np.zeros(size, dtype=np.int64), 0
        for group in np.unique(room).tolist():
            members = np.flatnonzero(room == group)
            row, width = np.full(size, -1), counts[members].max()
            row[members] = np.arange(len(members))
            index, factor = np.zeros((len(members), width), dtype=np.int64), np.zeros((len(members), width))
            mine = room[target[order]] == group
            at = row[target[order[mine]]], position[mine]
            index[at], factor[at] = source[order[mine]], weight[order[mine]]
            self.groups.append((index, factor))
            place[members] = placed + row[members]
            placed += len(members)
        self.place = place

    def __call__(self, xp: Namespace, values: Array) -> Array:
        """Sums ``(*batch, size)`` of values ``(*batch, n)``."""
        if self.empty:
            return xp.zeros((*values.shape[:-1], self.size), dtype=values.dtype)
        if self.matrix is not None:
            return values @ xp.asarray(self.matrix, dtype=values.dtype)
        sums = [(values[..., i] * xp.asarray(factor, dtype=values.dtype)).sum(-1) for i, factor in self.groups]
        return sums[0] if len(sums) == 1 else xp.concatenate(sums, axis=-1)[..., self.place]


def join(xp: Namespace, parts: list[Array], batch: tuple[int, ...], dtype: Any) -> Array:
    """Concatenate along the last axis; empty if there are no parts, broadcasting parts that lack the batch axes."""
    full = [part if part.shape[:-1] == batch else xp.broadcast_to(part, (*batch, part.shape[-1])) for part in parts]
    if not full:
        return xp.zeros((*batch, 0), dtype=dtype)
    return full[0] if len(full) == 1 else xp.concatenate(full, axis=-1)
