"""Forecasts that agents see: the truth without noise, seeded AR(1) errors with it."""

from __future__ import annotations

import numpy as np
import pytest
import small_worlds

from powergrid.core import random
from powergrid.engine.layout import Columns
from powergrid.engine.observations import forecast_scale

LOAD = "load_p_pu:com_1"


def columns(sigma: tuple[float, ...], hours: int) -> Columns:
    return Columns(("price", "load", "pv"), 0, 0, (1, 2), hours, sigma, ((0.0, 1.0),) * 3)


def seen(env, observation) -> dict[str, float]:
    return dict(zip(env.observation_labels("operator_1"), observation["operator_1"].tolist(), strict=True))


def truth(env, hours_ahead: int) -> float:
    """Load of an hour to come, from the dataset's own table."""
    table = env.world.table
    row = int(env._state.row) + hours_ahead
    return table[row % len(table)][..., env.world.layout.columns.column(LOAD)]


def test_without_noise_the_forecast_is_the_truth():
    env = small_worlds.make(forecast={"noise": {"load_p_pu": 0.0, "pv_pu": 0.0}, "horizon_h": 4})
    observation, _ = env.reset(seed=3, options={"day": 40})
    for _ in range(3):
        entries = seen(env, observation)
        for hour in range(1, 5):
            assert entries[f"{LOAD}+{hour}h [pu]"] == pytest.approx(truth(env, hour), abs=1e-6)
        observation, *_ = env.step(env.policy_actions("rule_based"))


def test_prices_of_the_day_ahead_are_published_not_forecast():
    env = small_worlds.make(forecast={"noise": {"load_p_pu": 0.3, "price_per_mwh": 0.0}})
    observation, _ = env.reset(seed=3, options={"day": 364})  # the day after is the first of the year again
    entries = seen(env, observation)
    price = env.world.table.column(env.world.layout.columns.price)
    for hour in range(1, 25):
        expected = price[(364 * 24 + hour) % len(price)]
        assert entries[f"price_per_mwh:lz_north+{hour}h [$/MWh]"] == pytest.approx(expected, rel=1e-6)


def test_errors_are_seeded_and_change_from_tick_to_tick():
    env = small_worlds.make(forecast={"noise": {"load_p_pu": 0.2}})

    def errors(seed: int) -> np.ndarray:
        observation, _ = env.reset(seed=seed, options={"day": 40})
        found = []
        for _ in range(3):
            found.append([seen(env, observation)[f"{LOAD}+{h}h [pu]"] / truth(env, h) - 1.0 for h in range(1, 7)])
            observation, *_ = env.step(env.policy_actions("rule_based"))
        return np.array(found)

    first, again, other = errors(1), errors(1), errors(2)
    assert (first == again).all()
    assert np.abs(first - other).min() > 0.0
    assert np.abs(first[0] - first[1]).min() > 0.0
    assert 0.02 < first.std() < 1.0


def test_now_is_always_true():
    env = small_worlds.make(forecast={"noise": {"load_p_pu": 0.5}})
    observation, _ = env.reset(seed=3, options={"day": 40})
    assert seen(env, observation)[f"{LOAD} [pu]"] == pytest.approx(truth(env, 0), rel=1e-6)


def test_errors_are_ar1_in_the_hour_ahead():
    rho, sigma, hours, draws = 0.8, (0.05, 0.1), 12, 40_000
    key = random.key_from_seed(np, np.arange(draws))
    normal = random.normal(np, key, np.zeros(draws, dtype=int), 1, (hours, 2))
    factor = forecast_scale(np, columns(sigma, hours), rho, normal).reshape(draws, hours, 2)
    error = (factor - 1.0) / np.array(sigma)
    within = 5.0 / np.sqrt(draws)
    assert np.abs(error.mean(0)).max() < within
    # e_0 starts with sqrt(1 - rho^2), so that the variance grows as 1 - rho^(2 (h + 1)) towards one
    grown = np.sqrt(1.0 - rho ** (2.0 * np.arange(1, hours + 1)))
    assert error.std(0) == pytest.approx(np.tile(grown[:, None], (1, 2)), abs=within)
    innovation = error[:, 1:] - rho * error[:, :-1]
    assert innovation.std(0) == pytest.approx(np.full((hours - 1, 2), np.sqrt(1.0 - rho**2)), abs=within)
    assert np.abs((innovation * error[:, :-1]).mean(0)).max() < within
    assert abs((error[:, :, 0] * error[:, :, 1]).mean(0)).max() < within


def test_a_forecast_is_never_negative():
    normal = np.full((1, 3, 2), -50.0)
    assert (forecast_scale(np, columns((0.5, 0.5), 3), 0.9, normal) == 0.0).all()
