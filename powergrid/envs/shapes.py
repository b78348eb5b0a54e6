"""What agents see and do in the form that an environment shows: scaled, padded, with the number of the agent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Entry
from powergrid.engine.view import stacked
from powergrid.envs.form import Form, ObservationScale, reciprocal
from powergrid.envs.role_names import Name, RoleNames, roles_of, shared_order
from powergrid.worlds.ranges import usual_ranges
from powergrid.worlds.world import World

Named = tuple[str, Entry]


class Shapes:
    """What acting agents see and do in the form that an environment shows.

    The numbers of all agents follow each other, as in :class:`powergrid.engine.view.View`.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    form
        The form.

    Attributes
    ----------
    roles
        Agents by role.
    row_of
        Row of each agent.
    sizes, action_sizes
        Length of each agent's observation and action.
    offsets
        First number of each agent and, last, how many there are, ``(A + 1,)``.
    low, high
        Bounds of each number, float32.
    changes
        Whether observations differ from the engine's.
    """

    def __init__(self, world: World, form: Form = Form()):  # noqa: B008
        self.form, self._layout = form, world.layout
        layout, view = world.layout, world.layout.view
        self._actors = list(layout.actors)
        self.row_of = {agent: row for row, agent in enumerate(self._actors)}
        self.roles = roles_of(world)
        owned = [list(entries) for entries in layout.action_entries[: len(self._actors)]]
        # by agent: which number of the engine each shown number is, -1 for none
        source = [np.arange(own.start, own.stop) for own in view.slices[: len(self._actors)]]
        takes = [np.arange(len(entries)) for entries in owned]
        self._names: list[list[Name]] = []
        self._action_names: list[list[Name]] = []
        if form.pad:
            names, seen = RoleNames(world), [[view.entries[i] for i in view.features(k)] for k in range(len(owned))]
            self._names, source = self._padded(names, seen, source)
            self._action_names, takes = self._padded(names, owned, takes)
        ids = [np.zeros(0)] * len(owned)
        if form.agent_id:
            for rows in self.alike().values() or [range(len(owned))]:
                for row, id in zip(rows, np.eye(len(rows)), strict=True):
                    ids[row] = id
        self._ids = [len(id) for id in ids]
        source = [np.append(own, np.full(len(id), -1)) for own, id in zip(source, ids, strict=True)]
        self.sizes, self.action_sizes = tuple(map(len, source)), tuple(map(len, takes))
        self.offsets = np.cumsum([0, *self.sizes])
        self._moved = bool(form.pad or form.agent_id)
        self.changes = self._moved or form.normalize
        numbers = np.concatenate([np.zeros(0, int), *source])
        self._shown = numbers >= 0
        self._source = np.maximum(numbers, 0)
        self._constant = np.concatenate([np.zeros(0), *map(_right_aligned, ids, self.sizes)])
        self._cast: dict[np.dtype, Any] = {}
        self._scale_features(world)
        self._take_actions(takes)
        bounds = (bound[: layout.seen_by_actors].astype(np.float32) for bound in (view.low, view.high))
        self.low, self.high = (self.observation(np, bound) for bound in bounds) if self.changes else bounds
        for own, count in zip(self.slices, self._ids, strict=True):
            self.low[own.stop - count : own.stop], self.high[own.stop - count : own.stop] = 0.0, 1.0
        for rows in self.alike().values():
            places = self.offsets[np.array(rows)][:, None] + np.arange(self.sizes[rows[0]])
            self.low[places], self.high[places] = self.low[places].min(0), self.high[places].max(0)

    # -- how the form is made -----------------------------------------------------------------------------------

    def _padded(
        self, names: RoleNames, entries: Sequence[Sequence[Named]], places: Sequence[np.ndarray]
    ) -> tuple[list[list[Name]], list[np.ndarray]]:
        """Names of each agent's numbers in the order of its role, and the place of each, -1 where it has none."""
        own = [names.of(agent, mine) for agent, mine in zip(self._actors, entries, strict=True)]
        found_names: list[list[Name]] = [[] for _ in own]
        found: list[np.ndarray] = [np.zeros(0, int) for _ in own]
        for rows in self._by_role().values():
            order = shared_order([own[row] for row in rows])
            for row in rows:
                place = dict(zip(own[row], places[row].tolist(), strict=True))
                found[row] = np.array([place.get(name, -1) for name in order], dtype=int)
                found_names[row] = order
        if self.form.pad == "all":
            longest = max(map(len, found), default=0)
            for row, numbers in enumerate(found):
                missing = longest - len(numbers)
                found[row] = np.append(numbers, np.full(missing, -1))
                found_names[row] = [*found_names[row], *((f"padding_{k + 1}", "1") for k in range(missing))]
        return found_names, found

    def _scale_features(self, world: World) -> None:
        """Set the middle and the half span of each shown number and of each feature of the central state."""
        view, seen = self._layout.view, self._layout.seen_by_actors
        middle, half = np.zeros(len(view.entries)), np.ones(len(view.entries))
        if self.form.normalize:
            low, high = usual_ranges(world).T
            middle, half = (low + high) / 2.0, (high - low) / 2.0
            half[half <= 1e-9 * np.maximum(np.abs(middle), 1.0)] = 1.0  # what never changes stays at zero
        index = view.index[:seen]
        places = index[self._source] if len(index) else index
        self._middle, self._half_span = middle[places] * self._shown, half[places] * self._shown
        self._gain = reciprocal(self._half_span)
        self._central_middle, self._central_gain = middle[view.central], 1.0 / half[view.central]

    def _take_actions(self, takes: Sequence[np.ndarray]) -> None:
        """Set where in the shown actions each number of the engine's stands, and the other way round."""
        layout, width = self._layout, max(self.action_sizes, default=0)
        self.action_width = max(width, layout.action_size)
        self._acts_moved = any(len(own) != size for own, size in zip(takes, self._own_action_sizes, strict=True))
        self._acts_moved |= any((own != np.arange(len(own))).any() for own in takes)
        if not self._acts_moved:
            return
        self._shown_of = np.full((len(takes), layout.action_size), -1)  # shown number of each of the engine's
        self._engine_of = np.full((len(takes), self.action_width), -1)
        for row, own in enumerate(takes):
            self._engine_of[row, : len(own)] = own
            self._shown_of[row, own[own >= 0]] = np.flatnonzero(own >= 0)

    @property
    def _own_action_sizes(self) -> list[int]:
        return [len(entries) for entries in self._layout.action_entries[: len(self._actors)]]

    def _by_role(self) -> dict[str, list[int]]:
        """Rows of the agents of each role."""
        return {role: [self.row_of[id] for id in ids] for role, ids in self.roles.items()}

    # -- what environments use -----------------------------------------------------------------------------------

    def alike(self) -> dict[str, list[int]]:
        """Rows of agents whose spaces are made equal, by role or all of them; empty where nothing is padded."""
        if self.form.pad == "all" and self._actors:
            return {"agents": list(range(len(self._actors)))}
        return self._by_role() if self.form.pad == "role" else {}

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Numbers of each agent."""
        return tuple(slice(*ends) for ends in pairwise(self.offsets.tolist()))

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Numbers of observations of equal length that follow each other, and their length."""
        return [(len(list(run)), size) for size, run in groupby(self.sizes)]

    def observation(self, xp: Namespace, numbers: Array) -> Array:
        """Observations as they are shown, ``(*batch, N)``, from those of the engine; a new array if they differ."""
        if not self.changes:
            return numbers
        moved = numbers[..., self._source] if self._moved else numbers
        middle, gain, constant = map(xp.asarray, self._factors(np.dtype(numbers.dtype)))
        # a difference first and a product second have the same bits on every processor, and keep the order of numbers
        seen = (moved - middle) * gain
        return seen + constant if self._moved else seen

    def _factors(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Middle, gain and constant of each shown number in one type, cast once."""
        if dtype not in self._cast:
            self._cast[dtype] = tuple(part.astype(dtype) for part in (self._middle, self._gain, self._constant))
        return self._cast[dtype]

    @cached_property
    def _central_bounds(self) -> np.ndarray:
        """Bounds of the central state in physical units, float32 ``(2, s)``."""
        entries = [self._layout.view.entries[i][1] for i in self._layout.view.central]
        return np.array([(entry.low, entry.high) for entry in entries], dtype=np.float32).reshape(-1, 2).T

    def clipped(self, central: np.ndarray) -> np.ndarray:
        """The central state in physical units within its bounds, float32 ``(*batch, s)``."""
        found: np.ndarray = np.clip(central, *self._central_bounds).astype(np.float32)
        return found

    def state(self, central: np.ndarray) -> np.ndarray:
        """The central state as it is shown, within its bounds, float32 ``(*batch, s)``."""
        found: np.ndarray = self.central(np, self.clipped(central))
        return found

    def central(self, xp: Namespace, state: Array) -> Array:
        """The central state as it is shown, ``(*batch, s)``, from the engine's."""
        if not self.form.normalize:
            return state
        middle, gain = (xp.asarray(part, dtype=state.dtype) for part in (self._central_middle, self._central_gain))
        return (state - middle) * gain

    def actions(self, xp: Namespace, shown: Array) -> Array:
        """The engine's actions, ``(*batch, A, k_max)``, from those that are shown; padding has no effect."""
        return self._gathered(xp, shown, self._shown_of) if self._acts_moved else shown

    def shown_actions(self, xp: Namespace, actions: Array) -> Array:
        """The other way round: numbers by place of the shown actions, zero or false where there is padding."""
        return self._gathered(xp, actions, self._engine_of) if self._acts_moved else actions

    def _gathered(self, xp: Namespace, rows: Array, place: np.ndarray) -> Array:
        agents = np.arange(len(place))[:, None]
        found = rows[..., agents, np.maximum(place, 0)]
        return xp.where(place >= 0, found, xp.zeros_like(found))

    def by_rows(self, observation: Array, agents: Sequence[int]) -> Array:
        """Observations of agents that see equally many numbers, ``(*batch, n, d)``; see :func:`stacked`."""
        return stacked(observation, self.offsets, agents)

    def spaces(self) -> tuple[dict[str, Box], dict[str, Box]]:
        """Observation spaces, float32 with finite bounds, and action spaces, [-1, 1], of every acting agent."""
        observations: dict[str, Box] = {
            agent: Box(self.low[seen], self.high[seen], dtype=np.float32)
            for agent, seen in zip(self._actors, self.slices, strict=True)
        }
        actions: dict[str, Box] = {
            agent: Box(-1.0, 1.0, shape=(size,), dtype=np.float32)
            for agent, size in zip(self._actors, self.action_sizes, strict=True)
        }
        return observations, actions

    def central_space(self) -> Box:
        """Space of the state for a central critic."""
        low, high = self.central(np, self._central_bounds)
        return Box(low, high, dtype=np.float32)

    def entries(self, row: int) -> list[Named]:
        """Owner, name, unit and bounds of each number that an agent sees."""
        view, own = self._layout.view, self.slices[row]
        names = [("", *name) for name in self._names[row]] if self._names else []
        if not names:
            names = [(owner, entry.name, entry.unit) for owner, entry in (view.entries[i] for i in view.features(row))]
        names += [("", f"agent_{k + 1}", "1") for k in range(self._ids[row])]
        return [
            (owner, Entry(name, unit, *bounds))
            for (owner, name, unit), *bounds in zip(names, self.low[own].tolist(), self.high[own].tolist(), strict=True)
        ]

    def action_entries(self, row: int) -> list[Named]:
        """Owner, name, unit and physical range of each number of an agent's action."""
        own = list(self._layout.action_entries[row])
        if not self._action_names:
            return own
        found = []
        for k, (name, unit) in enumerate(self._action_names[row]):
            at = int(self._engine_of[row, k]) if self._acts_moved else k
            found.append(
                ("", Entry(name, unit, own[at][1].low, own[at][1].high) if at >= 0 else Entry(name, unit, 0, 0))
            )
        return found

    def scale(self, row: int) -> ObservationScale:
        """How an agent's observation is scaled."""
        own = self.slices[row]
        return ObservationScale(self._middle[own].copy(), self._half_span[own].copy())


def _right_aligned(values: np.ndarray, size: int) -> np.ndarray:
    """Values after as many zeros as `size` needs."""
    return np.append(np.zeros(size - len(values)), values)
