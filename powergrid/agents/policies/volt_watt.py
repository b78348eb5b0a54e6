"""Volt-watt: what generates steps back where the voltage is high."""

from __future__ import annotations

from typing import Any

from powergrid.agents.policies import rule_based
from powergrid.agents.policies._following import BEGIN_PU, END_PU, following
from powergrid.agents.policies._following import curtailed as curve
from powergrid.core.types import Array
from powergrid.plugins import register_policy

__all__ = ["BEGIN_PU", "END_PU", "act", "curve"]


@register_policy("volt_watt")
@following(volt_watt=True)
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Active power as ``rule_based`` has it, but no more than the voltage of the terminal allows.

    The default curve of IEEE Std 1547-2018, table 10, the same for categories A and B: rated power up to 1.06 pu, then
    falling on a straight line to the lesser of 20 % and the unit's lowest power at 1.10 pu, which is none for solar
    plants and for units that also draw power. Loads and charging are not limited. Inverters act in seconds, so they
    come to rest within the tick, together with the power flow. Slots ``(*batch, K)``.
    """
    return rule_based.act.rule(xp, layout, params, state, exogenous, noise)
