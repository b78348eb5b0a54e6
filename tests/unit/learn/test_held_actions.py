"""Actors learn from decisions alone: an action between two decisions has no effect and leaves no trace."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_battery import ToyBattery

from powergrid.learn.algorithms.mappo import mappo
from powergrid.learn.learner_state import Rollout

SMALL = {"num_envs": 4, "rollout": 24, "epochs": 1, "minibatches": 2, "hidden": (8,)}


@pytest.fixture(scope="module")
def collected():
    """A learner after its first update, which changes no weight, and its next roll-out."""
    learner = mappo(ToyBattery({"big": 1, "small": 2}, interval=4), 10**5, SMALL)
    state, _ = learner.update(learner.init(0))
    lanes, rollout = learner.roll_out.collect(state.learner, state.lanes)
    return learner, state, lanes, rollout


def changed(rollout: Rollout, where) -> Rollout:
    """The roll-out with other actions at some ticks."""
    return rollout._replace(action=rollout.action.map(lambda part: part + where[:, None, None, None]))


def test_actions_between_decisions_leave_no_trace(collected):
    learner, state, lanes, rollout = collected
    due = np.arange(24) % 4 == 0
    assert np.array_equal(rollout.due, np.broadcast_to(due[:, None, None], (24, 4, 3)))

    def weights(rollout):
        after, _ = learner._learn(state.learner, rollout, lanes.obs, lanes.central)
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(after.actor)])

    plain = weights(rollout)
    assert not np.array_equal(plain, np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.actor)]))
    assert np.array_equal(weights(changed(rollout, jnp.where(due, 0.0, 0.3))), plain)
    assert not np.array_equal(weights(changed(rollout, jnp.where(due, 0.3, 0.0))), plain)


def test_an_agent_without_a_decision_in_a_roll_out_learns_nothing_and_spoils_nothing(collected):
    learner, state, lanes, rollout = collected
    due = np.array(rollout.due)
    due[..., 0] = False
    fresh = state.learner._replace(optimiser=jax.tree.map(jnp.zeros_like, state.optimiser))  # moves nothing by itself
    after, metrics = learner._learn(fresh, rollout._replace(due=jnp.asarray(due)), lanes.obs, lanes.central)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.actor, after.critic, metrics)))
    for group, moved in (("big", False), ("small", True)):
        before, now = state.actor[group], after.actor[group]
        assert (not np.array_equal(before["dense_0"]["kernel"], now["dense_0"]["kernel"])) is moved
