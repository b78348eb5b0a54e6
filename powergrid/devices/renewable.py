"""Solar and wind generation (RES)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import AliasChoices, Field

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, LinearDevice
from powergrid.core.types import Array, Entry, Injection
from powergrid.devices import _offered
from powergrid.devices._offered import Command, State, deliver
from powergrid.devices._shared import inside
from powergrid.plugins import register_device

_SERIES = {"solar": "pv_pu", "wind": "wind_pu"}


class Settings(DeviceSettings):
    """What a person says about a solar plant or a wind turbine."""

    p_max_mw: float = Field(
        0.1, gt=0, validation_alias=AliasChoices("p_max_mw", "p_max"), description="power at a series value of 1 [MW]"
    )
    kind: Literal["solar", "wind"] = Field(
        "solar", validation_alias=AliasChoices("kind", "type"), description="what drives it: solar or wind"
    )
    series: str | None = Field(
        None, description="dataset column of the available power [pu]; by default pv_pu or wind_pu, as the kind says"
    )
    curtailable: bool = Field(True, description="whether it may be told to deliver less than it could")
    sn_mva: float | None = Field(
        None, gt=0, description="inverter rating [MVA]; given, power is held below it and reactive power is offered"
    )


class Params(NamedTuple):
    """Columns of :class:`Settings`; `sn_mva` equals `p_max_mw` where no reactive power is offered.

    `q_share` is 1 where it is, else 0. `share_min` is the smallest share [1] of the available power that a command
    may ask for: 0 for a curtailable unit, else 1.
    """

    p_max_mw: Array
    sn_mva: Array
    q_share: Array
    share_min: Array


class Exogenous(NamedTuple):
    """Available power [pu of `p_max_mw`]."""

    available_pu: Array


def available(xp: Any, params: Params, exogenous: Exogenous, dt_h: float) -> Array:
    """Power that sun or wind offer, within the inverter rating [MW]."""
    return xp.minimum(params.p_max_mw * inside(xp, exogenous.available_pu, 0.0, 1.0), params.sn_mva)


def step(
    xp: Any, params: Params, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Deliver a share of what sun or wind offer, within the inverter rating.

    ``p = share min(p_max a, S)`` with the series value `a` in [0, 1], and ``p^2 + q^2 <= S^2``: the circular capability
    of a full converter, e.g. Turitsyn et al., "Options for control of reactive power by distributed photovoltaic
    generators", Proceedings of the IEEE 99(6), 2011, doi:10.1109/JPROC.2011.2116750.
    """
    available_mw = available(xp, params, exogenous, dt_h)
    return State(available_mw), deliver(xp, params, available_mw, command, params.share_min)


@register_device("Renewable", aliases=("RES", "renewable"))
class Renewable(DeviceAgent):
    """Solar plant or wind turbine behind a converter: follows a series, may be curtailed and offer reactive power."""

    default_policy = "mppt"
    Settings, Params, State, Command, Exogenous = Settings, Params, State, Command, Exogenous
    reset, step, readings = staticmethod(_offered.reset), staticmethod(step), staticmethod(_offered.readings)
    rule, energy = staticmethod(_offered.rule), staticmethod(_offered.energy)
    available = staticmethod(available)

    def params(self) -> Any:
        """This unit's row; without an inverter rating there is no reactive range."""
        given = self.settings
        return Params(
            p_max_mw=given.p_max_mw,
            sn_mva=given.sn_mva or given.p_max_mw,
            q_share=0.0 if given.sn_mva is None else 1.0,
            share_min=0.0 if given.curtailable else 1.0,
        )

    def series(self) -> dict[str, str]:
        """The column of the settings, else the quantity of the kind."""
        return {"available_pu": self.settings.series or _SERIES[self.settings.kind]}

    def observation_entries(self) -> tuple[Entry, ...]:
        """Delivered and available power."""
        return _offered.observation_entries(self.settings.p_max_mw)

    def action_entries(self) -> dict[str, Entry]:
        """Share of the available power if curtailable, reactive power if the inverter is rated for it."""
        return _offered.action_entries(self.settings.curtailable, self.settings.sn_mva)

    def idle(self) -> Any:
        """Full output at unity power factor."""
        return Command(1.0, 0.0)

    def linear(self, exogenous: Any) -> LinearDevice:
        """Free power up to what is available."""
        row = self.params()
        available_mw = available(np, row, Exogenous(np.asarray(exogenous.available_pu, dtype=float)), 0.0)
        return LinearDevice(p_min_mw=row.share_min * available_mw, p_max_mw=available_mw)
