"""Volt-watt: what generates steps back where the voltage is high."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.agents.policies import _slots, rule_based
from powergrid.core.types import Array
from powergrid.plugins import register_policy

BEGIN_PU, END_PU = 1.06, 1.10
"""Voltages at which the limit begins to fall from the rated power, and at which it has fallen all the way [pu]."""
MOST_LEFT = 0.2
"""Largest share of the rated power that is left at high voltage [1]: the lowest power of the unit, if that is less."""


@register_policy("volt_watt")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Active power as ``rule_based`` has it, but no more than the voltage of the terminal in the last tick allows.

    The default curve of IEEE Std 1547-2018, table 10, the same for categories A and B: rated power up to 1.06 pu, then
    falling on a straight line to the lesser of 20 % and the unit's lowest power at 1.10 pu, which is none for solar
    plants and for units that also draw power. Loads and charging are not limited. Slots ``(*batch, K)``.
    """
    slots = rule_based.act(xp, layout, params, state, exogenous, noise)
    return limit(xp, layout, params, state, exogenous.now, slots)


def limit(xp: Any, layout: Any, params: Any, state: Any, now: Array, slots: Array) -> Array:
    """The slots with active powers limited by the volt-watt curve."""
    v_pu = _slots.terminal_v_pu(xp, layout, xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im))
    highest, index, first = [xp.ones_like(slots)], np.arange(layout.slots.size), 0
    for i in layout.injecting:
        family = layout.families[i]
        units = first + np.arange(family.size)
        first += family.size
        fields = family.kernel.Command._fields
        name = next((name for name in ("p_mw", "p_share") if name in fields), None)
        if name is None or not family.free[:, fields.index(name)].any():
            continue
        free = family.free[:, fields.index(name)]
        slot = family.slot[free, fields.index(name)]
        index[slot] = sum(block.shape[-1] for block in highest) + np.arange(len(slot))
        if name == "p_mw":
            highest.append(_highest_power(xp, layout.slots, slot, v_pu[..., units[free]]))
        else:
            share = _highest_share(xp, layout, params, state, now, i, v_pu[..., units])
            highest.append(2.0 * share[..., free] - 1.0)
    return xp.minimum(slots, xp.concatenate(highest, axis=-1)[..., index])


def curve(xp: Any, v_pu: Array, left: Any) -> Array:
    """Largest active power over the rated one [1]; `left` is what remains at high voltage."""
    fallen = xp.minimum(xp.maximum((v_pu - BEGIN_PU) / (END_PU - BEGIN_PU), 0.0), 1.0)
    return 1.0 - (1.0 - left) * fallen


def _highest_power(xp: Any, plan: Any, slot: np.ndarray, v_pu: Array) -> Array:
    """Largest value in [-1, 1] of slots that hold a power [MW]; what only draws is left alone."""
    low, span = plan.low[slot], 2.0 * plan.half_span[slot]
    rated = low + span
    left = np.minimum(np.maximum(low, 0.0) / np.where(rated > 0.0, rated, 1.0), MOST_LEFT)
    allowed_mw = curve(xp, v_pu, left) * rated
    share = 2.0 * (allowed_mw - low) / np.where(span > 0.0, span, 1.0) - 1.0
    return xp.where(rated > 0.0, xp.maximum(share, -1.0), 1.0)


def _highest_share(xp: Any, layout: Any, params: Any, state: Any, now: Array, i: int, v_pu: Array) -> Array:
    """Largest share of what nature offers to a family's units [1]."""
    family, columns = layout.families[i], params.families[i]
    series = rule_based.readings(xp, family, now, state)
    offered_mw = family.kernel.available(xp, columns, series, layout.settings.dt_h)
    rated_mw = xp.minimum(getattr(columns, "p_max_mw", columns.sn_mva), columns.sn_mva)
    allowed_mw = curve(xp, v_pu, 0.0) * rated_mw
    return xp.minimum(allowed_mw / xp.maximum(offered_mw, 1e-9 * rated_mw), 1.0)
