"""Reversible air conditioner: heats and cools a building."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceSettings, Outlook
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._room import Exogenous, RoomUnit, State, heated, needed
from powergrid.devices._shared import AMBIENT_C, inside
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a unit and its building: figures from the middle of the ranges that studies use."""

    p_max_mw: float = Field(0.0056, gt=0, description="largest electrical power [MW]")
    cop_heating: float = Field(3.5, gt=0, description="heat brought in per electricity [1]")
    cop_cooling: float = Field(2.5, gt=0, description="heat taken out per electricity [1]")
    r_k_per_kw: float = Field(2.0, gt=0, description="thermal resistance of the building [K/kW]")
    c_kwh_per_k: float = Field(2.0, gt=0, description="thermal capacity of the building [kWh/K]")
    gain_kw: float = Field(0.5, ge=0, description="heat from people, appliances and sun [kW]")
    t_init_c: float = Field(22.0, ge=0, le=40, description="room temperature at reset [degC]")
    t_min_c: float = Field(20.0, ge=0, le=40, description="lowest comfortable room temperature [degC]")
    t_max_c: float = Field(24.0, ge=0, le=40, description="highest comfortable room temperature [degC]")
    discomfort_cost_per_k_h: float = Field(0.5, ge=0, description="price of leaving the comfort band [$/(K h)]")

    @property
    def coldest_c(self) -> float:
        """Room temperature that the weather and full cooling could bring [degC]."""
        return AMBIENT_C[0] - self.r_k_per_kw * (1000.0 * self.p_max_mw) * self.cop_cooling

    @property
    def hottest_c(self) -> float:
        """Room temperature that the weather and full heating could bring [degC]."""
        return AMBIENT_C[1] + self.r_k_per_kw * (1000.0 * self.p_max_mw * self.cop_heating + self.gain_kw)

    @model_validator(mode="after")
    def _band(self) -> Settings:
        if not self.t_min_c < self.t_max_c:
            raise ValueError(f"t_min_c {self.t_min_c} must be below t_max_c {self.t_max_c}")
        return self


class Command(NamedTuple):
    """Wanted share of the largest electrical power [1]: heating is positive, cooling negative."""

    heat_share: Array


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Draw a share of the largest power, heating or cooling.

    ``C dT/dt = Q + G - (T - T_out) / R`` with ``Q = COP_h P`` or ``-COP_c P``, solved exactly over the tick; see
    :func:`powergrid.devices._shared.relax` for the source of the model. Studies of such loads draw homes from 1.5-2.5
    K/kW, 1.5-2.5 kWh/K and 10-18 kW of heat, with a COP of 2.5 for cooling and 3.5 for heating.
    """
    share = inside(xp, command.heat_share, -1.0, 1.0)
    most_kw = 1000.0 * params.p_max_mw
    heat_kw = most_kw * (xp.maximum(share, 0.0) * params.cop_heating + xp.minimum(share, 0.0) * params.cop_cooling)
    return heated(xp, params, state, exogenous, heat_kw, dt_h), Injection(-params.p_max_mw * xp.abs(share), share * 0.0)


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Just as much as keeps the room at the nearer edge of its comfort band, a quarter of the band inside it."""
    left_alone = heated(xp, params, state, exogenous, state.temp_c * 0.0, dt_h).temp_c
    inner = 0.25 * (params.t_max_c - params.t_min_c)
    target_c = xp.minimum(xp.maximum(left_alone, params.t_min_c + inner), params.t_max_c - inner)
    heat_kw = needed(xp, params, state, exogenous, target_c, dt_h)
    most_kw = 1000.0 * params.p_max_mw
    share = xp.maximum(heat_kw, 0.0) / params.cop_heating + xp.minimum(heat_kw, 0.0) / params.cop_cooling
    return Command(inside(xp, share / most_kw, -1.0, 1.0))


@register_device("AirConditioner", aliases=("air_conditioner", "AC"))
class AirConditioner(RoomUnit, from_module=True):
    """Reversible unit that heats and cools a building of one thermal resistance and one capacity."""

    ranges = {"heat_share": (-1.0, 1.0)}
    reading_ranges = {"temp_c": ("coldest_c", "hottest_c"), "p_used_mw": (0.0, "p_max_mw")}
