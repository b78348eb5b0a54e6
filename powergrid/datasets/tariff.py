"""The two prices at a meter: the utility pays the feed-in price and charges the retail price."""

from __future__ import annotations

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.errors import DataError
from powergrid.core.types import Array


def tariff(
    xp: Namespace, price_per_mwh: Array, feed_in_share: Array = 0.9, retail_adder: Array = 45.0
) -> tuple[Array, Array]:
    """Feed-in and retail price for a wholesale price.

    ``feed_in = feed_in_share max(price, 0)`` and ``retail = max(price, 0) + retail_adder``. Negative wholesale prices
    count as zero on both sides.

    Parameters
    ----------
    xp
        Array namespace.
    price_per_mwh
        Wholesale price [$/MWh], any shape.
    feed_in_share
        Share of the wholesale price that is paid for fed-in energy [1].
    retail_adder
        Network charges and levies on drawn energy [$/MWh].

    Returns
    -------
    feed_in, retail
        Prices [$/MWh], shaped like `price_per_mwh`.
    """
    floor = xp.maximum(price_per_mwh, 0.0)
    return feed_in_share * floor, floor + retail_adder


def check_tariff(price_per_mwh: np.ndarray, feed_in_share: float = 0.9, retail_adder: float = 45.0) -> None:
    """Refuse a tariff with a feed-in price above the retail price, with which money could be made without limit.

    Parameters
    ----------
    price_per_mwh
        Wholesale prices [$/MWh], one per tick.
    feed_in_share, retail_adder
        As in `tariff`.

    Raises
    ------
    DataError
        If the feed-in price exceeds the retail price, or is not a number, at any tick; names the first.
    """
    price = np.atleast_1d(np.asarray(price_per_mwh, dtype=np.float64))
    feed_in, retail = tariff(np, price, feed_in_share, retail_adder)
    wrong = ~(feed_in <= retail)
    if wrong.any():
        tick = int(wrong.argmax())
        raise DataError(
            f"feed-in price {feed_in.flat[tick]:g} $/MWh exceeds the retail price {retail.flat[tick]:g} $/MWh at "
            f"{int(wrong.sum())} ticks, the first is tick {tick}; choose feed_in_share <= 1 and retail_adder >= 0 "
            f"(found {feed_in_share:g} and {retail_adder:g} $/MWh)"
        )
