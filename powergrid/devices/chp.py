"""Combined heat and power with a heat buffer and a boiler."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    Energy,
    LinearDevice,
    Outlook,
    decide_on,
    flag,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import inside, outdoor
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a gas engine, its buffer and the buildings it heats."""

    p_max_mw: float = Field(0.1, gt=0, description="largest electrical power [MW]")
    min_load_share: float = Field(0.5, ge=0, lt=1, description="load below which it stops, over the largest [1]")
    eta_electric: float = Field(0.35, gt=0, lt=1, description="electricity per fuel [1]")
    eta_heat: float = Field(0.50, gt=0, lt=1, description="heat per fuel [1]")
    eta_boiler: float = Field(0.90, gt=0, le=1, description="heat per fuel of the boiler that covers the rest [1]")
    fuel_price_per_mwh: float = Field(35.0, ge=0, description="price of gas, over its lower heating value [$/MWh]")
    buffer_mwh: float = Field(0.4, gt=0, description="heat that the buffer holds [MWh]")
    fill_init: float = Field(0.5, ge=0, le=1, description="share of the buffer that is full at reset [1]")
    buffer_loss_per_h: float = Field(0.005, ge=0, lt=1, description="share of the buffer's heat lost per hour [1/h]")
    heat_loss_mw_per_k: float = Field(0.006, ge=0, description="heat that the buildings need per kelvin [MW/K]")
    heating_limit_c: float = Field(16.0, ge=-20, le=40, description="outdoor temperature at which heating ends [degC]")
    hot_water_mw: float = Field(0.02, ge=0, description="heat for hot water, at all times [MW]")

    @property
    def heat_init_mwh(self) -> float:
        """Heat in the buffer at reset [MWh]."""
        return self.fill_init * self.buffer_mwh

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.eta_electric + self.eta_heat > 1.0:
            raise ValueError(
                f"eta_electric {self.eta_electric} and eta_heat {self.eta_heat} must not exceed 1 together"
            )
        return self


class State(NamedTuple):
    """Heat in the buffer [MWh]; in the last tick power [MW], and heat served, made by the boiler and dumped [MWh]."""

    heat_mwh: Array = "heat_init_mwh"
    p_mw: Array = 0.0
    served_mwh: Array = 0.0
    boiler_mwh: Array = 0.0
    dumped_mwh: Array = 0.0


class Command(NamedTuple):
    """Wanted electrical power [MW]."""

    p_mw: Array


class Exogenous(NamedTuple):
    """Outdoor temperature [degC]."""

    ambient_temp_c: Array


def demand(xp: Namespace, params: Settings, ambient_temp_c: Array) -> Array:
    """Heat that the buildings need [MW]: their loss per kelvin below the heating limit, and hot water."""
    below_k = xp.maximum(params.heating_limit_c - outdoor(xp, ambient_temp_c), 0.0)
    return params.heat_loss_mw_per_k * below_k + params.hot_water_mw


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Run the engine as commanded; its heat serves demand and buffer, a boiler the rest, a cooler takes the surplus.

    A fixed ratio of heat to power ``eta_heat / eta_electric``, and ``E' = E (1 - s dt) + heat - demand`` with
    ``0 <= E <= E_max``: the back-pressure unit of e.g. Frangopoulos (ed.), "Cogeneration: Technologies, Optimization
    and Implementation", IET 2017. Efficiencies are those usual for gas engines of 100 kW, over the lower heating value;
    see e.g. EPA, "Catalog of CHP Technologies", 2017. Degree days for the demand.
    """
    share = inside(xp, command.p_mw / params.p_max_mw, 0.0, 1.0)
    share = share * flag(xp, decide_on(xp, share - params.min_load_share) >= 0.0, share)
    p_mw = share * params.p_max_mw
    needed_mwh = demand(xp, params, exogenous.ambient_temp_c) * dt_h
    kept_mwh = state.heat_mwh * (1.0 - params.buffer_loss_per_h * dt_h)
    balance_mwh = kept_mwh + p_mw * params.eta_heat / params.eta_electric * dt_h - needed_mwh
    boiler_mwh = xp.maximum(-balance_mwh, 0.0)
    dumped_mwh = xp.maximum(balance_mwh - params.buffer_mwh, 0.0)
    heat_mwh = balance_mwh + boiler_mwh - dumped_mwh
    return State(heat_mwh, p_mw, needed_mwh, boiler_mwh, dumped_mwh), Injection(p_mw, p_mw * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """The engine stands still; buffer and boiler serve the buildings."""
    return step(xp, params, state, Command(state.p_mw * 0.0), exogenous, dt_h)[0]


def marginal_cost(xp: Namespace, params: Settings, p_mw: Array) -> Array:
    """Cost of one more MWh whose heat replaces the boiler's [$/MWh]."""
    saved = params.eta_heat / params.eta_electric / params.eta_boiler
    return params.fuel_price_per_mwh * (1.0 / params.eta_electric - saved) + 0.0 * p_mw


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Gas of the engine and of the boiler [$]."""
    fuel_mwh = injection.p_mw / params.eta_electric * dt_h + state.boiler_mwh / params.eta_boiler
    return (params.fuel_price_per_mwh * fuel_mwh,)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """The buffer's heat as the gas that the boiler would need for it [$]."""
    return params.fuel_price_per_mwh / params.eta_boiler * state.heat_mwh + 0.0 * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Power, and how full the buffer is."""
    return injection.p_mw, state.heat_mwh / params.buffer_mwh


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Power whose heat is of use where it pays with the boiler's heat as credit, full power where it pays without.

    Where the demand for heat is below the engine's smallest load, it runs in turns that fill the buffer: begun when the
    buffer is half empty, or a quarter empty while energy is dearer than on average in the next day.
    """
    per_heat = params.eta_electric / params.eta_heat
    needed_mw = demand(xp, params, exogenous.ambient_temp_c)
    room_mwh = params.buffer_mwh - state.heat_mwh + needed_mw * dt_h
    used_mw = xp.minimum(xp.maximum(room_mwh, 0.0) * per_heat / dt_h, params.p_max_mw)
    follows = decide_on(xp, needed_mw * per_heat - params.min_load_share * params.p_max_mw) >= 0.0
    dear = decide_on(xp, outlook.price_per_mwh - outlook.mean_price_per_mwh) > 0.0
    low = decide_on(xp, state.heat_mwh - xp.where(dear, 0.75, 0.5) * params.buffer_mwh) <= 0.0
    turn = follows | low | (state.p_mw > 0.0)
    price = xp.where(outlook.net_load_mw > 0.0, outlook.retail_per_mwh, outlook.feed_in_per_mwh)
    pays = turn & (decide_on(xp, price - marginal_cost(xp, params, used_mw)) >= 0.0)
    pays_alone = decide_on(xp, price - params.fuel_price_per_mwh / params.eta_electric) >= 0.0
    return Command(xp.where(pays_alone, used_mw * 0.0 + params.p_max_mw, xp.where(pays, used_mw, used_mw * 0.0)))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """Gas comes in, the buffer stores, heat served is useful; exhaust, boiler, buffer and cooler lose [MWh]."""
    engine_mwh = injection.p_mw / params.eta_electric * dt_h
    boiler_mwh = after.boiler_mwh / params.eta_boiler
    exhaust = engine_mwh * (1.0 - params.eta_electric - params.eta_heat) + boiler_mwh * (1.0 - params.eta_boiler)
    return Energy(
        primary_in=engine_mwh + boiler_mwh,
        stored=after.heat_mwh - before.heat_mwh,
        useful_out=after.served_mwh,
        lost=exhaust + before.heat_mwh * params.buffer_loss_per_h * dt_h + after.dumped_mwh,
    )


@register_device("CHP", aliases=("chp", "Cogeneration"))
class CHP(DeviceAgent, from_module=True):
    """Gas engine whose heat serves buildings through a buffer, with a boiler for the rest."""

    ranges = {"p_mw": (0.0, "p_max_mw")}
    reading_ranges = {"p_mw": (0.0, "p_max_mw"), "fill": (0.0, 1.0)}
    plannable = False
    money_names = ("gas",)

    def refill(self) -> None:
        """Its worth follows no price of energy."""
        return None

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Power at the least it can cost: all of its heat replaces the boiler's. What heat costs anyway is left out."""
        settings = self.settings
        cost = max(float(marginal_cost(np, self.params(), 0.0)), 0.0)
        blocks = ((settings.p_max_mw,), (cost,)) if cost else ((), ())
        return LinearDevice(p_min_mw=0.0, p_max_mw=settings.p_max_mw, cost_mw=blocks[0], cost_per_mwh=blocks[1])
