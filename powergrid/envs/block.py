"""A block of a vector environment: environments that step as one batch of the engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core import random
from powergrid.core.errors import ActionError
from powergrid.core.types import Array
from powergrid.engine.results import Results
from powergrid.engine.state import State
from powergrid.worlds import snapshot
from powergrid.worlds.schedules import Schedule
from powergrid.worlds.simulation import Policy, Simulation
from powergrid.worlds.snapshot import Snapshot
from powergrid.worlds.world import World


class Block:
    """Environments of a vector environment that step as one batch.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    rows
        The block's environments among all.
    backend
        As for :class:`~powergrid.worlds.simulation.Simulation`.
    days
        Days that episodes may start on.
    """

    def __init__(self, world: World, rows: slice, backend: str, days: Array):
        self.world, self.rows, self.days = world, rows, days
        size = rows.stop - rows.start
        self.simulation = Simulation(world, backend, size)
        self.seed_key = np.zeros((size, 2), np.uint32)
        self.episode = np.zeros(size, np.int32)
        self.day = np.zeros(size, np.int32)
        self.tick = np.zeros(size, np.int32)
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The block's state.

        Raises
        ------
        ActionError
            Before the first reset.
        """
        if self._state is None:
            raise ActionError("call reset() before the first step()")
        return self._state

    def reset(self, seeds: Array | None, days: Array | None, schedule: Schedule) -> tuple[Array, Array, Array]:
        """Start episodes; return first observations, float32 ``(E, N)``, ``converged`` and ``available``."""
        if seeds is not None:
            self.seed_key = random.key_from_seed(np, seeds)
            self.episode[:] = 0
        key = self._keys(slice(None), days)
        first = self.simulation.reset(key, self.day, schedule)
        self._state = first.state
        return first.observation.astype(np.float32), first.converged, first.available

    def saved(self) -> tuple[Any, ...]:
        """Copy everything that a step changes: state, keys, episodes, days, ticks, Python objects."""
        state, objects = self._state, ()
        if state is not None:
            state = snapshot.value_of(getattr(state, "state", state))
            objects = snapshot.saved_objects(self.simulation, state)
        return (state, *snapshot.copied((self.seed_key, self.episode, self.day, self.tick)), objects)

    def resume(self, saved: Snapshot) -> None:
        """Continue from this block's rows of a snapshot."""
        rows = self.rows
        self._state = None
        if saved.state is not None:
            self._state = snapshot.resumed(self.simulation, snapshot.rows_of(saved.state, rows), saved.objects[rows])
        parts = (saved.central, saved.episode, saved.day, saved.tick)
        self.seed_key, self.episode, self.day, self.tick = snapshot.rows_of(parts, rows)

    def step(self, actions: Array, results: Results) -> tuple[Array, Array, Array, Array, Any]:
        """Advance by one tick, and start the next episode where one ended; ``money`` and ``costs`` are not filled.

        Parameters
        ----------
        actions
            ``(E, A, k_max)``.
        results
            Arrays to fill; rows of agents that decide in Python follow those of the others.

        Returns
        -------
        terminated, truncated, final_observation, left, fill
            `left` says which actors leave with this tick, ``(E, A)``; `fill` fills ``money`` and ``costs``.
        """
        layout = self.world.layout
        alive = self.alive if layout.actors_change else None
        self._state, fill = self.simulation.advance(self.state, actions, results, keep=False)
        results = results.of_actors(layout)
        settings, observation = layout.settings, results.observation
        self.tick += 1
        left = np.zeros(results.reward.shape, dtype=bool)
        if alive is not None:
            results.reward[~alive] = results.cost[~alive] = 0.0
            left = alive & ~self.alive
        last = self.tick >= settings.episode_length
        terminated = ~results.converged if settings.terminate_on_divergence else np.zeros_like(last)
        ended, final = terminated | last, observation[:0]
        if ended.any():
            who = np.flatnonzero(ended)
            final, left[who] = observation[who], False
            observation[who] = self._begin(who)
        return terminated, last & ~terminated, final, left, fill

    @property
    def alive(self) -> Array:
        """Whether each actor is there in the next tick, ``(E, A)``."""
        return self.world.layout.alive(np, self.tick, self.state.absences)

    def decide(self, policy: Policy) -> Array:
        """Actions ``(E, A, k_max)`` of a local policy."""
        return self.simulation.decide(self.state, policy)

    def _begin(self, who: Array) -> Array:
        """Start the next episode of the environments `who`; return their first observations."""
        self._state, observation = self.simulation.restart(self.state, who, self._keys(who, None), self.day[who])
        return observation.astype(np.float32)

    def _keys(self, who: Any, days: Array | None) -> Array:
        """Keys of new episodes of the environments `who`, whose numbers and days are set too."""
        key = random.fold_in(np, self.seed_key[who], self.episode[who])
        self.episode[who] += 1
        self.tick[who] = 0
        self.day[who] = self.world.draw_day(np, key, self.days) if days is None else days
        return key
