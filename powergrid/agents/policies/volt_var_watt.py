"""Volt-var and volt-watt together, as inverters run them."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies._following import following
from powergrid.agents.policies.volt_var import CATEGORY_B, commands
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("volt_var_watt")
@following(volt_var=CATEGORY_B, volt_watt=True)
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Reactive power as ``volt_var``, active power no more than ``volt_watt`` allows.

    Slots ``(*batch, K)``.
    """
    return commands(xp, layout, params, state, exogenous, noise)
