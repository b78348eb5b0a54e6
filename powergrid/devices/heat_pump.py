"""Heat pump that warms a building."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceSettings, Outlook, Refill
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._room import Exogenous, RoomUnit, State, heated, needed
from powergrid.devices._shared import AMBIENT_C, inside, outdoor
from powergrid.plugins import register_device

_CURVES = {"air": (6.81, 0.121, 0.000630, 15.0), "ground": (8.77, 0.150, 0.000734, 20.0)}
"""COP over the lift: constant, slope [1/K], curvature [1/K2], and the smallest lift of the fit [K]."""
_MOST_LIFT_K = 60.0
_USUAL_AMBIENT_C = 7.0
"""Outdoor temperature of the standard rating point A7 (EN 14511) [degC]."""


class Settings(DeviceSettings):
    """Parameters of a heat pump and its building; R and C from the middle of the usual ranges."""

    p_max_mw: float = Field(0.005, gt=0, description="largest electrical power [MW]")
    kind: Literal["air", "ground"] = Field("air", description="where its heat comes from: air or ground")
    supply_temp_c: float = Field(35.0, gt=0, le=80, description="temperature of the heating water [degC]")
    ground_temp_c: float = Field(10.0, ge=-20, le=30, description="temperature of the ground [degC]")
    r_k_per_kw: float = Field(2.0, gt=0, description="thermal resistance of the building [K/kW]")
    c_kwh_per_k: float = Field(2.0, gt=0, description="thermal capacity of the building [kWh/K]")
    gain_kw: float = Field(0.5, ge=0, description="heat from people, appliances and sun [kW]")
    t_init_c: float = Field(20.0, ge=0, le=40, description="room temperature at reset [degC]")
    t_set_c: float = Field(20.5, ge=0, le=40, description="room temperature that its rule holds [degC]")
    t_min_c: float = Field(19.0, ge=0, le=40, description="lowest comfortable room temperature [degC]")
    t_max_c: float = Field(23.0, ge=0, le=40, description="highest comfortable room temperature [degC]")
    discomfort_cost_per_k_h: float = Field(0.5, ge=0, description="price of leaving the comfort band [$/(K h)]")

    @property
    def by_air(self) -> float:
        """One where the outdoor air is the source, else zero."""
        return float(self.kind == "air")

    @property
    def cop_0(self) -> float:
        """COP of its kind at no lift [1]."""
        return _CURVES[self.kind][0]

    @property
    def cop_1(self) -> float:
        """Fall of the COP of its kind with the lift [1/K]."""
        return _CURVES[self.kind][1]

    @property
    def cop_2(self) -> float:
        """Curvature of the COP of its kind over the lift [1/K2]."""
        return _CURVES[self.kind][2]

    @property
    def lift_min_k(self) -> float:
        """Smallest lift of the curve [K]."""
        return _CURVES[self.kind][3]

    @property
    def usual_cop(self) -> float:
        """COP at 7 degC outdoors [1]."""
        source_c = _USUAL_AMBIENT_C if self.kind == "air" else self.ground_temp_c
        lift_k = min(max(self.supply_temp_c - source_c, self.lift_min_k), _MOST_LIFT_K)
        return self.cop_0 - self.cop_1 * lift_k + self.cop_2 * lift_k**2

    @property
    def hottest_c(self) -> float:
        """Room temperature that the weather and full power could bring [degC]."""
        return AMBIENT_C[1] + self.r_k_per_kw * (1000.0 * self.p_max_mw * self.cop_0 + self.gain_kw)

    @model_validator(mode="after")
    def _band(self) -> Settings:
        if not self.t_min_c < self.t_max_c:
            raise ValueError(f"t_min_c {self.t_min_c} must be below t_max_c {self.t_max_c}")
        return self


class Command(NamedTuple):
    """Wanted share of the largest electrical power [1]."""

    heat_share: Array


def cop(xp: Namespace, params: Settings, ambient_temp_c: Array) -> Array:
    """Heat per electricity [1]: ``a - b L + c L^2`` over the lift `L` from source to heating water [K].

    Regressions over field and test data of Staffell, Brett, Brandon and Hawkes, "A review of domestic heat pumps",
    Energy & Environmental Science 5, 2012, doi:10.1039/C2EE22653G: air for lifts of 15 to 60 K, ground for 20 to 60 K;
    the lift is held inside that range.
    """
    source_c = params.by_air * outdoor(xp, ambient_temp_c) + (1.0 - params.by_air) * params.ground_temp_c
    lift_k = xp.minimum(xp.maximum(params.supply_temp_c - source_c, params.lift_min_k), _MOST_LIFT_K)
    return params.cop_0 - params.cop_1 * lift_k + params.cop_2 * lift_k * lift_k


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Draw a share of the largest power and bring its heat into the building.

    ``C dT/dt = COP P + G - (T - T_out) / R``, solved exactly over the tick; see :func:`powergrid.devices._shared.relax`
    for the source of the model; studies of homes use 1.5-2.5 K/kW and 1.5-2.5 kWh/K.
    """
    power_kw = 1000.0 * params.p_max_mw * inside(xp, command.heat_share, 0.0, 1.0)
    heat_kw = power_kw * cop(xp, params, exogenous.ambient_temp_c)
    return heated(xp, params, state, exogenous, heat_kw, dt_h), Injection(-power_kw / 1000.0, power_kw * 0.0)


def worth(xp: Namespace, params: Settings, state: State, settlement_per_mwh: Array) -> Array:
    """The room's heat as the electricity that it takes to make it at 7 degC outdoors [$]."""
    return params.c_kwh_per_k * state.temp_c / params.usual_cop / 1000.0 * settlement_per_mwh


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Bring the room to its set point by the end of the tick."""
    heat_kw = needed(xp, params, state, exogenous, params.t_set_c, dt_h)
    most_kw = 1000.0 * params.p_max_mw * cop(xp, params, exogenous.ambient_temp_c)
    return Command(inside(xp, heat_kw / most_kw, 0.0, 1.0))


@register_device("HeatPump", aliases=("heat_pump",))
class HeatPump(RoomUnit, from_module=True):
    """Air- or ground-source heat pump in a building of one thermal resistance and one capacity."""

    ranges = {"heat_share": (0.0, 1.0)}
    reading_ranges = {"temp_c": (AMBIENT_C[0], "hottest_c"), "p_used_mw": (0.0, "p_max_mw")}

    def refill(self) -> Refill:
        """The comfort band at full power, within the time constant of the room, which keeps heat no longer."""
        row = self.params()
        band_kwh = row.c_kwh_per_k * (row.t_max_c - row.t_min_c)
        hours = band_kwh / (1000.0 * row.p_max_mw * row.usual_cop)
        return Refill(hours, within_h=row.r_k_per_kw * row.c_kwh_per_k)
