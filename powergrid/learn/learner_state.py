"""What a policy-gradient learner holds, and what a roll-out hands it: arrays under the names that checkpoints use."""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.core.types import Array
from powergrid.learn.groups import ByGroup
from powergrid.learn.networks import Running


class Tally(NamedTuple):
    """Running sums of the episodes under way, ``(E,)`` each."""

    reward: Array
    money: Array
    cost: Array


class LearnerState(NamedTuple):
    """What is learned: weights, statistics of inputs and returns, where the run stands, and what limits are worth.

    `actor` and `obs_norm` are trees that the network of the actors makes; those of a dense one are by group.
    `multipliers` belongs to algorithms with limits; it is empty for others.
    """

    actor: Any
    critic: Any
    obs_norm: Any
    state_norm: Running
    value_norm: Running
    optimiser: Any
    key: Array
    updates: Array
    multipliers: Any = ()


class Lanes(NamedTuple):
    """The environments between two ticks, and what agents remember in them, ``(E, n, width)`` by group."""

    env: Any
    obs: ByGroup[Array]
    central: Array
    tally: Tally
    memory: Any = ()


class TrainState(NamedTuple):
    """Everything that the next update depends on: the fields of :class:`LearnerState`, then those of :class:`Lanes`."""

    actor: Any
    critic: Any
    obs_norm: Any
    state_norm: Running
    value_norm: Running
    optimiser: Any
    key: Array
    updates: Array
    multipliers: Any
    env: Any
    obs: ByGroup[Array]
    central: Array
    tally: Tally
    memory: Any = ()

    @property
    def learner(self) -> LearnerState:
        """What is learned."""
        return LearnerState(*(getattr(self, name) for name in LearnerState._fields))

    @property
    def lanes(self) -> Lanes:
        """The environments."""
        return Lanes(*(getattr(self, name) for name in Lanes._fields))


class Rollout(NamedTuple):
    """One fragment, ticks and environments first.

    `action` took effect where the agent was `due`, ``(ticks, E, A)``. `final_value` counts, and `finished` is not 0,
    where an episode ended. Where agents join or leave, `alive` says who was there in the tick, and `left` who left with
    it, ``(ticks, E, A)``. Of agents with a memory, `memory` holds what they remember at the beginning of each chunk
    that gradients pass back through, ``(chunks, E, n, width)`` by group.
    """

    obs: ByGroup[Array]
    central: Array
    action: ByGroup[Array]
    reward: Array
    due: Array
    done: Array
    terminated: Array
    final_value: Array
    finished: Tally
    alive: Array | None = None
    left: Array | None = None
    memory: Any = ()
