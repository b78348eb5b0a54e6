"""Maximum power point tracking: renewables feed in all they can."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("mppt")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Full share of the available power, no reactive power; slots ``(*batch, K)``."""
    full = np.zeros(layout.slots.size)
    for family in layout.families:
        fields = family.kernel.Command._fields
        if "p_share" in fields:
            full[family.slot[:, fields.index("p_share")]] = 1.0
    return xp.zeros_like(state.slots) + xp.asarray(full, dtype=state.slots.dtype)
