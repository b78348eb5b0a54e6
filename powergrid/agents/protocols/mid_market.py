"""Mid-market rate: members pool their metered energy at the mean of retail and feed-in price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from powergrid.agents.protocol import (
    Added,
    Channel,
    Context,
    HorizontalProtocol,
    Member,
    ProtocolSettings,
    Trades,
)
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_PRICE_BOUND = 10_000.0
"""Bound of the pool's price in observations [$/MWh]."""


class Settings(ProtocolSettings):
    """Parameters of the pool."""

    max_energy_mwh: float = Field(10.0, gt=0, description="bound of the pooled energy in observations [MWh]")


class Sent(NamedTuple):
    """Price of the pool in the last tick [$/MWh], 0 where nothing was pooled, and energy bought from it [MWh]."""

    pool_price: Array
    pool_bought: Array


class Paid(NamedTuple):
    """What members pay their peers, and what they pay the utility [$]."""

    p2p: Array
    grid: Array


class Pool(NamedTuple):
    """Price [$/MWh] ``(*batch, 1)``, zero where nothing is pooled, and energy bought [MWh] ``(*batch, members)``."""

    price_per_mwh: Array
    bought_mwh: Array


def pool(xp: Namespace, retail_per_mwh: Array, feed_in_per_mwh: Array, metered_mwh: Array) -> Pool:
    """Share the smaller of all import and all export among the members, in proportion to what each imports or exports.

    The price is the mean of the highest feed-in and the lowest retail price of the members. Where these leave no band,
    which takes members with different tariffs, nothing is pooled: some member would lose.

    Parameters
    ----------
    retail_per_mwh, feed_in_per_mwh, metered_mwh
        ``(*batch, members)``; energy is positive for import.
    """
    low = xp.max(feed_in_per_mwh, axis=-1, keepdims=True)
    high = xp.min(retail_per_mwh, axis=-1, keepdims=True)
    imports, exports = xp.maximum(metered_mwh, 0.0), xp.maximum(-metered_mwh, 0.0)
    demand, supply = xp.sum(imports, axis=-1, keepdims=True), xp.sum(exports, axis=-1, keepdims=True)
    volume = xp.minimum(demand, supply) * (high >= low)
    bought = imports * (volume / xp.where(demand > 0.0, demand, 1.0))
    sold = exports * (volume / xp.where(supply > 0.0, supply, 1.0))
    return Pool(0.5 * (low + high) * (volume > 0.0), bought - sold)


def _with_utility(xp: Namespace, paid: Array) -> Array:
    """Payments with the utility's behind them, which receives what members pay."""
    return xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)


@register_protocol("mid_market", aliases=("mid_market_rate",))
class MidMarketRate(HorizontalProtocol):
    r"""Members pool their metered energy; the pool's price is the mean of retail and feed-in price.

    With import :math:`D = \sum_k \max(E_k, 0)` and export :math:`G = \sum_k \max(-E_k, 0)` of all members in a tick,
    the pool moves :math:`V = \min(D, G)` at :math:`p = (p_\text{feed-in} + p_\text{retail}) / 2`. Each importer buys
    its share :math:`V / D` of its import from the pool, each exporter sells :math:`V / G` of its export to it, and the
    rest is settled with the utility at each member's own tariff. So importers pay :math:`p` in a surplus and
    :math:`(V p + (D - V) p_\text{retail}) / D` on average in a deficit, and exporters alike, as in Long, Wu, Zhang,
    Thomas, Cheng and Jenkins, "Peer-to-peer energy trading in a community microgrid", IEEE PES General Meeting (2017).

    Nobody pays more or receives less than at its tariff alone, in any tick. Members choose nothing in the pool: its
    price follows the tariff, not how much is offered or wanted, and it does not know what the network can carry.
    Members with different tariffs get the mean of the highest feed-in and the lowest retail price; nothing is pooled in
    a tick in which the former exceeds the latter.
    """

    Settings = Settings
    settles_bills = True

    def entries(self, members: Sequence[Member]) -> Added:
        """Price and energy of the last tick; what is paid to peers and to the utility."""
        bound = self.settings.max_energy_mwh
        return Added(
            channels=(
                Channel("pool_price", "$/MWh", -_PRICE_BOUND, _PRICE_BOUND),
                Channel("pool_bought", "MWh", -bound, bound),
            ),
            money_names=Paid._fields,
        )

    @staticmethod
    def trades(state: Any, sent: Mapping[str, Array]) -> Trades:
        """Energy bought and price; the price is everybody's limit."""
        return Trades(sent["pool_bought"], sent["pool_price"], sent["pool_price"])

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Any, metered_mwh: Array) -> tuple[Any, Sent, Paid, tuple[()]]:
        """Settle the pool, and the rest at the tariff."""
        price, bought = pool(xp, ctx.retail_per_mwh, ctx.feed_in_per_mwh, metered_mwh)
        rest = metered_mwh - bought
        paid = ctx.retail_per_mwh * xp.maximum(rest, 0.0) + ctx.feed_in_per_mwh * xp.minimum(rest, 0.0)
        sent = Sent(price + 0.0 * metered_mwh, bought)
        return state, sent, Paid(_with_utility(xp, price * bought), _with_utility(xp, paid)), ()
