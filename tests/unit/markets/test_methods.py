"""All methods on random markets: equal to each other, money balanced, unexecuted offers without effect, JAX too."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powergrid import markets
from powergrid.core.backend import jax_float64, jax_module, jax_numpy
from powergrid.core.types import Control
from powergrid.markets import Blocks
from powergrid.networks import network

METHODS = pytest.mark.parametrize("method", markets.METHODS)
SOURCE = {"case5": "3", "case30": "1", "ieee34": "800"}


@cache
def market(name: str, **options) -> markets.Plan:
    """A market with ten offers, the first at the source, and six bids at random buses."""
    grid = network(name)
    if name == "ieee34":
        grid = grid.settled()
    rng = np.random.default_rng(1)
    buses = rng.permutation(len(grid.buses.name))
    inner = [int(b) for b in np.resize(buses[buses != grid.source_bus], 15)]
    model = "lindistflow" if name == "ieee34" else "dc"
    limits = {"v_min_pu": 0.88, "v_max_pu": 1.12} if name == "ieee34" else {}
    return markets.plan(grid, model=model, offer_bus=[SOURCE[name], *inner[:9]], bid_bus=inner[9:], **limits, **options)


class Day:
    """Random blocks and loads; quantities and prices have no ties, so that prices are unique."""

    def __init__(self, plan: markets.Plan, seed: int, batch: tuple[int, ...] = (), stress: float = 1.0):
        rng = np.random.default_rng(seed)
        own = np.maximum(plan.load_mw, 0.0)
        self.load_mw = stress * own * rng.uniform(0.3, 1.0, (*batch, plan.n_bus))
        self.load_mvar = self.load_mw * np.where(own > 0, plan.load_mvar / np.where(own > 0, own, 1.0), 0.0)
        total = own.sum()
        quantity = total * rng.uniform(0.02, 0.25, (*batch, plan.n_offer))
        quantity[..., 0] = total * 1.5
        self.offers = Blocks(quantity, rng.uniform(5.0, 90.0, (*batch, plan.n_offer)))
        bids = total * rng.uniform(0.01, 0.1, (*batch, plan.n_bid))
        self.bids = Blocks(bids, rng.uniform(20.0, 120.0, (*batch, plan.n_bid)))

    def clear(self, plan: markets.Plan, method: str, **options) -> markets.Clearing:
        return markets.clear(
            plan, self.offers, self.bids, load_mw=self.load_mw, load_mvar=self.load_mvar, method=method, **options
        )


def compiled(plan: markets.Plan, day: Day) -> markets.Clearing:
    """The interior-point method as kernels run it on the CPU, around no dispatch."""
    return markets.clear_arrays(np, plan, day.offers, day.bids, day.load_mw, day.load_mvar)


NAMES = st.sampled_from(list(SOURCE))
SEEDS = st.integers(0, 10**6)


@settings(max_examples=60, deadline=None)
@given(name=NAMES, seed=SEEDS, stress=st.sampled_from([0.2, 1.0, 1.3]))
def test_methods_agree(name: str, seed: int, stress: float) -> None:
    """Cost to 1e-6, dispatch to 1e-4 of the demand, prices, which are unique here, to 1e-4 $/MWh at usual levels."""
    plan = market(name)
    day = Day(plan, seed, stress=stress)
    first, *others = (day.clear(plan, method, rounds=1) for method in markets.METHODS)
    demand = day.load_mw.sum() + 1e-9
    size = demand * 50.0
    level = max(100.0, np.abs(first.price_per_mwh).max())
    for second in (*others, compiled(plan, day)):
        assert first.status == second.status
        assert abs(first.cost - second.cost) <= 1e-6 * max(abs(first.cost), size)
        for field in ("offer_mw", "bid_mw", "unserved_mw"):
            np.testing.assert_allclose(getattr(second, field), getattr(first, field), atol=1e-4 * demand, err_msg=field)
        np.testing.assert_allclose(second.price_per_mwh, first.price_per_mwh, atol=1e-6 * level)


@settings(max_examples=30, deadline=None)
@given(name=NAMES, seed=SEEDS, method=st.sampled_from(markets.METHODS))
def test_money_balances_and_components_add_up(name: str, seed: int, method: str) -> None:
    plan = market(name)
    day = Day(plan, seed, (3,))
    cleared = day.clear(plan, method, rounds=1)
    paid = markets.payments(np, plan, cleared, day.load_mw)
    total = paid.participants.sum(-1) + paid.loads.sum(-1) + paid.operator
    turnover = np.abs(paid.loads).sum(-1) + np.abs(paid.participants).sum(-1)
    assert np.all(np.abs(total) <= 1e-9 * np.maximum(1.0, turnover))
    parts = (
        cleared.energy_per_mwh[:, None] + cleared.loss_per_mwh + cleared.congestion_per_mwh + cleared.voltage_per_mwh
    )
    np.testing.assert_allclose(parts, cleared.price_per_mwh, rtol=1e-12, atol=1e-9)
    if plan.dc is not None:
        rent = (cleared.limit_price_per_mwh * np.abs(cleared.flow_mw)).sum(-1)
        np.testing.assert_allclose(cleared.surplus, rent, rtol=1e-5, atol=1e-3)
        assert np.all(cleared.loss_surplus < 1e-6 * turnover)


@settings(max_examples=30, deadline=None)
@given(name=NAMES, seed=SEEDS, method=st.sampled_from(markets.METHODS), factor=st.floats(1.05, 50.0))
def test_the_price_of_an_unexecuted_offer_changes_no_payment(name: str, seed: int, method: str, factor: float) -> None:
    plan = market(name)
    day = Day(plan, seed)
    before = day.clear(plan, method, rounds=1)
    idle = before.offer_mw < 1e-5 * day.load_mw.sum()
    dearer = day.offers.price_per_mwh * np.where(idle, factor, 1.0)
    day.offers = day.offers._replace(price_per_mwh=dearer)
    after = day.clear(plan, method, rounds=1)
    paid = [markets.payments(np, plan, cleared, day.load_mw) for cleared in (before, after)]
    turnover = np.abs(paid[0].loads).sum() + np.abs(paid[0].participants).sum()
    for field in markets.Payments._fields:
        old, new = (getattr(payments, field) for payments in paid)
        np.testing.assert_allclose(new, old, atol=2e-6 * turnover, err_msg=field)


@settings(max_examples=30, deadline=None)
@given(name=NAMES, seed=SEEDS, method=st.sampled_from(markets.METHODS), stress=st.sampled_from([3.0, 10.0]))
def test_load_above_all_offers_is_flagged_and_finite(name: str, seed: int, method: str, stress: float) -> None:
    plan = market(name)
    day = Day(plan, seed, stress=stress)
    day.offers.quantity_mw[...] *= 0.2
    cleared = day.clear(plan, method, rounds=1)
    assert cleared.status in (markets.UNSERVED, markets.LIMIT_EXCEEDED)
    assert cleared.unserved_mw.sum() > 0
    assert np.all(cleared.unserved_mw <= day.load_mw + 1e-9)
    assert all(np.isfinite(column).all() for column in cleared)


@METHODS
@pytest.mark.parametrize("name", list(SOURCE))
def test_results_do_not_depend_on_batch_or_history(name: str, method: str) -> None:
    """The same bits alone, in a batch, and after other clearings."""
    plan = market(name)
    day = Day(plan, 5, (7,))
    together = day.clear(plan, method)
    for i in (4, 0, 6):
        alone = Day(plan, 5, (7,))
        alone.load_mw, alone.load_mvar = day.load_mw[i], day.load_mvar[i]
        alone.offers = Blocks(*(column[i] for column in day.offers))
        alone.bids = Blocks(*(column[i] for column in day.bids))
        for field, column in alone.clear(plan, method)._asdict().items():
            np.testing.assert_array_equal(column, getattr(together, field)[i], err_msg=field)


@pytest.mark.parametrize("name", list(SOURCE))
def test_compiled_results_do_not_depend_on_the_batch(name: str) -> None:
    plan = market(name)
    day = Day(plan, 5, (7,))
    together = compiled(plan, day)
    for i in (4, 0, 6):
        alone = Day(plan, 5, (7,))
        alone.load_mw, alone.load_mvar = day.load_mw[i], day.load_mvar[i]
        alone.offers = Blocks(*(column[i] for column in day.offers))
        alone.bids = Blocks(*(column[i] for column in day.bids))
        for field, column in compiled(plan, alone)._asdict().items():
            np.testing.assert_array_equal(column, getattr(together, field)[i], err_msg=field)


@pytest.mark.parametrize("name", list(SOURCE))
def test_jax_equals_numpy(name: str) -> None:
    plan = market(name, reserve_participant=("offer_1", "offer_2"))
    day = Day(plan, 3, (2, 3))
    reserve = Blocks(np.full((2, 3, 2), day.load_mw.sum(-1).mean() * 0.05), np.array([3.0, 5.0]) * np.ones((2, 3, 1)))
    inputs = (day.offers, day.bids, day.load_mw, day.load_mvar, reserve, 1.5 * reserve.quantity_mw[..., 0])

    def clear(xp):
        def run(offers, bids, load_mw, load_mvar, reserve, reserve_mw):
            return markets.clear_arrays(
                xp, plan, offers, bids, load_mw, load_mvar, reserve=reserve, reserve_mw=reserve_mw, rounds=2
            )

        return run

    ours = clear(np)(*inputs)
    assert set(ours.status.ravel()) == {markets.SOLVED}
    with jax_float64():
        theirs = jax_module().jit(clear(jax_numpy()))(*inputs)
    for field, column in ours._asdict().items():
        if field == "iterations":  # compiled code counts those of all its rounds
            continue
        if field == "status":
            np.testing.assert_array_equal(np.asarray(getattr(theirs, field)), column)
        else:
            size = max(1.0, np.abs(column).max(initial=0.0))
            np.testing.assert_allclose(getattr(theirs, field), column, atol=1e-6 * size, err_msg=field)


@pytest.mark.parametrize("name", list(SOURCE))
def test_float32_gives_usual_prices_to_a_thousandth(name: str) -> None:
    plan = market(name)
    day = Day(plan, 11, (20,))
    exact = markets.clear_arrays(np, plan, day.offers, day.bids, day.load_mw, day.load_mvar)
    short = (Blocks(*(c.astype(np.float32) for c in b)) for b in (day.offers, day.bids))
    load = day.load_mw.astype(np.float32), day.load_mvar.astype(np.float32)
    rough = markets.clear_arrays(np, plan, *short, *load)
    assert rough.price_per_mwh.dtype == np.float32
    usual = exact.status == markets.SOLVED
    assert usual.sum() > 10
    off = np.abs(rough.price_per_mwh - exact.price_per_mwh).max(-1)[usual]
    assert np.median(off) < 1e-3
    assert off.max() < 0.1
    moved = np.abs(rough.offer_mw - exact.offer_mw).max(-1)[usual]
    assert moved.max() < 2e-3 * day.load_mw.sum(-1).max()


def test_ties_share_pro_rata_and_the_smallest_price_clears() -> None:
    plan = markets.plan(network("case5"), model="copper_plate", offer_bus=["0", "2", "4"], load_bus=["1"])
    offers = Blocks([30.0, 10.0, 20.0], [20.0, 20.0, 50.0])
    load = np.array([0, 20.0, 0, 0, 0])
    cleared = markets.clear(plan, offers, load_mw=load, method="ipm")
    np.testing.assert_allclose(cleared.offer_mw, [15.0, 5.0, 0.0], atol=0.01)
    exhausted = markets.clear(plan, offers, load_mw=2.0 * load, method="ipm")
    np.testing.assert_allclose(exhausted.price_per_mwh, 20.0, atol=0.5)


def test_a_market_without_anything_clears_at_nothing() -> None:
    plan = market("ieee34")
    none = Blocks(np.zeros((2, plan.n_offer)), np.zeros((2, plan.n_offer)))
    bids = Blocks(np.zeros((2, plan.n_bid)), np.zeros((2, plan.n_bid)))
    load = np.zeros((2, plan.n_bus))
    off = Control(cap_on=np.zeros((2, 2)))
    for method in markets.METHODS:
        cleared = markets.clear(plan, none, bids, load_mw=load, load_mvar=load, control=off, method=method)
        assert all(np.isfinite(column).all() for column in cleared)
        np.testing.assert_array_equal(cleared.offer_mw, 0.0)
