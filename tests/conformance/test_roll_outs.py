"""Both roll-outs are one: the same days, observations, rewards, ends and values for the same noise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import powergrid
from powergrid.core.errors import NotCompilableError, RunError
from powergrid.envs.functional import FunctionalEnv
from powergrid.learn import checkpoint, compiled_roll_out
from powergrid.learn.algorithms.ippo import ippo
from powergrid.learn.algorithms.mappo import mappo
from powergrid.learn.algorithms.ppo_lagrangian import ppo_lagrangian
from powergrid.learn.stream_keys import stream_keys

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
TICKS = 5
SMALL = {"num_envs": 3, "rollout": TICKS, "minibatches": 1, "hidden": (8,), "log_std": 0.5}


BATTERY = {"id": "ess", "type": "ESS", "bus": "17", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3}}
FAILING = {
    "name": "failing",
    "network": {
        "base": "case33bw",
        "outages": [{"branch": ["line_27", "line_5"], "start": [0, 900], "duration": 1800, "probability": 0.9}],
    },
    "agents": [BATTERY],
}
RATES = {
    "name": "rates",
    "network": "case33bw",
    "agents": [{**BATTERY, "interval": 1800}, {**BATTERY, "id": "other", "bus": "20", "interval": 2700, "offset": 900}],
}
LEAVING = {
    "name": "leaving",
    "network": "case33bw",
    "agents": [
        {**BATTERY, "presence": {"joins": [0, 900], "leaves": 1800}},
        {**BATTERY, "id": "other", "bus": "20"},
        {**BATTERY, "id": "third", "bus": "25", "presence": {"lifetime_h": 0.5}},
    ],
}
LIMITED = {**LEAVING, "training": {"cost_limits": {"voltage": 0.5, "overload": 0.1}, "max_penalty": 3.0}}


@pytest.mark.parametrize(
    ("source", "algorithm"),
    [
        pytest.param("ieee34_multi", mappo, marks=pytest.mark.slow),
        ("p2p_microgrids", ippo),
        pytest.param(FAILING, mappo, marks=pytest.mark.slow, id="outages"),
        pytest.param(RATES, mappo, marks=pytest.mark.slow, id="intervals"),
        pytest.param(LEAVING, ippo, marks=pytest.mark.slow, id="presence"),
        pytest.param(LIMITED, ppo_lagrangian, marks=pytest.mark.slow, id="limits"),
    ],
)
def test_both_roll_outs_give_the_same_batch(source, algorithm):
    """Over an end of episodes, which comes after three ticks, and twice, from where the first left off."""
    env = powergrid.make_functional(source, episode_length=3)
    learners = {kind: algorithm(env, 10**6, {**SMALL, "roll_out": kind}) for kind in ("jax", "compiled")}
    states = {kind: learner.init(1) for kind, learner in learners.items()}
    learner, on_jax, compiled = states["jax"].learner, learners["jax"].roll_out, learners["compiled"].roll_out
    acted = jax.jit(on_jax.acted, compiler_options=QUICK)
    lanes, other_lanes = states["jax"].lanes, states["compiled"].lanes
    for update in range(2):
        learner = learner._replace(updates=jnp.asarray(update, jnp.int32))
        noise = compiled.noise(learner)
        keys = stream_keys(jnp, learner.key, learner.updates, 1, (TICKS, 3))
        lanes, one = acted(learner, lanes, noise, keys)
        other_lanes, two = compiled.acted(learner, other_lanes, noise)
        assert one.done.sum() == 3 * (1 + update)
        ended = np.asarray(one.done)[..., None]
        one = one._replace(final_value=np.where(ended, one.final_value, 0.0))
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(two), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4, err_msg=jax.tree_util.keystr(path))
        for a, b in zip(jax.tree.leaves(lanes[1:]), jax.tree.leaves(other_lanes[1:]), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_a_resumed_run_goes_on_to_the_same_bits_on_any_number_of_threads(tmp_path, monkeypatch):
    """From a checkpoint in mid-episode, each chunk in a thread or one chunk after the other."""
    monkeypatch.setattr(compiled_roll_out, "CHUNK", 2)
    env = powergrid.make_functional("ieee34_multi")

    def learner():
        made = mappo(env, 100, {**SMALL, "roll_out": "compiled"})
        made._learn = jax.jit(made._learned, compiler_options=QUICK)
        return made

    whole = learner()
    state = whole.init(7)
    for update in range(3):
        if update == 1:
            checkpoint.save(tmp_path, state, groups=env.groups, step=1)
        state, _ = whole.update(state)
    parts = learner()
    parts.roll_out._threads = ThreadPoolExecutor(1)
    again, _ = checkpoint.restore(tmp_path, parts.init(8), env.groups)
    for _ in range(2):
        again, _ = parts.update(again)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def test_weights_that_are_not_finite_are_reported_as_such():
    learner = mappo(powergrid.make_functional("ieee34_multi"), 100, {**SMALL, "roll_out": "compiled"})
    state = learner.init(0)
    spoiled = state.learner._replace(actor=jax.tree.map(lambda leaf: leaf * np.nan, state.actor))
    with pytest.raises(RunError, match=r"learning diverged.*ess_1.*smaller learning_rate"):
        learner.roll_out.collect(spoiled, state.lanes)


def test_what_is_chosen_can_be_told_from_the_settings():
    """The compiled step on a CPU where it takes the configuration, and JAX for environments of one's own."""
    assert jax.default_backend() != "cpu" or chosen(powergrid.make_functional("ieee13_single")) == "compiled"

    class Wrapped(FunctionalEnv):
        """Somebody's own."""

    plain = powergrid.make_functional("ieee13_single")
    own = Wrapped(plain.world)
    assert chosen(own) == "jax"
    with pytest.raises(NotCompilableError, match="make_functional"):
        mappo(own, 100, {**SMALL, "roll_out": "compiled"})


def chosen(env) -> str:
    return mappo(env, 100, SMALL).settings.roll_out
