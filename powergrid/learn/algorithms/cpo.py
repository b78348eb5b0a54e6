"""Constrained policy optimisation: each update is the best step in a trust region that keeps the limits.

With ``g`` the gradient of the agents' mean surrogate advantage, ``b_c`` that of the surrogate cost of constraint c and
``H`` the curvature of the mean Kullback-Leibler divergence from the present policies, an update solves

``max g.x  subject to  J_c - d_c + b_c.x <= 0 for each c,  x.H.x <= 2 delta``

and then shortens the step until divergence and costs hold for the policies themselves. Where no step of the trust
region keeps the limits, it takes the one that lowers the worst excess most. All actors are one vector ``x``, so that
the agents' costs share a limit. Achiam, Held, Tamar and Abbeel, "Constrained policy optimization", ICML 2017,
arXiv:1705.10528; the natural gradient by conjugate gradients is that of Schulman, Levine, Moritz, Jordan and Abbeel,
"Trust region policy optimization", ICML 2015, arXiv:1502.05477.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from pydantic import Field

from powergrid.core.types import Array
from powergrid.learn import policy
from powergrid.learn.algorithms import mappo
from powergrid.learn.constraints import Constraints, LimitSettings, worst_costs
from powergrid.learn.critics import CentralCritic
from powergrid.learn.federation import with_own_actors
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv, settings_from
from powergrid.learn.learner_state import LearnerState, Rollout
from powergrid.plugins import register_algorithm

_SHORTER = 0.7  # factor from one trial of the line search to the next
_TRIALS = 12


class Settings(mappo.Settings, LimitSettings):
    """Hyperparameters of CPO: those of MAPPO, whose epochs and learning rate are the critic's, and the trust region."""

    divergence: float = Field(0.01, gt=0, description="delta: largest mean KL divergence of an update [1]")
    damping: float = Field(0.1, ge=0, description="multiple of the identity added to the curvature [1]")
    conjugate_steps: int = Field(10, ge=1, description="iterations of the conjugate gradients")
    curvature_share: float = Field(0.25, gt=0, le=1, description="share of the environments that curvature is taken of")


@register_algorithm("cpo")
def cpo(env: FunctionalEnv, steps: int, hyper: Mapping[str, Any]) -> ConstrainedStep:
    """CPO: steps of a trust region within ``training.cost_limits``."""
    constraints = Constraints(env)
    critic = CentralCritic(1 + len(constraints.names))
    return ConstrainedStep(env, steps, settings_from(Settings, with_own_actors(env, hyper)), critic, constraints)


class ConstrainedStep(mappo.PolicyGradient):
    """A policy gradient whose actors move by one constrained step an update."""

    settings: Settings
    constraints: Constraints

    def _first_multipliers(self) -> Array:
        return np.zeros(len(self.constraints.names), np.float32)

    def _next_multipliers(self, learner: LearnerState, rollout: Rollout) -> tuple[Array, dict[str, Array]]:
        """The excess over each limit [$], which the step makes good."""
        cost = worst_costs(rollout, self.agents, self.env.episode_length, self.settings.worst_share)
        told = {f"cost_{name}": cost[k] for k, name in enumerate(self.constraints.names)}
        return cost - jnp.asarray(self.constraints.limits), told

    def _followed(self, advantage: Array, due: Array, learner: LearnerState) -> Array:
        """Scaled advantages of the rewards, then those of the costs in $."""
        first, *costs = jnp.split(advantage, 1 + len(self.constraints.names), -1)
        centred = [cost - mappo.mean_due(cost, due) for cost in costs]
        return jnp.concatenate([super()._followed(first, due, learner), *centred], -1)

    def _loss(self, weights: dict[str, Any], samples: mappo.Batch) -> tuple[Array, dict[str, Array]]:
        """The critic's loss alone."""
        value = self.critic.value(weights["critic"], samples.obs, samples.central)
        value_loss = 0.5 * mappo.mean_of(jnp.square(value - samples.target), samples.alive)
        return self.settings.value_weight * value_loss, {"value_loss": value_loss}

    def _improved(self, learner: LearnerState, batch: mappo.Batch) -> tuple[dict[str, Any], Any, dict[str, Array]]:
        weights, optimiser, losses = super()._improved(learner, batch)
        actor, told = self._constrained_step(learner, batch)
        return {**weights, "actor": actor}, optimiser, {**losses, **told}

    def _constrained_step(self, learner: LearnerState, batch: mappo.Batch) -> tuple[Any, dict[str, Array]]:
        settings, excess = self.settings, learner.multipliers
        start, unravel = ravel_pytree(learner.actor)
        advantage, *costs = jnp.split(batch.advantage, 1 + len(self.constraints.names), -1)

        def ratio(flat: Array) -> Array:
            return jnp.exp(policy.log_probs(self.network, unravel(flat), batch.seen, batch.action) - batch.log_prob)

        def gain(flat: Array) -> Array:
            return mappo.mean_due(ratio(flat) * advantage, batch.due).mean()

        def added(flat: Array) -> Array:
            """Cost that the change of the policies adds to an episode [$], ``(C,)``."""
            change = jnp.where(batch.due, ratio(flat) - 1.0, 0.0)
            return jnp.stack([(change * cost).sum(-1).mean() for cost in costs]) * self.env.episode_length

        lanes = max(round(settings.curvature_share * settings.num_envs), 1)
        seen = jax.tree.map(lambda part: part[:, :lanes], batch.seen)
        before = learner.actor
        means = policy.mean_actions(self.network, before, seen)

        def divergence(flat: Array) -> Array:
            return self._divergence(before, means, unravel(flat), seen)

        def curvature(way: Array) -> Array:
            return jax.jvp(jax.grad(divergence), (start,), (way,))[1] + settings.damping * way

        slopes = jnp.concatenate([jax.grad(gain)(start)[None], jax.jacrev(added)(start)])
        natural = jnp.stack([_conjugate_gradients(curvature, slope, settings.conjugate_steps) for slope in slopes])
        products = natural @ slopes.T
        weights, feasible = trust_region_step(0.5 * (products + products.T), excess, settings.divergence)
        step = jnp.where(learner.updates == 0, 0.0, 1.0) * (weights @ natural)  # the first update only measures

        def refused(trial: tuple[Array, Array]) -> Array:
            """Whether a shortened step still breaks what it must keep."""
            number, scale = trial
            flat = start + scale * step
            allowed = jnp.maximum(-excess, 0.0) + 0.05 * jnp.abs(excess)
            dear = (added(flat) > allowed).any()
            worse = feasible & (gain(flat) < gain(start))
            return (number < _TRIALS) & (dear | worse | (divergence(flat) > 1.5 * settings.divergence))

        tried, scale = jax.lax.while_loop(
            refused, lambda trial: (trial[0] + 1, trial[1] * _SHORTER), (jnp.int32(0), jnp.float32(1.0))
        )
        scale = jnp.where(tried < _TRIALS, scale, 0.0)
        final = start + scale * step
        told = {"step_share": scale, "feasible": feasible.astype(jnp.float32), "approx_kl": divergence(final)}
        return unravel(final), told

    def _divergence(self, before: Any, means: ByGroup[Array], after: Any, seen: policy.Seen) -> Array:
        """Mean over samples and agents of the Kullback-Leibler divergence of normal distributions."""

        def of_group(mean: Array, moved: Array, old: Array, new: Array) -> Array:
            ratio = 2.0 * (old - new)
            shift = jnp.square(mean - moved) * jnp.exp(-2.0 * new)
            return 0.5 * (jnp.exp(ratio) + shift - 1.0 - ratio).sum(-1)

        old, new = (policy.spreads(self.network, actor, means.names) for actor in (before, after))
        return means.map(of_group, policy.mean_actions(self.network, after, seen), old, new).columns().mean()


def trust_region_step(products: Array, excess: Array, divergence: float) -> tuple[Array, Array]:
    """Weights of the natural gradients in the best step, and whether the limits can be kept in the trust region.

    The step lies in the span of ``H^-1 g`` and ``H^-1 b_c``. In coordinates in which the trust region is a ball, it is
    the furthest point along ``g`` on the face of some limits that keeps the others: faces are few, and all are tried.

    Parameters
    ----------
    products
        ``(g, b).H^-1.(g, b)``, ``(1 + C, 1 + C)``.
    excess
        ``J_c - d_c``, ``(C,)``.
    divergence
        delta.

    Returns
    -------
    weights, feasible
        ``(1 + C,)``, and a boolean.
    """
    size = products.shape[0]
    scale = jnp.sqrt(jnp.diagonal(products) + 1e-12)
    scaled = products / jnp.outer(scale, scale)  # gradients differ by magnitudes
    lower = jnp.linalg.cholesky(scaled + 1e-5 * jnp.eye(size))
    aim, walls, offsets = lower[0], lower[1:], excess / scale[1:]
    radius = 2.0 * divergence
    best, best_gain = jnp.zeros(size), -jnp.inf
    for count in range(size):
        for face in combinations(range(size - 1), count):
            point, exists = _furthest(aim, walls[np.array(face, int)], offsets[np.array(face, int)], radius)
            kept = exists & (walls @ point + offsets <= 1e-4 * (jnp.abs(offsets) + jnp.sqrt(radius))).all()
            gain = jnp.where(kept, aim @ point, -jnp.inf)
            best = jnp.where(gain > best_gain, point, best)
            best_gain = jnp.maximum(gain, best_gain)
    feasible = jnp.isfinite(best_gain)
    worst = walls[jnp.argmax(offsets)]
    rescue = -jnp.sqrt(radius) * worst / jnp.maximum(jnp.linalg.norm(worst), 1e-12)
    chosen = jnp.where(feasible, best, rescue)
    return jax.scipy.linalg.solve_triangular(lower, chosen, trans=1, lower=True) / scale, feasible


def _furthest(aim: Array, walls: Array, offsets: Array, radius: float) -> tuple[Array, Array]:
    """Point of a ball with the squared radius on all `walls` that lies furthest along `aim`; whether there is one."""
    if not len(walls):
        return jnp.sqrt(radius) * aim / jnp.maximum(jnp.linalg.norm(aim), 1e-12), jnp.array(True)
    nearest = -jnp.linalg.pinv(walls) @ offsets
    along = aim - jnp.linalg.pinv(walls) @ (walls @ aim)
    left = radius - nearest @ nearest
    reached = nearest + jnp.sqrt(jnp.maximum(left, 0.0)) * along / jnp.maximum(jnp.linalg.norm(along), 1e-12)
    return reached, left >= 0.0


def _conjugate_gradients(product: Callable[[Array], Array], right: Array, steps: int) -> Array:
    """``x`` with ``product(x) = right``, nearly."""
    found, _ = jax.scipy.sparse.linalg.cg(product, right, maxiter=steps, tol=1e-8)
    return found
