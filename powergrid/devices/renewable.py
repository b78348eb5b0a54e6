"""Solar and wind generation (RES)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from pydantic import AliasChoices, Field

from powergrid.agents.device_agent import DeviceSettings, LinearDevice
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._offered import Command, Offered, Plant, State, deliver
from powergrid.devices._shared import inside
from powergrid.plugins import register_device

_SERIES = {"solar": "pv_pu", "wind": "wind_pu"}


class Settings(Offered, DeviceSettings):
    """Parameters of a solar plant or a wind turbine."""

    p_max_mw: float = Field(
        0.1, gt=0, validation_alias=AliasChoices("p_max_mw", "p_max"), description="power at a series value of 1 [MW]"
    )
    kind: Literal["solar", "wind"] = Field(
        "solar", validation_alias=AliasChoices("kind", "type"), description="what drives it: solar or wind"
    )
    series: str | None = Field(
        None, description="dataset column of the available power [pu]; by default pv_pu or wind_pu, as the kind says"
    )
    curtailable: bool = Field(True, description="whether commands may reduce its power below what is available")
    sn_mva: float | None = Field(
        None, gt=0, description="inverter rating [MVA]; given, power is held below it and reactive power is offered"
    )


class Exogenous(NamedTuple):
    """Available power [pu of `p_max_mw`]."""

    available_pu: Array


def available(xp: Namespace, params: Settings, exogenous: Exogenous, dt_h: float) -> Array:
    """Power that sun or wind offer, within the inverter rating [MW]."""
    return xp.minimum(params.p_max_mw * inside(xp, exogenous.available_pu, 0.0, 1.0), params.rating_mva)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Deliver a share of what sun or wind offer, within the inverter rating.

    ``p = share min(p_max a, S)`` with the series value `a` in [0, 1], and ``p^2 + q^2 <= S^2``: the circular capability
    of a full converter, e.g. Turitsyn et al., "Options for control of reactive power by distributed photovoltaic
    generators", Proceedings of the IEEE 99(6), 2011, doi:10.1109/JPROC.2011.2116750.
    """
    available_mw = available(xp, params, exogenous, dt_h)
    return State(available_mw), deliver(xp, params, available_mw, command, params.share_min)


@register_device("Renewable", aliases=("RES", "renewable"))
class Renewable(Plant, from_module=True):
    """Solar plant or wind turbine behind a converter: follows a series, may be curtailed and offer reactive power."""

    def series(self) -> dict[str, str]:
        """The column of the settings, else the quantity of the kind."""
        return {"available_pu": self.settings.series or _SERIES[self.settings.kind]}

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Free power up to what is available."""
        row = self.params()
        available_mw = available(np, row, Exogenous(np.asarray(exogenous.available_pu, dtype=float)), 0.0)
        return LinearDevice(p_min_mw=row.share_min * available_mw, p_max_mw=available_mw)
