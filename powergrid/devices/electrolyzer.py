"""Electrolyzer that fills a hydrogen tank."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    Energy,
    LinearDevice,
    NoColumns,
    Outlook,
    Refill,
    decide_on,
    flag,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import inside
from powergrid.plugins import register_device

LHV_MWH_PER_KG = 0.03333
"""Lower heating value of hydrogen [MWh/kg]."""


class Settings(DeviceSettings):
    """Parameters of an electrolyzer, its tank and its demand for hydrogen."""

    p_max_mw: float = Field(0.5, gt=0, description="largest power, auxiliaries included [MW]")
    min_load_share: float = Field(0.05, ge=0, lt=1, description="load below which it stops, over the largest [1]")
    rated_kwh_per_kg: float = Field(
        55.0, gt=33.33, description="electricity per hydrogen at the largest power [kWh/kg]"
    )
    v_ratio: float = Field(0.75, gt=0.5, le=1, description="cell voltage at no current over that at rated current [1]")
    tank_kg: float = Field(100.0, gt=0, description="hydrogen that the tank holds [kg]")
    fill_init: float = Field(0.5, ge=0, le=1, description="share of the tank that is full at reset [1]")
    demand_kg_per_h: float = Field(5.0, ge=0, description="hydrogen that is taken at all times [kg/h]")
    hydrogen_price_per_kg: float = Field(8.0, ge=0, description="price of hydrogen bought where it is missing [$/kg]")

    @property
    def rated_kg_per_h(self) -> float:
        """Hydrogen made at the largest power [kg/h]."""
        return 1000.0 * self.p_max_mw / self.rated_kwh_per_kg

    @property
    def tank_init_kg(self) -> float:
        """Hydrogen in the tank at reset [kg]."""
        return self.fill_init * self.tank_kg

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        best = self.rated_kwh_per_kg * self.v_ratio
        if best < 1000.0 * LHV_MWH_PER_KG:
            raise ValueError(
                f"rated_kwh_per_kg {self.rated_kwh_per_kg} times v_ratio {self.v_ratio} is {best:.4g} kWh/kg, less "
                f"than the {1000.0 * LHV_MWH_PER_KG:g} kWh/kg that hydrogen holds"
            )
        return self


class State(NamedTuple):
    """Hydrogen in the tank [kg]; made, delivered and bought in the last tick [kg]."""

    tank_kg: Array = "tank_init_kg"
    made_kg: Array = 0.0
    delivered_kg: Array = 0.0
    bought_kg: Array = 0.0


class Command(NamedTuple):
    """Wanted injection [MW]; consumption is negative."""

    p_mw: Array


def production(xp: Namespace, params: Settings, load: Array) -> Array:
    """Hydrogen over rated production [1] at a load over the largest [1].

    With the voltage ``V = v + (1 - v) i`` over the current `i`, both 1 at rated load, ``load = i V``, so that
    ``i = (sqrt(v^2 + 4 (1 - v) load) - v) / (2 (1 - v))``; by Faraday's law hydrogen goes with the current (Ulleberg,
    "Modeling of advanced alkaline electrolyzers", Int. J. Hydrogen Energy 28, 2003, doi:10.1016/S0360-3199(02)00033-2,
    with its voltage curve made straight).
    """
    root = xp.sqrt(params.v_ratio * params.v_ratio + 4.0 * (1.0 - params.v_ratio) * load)
    return 2.0 * load / (root + params.v_ratio)


def _load(xp: Namespace, params: Settings, current: Array) -> Array:
    """Inverse of :func:`production`."""
    return current * (params.v_ratio + (1.0 - params.v_ratio) * current)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: NoColumns, dt_h: float
) -> tuple[State, Injection]:
    """Make hydrogen as commanded, as far as tank and demand have room; buy what is missing for the demand.

    Rated consumption as in IRENA, "Green hydrogen cost reduction", 2020: 50 to 83 kWh/kg for PEM systems of 2020.
    """
    demand_kg = params.demand_kg_per_h * dt_h
    room_kg = xp.maximum(params.tank_kg + demand_kg - state.tank_kg, 0.0)
    most = _load(xp, params, xp.minimum(room_kg / (params.rated_kg_per_h * dt_h), 1.0))
    load = xp.minimum(inside(xp, -command.p_mw / params.p_max_mw, 0.0, 1.0), most)
    load = load * flag(xp, decide_on(xp, load - params.min_load_share) >= 0.0, load)
    made_kg = params.rated_kg_per_h * production(xp, params, load) * dt_h
    delivered_kg = xp.minimum(demand_kg, state.tank_kg + made_kg)
    tank_kg = state.tank_kg + made_kg - delivered_kg
    after = State(tank_kg, made_kg, delivered_kg, demand_kg - delivered_kg)
    return after, Injection(-params.p_max_mw * load, load * 0.0)


def failed(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, dt_h: float) -> State:
    """Nothing is made; the tank serves the demand, and the rest is bought."""
    return step(xp, params, state, Command(state.made_kg * 0.0), exogenous, dt_h)[0]


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: NoColumns, dt_h: float
) -> tuple[Array, ...]:
    """Hydrogen bought [$]."""
    return (params.hydrogen_price_per_kg * state.bought_kg,)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """The tank's hydrogen as the electricity that it takes to make it at rated load [$]."""
    return state.tank_kg * params.p_max_mw / params.rated_kg_per_h * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """How full the tank is, and power."""
    return state.tank_kg / params.tank_kg, -injection.p_mw


def rule(xp: Namespace, params: Settings, state: State, exogenous: NoColumns, outlook: Outlook, dt_h: float) -> Command:
    """Full load at prices no higher than the mean of the next day; the demand alone while the tank is nearly empty."""
    cheap = decide_on(xp, outlook.price_per_mwh - outlook.mean_price_per_mwh) <= 0.0
    empty = decide_on(xp, state.tank_kg - params.demand_kg_per_h * dt_h) <= 0.0
    base = _load(xp, params, xp.minimum(params.demand_kg_per_h / params.rated_kg_per_h, 1.0))
    zero = outlook.price_per_mwh * 0.0
    return Command(-params.p_max_mw * xp.where(cheap, zero + 1.0, xp.where(empty, zero + base, zero)))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: NoColumns,
    dt_h: float,
) -> Energy:
    """The tank stores, delivered hydrogen is useful, both at the lower heating value; the stack loses [MWh]."""
    return Energy(
        primary_in=injection.p_mw * 0.0,
        stored=(after.tank_kg - before.tank_kg) * LHV_MWH_PER_KG,
        useful_out=after.delivered_kg * LHV_MWH_PER_KG,
        lost=-injection.p_mw * dt_h - after.made_kg * LHV_MWH_PER_KG,
    )


@register_device("Electrolyzer", aliases=("electrolyzer", "Electrolyser"))
class Electrolyzer(DeviceAgent, from_module=True):
    """Electrolyzer with a tank and a steady demand for hydrogen, more efficient at part load."""

    ranges = {"p_mw": ("-p_max_mw", 0.0)}
    reading_ranges = {"fill": (0.0, 1.0), "p_used_mw": (0.0, "p_max_mw")}
    plannable = False
    money_names = ("hydrogen",)

    def refill(self) -> Refill:
        """The tank at full power; :func:`worth` counts hydrogen as the electricity that it takes."""
        row = self.params()
        return Refill(row.tank_kg / row.rated_kg_per_h)

    def linear(self, exogenous: NoColumns) -> LinearDevice:
        """Its power range: hydrogen is left out, so that a bound stays one."""
        return LinearDevice(p_min_mw=-self.settings.p_max_mw, p_max_mw=0.0)
