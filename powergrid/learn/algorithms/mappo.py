"""Multi-agent PPO: an actor for each group of like agents, a critic that sees the whole system, the loop in one piece.

Yu, Velu, Vinitsky, Gao, Wang, Bayen and Wu, "The surprising effectiveness of PPO in cooperative multi-agent
games", NeurIPS 2022, arXiv:2103.01955; Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization
algorithms", 2017, arXiv:1707.06347.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from math import gcd
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import SingleDeviceSharding
from pydantic import Field, model_validator

from powergrid.core import random
from powergrid.core.types import Array
from powergrid.learn import policy
from powergrid.learn.actors.choice import network_of
from powergrid.learn.actors.network import NetworkSettings
from powergrid.learn.constraints import Constraints, columns_per_agent
from powergrid.learn.critics import CentralCritic, Critic
from powergrid.learn.federation import Federation, with_own_actors
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.learn.learner_state import LearnerState, Rollout, TrainState
from powergrid.learn.networks import merge, normalise, running
from powergrid.learn.placement import shapes_of
from powergrid.learn.returns import generalised_advantage
from powergrid.learn.roll_out import choose
from powergrid.plugins import register_algorithm
from powergrid.worlds.residual import corrected

_SHUFFLE = 2  # stream of random numbers; the tick is the number of the update
_VALUE_MEMORY = 10.0  # updates that the scale of the returns remembers: returns grow while the policy learns


CORRECTING = -1.5
"""First logarithm of the spread of exploration where actions correct a local policy that is competent already."""


class Settings(NetworkSettings):
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
    log_std: float | None = Field(
        None,
        description="initial logarithm of the exploration's standard deviation; omitted: 0, or -1.5 where actions "
        "correct a local policy",
    )
    critic_updates: int = Field(
        1, ge=0, description="updates at the beginning in which only critics learn; more where actors imitate"
    )
    share_actors: bool = Field(
        True, description="one actor a group, told the agent by a one-hot number; else one an agent"
    )
    roll_out: Literal["auto", "compiled", "jax"] = Field(
        "auto", description="environments on the CPU's compiled step, or on JAX; auto takes the faster one"
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


class Batch(NamedTuple):
    """Samples for the losses: normalised inputs, raw actions, and one column an agent for the rest.

    Actors learn from ticks in which their agent was `due`, since an action between two decisions has no effect. Critics
    learn from all, and where agents join or leave from those in which the agent was there, `alive`.
    """

    obs: ByGroup[Array]
    central: Array
    action: ByGroup[Array]
    due: Array
    log_prob: Array
    advantage: Array
    target: Array
    alive: Array | None = None
    memory: Any = ()
    begins: Array | None = None

    @property
    def seen(self) -> policy.Seen:
        """What actors saw and remembered."""
        return policy.Seen(self.obs, self.memory, self.begins)


@register_algorithm("mappo")
def mappo(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> PolicyGradient:
    """MAPPO: local actors, central critic."""
    return PolicyGradient(env, steps, settings_from(Settings, with_own_actors(env, hyper)), CentralCritic())


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
    constraints
        Limits, for algorithms that keep them.

    Attributes
    ----------
    network
        The network of the actors.
    roll_out
        What moves the environments.
    rollout_s
        Time that the last roll-out took [s].
    federation
        What protocols of kind learning do after an update.
    """

    def __init__(
        self,
        env: FunctionalEnv,
        steps: int,
        settings: Settings,
        critic: Critic,
        constraints: Constraints | None = None,
    ):
        self.env, self.critic, self.constraints = env, critic, constraints
        self.network = network_of(env, settings)
        self.roll_out, kind = choose(
            env, settings.num_envs, settings.rollout, self.network, critic, settings.roll_out, constraints
        )
        self.settings = settings.model_copy(update={"roll_out": kind})
        self.steps_per_update = settings.num_envs * settings.rollout
        self.total_updates = max(1, -(-steps // self.steps_per_update))
        self.agents = sum(len(members) for members in env.groups.values())
        self._changing = bool(getattr(env, "actors_change", False))
        self.federation = Federation(env)
        self._adam = optax.scale_by_adam(eps=1e-5)
        self._first = first = SingleDeviceSharding(jax.local_devices()[0])
        self._learn: Any = jax.jit(self._learned, in_shardings=first, out_shardings=first)
        self._learning: Future[Any] | None = None
        self.rollout_s = 0.0

    def init(self, seed: int, *, compile_ahead: bool = False) -> TrainState:
        """Fresh weights, and a batch of environments at their first observation.

        Parameters
        ----------
        seed
            Seed of weights, exploration and environments.
        compile_ahead
            Compile what `update` needs meanwhile on other cores, instead of at its first call.
        """
        learner = self.fresh(seed)
        if compile_ahead:
            others = ThreadPoolExecutor(2)
            lanes, rollout = shapes_of(self.roll_out.prepare(learner, others))
            shapes = shapes_of(learner)
            self._learning = others.submit(
                lambda: self._learn.lower(shapes, rollout, lanes.obs, lanes.central).compile()
            )
            others.shutdown(wait=False)
        return TrainState(*learner, *self.roll_out.begin(learner.key))

    def update(self, state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        """Collect and learn once; the second value holds scalars for the curve."""
        begin = time.perf_counter()
        lanes, rollout = jax.block_until_ready(self.roll_out.collect(state.learner, state.lanes))
        self.rollout_s = time.perf_counter() - begin
        if self._learning is not None:
            self._learn, self._learning = self._learning.result(), None
        learner, metrics = self._learn(*jax.device_put((state.learner, rollout, lanes.obs, lanes.central), self._first))
        if self.federation:
            actor, told = self.federation.mixed(learner.actor, int(learner.updates))
            learner, metrics = learner._replace(actor=actor), {**metrics, **told}
        return TrainState(*learner, *lanes), metrics

    def fresh(self, seed: int) -> LearnerState:
        """What is learned, before anything is; weights depend on the seed."""
        env, settings = self.env, self.settings
        rng = np.random.default_rng(seed)
        log_std = settings.log_std
        if log_std is None:
            log_std = 0.0 if corrected(env) is None else CORRECTING
        actor = self.network.init(rng, settings.hidden, log_std)
        critic = self.critic.init(rng, env, self.network.input_size, settings.hidden, settings.share_actors)
        columns = self.agents * columns_per_agent(self.constraints)
        moments = jax.eval_shape(self._adam.init, {"actor": actor, "critic": critic})
        learner = LearnerState(
            actor=actor,
            critic=critic,
            obs_norm=self.network.statistics(self._changing),
            state_norm=running((env.state_size,)),
            value_norm=running((columns,), (columns,) if self._changing else ()),
            optimiser=jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), moments),
            key=random.key_from_seed(np, np.array(seed)),
            updates=np.zeros((), np.int32),
            multipliers=self._first_multipliers(),
        )
        learner = jax.tree.map(jnp.asarray, learner)
        return learner._replace(actor=self.federation.begun(learner.actor))

    def _first_multipliers(self) -> Any:
        """What limits are worth before anything is learned; nothing without limits."""
        return ()

    def _next_multipliers(self, learner: LearnerState, rollout: Rollout) -> tuple[Any, dict[str, Array]]:
        """What they are worth after a roll-out, and what the curve says of it."""
        return learner.multipliers, {}

    def _followed(self, advantage: Array, due: Array, learner: LearnerState) -> Array:
        """What actors follow of the advantages of all columns: zero mean and unit spread for each agent."""
        mean = mean_due(advantage, due)
        spread = jnp.maximum(jnp.sqrt(mean_due(jnp.square(advantage - mean), due)), 1e-8)
        return (advantage - mean) / spread

    def _learned(
        self, learner: LearnerState, rollout: Rollout, last_obs: ByGroup[Array], last_central: Array
    ) -> tuple[LearnerState, dict[str, Array]]:
        """What is learned after one rollout, and the means over its losses and over the episodes that ended in it."""
        multipliers, told = self._next_multipliers(learner, rollout)
        learner = learner._replace(multipliers=multipliers)
        batch, returns = self._batch(
            learner, rollout, policy.values(self.critic, self.network, learner, last_obs, last_central)
        )
        weights, optimiser, losses = self._improved(learner, batch)
        value_memory = _VALUE_MEMORY * self.steps_per_update
        episodes = rollout.done.sum()
        means = {f"episode_{name}": column.sum() / episodes for name, column in rollout.finished._asdict().items()}
        learner = LearnerState(
            actor=weights["actor"],
            critic=weights["critic"],
            obs_norm=self.network.merged(jnp, learner.obs_norm, rollout.obs.by_name(), self._there(rollout).by_name()),
            state_norm=merge(jnp, learner.state_norm, rollout.central),
            value_norm=merge(jnp, learner.value_norm, returns, value_memory, where=batch.alive),
            optimiser=optimiser,
            key=learner.key,
            updates=learner.updates + 1,
            multipliers=multipliers,
        )
        return learner, {"episodes": episodes, **means, **losses, **told}  # NaN where none ended

    def _there(self, rollout: Rollout) -> ByGroup[Array | None]:
        """Whether the agents of each group were there, ``(ticks, E, n, 1)``; ``None`` where all always are."""
        groups = self.env.groups
        if rollout.alive is None:
            return ByGroup(groups, [None for _ in groups])
        ends = np.cumsum([len(members) for members in groups.values()])
        return ByGroup(groups, [part[..., None] for part in jnp.split(rollout.alive, ends[:-1], -1)])

    def _batch(self, learner: LearnerState, rollout: Rollout, last: Array) -> tuple[Batch, Array]:
        """Samples with advantages and normalised targets, and the returns they stand for; `last` values follow."""
        settings, stats = self.settings, learner.value_norm
        values = policy.values(self.critic, self.network, learner, rollout.obs, rollout.central)
        next_values = jnp.concatenate([values[1:], last[None]])
        terminated, done = rollout.terminated[..., None], rollout.done[..., None]
        if rollout.left is not None:  # whoever leaves earns nothing more
            left = self._wide(rollout.left)
            terminated, done = terminated | left, done | left
        advantage = generalised_advantage(
            rollout.reward,
            values,
            jnp.where(rollout.done[..., None], rollout.final_value, next_values),
            terminated,
            done,
            self._wide(rollout.due),
            discount=settings.discount,
            trace_decay=settings.trace_decay,
        )
        returns = advantage + values
        obs = policy.normal_obs(self.network, learner.obs_norm, rollout.obs)
        begins = jnp.concatenate([jnp.zeros_like(rollout.done[:1]), rollout.done[:-1]])
        seen = policy.Seen(obs, rollout.memory, begins)
        batch = Batch(
            obs=obs,
            central=normalise(jnp, learner.state_norm, rollout.central),
            action=rollout.action,
            due=rollout.due,
            log_prob=policy.log_probs(self.network, learner.actor, seen, rollout.action),
            advantage=self._followed(advantage, rollout.due, learner),
            target=(returns - stats.mean) / jnp.sqrt(stats.var + 1e-8),
            alive=None if rollout.alive is None else self._wide(rollout.alive),
            memory=rollout.memory,
            begins=begins,
        )
        return batch, returns

    def _wide(self, rows: Array) -> Array:
        """What is true of an agent, for all its columns."""
        times = columns_per_agent(self.constraints)
        return rows if times == 1 else jnp.tile(rows, times)

    def _improved(self, learner: LearnerState, batch: Batch) -> tuple[dict[str, Any], Any, dict[str, Array]]:
        """Gradient steps over shuffled minibatches; weights, optimiser and the mean losses.

        A minibatch holds all ticks of some environments, so that each sees every hour of the day equally often.
        The first update only measures: its step size is 0, so that no weight is bent by inputs and returns whose scale
        is still unknown.
        """
        settings = self.settings
        remaining = 1.0 - learner.updates / self.total_updates
        step_size = jnp.where(learner.updates == 0, 0.0, settings.learning_rate * jnp.maximum(remaining, 0.0))
        actor_step = jnp.where(learner.updates < settings.critic_updates, 0.0, step_size)

        def minibatch(carry: tuple, lanes: Array) -> tuple[tuple, dict[str, Array]]:
            weights, optimiser = carry
            samples = jax.tree.map(lambda leaf: leaf[:, lanes], batch)
            gradient, losses = jax.grad(self._loss, has_aux=True)(weights, samples)
            norm = jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradient)))
            shrink = jnp.minimum(1.0, settings.max_grad_norm / (norm + 1e-8))
            gradient = jax.tree.map(lambda leaf: leaf * shrink, gradient)
            direction, optimiser = self._adam.update(gradient, optimiser)
            steps = {"actor": actor_step, "critic": step_size}
            weights = {
                part: jax.tree.map(
                    lambda leaf, way, step=steps[part]: leaf - step * way, weights[part], direction[part]
                )
                for part in weights
            }
            return (weights, optimiser), losses

        draws = (settings.epochs, settings.num_envs)
        order = jnp.argsort(random.uniform(jnp, learner.key, learner.updates, _SHUFFLE, draws, jnp.float32), -1)
        start = ({"actor": learner.actor, "critic": learner.critic}, learner.optimiser)
        lanes = order.reshape(settings.epochs * settings.minibatches, -1)
        (weights, optimiser), losses = jax.lax.scan(minibatch, start, lanes)
        return weights, optimiser, {**{name: loss.mean() for name, loss in losses.items()}, "learning_rate": step_size}

    def _loss(self, weights: dict[str, Any], samples: Batch) -> tuple[Array, dict[str, Array]]:
        settings = self.settings
        actor = weights["actor"]
        log_ratio = policy.log_probs(self.network, actor, samples.seen, samples.action) - samples.log_prob
        ratio = jnp.exp(log_ratio)
        held = jnp.clip(ratio, 1.0 - settings.clip, 1.0 + settings.clip)
        surrogate = mean_due(jnp.minimum(ratio * samples.advantage, held * samples.advantage), samples.due).mean()
        value = self.critic.value(weights["critic"], samples.obs, samples.central)
        value_loss = 0.5 * mean_of(jnp.square(value - samples.target), samples.alive)
        spreads = policy.spreads(self.network, actor, self.env.groups).parts
        entropy = sum((log_std + 0.5 * (1.0 + policy.LOG_2_PI)).sum(-1).mean() for log_std in spreads) / len(spreads)
        loss = -surrogate + settings.value_weight * value_loss - settings.entropy_weight * entropy
        return loss, {
            "value_loss": value_loss,
            "entropy": entropy,
            "approx_kl": mean_due(ratio - 1.0 - log_ratio, samples.due).mean(),
            "clip_share": mean_due((ratio != held).astype(jnp.float32), samples.due).mean(),
        }


def mean_of(values: Array, some: Array | None) -> Array:
    """Mean of some values, or of all."""
    if some is None:
        return values.mean()
    return jnp.where(some, values, 0.0).sum() / jnp.maximum(some.sum(), 1)


def mean_due(values: Array, due: Array) -> Array:
    """Mean of each agent over its decisions, ``(A,)``; 0 where it has none."""
    return jnp.where(due, values, 0.0).sum((0, 1)) / jnp.maximum(due.sum((0, 1)), 1)
