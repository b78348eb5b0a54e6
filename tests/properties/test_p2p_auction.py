"""Properties of the peer-to-peer double auction on random order books."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from powergrid.agents.protocols.p2p_trading import clear, pay_as_bid

TINY_MWH = 1e-7
"""Below this an order is not executed, so volumes may fall short of the program's by as much for each order."""

books = st.lists(
    st.tuples(
        # few prices, so that orders tie, and energies whose sums do not come out even in binary
        st.one_of(st.sampled_from([20.0, 30.0, 40.0, 50.0]), st.floats(0.0, 120.0)),
        st.one_of(
            st.sampled_from([-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.3 + 5e-8, -0.1 - 3e-8]), st.floats(-2.0, 2.0)
        ),
    ),
    min_size=1,
    max_size=9,
)


def as_arrays(book: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    limit, metered = np.array(book).T
    return np.round(limit, 2), np.where(np.abs(metered) < 1e-3, 0.0, metered)


def welfare_volume(limit: np.ndarray, metered: np.ndarray) -> tuple[float, float]:
    """Largest welfare, and the largest volume among its optima, from a linear program over all orders."""
    buys = metered > 0.0
    # prices are whole cents: a millicent a MWh decides between optima of equal welfare, for the larger volume
    cost = np.where(buys, -limit - 1e-5, limit)
    balance = np.where(buys, 1.0, -1.0)
    solution = linprog(cost, A_eq=balance[None, :], b_eq=[0.0], bounds=[(0.0, abs(energy)) for energy in metered])
    assert solution.status == 0
    volume = float(solution.x[buys].sum())
    return -solution.fun - 1e-5 * volume, volume


@given(books)
@settings(max_examples=300, deadline=None)
def test_volume_and_welfare_equal_the_linear_program(book):
    limit, metered = as_arrays(book)
    cleared = clear(np, limit, metered)
    welfare, volume = welfare_volume(limit, metered)
    assert np.isclose(np.maximum(cleared.bought_mwh, 0.0).sum(), volume, rtol=0.0, atol=4 * TINY_MWH)
    assert np.isclose(limit @ cleared.bought_mwh, welfare, rtol=0.0, atol=120.0 * 4 * TINY_MWH)


@given(books)
@settings(max_examples=300, deadline=None)
def test_price_lies_halfway_between_the_marginal_orders(book):
    limit, metered = as_arrays(book)
    price, bought = clear(np, limit, metered)
    if not bought.any():
        assert price == 0.0
        return
    lowest_bid, highest_offer = limit[bought > 0.0].min(), limit[bought < 0.0].max()
    assert highest_offer <= price <= lowest_bid
    assert np.isclose(price, 0.5 * (lowest_bid + highest_offer), rtol=0.0, atol=1e-9)


@given(books)
@settings(max_examples=300, deadline=None)
def test_nobody_trades_more_than_it_metered_and_the_book_balances(book):
    limit, metered = as_arrays(book)
    bought = clear(np, limit, metered).bought_mwh
    assert (bought * metered >= 0.0).all()
    assert (np.abs(bought) <= np.abs(metered) + 1e-15).all()
    assert abs(bought.sum()) <= 1e-12


@given(books)
@settings(max_examples=300, deadline=None)
def test_orders_of_equal_price_share_pro_rata(book):
    limit, metered = as_arrays(book)
    bought = clear(np, limit, metered).bought_mwh
    for side in (metered > 0.0, metered < 0.0):
        for price in np.unique(limit[side]):
            tied = side & (limit == price)
            share = bought[tied] / metered[tied]
            assert np.ptp(share) <= 1e-12


@given(books)
@settings(max_examples=300, deadline=None)
def test_orders_without_a_trade_may_leave_the_book(book):
    limit, metered = as_arrays(book)
    price, bought = clear(np, limit, metered)
    kept = bought != 0.0
    assume(kept.any())
    again = clear(np, limit[kept], metered[kept])
    assert abs(again.price_per_mwh - price) <= 1e-9
    assert np.allclose(again.bought_mwh, bought[kept], rtol=0.0, atol=1e-9)
    silent = clear(np, limit, np.where(kept, metered, 0.0))  # the same orders present, but empty
    assert abs(silent.price_per_mwh - price) <= 1e-9
    assert np.allclose(silent.bought_mwh, bought, rtol=0.0, atol=1e-9)


@given(books, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_members_does_not_matter(book, chance):
    limit, metered = as_arrays(book)
    order = list(range(len(limit)))
    chance.shuffle(order)
    price, bought = clear(np, limit, metered)
    shuffled = clear(np, limit[order], metered[order])
    assert abs(shuffled.price_per_mwh - price) <= 1e-9
    assert np.allclose(shuffled.bought_mwh, bought[order], rtol=0.0, atol=1e-12)


@given(st.lists(books.filter(lambda book: len(book) <= 6), min_size=4, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_batch_is_its_members_bit_for_bit(book_list):
    width = 6
    limit, metered = np.zeros((2, 2, width)), np.zeros((2, 2, width))
    for k, book in enumerate(book_list):
        one_limit, one_metered = as_arrays(book)
        limit[k // 2, k % 2, : len(book)], metered[k // 2, k % 2, : len(book)] = one_limit, one_metered
    price, bought = clear(np, limit, metered)
    for i in range(2):
        for j in range(2):
            alone = clear(np, limit[i, j], metered[i, j])
            assert alone.price_per_mwh == price[i, j]
            assert (alone.bought_mwh == bought[i, j]).all()


def pair_by_pair(limit: np.ndarray, bought: np.ndarray) -> np.ndarray:
    """Payments from walking down both sides of the executed book, one pair after the other."""
    buyers = sorted(np.flatnonzero(bought > 0.0), key=lambda i: -limit[i])
    sellers = sorted(np.flatnonzero(bought < 0.0), key=lambda i: limit[i])
    left, paid = np.abs(bought), np.zeros(len(limit))
    while buyers and sellers:
        buyer, seller = buyers[0], sellers[0]
        energy = min(left[buyer], left[seller])
        money = energy * 0.5 * (limit[buyer] + limit[seller])
        paid[buyer], paid[seller] = paid[buyer] + money, paid[seller] - money
        left[[buyer, seller]] -= energy
        buyers = buyers[1:] if left[buyer] <= 1e-13 else buyers
        sellers = sellers[1:] if left[seller] <= 1e-13 else sellers
    return paid


@given(books)
@settings(max_examples=300, deadline=None)
def test_pay_as_bid_settles_pairs_at_their_midpoint(book):
    limit, metered = as_arrays(book)
    bought = clear(np, limit, metered).bought_mwh
    paid, walked = pay_as_bid(np, limit, bought), pair_by_pair(limit, bought)
    for side in (bought > 0.0, bought < 0.0):
        for price in np.unique(limit[side]):  # the walk settles ties one by one, the market pro rata: equal in sum
            tied = side & (limit == price)
            assert np.isclose(paid[tied].sum(), walked[tied].sum(), rtol=0.0, atol=1e-9)
            assert np.ptp(paid[tied] / bought[tied]) <= 1e-6
    assert abs(paid.sum()) <= 1e-9
    assert (paid[bought == 0.0] == 0.0).all()


@given(books)
@settings(max_examples=200, deadline=None)
def test_pay_as_bid_asks_nobody_beyond_its_limit(book):
    limit, metered = as_arrays(book)
    bought = clear(np, limit, metered).bought_mwh
    assert (pay_as_bid(np, limit, bought) <= limit * bought + 1e-9).all()


@given(books, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_pay_as_bid_does_not_depend_on_the_order_of_members(book, chance):
    limit, metered = as_arrays(book)
    order = list(range(len(limit)))
    chance.shuffle(order)
    paid = pay_as_bid(np, limit, clear(np, limit, metered).bought_mwh)
    shuffled = pay_as_bid(np, limit[order], clear(np, limit[order], metered[order]).bought_mwh)
    assert np.allclose(shuffled, paid[order], rtol=0.0, atol=1e-9)
