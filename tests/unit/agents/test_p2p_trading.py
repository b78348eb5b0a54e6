"""The peer-to-peer market on books worked out by hand, its settlement with the utility, and its two backends."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid
from powergrid.agents.protocol import Context, Member
from powergrid.agents.protocols.p2p_trading import PeerToPeerTrading, clear, pay_as_bid
from powergrid.core.errors import ConfigError
from powergrid.testing import check_protocol

RETAIL, FEED_IN = 90.0, 36.0


def context(market, retail, feed_in):
    """What the market's kernels use, with these tariffs of the members."""
    nothing = np.zeros(np.shape(retail))
    return Context(
        params=market.params(),
        dt_h=0.25,
        tick=nothing[..., :1],
        due=nothing,
        retail_per_mwh=np.asarray(retail, dtype=float),
        feed_in_per_mwh=np.asarray(feed_in, dtype=float),
        price_per_mwh=nothing[..., :1],
        v_pu=nothing,
        governed=nothing[..., :0],
        command_member=np.zeros(0, int),
        tables=market.entries([Member(f"m{k}", 0.0, 0.0) for k in range(nothing.shape[-1])]).tables,
        uniform=nothing,
        frequency_hz=nothing,
        island=nothing,
        works=np.zeros(0),
    )


def settle(shares, metered, retail=RETAIL, feed_in=FEED_IN, **params):
    """What is sent, and transfers from peers and from the utility, for limit prices given as shares of the band."""
    market = PeerToPeerTrading(**params)
    metered = np.asarray(metered, dtype=float)
    ctx = context(market, np.full(metered.shape, retail), np.full(metered.shape, feed_in))
    state = market.initial(np, metered.shape[:-1], (metered.shape[-1],), float)
    state, nothing, _ = market.before(np, ctx, state, market.Orders(np.asarray(shares, dtype=float)))
    _, sent, paid, violations = market.after(np, ctx, state, metered)
    assert nothing == violations == ()
    return sent, -paid.p2p, -paid.grid


def test_book_worked_out_by_hand():
    # demand 1.0 at 50 and 0.5 at 40; supply 0.4 at 20, 0.8 at 30, 0.6 at 45: 1.2 MWh at or below 40 meet 1.5 MWh
    price, bought = clear(np, np.array([50.0, 40.0, 20.0, 30.0, 45.0]), np.array([1.0, 0.5, -0.4, -0.8, -0.6]))
    assert price == pytest.approx(0.5 * (40.0 + 30.0), abs=1e-12)
    assert bought == pytest.approx([1.0, 0.2, -0.4, -0.8, 0.0], abs=1e-12)


def test_pairs_worked_out_by_hand():
    limit = np.array([50.0, 40.0, 20.0, 30.0, 45.0])
    paid = pay_as_bid(np, limit, np.array([1.0, 0.2, -0.4, -0.8, 0.0]))
    first, second, third = 0.4 * 35.0, 0.6 * 40.0, 0.2 * 35.0
    assert paid == pytest.approx([first + second, third, -first, -second - third, 0.0], abs=1e-12)


def test_tied_orders_share_in_proportion_to_their_size():
    _, bought = clear(np, np.array([50.0, 50.0, 30.0]), np.array([0.3, 0.9, -0.4]))
    assert bought == pytest.approx([0.1, 0.3, -0.4], abs=1e-12)
    paid = pay_as_bid(np, np.array([50.0, 50.0, 30.0]), bought)
    assert paid == pytest.approx([4.0, 12.0, -16.0], abs=1e-12)


@pytest.mark.parametrize(
    ("limit", "metered"),
    [([50.0, 60.0], [1.0, -1.0]), ([50.0, 40.0], [1.0, 1.0]), ([50.0, 40.0], [-1.0, -1.0]), ([50.0], [1.0])],
    ids=["prices do not meet", "only bids", "only offers", "alone"],
)
def test_nothing_trades(limit, metered):
    price, bought = clear(np, np.array(limit), np.array(metered))
    assert price == 0.0
    assert (bought == 0.0).all()
    assert (pay_as_bid(np, np.array(limit), bought) == 0.0).all()


def test_bid_and_offer_at_one_price_trade():
    price, bought = clear(np, np.array([40.0, 40.0]), np.array([0.5, -0.8]))
    assert price == 40.0
    assert bought == pytest.approx([0.5, -0.5])


@pytest.mark.parametrize("pad", [0.0, 1e-9, -1e-9, 5e-8, -5e-8])
def test_rounding_of_sums_executes_no_further_order(pad):
    """0.1 + 0.2 exceeds 0.3 in binary by 6e-17, which must not let the dear bid or offer set the price."""
    bids = np.array([60.0, 58.0, 41.0]), np.array([0.1, 0.2, 1.0])
    offers = np.array([20.0, 39.0]), np.array([-0.3 - pad, -1e-12])
    price, bought = clear(np, *(np.concatenate(pair) for pair in zip(bids, offers, strict=True)))
    assert price == pytest.approx(0.5 * (58.0 + 20.0), abs=1e-9)
    assert bought[2] == bought[4] == 0.0
    assert abs(bought.sum()) <= 1e-15


def test_price_ignores_differences_below_a_millionth():
    limit = np.array([50.0, 50.0 + 4e-8, 30.0])
    _, bought = clear(np, limit, np.array([0.4, 0.4, -0.4]))
    assert bought == pytest.approx([0.2, 0.2, -0.4], abs=1e-12)


@pytest.mark.parametrize("pricing", ["uniform", "pay_as_bid"])
def test_accounts_sum_to_zero_and_nobody_loses_by_taking_part(pricing):
    rng = np.random.default_rng(7)
    metered = np.where(rng.random((200, 6)) < 0.1, 0.0, rng.normal(0.0, 0.3, (200, 6)))
    shares = np.round(rng.random((200, 6)), 1)
    sent, trades, utility = settle(shares, metered, pricing=pricing)
    for transfers in (trades, utility):
        assert transfers.shape == (200, 7)
        assert np.abs(transfers.sum(-1)).max() <= 1e-9
    assert np.abs(trades[:, -1]).max() <= 1e-9  # peers pay each other, the utility has no part in it
    alone = -(RETAIL * np.maximum(metered, 0.0) + FEED_IN * np.minimum(metered, 0.0))
    assert (trades[:, :-1] + utility[:, :-1] >= alone - 1e-6).all()
    limit = FEED_IN + shares * (RETAIL - FEED_IN)
    assert (trades[:, :-1] >= -limit * sent.p2p_bought - 1e-6).all()
    assert (sent.p2p_bought != 0.0).any()


def test_both_pricings_move_the_same_energy_and_equal_totals():
    rng = np.random.default_rng(3)
    metered, shares = rng.normal(0.0, 0.3, (50, 5)), rng.random((50, 5))
    uniform, in_pairs = settle(shares, metered), settle(shares, metered, pricing="pay_as_bid")
    assert (uniform[0].p2p_bought == in_pairs[0].p2p_bought).all()
    assert np.allclose(uniform[2], in_pairs[2], rtol=0.0, atol=1e-12)
    assert np.abs(uniform[1][:, :-1].sum(-1)).max() <= 1e-9
    assert np.abs(in_pairs[1][:, :-1].sum(-1)).max() <= 1e-9
    volume = np.maximum(uniform[0].p2p_bought, 0.0).sum(-1)
    turnover = np.maximum(in_pairs[1][:, :-1], 0.0).sum(-1)
    traded = volume > 0.0
    assert in_pairs[0].p2p_price[traded, 0] == pytest.approx(turnover[traded] / volume[traded])


def test_rest_is_settled_at_the_tariff():
    # member 0 lacks 1.0, member 1 sells 0.4 of it at the middle of the band, the utility the rest
    sent, trades, utility = settle([1.0, 0.0], [1.0, -0.4])
    middle = 0.5 * (RETAIL + FEED_IN)
    assert sent.p2p_price == pytest.approx([middle, middle])
    assert trades == pytest.approx([-0.4 * middle, 0.4 * middle, 0.0])
    assert utility == pytest.approx([-0.6 * RETAIL, 0.0, 0.6 * RETAIL])


@pytest.mark.parametrize("pricing", ["uniform", "pay_as_bid"])
def test_no_trade_goes_beyond_the_limit_at_the_connection(pricing):
    """0.25 h at 0.4 MW are 0.1 MWh: beyond them everybody deals with the utility, and all accounts sum to zero."""
    rng = np.random.default_rng(5)
    metered, shares = rng.normal(0.0, 0.2, (200, 4)), rng.random((200, 4))
    free, *_ = settle(shares, metered, pricing=pricing)
    sent, trades, utility = settle(shares, metered, pricing=pricing, pcc_limit_mw={"m0": 0.4, "m2": 0.0})
    most = np.array([0.1, np.inf, 0.0, np.inf])
    assert (np.abs(sent.p2p_bought) <= most + 1e-15).all()
    assert (np.abs(free.p2p_bought[:, [0, 2]]) > most[[0, 2]]).any(0).all()  # without limits they trade more
    assert (np.abs(sent.p2p_bought[:, 0]) > 0.0999).any()  # the limit is reached
    _, bought = clear(np, FEED_IN + shares * (RETAIL - FEED_IN), np.clip(metered, -most, most))
    assert (sent.p2p_bought == bought).all()
    rest = metered - sent.p2p_bought
    owed = RETAIL * np.maximum(rest, 0.0) + FEED_IN * np.minimum(rest, 0.0)
    assert utility[:, :-1] == pytest.approx(-owed, abs=1e-12)
    for transfers in (trades, utility):
        assert np.abs(transfers.sum(-1)).max() <= 1e-9
    alone = -(RETAIL * np.maximum(metered, 0.0) + FEED_IN * np.minimum(metered, 0.0))
    assert (trades[:, :-1] + utility[:, :-1] >= alone - 1e-6).all()


def test_one_limit_for_all_and_limits_that_bind_nobody():
    metered, shares = np.array([1.0, -0.4, -0.3]), [1.0, 0.0, 0.1]
    sent, *_ = settle(shares, metered, pcc_limit_mw=0.8)
    assert sent.p2p_bought == pytest.approx([0.2, -0.2, 0.0])
    free, trades, utility = settle(shares, metered)
    wide = settle(shares, metered, pcc_limit_mw=4.0)
    assert (wide[0].p2p_bought == free.p2p_bought).all()
    assert (wide[1] == trades).all()
    assert (wide[2] == utility).all()


def test_limits_of_strangers_and_below_zero_are_refused():
    market = PeerToPeerTrading(pcc_limit_mw={"microgrid_l": 0.5})
    with pytest.raises(ConfigError, match=r'"microgrid_l" is no member\s+did you mean "microgrid_1"\?'):
        market.entries([Member("microgrid_1", 0.0, 0.0), Member("factory", 0.0, 0.0)])
    for wrong in (-0.1, {"m0": -0.1}, True, "much"):
        with pytest.raises(ValueError, match="pcc_limit_mw"):
            PeerToPeerTrading(pcc_limit_mw=wrong)


def test_the_example_trades_within_its_limits():
    env = powergrid.make("configs/p2p_with_limits.yaml", backend="numpy")
    env.reset(seed=0)
    coordination, rng = env.world.layout.coordination, np.random.default_rng(0)
    limits_mwh = coordination.layers[0].added.tables.pcc_limit_mw * env.world.layout.settings.dt_h
    bought = [k for k, column in enumerate(coordination.signals) if column.entry.name == "p2p_bought"]
    most = np.zeros(len(limits_mwh))
    while env.agents:
        env.step({agent: rng.uniform(-1.0, 1.0, env.action_space(agent).shape) for agent in env.agents})
        most = np.maximum(most, np.abs(env._state.signals[bought]))
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
    assert (most <= limits_mwh + 1e-12).all()
    assert most[0] == pytest.approx(limits_mwh[0], abs=1e-12)


@pytest.mark.slow
def test_every_form_of_the_step_gives_the_same():
    check_protocol("p2p_trading", pcc_limit_mw={"battery_1": 0.1, "battery_3": 0.05})


def test_limit_shares_span_the_band():
    market = PeerToPeerTrading()
    ctx = context(market, [90.0, 80.0, 70.0], [30.0, 20.0, 10.0])
    state, *_ = market.before(np, ctx, market.initial(np, (), (3,), float), market.Orders(np.array([0.0, 0.5, 1.0])))
    assert state.limit_per_mwh == pytest.approx([30.0, 50.0, 70.0])
    (action,) = market.entries([]).actions
    assert (action.low, action.high) == (0.0, 1.0)


def test_members_see_price_and_own_energy():
    sent, _, _ = settle([1.0, 0.0], [1.0, -0.4])
    assert sent.p2p_price == pytest.approx(np.array([63.0, 63.0]))
    assert sent.p2p_bought == pytest.approx(np.array([0.4, -0.4]))
    channels = PeerToPeerTrading().entries([]).channels
    assert [(channel.name, channel.unit) for channel in channels] == [("p2p_price", "$/MWh"), ("p2p_bought", "MWh")]


def test_unknown_pricing_is_refused():
    with pytest.raises(ValueError, match="pricing"):
        PeerToPeerTrading(pricing="vickrey")


def _books(rng, batch, members):
    limit = np.round(rng.uniform(30.0, 80.0, (*batch, members)), rng.integers(0, 3))
    return limit, np.where(rng.random((*batch, members)) < 0.15, 0.0, np.round(rng.normal(0.0, 0.3, limit.shape), 2))


@pytest.mark.parametrize(("batch", "members"), [((), 7), ((3, 4), 6)])
def test_jax_equals_numpy_in_float64(batch, members):
    jax = pytest.importorskip("jax")
    from powergrid.core.backend import jax_float64, jax_numpy

    rng, xp = np.random.default_rng(members), jax_numpy()
    with jax_float64():
        compiled = jax.jit(lambda limit, metered: clear(xp, limit, metered))
        pairs = jax.jit(lambda limit, bought: pay_as_bid(xp, limit, bought))
        for _ in range(20):
            limit, metered = _books(rng, batch, members)
            expected, found = clear(np, limit, metered), compiled(limit, metered)
            assert found.bought_mwh.dtype == np.float64
            assert np.allclose(found.price_per_mwh, expected.price_per_mwh, rtol=0.0, atol=1e-9)
            assert np.allclose(found.bought_mwh, expected.bought_mwh, rtol=0.0, atol=1e-12)
            paid = pay_as_bid(np, limit, expected.bought_mwh)
            assert np.allclose(pairs(limit, expected.bought_mwh), paid, rtol=0.0, atol=1e-9)
    assert jax.numpy.zeros(1).dtype == np.float32  # the global flag was left alone


@pytest.mark.parametrize("members", [4, 60])
def test_float32_clears_the_same_orders(members):
    """Sums of many MWh in float32 are off by more than an order is worth, and must not move the price."""
    rng = np.random.default_rng(11)
    for _ in range(200):
        limit, metered = _books(rng, (), members)
        metered = metered * 10.0
        expected = clear(np, limit, metered)
        found = clear(np, limit.astype(np.float32), metered.astype(np.float32))
        assert found.bought_mwh.dtype == np.float32
        volume = np.abs(metered).sum() + 1.0
        assert np.allclose(found.price_per_mwh, expected.price_per_mwh, rtol=1e-5)
        assert np.allclose(found.bought_mwh, expected.bought_mwh, rtol=0.0, atol=1e-5 * volume)
        assert np.allclose(
            pay_as_bid(np, limit.astype(np.float32), found.bought_mwh),
            pay_as_bid(np, limit, expected.bought_mwh),
            rtol=0.0,
            atol=80.0 * 1e-5 * volume,
        )
