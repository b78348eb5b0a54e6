"""Volt-var droop with the gentler default curve, which has no dead band."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import rule_based, volt_var
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("volt_var_a")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """As ``volt_var``, with the default curve of category A in IEEE Std 1547-2018, table 8.

    25 % of the rating injected at 0.90 pu and below, none at 1.00 pu, 25 % absorbed at 1.10 pu and above.
    Slots ``(*batch, K)``.
    """
    slots = rule_based.act(xp, layout, params, state, exogenous, noise)
    return volt_var.follow(xp, layout, params, state, slots, volt_var.CATEGORY_A)
