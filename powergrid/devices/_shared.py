"""What several families share: limits, reactive range, and the one-mass thermal model."""

from __future__ import annotations

from typing import Any

from powergrid.agents.device_agent import finite
from powergrid.core.backend import Namespace
from powergrid.core.types import Array

AMBIENT_C = (-60.0, 60.0)
"""Outdoor temperatures outside this range are taken as its ends [degC]."""
_LEAST = 1e-9
"""Smallest share by which a mass answers to heat within a tick [1]."""


class Rated:
    """What follows in `Settings` from ``sn_mva``, a rating that may be left out: then no reactive power is offered."""

    @property
    def q_share(self: Any) -> float:
        """One where reactive power is offered, else zero."""
        return 0.0 if self.sn_mva is None else 1.0

    @property
    def q_max_mvar(self: Any) -> float:
        """Largest reactive power [Mvar]."""
        return float(self.sn_mva or 0.0)


def inside(xp: Namespace, values: Array, low: Array, high: Array) -> Array:
    """Values between two limits, NaN as zero first."""
    return xp.minimum(xp.maximum(finite(xp, values), low), high)


def outdoor(xp: Namespace, ambient_temp_c: Array) -> Array:
    """Outdoor temperature within :data:`AMBIENT_C` [degC]."""
    return inside(xp, ambient_temp_c, AMBIENT_C[0], AMBIENT_C[1])


def reactive(xp: Namespace, rating_mva: Array, q_share: Array, p_mw: Array, q_mvar: Array) -> Array:
    """Reactive power within ``p^2 + q^2 <= S^2`` [Mvar]; none where `q_share` is zero."""
    # as a product it is exactly zero at full power, in whichever order a compiler rounds
    room = q_share * xp.sqrt(xp.maximum((rating_mva - p_mw) * (rating_mva + p_mw), 1e-18))
    return inside(xp, q_mvar, -room, room)


def store_limits(
    xp: Namespace, params: Any, p_max_mw: Array, above_mwh: Array, below_mwh: Array, dt_h: float
) -> tuple[Array, Array]:
    """Largest power into and out of a store in a tick [MW].

    `above_mwh` is the energy above its lowest level, `below_mwh` the room below its highest.
    """
    most_in_mw = xp.minimum(p_max_mw, below_mwh / (params.eta_charge * dt_h))
    return most_in_mw, xp.minimum(p_max_mw, above_mwh * params.eta_discharge / dt_h)


def drawn_from_store(xp: Namespace, params: Any, p_mw: Array) -> Array:
    """Power that leaves the energy of a store for an injection [MW]: ``max(p, 0) / eta_d + min(p, 0) eta_c``."""
    return xp.maximum(p_mw, 0.0) / params.eta_discharge + xp.minimum(p_mw, 0.0) * params.eta_charge


def conversion_loss(xp: Namespace, params: Any, p_mw: Array) -> Array:
    """Loss of charging and of discharging a store [MW]."""
    return xp.maximum(p_mw, 0.0) * (1.0 / params.eta_discharge - 1.0) - xp.minimum(p_mw, 0.0) * (
        1.0 - params.eta_charge
    )


def relax(xp: Namespace, temp_c: Array, rest_c: Array, tau_h: Array, dt_h: float) -> tuple[Array, Array]:
    """Temperature after a tick, and its mean over the tick [degC], on the way to where it would rest.

    ``dT/dt = (T_rest - T) / tau`` has the solution ``T_rest + (T - T_rest) exp(-t / tau)``, which is exact for heat and
    surroundings that are constant over the tick: the first-order model of e.g. Mathieu, Koch and Callaway, "State
    estimation and control of electric loads to manage real-time energy imbalance", IEEE Trans. Power Systems 28(1),
    2013, pp. 430-440.
    """
    keeps = xp.exp(-dt_h / tau_h)
    after_c = rest_c + (temp_c - rest_c) * keeps
    return after_c, rest_c + (temp_c - rest_c) * (1.0 - keeps) * tau_h / dt_h


def heat_to(
    xp: Namespace, temp_c: Array, target_c: Array, rest_c: Array, r_k_per_kw: Array, tau_h: Array, dt_h: Any
) -> Array:
    """Constant heat that brings one thermal mass to a temperature at the end of a tick [kW].

    The inverse of :func:`relax`; `rest_c` is where it would rest without that heat.
    """
    keeps = xp.exp(-dt_h / tau_h)
    return (target_c - rest_c - (temp_c - rest_c) * keeps) / (r_k_per_kw * xp.maximum(1.0 - keeps, _LEAST))
