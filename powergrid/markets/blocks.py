"""Offers and bids: blocks of power at a price."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.core.errors import ArgumentError
from powergrid.core.types import Array


class Blocks(NamedTuple):
    """Blocks of power at a price, each the most that a participant sells or buys at that price or a better one.

    Attributes
    ----------
    quantity_mw
        Width of each block [MW], ``(*batch, n)``; 0 where a participant has nothing to offer.
    price_per_mwh
        Least price that a seller accepts, most that a buyer pays [$/MWh], ``(*batch, n)``.
    """

    quantity_mw: Array
    price_per_mwh: Array


def quadratic_blocks(linear_per_mwh: Array, quadratic_per_mw2h: Array, p_max_mw: Array, count: int) -> Blocks:
    """Blocks that follow a quadratic cost ``c1 p + c2 p^2`` from zero to the largest power.

    Blocks are of equal width and priced at the marginal cost ``c1 + 2 c2 p`` in their middle, which gives every block
    its exact cost. The price is off by at most ``c2 p_max / count``.

    Parameters
    ----------
    linear_per_mwh
        `c1` [$/MWh], ``(n,)``.
    quadratic_per_mw2h
        `c2` [$/MW^2 h], ``(n,)``; not negative, as the blocks of a falling marginal cost have no order.
    p_max_mw
        Largest power [MW], ``(n,)``.
    count
        Blocks for each of the `n` costs.

    Returns
    -------
    Blocks
        ``(n * count,)`` columns, all blocks of the first cost, then those of the second.

    Raises
    ------
    ArgumentError
        If a quadratic cost is negative, or `count` is below 1.
    """
    if count < 1:
        raise ArgumentError(f"count = {count}; at least 1 block is needed")
    linear, quadratic, most = (
        np.asarray(column, float) for column in np.broadcast_arrays(linear_per_mwh, quadratic_per_mw2h, p_max_mw)
    )
    if np.any(quadratic < 0):
        raise ArgumentError(
            f"quadratic_per_mw2h = {quadratic.min():g}; blocks follow only costs that do not fall: give 0 or more"
        )
    middle = (np.arange(count) + 0.5) / count * most[..., None]
    price = linear[..., None] + 2.0 * quadratic[..., None] * middle
    return Blocks(np.repeat(most / count, count), price.ravel())
