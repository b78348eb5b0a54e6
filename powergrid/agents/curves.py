"""Curves that inverters follow: reactive and active power by the voltage of the terminal."""

from __future__ import annotations

from math import isnan, nan
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


class Limit(NamedTuple):
    """Volt-watt curve: voltages at which the limit begins to fall, and at which it has fallen all the way [pu].

    `left_share` is what is then left, over the rated power [1]; the unit's lowest power, but at most a fifth, where it
    is not a number. No unit is limited below its lowest power.
    """

    begin_pu: float
    end_pu: float
    left_share: float


CATEGORY_A = Curve(0.90, 1.00, 1.00, 1.10, 0.25)
CATEGORY_B = Curve(0.92, 0.98, 1.02, 1.08, 0.44)
"""Default curves of IEEE Std 1547-2018, table 8."""
BEGIN_PU, END_PU = 1.06, 1.10
"""Voltages at which the limit begins to fall from the rated power, and at which it has fallen all the way [pu]."""
VOLT_WATT = Limit(BEGIN_PU, END_PU, nan)
"""Default curve of IEEE Std 1547-2018, table 10."""
MOST_LEFT = 0.2
"""Largest share of the rated power that is left at high voltage where a curve does not say it [1]."""


def droop(xp: Namespace, v_pu: Array, curve: Curve = CATEGORY_B) -> Array:
    """Reactive power over the rating [1], positive when injected, at a terminal voltage [pu]."""
    inject = xp.minimum(xp.maximum((curve.low_pu - v_pu) / (curve.low_pu - curve.full_low_pu), 0.0), 1.0)
    absorb = xp.minimum(xp.maximum((v_pu - curve.high_pu) / (curve.full_high_pu - curve.high_pu), 0.0), 1.0)
    return curve.full_share * (inject - absorb)


def left_of(limit: Limit, lowest_share: float) -> float:
    """Share of the rated power that a volt-watt curve leaves a unit at high voltage [1].

    `lowest_share` is the unit's lowest power over its rated one, 0 where it may inject nothing.
    """
    return min(lowest_share, MOST_LEFT) if isnan(limit.left_share) else max(lowest_share, limit.left_share)


def curtailed(xp: Namespace, v_pu: Array, left: Array, begin_pu: Array = BEGIN_PU, end_pu: Array = END_PU) -> Array:
    """Largest active power over the rated one [1]; `left` is what remains at high voltage."""
    fallen = xp.minimum(xp.maximum((v_pu - begin_pu) / (end_pu - begin_pu), 0.0), 1.0)
    return 1.0 - (1.0 - left) * fallen


def reactive_slot(xp: Namespace, v_pu: Array, curve: Curve, gain: Array, shift: Array) -> Array:
    """Command of reactive power in [-1, 1] that a curve asks for.

    `gain` is the rating over the command's range, and `shift` what is asked for besides the curve, over the rating [1].
    """
    return xp.minimum(xp.maximum((droop(xp, v_pu, curve) + shift) * gain, -1.0), 1.0)


def active_slot(
    xp: Namespace,
    v_pu: Array,
    wanted: Array,
    left: Array,
    begin_pu: Array,
    end_pu: Array,
    rated_mw: Array,
    low_mw: Array,
    half_mw: Array,
) -> Array:
    """Command of active power in [-1, 1]: what is wanted, but no more than the volt-watt curve allows.

    The command's range begins at `low_mw` and is ``2 half_mw`` wide [MW].
    """
    allowed_mw = curtailed(xp, v_pu, left, begin_pu, end_pu) * rated_mw
    highest = (allowed_mw - low_mw) / xp.maximum(half_mw, 1e-9 * rated_mw) - 1.0
    return xp.minimum(wanted, xp.maximum(highest, -1.0))
