"""Fixed or curtailable load."""

from __future__ import annotations

from math import acos, tan
from typing import NamedTuple

import numpy as np
from pydantic import AliasChoices, Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, Outlook, finite
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.plugins import register_device

_PEAK_PU = 2.0
"""Series are per unit of the published load and may pass it; an observation is bounded by twice that load."""


class Settings(DeviceSettings):
    """Parameters of a load; all powers are consumed."""

    p_mw: float = Field(
        0.1, ge=0, validation_alias=AliasChoices("p_mw", "p"), description="power at a series value of 1 [MW]"
    )
    q_mvar: float | None = Field(None, description="reactive power at a series value of 1 [Mvar]; 0 if not given")
    power_factor: float | None = Field(None, gt=0, le=1, description="lagging power factor [1], instead of q_mvar")
    series: str = Field("load_p_pu", description="dataset column of the demand [pu]")
    curtailable_share: float = Field(0.0, ge=0, le=1, description="share of the demand that may be left unserved [1]")
    curtailment_cost_per_mwh: float = Field(1000.0, ge=0, description="cost of demand that is not served [$/MWh]")

    @property
    def q_nominal_mvar(self) -> float:
        """Reactive power at a series value of 1 [Mvar], by `q_mvar` or by the power factor."""
        return (self.q_mvar or 0.0) if self.power_factor is None else self.p_mw * tan(acos(self.power_factor))

    @property
    def least_share(self) -> float:
        """Share of the demand that is served in any case [1]."""
        return 1.0 - self.curtailable_share

    @property
    def p_peak_mw(self) -> float:
        """Largest power that is to be observed [MW]."""
        return _PEAK_PU * self.p_mw or 1.0

    @model_validator(mode="after")
    def _one_way(self) -> Settings:
        if self.q_mvar is not None and self.power_factor is not None:
            raise ValueError("give either q_mvar or power_factor, not both")
        return self


class State(NamedTuple):
    """Demand of the last tick, served or not [MW]."""

    demand_mw: Array = 0.0


class Command(NamedTuple):
    """Share of the demand to serve [1]."""

    served_share: Array = 1.0


class Exogenous(NamedTuple):
    """Demand [pu of `p_mw`]."""

    load_pu: Array


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Serve the demand, at least the share that may not be curtailed, at constant power factor.

    ``p = -s d p_n`` and ``q = -s d q_n`` with the demand `d` [pu] and the served share `s` in [1 - c, 1]: the constant
    power load of IEEE Task Force, "Load representation for dynamic performance analysis", IEEE Trans. Power Systems
    8(2), 1993, doi:10.1109/59.260837.
    """
    demand_pu = xp.maximum(finite(xp, exogenous.load_pu), 0.0)
    share = xp.minimum(xp.maximum(finite(xp, command.served_share), 1.0 - params.curtailable_share), 1.0)
    served_pu = demand_pu * share
    return State(demand_pu * params.p_mw), Injection(-served_pu * params.p_mw, -served_pu * params.q_nominal_mvar)


def failed(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, dt_h: float) -> State:
    """None of the demand is served."""
    demand_pu = xp.maximum(finite(xp, exogenous.load_pu), 0.0)
    return State(demand_pu * params.p_mw + state.demand_mw * 0.0)


def money(
    xp: Namespace, params: Settings, state: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Demand that was not served [$]."""
    return (params.curtailment_cost_per_mwh * (state.demand_mw + injection.p_mw) * dt_h,)


def readings(xp: Namespace, params: Settings, state: State, injection: Injection) -> tuple[Array, ...]:
    """Served and wanted power, consumption positive."""
    return -injection.p_mw, state.demand_mw


def rule(xp: Namespace, params: Settings, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Serve everything, except where buying the energy costs more than leaving the demand unserved."""
    dear = outlook.retail_per_mwh > params.curtailment_cost_per_mwh
    return Command(1.0 - xp.where(dear, params.curtailable_share, params.curtailable_share * 0.0))


def energy(
    xp: Namespace,
    params: Settings,
    before: State,
    after: State,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """All energy drawn is of use [MWh]."""
    zero = injection.p_mw * 0.0
    return Energy(primary_in=zero, stored=zero, useful_out=-injection.p_mw * dt_h, lost=zero)


@register_device("Load", aliases=("load", "FixedLoad", "CurtailableLoad"))
class Load(DeviceAgent, from_module=True):
    """Load that follows a series; a share of it may be left unserved at a cost."""

    ranges = {"served_share": ("least_share", 1.0)}
    reading_ranges = {"p_served_mw": (0.0, "p_peak_mw"), "p_demand_mw": (0.0, "p_peak_mw")}
    default_policy = "rule_based"
    money_names = ("curtailment",)

    def series(self) -> dict[str, str]:
        """The column of the settings."""
        return {"load_pu": self.settings.series}

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Demand as negative injection; the cost is that of what is not served."""
        settings = self.settings
        demand_mw = settings.p_mw * np.maximum(np.asarray(exogenous.load_pu), 0.0)
        return LinearDevice(
            p_min_mw=-demand_mw,
            p_max_mw=-(1.0 - settings.curtailable_share) * demand_mw,
            curtailment_cost_per_mwh=settings.curtailment_cost_per_mwh,
        )
