"""Price markups: nothing changes without one, they add up over levels, and equal a price signal of the same height."""

from __future__ import annotations

import numpy as np
import pytest
from test_price_signal import powers

import powergrid
from powergrid.core.errors import ConfigError


def markup(policy: str, most: float = 50.0) -> dict:
    return {"policy": policy, "protocol": {"type": "price_markup", "params": {"markup_max_per_mwh": most}}}


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_a_parent_with_a_rule_and_one_that_learns_begin_without_a_markup(backend):
    _, free = powers({"policy": "rule_based"}, backend)
    for policy in ("rule_based", "learned"):
        _, below = powers(markup(policy), backend)
        assert np.array_equal(below, free)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_units_respond_to_the_sum(backend):
    """A markup of 30 makes generators produce what a price 30 above the market's does, and a discount less."""
    _, free = powers(markup("learned"), backend)
    _, dear = powers(markup("learned"), backend, share=0.6)
    _, cheap = powers(markup("learned"), backend, share=-0.6)
    assert dear.sum() > free.sum() > cheap.sum()


def test_markups_of_several_levels_add_up():
    markups = {"protocol": {"type": "price_markup", "params": {"markup_max_per_mwh": 30}}}
    agents = {f"microgrid_{number}": markups for number in (1, 2)}
    env = powergrid.make("iso_three_level", backend="numpy", agents=agents)
    env.reset(seed=0, options={"day": 200})
    actions = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents}
    market = float(env.global_state()["price_per_mwh:lz_north [$/MWh]"])
    actions["iso"][0], actions["microgrid_1"][0] = 1.0 / 3.0, -2.0 / 3.0  # of 30: 10 up, 20 down
    env.step(actions)
    seen = env.global_state()
    assert seen["iso.signal_price [$/MWh]"] == pytest.approx(market + 10.0, abs=1e-3)
    assert seen["microgrid_1.signal_price [$/MWh]"] == pytest.approx(market - 10.0, abs=1e-3)
    assert seen["microgrid_2.signal_price [$/MWh]"] == pytest.approx(market + 10.0, abs=1e-3)


def test_no_messages_carry_it():
    protocol = {"type": "price_markup", "params": {"over_messages": True}}
    with pytest.raises(ConfigError, match="over_messages"):
        powergrid.make("ieee13_single", agents={"operator_1": {"protocol": protocol}})
