"""Volt-var droop: inverters hold their voltage with reactive power, everything else follows its rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.agents.policies import rule_based
from powergrid.core.types import Array
from powergrid.plugins import register_policy

FULL_LOW_PU, LOW_PU, HIGH_PU, FULL_HIGH_PU = 0.92, 0.98, 1.02, 1.08
"""Corners of the curve [pu]; between the inner two nothing is asked for."""
FULL_SHARE = 0.44
"""Reactive power at and beyond the outer corners, over the inverter's rating [1]."""


@register_policy("volt_var")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Reactive power of every inverter by the voltage of its terminal in the last tick, the rest as ``rule_based``.

    The default curve of category B in IEEE Std 1547-2018, table 8: 44 % of the rating injected at 0.92 pu and below,
    none between 0.98 and 1.02 pu, 44 % absorbed at 1.08 pu and above; the mean over the phases of a device.
    Slots ``(*batch, K)``.
    """
    slots = rule_based.act(xp, layout, params, state, exogenous, noise)
    v_pu = xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im)
    at, unit, share = layout.inject.target, layout.inject.source, layout.inject.weights
    mean = np.zeros((len(at), len(layout.units)))
    mean[np.arange(len(at)), unit] = share
    wanted = droop(xp, v_pu[..., at] @ xp.asarray(mean, dtype=v_pu.dtype))
    index, first = np.arange(layout.slots.size), 0
    for i in layout.injecting:
        family = layout.families[i]
        units = first + np.arange(family.size)
        first += family.size
        fields = family.kernel.Command._fields
        if "q_mvar" in fields:
            free = family.free[:, fields.index("q_mvar")]
            index[family.slot[free, fields.index("q_mvar")]] = layout.slots.size + units[free]
    return xp.concatenate([slots, wanted], axis=-1)[..., index]


def droop(xp: Any, v_pu: Array) -> Array:
    """Reactive power over the rating [1], positive when injected, at a terminal voltage [pu]."""
    inject = (LOW_PU - v_pu) / (LOW_PU - FULL_LOW_PU)
    absorb = (v_pu - HIGH_PU) / (FULL_HIGH_PU - HIGH_PU)
    inject, absorb = (xp.minimum(xp.maximum(part, 0.0), 1.0) for part in (inject, absorb))
    return FULL_SHARE * (inject - absorb)
