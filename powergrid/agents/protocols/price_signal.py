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
    memberwise,
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

    price_min_per_mwh: float = Field(
        0.0, description="lowest price the parent may send; its own price where that is lower [$/MWh]"
    )
    price_max_per_mwh: float = Field(
        200.0, description="highest price the parent may send; its own price where that is higher [$/MWh]"
    )
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


class Bounds(NamedTuple):
    """Lowest and highest price [$/MWh]."""

    price_min_per_mwh: float
    price_max_per_mwh: float


class Price(NamedTuple):
    """The price [$/MWh]."""

    price: Array


class Sent(NamedTuple):
    """The price [$/MWh]."""

    signal_price: Array


@register_protocol("price_signal")
class PriceSignalProtocol(VerticalProtocol):
    r"""The parent's action is one price [$/MWh]; everybody below it responds to it instead of the market price.

    The price takes the place of the market price in the tariff of each child's meter, whose network and retail parts
    are still due. With the market price :math:`\lambda` and the signal :math:`\pi`, one more MWh from the grid costs
    a child, and one more into it earns,

    .. math:: p_\text{retail} + \pi - \lambda, \qquad p_\text{feed-in} + \pi - \lambda.

    These are the prices that its rule compares with its marginal cost. A rate made of a spot price and a part for the
    network, which the buyer alone pays, is that of Schweppe, Caramanis, Tabors and Bohn, "Spot Pricing of Electricity",
    Kluwer (1988), chapter 3. Nobody is paid for following a signal: bills are those of the meters.

    A parent with a rule passes on the price that holds for itself, the market's or that of a parent above: its children
    then act as they would without a parent. In hours of scarcity that price lies above the range of the action. The
    upper end of the range therefore means the price that holds for the parent where that is higher, and the lower end
    likewise where it is lower. A parent that plans sends the price at
    which the marginal value of energy behind its meter is what its children pay or earn. A parent that commands its
    children anyway (``policy: centralized``) sends the market price.
    """

    Settings, Params, Orders = Settings, Bounds, Price

    def entries(self, members: Sequence[Member]) -> Added:
        """The price, as an action of the parent and as a signal."""
        low, high = self.settings.price_min_per_mwh, self.settings.price_max_per_mwh
        price = Channel("signal_price", "$/MWh", low, high, 0.5 * (low + high), each=False, stands_for="price_per_mwh")
        return Added(actions=(Action("price", "$/MWh", low, high, meaning="price"),), channels=(price,))

    @staticmethod
    @memberwise
    def before(xp: Namespace, ctx: Context, state: Any, orders: Price) -> tuple[Any, Sent, Array]:
        """Send the price."""
        return state, Sent(reaching(xp, ctx, orders.price)), ctx.governed

    @staticmethod
    @memberwise
    def rule(xp: Namespace, ctx: Context, state: Any, position: Position) -> Price:
        """Pass on the price that holds for the parent itself."""
        return Price(ctx.price_per_mwh)

    def over(self, links: LinkSettings) -> PriceSignalProtocol:
        """The price over links with a delay and a loss; the same where they have neither."""
        return self if links.are_ideal else PriceOverLinks(links, self.settings)


def reaching(xp: Namespace, ctx: Context, price_per_mwh: Array) -> Array:
    """What a parent sends [$/MWh]: at an end of its range, its own price where that lies beyond."""
    low, high = ctx.params.price_min_per_mwh, ctx.params.price_max_per_mwh
    nearly = 1e-6 * (high - low)
    beyond = xp.where(price_per_mwh >= high - nearly, xp.maximum(price_per_mwh, ctx.price_per_mwh), price_per_mwh)
    return xp.where(price_per_mwh <= low + nearly, xp.minimum(price_per_mwh, ctx.price_per_mwh), beyond)


class Radio(NamedTuple):
    """The bounds [$/MWh], and the length of a tick [s], the distribution of delays and the largest age [s].

    The last is the price before anything arrives [$/MWh].
    """

    price_min_per_mwh: float
    price_max_per_mwh: float
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
        """Bounds, timing, and the price that holds at first."""
        low, high = self.settings.price_min_per_mwh, self.settings.price_max_per_mwh
        return Radio(low, high, self._dt_s, self.links.distribution, MAX_AGE_S, 0.5 * (low + high))

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
        numbers = reaching(xp, ctx, orders.price)
        after = deliver(xp, ctx, state, numbers, xp.take(ctx.due, ctx.tables.sender, axis=-1))
        price = xp.where(after.sent_at < 0.0, ctx.params.default_per_mwh, after.shown)
        return after, Received(price, age_s(xp, ctx, after.sent_at)), ctx.governed
