"""Metered connection to the utility: where energy is paid for (Grid)."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.device_agent import DeviceAgent, DeviceSettings, NoColumns
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.plugins import register_device

FEED_IN_SHARE, RETAIL_ADDER = 0.9, 45.0
"""Tariff of a connection without one of its own: share of the market price [1], charge above it [$/MWh]."""


class OwnTariff(DeviceSettings):
    """A tariff as the section `tariff` of a configuration has it."""

    feed_in_share: float | None = Field(
        default=None, ge=0, le=1, description="share of the price paid for exported energy [1]"
    )
    retail_adder: float | None = Field(
        default=None, ge=0, description="charge on imported energy above the price [$/MWh]"
    )


class Settings(DeviceSettings):
    """Parameters of a connection; ``feed_in = share max(price, 0)``, ``retail = max(price, 0) + adder``.

    A share of at most one and an adder of at least zero keep feed-in at or below retail at every price.
    """

    tariff: OwnTariff | None = Field(None, description="its own tariff, as in the section tariff; omitted: that one")
    feed_in_share: float | None = Field(
        None, ge=0, le=1, description="share of the market price paid for exported energy [1]; omitted: as in tariff"
    )
    retail_adder_per_mwh: float | None = Field(
        None, ge=0, description="charge on imported energy above the price [$/MWh]; omitted: as in tariff"
    )
    p_max_mw: float | None = Field(None, gt=0, description="import limit [MW]; none if not given")
    import_limit_cost_per_percent_h: float = Field(
        10.0, ge=0, description="price of import above the limit, as that of an overloaded line [$/(% h)]"
    )

    @property
    def import_max_mw(self) -> float:
        """Import limit [MW], infinite where none is given."""
        return inf if self.p_max_mw is None else self.p_max_mw

    @model_validator(mode="after")
    def _once(self) -> Settings:
        own = self.tariff or OwnTariff()
        for name, flat in (("feed_in_share", self.feed_in_share), ("retail_adder", self.retail_adder_per_mwh)):
            if flat is not None and getattr(own, name) is not None:
                raise ValueError(f"{name} stands in tariff and beside it; leave one of them out")
        return self


class Exogenous(NamedTuple):
    """Tariff [$/MWh], and power that enters the metered branch at its from bus [MW]: import is positive.

    Of `p_branch_mw`, `p_net_mw` is what no other meter behind this one reads.
    """

    retail_per_mwh: Array
    feed_in_per_mwh: Array
    p_branch_mw: Array
    p_net_mw: Array


def step(
    xp: Namespace, params: Settings, state: NoColumns, command: NoColumns, exogenous: Exogenous, dt_h: float
) -> tuple[NoColumns, Injection]:
    """A meter injects nothing; it reads what the power flow finds."""
    zero = exogenous.p_branch_mw * 0.0
    return state, Injection(zero, zero)


def money(
    xp: Namespace, params: Settings, state: NoColumns, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Imported energy at retail minus exported energy at feed-in [$]: ``(r max(p, 0) - f max(-p, 0)) dt``.

    `p` is what passes this meter and none behind it, so that every unit of energy is paid at one meter.
    """
    bought = exogenous.retail_per_mwh * xp.maximum(exogenous.p_net_mw, 0.0)
    sold = exogenous.feed_in_per_mwh * xp.maximum(-exogenous.p_net_mw, 0.0)
    return ((bought - sold) * dt_h,)


def violation(
    xp: Namespace, params: Settings, state: NoColumns, injection: Injection, exogenous: Exogenous, dt_h: float
) -> tuple[Array, ...]:
    """Import above the limit, in percent of the limit, priced by percent and hour [$]."""
    excess_percent = 100.0 * xp.maximum(exogenous.p_branch_mw - params.import_max_mw, 0.0) / params.import_max_mw
    return (params.import_limit_cost_per_percent_h * excess_percent * dt_h,)


def tariff_series(feed_in_share: float, retail_adder_per_mwh: float) -> tuple[str, str]:
    """Names of the retail and the feed-in price series of a tariff."""
    return f"retail_per_mwh:{retail_adder_per_mwh:g}", f"feed_in_per_mwh:{feed_in_share:g}"


@register_device("GridConnection", aliases=("Grid", "grid"))
class GridConnection(DeviceAgent, from_module=True):
    """Meter at a point of common coupling.

    `bus` names the metered branch, whose from bus faces the utility, or is empty for the network's source. Energy is
    paid once, at this meter. The settings of the tariff make the two price series; the kernels read these.
    """

    role = "meter"
    default_policy = "rule_based"
    money_names = ("grid",)
    violation_names = ("import_limit",)
    tariff_name = ""
    """Name of a tariff in a file that it has in place of its settings; empty for none."""

    @property
    def tariff(self) -> tuple[float, float]:
        """Share of the market price paid for exports [1], and charge on imports above it [$/MWh]."""
        share, adder = self._own_tariff()
        return FEED_IN_SHARE if share is None else share, RETAIL_ADDER if adder is None else adder

    @property
    def has_tariff(self) -> bool:
        """Whether its settings name a tariff, or a part of one."""
        return any(part is not None for part in self._own_tariff())

    def take_tariff(self, feed_in_share: float, retail_adder_per_mwh: float) -> None:
        """Use a tariff where the settings name none of their own."""
        share, adder = self._own_tariff()
        self.settings = self.settings.model_copy(
            update={
                "tariff": None,
                "feed_in_share": feed_in_share if share is None else share,
                "retail_adder_per_mwh": retail_adder_per_mwh if adder is None else adder,
            }
        )

    def take_file(self, name: str) -> None:
        """Use the price series of a tariff in a file."""
        self.tariff_name = name

    def _own_tariff(self) -> tuple[float | None, float | None]:
        settings = self.settings
        own = settings.tariff or OwnTariff()
        return (
            own.feed_in_share if settings.feed_in_share is None else settings.feed_in_share,
            own.retail_adder if settings.retail_adder_per_mwh is None else settings.retail_adder_per_mwh,
        )

    def series(self) -> dict[str, str]:
        """The two price series that the tariff makes of the market price, or those of a tariff in a file."""
        retail, feed_in = tariff_series(*self.tariff)
        if self.tariff_name:
            retail, feed_in = f"retail_per_mwh:{self.tariff_name}", f"feed_in_per_mwh:{self.tariff_name}"
        return {
            "retail_per_mwh": retail,
            "feed_in_per_mwh": feed_in,
            "p_branch_mw": "p_branch_mw",
            "p_net_mw": "p_net_mw",
        }
