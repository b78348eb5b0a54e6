"""Nothing feeds in and batteries fill up: the other careless end, which hoards energy for the settlement."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import _slots, idle
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("all_import")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Batteries charge, generators stop, renewables are curtailed, all else is ``idle``.

    Slots ``(*batch, K)``.
    """
    power = _slots.mask(layout, "p_mw", "p_share", "commit")
    return xp.where(power, -1.0, idle.act(xp, layout, params, state, exogenous, noise))
