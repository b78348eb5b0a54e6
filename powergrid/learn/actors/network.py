"""What a network of actors offers learners, and acting without JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.learn.learner import AlgorithmSettings
from powergrid.learn.networks import Running

ROUNDS = 2
Groups = Mapping[str, tuple[str, ...]]


class NetworkSettings(AlgorithmSettings):
    """Hyperparameters that choose the network of the actors."""

    network: Literal["dense", "graph", "gru"] = Field(
        "dense",
        description="dense: a stack a group; graph: one policy for any feeder, whose agents hear their neighbours; "
        "gru: agents with a memory",
    )
    rounds: int = Field(
        ROUNDS, ge=0, le=16, description="network graph: rounds of messages between neighbouring buses in a tick"
    )
    chunk: int = Field(
        0, ge=0, description="network gru: ticks that gradients pass back through, which divide a roll-out; 0 for all"
    )

    @model_validator(mode="after")
    def _of_its_network(self) -> NetworkSettings:
        if self.network != "graph" and self.rounds != ROUNDS:
            raise ValueError(f"rounds {self.rounds} belongs to network graph; set network=graph, or leave it out")
        if self.network != "gru" and self.chunk:
            raise ValueError(f"chunk {self.chunk} belongs to network gru; set network=gru, or leave it out")
        ticks = getattr(self, "rollout", 0)
        if self.chunk and not ticks:
            raise ValueError(f"chunk {self.chunk} divides roll-outs, which this algorithm has not; leave it out")
        if self.chunk and ticks % self.chunk:
            raise ValueError(f"chunk {self.chunk} must divide the {ticks} ticks of a roll-out")
        if self.network != "dense" and not getattr(self, "hidden", (1,)):
            raise ValueError(f"network {self.network} needs at least one hidden width; such as hidden=[64, 64]")
        return self


class ActorNetwork(Protocol):
    """A function from observations by group to the means of actions by group, written once over `xp`.

    Weights and statistics are trees of arrays that the network makes; it keeps no arrays that are learned itself.
    """

    kind: str
    hears: bool
    """Whether agents act on what others observe, so that all groups are needed for the actions of one."""
    remembers: bool
    """Whether agents have a memory; if so, the network also has the parts of :meth:`acted` apart: ``seen``,
    ``recalled`` and ``chosen``, and `chunk`."""
    observation_size: Mapping[str, int]
    action_size: Mapping[str, int]
    input_size: Mapping[str, int]
    """Length of one agent's normalised input, by group."""
    first_gain: float
    """Gain of the last layer's first weights: small, or 0 for mean actions of exactly 0."""

    def init(self, rng: np.random.Generator, hidden: tuple[int, ...], log_std: float | None) -> Any:
        """First weights, with the spread of exploration unless `log_std` is ``None``."""
        ...

    def statistics(self, counted: bool) -> Any:
        """Statistics of inputs before the first sample; `counted` where agents join or leave."""
        ...

    def merged(self, xp: Namespace, norms: Any, obs: Mapping[str, Array], there: Mapping[str, Array | None]) -> Any:
        """Statistics with the samples of one roll-out, of agents that were `there`."""
        ...

    def inputs(self, xp: Namespace, norms: Any, obs: Mapping[str, Array]) -> dict[str, Array]:
        """Normalised inputs ``(*batch, n, input_size)`` for observations ``(*batch, n, d)``."""
        ...

    def means(self, xp: Namespace, actor: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Mean actions ``(*batch, n, k)`` for normalised inputs."""
        ...

    def exploring(self, xp: Namespace, actor: Any, squares: Mapping[str, Array], least: float) -> Any:
        """Weights whose actors explore with the roots of the mean `squares`, ``(n, k)`` by group, and `least` at least.

        Weights without a spread stay as they are.
        """
        ...

    def begun(self, batch: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Memories ``(*batch, n, width)`` by group at the beginning of an episode; none without memory."""
        ...

    def acted(
        self, xp: Namespace, actor: Any, inputs: Mapping[str, Array], memory: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Mean actions of one tick, and the memories after it."""
        ...

    def spreads(self, actor: Any) -> dict[str, Array]:
        """Logarithm of the standard deviation of exploration, ``(k,)`` or ``(n, k)`` by group."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What acting needs besides weights and statistics, for checkpoints."""
        ...


def statistics_of(arrays: Mapping[str, np.ndarray], name: str, agents: int) -> Running:
    """Statistics of inputs under ``obs_norm/<name>``.

    Raises
    ------
    KeyError
        If they are missing.
    ValueError
        If shapes do not fit each other and the number of agents, or a variance is negative.
    """
    norm = Running(*(arrays[f"obs_norm/{name}/{field}"] for field in Running._fields))
    width = norm.mean.shape[-1:]
    fits = norm.mean.shape in (width, (agents, *width)) and norm.var.shape == norm.mean.shape
    if not fits or norm.count.shape not in ((), (agents, 1)):
        raise ValueError(f"obs_norm/{name} has shapes {norm.mean.shape}, {norm.var.shape} and {norm.count.shape}")
    if not (norm.var >= 0.0).all():
        raise ValueError(f"obs_norm/{name}/var is negative")
    return norm


def tree_of(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Any]:
    """Nested dictionaries of the arrays below a key."""
    tree: dict[str, Any] = {}
    for key, array in arrays.items():
        if key.startswith(prefix):
            *path, last = key.removeprefix(prefix).split("/")
            place = tree
            for part in path:
                place = place.setdefault(part, {})
            place[last] = array
    return tree
