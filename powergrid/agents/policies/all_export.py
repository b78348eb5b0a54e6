"""Everything feeds in all it can: the careless seller, who does not ask what it costs or where voltages go."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import _slots, idle
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("all_export")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Batteries discharge, generators and renewables run in full, all else is ``idle``.

    Slots ``(*batch, K)``.
    """
    power = _slots.mask(layout, "p_mw", "p_share", "commit")
    return xp.where(power, 1.0, idle.act(xp, layout, params, state, exogenous, noise))
