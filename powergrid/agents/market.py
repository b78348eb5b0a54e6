"""A clearing on the network that a protocol needs, and what its kernels find of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from powergrid.core.types import Array


class Market(NamedTuple):
    """A market on the network of the environment, as a protocol declares it.

    Attributes
    ----------
    offer_bus, bid_bus
        Row of the bus of each block that is offered or bid for.
    options
        Other arguments of :func:`powergrid.markets.plan` by name.
    method
        One of :data:`powergrid.markets.METHODS`.
    """

    offer_bus: tuple[int, ...]
    bid_bus: tuple[int, ...]
    options: Mapping[str, Any]
    method: str = "ipm"


class MarketView(NamedTuple):
    """What a protocol with a market knows when it clears.

    Attributes
    ----------
    clear
        ``clear(xp, offers=, bids=, load_mw=, load_mvar=, ...)`` with the arguments of
        :func:`powergrid.markets.clear_arrays`; the plan is in it. It returns a
        :class:`powergrid.markets.Clearing`.
    load_mw, load_mvar
        What the network's own loads, less its own generation and all units that the protocol does not dispatch, draw at
        each bus in this tick [MW, Mvar], ``(*batch, buses)``.
    others_mw
        The part of `load_mw` that no meter of a member reads [MW], ``(*batch, buses)``.
    fixed_mw
        What the meters of each member read of `load_mw` [MW], ``(*batch, members)``.
    at_low_mw, at_high_mw
        What each dispatched unit injects in this tick if its command is the lowest or the highest of its range [MW],
        ``(*batch, governed)``: weather, stored energy, ramps and commitment are in it.
    price_ahead_per_mwh
        Day-ahead prices of the next hours [$/MWh], ``(*batch, hours)``.
    control
        Taps, switchable shunts and source voltage of the tick, as power-flow methods read them.
    """

    clear: Callable[..., Any]
    load_mw: Array
    load_mvar: Array
    others_mw: Array
    fixed_mw: Array
    at_low_mw: Array
    at_high_mw: Array
    price_ahead_per_mwh: Array
    control: Any
