"""The mid-market rate: shares by hand, the averages of the published rule, and nobody worse off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid.agents.protocols.mid_market import MidMarketRate, pool
from powergrid.testing import check_protocol

RETAIL, FEED_IN = 90.0, 36.0
MIDDLE = 63.0


class Tariff:
    """What the protocol uses of its context."""

    def __init__(self, retail, feed_in):
        self.retail_per_mwh, self.feed_in_per_mwh = np.asarray(retail), np.asarray(feed_in)


def settled(metered, retail=None, feed_in=None):
    """Payments [$] to peers and to the utility, with the utility's last."""
    metered = np.asarray(metered, dtype=float)
    retail = np.full(metered.shape, RETAIL) if retail is None else retail
    feed_in = np.full(metered.shape, FEED_IN) if feed_in is None else feed_in
    _, sent, paid, _ = MidMarketRate.after(np, Tariff(retail, feed_in), (), metered)
    return sent, paid


def test_a_surplus_is_shared_by_exporters():
    sent, paid = settled([0.2, 0.4, -0.9, -0.3])
    assert sent.pool_bought == pytest.approx([0.2, 0.4, -0.45, -0.15])
    assert sent.pool_price == pytest.approx([MIDDLE] * 4)
    assert paid.p2p == pytest.approx([0.2 * MIDDLE, 0.4 * MIDDLE, -0.45 * MIDDLE, -0.15 * MIDDLE, 0.0])
    assert paid.grid == pytest.approx([0.0, 0.0, -0.45 * FEED_IN, -0.15 * FEED_IN, 0.6 * FEED_IN])


def test_a_deficit_is_shared_by_importers():
    sent, paid = settled([0.6, 0.2, -0.4])
    assert sent.pool_bought == pytest.approx([0.3, 0.1, -0.4])
    assert paid.grid == pytest.approx([0.3 * RETAIL, 0.1 * RETAIL, 0.0, -0.4 * RETAIL])


def test_average_prices_are_those_of_the_published_rule():
    """Long et al. (2017), equations of the import price in a deficit and of the export price in a surplus."""
    rng = np.random.default_rng(4)
    for _ in range(100):
        metered = rng.normal(0.0, 0.4, 5)
        demand, supply = np.maximum(metered, 0.0).sum(), np.maximum(-metered, 0.0).sum()
        if min(demand, supply) == 0.0:
            continue
        buy = MIDDLE if supply >= demand else (supply * MIDDLE + (demand - supply) * RETAIL) / demand
        sell = MIDDLE if demand >= supply else (demand * MIDDLE + (supply - demand) * FEED_IN) / supply
        _, paid = settled(metered)
        wanted = np.where(metered > 0.0, buy, sell) * metered
        assert (paid.p2p + paid.grid)[:-1] == pytest.approx(wanted, abs=1e-9)


energies = st.one_of(st.sampled_from([0.0, 0.1, -0.1, 0.3, -0.3]), st.floats(-5.0, 5.0))
tariffs = st.tuples(st.floats(-50.0, 200.0), st.floats(0.0, 100.0))


@given(st.lists(st.tuples(energies, tariffs), min_size=1, max_size=8))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_money_balances_and_nobody_does_worse(members):
    metered = np.array([energy for energy, _ in members])
    feed_in = np.array([low for _, (low, _) in members])
    retail = np.array([low + band for _, (low, band) in members])
    _, paid = settled(metered, retail, feed_in)
    assert abs(paid.p2p.sum()) <= 1e-9
    assert abs(paid.p2p[-1]) <= 1e-9  # peers pay each other
    assert abs(paid.grid.sum()) <= 1e-9
    alone = retail * np.maximum(metered, 0.0) + feed_in * np.minimum(metered, 0.0)
    assert ((paid.p2p + paid.grid)[:-1] <= alone + 1e-9).all()


def test_tariffs_without_a_common_band_leave_everybody_at_its_own():
    sent, paid = settled([1.0, -1.0], np.array([50.0, 90.0]), np.array([20.0, 60.0]))
    assert not sent.pool_bought.any()
    assert paid.grid[:2] == pytest.approx([50.0, -60.0])


@pytest.mark.parametrize("metered", [[0.3, 0.2], [-0.3, -0.2], [0.0, 0.0], [0.3]])
def test_nothing_to_pool(metered):
    found = pool(np, np.full(len(metered), RETAIL), np.full(len(metered), FEED_IN), np.array(metered))
    assert found.price_per_mwh == 0.0
    assert not found.bought_mwh.any()


def test_the_example_settles_what_the_meters_read():
    env = powergrid.make("configs/mid_market.yaml", backend="numpy")
    env.reset(seed=0)
    names, traded = list(env.money_names), 0.0
    while env.agents:
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        money = dict(zip(names, env.output.money.T, strict=True))
        assert money["p2p"].sum() == pytest.approx(0.0, abs=1e-9)
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
        traded += np.abs(money["p2p"]).sum()
    assert traded > 0.0


def test_every_form_of_the_step_gives_the_same():
    check_protocol("mid_market")
