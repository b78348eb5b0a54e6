"""Advantages against plain loops over ticks and over decisions."""

import numpy as np
import pytest

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


def by_decisions(reward, value, next_value, terminated, done, due):
    """One environment, from the definition of a semi-Markov process: advantages of its decisions, by tick."""
    intervals = []  # first tick, discounted reward, discount of what follows, its value, whether the episode ends
    for start in np.flatnonzero(due):
        total, weight, t = 0.0, 1.0, start
        while True:
            total, weight = total + weight * reward[t], weight * DISCOUNT
            if done[t] or t + 1 == len(reward) or due[t + 1]:
                break
            t += 1
        intervals.append((start, total, weight, 0.0 if terminated[t] else next_value[t], done[t]))
    advantage, following = {}, 0.0
    for start, total, weight, future, ends in reversed(intervals):
        following = 0.0 if ends else following
        following = total + weight * future - value[start] + weight * TRACE_DECAY * following
        advantage[start] = following
    return advantage


@pytest.fixture
def fragment():
    rng = np.random.default_rng(0)
    reward, value, final_value = rng.standard_normal((3, 20, 6)).astype(np.float32)
    done = rng.random((20, 6)) < 0.2
    terminated = done & (rng.random((20, 6)) < 0.5)
    assert terminated.any()
    assert (done & ~terminated).any()
    next_value = np.where(done, final_value, np.concatenate([value[1:], final_value[-1:]]))
    return reward, value, next_value, terminated, done


def test_equals_the_definition_with_time_limits_and_terminations(fragment):
    due = np.ones((20, 6), bool)
    found = generalised_advantage(*fragment, due, discount=DISCOUNT, trace_decay=TRACE_DECAY)
    for lane in range(6):
        rows = (column[:, lane] for column in fragment)
        np.testing.assert_allclose(found[:, lane], by_hand(*rows), rtol=1e-5, atol=1e-5)


def test_between_decisions_rewards_are_summed_and_discounted(fragment):
    """Decisions at random ticks: the advantage of each is that of a semi-Markov process."""
    due = np.random.default_rng(1).random((20, 6)) < 0.4
    found = np.asarray(generalised_advantage(*fragment, due, discount=DISCOUNT, trace_decay=TRACE_DECAY))
    for lane in range(6):
        wanted = by_decisions(*(column[:, lane] for column in fragment), due[:, lane])
        assert len(wanted) == due[:, lane].sum()
        np.testing.assert_allclose(found[list(wanted), lane], list(wanted.values()), rtol=1e-5, atol=1e-5)


def test_a_time_limit_keeps_the_value_of_the_last_state():
    ones, yes, no = np.ones((1, 1), np.float32), np.ones((1, 1), bool), np.zeros((1, 1), bool)
    arguments = {"discount": 0.5, "trace_decay": 1.0}
    truncated = generalised_advantage(ones, ones, 4.0 * ones, no, yes, yes, **arguments)
    terminated = generalised_advantage(ones, ones, 4.0 * ones, yes, yes, yes, **arguments)
    assert truncated.item() == 2.0
    assert terminated.item() == 0.0
