"""Uniformly random actions."""

from __future__ import annotations

from typing import Any

from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("random")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Uniform in [-1, 1], from the environment's own seeded numbers.

    Slots ``(*batch, K)``.
    """
    return 2.0 * noise.policy - 1.0
