"""Prices of limited violations that find themselves: a multiplier a constraint, moved by a PID controller.

The multipliers follow the excess ``e_c = (J_c - d_c) / (J_c + d_c)`` of the cost ``J_c`` of an episode over its limit
``d_c``:

``ln(lambda_c / lambda_0) = k_p e + k_i sum(e) + k_d max(e - e_before, 0)``

Stooke, Achiam and Abbeel, "Responsive safety in reinforcement learning by PID Lagrangian methods", ICML 2020,
arXiv:2007.03964, with two changes. The controller moves the logarithm of the multiplier and sees the relative excess,
since what a violation is worth spans magnitudes from one grid to the next; and the multiplier starts at the price that
the configuration names, not at 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from powergrid.core.types import Array
from powergrid.learn.constraints import Constraints, LimitSettings

_RANGE = 7.0  # the multiplier stays within a factor of e^7, about 1,100, of the configured price


class ControllerSettings(LimitSettings):
    """Hyperparameters of the controller, and of what it measures."""

    proportional: float = Field(0.5, ge=0, description="k_p: gain of a multiplier on the relative excess [1]")
    integral: float = Field(0.1, ge=0, description="k_i: gain on its sum over updates [1]")
    derivative: float = Field(0.5, ge=0, description="k_d: gain on its increase from one update to the next [1]")


class Multipliers(NamedTuple):
    """The controller's memory, one number a constraint.

    Attributes
    ----------
    value
        Multipliers [1/$].
    total, last
        Sum of the relative excess over the updates, and the last one.
    """

    value: Array
    total: Array
    last: Array


def first(constraints: Constraints) -> Multipliers:
    """Multipliers at the configured price."""
    size = len(constraints.names)
    price = np.full(size, _price(constraints), np.float32)
    return Multipliers(price, np.zeros(size, np.float32), np.zeros(size, np.float32))


def moved(
    settings: ControllerSettings, constraints: Constraints, before: Multipliers, cost: Array
) -> tuple[Multipliers, dict[str, Array]]:
    """Multipliers after an update in which an episode cost `cost`, ``(C,)`` [$]; and both for the learning curve."""
    excess = relative_excess(cost, jnp.asarray(constraints.limits))
    bound = _RANGE / max(settings.integral, 1e-6)  # the sum stops where it has no further effect
    total = jnp.clip(before.total + excess, -bound, bound)
    rise = jnp.maximum(excess - before.last, 0.0)
    power = settings.proportional * excess + settings.integral * total + settings.derivative * rise
    value = _price(constraints) * jnp.exp(jnp.clip(power, -_RANGE, _RANGE))
    told = {f"multiplier_{name}": value[k] for k, name in enumerate(constraints.names)}
    told |= {f"cost_{name}": cost[k] for k, name in enumerate(constraints.names)}
    return Multipliers(value, total, excess), told


def relative_excess(cost: Array, limit: Array) -> Array:
    """``(J - d) / (J + d)``, within [-1, 1]; 0 where both are 0."""
    whole = cost + limit
    return jnp.where(whole > 0.0, (cost - limit) / jnp.where(whole > 0.0, whole, 1.0), 0.0)


def _price(constraints: Constraints) -> float:
    return constraints.price or 1.0
