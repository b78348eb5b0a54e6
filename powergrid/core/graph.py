"""Graphs among members: directed links, and the weights of distributed averaging."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np


@dataclass(frozen=True)
class Graph:
    """Who is linked with whom.

    Attributes
    ----------
    size
        Number of members.
    pairs
        Undirected links ``(k, 2)``, each once; ``None`` where everybody is linked with everybody, whose pairs are
        not listed because their number grows with the square of the members.
    name
        Topology it was made from, for messages.
    """

    size: int
    pairs: np.ndarray | None
    name: str = "list"

    @property
    def is_full(self) -> bool:
        """Whether everybody is linked with everybody."""
        return self.pairs is None

    @cached_property
    def links(self) -> np.ndarray:
        """Directed links ``(2 k, 2)`` as sender and receiver, in order of the receiver."""
        if self.pairs is None:
            sender, receiver = np.nonzero(~np.eye(self.size, dtype=bool))
            both = np.stack([sender, receiver], axis=1)
        else:
            both = np.concatenate([self.pairs, self.pairs[:, ::-1]]).reshape(-1, 2)
        return both[np.lexsort((both[:, 0], both[:, 1]))]

    @cached_property
    def degree(self) -> np.ndarray:
        """Number of neighbours of each member, ``(size,)``."""
        if self.pairs is None:
            return np.full(self.size, self.size - 1)
        return np.bincount(self.pairs.ravel(), minlength=self.size)

    @property
    def is_connected(self) -> bool:
        """Whether every member reaches every other one."""
        return not self.unreached

    @property
    def unreached(self) -> tuple[int, ...]:
        """Members that the first one does not reach over any number of links, in order."""
        if self.pairs is None or self.size <= 1:
            return ()
        graph = nx.Graph(self.pairs.tolist())
        graph.add_node(0)
        return tuple(sorted(set(range(self.size)) - nx.node_connected_component(graph, 0)))

    @cached_property
    def metropolis(self) -> np.ndarray:
        """Weight of each directed link, ``(2 k,)``: ``1 / (1 + max(d_i, d_j))``.

        With what remains for oneself the weights of a member sum to one, and are the same both ways, so that repeated
        averaging keeps the mean and converges on any connected graph (Xiao and Boyd, "Fast linear iterations for
        distributed averaging", Systems & Control Letters 53, 2004).
        """
        larger: np.ndarray = np.maximum(self.degree[self.links[:, 0]], self.degree[self.links[:, 1]])
        return 1.0 / (1.0 + larger)

    @cached_property
    def contraction(self) -> float:
        """Spectral bound of averaging with :attr:`metropolis`, ``||W - 11'/n||``.

        After k rounds the distance from the mean is at most ``contraction ** k`` times what it was.
        """
        weights = np.zeros((self.size, self.size))
        weights[self.links[:, 1], self.links[:, 0]] = self.metropolis
        weights += np.diag(1.0 - weights.sum(axis=1)) - 1.0 / self.size
        return float(np.abs(np.linalg.eigvalsh(weights)).max(initial=0.0))


def full(size: int) -> Graph:
    """Everybody with everybody else."""
    return Graph(size, None, "full")


def of_pairs(size: int, pairs: Iterable[tuple[int, int]], name: str = "list") -> Graph:
    """A graph of the given links; direction and repetition do not matter."""
    unique = sorted({(min(a, b), max(a, b)) for a, b in pairs if a != b})
    return Graph(size, np.array(unique, dtype=int).reshape(-1, 2), name)


def star(size: int, hub: int = 0) -> Graph:
    """Everybody with one hub."""
    return of_pairs(size, ((hub, k) for k in range(size)), "star")


def ring(size: int) -> Graph:
    """Everybody with the member before and the member behind in order of listing."""
    return of_pairs(size, ((k, (k + 1) % size) for k in range(size)), "neighbours")
