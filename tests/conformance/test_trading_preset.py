"""What makes ``p2p_microgrids`` worth playing: a competent operator manages it, carelessness and exploits lose."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid
from powergrid.core import random
from powergrid.core.statistics import mean_interval
from powergrid.learn.bound import lower_bound
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.seeds import episode_seed
from powergrid.worlds.simulation import Simulation

BASELINES = ("random", "idle", "drain", "hoard", "all_export", "all_import", "no_trade")


@pytest.fixture(scope="module")
def env():
    return powergrid.make("p2p_microgrids")


@pytest.fixture(scope="module")
def played(env):
    """By policy: money and violations [$] of each test day, share of bus-steps outside and of ticks with trade."""
    world, found = env.world, {}
    days, settings = world.days["test"], world.layout.settings
    seeds = np.array([episode_seed(0, int(day)) for day in days])
    key = random.fold_in(np, random.key_from_seed(np, seeds), np.zeros(len(days), np.int32))
    for name in ("rule_based", *BASELINES):
        simulation = Simulation(world)
        state, *_ = simulation.reset(key, days)
        outputs = []
        for _ in range(settings.episode_length):
            state, output = simulation.step(state, simulation.decide(state, POLICIES.get(name)))
            outputs.append(output)
        assert all(output.flow.converged.all() for output in outputs)
        v_pu = np.stack([output.flow.v_pu for output in outputs])
        money = np.stack([output.money for output in outputs])
        found[name] = (
            money.sum((0, 2, 3)),
            np.sum([output.costs for output in outputs], axis=(0, 2, 3)),
            ((v_pu < settings.v_min_pu) | (v_pu > settings.v_max_pu)).mean(),
            (np.abs(money[..., env.money_names.index("p2p")]) > 1e-9).any(-1).mean(),
        )
    return found


def test_the_rule_keeps_the_band_and_carelessness_does_not(played):
    assert played["rule_based"][2] <= 0.005
    assert played["idle"][2] <= 0.0001  # what goes wrong under the rule could be avoided
    assert played["all_export"][2] >= 0.01


def test_there_is_something_to_trade(played):
    assert played["rule_based"][3] >= 0.2
    assert played["no_trade"][3] <= 0.001  # losses turn a tiny import around now and then


def test_the_rule_is_near_the_bound_and_nobody_below_it(env, played):
    some = slice(0, None, 3)
    bound = np.array([lower_bound(env.export_episode(int(day))).cost for day in env.world.days["test"][some]])
    for money, *_ in played.values():
        assert (money[some] >= bound - 1e-6).all()
    assert played["rule_based"][0][some].sum() <= 1.3 * bound.sum()


@pytest.mark.parametrize("name", BASELINES)
def test_the_rule_is_better_than_the_baselines(played, name):
    (rule, rule_violations, *_), (money, violations, *_) = played["rule_based"], played[name]
    _, low, _ = mean_interval(money + violations - rule - rule_violations)
    assert low > 0.0
