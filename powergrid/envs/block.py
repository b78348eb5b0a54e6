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

_NOBODY = np.zeros(0, dtype=np.int64)


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
    holds
        Whether an ended episode holds until the next step, which begins the next one in place of advancing.
    """

    def __init__(self, world: World, rows: slice, backend: str, days: Array, holds: bool = False):
        self.world, self.rows, self.days, self._holds = world, rows, days, holds
        size = rows.stop - rows.start
        self.simulation = Simulation(world, backend, size)
        self.seed_key = np.zeros((size, 2), np.uint32)
        self.episode = np.zeros(size, np.int32)
        self.day = np.zeros(size, np.int32)
        self.tick = np.zeros(size, np.int32)
        self._state: State | None = None
        self.carbon_kg = np.zeros((size, len(world.layout.accounts)))  # of the last tick, where the world counts it

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
        self.carbon_kg = np.zeros_like(self.carbon_kg)
        return first.observation.astype(np.float32), first.converged, first.available

    def reset_some(self, who: Array, seeds: Array | None, days: Array | None) -> Array:
        """Start episodes in the environments `who`, ``(n,)``; return their first observations, float32 ``(n, N)``."""
        if seeds is not None:
            self.seed_key[who] = random.key_from_seed(np, seeds)
            self.episode[who] = 0
        self._without_carbon(who)
        return self._begin(who, days)

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
        parts = (saved.central[0], saved.episode, saved.day, saved.tick)
        self.seed_key, self.episode, self.day, self.tick = snapshot.rows_of(parts, rows)

    def _advanced(self, actions: Array, results: Results) -> tuple[Any, Any]:
        """State after a tick, and a function that fills money and costs; notes marginal emissions."""
        if self.world.carbon is None:
            return self.simulation.advance(self.state, actions, results, keep=False)
        row = np.array(self.state.row)
        after, output = self.simulation.advance(self.state, actions, results, keep=True)
        self.carbon_kg = self.world.carbon_kg(output.measured_mw, row)
        return after, lambda money, costs: None  # they are filled already

    def _without_carbon(self, who: Array) -> None:
        """Note that some environments have had no tick yet; arrays that were handed out keep what they say."""
        self.carbon_kg = self.carbon_kg.copy()
        self.carbon_kg[who] = 0.0

    def step(self, actions: Array, results: Results) -> tuple[Array, Array, Array, Array, Any]:
        """Advance by one tick, and start the next episode where one ended; ``money`` and ``costs`` are not filled.

        Where ended episodes hold, the next one starts in the step after.

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
        layout, begun = self.world.layout, np.flatnonzero(self.held) if self._holds else _NOBODY
        if len(begun) == len(self.tick):
            return self._all_begin(results.of_actors(layout))
        if len(begun):  # the batch advances as a whole; what these environments do in this step is undone below
            self._begin(begun)
        alive = self.alive if layout.actors_change else None
        self._state, fill = self._advanced(actions, results)
        results = results.of_actors(layout)
        settings, observation = layout.settings, results.observation
        self.tick += 1
        left = np.zeros(results.reward.shape, dtype=bool)
        if len(begun):
            self.episode[begun] -= 1
            observation[begun] = self._begin(begun)
            self._without_carbon(begun)
            fill = _first(results, begun, fill)
        if alive is not None:
            results.reward[~alive] = results.cost[~alive] = 0.0
            left = alive & ~self.alive
        last = self.tick >= settings.episode_length
        terminated = ~results.converged if settings.terminate_on_divergence else np.zeros_like(last)
        ended, final = terminated | last, observation[:0]
        if ended.any():
            who = np.flatnonzero(ended)
            left[who] = False
            if self._holds:
                self.tick[who] = settings.episode_length
            else:
                final = observation[who]
                observation[who] = self._begin(who)
        return terminated, last & ~terminated, final, left, fill

    def _all_begin(self, results: Results) -> tuple[Array, Array, Array, Array, Any]:
        """The step in which every environment begins its next episode; what a step gives."""
        everybody = np.arange(len(self.tick))
        results.observation[:] = self._begin(everybody)
        self._without_carbon(everybody)
        nobody = np.zeros(len(self.tick), dtype=bool)
        fill = _first(results, everybody, lambda money, costs: None)
        return nobody, nobody.copy(), results.observation[:0], np.zeros(results.reward.shape, dtype=bool), fill

    @property
    def held(self) -> Array:
        """Whether the episode of each environment is over and the next one begins with the next step, ``(E,)``."""
        held: Array = (self.tick >= self.world.layout.settings.episode_length) & self._holds
        return held

    @property
    def alive(self) -> Array:
        """Whether each actor is there in the next tick, ``(E, A)``."""
        return self.world.layout.alive(np, self.tick, self.state.absences)

    def decide(self, policy: Policy) -> Array:
        """Actions ``(E, A, k_max)`` of a local policy."""
        return self.simulation.decide(self.state, policy)

    def _begin(self, who: Array, days: Array | None = None) -> Array:
        """Start the next episode of the environments `who`; return their first observations."""
        self._state, observation = self.simulation.restart(self.state, who, self._keys(who, days), self.day[who])
        return observation.astype(np.float32)

    def _keys(self, who: Any, days: Array | None) -> Array:
        """Keys of new episodes of the environments `who`, whose numbers and days are set too."""
        key = random.fold_in(np, self.seed_key[who], self.episode[who])
        self.episode[who] += 1
        self.tick[who] = 0
        self.day[who] = self.world.draw_day(np, key, self.days) if days is None else days
        return key


def _first(results: Results, who: Array, fill: Any) -> Any:
    """Clear the results of environments whose episode begins, and return what fills their money and costs."""
    for array in (results.reward, results.cost, results.due, results.clipped):
        array[who] = 0
    results.converged[who] = results.available[who] = True

    def fill_rest(money: Array, costs: Array) -> None:
        fill(money, costs)
        money[who] = costs[who] = 0.0

    return fill_rest
