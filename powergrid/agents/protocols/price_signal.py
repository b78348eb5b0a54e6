"""Price signal: the parent broadcasts one price, to which its children respond."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    Member,
    Members,
    Position,
    VerticalProtocol,
)
from powergrid.agents.protocols._links import (
    MAX_AGE_S,
    LinkSettings,
    OverLinks,
    OverMessages,
    Queue,
    age_s,
    deliver,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol


class Settings(OverMessages):
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

    def over(self, links: LinkSettings) -> PriceSignalProtocol:
        """The price over links with a delay and a loss; the same where they have neither."""
        return self if links.are_ideal else PriceOverLinks(links, self.settings)


class Radio(NamedTuple):
    """Length of a tick [s], distribution of delays, largest age [s], and the price before anything arrives [$/MWh]."""

    dt_s: float
    distribution: float
    max_age_s: float
    default_per_mwh: float


class Received(NamedTuple):
    """The price that has reached each child [$/MWh], and its age [s]."""

    signal_price: Array
    signal_price_age: Array


class PriceOverLinks(OverLinks, PriceSignalProtocol):
    """The parent sends the price to each child when it decides; the newest one that has arrived holds there."""

    Params: ClassVar[Any] = Radio
    State: ClassVar[Any] = Queue

    def params(self) -> Radio:
        """Timing, and the price that holds at first."""
        low, high = self.settings.price_min_per_mwh, self.settings.price_max_per_mwh
        return Radio(self._dt_s, self.links.distribution, MAX_AGE_S, 0.5 * (low + high))

    def entries(self, members: Members) -> Added:  # type: ignore[override]
        """The price as an action of the parent, and what each child knows of it."""
        actions, (price,) = super().entries(members)[:2]
        age = Channel("signal_price_age", "s", 0.0, MAX_AGE_S, MAX_AGE_S)
        carried = self.carried(members, each=False)
        return Added(actions=actions, channels=(price._replace(each=True), age), **carried)

    @staticmethod
    def before(  # type: ignore[override]
        xp: Namespace, ctx: Context, state: Queue, orders: Price
    ) -> tuple[Queue, Received, Array]:
        """Send the price where the parent decides, and deliver."""
        after = deliver(xp, ctx, state, orders.price, xp.take(ctx.due, ctx.tables.sender, axis=-1))
        price = xp.where(after.sent_at < 0.0, ctx.params.default_per_mwh, after.shown)
        return after, Received(price, age_s(xp, ctx, after.sent_at)), ctx.governed
