"""Analytic policy gradient: actors follow the derivative of the step, some hours at a time, with a critic behind.

The gradient of what all agents earn over a short horizon, and of the critic's value of where it leads, flows back
through power flow, devices and markets into the actors:

``L = -(sum_{t<h} gamma^t r_t + gamma^h V(s_h))``

Xu, Makoviychuk, Narang, Ramos, Matusik, Garg and Macklin, "Accelerated policy learning with parallel differentiable
simulation" (SHAC), ICLR 2022, arXiv:2204.07137. Here the state is damped on its way back, so that what a tick changes
reaches the tick before with a factor below 1: stored energy carries a derivative through a whole day without loss, and
the product over the ticks explodes where prices, auctions and limits switch. The forward values stay what they are.

The objective is the sum over agents: they learn as a team that shares what it earns, unlike MAPPO's agents, each of
which maximises its own reward. With ``training.cost_limits`` the priced violations of limited constraints leave the
reward, and each counts with a multiplier (:mod:`powergrid.learn.multipliers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field

from powergrid.core import random
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.learn import multipliers, policy
from powergrid.learn.constraints import Constraints, worst_mean
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.learn.learner_state import Lanes, LearnerState, Tally, TrainState
from powergrid.learn.multipliers import ControllerSettings
from powergrid.learn.networks import dense_stack, merge, normalise, running, stack
from powergrid.learn.placement import Placement
from powergrid.learn.returns import generalised_advantage
from powergrid.learn.roll_out import refuse_on_jax
from powergrid.learn.stream_keys import reset_keys, stream_keys
from powergrid.plugins import register_algorithm

_NOISE, _ENV_KEYS, _SHUFFLE = 4, 5, 6  # streams of random numbers; the tick is the number of the update
_VALUE_MEMORY = 20.0  # updates that the scale of the returns remembers


class Settings(ControllerSettings):
    """Hyperparameters of APG."""

    num_envs: int = Field(64, ge=1, description="environments in the batch")
    horizon: int = Field(32, ge=1, description="ticks that the gradient passes through before the critic takes over")
    learning_rate: float = Field(5e-3, gt=0, description="Adam's step size of the actors, annealed to 0 over the run")
    critic_rate: float = Field(2e-3, gt=0, description="Adam's step size of the critic, annealed likewise")
    critic_steps: int = Field(16, ge=1, description="gradient steps of the critic an update")
    discount: float = Field(0.99, ge=0, le=1, description="gamma per tick [1]")
    trace_decay: float = Field(0.95, ge=0, le=1, description="lambda of the critic's targets [1]")
    damping: float = Field(0.95, ge=0, le=1, description="factor per tick on the gradient through the state [1]")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this global norm")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of actors and critic")
    noise: float = Field(0.1, gt=0, description="standard deviation of exploration, which smooths what switches")
    share_actors: bool = Field(
        True, description="one actor a group, told the agent by a one-hot number; else one an agent"
    )


class Trace(NamedTuple):
    """What a horizon leaves for the critic and the statistics, ticks and environments first, without gradient.

    `earned` holds the reward of all agents and, behind it, the cost of each limited constraint.
    """

    obs: ByGroup[Array]
    central: Array
    earned: Array
    done: Array
    terminated: Array
    final_value: Array
    finished: Tally


@register_algorithm("apg")
def apg(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> AnalyticGradient:
    """APG: gradients through the step, with a critic behind a short horizon."""
    return AnalyticGradient(env, steps, settings_from(Settings, hyper))


class AnalyticGradient:
    """Back-propagation through the environment.

    Parameters
    ----------
    env
        Functional environment whose step carries gradients.
    steps
        Environment steps of the whole run, which the step sizes are annealed over.
    settings
        Hyperparameters.

    Raises
    ------
    ConfigError
        If JAX cannot step the environment (agents that decide in Python, a power flow on the CPU only), derivatives do
        not pass through something in it, or an agent's reward holds accounts that other rewards hold as well.

    Attributes
    ----------
    constraints
        Limits of the configuration, if it has any.
    rollout_s
        0: roll-out and learning are one function.
    """

    def __init__(self, env: FunctionalEnv, steps: int, settings: Settings):
        _require_gradients(env)
        self.env, self.settings = env, settings
        self.constraints = Constraints(env) if getattr(env, "cost_limits", None) else None
        self.columns = 1 + (len(self.constraints.names) if self.constraints else 0)
        self.steps_per_update = settings.num_envs * settings.horizon
        self.total_updates = max(1, -(-steps // self.steps_per_update))
        self.agents = sum(len(members) for members in env.groups.values())
        self._place = Placement(settings.num_envs)
        self._adam = optax.scale_by_adam(b1=0.7, b2=0.95)  # as SHAC has it: old gradients are of other policies
        everywhere, lanes = (self._place.everywhere,) * len(LearnerState._fields), self._place.lanes
        self._placed = TrainState(*everywhere, *(lanes for _ in Lanes._fields))
        self._begin: Any = jax.jit(self._begun)
        self._update: Any = jax.jit(
            self._updated, in_shardings=(self._placed,), out_shardings=(self._placed, self._place.everywhere)
        )
        self._compiling: Future[Any] | None = None
        self.rollout_s = 0.0

    def init(self, seed: int, *, compile_ahead: bool = False) -> TrainState:
        """Fresh weights, and a batch of environments at their first observation."""
        learner = self.fresh(seed)
        lanes = self._begin(learner.key)
        state = jax.device_put(TrainState(*learner, *lanes), self._placed)
        if compile_ahead:
            others = ThreadPoolExecutor(1)
            self._compiling = others.submit(self._update.lower(state).compile)
            others.shutdown(wait=False)
        return state

    def update(self, state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        """Act, follow the gradient and teach the critic once; the second value holds scalars for the curve."""
        if self._compiling is not None:
            self._update, self._compiling = self._compiling.result(), None
        after, metrics = self._update(jax.device_put(state, self._placed))
        return jax.block_until_ready(after), metrics

    def fresh(self, seed: int) -> LearnerState:
        """What is learned, before anything is; weights depend on the seed."""
        env, settings = self.env, self.settings
        rng = np.random.default_rng(seed)
        actor = ByGroup.make(env.groups, lambda group: self._actor(rng, group))
        critic = stack(rng, (env.state_size, *settings.hidden, self.columns), last_gain=0.1)
        optimiser = {"actor": self._adam.init(actor), "critic": self._adam.init(critic)}
        learner = LearnerState(
            actor=actor,
            critic=critic,
            obs_norm=ByGroup.make(env.groups, self._obs_statistics),
            state_norm=running((env.state_size,)),
            value_norm=running((self.columns,)),
            optimiser=optimiser,
            key=random.key_from_seed(np, np.array(seed)),
            updates=np.zeros((), np.int32),
            multipliers=multipliers.first(self.constraints) if self.constraints else (),
        )
        return jax.tree.map(jnp.asarray, learner)

    def _obs_statistics(self, group: str) -> Any:
        size, members = self.env.observation_size[group], len(self.env.groups[group])
        return running((size,) if self.settings.share_actors else (members, size))

    def _actor(self, rng: np.random.Generator, group: str) -> dict[str, Any]:
        settings, agents = self.settings, len(self.env.groups[group])
        size, shared = self.env.action_size[group], self.settings.share_actors
        widths = (self.env.observation_size[group], *settings.hidden, size)
        return dict(stack(rng, widths, last_gain=0.01, agents=agents, shared=shared))

    def _begun(self, key: Array) -> Lanes:
        obs, state = self.env.reset(reset_keys(jnp, key, self.settings.num_envs))
        tally = Tally(*(jnp.zeros(self.settings.num_envs, jnp.float32) for _ in Tally._fields))
        return Lanes(state, ByGroup.of(self.env.groups, obs), self.env.central_state(state), tally)

    def _updated(self, state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        settings, learner, place = self.settings, state.learner, self._place
        batch = (settings.horizon, settings.num_envs)
        noise = self._noise(learner, batch)
        keys = stream_keys(jnp, learner.key, learner.updates, _ENV_KEYS, batch)
        takes = (place.everywhere, place.lanes, place.rows, place.rows)
        gives = (place.everywhere, place.lanes, place.rows)
        gradient, lanes, trace = place.shared(self._gradient, takes, gives)(learner, state.lanes, noise, keys)
        size = _norm(gradient)
        shrink = jnp.minimum(1.0, settings.max_grad_norm / (size + 1e-8))
        usable = jnp.isfinite(size)  # one environment whose power flow diverges does not end the run
        gradient = jax.tree.map(lambda leaf: jnp.where(usable, leaf * shrink, 0.0), gradient)
        remaining = jnp.maximum(1.0 - learner.updates / self.total_updates, 0.0)
        first = learner.updates == 0  # the first update only measures the scale of inputs and returns
        way, moments = self._adam.update(gradient, learner.optimiser["actor"])
        rate = jnp.where(first, 0.0, settings.learning_rate * remaining)
        actor = jax.tree.map(lambda leaf, change: leaf - rate * change, learner.actor, way)
        costs = trace.earned[..., 1:].sum(0)
        told: dict[str, Array] = {}
        following = learner.multipliers
        if self.constraints:
            cost = worst_mean(costs, settings.worst_share) * (self.env.episode_length / settings.horizon)
            following, told = multipliers.moved(settings, self.constraints, following, cost)
        returns, values = self._returns(learner, lanes, trace)
        memory = _VALUE_MEMORY * self.steps_per_update
        value_norm = merge(jnp, learner.value_norm, returns, memory)
        critic, critic_moments, loss = self._taught(learner, trace, returns, value_norm, first, remaining)
        episodes = trace.done.sum()
        means = {f"episode_{name}": column.sum() / episodes for name, column in trace.finished._asdict().items()}
        learner = learner._replace(
            actor=actor,
            critic=critic,
            obs_norm=learner.obs_norm.map(lambda norm, obs: merge(jnp, norm, obs), trace.obs),
            state_norm=merge(jnp, learner.state_norm, trace.central),
            value_norm=value_norm,
            optimiser={"actor": moments, "critic": critic_moments},
            updates=learner.updates + 1,
            multipliers=following,
        )
        unexplained = jnp.var(returns[..., 0] - values[..., 0]) / jnp.maximum(jnp.var(returns[..., 0]), 1e-12)
        metrics = {"gradient_norm": size, "value_loss": loss, "unexplained": unexplained, "learning_rate": rate}
        return TrainState(*learner, *lanes), {"episodes": episodes, **means, **metrics, **told}

    def _noise(self, learner: LearnerState, batch: tuple[int, ...]) -> ByGroup[Array]:
        """Exploration ``(*batch, n, k)`` a group."""
        env = self.env
        shapes = ByGroup.make(env.groups, lambda group: (len(env.groups[group]), env.action_size[group]))
        ends = np.cumsum([agents * size for agents, size in shapes.parts])
        draw = random.normal(jnp, learner.key, learner.updates, _NOISE, (*batch, int(ends[-1])), jnp.float32)
        parts = ByGroup(env.groups, jnp.split(self.settings.noise * draw, ends[:-1], -1))
        return parts.map(lambda part, shape: part.reshape(*batch, *shape), shapes)

    def _gradient(
        self, learner: LearnerState, lanes: Lanes, noise: ByGroup[Array], keys: Array
    ) -> tuple[Any, Lanes, Trace]:
        """Gradient of the mean over all environments, each device through its own."""
        gradient, (lanes, trace) = jax.grad(self._loss, has_aux=True)(learner.actor, learner, lanes, noise, keys)
        return jax.lax.pmean(gradient, self._place.mesh.axis_names), lanes, trace

    def _loss(
        self, actor: ByGroup[Any], learner: LearnerState, lanes: Lanes, noise: ByGroup[Array], keys: Array
    ) -> tuple[Array, tuple[Lanes, Trace]]:
        settings = self.settings

        def tick(carried: tuple[Lanes, Array], row: tuple[ByGroup[Array], Array]) -> tuple[Any, tuple[Array, Trace]]:
            lanes, worth = carried
            drawn, keys = row
            obs, env = damped((lanes.obs, lanes.env), settings.damping)
            means = policy.mean_actions(actor, policy.normal_obs(learner.obs_norm, obs))
            held = means.map(lambda mean, part: within(mean + part), drawn)
            seen, env, reward, done, info = self.env.step(keys, env, held.by_name())
            ended, terminated = done["__all__"], info["terminated"]
            earned, tally = self._earned(reward, info, lanes.tally)
            ends = jnp.where(ended & ~terminated, self._value(learner, info["final_state"]), 0.0)
            gained = worth * (self._total(learner, earned) + settings.discount * ends)
            worth = jnp.where(ended, 1.0, worth * settings.discount)
            finished = Tally(*(jnp.where(ended, column, 0.0) for column in tally))
            going_on = Tally(*(jnp.where(ended, 0.0, column) for column in tally))
            final = jnp.where(ended[..., None], self._values(learner, info["final_state"]), 0.0)
            after = Lanes(env, ByGroup.of(self.env.groups, seen), info["state"], going_on)
            trace = Trace(lanes.obs, lanes.central, earned, ended, terminated, final, finished)
            return (after, worth), (gained, jax.lax.stop_gradient(trace))

        start = lanes, jnp.ones(keys.shape[1], jnp.float32)
        (lanes, worth), (gained, trace) = jax.lax.scan(tick, start, (noise, keys))
        whole = gained.sum(0) + worth * self._value(learner, lanes.central)
        scale = jnp.sqrt(learner.value_norm.var[0] + 1e-8)
        return -(whole / scale).mean(), (jax.lax.stop_gradient(lanes), trace)

    def _earned(self, reward: dict[str, Array], info: dict[str, Any], tally: Tally) -> tuple[Array, Tally]:
        """Reward of all agents, and the cost of each limited constraint, ``(E, 1 + C)``; the sums of the episodes."""
        rewards = ByGroup.of(self.env.groups, reward).columns()
        money, costs = (info[name][..., : self.agents, :] for name in ("money", "costs"))
        tally = Tally(
            tally.reward + rewards.sum(-1), tally.money + money.sum((-1, -2)), tally.cost + costs.sum((-1, -2))
        )
        if self.constraints:
            rewards = self.constraints.columns(jnp, rewards, costs)
        parts = rewards.reshape(*rewards.shape[:-1], self.columns, self.agents)
        return parts.sum(-1).astype(jnp.float32), tally

    def _total(self, learner: LearnerState, columns: Array) -> Array:
        """Reward less the costs at their multipliers."""
        if not self.constraints:
            return columns[..., 0]
        return columns[..., 0] - columns[..., 1:] @ learner.multipliers.value

    def _values(self, learner: LearnerState, central: Array) -> Array:
        """Values of reward and costs, ``(*batch, 1 + C)``, in their own units."""
        stats = learner.value_norm
        value = dense_stack(jnp, learner.critic, normalise(jnp, learner.state_norm, central))
        return value * jnp.sqrt(stats.var + 1e-8) + stats.mean

    def _value(self, learner: LearnerState, central: Array) -> Array:
        return self._total(learner, self._values(learner, central))

    def _returns(self, learner: LearnerState, lanes: Lanes, trace: Trace) -> tuple[Array, Array]:
        """The critic's targets, TD(lambda), and its values, ``(ticks, E, 1 + C)``."""
        values = self._values(learner, trace.central)
        after = jnp.concatenate([values[1:], self._values(learner, lanes.central)[None]])
        done, terminated = trace.done[..., None], trace.terminated[..., None]
        advantage = generalised_advantage(
            trace.earned,
            values,
            jnp.where(done, trace.final_value, after),
            terminated,
            done,
            jnp.ones_like(done),
            discount=self.settings.discount,
            trace_decay=self.settings.trace_decay,
        )
        return advantage + values, values

    def _taught(
        self, learner: LearnerState, trace: Trace, returns: Array, scale: Any, first: Array, remaining: Array
    ) -> tuple[Any, Any, Array]:
        """Critic, its moments and its mean loss after gradient steps on shuffled samples."""
        settings = self.settings
        inputs = normalise(jnp, learner.state_norm, trace.central).reshape(-1, trace.central.shape[-1])
        stats = learner.value_norm
        targets = ((returns - stats.mean) / jnp.sqrt(stats.var + 1e-8)).reshape(-1, self.columns)
        samples = len(inputs)
        size = max(4 * samples // settings.critic_steps, 1)  # four passes over the horizon

        def step(carry: tuple[Any, Any], rows: Array) -> tuple[tuple[Any, Any], Array]:
            critic, moments = carry

            def loss(critic: Any) -> Array:
                return 0.5 * jnp.square(dense_stack(jnp, critic, inputs[rows]) - targets[rows]).mean()

            value, gradient = jax.value_and_grad(loss)(critic)
            shrink = jnp.minimum(1.0, 1.0 / (_norm(gradient) + 1e-8))
            gradient = jax.tree.map(lambda leaf: leaf * shrink, gradient)
            way, moments = self._adam.update(gradient, moments)
            rate = jnp.where(first, 0.0, settings.critic_rate * remaining)
            return (jax.tree.map(lambda leaf, change: leaf - rate * change, critic, way), moments), value

        draws = random.uniform(jnp, learner.key, learner.updates, _SHUFFLE, (settings.critic_steps, size), jnp.float32)
        rows = jnp.minimum((draws * samples).astype(jnp.int32), samples - 1)
        (critic, moments), losses = jax.lax.scan(step, (learner.critic, learner.optimiser["critic"]), rows)
        return critic, moments, losses.mean()


def _require_gradients(env: FunctionalEnv) -> None:
    """Refuse what carries no derivative, and rewards whose sum would count an account more than once."""
    hint = "train with mappo, which needs no gradient of the step"
    refuse_on_jax(env, "algorithm apg", hint)
    given: Any = env
    layout = getattr(given.world, "layout", None)
    if layout is None:  # an environment of other origin
        return
    issues = [Issue(f"algorithm apg: {name}", why, hint) for name, why in given.differentiable.refused.items()]
    if layout.ledger.objective is not None:
        message = "the objective of a coordinator holds accounts that enter the sum over agents once more"
        issues.append(Issue("algorithm apg", message, "write objective: own, or train with mappo"))
    if issues:
        raise ConfigError(issues)


def _norm(tree: Any) -> Array:
    return jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)))


def damped(tree: Any, factor: float) -> Any:
    """The same values, whose gradient is multiplied by `factor` on its way back."""

    def leaf(value: Array) -> Array:
        if not jnp.issubdtype(value.dtype, jnp.inexact):
            return value
        still = jax.lax.stop_gradient(value)
        return still + factor * (value - still)

    return jax.tree.map(leaf, tree)


@jax.custom_vjp
def within(wish: Array) -> Array:
    """Actions within [-1, 1]; a wish outside keeps the part of its gradient that leads back."""
    return jnp.clip(wish, -1.0, 1.0)


def _within_forward(wish: Array) -> tuple[Array, Array]:
    return within(wish), wish


def _within_backward(wish: Array, slope: Array) -> tuple[Array]:
    outward = ((wish > 1.0) & (slope < 0.0)) | ((wish < -1.0) & (slope > 0.0))  # descent would lead further out
    return (jnp.where(outward, 0.0, slope),)


within.defvjp(_within_forward, _within_backward)
