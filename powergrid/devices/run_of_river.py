"""Run-of-river hydro power."""

from __future__ import annotations

from math import cos, pi, sin
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, decide_on, flag
from powergrid.core.types import Array, Entry, Injection
from powergrid.devices import _offered
from powergrid.devices._offered import Command, deliver
from powergrid.devices._shared import inside
from powergrid.plugins import register_device

_WEIGHT_MW_PER_M4_S = 9.81e-3
"""Density of water times gravity [MW per m3/s and m of head]."""
_LARGEST_M3_S = 1e6
"""No river carries more [m3/s]."""


class Settings(DeviceSettings):
    """What a person says about a plant; without a series the flow follows the season as a cosine."""

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

    @model_validator(mode="after")
    def _flowing(self) -> Settings:
        if self.series is None and self.residual_flow_m3_s >= self.mean_flow_m3_s * (1.0 + self.season_share):
            raise ValueError(
                f"residual_flow_m3_s {self.residual_flow_m3_s} leaves nothing for the turbine: the largest flow is "
                f"{self.mean_flow_m3_s * (1.0 + self.season_share):g} m3/s"
            )
        return self


class Params(NamedTuple):
    """Columns of :class:`Settings`, and those that follow.

    `swing_sin_m3_s` and `swing_cos_m3_s` are the amplitudes of the seasonal flow over the phases of the year, and
    `by_series` is 1 where a series gives the flow (then mean and swing are zero). `hydraulic_mw_per_m3_s` is the water
    power of one m3/s.
    """

    design_flow_m3_s: Array
    min_flow_m3_s: Array
    efficiency: Array
    residual_flow_m3_s: Array
    mean_flow_m3_s: Array
    swing_sin_m3_s: Array
    swing_cos_m3_s: Array
    by_series: Array
    hydraulic_mw_per_m3_s: Array
    sn_mva: Array
    q_share: Array


class State(NamedTuple):
    """Flow that the turbine could take in the last tick [m3/s], and the power it could deliver [MW]."""

    usable_m3_s: Array
    available_mw: Array


class Exogenous(NamedTuple):
    """Phase of the year [1], and the flow of a series [m3/s], which counts only where the settings name one."""

    year_sin: Array
    year_cos: Array
    flow_m3_s: Array


def reset(xp: Any, params: Params, uniform: Array) -> State:
    """Nothing has been offered yet."""
    return State(uniform * 0.0, uniform * 0.0)


def usable(xp: Any, params: Params, exogenous: Exogenous) -> Array:
    """Flow that the turbine can take [m3/s]: what the river carries, less what stays in it, up to the design flow."""
    season = params.swing_sin_m3_s * exogenous.year_sin + params.swing_cos_m3_s * exogenous.year_cos
    measured = params.by_series * inside(xp, exogenous.flow_m3_s, 0.0, _LARGEST_M3_S)
    flow = xp.maximum(params.mean_flow_m3_s + season + measured - params.residual_flow_m3_s, 0.0)
    flow = xp.minimum(flow, params.design_flow_m3_s)
    return flow * flag(xp, decide_on(xp, flow - params.min_flow_m3_s) >= 0.0, flow)


def _available(xp: Any, params: Params, flow_m3_s: Array) -> Array:
    return xp.minimum(params.efficiency * params.hydraulic_mw_per_m3_s * flow_m3_s, params.sn_mva)


def available(xp: Any, params: Params, exogenous: Exogenous, dt_h: float) -> Array:
    """Power that the river offers, within the generator rating [MW]."""
    return _available(xp, params, usable(xp, params, exogenous))


def step(
    xp: Any, params: Params, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Turn a share of the usable flow into power; the rest goes over the weir.

    ``p = eta rho g H Q``, e.g. European Small Hydropower Association, "Guide on How to Develop a Small Hydropower
    Plant", 2004, which also gives the turbines' smallest flows; ``p^2 + q^2 <= S^2``.
    """
    flow_m3_s = usable(xp, params, exogenous)
    available_mw = _available(xp, params, flow_m3_s)
    return State(flow_m3_s, available_mw), deliver(xp, params, available_mw, command)


def energy(
    xp: Any, params: Params, before: State, after: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> Energy:
    """The usable water comes in; what the turbine loses and what is spilled is lost [MWh]."""
    zero = injection.p_mw * 0.0
    water_mw = params.hydraulic_mw_per_m3_s * after.usable_m3_s
    turbine_loss_mw = injection.p_mw * (1.0 / params.efficiency - 1.0)
    spilled_mw = water_mw - injection.p_mw / params.efficiency
    return Energy(primary_in=water_mw * dt_h, stored=zero, useful_out=zero, lost=(turbine_loss_mw + spilled_mw) * dt_h)


@register_device("RunOfRiver", aliases=("run_of_river", "Hydro"))
class RunOfRiver(DeviceAgent):
    """Run-of-river plant: follows a seasonal flow or a series, may spill water, stops at low flow."""

    default_policy = "mppt"
    Settings, Params, State, Command, Exogenous = Settings, Params, State, Command, Exogenous
    reset, step, readings = staticmethod(reset), staticmethod(step), staticmethod(_offered.readings)
    rule, energy = staticmethod(_offered.rule), staticmethod(energy)
    available = staticmethod(available)

    def params(self) -> Any:
        """This unit's row."""
        given = self.settings
        seasonal = 1.0 if given.series is None else 0.0
        swing, peak = seasonal * given.season_share * given.mean_flow_m3_s, 2.0 * pi * given.peak_day / 365.0
        water = _WEIGHT_MW_PER_M4_S * given.head_m
        return Params(
            design_flow_m3_s=given.design_flow_m3_s,
            min_flow_m3_s=given.min_flow_share * given.design_flow_m3_s,
            efficiency=given.efficiency,
            residual_flow_m3_s=given.residual_flow_m3_s,
            mean_flow_m3_s=seasonal * given.mean_flow_m3_s,
            swing_sin_m3_s=swing * sin(peak),
            swing_cos_m3_s=swing * cos(peak),
            by_series=1.0 - seasonal,
            hydraulic_mw_per_m3_s=water,
            sn_mva=given.sn_mva or given.efficiency * water * given.design_flow_m3_s,
            q_share=0.0 if given.sn_mva is None else 1.0,
        )

    def series(self) -> dict[str, str]:
        """The phases of the year, and the column of the settings; without one the third field does not count."""
        return {
            "year_sin": "clock_year_sin",
            "year_cos": "clock_year_cos",
            "flow_m3_s": self.settings.series or "clock_year_cos",
        }

    def observation_entries(self) -> tuple[Entry, ...]:
        """Delivered and available power."""
        row = self.params()
        return _offered.observation_entries(_available(np, row, row.design_flow_m3_s))

    def action_entries(self) -> dict[str, Entry]:
        """Share of the available power, and reactive power if the generator is rated for it."""
        return _offered.action_entries(True, self.settings.sn_mva)

    def idle(self) -> Any:
        """Full output at unity power factor."""
        return Command(1.0, 0.0)

    def linear(self, exogenous: Any) -> LinearDevice:
        """Free power up to what is available."""
        series = Exogenous(*(np.asarray(values, dtype=float) for values in exogenous))
        available_mw = available(np, self.params(), series, 0.0)
        return LinearDevice(p_min_mw=0.0 * available_mw, p_max_mw=available_mw)
