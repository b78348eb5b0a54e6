"""Solar and wind generation (RES)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import AliasChoices, Field

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, Outlook
from powergrid.core.types import Array, Entry, Injection
from powergrid.devices._shared import inside, reactive
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


class State(NamedTuple):
    """Power that sun or wind offered in the last tick [MW]."""

    available_mw: Array


class Command(NamedTuple):
    """Wanted share of the available power [1] and wanted reactive power [Mvar]."""

    p_share: Array
    q_mvar: Array


class Exogenous(NamedTuple):
    """Available power [pu of `p_max_mw`]."""

    available_pu: Array


def reset(xp: Any, params: Params, uniform: Array) -> State:
    """Nothing has been offered yet."""
    return State(uniform * 0.0)


def step(
    xp: Any, params: Params, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Deliver a share of what sun or wind offer, within the inverter rating.

    ``p = share min(p_max a, S)`` with the series value `a` in [0, 1], and ``p^2 + q^2 <= S^2``: the circular capability
    of a full converter, e.g. Turitsyn et al., "Options for control of reactive power by distributed photovoltaic
    generators", Proceedings of the IEEE 99(6), 2011, doi:10.1109/JPROC.2011.2116750, section II.
    """
    offered = inside(xp, exogenous.available_pu, 0.0, 1.0)
    available_mw = xp.minimum(params.p_max_mw * offered, params.sn_mva)
    p_mw = available_mw * inside(xp, command.p_share, params.share_min, 1.0)
    return State(available_mw), Injection(p_mw, reactive(xp, params.sn_mva, params.q_share, p_mw, command.q_mvar))


def readings(xp: Any, params: Params, state: State, injection: Injection) -> tuple[Array, ...]:
    """Delivered and available power."""
    return injection.p_mw, state.available_mw


def rule(xp: Any, params: Params, state: State, exogenous: Exogenous, outlook: Outlook, dt_h: float) -> Command:
    """Everything that is available, at unity power factor: it costs nothing and the tariff is never negative."""
    zero = outlook.price_per_mwh * 0.0
    return Command(zero + 1.0, zero)


def energy(
    xp: Any, params: Params, before: State, after: State, injection: Injection, exogenous: Exogenous, dt_h: float
) -> Energy:
    """Offered energy comes in, curtailed energy is lost [MWh]."""
    zero = injection.p_mw * 0.0
    return Energy(
        primary_in=after.available_mw * dt_h,
        stored=zero,
        useful_out=zero,
        lost=(after.available_mw - injection.p_mw) * dt_h,
    )


@register_device("Renewable", aliases=("RES", "renewable"))
class Renewable(DeviceAgent):
    """Solar plant or wind turbine behind a converter: follows a series, may be curtailed and offer reactive power."""

    default_policy = "mppt"
    Settings, Params, State, Command, Exogenous = Settings, Params, State, Command, Exogenous
    reset, step, readings = staticmethod(reset), staticmethod(step), staticmethod(readings)
    rule, energy = staticmethod(rule), staticmethod(energy)

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
        limit = self.settings.p_max_mw
        return Entry("p", "MW", 0.0, limit), Entry("p_available", "MW", 0.0, limit)

    def action_entries(self) -> dict[str, Entry]:
        """Share of the available power if curtailable, reactive power if the inverter is rated for it."""
        given = self.settings
        entries = {"p_share": Entry("p_share", "1", 0.0, 1.0)} if given.curtailable else {}
        if given.sn_mva is not None:
            entries["q_mvar"] = Entry("q", "Mvar", -given.sn_mva, given.sn_mva)
        return entries

    def idle(self) -> Any:
        """Full output at unity power factor."""
        return Command(1.0, 0.0)

    def linear(self, exogenous: Any) -> LinearDevice:
        """Free power up to what is available."""
        row = self.params()
        offered = np.clip(np.asarray(exogenous.available_pu, dtype=float), 0.0, 1.0)
        available_mw = np.minimum(row.p_max_mw * offered, row.sn_mva)
        return LinearDevice(p_min_mw=row.share_min * available_mw, p_max_mw=available_mw)
