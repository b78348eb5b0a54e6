"""Columns have one order: everything finds them by their block's name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from small_worlds import config

from powergrid.engine.blocks import Blocks
from powergrid.worlds.build import build


class Few(NamedTuple):
    """Two blocks."""

    first: Any
    last: Any


class More(NamedTuple):
    """The same with one that somebody has inserted."""

    first: Any
    inserted: Any
    last: Any


def test_blocks_lie_in_the_order_of_their_names():
    few, more = Blocks(Few(first=[2, 1], last=[4])), Blocks(More(first=[2, 1], inserted=[5], last=[4]))
    assert (few.first, few.count, few.size) == ((0, 3), (3, 4), 7)
    assert (more.first, more.count, more.size) == ((0, 3, 8), (3, 5, 4), 12)
    parts = More(first=[np.zeros(2), np.ones(1)], inserted=[np.full(5, 2.0)], last=[np.full(4, 3.0)])
    assert more.join(np, parts, (), float).tolist() == [0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3]


def test_a_block_that_is_filled_with_other_columns_is_refused():
    blocks = Blocks(Few(first=[3], last=[4]))
    with pytest.raises(ValueError, match='"first" has 3 columns'):
        blocks.join(np, Few(first=[np.zeros(4)], last=[np.zeros(3)]), (), float)
    with pytest.raises(ValueError, match='"last" has 4 columns'):
        blocks.join(np, Few(first=[np.zeros(3)], last=[]), (), float)


def test_every_column_of_a_layout_lies_in_a_block():
    layout = build(config()).layout
    ledger, view = layout.ledger, layout.view
    assert ledger.money_blocks.size == len(ledger.money.target)
    assert ledger.cost_blocks.size == len(ledger.costs.target)
    assert view.blocks.size == len(view.entries)
    at = view.blocks.first.v_pu
    assert [entry.name for _, entry in view.entries[at : at + view.blocks.count.v_pu]] == ["v"] * len(
        layout.grid.v_start
    )
    assert ledger.cost_blocks.count.voltage == len(layout.grid.v_start)
