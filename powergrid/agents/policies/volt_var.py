"""Volt-var droop: inverters hold their voltage with reactive power, regulators do what a relay would."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.agents.policies import rule_based
from powergrid.agents.policies._following import CATEGORY_A, CATEGORY_B, Curve, droop, following
from powergrid.core.types import Array
from powergrid.plugins import register_policy

__all__ = ["CATEGORY_A", "CATEGORY_B", "Curve", "act", "droop"]


def commands(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """What is commanded besides reactive power: steps of regulators that commands move, else as ``rule_based``.

    Regulators make the steps that their relays would make on the last voltages, upstream first.
    """
    slots = rule_based.act.rule(xp, layout, params, state, exogenous, noise)
    moves = _moves(xp, layout, params, state, xp.sqrt(state.v_re * state.v_re + state.v_im * state.v_im))
    if not moves.shape[-1]:
        return slots
    free, index = layout.families[layout.taps].free[:, 0], np.arange(layout.slots.size)
    index[layout.families[layout.taps].slot[free, 0]] = layout.slots.size + np.flatnonzero(free)
    return xp.concatenate([slots, moves], axis=-1)[..., index]


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


@register_policy("volt_var")
@following(volt_var=CATEGORY_B)
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Reactive power of every inverter by the voltage of its terminal; taps as their relays ask.

    The default curve of category B in IEEE Std 1547-2018, table 8: 44 % of the rating injected at 0.92 pu and below,
    none between 0.98 and 1.02 pu, 44 % absorbed at 1.08 pu and above; the mean over the phases of a device. Inverters
    act in seconds, so they come to rest within the tick, together with the power flow. Regulators that commands move
    make the steps their relays would make on the last voltages, upstream first; everything else is as ``rule_based``
    has it. Slots ``(*batch, K)``.
    """
    return commands(xp, layout, params, state, exogenous, noise)
