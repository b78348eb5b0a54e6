"""The operator's rule with batteries that always charge: a test of whether filling them for the settlement pays."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import _slots, rule_based
from powergrid.agents.policies._following import following
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("hoard")
@following()
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """As ``rule_based``, but whatever has a state of charge draws all it can.

    Slots ``(*batch, K)``.
    """
    slots = rule_based.act.rule(xp, layout, params, state, exogenous, noise)
    return xp.where(_slots.batteries(layout), -1.0, slots)
