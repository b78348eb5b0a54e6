"""Run-of-river hydro power."""

from __future__ import annotations

from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceSettings, Energy, LinearDevice, decide_on, flag
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._offered import Command, Plant, deliver
from powergrid.devices._shared import Rated, inside
from powergrid.plugins import register_device

_WEIGHT_MW_PER_M4_S = 9.81e-3
"""Density of water times gravity [MW per m3/s and m of head]."""
_LARGEST_M3_S = 1e6
"""No river carries more [m3/s]."""


class Settings(Rated, DeviceSettings):
    """Parameters of a plant; without a series the flow follows the season as a cosine."""

    head_m: float = Field(10.0, gt=0, description="net head [m]")
    design_flow_m3_s: float = Field(2.0, gt=0, description="largest flow through the turbine [m3/s]")
    min_flow_share: float = Field(0.2, ge=0, lt=1, description="flow below which it stops, over the design flow [1]")
    efficiency: float = Field(0.85, gt=0, le=1, description="electricity per hydraulic energy [1]")
    residual_flow_m3_s: float = Field(0.2, ge=0, description="flow that stays in the river [m3/s]")
    mean_flow_m3_s: float = Field(1.6, gt=0, description="mean flow of the river over the year [m3/s]")
    season_share: float = Field(0.5, ge=0, le=1, description="seasonal swing of the flow over its mean [1]")
    peak_day: float = Field(120.0, ge=0, le=366, description="day of the year with the largest flow [d]")
    series: str | None = Field(None, description="dataset column of the flow [m3/s], instead of the season")
    sn_mva: float | None = Field(
        None, gt=0, description="generator rating [MVA]; given, power is held below it and reactive power is offered"
    )

    @property
    def by_series(self) -> float:
        """One where a series gives the flow, else zero."""
        return 0.0 if self.series is None else 1.0

    @property
    def base_flow_m3_s(self) -> float:
        """Mean of the seasonal flow [m3/s], zero where a series gives the flow."""
        return (1.0 - self.by_series) * self.mean_flow_m3_s

    @property
    def swing_sin_m3_s(self) -> float:
        """Seasonal flow by the sine of the year's phase [m3/s]."""
        return self._swing_m3_s * sin(2.0 * pi * self.peak_day / 365.0)

    @property
    def swing_cos_m3_s(self) -> float:
        """Seasonal flow by the cosine of the year's phase [m3/s]."""
        return self._swing_m3_s * cos(2.0 * pi * self.peak_day / 365.0)

    @property
    def _swing_m3_s(self) -> float:
        return (1.0 - self.by_series) * self.season_share * self.mean_flow_m3_s

    @property
    def min_flow_m3_s(self) -> float:
        """Flow below which the turbine stops [m3/s]."""
        return self.min_flow_share * self.design_flow_m3_s

    @property
    def hydraulic_mw_per_m3_s(self) -> float:
        """Water power of the flow [MW per m3/s]."""
        return _WEIGHT_MW_PER_M4_S * self.head_m

    @property
    def rating_mva(self) -> float:
        """Rating [MVA]: ``sn_mva``, or the power at the design flow where no reactive power is offered."""
        return self.sn_mva or self.efficiency * self.hydraulic_mw_per_m3_s * self.design_flow_m3_s

    @property
    def p_design_mw(self) -> float:
        """Power at the design flow, within the rating [MW]."""
        return min(self.efficiency * self.hydraulic_mw_per_m3_s * self.design_flow_m3_s, self.rating_mva)

    @model_validator(mode="after")
    def _flowing(self) -> Settings:
        if self.series is None and self.residual_flow_m3_s >= self.mean_flow_m3_s * (1.0 + self.season_share):
            raise ValueError(
                f"residual_flow_m3_s {self.residual_flow_m3_s} leaves nothing for the turbine: the largest flow is "
                f"{self.mean_flow_m3_s * (1.0 + self.season_share):g} m3/s"
            )
        return self


class State(NamedTuple):
    """Flow that the turbine could take in the last tick [m3/s], and the power it could deliver [MW]."""

    usable_m3_s: Array = 0.0
    available_mw: Array = 0.0


class Exogenous(NamedTuple):
    """Phase of the year [1], and the flow of a series [m3/s], which counts only where the settings name one."""

    year_sin: Array
    year_cos: Array
    flow_m3_s: Array


def usable(xp: Namespace, params: Settings, exogenous: Exogenous) -> Array:
    """Flow that the turbine can take [m3/s]: what the river carries, less what stays in it, up to the design flow."""
    season = params.swing_sin_m3_s * exogenous.year_sin + params.swing_cos_m3_s * exogenous.year_cos
    measured = params.by_series * inside(xp, exogenous.flow_m3_s, 0.0, _LARGEST_M3_S)
    flow = xp.maximum(params.base_flow_m3_s + season + measured - params.residual_flow_m3_s, 0.0)
    flow = xp.minimum(flow, params.design_flow_m3_s)
    return flow * flag(xp, decide_on(xp, flow - params.min_flow_m3_s) >= 0.0, flow)


def _available(xp: Namespace, params: Settings, flow_m3_s: Array) -> Array:
    return xp.minimum(params.efficiency * params.hydraulic_mw_per_m3_s * flow_m3_s, params.rating_mva)


def available(xp: Namespace, params: Settings, exogenous: Exogenous, dt_h: float) -> Array:
    """Power that the river offers, within the generator rating [MW]."""
    return _available(xp, params, usable(xp, params, exogenous))


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Turn a share of the usable flow into power; the rest goes over the weir.

    ``p = eta rho g H Q``, e.g. European Small Hydropower Association, "Guide on How to Develop a Small Hydropower
    Plant", 2004, which also gives the turbines' smallest flows; ``p^2 + q^2 <= S^2``.
    """
    flow_m3_s = usable(xp, params, exogenous)
    available_mw = _available(xp, params, flow_m3_s)
    return State(flow_m3_s, available_mw), deliver(xp, params, available_mw, command)


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """Nothing that it could take or deliver."""
    return State(state.usable_m3_s * 0.0, state.available_mw * 0.0)


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """The usable water comes in; what the turbine loses and what is spilled is lost [MWh]."""
    zero = injection.p_mw * 0.0
    water_mw = params.hydraulic_mw_per_m3_s * after.usable_m3_s
    turbine_loss_mw = injection.p_mw * (1.0 / params.efficiency - 1.0)
    spilled_mw = water_mw - injection.p_mw / params.efficiency
    return Energy(primary_in=water_mw * dt_h, stored=zero, useful_out=zero, lost=(turbine_loss_mw + spilled_mw) * dt_h)


@register_device("RunOfRiver", aliases=("run_of_river", "Hydro"))
class RunOfRiver(Plant, from_module=True):
    """Run-of-river plant: follows a seasonal flow or a series, may spill water, stops at low flow."""

    ranges = {"p_share": (0.0, 1.0), "q_mvar": ("-q_max_mvar", "q_max_mvar")}
    reading_ranges = {"p_mw": (0.0, "p_design_mw"), "p_available_mw": (0.0, "p_design_mw")}

    def series(self) -> dict[str, str]:
        """The phases of the year, and the column of the settings; without one the third field does not count."""
        return {
            "year_sin": "clock_year_sin",
            "year_cos": "clock_year_cos",
            "flow_m3_s": self.settings.series or "clock_year_cos",
        }

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Free power up to what is available."""
        series = Exogenous(*(np.asarray(values, dtype=float) for values in exogenous))
        available_mw = available(np, self.params(), series, 0.0)
        return LinearDevice(p_min_mw=0.0 * available_mw, p_max_mw=available_mw)
