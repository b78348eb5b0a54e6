"""The roll-out on the CPU: compiled environments in chunks, one thread a chunk, and JAX for the actors alone.

A chunk has the same size on every machine, so that results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.errors import ActionError, NotCompilableError, RunError
from powergrid.core.types import Array
from powergrid.learn import policy
from powergrid.learn.actors.network import ActorNetwork
from powergrid.learn.constraints import Constraints, columns_per_agent
from powergrid.learn.critics import Critic
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv
from powergrid.learn.learner_state import Lanes, LearnerState, Rollout, Tally
from powergrid.learn.stream_keys import reset_keys

CHUNK = 64
"""Environments of a chunk: enough to spread Python's share of a tick thin."""


class _Episodes(NamedTuple):
    """Running episodes of a chunk; fields are those of :class:`powergrid.worlds.snapshot.Snapshot`."""

    state: Any
    central: Array
    episode: Array
    day: Array
    tick: Array


class CompiledRollOut:
    """Environments on the compiled step of the CPU.

    Parameters
    ----------
    env
        Functional environment; its configuration and days are what is simulated.
    num_envs, ticks
        Environments, and ticks that they move before an update.
    network
        What the actors choose with.
    critic
        Values the last state of an episode.
    constraints
        Limits, whose costs become columns beside the rewards; ``None`` without.

    Raises
    ------
    NotCompilableError
        If the compiled step does not take the configuration.
    """

    def __init__(
        self,
        env: FunctionalEnv,
        num_envs: int,
        ticks: int,
        network: ActorNetwork,
        critic: Critic,
        constraints: Constraints | None = None,
    ):
        self.env, self.num_envs, self.ticks = env, num_envs, ticks
        self.network, self.critic, self.constraints = network, critic, constraints
        self._rows = [slice(at, min(at + CHUNK, num_envs)) for at in range(0, num_envs, CHUNK)]
        self._envs = _vector_envs(env, [rows.stop - rows.start for rows in self._rows])
        agents, layout = self._envs[0].possible_agents, self._envs[0].world.layout
        members = [[agents.index(agent) for agent in group] for group in env.groups.values()]
        self._members, self._view = ByGroup(env.groups, members), layout.view
        self._columns, self._changing = np.concatenate(members), layout.actors_change
        self._order, self._width = np.argsort(self._columns), layout.action_size
        self._threads = ThreadPoolExecutor(min(len(self._rows), os.cpu_count() or 1))
        self._every = getattr(network, "chunk", 0) or ticks
        self._left: Any = None  # where the environments stand
        self._types: Any = None
        self._compiling: list[Future[Any]] = []
        self._act: Any = jax.jit(self._acted)
        self._final_values: Any = jax.jit(lambda *given: policy.values(critic, network, *given))

    def begin(self, key: Array) -> Lanes:
        """Environments at their first observation."""
        words = reset_keys(np, np.asarray(key), self.num_envs).astype(np.uint64)
        seeds = words[:, 0] << np.uint64(32) | words[:, 1]
        firsts = [env.reset_array(seed=seeds[rows]) for env, rows in zip(self._envs, self._rows, strict=True)]
        tally = Tally(*(np.zeros(self.num_envs, np.float32) for _ in Tally._fields))
        memory = self.network.begun((self.num_envs,))
        return Lanes(self._leave(), *self._seen(np.concatenate(firsts), self._alive()), tally, memory)

    def prepare(self, learner: LearnerState, others: Executor) -> tuple[Lanes, Rollout]:
        """Compile the actors and the critic for each size of chunk; shapes follow from the sizes."""
        for size in {rows.stop - rows.start for rows in self._rows}:
            obs = self._by_group(np.zeros((size, len(self._view.index)), np.float32))
            central, noise = np.zeros((size, self.env.state_size), np.float32), self._blank((size,)).action
            memory = self.network.begun((size,))
            self._compiling.append(others.submit(self._act, learner.actor, learner.obs_norm, obs, noise, memory))
            self._compiling.append(others.submit(self._final_values, learner, obs, central))
        rollout = jax.eval_shape(lambda: self._blank((self.ticks, self.num_envs)))
        tally = Tally(*(jax.ShapeDtypeStruct((self.num_envs,), np.float32) for _ in Tally._fields))
        first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rollout)
        memory = jax.eval_shape(lambda: self.network.begun((self.num_envs,)))
        return Lanes(None, first.obs, first.central, tally, memory), rollout

    def collect(self, learner: LearnerState, lanes: Lanes) -> tuple[Lanes, Rollout]:
        """Act for the ticks of one update, each chunk in a thread.

        Raises
        ------
        RunError
            If an action is not finite.
        """
        for compiling in self._compiling:
            compiling.result()
        self._compiling.clear()
        try:
            return self.acted(learner, lanes, self.noise(learner))
        except ActionError as error:
            raise RunError(
                f"learning diverged: {error}. Start again with a smaller learning_rate or reward_scale"
            ) from error

    def acted(self, learner: LearnerState, lanes: Lanes, noise: ByGroup[Array]) -> tuple[Lanes, Rollout]:
        """Act with the noise ``(ticks, E, n, k)`` a group of each tick."""
        if lanes.env is not self._left:
            self._return_to(lanes.env)
        rollout = self._blank((self.ticks, self.num_envs))
        lanes = jax.tree.map(np.asarray, lanes._replace(env=None))
        after = self._threads.map(
            lambda env, rows: self._chunk(
                env, learner, jax.tree.map(lambda leaf: leaf[rows], lanes), _columns_of(noise, rows),
                _columns_of(rollout, rows),
            ),
            self._envs,
            self._rows,
        )  # fmt: skip
        obs, tallies, memories = zip(*after, strict=True)
        tally = Tally(*map(np.concatenate, zip(*tallies, strict=True)))
        memory = jax.tree.map(lambda *parts: np.concatenate(parts), *memories)
        return Lanes(self._leave(), *self._seen(np.concatenate(obs), self._alive()), tally, memory), rollout

    def noise(self, learner: LearnerState) -> ByGroup[Array]:
        """Standard normal numbers ``(ticks, E, n, k)`` a group, a pure function of the run's key and the update."""
        high, low = (int(word) for word in np.asarray(learner.key))
        rng = np.random.Generator(np.random.Philox(key=[high << 32 | low, int(learner.updates)]))
        blank = self._blank((self.ticks, self.num_envs)).action
        return blank.map(lambda part: rng.standard_normal(part.shape, np.float32))

    def _chunk(
        self, env: Any, learner: LearnerState, lanes: Lanes, noise: ByGroup[Array], rollout: Rollout
    ) -> tuple[Array, Tally, Any]:
        """Fill the roll-out of a chunk; its last observations, the sums of the episodes under way, and memories."""
        obs, central, tally, memory = lanes.obs, lanes.central, lanes.tally, lanes.memory
        remembered, rollout = rollout.memory, rollout._replace(memory=())
        seen = np.empty(0)
        leaves, form = jax.tree.flatten((rollout, noise))
        for tick, parts in enumerate(zip(*leaves, strict=True)):
            row, drawn = jax.tree.unflatten(form, parts)
            if tick % self._every == 0:
                for group, into in remembered.items():
                    into[tick // self._every] = memory[group]
            for into, part in zip(row.obs.parts, obs.parts, strict=True):
                into[:] = part
            row.central[:] = central
            action, held, memory = self._act(learner.actor, learner.obs_norm, row.obs, drawn, memory)
            alive = env.alive
            step = env.step_array(np.asarray(held))
            for into, part in zip(row.action.parts, action.parts, strict=True):
                into[:] = part
            reward = step.reward[:, self._columns]
            if self.constraints is not None:
                costs = np.where(alive[..., None], step.costs, 0.0) if self._changing else step.costs
                reward = self.constraints.columns(np, reward, costs)
            row.reward[:], row.due[:] = reward, step.due[:, self._columns]
            if self._changing:
                row.alive[:], row.left[:] = alive[:, self._columns], step.left[:, self._columns]
            row.terminated[:], row.done[:] = step.terminated, step.terminated | step.truncated
            tally = Tally(*(old + new for old, new in zip(tally, self._sums(step, alive), strict=True)))
            seen = step.observation
            if row.done.any():
                final = seen.copy()
                final[row.done] = step.final_observation
                row.final_value[:] = self._final_values(learner, *self._seen(final, alive))
                for into, column in zip(row.finished, tally, strict=True):
                    into[:] = np.where(row.done, column, 0.0)
                tally = Tally(*(np.where(row.done, np.float32(0.0), column) for column in tally))
            if memory:
                memory = {group: np.where(row.done[:, None, None], 0.0, own) for group, own in memory.items()}
            obs, central = self._seen(seen, step.alive)
        return seen, tally, jax.tree.map(np.asarray, memory)

    def _acted(
        self, actors: Any, norms: Any, obs: ByGroup[Array], noise: ByGroup[Array], memory: Any
    ) -> tuple[ByGroup[Array], Array, Any]:
        """Actions, what the environments take of them, ``(E, A, k_max)`` in the layout's order, and memories."""
        action, held, memory = policy.explore(self.network, actors, norms, obs, noise, memory)
        wide = held.map(lambda part: jnp.pad(part, ((0, 0), (0, 0), (0, self._width - part.shape[-1]))))
        return action, jnp.concatenate(wide.parts, -2)[:, self._order], memory

    def _sums(self, step: Any, alive: Array) -> tuple[Array, Array, Array]:
        """Reward, money and priced violations of the agents that are there, single precision ``(E,)`` each."""
        world = self._envs[0].world
        given = world.reward
        if (
            given.reward_scale > 0.0 and world.layout.ledger.objective is None
        ):  # the reward says what is paid; `step.money` would cost another half of the step
            penalty = np.minimum(given.safety_scale * step.cost, given.max_penalty)
            money = (-step.reward - penalty).sum(-1) / given.reward_scale
        else:
            money = (step.money.sum(-1) * alive).sum(-1)
        parts = (step.reward.sum(-1), money, step.cost.sum(-1))
        return tuple(part.astype(np.float32) for part in parts)

    def _alive(self) -> Array:
        """Whether each agent is there in the next tick, ``(E, A)``."""
        return np.concatenate([env.alive for env in self._envs])

    def _seen(self, obs: Array, alive: Array) -> tuple[ByGroup[Array], Array]:
        """Observations ``(E, N)`` by group, zero for agents that are not `alive`, and the central state."""
        by_group = self._by_group(obs)
        if self._changing:
            by_group = self._members.map(lambda rows, part: np.where(alive[:, rows, None], part, 0.0), by_group)
        return by_group, obs[:, self._view.central_places]

    def _by_group(self, obs: Array) -> ByGroup[Array]:
        return self._members.map(lambda rows: self._view.stacked(obs, rows))

    def _blank(self, batch: tuple[int, ...]) -> Rollout:
        """A roll-out of nothing."""
        env, changing = self.env, self._changing
        agents = sum(len(members) for members in env.groups.values())
        columns = agents * columns_per_agent(self.constraints)

        def by_group(size: Mapping[str, int]) -> ByGroup[Array]:
            shapes = ByGroup.make(env.groups, lambda group: (*batch, len(env.groups[group]), size[group]))
            return shapes.map(lambda shape: np.zeros(shape, np.float32))

        return Rollout(
            obs=by_group(env.observation_size),
            central=np.zeros((*batch, env.state_size), np.float32),
            action=by_group(env.action_size),
            reward=np.zeros((*batch, columns), np.float32),
            due=np.zeros((*batch, agents), bool),
            done=np.zeros(batch, bool),
            terminated=np.zeros(batch, bool),
            final_value=np.zeros((*batch, columns), np.float32),
            finished=Tally(*(np.zeros(batch, np.float32) for _ in Tally._fields)),
            alive=np.zeros((*batch, agents), bool) if changing else None,
            left=np.zeros((*batch, agents), bool) if changing else None,
            memory=self.network.begun((self.ticks // self._every, *batch[1:])),
        )

    def _leave(self) -> tuple[_Episodes, ...]:
        """Where the environments stand, as a value; its types are always those of the first time."""
        found = tuple(
            _Episodes(*(getattr(snapshot, name) for name in _Episodes._fields))
            for snapshot in (env.get_state() for env in self._envs)
        )
        if self._types is None:
            self._types = jax.tree.map(lambda leaf: leaf.dtype, found)
        self._left = jax.tree.map(lambda leaf, kind: leaf.astype(kind, copy=False), found, self._types)
        return self._left

    def _return_to(self, episodes: tuple[_Episodes, ...]) -> None:
        """Go on from where environments stood."""
        for env, left in zip(self._envs, episodes, strict=True):
            env.set_state(env.get_state()._replace(**jax.tree.map(np.asarray, left)._asdict()))


def _vector_envs(env: FunctionalEnv, sizes: list[int]) -> list[Any]:
    """Vector environments of the functional one's configuration and days.

    Raises
    ------
    NotCompilableError
        If the compiled step does not take the configuration.
    """
    import powergrid
    from powergrid.envs.functional import FunctionalEnv as OwnEnv

    if type(env) is not OwnEnv:  # a wrapper may change what an environment does
        raise NotCompilableError("only environments of powergrid.make_functional are known to the compiled step")
    days = [int(day) for day in env.days]
    first = powergrid.make_vec(env.world.resolved, sizes[0], backend="fused", days=days)
    if first.world.layout.python is not None:
        raise NotCompilableError("plain Python devices are no arrays, which a checkpoint holds")
    others = (type(first)(first.world, size, backend="fused", days=days) for size in sizes[1:])
    return [first, *others]


def _columns_of(tree: Any, rows: slice) -> Any:
    """The environments `rows` of arrays with the ticks in front."""
    return jax.tree.map(lambda leaf: leaf[:, rows], tree)
