"""Volt-var droop: inverters hold their voltage with reactive power, regulators do what a relay would."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.policies import _slots, rule_based
from powergrid.core.types import Array
from powergrid.plugins import register_policy


class Curve(NamedTuple):
    """Volt-var curve: corners [pu], and reactive power at and beyond the outer ones over the inverter's rating [1].

    Between the inner two nothing is asked for.
    """

    full_low_pu: float
    low_pu: float
    high_pu: float
    full_high_pu: float
    full_share: float


CATEGORY_A = Curve(0.90, 1.00, 1.00, 1.10, 0.25)
CATEGORY_B = Curve(0.92, 0.98, 1.02, 1.08, 0.44)
"""Default curves of IEEE Std 1547-2018, table 8."""


@register_policy("volt_var")
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Reactive power of every inverter by the voltage of its terminal in the last tick; taps as their relays ask.

    The default curve of category B in IEEE Std 1547-2018, table 8: 44 % of the rating injected at 0.92 pu and below,
    none between 0.98 and 1.02 pu, 44 % absorbed at 1.08 pu and above; the mean over the phases of a device. Regulators
    that commands move make the steps their relays would make on the last voltages, upstream first; everything
    else is as ``rule_based`` has it. Slots ``(*batch, K)``.
    """
    slots = rule_based.act(xp, layout, params, state, exogenous, noise)
    return follow(xp, layout, params, state, slots, CATEGORY_B)


def follow(xp: Any, layout: Any, params: Any, state: Any, slots: Array, curve: Curve) -> Array:
    """The slots with reactive powers of a volt-var curve, and steps of regulators that commands move."""
    v_pu = xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im)
    wanted = droop(xp, _slots.terminal_v_pu(xp, layout, v_pu), curve)
    moves, index, first = _moves(xp, layout, params, state, v_pu), np.arange(layout.slots.size), 0
    if moves.shape[-1]:
        free = layout.families[layout.taps].free[:, 0]
        index[layout.families[layout.taps].slot[free, 0]] = layout.slots.size + len(layout.units) + np.flatnonzero(free)
    for i in layout.injecting:
        family = layout.families[i]
        units = first + np.arange(family.size)
        first += family.size
        fields = family.kernel.Command._fields
        if "q_mvar" in fields:
            free = family.free[:, fields.index("q_mvar")]
            index[family.slot[free, fields.index("q_mvar")]] = layout.slots.size + units[free]
    return xp.concatenate([slots, wanted, moves], axis=-1)[..., index]


def _moves(xp: Any, layout: Any, params: Any, state: Any, v_pu: Array) -> Array:
    """Commands of regulators without local control, ``(*batch, u)``; none where every relay moves its own."""
    if layout.taps is None or not layout.families[layout.taps].free.any():
        return v_pu[..., :0]
    kernel, own, columns = layout.families[layout.taps].kernel, state.devices[layout.taps], params.families[layout.taps]
    reading = v_pu[..., layout.relay_bus]
    if layout.relays is not None:
        reading = layout.relays.read(xp, state.v_re, state.v_im, kernel.ratio(columns, own))
    columns, rested = columns._replace(local_control=columns.step_pu * 0.0 + 1.0), own._replace(moves=own.moves * 0.0)
    steps = kernel.wanted_steps(xp, columns, rested, reading, columns.max_steps_per_tick)
    waits = xp.abs(steps) @ xp.asarray(layout.upstream, dtype=steps.dtype) > 0.0
    return xp.where(waits, 0.0, steps) / columns.max_steps_per_tick


def droop(xp: Any, v_pu: Array, curve: Curve = CATEGORY_B) -> Array:
    """Reactive power over the rating [1], positive when injected, at a terminal voltage [pu]."""
    inject = (curve.low_pu - v_pu) / (curve.low_pu - curve.full_low_pu)
    absorb = (v_pu - curve.high_pu) / (curve.full_high_pu - curve.high_pu)
    inject, absorb = (xp.minimum(xp.maximum(part, 0.0), 1.0) for part in (inject, absorb))
    return curve.full_share * (inject - absorb)
