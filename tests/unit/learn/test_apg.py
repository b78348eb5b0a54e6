"""Analytic policy gradient: the known optimum of two toys, limits, what is refused, and resumed runs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_constrained import HOURS, ToyHeaters, used_by
from toy_battery import ToyBattery

import powergrid
from powergrid.core.derivatives import within
from powergrid.core.errors import ConfigError
from powergrid.learn import checkpoint
from powergrid.learn.algorithms.apg import apg

SMALL = {"num_envs": 16, "hidden": (16,), "worst_share": 1.0}
UPDATES = 60


def trained(env, updates=UPDATES, **hyper):
    """A learner and its state after the updates of a whole run."""
    learner = apg(env, updates * 16 * HOURS, {**SMALL, **hyper})
    state = learner.init(0)
    for _ in range(updates):
        state, metrics = learner.update(state)
    return learner, state, metrics


def test_it_finds_the_optimum_of_a_priced_cost():
    """``2 u - u^2 - u`` is greatest at u = 1/2: 24 for two heaters in a day."""
    learner, state, _ = trained(ToyHeaters(None))
    assert used_by(learner, state) == pytest.approx(24.0, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [12.0, 36.0])
def test_limits_hold(limit):
    learner, state, metrics = trained(ToyHeaters(limit), updates=150)
    assert used_by(learner, state) == pytest.approx(limit, rel=0.15)
    assert float(metrics["cost_heat"]) == pytest.approx(limit, rel=0.2)


def test_batteries_learn_to_store_over_hours():
    """What a battery buys around the trough pays half a day later; with all prices known it earns 1.99 $ a day."""
    _, _, metrics = trained(ToyBattery({"battery": 2}), learning_rate=1e-2)
    assert float(metrics["episode_reward"]) / 2 > 1.65


def test_accounts_below_several_coordinators_count_once():
    """The operator and the microgrids of the preset are paid for what those below them pay."""
    env = powergrid.make_functional("iso_three_level")
    rng, accounts = np.random.default_rng(0), len(env.world.layout.accounts)
    money, costs = rng.normal(size=(2, accounts, 3)), rng.uniform(size=(2, accounts, 2))
    total = apg(env, 1, {}).team_reward({"money": money, "costs": costs})
    np.testing.assert_allclose(total, -money.sum((1, 2)) - costs.sum((1, 2)), rtol=1e-5)
    own = powergrid.make_functional("p2p_microgrids")
    assert apg(own, 1, {}).team_reward is None


def test_a_resumed_run_has_the_same_bits(tmp_path):
    env = ToyHeaters()
    first = apg(env, 10**5, SMALL)
    state = first.init(3)
    for update in range(3):
        if update == 1:
            checkpoint.save(tmp_path, state, groups=env.groups, step=1)
        state, _ = first.update(state)
    again, _ = checkpoint.restore(tmp_path, first.init(4), env.groups)
    for _ in range(2):
        again, _ = first.update(again)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("preset", "message"),
    [("iso_case30", "runs on the CPU only")],
)
def test_what_it_cannot_train_is_refused_by_name(preset, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        powergrid.train(preset, algo="apg", steps=100, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("wish", "slope", "kept"),
    [(0.5, 2.0, 2.0), (1.5, 2.0, 2.0), (1.5, -2.0, 0.0), (-1.5, -2.0, -2.0), (-1.5, 2.0, 0.0)],
)
def test_a_wish_outside_is_led_back_only(wish, slope, kept):
    assert jax.grad(lambda x: slope * within(jnp, x))(wish) == kept
    assert within(jnp, jnp.array(wish)) == within(np, np.array(wish)) == np.clip(wish, -1.0, 1.0)
