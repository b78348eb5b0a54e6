"""Peer-to-peer energy trading: one double auction a tick on metered energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from powergrid.agents.protocol import (
    Action,
    Added,
    Channel,
    Context,
    HorizontalProtocol,
    Member,
    Position,
    ProtocolSettings,
    Trades,
)
from powergrid.core.backend import Namespace, may_hold, tied_sums, ties, unsorted
from powergrid.core.errors import ConfigError, Issue, nearest
from powergrid.core.types import Array
from powergrid.plugins import register_protocol

_NONE = 1e9
"""Added to a price [$/MWh] to leave it out of a minimum over executed orders, subtracted for a maximum."""
_TINY_MWH = 1e-7
"""Energy below a tenth of a watt-hour is rounding of the sums, not an executed order that may move the price."""
_ROUNDING = 16.0
"""The same in units in the last place of all demand, which is more where float32 sums many MWh."""
_Limit = Annotated[float, Field(ge=0)]


class Settings(ProtocolSettings):
    """Parameters of the market."""

    pricing: Literal["uniform", "pay_as_bid"] = Field(
        "uniform", description="one price for all trades of a tick, or each matched pair at its midpoint"
    )
    max_energy_mwh: float = Field(10.0, gt=0, description="bound of the traded energy in observations [MWh]")
    pcc_limit_mw: _Limit | dict[str, _Limit] | None = Field(
        None,
        description="most power that a member may trade at its point of common coupling, either way: one limit for all "
        "members, or one by name; no limit where none is given [MW]",
    )


class Pricing(NamedTuple):
    """Whether each matched pair settles at its own midpoint (1) or all trades at one price (0)."""

    pay_as_bid: float


class Tables(NamedTuple):
    """Most power that each member may trade [MW], ``(members,)``; infinite without a limit."""

    pcc_limit_mw: np.ndarray


class Limits(NamedTuple):
    """Limit prices of the running tick [$/MWh], ``(*batch, members)``."""

    limit_per_mwh: Array


class LimitPrice(NamedTuple):
    """The limit price as a share of the band between feed-in (0) and retail (1)."""

    limit_price: Array


class Sent(NamedTuple):
    """Mean price of the last clearing [$/MWh], 0 where nobody traded, and energy bought [MWh]."""

    p2p_price: Array
    p2p_bought: Array


class Paid(NamedTuple):
    """What members pay their peers, and what they pay the utility [$]."""

    p2p: Array
    grid: Array


class Clearing(NamedTuple):
    """Uniform price [$/MWh] ``(*batch, 1)``, zero without trade, and energy bought [MWh] ``(*batch, members)``."""

    price_per_mwh: Array
    bought_mwh: Array


def _at(xp: Namespace, values: Array, order: Array) -> Array:
    """Values in the given order along the last axis."""
    return xp.take_along_axis(values, order, axis=-1)


def _without_crumbs(xp: Namespace, volume: Array, sold: Array, bid: Array, tiny: Array) -> Array:
    """Largest volume up to `volume` at which no group of orders, from its start on, executes less than `tiny`.

    Groups start where so much has been `sold` and `bid` before them.
    """
    ends = xp.sort(xp.concatenate((sold, bid, volume), axis=-1), axis=-1)
    below, ends = ends[..., :-1], ends[..., 1:]
    return xp.max(ends * (ends <= volume) * (ends - below > tiny), axis=-1, keepdims=True)


def clear(xp: Namespace, limit_per_mwh: Array, metered_mwh: Array) -> Clearing:
    """Double auction with one order a member: importers bid, exporters offer, at their limit prices.

    The executed volume is the largest ``min(demand at or above p, supply at or below p)``, which is the welfare
    optimum; the price is ``(lowest executed bid + highest executed offer) / 2``. Prices are compared rounded to 1e-6.

    Parameters
    ----------
    limit_per_mwh, metered_mwh
        ``(*batch, members)``; energy is positive for import.
    """
    least, most = xp.min(metered_mwh, axis=-1, keepdims=True), xp.max(metered_mwh, axis=-1, keepdims=True)
    if not may_hold(xp, (least < 0.0) & (most > 0.0)):  # nobody sells, or nobody buys
        return Clearing(xp.zeros_like(metered_mwh[..., :1]), xp.zeros_like(metered_mwh))
    limit = xp.round(limit_per_mwh, 6)
    order = xp.argsort(limit, axis=-1, stable=True)
    price, energy = _at(xp, limit, order), _at(xp, metered_mwh, order)
    bids, offers = xp.maximum(energy, 0.0), xp.maximum(-energy, 0.0)
    groups = ties(xp, price)
    sold_before, sold_through = tied_sums(xp, groups, offers)
    bid_below, bid_through = tied_sums(xp, groups, bids)
    demand = bid_through[..., -1:]
    bid_before = demand - bid_through  # the dearest bids are served first, as are the cheapest offers
    volume = xp.max(xp.minimum(sold_through, demand - bid_below), axis=-1, keepdims=True)
    tiny = _TINY_MWH + _ROUNDING * xp.finfo(metered_mwh.dtype).eps * demand
    volume = _without_crumbs(xp, volume, sold_before, bid_before, tiny)
    # orders of equal price share what the volume leaves for them pro rata; fewer than tiny are served in full or not
    executed = bids * xp.minimum(
        xp.maximum(volume - bid_before, 0.0) / xp.maximum(bid_through - bid_below, tiny), 1.0
    ) - offers * xp.minimum(xp.maximum(volume - sold_before, 0.0) / xp.maximum(sold_through - sold_before, tiny), 1.0)
    lowest_bid = xp.min(price + _NONE * (executed <= 0.0), axis=-1, keepdims=True)
    highest_offer = xp.max(price - _NONE * (executed >= 0.0), axis=-1, keepdims=True)
    return Clearing(
        0.5 * (lowest_bid + highest_offer) * (volume > 0.0),
        unsorted(xp, executed, order),
    )


def pay_as_bid(xp: Namespace, limit_per_mwh: Array, bought_mwh: Array) -> Array:
    """Payments [$] if executed orders meet in order of price and each matched pair settles at its midpoint.

    The highest bid meets the lowest offer first. Orders of equal price meet the same counterparts, each for its share,
    so that a buyer pays half of its own limit and half of what the offers it meets ask for; sellers alike.

    Parameters
    ----------
    limit_per_mwh, bought_mwh
        Limits, not negative, and executed energy of :func:`clear`, ``(*batch, members)``.

    Returns
    -------
    Array
        ``(*batch, members)``, negative for sellers; rows sum to zero.
    """
    limit = xp.round(limit_per_mwh, 6)
    order = xp.argsort(limit, axis=-1, stable=True)
    price, energy = _at(xp, limit, order), _at(xp, bought_mwh, order)
    bids, offers = xp.maximum(energy, 0.0), xp.maximum(-energy, 0.0)
    groups = ties(xp, price)
    paid = price * energy + _met(xp, groups, price, bids, offers) - _met(xp, groups, price, offers, bids)
    return unsorted(xp, 0.5 * paid, order)


def _met(xp: Namespace, groups: tuple[Array, Array], price: Array, own: Array, other: Array) -> Array:
    """Value [$] at its own limits of what each order of one side meets on the other, in order of price.

    Energy counts from the cheapest order on both sides, but the dearest bid meets the cheapest offer.
    """
    before, through = tied_sums(xp, groups, own)
    volume = through[..., -1:]
    met = _rise(xp, volume - through, volume - before, xp.cumsum(other, axis=-1), xp.cumsum(price * other, axis=-1))
    return own * met / xp.where(through > before, through - before, 1.0)


def _rise(xp: Namespace, start: Array, end: Array, knots: Array, values: Array) -> Array:
    """Rise from `start` to `end` of the rising line from the origin through sorted `knots` with their `values`."""
    width, origin = knots.shape[-1], 0.0 * knots[..., :1]
    place = xp.concatenate((start, end), axis=-1)
    order = xp.argsort(xp.concatenate((knots, place), axis=-1), axis=-1, stable=True)
    passed = unsorted(xp, xp.cumsum(order < width, axis=-1), order)[..., width:]
    knots = xp.concatenate((origin, knots, knots[..., -1:]), axis=-1)
    values = xp.concatenate((origin, values, values[..., -1:]), axis=-1)
    left, low = _at(xp, knots, passed), _at(xp, values, passed)
    length, rise = _at(xp, knots, passed + 1) - left, _at(xp, values, passed + 1) - low
    line = low + rise / xp.where(length > 0.0, length, 1.0) * (place - left)
    return line[..., width:] - line[..., :width]


def _with_utility(xp: Namespace, paid: Array) -> Array:
    """Payments with the utility's behind them, which receives what members pay."""
    return xp.concatenate((paid, -xp.sum(paid, axis=-1, keepdims=True)), axis=-1)


@register_protocol("p2p_trading", aliases=("p2p", "peer_to_peer"))
class PeerToPeerTrading(HorizontalProtocol):
    r"""Each member posts one limit price between feed-in and retail; its metered net energy is the quantity.

    The auction clears after the power flow, so nobody can sell energy that did not arrive. What the auction leaves is
    settled with the utility at the retail or feed-in price. Bidding one's true marginal value is not optimal in such an
    auction: a price halfway between two orders rewards shading the limit towards the other side, the more so under
    ``pay_as_bid``, where every trade's price depends on the own limit.

    With `pcc_limit_mw` :math:`L_k` the order of member :math:`k`, whose point of common coupling exchanges the energy
    :math:`E_k` in a tick of length :math:`\Delta t`, has the quantity

    .. math:: \min(\max(E_k, -L_k \Delta t), L_k \Delta t)

    before the auction clears, so no trade puts more than :math:`L_k` on its connection in either direction. What a
    member exchanges beyond it is settled with the utility; the limit is on trades and changes no command. Limits of the
    network between members, as in Guerrero, Chapman and Verbic, "Decentralized P2P energy trading under network
    constraints in a low-voltage network", IEEE Trans. Smart Grid 10(5), 2019, are not checked trade by trade.
    """

    Settings, Params, State, Orders = Settings, Pricing, Limits, LimitPrice
    settles_bills = True

    def params(self) -> Pricing:
        """How trades are priced."""
        return Pricing(float(self.settings.pricing == "pay_as_bid"))

    def entries(self, members: Sequence[Member]) -> Added:
        """A limit price each; last clearing price and energy bought; what is paid to peers and to the utility.

        Raises
        ------
        ConfigError
            If `pcc_limit_mw` names somebody who is no member.
        """
        bound = self.settings.max_energy_mwh
        return Added(
            actions=(Action("limit_price", "1", 0.0, 1.0, meaning="price_share"),),
            channels=(
                Channel("p2p_price", "$/MWh", 0.0, 10_000.0, reports="trade_price"),
                Channel("p2p_bought", "MWh", -bound, bound, reports="traded_energy"),
            ),
            money_names=Paid._fields,
            tables=Tables(self._pcc_limits([member.id for member in members])),
        )

    def _pcc_limits(self, ids: Sequence[str]) -> np.ndarray:
        """Most power that each member may trade [MW]."""
        given = self.settings.pcc_limit_mw
        if not isinstance(given, dict):
            return np.full(len(ids), np.inf if given is None else given)
        issues = [
            Issue(
                "protocols",
                f'p2p_trading: pcc_limit_mw: "{name}" is no member',
                nearest(name, ids) or f"members: {', '.join(ids)}",
            )
            for name in given
            if name not in ids
        ]
        if issues:
            raise ConfigError(issues)
        return np.array([given.get(id, np.inf) for id in ids], dtype=float)

    @staticmethod
    def trades(state: Limits, sent: Mapping[str, Array]) -> Trades:
        """Energy bought, price and limits."""
        return Trades(sent["p2p_bought"], sent["p2p_price"], state.limit_per_mwh)

    @staticmethod
    def before(xp: Namespace, ctx: Context, state: Limits, orders: LimitPrice) -> tuple[Limits, tuple[()], Array]:
        """Turn shares into limit prices [$/MWh]."""
        band = ctx.retail_per_mwh - ctx.feed_in_per_mwh
        return Limits(ctx.feed_in_per_mwh + orders.limit_price * band), (), ctx.governed

    @staticmethod
    def after(xp: Namespace, ctx: Context, state: Limits, metered_mwh: Array) -> tuple[Limits, Sent, Paid, tuple[()]]:
        """Clear, pay the trades at one price or pair by pair, and the rest at the tariff."""
        most_mwh = ctx.tables.pcc_limit_mw * ctx.dt_h
        offered_mwh = xp.maximum(xp.minimum(metered_mwh, most_mwh), -most_mwh)
        cleared = clear(xp, state.limit_per_mwh, offered_mwh)
        bought, price = cleared.bought_mwh, cleared.price_per_mwh
        trades = price * bought
        if ctx.params.pay_as_bid > 0.0:
            trades = pay_as_bid(xp, state.limit_per_mwh, bought)
            volume = xp.sum(xp.maximum(bought, 0.0), axis=-1, keepdims=True)
            value = xp.sum(xp.maximum(trades, 0.0), axis=-1, keepdims=True)
            price = value / xp.where(volume > 0.0, volume, 1.0)
        rest = metered_mwh - bought
        paid = ctx.retail_per_mwh * xp.maximum(rest, 0.0) + ctx.feed_in_per_mwh * xp.minimum(rest, 0.0)
        sent = Sent(price + 0.0 * metered_mwh, bought)
        return state, sent, Paid(_with_utility(xp, trades), _with_utility(xp, paid)), ()

    @staticmethod
    def rule(xp: Namespace, ctx: Context, state: Limits, position: Position) -> LimitPrice:
        """Ask for the marginal cost of the dearest running generator."""
        band = xp.maximum(ctx.retail_per_mwh - ctx.feed_in_per_mwh, 1e-9)
        cost = xp.maximum(ctx.feed_in_per_mwh, position.marginal_cost_per_mwh)
        return LimitPrice(xp.minimum(xp.maximum((cost - ctx.feed_in_per_mwh) / band, 0.0), 1.0))

    @staticmethod
    def abstain(xp: Namespace, ctx: Context, state: Limits, position: Position) -> LimitPrice:
        """Importers bid feed-in and exporters ask retail, so that no two limits meet.

        A member in balance counts as an importer: it has losses to cover.
        """
        return LimitPrice(xp.where(position.imported_mw > -1e-6, 0.0, 1.0))
