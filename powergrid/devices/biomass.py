"""Biomass power plant with a fuel store."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, NoColumns, Outlook
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import inside
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a small steam plant on wood chips."""

    p_max_mw: float = Field(1.0, gt=0, description="largest power [MW]")
    efficiency: float = Field(0.20, gt=0, le=1, description="electricity per fuel [1]")
    ramp_mw_per_h: float = Field(1.0, gt=0, description="largest change of power [MW/h]")
    heating_value_mwh_per_t: float = Field(3.4, gt=0, description="lower heating value of the fuel [MWh/t]")
    fuel_price_per_t: float = Field(60.0, ge=0, description="price of fuel burnt [$/t]")
    store_t: float = Field(60.0, gt=0, description="fuel that the store holds [t]")
    fill_init: float = Field(0.6, ge=0, le=1, description="share of the store that is full at reset [1]")
    delivery_t_per_h: float = Field(0.8, ge=0, description="fuel that arrives, as long as there is room [t/h]")
    other_cost_per_mwh: float = Field(5.0, ge=0, description="other running costs [$/MWh]")

    @property
    def fuel_init_t(self) -> float:
        """Fuel in the store at reset [t]."""
        return self.fill_init * self.store_t


class State(NamedTuple):
    """Power in the last tick [MW], fuel in the store and delivered in the last tick [t]."""

    p_mw: Array = 0.0
    fuel_t: Array = "fuel_init_t"
    delivered_t: Array = 0.0


class Command(NamedTuple):
    """Wanted power [MW]."""

    p_mw: Array


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Follow the command within limits and ramp, as far as there is fuel; a plant that runs out stops.

    ``m' = m + d dt - p dt / (eta H)`` with ``0 <= m <= m_max``. Chips of 30 % moisture hold 3.4 MWh/t
    (0.7 of 5.1 MWh/t dry, less the heat that evaporates the water); steam plants of a megawatt turn about a fifth of
    it into electricity. See e.g. EPA, "Biomass Combined Heat and Power Catalog of Technologies", 2007.
    """
    delivered_t = xp.minimum(params.delivery_t_per_h * dt_h, xp.maximum(params.store_t - state.fuel_t, 0.0))
    fuel_t = state.fuel_t + delivered_t
    mwh_per_t = params.efficiency * params.heating_value_mwh_per_t
    ramp_mw = params.ramp_mw_per_h * dt_h
    fuelled_mw = fuel_t * mwh_per_t / dt_h
    highest = xp.minimum(xp.minimum(state.p_mw + ramp_mw, params.p_max_mw), fuelled_mw)
    lowest = xp.minimum(xp.maximum(state.p_mw - ramp_mw, 0.0), highest)
    p_mw = inside(xp, command.p_mw, lowest, highest)
    after = State(p_mw, xp.maximum(fuel_t - p_mw * dt_h / mwh_per_t, 0.0), delivered_t)
    return after, Injection(p_mw, p_mw * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, dt_h: float) -> State:
    """Down at once, whatever its ramp; deliveries go on as long as there is room."""
    delivered_t = xp.minimum(params.delivery_t_per_h * dt_h, xp.maximum(params.store_t - state.fuel_t, 0.0))
    return State(state.p_mw * 0.0, state.fuel_t + delivered_t, delivered_t)


def marginal_cost(xp: Namespace, params: Settings, p_mw: Array) -> Array:
    """Cost of one more MWh [$/MWh]: fuel, and other running costs."""
    fuel = params.fuel_price_per_t / (params.efficiency * params.heating_value_mwh_per_t)
    return fuel + params.other_cost_per_mwh + 0.0 * p_mw


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Fuel burnt, and other running costs [$]."""
    return (marginal_cost(xp, params, injection.p_mw) * injection.p_mw * dt_h,)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Power, and how full the store is."""
    return injection.p_mw, state.fuel_t / params.store_t


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """Full power where feed-in pays for it; the net load where only what replaces a purchase does."""
    cost = marginal_cost(xp, params, outlook.net_load_mw)
    covers = xp.minimum(xp.maximum(outlook.net_load_mw, 0.0), params.p_max_mw)
    zero = outlook.price_per_mwh * 0.0
    bought = xp.where(outlook.retail_per_mwh >= cost, zero + covers, zero)
    return Command(xp.where(outlook.feed_in_per_mwh >= cost, zero + params.p_max_mw, bought))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: NoColumns,
    dt_h: float,
) -> Energy:
    """Fuel comes in with deliveries, the store keeps it, the boiler and turbine lose [MWh]."""
    burnt_mwh = injection.p_mw / params.efficiency * dt_h
    return Energy(
        primary_in=after.delivered_t * params.heating_value_mwh_per_t,
        stored=(after.fuel_t - before.fuel_t) * params.heating_value_mwh_per_t,
        useful_out=injection.p_mw * 0.0,
        lost=burnt_mwh * (1.0 - params.efficiency),
    )


@register_device("Biomass", aliases=("biomass",))
class Biomass(DeviceAgent, from_module=True):
    """Steam plant on solid fuel with a ramp and a store that deliveries fill."""

    ranges = {"p_mw": (0.0, "p_max_mw")}
    reading_ranges = {"p_mw": (0.0, "p_max_mw"), "fill": (0.0, 1.0)}
    plannable = False
    money_names = ("fuel",)

    def linear(self, exogenous: NoColumns) -> LinearDevice:
        """Power at its marginal cost; ramp and store are left out, so that a bound stays one."""
        settings = self.settings
        cost = float(marginal_cost(np, self.params(), 0.0))
        return LinearDevice(
            p_min_mw=0.0, p_max_mw=settings.p_max_mw, cost_mw=(settings.p_max_mw,), cost_per_mwh=(cost,)
        )
