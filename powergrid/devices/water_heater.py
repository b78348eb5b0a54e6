"""Electric water heater with a tank."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import (
    DeviceAgent,
    DeviceSettings,
    Energy,
    LinearDevice,
    Outlook,
    Refill,
    decide_on,
    flag,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import heat_to, inside, relax
from powergrid.plugins import register_device

_KWH_PER_L_K = 4.186 / 3600.0
"""Heat capacity of water [kWh/(l K)]."""


class Settings(DeviceSettings):
    """Parameters of a heater; draw and temperatures are those of the US test procedure in the source."""

    p_max_mw: float = Field(0.0045, gt=0, description="power of the element [MW]")
    volume_l: float = Field(189.0, gt=0, description="volume of the tank [l]")
    ua_kw_per_k: float = Field(0.0019, gt=0, description="standing loss of the tank [kW/K]")
    daily_draw_l: float = Field(243.0, ge=0, description="hot water drawn in a day [l]")
    morning_h: float = Field(6.0, ge=0, lt=24, description="begin of the morning peak of the draw [h]")
    evening_h: float = Field(18.0, ge=0, lt=24, description="begin of the evening peak of the draw [h]")
    peak_hours: float = Field(3.0, gt=0, le=12, description="length of each peak [h]")
    peak_share: float = Field(0.35, ge=0, le=0.5, description="share of the daily draw in each peak [1]")
    inlet_temp_c: float = Field(14.4, ge=0, le=40, description="temperature of the cold water [degC]")
    room_temp_c: float = Field(19.7, ge=-20, le=50, description="temperature around the tank [degC]")
    t_init_c: float = Field(55.0, ge=0, le=95, description="tank temperature at reset [degC]")
    t_set_c: float = Field(57.2, ge=0, le=95, description="tank temperature that its rule holds [degC]")
    t_min_c: float = Field(45.0, ge=0, le=95, description="lowest useful tank temperature [degC]")
    t_max_c: float = Field(75.0, ge=0, le=95, description="temperature at which the cut-out opens [degC]")
    discomfort_cost_per_k_h: float = Field(0.2, ge=0, description="price of water that is too cold [$/(K h)]")

    @property
    def c_kwh_per_k(self) -> float:
        """Heat capacity of the tank [kWh/K]."""
        return self.volume_l * _KWH_PER_L_K

    @property
    def flow_base_kw_per_k(self) -> float:
        """Heat capacity flow of the draw at all hours [kW/K]."""
        return (1.0 - 2.0 * self.peak_share) * (self.daily_draw_l * _KWH_PER_L_K) / 24.0

    @property
    def flow_peak_kw_per_k(self) -> float:
        """Heat capacity flow of the draw in the peaks, on top [kW/K]."""
        return self.peak_share * (self.daily_draw_l * _KWH_PER_L_K) / self.peak_hours

    @property
    def coldest_c(self) -> float:
        """Temperature that an unheated tank could come to [degC]."""
        return min(self.inlet_temp_c, self.room_temp_c)

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        coldest = max(self.inlet_temp_c, self.room_temp_c)
        if not coldest < self.t_min_c < self.t_max_c:
            raise ValueError(f"t_min_c {self.t_min_c} must lie between {coldest} and t_max_c {self.t_max_c}")
        if self.t_init_c > self.t_max_c or self.t_init_c < min(self.inlet_temp_c, self.room_temp_c):
            raise ValueError(f"t_init_c {self.t_init_c} must lie between the cold water and t_max_c {self.t_max_c}")
        return self


class State(NamedTuple):
    """Tank temperature at the end of the tick and its mean over it [degC]."""

    temp_c: Array = "t_init_c"
    mean_temp_c: Array = "t_init_c"


class Command(NamedTuple):
    """Wanted share of the element's power [1]."""

    heat_share: Array


class Exogenous(NamedTuple):
    """Hour of the day [h]."""

    hour: Array


def drawn_kw_per_k(xp: Namespace, params: Settings, hour: Array) -> Array:
    """Heat capacity flow of the hot water drawn at an hour of the day [kW/K]."""
    peaks = _within(xp, params, hour, params.morning_h) + _within(xp, params, hour, params.evening_h)
    return params.flow_base_kw_per_k + params.flow_peak_kw_per_k * peaks


def _within(xp: Namespace, params: Settings, hour: Array, begin_h: Array) -> Array:
    since_h = decide_on(xp, inside(xp, hour, 0.0, 24.0) - begin_h)
    since_h = since_h - 24.0 * xp.floor(since_h / 24.0)
    return flag(xp, since_h < decide_on(xp, params.peak_hours), since_h)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Heat the tank as commanded, but never beyond the cut-out.

    ``C dT/dt = P - UA (T - T_room) - m c (T - T_in)``, one well-mixed mass, solved exactly over the tick: Xu, Diao,
    Lu, Lian and Zhang, "Modeling of electric water heaters for demand response: a baseline PDE model", IEEE Trans.
    Smart Grid 5(5), 2014, which begins from such a model. Draw 64.3 gal a day at 135 F from 58 F in a room of 67.5 F:
    the 24-hour simulated use test of 10 CFR part 430, subpart B, appendix E, as it stood until 2015.
    """
    k_kw_per_k, rest_c, tau_h = _cooling(xp, params, exogenous)
    most_kw = heat_to(xp, state.temp_c, params.t_max_c, rest_c, 1.0 / k_kw_per_k, tau_h, dt_h)
    wanted_kw = 1000.0 * params.p_max_mw * inside(xp, command.heat_share, 0.0, 1.0)
    power_kw = xp.maximum(xp.minimum(wanted_kw, most_kw), 0.0)
    temp_c, mean_c = relax(xp, state.temp_c, rest_c + power_kw / k_kw_per_k, tau_h, dt_h)
    return State(temp_c, mean_c), Injection(-power_kw / 1000.0, power_kw * 0.0)


def _cooling(xp: Namespace, params: Settings, exogenous: Exogenous) -> tuple[Array, Array, Array]:
    """Heat lost and drawn per kelvin [kW/K], where the tank would rest unheated [degC], and time constant [h]."""
    flow = drawn_kw_per_k(xp, params, exogenous.hour)
    k_kw_per_k = params.ua_kw_per_k + flow
    rest_c = (params.ua_kw_per_k * params.room_temp_c + flow * params.inlet_temp_c) / k_kw_per_k
    return k_kw_per_k, rest_c, params.c_kwh_per_k / k_kw_per_k


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """The tank without heat."""
    return step(xp, params, state, Command(state.temp_c * 0.0), exogenous, dt_h)[0]


def violation(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Mean tank temperature below what is useful [$]."""
    return (params.discomfort_cost_per_k_h * xp.maximum(params.t_min_c - state.mean_temp_c, 0.0) * dt_h,)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """The tank's heat at the settlement price [$]."""
    return params.c_kwh_per_k * state.temp_c / 1000.0 * settlement_per_mwh


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Tank temperature and power."""
    return state.temp_c, -injection.p_mw


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Bring the tank to its set point by the end of the tick."""
    k_kw_per_k, rest_c, tau_h = _cooling(xp, params, exogenous)
    heat_kw = heat_to(xp, state.temp_c, params.t_set_c, rest_c, 1.0 / k_kw_per_k, tau_h, dt_h)
    return Command(inside(xp, heat_kw / (1000.0 * params.p_max_mw), 0.0, 1.0))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """The tank stores, the water drawn is useful (over the cold water's temperature), the wall loses [MWh]."""
    flow = drawn_kw_per_k(xp, params, exogenous.hour)
    return Energy(
        primary_in=injection.p_mw * 0.0,
        stored=params.c_kwh_per_k * (after.temp_c - before.temp_c) / 1000.0,
        useful_out=flow * (after.mean_temp_c - params.inlet_temp_c) * dt_h / 1000.0,
        lost=params.ua_kw_per_k * (after.mean_temp_c - params.room_temp_c) * dt_h / 1000.0,
    )


@register_device("WaterHeater", aliases=("water_heater", "EWH"))
class WaterHeater(DeviceAgent, from_module=True):
    """Electric storage water heater with a daily draw and a cut-out."""

    ranges = {"heat_share": (0.0, 1.0)}
    reading_ranges = {"temp_c": ("coldest_c", "t_max_c"), "p_used_mw": (0.0, "p_max_mw")}
    plannable = False
    violation_names = ("hot_water",)

    def refill(self) -> Refill:
        """The tank from cold to hot, as far as it is of use, at full power."""
        row = self.params()
        return Refill(row.c_kwh_per_k * (row.t_max_c - row.t_min_c) / (1000.0 * row.p_max_mw))

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Its power range: hot water is left out, so that a bound stays one."""
        return LinearDevice(p_min_mw=-self.settings.p_max_mw, p_max_mw=0.0)
