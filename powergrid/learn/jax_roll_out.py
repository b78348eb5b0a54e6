"""The roll-out in one piece on JAX, its environments shared among all devices."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core import random
from powergrid.core.types import Array
from powergrid.learn import policy
from powergrid.learn.actors.network import ActorNetwork
from powergrid.learn.constraints import Constraints, columns_per_agent
from powergrid.learn.critics import Critic
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv
from powergrid.learn.learner_state import Lanes, LearnerState, Rollout, Tally
from powergrid.learn.placement import Placement
from powergrid.learn.stream_keys import reset_keys, stream_keys

_NOISE, _ENV_KEYS = range(2)  # streams of random numbers; the tick is the number of the update
ONCE = {"xla_backend_optimization_level": 0}
"""What runs once is compiled with half the effort."""


class JaxRollOut:
    """Environments and actors as one compiled loop.

    Parameters
    ----------
    env
        Functional environment.
    num_envs, ticks
        Environments, and ticks that they move before an update.
    network
        What the actors choose with.
    critic
        Values the last state of an episode.
    constraints
        Limits, whose costs become columns beside the rewards; ``None`` without.
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
        self.agents = sum(len(members) for members in env.groups.values())
        changing: Any = env if getattr(env, "actors_change", False) else None
        self._changing = None if changing is None else changing.alive
        if changing is not None:
            members = [changing.agents.index(agent) for group in env.groups.values() for agent in group]
            self._order = np.argsort(members)  # from the groups' columns to the environment's rows
        self._place = place = Placement(num_envs)
        self._begin: Any = jax.jit(self._begun, compiler_options=ONCE)
        self._collect: Any = jax.jit(
            self._collected, in_shardings=(place.everywhere, place.lanes), out_shardings=(place.lanes, place.rows)
        )

    def begin(self, key: Array) -> Lanes:
        """Environments at their first observation."""
        self._begin = result_of(self._begin)
        lanes: Lanes = self._begin(key)
        return lanes

    def prepare(self, learner: LearnerState, others: Executor) -> tuple[Lanes, Rollout]:
        """Compile both parts on other cores."""
        begin = self._begin.lower(learner.key)
        self._begin = others.submit(begin.compile)
        collect = self._collect.lower(learner, begin.out_info)
        self._collect = others.submit(collect.compile)
        shapes: tuple[Lanes, Rollout] = collect.out_info
        return shapes

    def collect(self, learner: LearnerState, lanes: Lanes) -> tuple[Lanes, Rollout]:
        """Act for the ticks of one update."""
        place = self._place
        self._collect = result_of(self._collect)
        moved: tuple[Lanes, Rollout] = self._collect(
            jax.device_put(learner, place.everywhere), jax.device_put(lanes, place.lanes)
        )
        return moved

    def _begun(self, key: Array) -> Lanes:
        obs, state = self.env.reset(reset_keys(jnp, key, self.num_envs))
        tally = Tally(*(jnp.zeros(self.num_envs, jnp.float32) for _ in Tally._fields))
        memory = jax.tree.map(jnp.asarray, self.network.begun((self.num_envs,)))
        return Lanes(state, self._ordered(obs), self.env.central_state(state), tally, memory)

    def _ordered(self, values: Mapping[str, Array]) -> ByGroup[Array]:
        """What the environment hands out by name, in the one order of the groups."""
        return ByGroup.of(self.env.groups, values)

    def _collected(self, learner: LearnerState, lanes: Lanes) -> tuple[Lanes, Rollout]:
        """Act, each device in its own environments."""
        place, batch = self._place, (self.ticks, self.num_envs)
        noise = self._noise(learner, batch)
        keys = stream_keys(jnp, learner.key, learner.updates, _ENV_KEYS, batch)
        takes = (place.everywhere, place.lanes, place.rows, place.rows)
        return place.shared(self.acted, takes, (place.lanes, place.rows))(learner, lanes, noise, keys)

    def acted(self, learner: LearnerState, lanes: Lanes, noise: ByGroup[Array], keys: Array) -> tuple[Lanes, Rollout]:
        """Act with the noise ``(ticks, E, n, k)`` a group and the keys ``(ticks, E, 2)`` of each tick."""

        def tick(lanes: Lanes, row: tuple[ByGroup[Array], Array]) -> tuple[Lanes, Rollout]:
            noise, keys = row
            action, held, memory = policy.explore(
                self.network, learner.actor, learner.obs_norm, lanes.obs, noise, lanes.memory
            )
            obs, env, reward, done, info = self.env.step(keys, lanes.env, held.by_name())
            ended = done["__all__"]
            final_value = jax.lax.cond(
                ended.any(),
                lambda: policy.values(
                    self.critic, self.network, learner, self._ordered(info["final_obs"]), info["final_state"]
                ),
                lambda: jnp.zeros((*ended.shape, self.agents * columns_per_agent(self.constraints)), jnp.float32),
            )
            rewards = self._ordered(reward).columns()
            money, costs = (info[name][..., : self.agents, :] for name in ("money", "costs"))
            alive = left = None
            if self._changing is not None:
                alive, left = self._ordered(self._changing(lanes.env)).columns(), self._ordered(info["left"]).columns()
                there = alive[..., self._order, None]
                money, costs = jnp.where(there, money, 0.0), jnp.where(there, costs, 0.0)
            tally = Tally(
                lanes.tally.reward + rewards.sum(-1),
                lanes.tally.money + money.sum((-1, -2)),
                lanes.tally.cost + costs.sum((-1, -2)),
            )
            finished = Tally(*(jnp.where(ended, column, 0.0) for column in tally))
            going_on = Tally(*(jnp.where(ended, 0.0, column) for column in tally))
            due, terminated = self._ordered(info["due"]).columns(), info["terminated"]
            earned = rewards if self.constraints is None else self.constraints.columns(jnp, rewards, costs)
            now = lanes.obs, lanes.central, action, earned.astype(jnp.float32)
            rollout = Rollout(*now, due, ended, terminated, final_value, finished, alive, left, lanes.memory)
            memory = policy.forgotten(memory, ended)
            return Lanes(env, self._ordered(obs), info["state"], going_on, memory), rollout

        lanes, rollout = jax.lax.scan(tick, lanes, (noise, keys))
        every = getattr(self.network, "chunk", 0) or self.ticks
        return lanes, rollout._replace(memory=jax.tree.map(lambda leaf: leaf[::every], rollout.memory))

    def _noise(self, learner: LearnerState, batch: tuple[int, ...]) -> ByGroup[Array]:
        """Standard normal numbers ``(*batch, n, k)`` a group, from one draw."""
        env = self.env
        shapes = ByGroup.make(env.groups, lambda group: (len(env.groups[group]), env.action_size[group]))
        ends = np.cumsum([agents * size for agents, size in shapes.parts])
        draw = random.normal(jnp, learner.key, learner.updates, _NOISE, (*batch, int(ends[-1])), jnp.float32)
        parts = ByGroup(env.groups, jnp.split(draw, ends[:-1], -1))
        return parts.map(lambda part, shape: part.reshape(*batch, *shape), shapes)


def result_of(part: Any) -> Any:
    """A function, or the one that somebody compiles."""
    return part.result() if hasattr(part, "result") else part
