"""Advantages against a plain loop over ticks."""

import numpy as np

from powergrid.learn.returns import generalised_advantage

DISCOUNT, TRACE_DECAY = 0.97, 0.9


def by_hand(reward, value, next_value, terminated, done):
    """One environment, from the definition: the sum of discounted errors until the episode ends."""
    advantage = []
    for start in range(len(reward)):
        total, weight = 0.0, 1.0
        for t in range(start, len(reward)):
            future = 0.0 if terminated[t] else DISCOUNT * next_value[t]
            total += weight * (reward[t] + future - value[t])
            weight *= DISCOUNT * TRACE_DECAY
            if done[t]:
                break
        advantage.append(total)
    return advantage


def test_equals_the_definition_with_time_limits_and_terminations():
    rng = np.random.default_rng(0)
    reward, value, next_value = rng.standard_normal((3, 20, 6)).astype(np.float32)
    done = rng.random((20, 6)) < 0.2
    terminated = done & (rng.random((20, 6)) < 0.5)
    assert terminated.any()
    assert (done & ~terminated).any()
    found = generalised_advantage(
        reward, value, next_value, terminated, done, discount=DISCOUNT, trace_decay=TRACE_DECAY
    )
    for lane in range(6):
        rows = (column[:, lane] for column in (reward, value, next_value, terminated, done))
        np.testing.assert_allclose(found[:, lane], by_hand(*rows), rtol=1e-5, atol=1e-5)


def test_a_time_limit_keeps_the_value_of_the_last_state():
    ones, yes, no = np.ones((1, 1), np.float32), np.ones((1, 1), bool), np.zeros((1, 1), bool)
    arguments = {"discount": 0.5, "trace_decay": 1.0}
    truncated = generalised_advantage(ones, ones, 4.0 * ones, no, yes, **arguments)
    terminated = generalised_advantage(ones, ones, 4.0 * ones, yes, yes, **arguments)
    assert truncated.item() == 2.0
    assert terminated.item() == 0.0
