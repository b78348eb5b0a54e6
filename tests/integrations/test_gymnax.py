"""gymnax: the environment behaves as its interface says, and its kind of script learns on it."""

import importlib
import sys

import numpy as np
import pytest

pytest.importorskip("gymnax", reason='needs pip install "powergrid-marl[gymnax]"')

import jax
import jax.numpy as jnp
from gymnax.environments.environment import Environment, EnvParams, EnvState
from gymnax.wrappers.purerl import FlattenObservationWrapper, LogWrapper
from pages import run_page
from pure_jax_ppo import TICKS, outcomes

import powergrid
from powergrid.core.errors import ConfigError, MissingExtraError
from powergrid.integrations import gymnax

SHORT = {"time_step": 3600, "episode_length": 3}


@pytest.fixture(scope="module")
def made():
    return gymnax.make("ieee13_single", **SHORT)


@pytest.fixture(scope="module")
def key():
    return jax.random.PRNGKey(3)


def played(env, key, ticks, params=None):
    """Results of the steps of one environment, with the same action in each."""
    _, state = env.reset(key, params)
    found = []
    for k in jax.random.split(key, ticks):
        found.append(env.step(k, state, jnp.zeros(env.num_actions), params))
        state = found[-1][1]
    return found


def test_has_the_form_of_the_library(made, key):
    env, params = made
    observation, state = env.reset(key, params)
    assert isinstance(env, Environment)
    assert isinstance(params, EnvParams)
    assert isinstance(state, EnvState)
    assert params == env.default_params
    assert params.max_steps_in_episode == 3
    assert env.observation_space(params).contains(observation)
    assert env.observation_space(params).shape == observation.shape
    assert env.action_space(params).shape == (env.num_actions,)
    np.testing.assert_array_equal(env.get_obs(state), observation)
    _, after, reward, terminated, truncated, info = env.step(key, state, env.action_space(params).sample(key), params)
    assert after.time == 1
    assert reward.shape == terminated.shape == truncated.shape == info["cost"].shape == ()
    assert info["converged"]
    assert info["discount"] == 1.0


def test_steps_are_those_of_the_functional_environment(made, key):
    env, _ = made
    plain = powergrid.make_functional("ieee13_single", normalize=True, auto_reset=False, **SHORT)
    _, state = jax.jit(plain.reset)(key)
    (group,) = plain.groups
    for observation, _, reward, *_, info in played(env, key, 2):
        actions = {group: jnp.zeros((1, env.num_actions))}
        seen, state, rewards, _, known = jax.jit(plain.step)(key, state, actions)
        np.testing.assert_allclose(observation, seen[group][0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(reward, rewards[group][0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(info["cost"], known["costs"][0].sum(-1), rtol=1e-4, atol=1e-4)


def test_the_key_of_the_last_step_starts_the_next_episode(made, key):
    env, params = made
    *_, before, last = played(env, key, 3, params)
    ends = [(bool(terminated), bool(truncated)) for *_, terminated, truncated, _ in (before, last)]
    assert ends == [(False, False), (False, True)]
    first, _ = env.reset(jax.random.split(jax.random.split(key, 3)[-1])[1], params)
    np.testing.assert_array_equal(last[0], first)
    assert last[1].time == 0
    final, after, *_ = env.step_env(key, before[1], jnp.zeros(env.num_actions), params)
    np.testing.assert_allclose(last[-1]["final_observation"], final, rtol=1e-4, atol=1e-4)
    assert after.time == 3


def test_parameters_shorten_an_episode(made, key):
    env, _ = made
    steps = played(env, key, 2, EnvParams(max_steps_in_episode=2))
    assert [bool(truncated) for *_, truncated, _ in steps] == [False, True]
    steps = played(env, key, 3, EnvParams(max_steps_in_episode=99))
    assert [bool(truncated) for *_, truncated, _ in steps] == [False, False, True]


def test_a_mapped_scan_plays_what_single_environments_play(made, key):
    env, params = made
    keys = jax.random.split(key, 2)

    @jax.jit
    def play(keys):
        _, state = jax.vmap(env.reset, in_axes=(0, None))(keys, params)

        def tick(state, keys):
            actions = jnp.zeros((2, env.num_actions))
            _, state, reward, _, truncated, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
                keys, state, actions, params
            )
            return state, (reward, truncated)

        steps = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 4))(keys), 0, 1)
        return jax.lax.scan(tick, state, steps)[1]

    rewards, truncated = play(keys)
    assert truncated[:, 0].tolist() == [False, False, True, False]
    for which, own in enumerate(keys):
        alone = [float(step[2]) for step in played(env, own, 4)]
        np.testing.assert_allclose(rewards[:, which], alone, rtol=1e-4, atol=1e-4)


def test_gradients_pass_on_demand(made, key):
    env, params = made

    def later(action, env):
        _, state = env.reset(key, params)
        _, state, *_ = env.step_env(key, state, action, params)
        return env.step_env(key, state, jnp.zeros(env.num_actions), params)[0].sum()

    slopes = [
        jax.jit(jax.grad(lambda action, env=kind: later(action, env)))(jnp.zeros(env.num_actions))
        for kind in (env, env.with_transition_gradients())
    ]
    assert not slopes[0].any()
    assert slopes[1].any()


def test_needs_one_learning_agent():
    with pytest.raises(ConfigError, match="microgrid_1"):
        gymnax.make("two_microgrids")


def test_names_the_extra(monkeypatch):
    for name in [*sys.modules]:
        if name.partition(".")[0] == "gymnax" or name == "powergrid.integrations.gymnax":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(MissingExtraError, match=r"powergrid-marl\[gymnax\]"):
        importlib.import_module("powergrid.integrations.gymnax")


def test_ppo_learns():
    """A script of the form of PureJaxRL, with the wrappers of the library."""
    num_envs = 64
    env, params = gymnax.make("ieee13_single", time_step=3600, episode_length=TICKS)
    env = LogWrapper(FlattenObservationWrapper(env))

    def reset(key):
        return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)

    def step(key, state, actions):
        keys = jax.random.split(key, num_envs)
        seen, state, reward, terminated, truncated, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            keys, state, actions, params
        )
        return seen, state, reward, terminated | truncated

    sizes = env.observation_space(params).shape[0], env.num_actions
    found = outcomes(reset, step, sizes, reward_scale=0.01)
    print(found)
    assert found.trained > max(found.random, found.untrained) + 0.1 * abs(found.random)


def test_the_page_runs(capsys):
    run_page("gymnax.md")
    assert capsys.readouterr().out
