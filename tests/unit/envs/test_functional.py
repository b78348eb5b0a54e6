"""The functional environment: what it says of its agents, and that mapping it changes nothing."""

import numpy as np
import pytest

import powergrid

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

BATTERIES = {
    "network": "ieee13",
    "agents": [
        {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "learned", "params": {"capacity_mwh": 1.0}},
        {
            "id": "ess_2",
            "type": "ESS",
            "bus": "675",
            "policy": "learned",
            "interval": 7200,
            "params": {"capacity_mwh": 1.0, "sn_mva": 0.6},
            "presence": {"leaves": 10800},
        },
    ],
}


@pytest.fixture(scope="module")
def env():
    return powergrid.make_functional(BATTERIES, pad="all", time_step=3600, episode_length=4)


def test_spaces_are_those_of_the_parallel_environment(env):
    parallel = powergrid.make(BATTERIES, backend="numpy", pad="all", time_step=3600, episode_length=4)
    assert env.observation_spaces == parallel.observation_spaces
    assert env.action_spaces == parallel.action_spaces


def test_mapped_and_native_batches_play_the_same(env):
    keys = jax.random.key_data(jax.random.split(jax.random.key(4), 3))
    actions = {"agents": jnp.full((3, 2, env.action_size["agents"]), 0.3)}
    native = jax.jit(env.reset)(keys)
    mapped = jax.jit(jax.vmap(env.reset))(keys)
    step, mapped_step = jax.jit(env.step), jax.jit(jax.vmap(env.step))
    for _ in range(5):
        for one, other in zip(jax.tree.leaves(native[:2]), jax.tree.leaves(mapped[:2]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        native, mapped = step(keys, native[1], actions), mapped_step(keys, mapped[1], actions)


def test_mapped_steps_skip_resets(env):
    keys = jax.random.key_data(jax.random.split(jax.random.key(4), 6)).reshape(2, 3, 2)
    actions = {"agents": jnp.zeros((2, 3, 2, env.action_size["agents"]))}
    _, state = jax.eval_shape(env.reset, keys)
    for step in (env.step, jax.vmap(env.step), jax.vmap(jax.vmap(env.step))):
        assert " cond[" in str(jax.make_jaxpr(step)(keys, state, actions))


def test_effective_numbers_of_the_next_action(env):
    _, state = jax.jit(env.reset)(jax.random.key(0))
    step, found = jax.jit(env.step), []
    actions = {"agents": jnp.zeros((2, env.action_size["agents"]))}
    for _ in range(4):
        found.append(env.effective(state)["agents"].tolist())
        state = step(None, state, actions)[1]
    both, first = [[True, False], [True, True]], [[True, False], [False, False]]
    assert found == [both, first, both, first]  # the second one decides every other hour, and leaves after three


def test_begin_gives_the_central_state_too(env):
    @jax.jit
    def both(key):
        observations, central, state = env.begin(key)
        return observations["agents"], env.reset(key)[0]["agents"], central, env.central_state(state)

    observations, of_reset, central, of_state = both(jax.random.key(1))
    np.testing.assert_array_equal(observations, of_reset)
    np.testing.assert_array_equal(central, of_state)
