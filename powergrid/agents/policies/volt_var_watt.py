"""Volt-var and volt-watt together, as inverters run them."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import rule_based, volt_var, volt_watt
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("volt_var_watt")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Reactive power as ``volt_var``, active power no more than ``volt_watt`` allows.

    Slots ``(*batch, K)``.
    """
    slots = rule_based.act(xp, layout, params, state, exogenous, noise)
    slots = volt_var.follow(xp, layout, params, state, slots, volt_var.CATEGORY_B)
    return volt_watt.limit(xp, layout, params, state, exogenous.now, slots)
