"""Price markup: the parent adds to the price that holds for itself, and broadcasts the sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field

from powergrid.agents.protocol import Action, Added, Channel, Context, Member, Position, ProtocolSettings, memberwise
from powergrid.agents.protocols.price_signal import PriceSignalProtocol, Sent
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_LARGEST = 10_000.0  # a price lies within these bounds where agents observe it [$/MWh]


class Settings(ProtocolSettings):
    """Parameters of a price markup."""

    markup_max_per_mwh: float = Field(50.0, gt=0, description="largest markup, and largest discount [$/MWh]")


class Bounds(NamedTuple):
    """Largest markup [$/MWh]."""

    markup_max_per_mwh: float


class Markup(NamedTuple):
    """The markup on the parent's own price [$/MWh]."""

    markup: Array


@register_protocol("price_markup")
class PriceMarkupProtocol(PriceSignalProtocol):
    r"""The parent's action is a markup [$/MWh]; its children respond to its own price plus the markup.

    With the price :math:`\lambda` that holds for the parent, the market's or that of a parent above, the children see
    :math:`\pi = \lambda + a` and respond to it as to a ``price_signal``. A markup of 0 leaves them as they would be
    without a parent, so that a parent that learns begins where a parent with a rule stands, and a markup of a parent
    above reaches all levels below it. Prices by place and hour that deviate from one price are the form of a
    locational adder: Schweppe, Caramanis, Tabors and Bohn, "Spot Pricing of Electricity", Kluwer (1988), chapter 3.
    Nobody is paid for following it: bills are those of the meters.
    """

    Settings, Params, Orders = Settings, Bounds, Markup  # type: ignore[assignment]

    def entries(self, members: Sequence[Member]) -> Added:
        """The markup, as an action of the parent, and the price as a signal."""
        largest = self.settings.markup_max_per_mwh
        markup = Action("markup", "$/MWh", -largest, largest)
        price = Channel("signal_price", "$/MWh", -_LARGEST, _LARGEST, 0.0, each=False, stands_for="price_per_mwh")
        return Added(actions=(markup,), channels=(price,))

    @staticmethod
    @memberwise
    def before(  # type: ignore[override]
        xp: Namespace, ctx: Context, state: Any, orders: Markup
    ) -> tuple[Any, Sent, Array]:
        """Send the price."""
        return state, Sent(ctx.price_per_mwh + orders.markup), ctx.governed

    @staticmethod
    def rule(xp: Namespace, ctx: Context, state: Any, position: Position) -> Markup:  # type: ignore[override]
        """No markup."""
        return Markup(xp.zeros_like(ctx.price_per_mwh))
