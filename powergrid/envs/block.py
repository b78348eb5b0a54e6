"""A block of a vector environment: some of its environments, stepped as one batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core import random
from powergrid.core.errors import ActionError
from powergrid.core.types import Array
from powergrid.engine.results import Results
from powergrid.engine.state import State
from powergrid.worlds import snapshot
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.snapshot import Snapshot
from powergrid.worlds.world import World


class Block:
    """Some of the environments, stepped as one batch."""

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

    def reset(self, seeds: Array | None, days: Array | None) -> tuple[Array, Array, Array]:
        """New episodes: first observations, float32 ``(E, A, d_max)``; ``converged`` and ``available``."""
        if seeds is not None:
            self.seed_key = random.key_from_seed(np, seeds)
            self.episode[:] = 0
        key = self._keys(slice(None), days)
        first = self.simulation.reset(key, self.day)
        self._state = first.state
        return first.observation.astype(np.float32), first.converged, first.available

    def saved(self) -> tuple[Any, ...]:
        """Copies of everything that a step changes: state, keys, episodes, days, ticks, plain Python devices."""
        state, devices = self._state, ()
        if state is not None:
            state = snapshot.value_of(getattr(state, "state", state))
            devices = snapshot.saved_devices(self.simulation, state)
        return (state, *snapshot.copied((self.seed_key, self.episode, self.day, self.tick)), devices)

    def resume(self, given: Snapshot) -> None:
        """Go on as this block's rows of a state say."""
        rows = self.rows
        self._state = None
        if given.state is not None:
            self._state = snapshot.resumed(self.simulation, snapshot.rows_of(given.state, rows), given.devices[rows])
        parts = (given.central, given.episode, given.day, given.tick)
        self.seed_key, self.episode, self.day, self.tick = snapshot.rows_of(parts, rows)

    def step(self, actions: Array, results: Results) -> tuple[Array, Array, Array, Any]:
        """One tick, and the next episode where one ended; fills `results` but for ``money`` and ``costs``.

        Returns
        -------
        terminated, truncated, final_observation, book
            `book` fills ``money`` and ``costs``.
        """
        self._state, book = self.simulation.advance(self.state, actions, results, keep=False)
        given, observation = self.world.layout.settings, results.observation
        self.tick += 1
        last = self.tick >= given.episode_length
        terminated = ~results.converged if given.terminate_on_divergence else np.zeros_like(last)
        ended, final = terminated | last, observation[:0]
        if ended.any():
            who = np.flatnonzero(ended)
            final = observation[who]
            observation[who] = self._begin(who)
        return terminated, last & ~terminated, final, book

    def decide(self, policy: Any) -> Array:
        """Actions of a local policy."""
        return self.simulation.decide(self.state, policy)

    def _begin(self, who: Array) -> Array:
        """Begin the next episode of the environments `who`; their first observations."""
        self._state, observation = self.simulation.restart(self.state, who, self._keys(who, None), self.day[who])
        return observation.astype(np.float32)

    def _keys(self, who: Any, days: Array | None) -> Array:
        """Keys of the episodes that begin, which are counted and whose days are drawn unless given."""
        key = random.fold_in(np, self.seed_key[who], self.episode[who])
        self.episode[who] += 1
        self.tick[who] = 0
        self.day[who] = self.world.draw_day(np, key, self.days) if days is None else days
        return key
