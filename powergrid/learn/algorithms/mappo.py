"""Multi-agent PPO: an actor for each group of like agents, a critic that sees the whole system, the loop in one piece.

Yu, Velu, Vinitsky, Gao, Wang, Bayen and Wu, "The surprising effectiveness of PPO in cooperative multi-agent
games", NeurIPS 2022, arXiv:2103.01955; Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization
algorithms", 2017, arXiv:1707.06347.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field, model_validator

from powergrid.core import random
from powergrid.core.types import Array
from powergrid.learn.critics import CentralCritic, Critic
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import AlgorithmSettings, FunctionalEnv, settings_from
from powergrid.learn.networks import Running, Stack, dense_stack, merge, normalise, running, stack
from powergrid.learn.placement import Placement
from powergrid.learn.returns import generalised_advantage
from powergrid.plugins import register_algorithm

_LOG_2_PI = 1.8378770664093453
_NOISE, _ENV_KEYS, _SHUFFLE, _RESET_KEYS = range(4)  # streams of random numbers; the tick is the number of the update
_ONCE = {"xla_backend_optimization_level": 0}  # what runs once is compiled with half the effort
_VALUE_MEMORY = 10.0  # updates that the scale of the returns remembers: returns grow while the policy learns


class Settings(AlgorithmSettings):
    """Hyperparameters of MAPPO and IPPO."""

    num_envs: int = Field(128, ge=1, description="environments in the batch")
    rollout: int = Field(96, ge=1, description="ticks collected before each update; whole days keep every hour in it")
    epochs: int = Field(4, ge=1, description="passes over each rollout")
    minibatches: int = Field(16, ge=1, description="gradient steps a pass; fewer by default where they do not divide")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step size at the start, annealed to 0 over the run")
    discount: float = Field(0.95, ge=0, le=1, description="gamma per tick; a battery earns hours after it buys [1]")
    trace_decay: float = Field(0.9, ge=0, le=1, description="lambda of the advantage estimate [1]")
    clip: float = Field(0.2, gt=0, description="largest change of a probability ratio that is rewarded [1]")
    entropy_weight: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    value_weight: float = Field(0.5, gt=0, description="weight of the critic's loss")
    max_grad_norm: float = Field(0.5, gt=0, description="gradients are scaled down to this global norm")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of actors and critic")
    log_std: float = Field(0.0, description="initial logarithm of the exploration's standard deviation")
    share_actors: bool = Field(
        True, description="one actor a group, told the agent by a one-hot number; else one an agent"
    )

    @model_validator(mode="before")
    @classmethod
    def _fitting(cls, given: Any) -> Any:
        """Take the most minibatches, up to the default, that divide a smaller number of environments."""
        num_envs = given.get("num_envs") if isinstance(given, dict) else None
        if "minibatches" in (given or ()) or not isinstance(num_envs, int) or num_envs < 1:
            return given
        return {**given, "minibatches": gcd(num_envs, 16)}

    @model_validator(mode="after")
    def _divides(self) -> Settings:
        if self.num_envs % self.minibatches:
            raise ValueError(f"minibatches {self.minibatches} must divide num_envs {self.num_envs}")
        return self


class Tally(NamedTuple):
    """Running sums of the episodes under way, ``(E,)`` each."""

    reward: Array
    money: Array
    cost: Array


class Knowledge(NamedTuple):
    """What is learned: weights, statistics of inputs and returns, and where the run stands."""

    actor: ByGroup[dict[str, Any]]
    critic: Any
    obs_norm: ByGroup[Running]
    state_norm: Running
    value_norm: Running
    optimiser: Any
    key: Array
    updates: Array


class Lanes(NamedTuple):
    """The environments between two ticks."""

    env: Any
    obs: ByGroup[Array]
    central: Array
    tally: Tally


class TrainState(NamedTuple):
    """Everything that the next update depends on: the fields of :class:`Knowledge`, then those of :class:`Lanes`."""

    actor: ByGroup[dict[str, Any]]
    critic: Any
    obs_norm: ByGroup[Running]
    state_norm: Running
    value_norm: Running
    optimiser: Any
    key: Array
    updates: Array
    env: Any
    obs: ByGroup[Array]
    central: Array
    tally: Tally

    @property
    def knowledge(self) -> Knowledge:
        """What is learned."""
        return Knowledge(*(getattr(self, name) for name in Knowledge._fields))

    @property
    def lanes(self) -> Lanes:
        """The environments."""
        return Lanes(*(getattr(self, name) for name in Lanes._fields))


class Rollout(NamedTuple):
    """One fragment, ticks and environments first; `final_value` and `finished` are 0 where no episode ended."""

    obs: ByGroup[Array]
    central: Array
    action: ByGroup[Array]
    reward: Array
    done: Array
    terminated: Array
    final_value: Array
    finished: Tally


class Batch(NamedTuple):
    """Samples for the losses: normalised inputs, raw actions, and one column an agent for the rest."""

    obs: ByGroup[Array]
    central: Array
    action: ByGroup[Array]
    log_prob: Array
    advantage: Array
    target: Array


@register_algorithm("mappo")
def mappo(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> PolicyGradient:
    """MAPPO: local actors, central critic."""
    return PolicyGradient(env, steps, settings_from(Settings, hyper), CentralCritic())


class PolicyGradient:
    """Clipped-surrogate policy gradient with a critic that is handed in.

    Parameters
    ----------
    env
        Functional environment.
    steps
        Environment steps of the whole run, which the learning rate is annealed over.
    settings
        Hyperparameters.
    critic
        Central (MAPPO) or local (IPPO).
    """

    def __init__(self, env: FunctionalEnv, steps: int, settings: Settings, critic: Critic):
        self.env, self.settings, self.critic = env, settings, critic
        self.steps_per_update = settings.num_envs * settings.rollout
        self.total_updates = max(1, -(-steps // self.steps_per_update))
        self.agents = sum(len(members) for members in env.groups.values())
        self._adam = optax.scale_by_adam(eps=1e-5)
        self._place = place = Placement(settings.num_envs)
        self._collect: Any = jax.jit(
            self._collected, in_shardings=(place.everywhere, place.lanes), out_shardings=(place.lanes, place.rows)
        )
        self._learn: Any = jax.jit(self._learned, in_shardings=place.first, out_shardings=place.first)

    def init(self, seed: int, *, compile_ahead: bool = False) -> TrainState:
        """Fresh weights, and a batch of environments at their first observation.

        Parameters
        ----------
        seed
            Seed of weights, exploration and environments.
        compile_ahead
            Compile `update` meanwhile on a second core, instead of at its first call.
        """
        key = random.key_from_seed(np, np.array(seed))
        begin = jax.jit(self._begin, compiler_options=_ONCE).lower(key)
        if not compile_ahead:
            return self._fresh(seed, key, *begin.compile()(key))
        with ThreadPoolExecutor(2) as others:
            shapes = jax.eval_shape(lambda parts: self._fresh(seed, key, *parts), begin.out_info)
            collect = self._collect.lower(shapes.knowledge, shapes.lanes)
            collecting = others.submit(collect.compile)
            seen = _shapes(self._seen(*collect.out_info))
            learning = others.submit(lambda: self._learn.lower(shapes.knowledge, *seen).compile())
            state = self._fresh(seed, key, *begin.compile()(key))
            self._collect, self._learn = collecting.result(), learning.result()
        return state

    def update(self, state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        """Collect and learn once; the second value holds scalars for the curve."""
        place = self._place
        lanes, rollout = self._collect(
            jax.device_put(state.knowledge, place.everywhere), jax.device_put(state.lanes, place.lanes)
        )
        seen = jax.device_put(self._seen(lanes, rollout), place.first)
        knowledge, metrics = self._learn(jax.device_put(state.knowledge, place.first), *seen)
        return TrainState(*knowledge, *lanes), metrics

    @staticmethod
    def _seen(lanes: Lanes, rollout: Rollout) -> tuple[Rollout, ByGroup[Array], Array]:
        """What learning reads of a collection: the rollout, and the observations after it."""
        return rollout, lanes.obs, lanes.central

    def _begin(self, key: Array) -> tuple[ByGroup[Array], Any, Array]:
        obs, state = self.env.reset(_keys(key, 0, _RESET_KEYS, (self.settings.num_envs,)))
        return self._ordered(obs), state, self.env.central_state(state)

    def _ordered(self, values: Mapping[str, Array]) -> ByGroup[Array]:
        """What the environment hands out by name, in the one order of the groups."""
        return ByGroup.of(self.env.groups, values)

    def _fresh(self, seed: int, key: Array, obs: ByGroup[Array], env_state: Any, central: Array) -> TrainState:
        env, settings = self.env, self.settings
        rng = np.random.default_rng(seed)
        actor = ByGroup.make(env.groups, lambda group: self._actor(rng, group))
        critic = self.critic.init(rng, env, settings.hidden, settings.share_actors)
        state = TrainState(
            actor=actor,
            critic=critic,
            obs_norm=ByGroup.make(env.groups, self._obs_statistics),
            state_norm=running((env.state_size,)),
            value_norm=running((self.agents,)),
            optimiser=self._adam.init({"actor": actor, "critic": critic}),
            env=env_state,
            obs=obs,
            central=central,
            tally=Tally(*(np.zeros(settings.num_envs, np.float32) for _ in Tally._fields)),
            key=key,
            updates=np.zeros((), np.int32),
        )
        return jax.tree.map(jnp.asarray, state)

    def _obs_statistics(self, group: str) -> Running:
        size = self.env.observation_size[group]
        return running((size,) if self.settings.share_actors else (len(self.env.groups[group]), size))

    def _actor(self, rng: np.random.Generator, group: str) -> dict[str, Any]:
        settings, agents = self.settings, len(self.env.groups[group])
        size, shared = self.env.action_size[group], self.settings.share_actors
        widths = (self.env.observation_size[group], *settings.hidden, size)
        shape = (size,) if shared else (agents, size)
        layers = stack(rng, widths, last_gain=0.01, agents=agents, shared=shared)
        return {**layers, "log_std": np.full(shape, settings.log_std, np.float32)}

    def _collected(self, knowledge: Knowledge, lanes: Lanes) -> tuple[Lanes, Rollout]:
        """Act for ``rollout`` ticks, each device in its own environments."""
        place, batch = self._place, (self.settings.rollout, self.settings.num_envs)
        noise = self._noise(knowledge, batch)
        keys = _keys(knowledge.key, knowledge.updates, _ENV_KEYS, batch)
        takes = (place.everywhere, place.lanes, place.rows, place.rows)
        return place.shared(self._acted, takes, (place.lanes, place.rows))(knowledge, lanes, noise, keys)

    def _acted(self, knowledge: Knowledge, lanes: Lanes, noise: ByGroup[Array], keys: Array) -> tuple[Lanes, Rollout]:
        """Act with the noise of each tick."""

        def tick(lanes: Lanes, row: tuple[ByGroup[Array], Array]) -> tuple[Lanes, Rollout]:
            noise, keys = row
            means = mean_actions(knowledge.actor, self._normal_obs(knowledge, lanes.obs))
            action = means.map(
                lambda mean, actor, drawn: mean + jnp.exp(actor["log_std"]) * drawn, knowledge.actor, noise
            )
            held = action.map(lambda wish: jnp.clip(wish, -1.0, 1.0))
            obs, env, reward, done, info = self.env.step(keys, lanes.env, held.by_name())
            ended = done["__all__"]
            final_value = jax.lax.cond(
                ended.any(),
                lambda: self._values(knowledge, self._ordered(info["final_obs"]), info["final_state"]),
                lambda: jnp.zeros((*ended.shape, self.agents), jnp.float32),
            )
            rewards = self._ordered(reward).columns()
            tally = Tally(
                lanes.tally.reward + rewards.sum(-1),
                lanes.tally.money + info["money"][..., : self.agents, :].sum((-1, -2)),
                lanes.tally.cost + info["costs"][..., : self.agents, :].sum((-1, -2)),
            )
            finished = Tally(*(jnp.where(ended, column, 0.0) for column in tally))
            going_on = Tally(*(jnp.where(ended, 0.0, column) for column in tally))
            rollout = Rollout(
                lanes.obs, lanes.central, action, rewards, ended, info["terminated"], final_value, finished
            )
            return Lanes(env, self._ordered(obs), info["state"], going_on), rollout

        return jax.lax.scan(tick, lanes, (noise, keys))

    def _learned(
        self, knowledge: Knowledge, rollout: Rollout, last_obs: ByGroup[Array], last_central: Array
    ) -> tuple[Knowledge, dict[str, Array]]:
        """Knowledge after one rollout, and the means over its losses and over the episodes that ended in it."""
        batch, returns = self._batch(knowledge, rollout, self._values(knowledge, last_obs, last_central))
        weights, optimiser, losses = self._improved(knowledge, batch)
        value_memory = _VALUE_MEMORY * self.steps_per_update
        episodes = rollout.done.sum()
        means = {f"episode_{name}": column.sum() / episodes for name, column in rollout.finished._asdict().items()}
        knowledge = Knowledge(
            actor=weights["actor"],
            critic=weights["critic"],
            obs_norm=knowledge.obs_norm.map(lambda norm, obs: merge(jnp, norm, obs), rollout.obs),
            state_norm=merge(jnp, knowledge.state_norm, rollout.central),
            value_norm=merge(jnp, knowledge.value_norm, returns, value_memory),
            optimiser=optimiser,
            key=knowledge.key,
            updates=knowledge.updates + 1,
        )
        return knowledge, {"episodes": episodes, **means, **losses}  # NaN where none ended

    def _batch(self, knowledge: Knowledge, rollout: Rollout, last: Array) -> tuple[Batch, Array]:
        """Samples with advantages and normalised targets, and the returns they stand for; `last` values follow."""
        settings, stats = self.settings, knowledge.value_norm
        values = self._values(knowledge, rollout.obs, rollout.central)
        next_values = jnp.concatenate([values[1:], last[None]])
        advantage = generalised_advantage(
            rollout.reward,
            values,
            jnp.where(rollout.done[..., None], rollout.final_value, next_values),
            rollout.terminated[..., None],
            rollout.done[..., None],
            discount=settings.discount,
            trace_decay=settings.trace_decay,
        )
        returns = advantage + values
        obs = self._normal_obs(knowledge, rollout.obs)
        spread = jnp.maximum(advantage.std((0, 1)), 1e-8)
        batch = Batch(
            obs=obs,
            central=normalise(jnp, knowledge.state_norm, rollout.central),
            action=rollout.action,
            log_prob=_log_probs(knowledge.actor, obs, rollout.action),
            advantage=(advantage - advantage.mean((0, 1))) / spread,
            target=(returns - stats.mean) / jnp.sqrt(stats.var + 1e-8),
        )
        return batch, returns

    def _improved(self, knowledge: Knowledge, batch: Batch) -> tuple[dict[str, Any], Any, dict[str, Array]]:
        """Gradient steps over shuffled minibatches; weights, optimiser and the mean losses.

        A minibatch holds all ticks of some environments, so that each sees every hour of the day equally often.
        The first update only measures: its step size is 0, so that no weight is bent by inputs and returns whose scale
        is still unknown.
        """
        settings = self.settings
        remaining = 1.0 - knowledge.updates / self.total_updates
        step_size = jnp.where(knowledge.updates == 0, 0.0, settings.learning_rate * jnp.maximum(remaining, 0.0))

        def minibatch(carry: tuple, lanes: Array) -> tuple[tuple, dict[str, Array]]:
            weights, optimiser = carry
            samples = jax.tree.map(lambda leaf: leaf[:, lanes], batch)
            gradient, losses = jax.grad(self._loss, has_aux=True)(weights, samples)
            norm = jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradient)))
            shrink = jnp.minimum(1.0, settings.max_grad_norm / (norm + 1e-8))
            gradient = jax.tree.map(lambda leaf: leaf * shrink, gradient)
            direction, optimiser = self._adam.update(gradient, optimiser)
            weights = jax.tree.map(lambda leaf, way: leaf - step_size * way, weights, direction)
            return (weights, optimiser), losses

        draws = (settings.epochs, settings.num_envs)
        order = jnp.argsort(random.uniform(jnp, knowledge.key, knowledge.updates, _SHUFFLE, draws, jnp.float32), -1)
        start = ({"actor": knowledge.actor, "critic": knowledge.critic}, knowledge.optimiser)
        lanes = order.reshape(settings.epochs * settings.minibatches, -1)
        (weights, optimiser), losses = jax.lax.scan(minibatch, start, lanes)
        return weights, optimiser, {**{name: loss.mean() for name, loss in losses.items()}, "learning_rate": step_size}

    def _loss(self, weights: dict[str, Any], samples: Batch) -> tuple[Array, dict[str, Array]]:
        settings = self.settings
        log_ratio = _log_probs(weights["actor"], samples.obs, samples.action) - samples.log_prob
        ratio = jnp.exp(log_ratio)
        held = jnp.clip(ratio, 1.0 - settings.clip, 1.0 + settings.clip)
        surrogate = jnp.minimum(ratio * samples.advantage, held * samples.advantage).mean()
        value = self.critic.value(weights["critic"], samples.obs, samples.central)
        value_loss = 0.5 * jnp.square(value - samples.target).mean()
        spreads = [actor["log_std"] for actor in weights["actor"].parts]
        entropy = sum((log_std + 0.5 * (1.0 + _LOG_2_PI)).sum(-1).mean() for log_std in spreads) / len(spreads)
        loss = -surrogate + settings.value_weight * value_loss - settings.entropy_weight * entropy
        return loss, {
            "value_loss": value_loss,
            "entropy": entropy,
            "approx_kl": (ratio - 1.0 - log_ratio).mean(),
            "clip_share": (ratio != held).mean(dtype=jnp.float32),
        }

    def _noise(self, knowledge: Knowledge, batch: tuple[int, ...]) -> ByGroup[Array]:
        """Standard normal numbers ``(*batch, n, k)`` a group, from one draw."""
        env = self.env
        shapes = ByGroup.make(env.groups, lambda group: (len(env.groups[group]), env.action_size[group]))
        ends = np.cumsum([agents * size for agents, size in shapes.parts])
        draw = random.normal(jnp, knowledge.key, knowledge.updates, _NOISE, (*batch, int(ends[-1])), jnp.float32)
        parts = ByGroup(env.groups, jnp.split(draw, ends[:-1], -1))
        return parts.map(lambda part, shape: part.reshape(*batch, *shape), shapes)

    def _normal_obs(self, knowledge: Knowledge, obs: ByGroup[Array]) -> ByGroup[Array]:
        return obs.map(lambda rows, norm: normalise(jnp, norm, rows), knowledge.obs_norm)

    def _values(self, knowledge: Knowledge, obs: ByGroup[Array], central: Array) -> Array:
        """Values in the reward's own unit, ``(*batch, A)``."""
        stats = knowledge.value_norm
        central = normalise(jnp, knowledge.state_norm, central)
        value = self.critic.value(knowledge.critic, self._normal_obs(knowledge, obs), central)
        return value * jnp.sqrt(stats.var + 1e-8) + stats.mean


def mean_actions(actors: ByGroup[dict[str, Any]], obs: ByGroup[Array]) -> ByGroup[Array]:
    """Mean actions ``(*batch, n, k)`` a group."""
    return obs.map(lambda rows, actor: dense_stack(jnp, _layers(actor), rows), actors)


def _log_probs(actors: ByGroup[dict[str, Any]], obs: ByGroup[Array], actions: ByGroup[Array]) -> Array:
    """Log density of the raw actions, one column an agent, ``(*batch, A)``."""

    def density(mean: Array, actor: dict[str, Any], action: Array) -> Array:
        score = (action - mean) * jnp.exp(-actor["log_std"])
        return -(0.5 * jnp.square(score) + actor["log_std"] + 0.5 * _LOG_2_PI).sum(-1)

    return mean_actions(actors, obs).map(density, actors, actions).columns()


def _keys(key: Array, tick: Array, stream: int, shape: tuple[int, ...]) -> Array:
    """Raw keys ``(*shape, 2)`` for environments, a pure function of the run's key and the update."""
    where = (jnp.asarray(tick).astype(jnp.uint32) << jnp.uint32(8)) | jnp.uint32(stream)
    position = jnp.arange(int(np.prod(shape)), dtype=jnp.uint32).reshape(shape)
    return jnp.stack(random.threefry2x32(jnp, jnp.asarray(key), where, position), -1)


def _shapes(tree: Any) -> Any:
    """Shapes and types of arrays, wherever they are placed."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def _layers(actor: dict[str, Any]) -> Stack:
    return {name: layer for name, layer in actor.items() if name != "log_std"}
