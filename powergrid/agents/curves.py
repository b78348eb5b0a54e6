"""Curves that inverters follow: reactive and active power by the voltage of the terminal."""

from __future__ import annotations

from typing import NamedTuple

from powergrid.core.backend import Namespace
from powergrid.core.types import Array


class Curve(NamedTuple):
    """Volt-var curve: corners [pu], and reactive power at and beyond the outer ones over the inverter's rating [1].

    Between the inner two nothing is asked for.
    """

    full_low_pu: Array
    low_pu: Array
    high_pu: Array
    full_high_pu: Array
    full_share: Array


CATEGORY_A = Curve(0.90, 1.00, 1.00, 1.10, 0.25)
CATEGORY_B = Curve(0.92, 0.98, 1.02, 1.08, 0.44)
"""Default curves of IEEE Std 1547-2018, table 8."""
BEGIN_PU, END_PU = 1.06, 1.10
"""Voltages at which the limit begins to fall from the rated power, and at which it has fallen all the way [pu]."""


def droop(xp: Namespace, v_pu: Array, curve: Curve = CATEGORY_B) -> Array:
    """Reactive power over the rating [1], positive when injected, at a terminal voltage [pu]."""
    inject = xp.minimum(xp.maximum((curve.low_pu - v_pu) / (curve.low_pu - curve.full_low_pu), 0.0), 1.0)
    absorb = xp.minimum(xp.maximum((v_pu - curve.high_pu) / (curve.full_high_pu - curve.high_pu), 0.0), 1.0)
    return curve.full_share * (inject - absorb)


def curtailed(xp: Namespace, v_pu: Array, left: Array) -> Array:
    """Largest active power over the rated one [1]; `left` is what remains at high voltage."""
    fallen = xp.minimum(xp.maximum((v_pu - BEGIN_PU) / (END_PU - BEGIN_PU), 0.0), 1.0)
    return 1.0 - (1.0 - left) * fallen


def reactive_slot(xp: Namespace, v_pu: Array, curve: Curve, gain: Array) -> Array:
    """Command of reactive power in [-1, 1] that a curve asks for; `gain` is the rating over the command's range [1]."""
    return xp.minimum(xp.maximum(droop(xp, v_pu, curve) * gain, -1.0), 1.0)


def active_slot(
    xp: Namespace, v_pu: Array, wanted: Array, left: Array, rated_mw: Array, low_mw: Array, half_mw: Array
) -> Array:
    """Command of active power in [-1, 1]: what is wanted, but no more than the volt-watt curve allows.

    The command's range begins at `low_mw` and is ``2 half_mw`` wide [MW].
    """
    highest = (curtailed(xp, v_pu, left) * rated_mw - low_mw) / xp.maximum(half_mw, 1e-9 * rated_mw) - 1.0
    return xp.minimum(wanted, xp.maximum(highest, -1.0))
