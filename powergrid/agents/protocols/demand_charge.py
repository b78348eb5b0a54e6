"""Demand charge: each member pays the utility for the highest power that it imports in a billing period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field, field_validator

from powergrid.agents.protocol import Added, Channel, Context, HorizontalProtocol, Member, ProtocolSettings
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

DAY_H = 24.0


class Settings(ProtocolSettings):
    """Parameters of the charge."""

    price_per_mw: float = Field(10_000.0, ge=0, description="for the highest import of a billing period [$/MW]")
    hours: tuple[float, float] = Field(
        (0.0, 24.0), description="hours of standard time in which import counts; 22 to 6 goes over midnight [h]"
    )
    peak_init_mw: float = Field(0.0, ge=0, description="highest import that is billed already at reset [MW]")
    max_peak_mw: float = Field(100.0, gt=0, description="bound of the highest import in observations [MW]")

    @field_validator("hours")
    @classmethod
    def _of_a_day(cls, hours: tuple[float, float]) -> tuple[float, float]:
        if not all(0.0 <= hour <= DAY_H for hour in hours) or hours[0] == hours[1]:
            raise ValueError(f"hours {hours[0]:g} to {hours[1]:g} are none of a day; write for example [16, 21]")
        return hours


class Rates(NamedTuple):
    """Price [$/MW], highest import at reset [MW], and first and last hour in which import counts [h]."""

    price_per_mw: float
    peak_init_mw: float
    from_h: float
    to_h: float


class Peak(NamedTuple):
    """Highest import of each member so far [MW], ``(*batch, members)``."""

    peak_mw: Array


class Sent(NamedTuple):
    """Highest import of each member that is billed [MW]."""

    demand_peak: Array


class Paid(NamedTuple):
    """What members pay the utility [$]."""

    demand: Array


@register_protocol("demand_charge")
class DemandCharge(HorizontalProtocol):
    r"""Each member pays for raising its highest import of the billing period, on top of what its energy costs.

    With the mean import :math:`P_{k,t} = E_{k,t} / \Delta t` of member :math:`k` over a tick and its highest import so
    far :math:`\hat P_{k,t} = \max(\hat P_{k,t-1}, P_{k,t})`, where ticks outside of `hours` do not count, it pays

    .. math:: \pi \, (\hat P_{k,t} - \hat P_{k,t-1})

    in the tick. Over an episode this sums to :math:`\pi (\hat P_{k,T} - \hat P_{k,0})`, the demand charge of utility
    tariffs, see Kirschen and Strbac, "Fundamentals of Power System Economics", Wiley (2004), chapter 4. An episode is a
    billing period, or the rest of one in which `peak_init_mw` is billed already. The mean is over a tick: with ticks of
    900 s it is the demand interval of most tariffs.

    Members observe the highest import that is billed. Members choose nothing. Nothing is paid back for export.
    """

    Settings, Params, State = Settings, Rates, Peak
    compared = ()

    def params(self) -> Rates:
        """Price, highest import at reset and hours as plain numbers."""
        return Rates(self.settings.price_per_mw, self.settings.peak_init_mw, *self.settings.hours)

    def entries(self, members: Sequence[Member]) -> Added:
        """The highest import as a signal, and the charge."""
        channel = Channel("demand_peak", "MW", 0.0, self.settings.max_peak_mw, self.settings.peak_init_mw)
        return Added(channels=(channel,), money_names=Paid._fields)

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Peak, metered_mwh: Array) -> tuple[Peak, Sent, Paid, tuple[()]]:
        """Charge what the import of the tick exceeds the highest by."""
        hour = ctx.tick * ctx.dt_h
        hour = hour - 24.0 * xp.floor(hour / 24.0 + 1e-9)
        behind, ahead = 1.0 * (hour >= ctx.params.from_h - 1e-6), 1.0 * (hour < ctx.params.to_h - 1e-6)
        counts = behind * ahead if ctx.params.from_h < ctx.params.to_h else xp.maximum(behind, ahead)
        before = xp.maximum(state.peak_mw, ctx.params.peak_init_mw)
        peak = xp.maximum(before, counts * metered_mwh / ctx.dt_h)
        paid = ctx.params.price_per_mw * (peak - before)
        with_utility = xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)
        return Peak(peak), Sent(peak), Paid(with_utility), ()
