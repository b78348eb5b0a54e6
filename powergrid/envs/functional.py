"""The functional environment: reset and step as pure functions on JAX, for training on any processor.

Batches are native: keys with leading axes give environments with leading axes. ``jax.vmap`` works too; both skip resets
while no episode ends. ``jax.grad`` works through `step` and whole episodes; :attr:`FunctionalEnv.differentiable` says
which devices and protocols carry derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import DTypeLike

from powergrid.core import random
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.engine import schedule
from powergrid.engine import step as engine
from powergrid.engine.layout import params_of
from powergrid.engine.state import Exogenous, State
from powergrid.envs.differentiable import differentiable
from powergrid.envs.form import Form
from powergrid.envs.labelled import LabelledEnv
from powergrid.envs.shapes import Shapes
from powergrid.worlds import python_agents
from powergrid.worlds.days import chosen_days
from powergrid.worlds.python_devices import refuse_on_jax
from powergrid.worlds.world import World

Groups = dict[str, Array]
Tree = TypeVar("Tree")

YEAR_BYTES = 2 * 2**30
"""Most memory for the exogenous rows of all days on the processor that runs JAX [byte]."""


class EnvState(NamedTuple):
    """State of a functional environment: the engine's, the seed's key and the number of the episode."""

    engine: State
    seed_key: Array
    episode: Array


class FunctionalEnv(LabelledEnv):
    """Pure ``reset(key)`` and ``step(key, state, actions)``.

    Parameters
    ----------
    world
        Network, agents, data and layout, with a power flow that JAX can trace (``zbus``).
    dtype
        ``float32`` or ``float64`` (the latter needs JAX's 64-bit mode around the calls).
    auto_reset
        Whether the next episode starts in the step in which one ends.
    days
        Split or day indices from which episodes are drawn; by default the split that the configuration trains on.
    traced
        Whether `reset` and `step` are used. Otherwise only spaces, groups and days are, and the world may have agents
        that decide in Python.
    form
        Form of observations and actions; see :func:`powergrid.make_functional`.

    Raises
    ------
    ConfigError
        If the world has plain Python devices, agents that decide in Python or a market cleared by ``highs``, which JAX
        cannot trace.

    Attributes
    ----------
    groups
        Agents with equal spaces, by group name. Index dictionaries of arrays by these names: JAX sorts their keys, so
        that their order differs from that of the groups.
    observation_size, action_size
        Length of one agent's vectors, by group.
    state_size
        Length of the central state.
    episode_length
        Ticks of an episode.
    actors_change
        Whether agents join or leave.
    cost_limits
        Limits that the configuration gives, by constraint, over the learning agents and an episode [$].
    """

    def __init__(
        self,
        world: World,
        *,
        dtype: DTypeLike = "float32",
        auto_reset: bool = True,
        days: str | Sequence[int] | None = None,
        traced: bool = True,
        form: Form = Form(),  # noqa: B008
    ):
        refuse_on_jax(world.layout)
        if traced:
            python_agents.refuse_on_jax(world.layout, world.agents)
            _refuse_simplex(world)
        self.world = world
        self.dtype = jnp.dtype(dtype)
        self.auto_reset = auto_reset
        self.days = chosen_days(world, days)
        layout = self._layout = world.layout
        self.differentiable = differentiable(layout)
        self.agents, self.possible_agents = layout.actors, list(layout.actors)
        self.money_names, self.constraint_names = layout.ledger.money_names, layout.ledger.cost_names
        self.cost_limits = dict(world.cost_limits)
        self.episode_length, self.actors_change = layout.settings.episode_length, layout.actors_change
        self.state_size = len(layout.view.central)
        self._shapes = Shapes(world, form)
        self._rows = self._shapes.alike() or _groups(world)
        self.groups = {name: tuple(layout.actors[i] for i in rows) for name, rows in self._rows.items()}
        self.observation_size = {name: self._shapes.sizes[rows[0]] for name, rows in self._rows.items()}
        self.action_size = {name: self._shapes.action_sizes[rows[0]] for name, rows in self._rows.items()}
        self._order = np.argsort(np.concatenate([np.array(rows) for rows in self._rows.values()]))
        self._table = _year(world, np.float64 if self.dtype == np.float64 else np.float32)
        firsts = np.arange(0, len(world.table), world.ticks_per_day)
        self._settlement = world.settlement(firsts).astype(self._table.dtype)
        self._params = params_of(layout, np, self._table.dtype)

    @cached_property
    def _spaces(self) -> tuple[dict[str, Box], dict[str, Box]]:
        return self._shapes.spaces()

    @property
    def observation_spaces(self) -> dict[str, Box]:
        """Space of each agent's observation, float32 with finite bounds."""
        return self._spaces[0]

    @property
    def action_spaces(self) -> dict[str, Box]:
        """Space of each agent's action, [-1, 1]."""
        return self._spaces[1]

    def reset(self, key: Array, day: Array | None = None) -> tuple[Groups, EnvState]:
        """Start episodes.

        Parameters
        ----------
        key
            ``jax.random.key`` or raw uint32 key data ``(*batch, 2)``.
        day
            Day of each episode ``(*batch,)``; drawn if ``None``.

        Returns
        -------
        observations, state
            Observations by group, ``(*batch, n, d)``.
        """
        observations, _, state = self.begin(key, day)
        return observations, state

    def begin(self, key: Array, day: Array | None = None) -> tuple[Groups, Array, EnvState]:
        """As `reset`, with the central state ``(*batch, state_size)`` between observations and state."""
        raw = jax.random.key_data(key) if jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key) else key
        state, observation, central = self._begin(raw, jnp.zeros(raw.shape[:-1], jnp.int32), day)
        return self._seen(observation, self._alive(state.engine)), central, state

    def step(
        self, key: Array, state: EnvState, actions: Groups
    ) -> tuple[Groups, EnvState, Groups, Groups, dict[str, Any]]:
        """Advance by one tick.

        Parameters
        ----------
        key
            Not used, but part of the usual signature: all randomness follows from the key of `reset`.
        actions
            By group, ``(*batch, n, k)`` in [-1, 1].

        Returns
        -------
        observations, state, rewards, done, info
            `done` has one array per group, true for agents that left as well, and ``"__all__"``. `info` holds
            `terminated`, `truncated`, `final_obs`, the central `state` and `final_state`, the rows `money` and `costs`
            by account, and `due`: by group, whether each agent decided in this tick. Where devices may be out of
            service, `in_service` says by group which numbers of the next action move something, ``(*batch, n, k)``.
            Where agents join or leave, `alive` says by group which of them are there in the next tick, and `left` which
            left with this one; observations and rewards of absent agents are zero.
        """
        now = self._exogenous(state.engine)
        noise = self.world.noise(jnp, state.engine.key, state.engine.tick + 1, self.dtype)
        after, output = engine.step(jnp, self._layout, self._params, state.engine, self._stack(actions), now, noise)
        reward = self.world.rewards(jnp, output.money, output.costs)
        there = self._alive(state.engine)
        reward = jnp.where(there, reward, 0.0)
        terminated = output.done
        truncated = output.last & ~terminated
        ended = terminated | truncated
        final, final_state = self._seen(output.observation, there), self._central(output.observation)
        left = there & ~self._alive(after) & ~ended[..., None]
        following, observation, central = state._replace(engine=after), output.observation, final_state
        if self.auto_reset:
            following, observation, central = self._continue(following, ended, observation, central)
        info = {
            "terminated": terminated,
            "truncated": truncated,
            "final_obs": final,
            "state": central,
            "final_state": final_state,
            "money": output.money,
            "costs": output.costs,
            "converged": output.flow.converged,
            "due": self._split(output.due),
            "output": output,
        }
        if self.world.carbon is not None:
            info["carbon_kg"] = self.world.carbon.kg(jnp, output.measured_mw, now.now)
        if self._layout.availability is not None:
            info["in_service"] = self._in_service(following.engine)
        alive = self._alive(following.engine)
        if self.actors_change:
            info |= {"alive": self._split(alive), "left": self._split(left)}
        done = self._split(ended[..., None] | left)
        return self._seen(observation, alive), following, self._split(reward), {**done, "__all__": ended}, info

    def alive(self, state: EnvState) -> Groups:
        """Whether each agent is there in the next tick, by group, ``(*batch, n)``."""
        return self._split(self._alive(state.engine))

    def effective(self, state: EnvState) -> Groups:
        """Which numbers of the next action move something, by group, ``(*batch, n, k)``.

        Those do that are not padding, of devices in service, while their agent is there and decides in the next tick.
        """
        layout, tick, absences = self._layout, state.engine.tick, state.engine.absences
        sizes = np.array([len(entries) for entries in layout.action_entries[: layout.acting]])
        own = np.arange(layout.action_size) < sizes[:, None]
        moves = own & schedule.actors_due(jnp, layout, tick, absences)[..., None]
        if layout.availability is not None:
            moves &= layout.in_service(jnp, tick, absences)
        return self._shown(moves)

    def _alive(self, state: State) -> Array:
        return self._layout.alive(jnp, state.tick, state.absences)

    def _split(self, rows: Array) -> Groups:
        """Numbers of the agents, ``(*batch, A)``, by group."""
        return {name: rows[..., np.array(own)] for name, own in self._rows.items()}

    def central_state(self, state: EnvState) -> Array:
        """Central state at the start of an episode, ``(*batch, state_size)``."""
        _, _, central = self._begin(state.seed_key, state.episode, None)
        return central

    def _begin(self, seed_key: Array, episode: Array, day: Array | None) -> tuple[EnvState, Array, Array]:
        key = random.fold_in(jnp, seed_key, episode)
        if day is None:
            day = self.world.draw_day(jnp, key, self.days)
        row = (day * self.world.ticks_per_day).astype(jnp.int32)
        state, observation, *_ = engine.reset(
            jnp,
            self._layout,
            self._params,
            key,
            row,
            jnp.asarray(self._settlement)[day],
            self.world.initial(jnp, key, self.dtype),
            jnp.asarray(self._table)[row],
            self.world.noise(jnp, key, jnp.zeros_like(row), self.dtype),
            self.world.outages(jnp, key),
            self.world.absences(jnp, key),
        )
        return EnvState(state, seed_key, episode), observation, self._central(observation)

    def _continue(
        self, state: EnvState, ended: Array, observation: Array, central: Array
    ) -> tuple[EnvState, Array, Array]:
        """Replace each episode that ended by the next one."""
        return continued(
            ended, lambda: self._begin(state.seed_key, state.episode + 1, None), (state, observation, central)
        )

    def _in_service(self, state: State) -> Groups:
        """Whether each number of the next actions moves something in service, by group."""
        return self._shown(self._layout.in_service(jnp, state.tick, state.absences))

    def _shown(self, actions: Array) -> Groups:
        """Numbers by place of the engine's actions, ``(*batch, A, k_max)``, by group in the form that is shown."""
        rows = self._shapes.shown_actions(jnp, actions)
        return {name: rows[..., np.array(own), : self.action_size[name]] for name, own in self._rows.items()}

    def _exogenous(self, state: State) -> Exogenous:
        table = jnp.asarray(self._table)
        return Exogenous(table[state.row % len(self._table)], table[(state.row + 1) % len(self._table)])

    def _stack(self, actions: Groups) -> Array:
        """Actions of all agents in the layout's order, padded to the longest."""
        width = self._shapes.action_width
        parts = []
        for name in self._rows:
            rows = jnp.asarray(actions[name], self.dtype)
            parts.append(jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, width - rows.shape[-1])]))
        return self._shapes.actions(jnp, jnp.concatenate(parts, axis=-2)[..., self._order, :])

    def _central(self, observation: Array) -> Array:
        """Everything that any agent sees, once, as agents see it: within its bounds."""
        return self._shapes.central(jnp, observation[..., self._layout.view.central_places])

    def _seen(self, observation: Array, alive: Array) -> Groups:
        """Observations by group, zero for agents that are not `alive`, ``(*batch, A)``."""
        found = self._by_group(observation)
        if not self.actors_change:
            return found
        return {name: jnp.where(there[..., None], found[name], 0.0) for name, there in self._split(alive).items()}

    def _by_group(self, observation: Array) -> Groups:
        seen = self._shapes.observation(jnp, observation)
        return {name: self._shapes.by_rows(seen, rows) for name, rows in self._rows.items()}


def _refuse_simplex(world: World) -> None:
    """Refuse markets that are cleared by a method that JAX cannot trace."""
    for layer in world.layout.coordination.layers:
        if layer.market is not None and layer.market.method != "ipm":
            message = f'its market is cleared by "{layer.market.method}", which runs on the CPU only'
            hint = "write clearing: ipm in its params, the method for JAX; or use make and make_vec"
            raise ConfigError([Issue(f"protocol of {', '.join(layer.ids)}", message, hint)])


def _year(world: World, dtype: DTypeLike) -> np.ndarray:
    """All exogenous rows: they are on the processor that runs JAX, since an environment may be on any day."""
    table, size = world.table, np.dtype(dtype).itemsize
    needed = len(table) * table.width * size
    if needed > YEAR_BYTES:
        tick_s = 86_400 // world.ticks_per_day
        raise ConfigError(
            [
                Issue(
                    "simulation.time_step",
                    f"the data at ticks of {tick_s} s take {needed / 2**30:.1f} GiB on the device, more than the "
                    f"{YEAR_BYTES / 2**30:g} GiB that an environment on JAX may use",
                    "take a longer time_step, fewer days of data or a shorter forecast.horizon_h, or make and "
                    "make_vec, which load only the days of running episodes",
                )
            ]
        )
    return table.year(dtype)


def continued(ended: Array, begin: Callable[[], Tree], running: Tree) -> Tree:
    """What is `running`, and what `begin` returns where episodes have `ended`; see :func:`_anywhere`."""

    def chosen() -> Tree:
        return jax.tree.map(lambda new, old: _choose(ended, new, old), begin(), running)

    return jax.lax.cond(_anywhere(ended), chosen, lambda: running)


@jax.custom_batching.custom_vmap
def _anywhere(ended: Array) -> Array:
    """Whether any episode has ended, of those that ``jax.vmap`` steps beside this one as well.

    A condition that differed along a mapped axis would become a selection, which starts an episode in every step.
    """
    return jnp.any(ended)


@_anywhere.def_vmap
def _anywhere_mapped(axis_size: int, in_batched: list[bool], ended: Array) -> tuple[Array, bool]:
    return _anywhere(ended), False


def _choose(ended: Array, new: Array, old: Array) -> Array:
    return jnp.where(ended.reshape(ended.shape + (1,) * (new.ndim - ended.ndim)), new, old)


def _groups(world: World) -> dict[str, list[int]]:
    """Rows of acting agents with equal spaces, named by role: the part of the id before the last underscore."""
    layout = world.layout
    alike: dict[tuple, list[int]] = {}
    for i, agent in enumerate(layout.actors):
        role = agent.rsplit("_", 1)[0]
        alike.setdefault((role, layout.view.sizes[i], len(layout.action_entries[i])), []).append(i)
    names: dict[str, list[int]] = {}
    for (role, *_), rows in alike.items():
        name, number = role, len(names)
        while name in names:  # the name of a role may equal that of another role's second group
            name, number = f"{role}_{number}", number + 1
        names[name] = rows
    return names
