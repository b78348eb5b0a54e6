"""Price signal: the parent broadcasts one price, to which its children respond."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Member,
    Position,
    ProtocolSettings,
    VerticalProtocol,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol


class Settings(ProtocolSettings):
    """Parameters of a price signal."""

    price_min_per_mwh: float = Field(0.0, description="lowest price the parent may send [$/MWh]")
    price_max_per_mwh: float = Field(200.0, description="highest price the parent may send [$/MWh]")
    update_freq: float | None = Field(None, gt=0, description="seconds between updates; the parent's interval")
    lmp_solver: Literal["none", "dcopf"] = Field("none", description="market clearing behind the price")

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if not self.price_min_per_mwh < self.price_max_per_mwh:
            raise ValueError(
                f"price_min_per_mwh {self.price_min_per_mwh} must be below price_max_per_mwh {self.price_max_per_mwh}"
            )
        if self.lmp_solver == "dcopf":
            warnings.warn(
                "lmp_solver: dcopf gives one price everywhere on a radial feeder; the price of the data is used",
                stacklevel=2,
            )
        return self


class Price(NamedTuple):
    """The price [$/MWh]."""

    price: Array


class Sent(NamedTuple):
    """The price [$/MWh]."""

    signal_price: Array


@register_protocol("price_signal")
class PriceSignalProtocol(VerticalProtocol):
    """The parent's action is one price [$/MWh]; everybody below it responds to it instead of the market price.

    A parent that commands its children anyway (``policy: centralized``) sends the market price.
    """

    Settings, Orders = Settings, Price

    def entries(self, members: Sequence[Member]) -> Added:
        """The price, as an action of the parent and as a signal."""
        low, high = self.settings.price_min_per_mwh, self.settings.price_max_per_mwh
        price = Channel("signal_price", "$/MWh", low, high, 0.5 * (low + high), each=False, stands_for="price_per_mwh")
        return Added(actions=(Action("price", "$/MWh", low, high, meaning="price"),), channels=(price,))

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Any, orders: Price) -> tuple[Any, Sent, Array]:
        """Send the price."""
        return state, Sent(orders.price), ctx.governed

    @staticmethod
    def rule(xp: Namespace, ctx: Context, state: Any, position: Position) -> Price:
        """Pass the market price on."""
        return Price(ctx.price_per_mwh)
