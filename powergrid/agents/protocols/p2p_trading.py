"""Peer-to-peer energy trading: one double auction a tick on metered energy."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field

from powergrid.agents.protocol import HorizontalProtocol, ProtocolSettings
from powergrid.core.backend import running_maximum
from powergrid.core.types import Array, Entry, Tariff
from powergrid.plugins import register_protocol

_NONE = 1e9
"""Stands for "no price" in minima and maxima over executed orders."""
_TINY_MWH = 1e-7
"""Energy below a tenth of a watt-hour is rounding of the sums, not an executed order that may move the price."""


class Settings(ProtocolSettings):
    """What a person says about the market."""

    pricing: Literal["uniform"] = Field("uniform", description="one price for all trades of a tick")
    max_energy_mwh: float = Field(10.0, gt=0, description="bound of the traded energy in observations [MWh]")


class State(NamedTuple):
    """Limit prices and tariff of the running tick, and the last clearing: price [$/MWh] and energy bought [MWh]."""

    limit_per_mwh: Array
    retail_per_mwh: Array
    feed_in_per_mwh: Array
    price_per_mwh: Array
    bought_mwh: Array


class Clearing(NamedTuple):
    """Result of one auction: price [$/MWh] ``(*batch,)`` (zero without trade) and energy bought [MWh] ``(*batch, members)``."""

    price_per_mwh: Array
    bought_mwh: Array


def _at(xp: Any, values: Array, order: Array) -> Array:
    """Values in the given order along the last axis."""
    return values[order] if values.ndim == 1 else xp.take_along_axis(values, order, axis=-1)


def _executed(energy: Array, before: Array, size: Array, volume: Array, xp: Any) -> Array:
    """What `volume` leaves for orders of a group of equal price, shared pro rata, when `before` MWh are served first."""
    left = volume[..., None] - before
    share = xp.where(left > _TINY_MWH, xp.minimum(left / xp.where(size > 0.0, size, 1.0), 1.0), 0.0)
    return share * energy


def clear(xp: Any, limit_per_mwh: Array, metered_mwh: Array) -> Clearing:
    """Double auction with one order a member: importers bid, exporters offer, at their limit prices.

    The executed volume is the largest ``min(demand at or above p, supply at or below p)``, which is the welfare optimum;
    the price is ``(lowest executed bid + highest executed offer) / 2``. Prices are compared rounded to 1e-6.

    Parameters
    ----------
    limit_per_mwh, metered_mwh
        ``(*batch, members)``; energy is positive for import.
    """
    members = limit_per_mwh.shape[-1]
    limit = xp.round(limit_per_mwh, 6)
    both = xp.concatenate([limit, limit], axis=-1)
    order = xp.argsort(both, axis=-1, stable=True)  # of equal prices, offers come before bids
    zero = metered_mwh * 0.0
    price = _at(xp, both, order)
    offers = _at(xp, xp.concatenate([xp.maximum(-metered_mwh, 0.0), zero], axis=-1), order)
    bids = _at(xp, xp.concatenate([zero, xp.maximum(metered_mwh, 0.0)], axis=-1), order)
    supplied, wanted = xp.cumsum(offers, axis=-1), xp.cumsum(bids, axis=-1)
    demand = wanted[..., -1:]
    volume = xp.max(xp.where(bids > 0.0, xp.minimum(supplied, demand - wanted + bids), 0.0), axis=-1)

    change = price[..., 1:] != price[..., :-1]
    edge = xp.ones_like(change[..., :1])
    starts, ends = xp.concatenate([edge, change], axis=-1), xp.concatenate([change, edge], axis=-1)
    sold_before, sold_through = _group(xp, starts, ends, supplied - offers, supplied)
    bid_before, bid_through = _group(xp, starts, ends, wanted - bids, wanted)
    sold = _executed(offers, sold_before, sold_through - sold_before, volume, xp)
    bought = _executed(bids, demand - bid_through, bid_through - bid_before, volume, xp)
    lowest_bid = xp.min(xp.where(bought > 0.0, price, _NONE), axis=-1)
    highest_offer = xp.max(xp.where(sold > 0.0, price, -_NONE), axis=-1)
    traded = (lowest_bid < _NONE) & (highest_offer > -_NONE)
    executed = _at(xp, bought - sold, xp.argsort(order, axis=-1, stable=True))
    return Clearing(
        xp.where(traded, 0.5 * (lowest_bid + highest_offer), 0.0), executed[..., :members] + executed[..., members:]
    )


def _group(xp: Any, starts: Array, ends: Array, before: Array, through: Array) -> tuple[Array, Array]:
    """Cumulated energy before and through each group of equal prices, spread over the group."""
    first = running_maximum(xp, xp.where(starts, before, 0.0))
    last = -running_maximum(xp, xp.where(ends, -through, -_NONE)[..., ::-1])[..., ::-1]
    return first, last


def _with_utility(xp: Any, received: Array) -> Array:
    return xp.concatenate([received, -xp.sum(received, axis=-1)[..., None]], axis=-1)


@register_protocol("p2p_trading", aliases=("p2p", "peer_to_peer"))
class PeerToPeerTrading(HorizontalProtocol):
    """Each member posts one limit price between feed-in and retail; its metered net energy is the quantity.

    The auction clears after the power flow, so nobody can sell energy that did not arrive. What the auction leaves is
    settled with the utility at the retail or feed-in price. Bidding one's true marginal value is not optimal in such an
    auction: a uniform price halfway between the marginal orders rewards shading the limit towards the other side.
    """

    Settings, State = Settings, State

    def action_entries(self) -> tuple[Entry, ...]:
        """The limit price as a share of the band between feed-in (0) and retail (1)."""
        return (Entry("limit_price", "1", 0.0, 1.0),)

    def observation_entries(self) -> tuple[Entry, ...]:
        """Last clearing price and energy bought."""
        bound = self.settings.max_energy_mwh
        return Entry("p2p_price", "$/MWh", 0.0, 10_000.0), Entry("p2p_bought", "MWh", -bound, bound)

    def initial(self, xp: Any, batch: tuple[int, ...], members: int, dtype: Any) -> State:
        """No trade yet."""
        zero = xp.zeros((*batch, members), dtype=dtype)
        return State(zero, zero, zero, zero, zero)

    @staticmethod
    def before(xp: Any, params: Any, state: State, orders: Array, tariff: Tariff) -> State:
        """Turn shares into limit prices [$/MWh]."""
        band = tariff.retail_per_mwh - tariff.feed_in_per_mwh
        limit = tariff.feed_in_per_mwh + orders[..., 0] * band
        return state._replace(
            limit_per_mwh=limit, retail_per_mwh=tariff.retail_per_mwh, feed_in_per_mwh=tariff.feed_in_per_mwh
        )

    @staticmethod
    def after(xp: Any, params: Any, state: State, metered_mwh: Array) -> tuple[State, Array, Array]:
        """Clear, pay the trades at one price and the rest at the tariff."""
        cleared = clear(xp, state.limit_per_mwh, metered_mwh)
        price = cleared.price_per_mwh[..., None]
        rest = metered_mwh - cleared.bought_mwh
        paid = state.retail_per_mwh * xp.maximum(rest, 0.0) + state.feed_in_per_mwh * xp.minimum(rest, 0.0)
        seen = state._replace(price_per_mwh=price + 0.0 * metered_mwh, bought_mwh=cleared.bought_mwh)
        return seen, _with_utility(xp, -price * cleared.bought_mwh), _with_utility(xp, -paid)

    @staticmethod
    def observe(xp: Any, state: State) -> Array:
        """Last clearing price and own energy bought."""
        return xp.stack([state.price_per_mwh, state.bought_mwh], axis=-1)
