"""Analytic policy gradient: actors follow what an episode costs by each of its actions.

Whole episodes are played with the actors as they are. Then the derivative of what all agents earn in them flows back
through markets, power flow and devices to every action:

``g_t = d/da_t sum_s r_s(a_0, ..., a_T)``

with the other actions as they were played: those of a plan, not the answers of a policy. Actors then take some steps
along ``sum_t g_t . a(o_t)``. So stored energy carries its worth undamped to the hour in which it is charged, and what
the last tick pays for it stands in place of a critic. What is left out are the answers of later decisions to what they
observe. They close a loop through voltages that spread by thousandths of 1 pu, whose derivative over a day explodes;
and what they add vanishes to first order where those decisions are optimal themselves.

Training through a simulator is as in Wiedemann, Wüest, Loquercio, Müller, Floreano and Scaramuzza, "Training efficient
controllers via analytic policy gradient", ICRA 2023, arXiv:2209.13052; the derivative by a plan is the adjoint of
optimal control, e.g. Bryson and Ho, "Applied optimal control", 1975, chapter 2.

The objective is the sum over agents: they learn as a team that shares what it earns, unlike MAPPO's agents, each of
which maximises its own reward. Where the rewards of coordinators sum accounts below them (``objective``), every account
counts once. With ``training.cost_limits`` the priced violations of limited constraints leave the
reward, and each counts with a multiplier (:mod:`powergrid.learn.multipliers`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import SingleDeviceSharding
from pydantic import Field, model_validator

from powergrid.core import random
from powergrid.core.derivatives import within
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.engine import formulas
from powergrid.learn import multipliers, policy
from powergrid.learn.actors.choice import network_of
from powergrid.learn.actors.network import NetworkSettings
from powergrid.learn.constraints import Constraints, worst_mean
from powergrid.learn.groups import ByGroup
from powergrid.learn.jax_roll_out import ONCE, result_of
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.learn.learner_state import Tally
from powergrid.learn.multipliers import ControllerSettings
from powergrid.learn.placement import Placement, shapes_of
from powergrid.learn.roll_out import refuse_on_jax
from powergrid.learn.stream_keys import stream_keys
from powergrid.plugins import register_algorithm

_ENV_KEYS, _SHUFFLE, _NOISE = 5, 6, 7  # streams of random numbers; the tick is the number of the update
_EDGE = 1.0 - 1e-4
"""Greatest action: just within the limits of devices, where the whole derivative still passes."""


class Settings(NetworkSettings, ControllerSettings):
    """Hyperparameters of APG."""

    num_envs: int = Field(16, ge=1, description="environments in the batch; each plays an episode before an update")
    minibatches: int = Field(4, ge=1, description="gradient steps an update; fewer by default where they do not divide")
    learning_rate: float = Field(3e-3, gt=0, description="Adam's step size at the start, annealed to 0 over the run")
    input_noise: float = Field(
        0.25, ge=0, description="standard deviation of noise on normalised inputs; training days are few"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this global norm")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of actors")
    share_actors: bool = Field(
        False, description="one actor a group, told the agent by a one-hot number; else one an agent"
    )

    @model_validator(mode="before")
    @classmethod
    def _fitting(cls, given: Any) -> Any:
        """Take the most minibatches, up to the default, that divide another number of environments.

        A graph policy has one actor for each role.
        """
        if isinstance(given, dict) and given.get("network") == "graph":
            given = {"share_actors": True, **given}
        num_envs = given.get("num_envs") if isinstance(given, dict) else None
        if "minibatches" in (given or ()) or not isinstance(num_envs, int) or num_envs < 1:
            return given
        return {**given, "minibatches": gcd(num_envs, cls.model_fields["minibatches"].default)}

    @model_validator(mode="after")
    def _divides(self) -> Settings:
        if self.num_envs % self.minibatches:
            raise ValueError(f"minibatches {self.minibatches} must divide num_envs {self.num_envs}")
        return self


class GradientState(NamedTuple):
    """Everything that the next update depends on: weights, statistics of observations, and where the run stands."""

    actor: Any
    obs_norm: Any
    optimiser: Any
    key: Array
    updates: Array
    multipliers: Any = ()


class Played(NamedTuple):
    """What one episode in each environment leaves for the actors.

    Attributes
    ----------
    obs, slope
        Observations, and the change of the cost by every action, ``(ticks, E, n, ...)`` a group.
    sums
        Sums of the episodes, ``(E,)`` each.
    limited
        Cost of each limited constraint, ``(E, C)`` [$].
    """

    obs: ByGroup[Array]
    slope: ByGroup[Array]
    sums: Tally
    limited: Array


@register_algorithm("apg")
def apg(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> AnalyticGradient:
    """APG: gradients through the step, over whole episodes."""
    return AnalyticGradient(env, steps, settings_from(Settings, hyper))


class AnalyticGradient:
    """Back-propagation through the environment.

    Parameters
    ----------
    env
        Functional environment whose step carries gradients.
    steps
        Environment steps of the whole run, which the step size is annealed over.
    settings
        Hyperparameters.

    Raises
    ------
    ConfigError
        If JAX cannot step the environment (agents that decide in Python, a power flow on the CPU only), or derivatives
        do not pass through something in it.

    Attributes
    ----------
    network
        The network of the actors.
    constraints
        Limits of the configuration, if it has any.
    team_reward
        Reward of the accounts that are an objective; ``None`` where the rewards of agents are summed.
    rollout_s
        0: playing and its derivative are one function.
    """

    def __init__(self, env: FunctionalEnv, steps: int, settings: Settings):
        _require_gradients(env)
        self.env, self.settings = _without_reset(env), settings
        self.network = network_of(env, settings)
        self.constraints = Constraints(env) if getattr(env, "cost_limits", None) else None
        self.steps_per_update = settings.num_envs * env.episode_length
        self.total_updates = max(1, -(-steps // self.steps_per_update))
        self.agents = sum(len(members) for members in env.groups.values())
        self.team_reward = _team_reward(env)
        self._adam = optax.scale_by_adam()
        self._place = place = Placement(settings.num_envs)
        self._first = first = SingleDeviceSharding(jax.local_devices()[0])
        everywhere, lanes, rows = place.everywhere, place.lanes, place.rows
        begun = place.shared(self._begun, (lanes,), (lanes, lanes))
        takes = (everywhere, lanes, lanes, lanes)
        played = place.shared(self._played, takes, (rows, rows, lanes, lanes))
        self._begin: Any = jax.jit(begun, in_shardings=(lanes,), compiler_options=ONCE)
        self._play: Any = jax.jit(played, in_shardings=takes)
        self._learn: Any = jax.jit(self._learned, in_shardings=first, out_shardings=first)
        self.rollout_s = 0.0

    def init(self, seed: int, *, compile_ahead: bool = False) -> GradientState:
        """Fresh weights; on request what `update` needs is compiled meanwhile on other cores."""
        state = self.fresh(seed)
        if compile_ahead:
            others = ThreadPoolExecutor(2)
            shapes, keys = shapes_of((state, self._keys(state)))
            begin = self._begin.lower(keys)
            play = self._play.lower(shapes, *shapes_of(begin.out_info), keys)
            self._play = others.submit(play.compile)
            self._begin = others.submit(begin.compile)
            self._learn = others.submit(self._learn.lower(shapes, shapes_of(play.out_info)).compile)
            others.shutdown(wait=False)
        return state

    def update(self, state: GradientState) -> tuple[GradientState, dict[str, Array]]:
        """Play an episode in every environment and learn from it; the second value holds scalars for the curve."""
        self._begin, self._play, self._learn = map(result_of, (self._begin, self._play, self._learn))
        place = self._place
        keys = jax.device_put(self._keys(state), place.lanes)
        begun = jax.device_put(self._begin(keys), place.lanes)
        played = self._play(jax.device_put(state, place.everywhere), *begun, keys)
        after, metrics = self._learn(*jax.device_put((state, played), self._first))
        return jax.block_until_ready(after), metrics

    def fresh(self, seed: int) -> GradientState:
        """What is learned, before anything is; weights depend on the seed."""
        rng = np.random.default_rng(seed)
        actor = self.network.init(rng, self.settings.hidden, None)
        state = GradientState(
            actor=actor,
            obs_norm=self.network.statistics(False),
            optimiser=self._adam.init(actor),
            key=random.key_from_seed(np, np.array(seed)),
            updates=np.zeros((), np.int32),
            multipliers=multipliers.first(self.constraints) if self.constraints else (),
        )
        return jax.device_put(jax.tree.map(jnp.asarray, state), self._first)

    def _keys(self, state: GradientState) -> Array:
        """Keys that decide the days and the initial states of an update, ``(E, 2)``."""
        return stream_keys(jnp, state.key, state.updates, _ENV_KEYS, (self.settings.num_envs,))

    def _begun(self, keys: Array) -> tuple[ByGroup[Array], Any]:
        obs, env = self.env.reset(keys)
        return ByGroup.of(self.env.groups, obs), env

    def _played(self, state: GradientState, obs: ByGroup[Array], env: Any, keys: Array) -> tuple[Any, ...]:
        """Episodes, and how their cost changes with every action: the fields of :class:`Played`."""
        shapes = ByGroup.make(self.env.groups, lambda name: (len(self.env.groups[name]), self.env.action_size[name]))
        ticks, count = self.env.episode_length, len(keys)

        def cost(moved: ByGroup[Array]) -> tuple[Array, tuple[ByGroup[Array], Tally, Array]]:
            def tick(carried: tuple[Any, ...], moved: ByGroup[Array]) -> tuple[Any, tuple[Any, ...]]:
                obs, env, going, memory = carried
                plan, memory = policy.acted(self.network, state.actor, state.obs_norm, obs, memory)
                held = plan.map(lambda mean, part: jnp.clip(mean, -_EDGE, _EDGE) + part, moved)
                seen, env, reward, done, info = self.env.step(keys, env, held.by_name())
                earned, limited, sums = self._earned(reward, info)
                row = jax.tree.map(
                    lambda part: jnp.where(going[:, None] if part.ndim > 1 else going, part, 0.0),
                    (earned, limited, sums),
                )
                after = jax.lax.stop_gradient(ByGroup.of(self.env.groups, seen))
                return (after, env, going & ~done["__all__"], memory), (obs, *row)

            start = obs, env, jnp.ones(count, bool), self._memory(count)
            _, (seen, earned, limited, sums) = jax.lax.scan(tick, start, moved)
            limited, sums = limited.sum(0), jax.tree.map(lambda part: part.sum(0), sums)
            paid = limited @ state.multipliers.value if self.constraints else 0.0
            return (paid - earned.sum(0)).sum(), (seen, sums, limited)

        still = shapes.map(lambda shape: jnp.zeros((ticks, count, *shape), jnp.float32))
        slope, (seen, sums, limited) = jax.grad(cost, has_aux=True)(still)
        return seen, slope, sums, limited

    def _memory(self, count: int) -> Any:
        """Memories at the beginning of an episode."""
        return jax.tree.map(jnp.asarray, self.network.begun((count,)))

    def _earned(self, reward: dict[str, Array], info: dict[str, Any]) -> tuple[Array, Array, Tally]:
        """Reward of all agents ``(E,)``, the cost of each limited constraint ``(E, C)``, and the sums for the curve."""
        rewards = ByGroup.of(self.env.groups, reward).columns()
        money, costs = (info[name][..., : self.agents, :] for name in ("money", "costs"))
        sums = Tally(rewards.sum(-1), money.sum((-1, -2)), costs.sum((-1, -2)))
        if self.team_reward is not None:
            return self.team_reward(info), jnp.zeros((len(rewards), 0)), sums
        if not self.constraints:
            return sums.reward, jnp.zeros((len(rewards), 0)), sums
        parts = self.constraints.columns(jnp, rewards, costs).reshape(len(rewards), -1, self.agents).sum(-1)
        return parts[:, 0], parts[:, 1:], sums

    def _noisy(self, state: GradientState, obs: ByGroup[Array]) -> ByGroup[Array]:
        """Inputs that actors learn from, none quite as it was seen, so that they do not know the days by heart."""
        ends = np.cumsum([part.size for part in obs.parts])
        noise = random.normal(jnp, state.key, state.updates, _NOISE, (int(ends[-1]),), jnp.float32)
        parts = ByGroup(obs.names, jnp.split(self.settings.input_noise * noise, ends[:-1]))
        return obs.map(lambda part, drawn: part + drawn.reshape(part.shape), parts)

    def _learned(self, state: GradientState, played: tuple[Any, ...]) -> tuple[GradientState, dict[str, Array]]:
        """Steps of the actors along the slopes; weights, statistics and multipliers after them."""
        settings, found = self.settings, Played(*played)
        # an environment whose slopes are not finite does not end the run
        usable = jnp.stack([jnp.isfinite(part).all((0, 2, 3)) for part in found.slope.parts]).all(0)
        slope = found.slope.map(lambda part: jnp.where(usable[:, None, None], part, 0.0))
        remaining = jnp.maximum(1.0 - state.updates / self.total_updates, 0.0)
        rate = jnp.where(state.updates == 0, 0.0, settings.learning_rate * remaining)  # the first one measures inputs
        obs = self._noisy(state, policy.normal_obs(self.network, state.obs_norm, found.obs))
        within_episode = jnp.zeros((self.env.episode_length, settings.num_envs // settings.minibatches), bool)

        def cost(actor: Any, lanes: Array) -> Array:
            first = jax.tree.map(lambda part: part[None], self._memory(len(lanes)))
            seen = policy.Seen(obs.map(lambda part: part[:, lanes]), first, within_episode)
            means = policy.mean_actions(self.network, actor, seen)
            parts = means.map(lambda mean, part: (part[:, lanes] * within(jnp, mean)).sum(), slope).parts
            return sum(parts[1:], parts[0]) / len(lanes)

        def step(carried: tuple[Any, Any], lanes: Array) -> tuple[tuple[Any, Any], Array]:
            actor, moments = carried
            gradient = jax.grad(cost)(actor, lanes)
            size = _norm(gradient)
            shrink = jnp.minimum(1.0, settings.max_grad_norm / (size + 1e-8))
            gradient = jax.tree.map(lambda leaf: leaf * shrink, gradient)
            way, moments = self._adam.update(gradient, moments)
            return (jax.tree.map(lambda leaf, change: leaf - rate * change, actor, way), moments), size

        draw = random.uniform(jnp, state.key, state.updates, _SHUFFLE, (settings.num_envs,), jnp.float32)
        lanes = jnp.argsort(draw).reshape(settings.minibatches, -1)
        (actor, moments), sizes = jax.lax.scan(step, (state.actor, state.optimiser), lanes)
        following: Any = state.multipliers
        told: dict[str, Array] = {}
        if self.constraints:
            cost_c = worst_mean(found.limited, settings.worst_share)
            following, told = multipliers.moved(settings, self.constraints, following, cost_c)
        after = state._replace(
            actor=actor,
            obs_norm=self.network.merged(jnp, state.obs_norm, found.obs.by_name(), dict.fromkeys(self.env.groups)),
            optimiser=moments,
            updates=state.updates + 1,
            multipliers=following,
        )
        means = {f"episode_{name}": column.mean() for name, column in found.sums._asdict().items()}
        steps = {"gradient_norm": sizes.mean(), "usable_share": usable.mean(), "learning_rate": rate}
        return after, {"episodes": jnp.asarray(settings.num_envs), **means, **steps, **told}


def _without_reset(env: FunctionalEnv) -> FunctionalEnv:
    """The environment without the beginning of the next episode in its step, which would be compiled in vain."""
    if not getattr(env, "auto_reset", False):
        return env
    alone: Any = copy.copy(env)
    alone.auto_reset = False
    return alone


def _team_reward(env: FunctionalEnv) -> Callable[[dict[str, Any]], Array] | None:
    """Reward ``(E,)`` of the accounts that are an objective, each once; ``None`` where agents have their own."""
    world: Any = getattr(env, "world", None)
    layout: Any = getattr(world, "layout", None)
    if layout is None or layout.ledger.objective is None:
        return None
    rows, given = np.unique(layout.ledger.objective.source), world.reward
    scales = given.reward_scale, given.safety_scale, given.max_penalty

    def reward(info: dict[str, Any]) -> Array:
        money, costs = (info[name][..., rows, :].sum(-1) for name in ("money", "costs"))
        return formulas.reward(jnp, money, costs, *scales).sum(-1)

    return reward


def _require_gradients(env: FunctionalEnv) -> None:
    """Refuse what carries no derivative."""
    hint = "train with mappo, which needs no gradient of the step"
    refuse_on_jax(env, "algorithm apg", hint)
    given: Any = env
    if getattr(given.world, "layout", None) is None:  # an environment of other origin
        return
    issues = [Issue(f"algorithm apg: {name}", why, hint) for name, why in given.differentiable.refused.items()]
    if issues:
        raise ConfigError(issues)


def _norm(tree: Any) -> Array:
    return jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)))
