"""Static synchronous compensator (STATCOM)."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, Energy, LinearDevice, NoColumns, Outlook
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._shared import inside
from powergrid.plugins import register_device


class Settings(DeviceSettings):
    """Parameters of a compensator."""

    sn_mva: float = Field(0.5, gt=0, description="rating [MVA]")
    no_load_loss_share: float = Field(0.003, ge=0, lt=0.1, description="loss at no current, over the rating [1]")
    full_load_loss_share: float = Field(0.01, ge=0, lt=0.1, description="loss at full current, over the rating [1]")
    v_set_pu: float = Field(1.0, gt=0, description="voltage that its rule holds [pu]")
    droop_pu: float = Field(0.03, gt=0, le=0.5, description="deviation at which its rule gives all that it has [pu]")

    @property
    def p_loss_max_mw(self) -> float:
        """Loss at full current [MW], above zero."""
        return max(self.full_load_loss_share, 1e-6) * self.sn_mva

    @model_validator(mode="after")
    def _rising(self) -> Settings:
        if self.no_load_loss_share > self.full_load_loss_share:
            raise ValueError(
                f"no_load_loss_share {self.no_load_loss_share} must not be above full_load_loss_share "
                f"{self.full_load_loss_share}"
            )
        return self


class Command(NamedTuple):
    """Wanted reactive power [Mvar]; injected is positive."""

    q_mvar: Array


class Exogenous(NamedTuple):
    """Voltage of its terminal in the last tick [pu]."""

    v_pu: Array


def step(
    xp: Namespace, params: Settings, state: NoColumns, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[NoColumns, Injection]:
    """Give reactive power up to the converter's current, and draw what the converter loses.

    The limit is a current, so ``|q| <= S min(v, 1)``: at low voltage it falls with `v`, not with its square as that of
    a capacitor does (Hingorani and Gyugyi, "Understanding FACTS", IEEE Press 2000, chapter 5). Losses are
    ``S (l_0 + (l_1 - l_0) (q / S)^2)``, of order 1 % at full current (there, too).
    """
    share = params.full_load_loss_share
    room = params.sn_mva * xp.sqrt(1.0 - share * share) * inside(xp, exogenous.v_pu, 0.0, 1.0)
    q_mvar = inside(xp, command.q_mvar, -room, room)
    loading = q_mvar / params.sn_mva
    loss = params.no_load_loss_share + (share - params.no_load_loss_share) * loading * loading
    return state, Injection(-params.sn_mva * loss, q_mvar)


def readings(xp: Namespace, params: Settings, state: NoColumns, injection: Injection) -> tuple[Array, ...]:
    """Reactive power and losses."""
    return injection.q_mvar, -injection.p_mw


def rule(
    xp: Namespace, params: Settings, state: NoColumns, exogenous: Exogenous, outlook: Outlook, dt_h: float
) -> Command:
    """Hold the voltage with a droop: ``q = S (v_set - v) / droop``, the regulation slope of such converters."""
    wanted = inside(xp, (params.v_set_pu - exogenous.v_pu) / params.droop_pu, -1.0, 1.0)
    return Command(params.sn_mva * wanted)


def energy(
    xp: Namespace,
    params: Settings,
    before: NoColumns,
    after: NoColumns,
    injection: Injection,
    exogenous: Exogenous,
    dt_h: float,
) -> Energy:
    """What it draws is lost [MWh]."""
    zero = injection.p_mw * 0.0
    loading = injection.q_mvar / params.sn_mva
    more = (params.full_load_loss_share - params.no_load_loss_share) * loading * loading
    lost = params.sn_mva * (params.no_load_loss_share + more) * dt_h
    return Energy(primary_in=zero, stored=zero, useful_out=zero, lost=lost)


@register_device("Statcom", aliases=("STATCOM", "statcom"))
class Statcom(DeviceAgent, from_module=True):
    """Converter that gives or takes reactive power, limited by its current, with losses."""

    ranges = {"q_mvar": ("-sn_mva", "sn_mva")}
    reading_ranges = {"q_mvar": ("-sn_mva", "sn_mva"), "p_loss_mw": (0.0, "p_loss_max_mw")}
    default_policy = "rule_based"

    def volt_var_curve(self) -> tuple[float, ...]:
        """The droop of :func:`rule`."""
        v_pu, droop_pu = self.settings.v_set_pu, self.settings.droop_pu
        return v_pu - droop_pu, v_pu, v_pu, v_pu + droop_pu, 1.0

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Its losses, between no and full current."""
        settings = self.settings
        return LinearDevice(
            p_min_mw=-settings.sn_mva * settings.full_load_loss_share,
            p_max_mw=-settings.sn_mva * settings.no_load_loss_share,
        )
