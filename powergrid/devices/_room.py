"""A building of one thermal resistance and one capacity, for the units that heat and cool it."""

from __future__ import annotations

from typing import Any, NamedTuple

from powergrid.agents.device_agent import DeviceAgent, Energy, LinearDevice
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import heat_to, outdoor, relax


class State(NamedTuple):
    """Room temperature at the end of the tick and its mean over it [degC], and heat brought in by the unit [kW]."""

    temp_c: Array = "t_init_c"
    mean_temp_c: Array = "t_init_c"
    heat_kw: Array = 0.0


class Exogenous(NamedTuple):
    """Outdoor temperature [degC]."""

    ambient_temp_c: Array


def rest(xp: Namespace, params: Any, exogenous: Exogenous, heat_kw: Array | float) -> Array:
    """Temperature at which the room comes to rest under constant heat [degC]: ``T_out + R (Q + G)``."""
    return outdoor(xp, exogenous.ambient_temp_c) + params.r_k_per_kw * (heat_kw + params.gain_kw)


def heated(xp: Namespace, params: Any, state: State, exogenous: Exogenous, heat_kw: Array, dt_h: float) -> State:
    """The room after a tick of constant heat: ``C dT/dt = Q + G - (T - T_out) / R``, solved exactly."""
    tau_h = params.r_k_per_kw * params.c_kwh_per_k
    temp_c, mean_c = relax(xp, state.temp_c, rest(xp, params, exogenous, heat_kw), tau_h, dt_h)
    return State(temp_c, mean_c, heat_kw)


def needed(xp: Namespace, params: Any, state: State, exogenous: Exogenous, target_c: Array, dt_h: float) -> Array:
    """Constant heat that brings the room to a temperature at the end of the tick [kW]."""
    rest_c, tau_h = rest(xp, params, exogenous, 0.0), params.r_k_per_kw * params.c_kwh_per_k
    return heat_to(xp, state.temp_c, target_c, rest_c, params.r_k_per_kw, tau_h, dt_h)


def failed(xp: Namespace, params: Any, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """The room without the unit."""
    return heated(xp, params, state, exogenous, state.temp_c * 0.0, dt_h)


def violation(
    xp: Namespace, params: Any, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Mean room temperature outside the comfort band [$]."""
    out_k = xp.maximum(params.t_min_c - state.mean_temp_c, 0.0) + xp.maximum(state.mean_temp_c - params.t_max_c, 0.0)
    return (params.discomfort_cost_per_k_h * out_k * dt_h,)


def readings(xp: Namespace, params: Any, state: State, injection: Injection) -> tuple[Array, ...]:
    """Room temperature and electrical power."""
    return state.temp_c, -injection.p_mw


def energy(
    xp: Namespace, params: Any, before: State, after: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> Energy:
    """Gains and heat of the source come in (negative while it cools), the room stores, the envelope loses [MWh]."""
    lost_kw = (after.mean_temp_c - outdoor(xp, exogenous.ambient_temp_c)) / params.r_k_per_kw
    return Energy(
        primary_in=((after.heat_kw + params.gain_kw) / 1000.0 + injection.p_mw) * dt_h,
        stored=params.c_kwh_per_k * (after.temp_c - before.temp_c) / 1000.0,
        useful_out=injection.p_mw * 0.0,
        lost=lost_kw * dt_h / 1000.0,
    )


class RoomUnit(DeviceAgent):
    """A unit that heats or cools a building."""

    plannable = False
    violation_names = ("comfort",)
    State, Exogenous = State, Exogenous
    failed, violation = staticmethod(failed), staticmethod(violation)
    readings, energy = staticmethod(readings), staticmethod(energy)

    def linear(self, exogenous: Any) -> LinearDevice:
        """Its power range: comfort is left out, so that a bound stays one."""
        return LinearDevice(p_min_mw=-self.settings.p_max_mw, p_max_mw=0.0)
