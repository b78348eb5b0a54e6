"""Wind turbine: power curve over wind speed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import AliasChoices, Field, model_validator

from powergrid.agents.device_agent import DeviceSettings, LinearDevice, decide_on, finite, flag
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._offered import Command, Offered, Plant, State, deliver
from powergrid.plugins import register_device


class Settings(Offered, DeviceSettings):
    """Parameters of a turbine; the speeds are those of a common 2 MW machine."""

    p_max_mw: float = Field(
        2.0, gt=0, validation_alias=AliasChoices("p_max_mw", "p_max"), description="rated power [MW]"
    )
    cut_in_m_s: float = Field(3.0, ge=0, description="wind speed at which it begins to deliver [m/s]")
    rated_m_s: float = Field(12.0, gt=0, description="wind speed at which it reaches its rated power [m/s]")
    cut_out_m_s: float = Field(25.0, gt=0, description="wind speed above which it stops [m/s]")
    hub_height_m: float = Field(100.0, gt=0, description="height of the hub [m]")
    measured_height_m: float = Field(100.0, gt=0, description="height at which the series was measured [m]")
    shear_exponent: float = Field(1.0 / 7.0, ge=0, lt=1, description="exponent of the wind's rise with height [1]")
    series: str = Field("wind_speed_m_s", description="dataset column of the wind speed [m/s]")
    curtailable: bool = Field(True, description="whether commands may reduce its power below what is available")
    sn_mva: float | None = Field(
        None, gt=0, description="converter rating [MVA]; given, power is held below it and reactive power is offered"
    )

    @property
    def lift(self) -> float:
        """Wind speed at the hub over the measured one [1]."""
        return float((self.hub_height_m / self.measured_height_m) ** self.shear_exponent)

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        if not self.cut_in_m_s < self.rated_m_s < self.cut_out_m_s:
            raise ValueError(
                f"wind speeds must rise: cut_in_m_s {self.cut_in_m_s} < rated_m_s {self.rated_m_s} "
                f"< cut_out_m_s {self.cut_out_m_s}"
            )
        return self


class Exogenous(NamedTuple):
    """Wind speed at the height of the measurement [m/s]."""

    wind_speed_m_s: Array


def power_curve(xp: Namespace, params: Settings, hub_m_s: Array) -> Array:
    """Power over the rated one [1] at a wind speed at the hub.

    ``(v^3 - v_in^3) / (v_rated^3 - v_in^3)`` between cut-in and rated speed, one up to cut-out, else none: of the kinds
    compared in Carrillo et al., "Review of power curve modelling for wind turbines", Renewable and Sustainable Energy
    Reviews 21, 2013, doi:10.1016/j.rser.2013.01.012.
    """
    low = params.cut_in_m_s * params.cut_in_m_s * params.cut_in_m_s
    full = params.rated_m_s * params.rated_m_s * params.rated_m_s
    v_m_s = xp.minimum(hub_m_s, params.rated_m_s)  # no larger, so that the cube stays finite
    share = xp.maximum((v_m_s * v_m_s * v_m_s - low) / (full - low), 0.0)
    return share * flag(xp, decide_on(xp, hub_m_s - params.cut_out_m_s) <= 0.0, share)


def available(xp: Namespace, params: Settings, exogenous: Exogenous, dt_h: float) -> Array:
    """Power that the wind offers, within the converter rating [MW]."""
    hub_m_s = params.lift * xp.maximum(finite(xp, exogenous.wind_speed_m_s), 0.0)
    return xp.minimum(params.p_max_mw * power_curve(xp, params, hub_m_s), params.rating_mva)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Deliver a share of what the wind offers, within the converter rating.

    The wind at the hub is ``v (h / h_ref)^a``, the power law of e.g. Manwell, McGowan and Rogers, "Wind Energy
    Explained", 2nd ed., Wiley 2009, chapter 2; ``p^2 + q^2 <= S^2``.
    """
    available_mw = available(xp, params, exogenous, dt_h)
    return State(available_mw), deliver(xp, params, available_mw, command, params.share_min)


@register_device("WindTurbine", aliases=("wind_turbine", "Wind"))
class WindTurbine(Plant, from_module=True):
    """Wind turbine behind a converter: follows the wind speed through its power curve, may be curtailed."""

    def series(self) -> dict[str, str]:
        """The column of the settings."""
        return {"wind_speed_m_s": self.settings.series}

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Free power up to what is available."""
        row = self.params()
        available_mw = available(np, row, Exogenous(np.asarray(exogenous.wind_speed_m_s, dtype=float)), 0.0)
        return LinearDevice(p_min_mw=row.share_min * available_mw, p_max_mw=available_mw)
