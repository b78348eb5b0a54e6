"""What agents see, as index arrays: observations of all agents are one row of numbers, one agent after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

import numpy as np

from powergrid.core.types import Array, Entry
from powergrid.engine.blocks import Blocks, FeatureColumns


@dataclass(frozen=True)
class View:
    """What agents see.

    The observation of an environment has ``N`` numbers: those of the first actor, then those of the second one, and so
    on; Python agents follow the actors. Nothing is padded, so that memory and time grow with what is seen.

    Attributes
    ----------
    entries
        Every feature of the environment, in the order of the feature vector.
    blocks
        Where the features of each kind lie.
    index
        Feature of each number, ``(N,)``.
    offsets
        First number of each agent and, last, `N`, ``(A + 1,)``.
    low, high
        Bounds of each number, ``(N,)``.
    central
        Features of the central state: everything that any actor sees, once.
    """

    entries: tuple[tuple[str, Entry], ...]
    blocks: Blocks[FeatureColumns]
    index: np.ndarray
    offsets: np.ndarray
    low: np.ndarray
    high: np.ndarray
    central: np.ndarray

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Length of each agent's observation."""
        return tuple(np.diff(self.offsets).tolist())

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Numbers of each agent."""
        return tuple(slice(*ends) for ends in pairwise(self.offsets.tolist()))

    def features(self, agent: int) -> list[int]:
        """Features that an agent sees, in order."""
        found: list[int] = self.index[self.slices[agent]].tolist()
        return found

    def labels(self, agent: int) -> tuple[str, ...]:
        """Labels of one acting agent."""
        return tuple(self.entries[i][1].label(self.entries[i][0]) for i in self.features(agent))

    def runs(self, agents: int) -> list[tuple[int, int]]:
        """Numbers of observations of equal length that follow each other among the first agents, and their length."""
        return [(len(list(run)), size) for size, run in groupby(self.sizes[:agents])]

    def stacked(self, observation: Array, agents: Sequence[int]) -> Array:
        """Observations of agents that see equally many numbers, ``(*batch, n, d)``, from all numbers ``(*batch, N)``.

        A view where the agents follow each other.
        """
        return stacked(observation, self.offsets, agents)

    @cached_property
    def central_places(self) -> np.ndarray:
        """Numbers of the observation that show the central state."""
        features, first = np.unique(self.index, return_index=True)
        places: np.ndarray = first[np.searchsorted(features, self.central)]
        return places


def stacked(observation: Array, offsets: np.ndarray, agents: Sequence[int]) -> Array:
    """Observations of agents that see equally many numbers, ``(*batch, n, d)``, from all numbers ``(*batch, N)``.

    A view where the agents follow each other.

    Parameters
    ----------
    offsets
        First number of each agent and, last, `N`, ``(A + 1,)``.
    agents
        Rows of the agents.
    """
    first, count = agents[0], len(agents)
    start, size = int(offsets[first]), int(offsets[first + 1] - offsets[first])
    if list(agents) == list(range(first, first + count)):
        rows = observation[..., start : start + count * size]
        return rows.reshape((*rows.shape[:-1], count, size))
    return observation[..., offsets[np.asarray(agents)][:, None] + np.arange(size)]
