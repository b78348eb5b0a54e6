"""Volt-var droop with the gentler default curve, which has no dead band."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies._following import following
from powergrid.agents.policies.volt_var import CATEGORY_A, commands
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("volt_var_a")
@following(volt_var=CATEGORY_A)
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """As ``volt_var``, with the default curve of category A in IEEE Std 1547-2018, table 8.

    25 % of the rating injected at 0.90 pu and below, none at 1.00 pu, 25 % absorbed at 1.10 pu and above.
    Slots ``(*batch, K)``.
    """
    return commands(xp, layout, params, state, exogenous, noise)
