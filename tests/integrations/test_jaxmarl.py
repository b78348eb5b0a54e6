"""JaxMARL: the environment behaves as its interface says, and its kind of script learns on it."""

import importlib
import sys

import numpy as np
import pytest

pytest.importorskip("jaxmarl", reason='needs pip install "powergrid-marl[jaxmarl]"')

import jax
import jax.numpy as jnp
from jaxmarl.environments.multi_agent_env import MultiAgentEnv, State
from jaxmarl.wrappers.baselines import LogWrapper
from pages import run_page
from pure_jax_ppo import TICKS, outcomes

import powergrid
from powergrid.core.errors import MissingExtraError
from powergrid.integrations import jaxmarl

SHORT = {"time_step": 3600, "episode_length": 3}


@pytest.fixture(scope="module")
def env():
    return jaxmarl.make("p2p_microgrids", **SHORT)


@pytest.fixture(scope="module")
def key():
    return jax.random.PRNGKey(3)


def zeros(env):
    return {agent: jnp.zeros(env.action_space(agent).shape) for agent in env.agents}


def played(env, key, ticks):
    """Results of the steps of one environment, with the same actions in each."""
    _, state = env.reset(key)
    found = []
    for k in jax.random.split(key, ticks):
        found.append(env.step(k, state, zeros(env)))
        state = found[-1][1]
    return found


def test_has_the_form_of_the_library(env, key):
    observations, state = env.reset(key)
    assert isinstance(env, MultiAgentEnv)
    assert isinstance(state, State)
    assert env.num_agents == 3
    assert env.agent_classes == {"microgrid": env.agents}
    for agent in env.agents:
        assert observations[agent].dtype == jnp.float32
        assert env.observation_space(agent).contains(observations[agent])
        assert env.observation_space(agent).shape == observations[agent].shape
    assert len({env.observation_space(agent).shape for agent in env.agents}) == 1
    assert env.world_state(state).shape == (env.world_state_size,)
    after, _, rewards, dones, infos = env.step(key, state, zeros(env))
    assert list(after) == list(observations)
    assert set(rewards) == set(env.agents)
    assert set(dones) == {*env.agents, "__all__"}
    assert {value.shape for value in infos.values()} == {(3,)}


def test_steps_are_those_of_the_functional_environment(env, key):
    plain = powergrid.make_functional("p2p_microgrids", normalize=True, pad="all", auto_reset=False, **SHORT)
    _, state = jax.jit(plain.reset)(key)
    for observations, after, rewards, _, infos in played(env, key, 2):
        seen, state, reward, _, info = plain.step(key, state, {"agents": jnp.zeros((3, 3))})
        np.testing.assert_allclose(jnp.stack(list(observations.values())), seen["agents"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            jnp.stack([rewards[agent] for agent in env.agents]), reward["agents"], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(env.world_state(after), info["state"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(infos["cost"], info["costs"][:3].sum(-1), rtol=1e-4, atol=1e-4)


def test_the_key_of_the_last_step_starts_the_next_episode(env, key):
    *_, before, last = played(env, key, 3)
    assert [bool(step[3]["__all__"]) for step in (before, last)] == [False, True]
    assert last[4]["truncated"].all()
    own = jax.random.split(jax.random.split(key, 3)[-1])[1]
    first, _ = env.reset(own)
    for agent in env.agents:
        assert last[3][agent]
        np.testing.assert_array_equal(last[0][agent], first[agent])
    assert last[1].step == 0


def test_the_next_episode_starts_in_a_given_state(env, key):
    _, given = env.reset(jax.random.PRNGKey(9))
    state = played(env, key, 2)[-1][1]
    observations, after, _, dones, _ = env.step(key, state, zeros(env), given)
    assert dones["__all__"]
    for agent in env.agents:
        np.testing.assert_array_equal(observations[agent], given.observations[agent])
    np.testing.assert_array_equal(after.running.seed_key, given.running.seed_key)


def test_step_env_starts_no_episode(env, key):
    state = played(env, key, 2)[-1][1]
    observations, after, _, dones, _ = env.step_env(key, state, zeros(env))
    assert dones["__all__"]
    assert after.step == 3
    assert after.done
    final = played(env, key, 3)[-1][0]
    assert any((observations[agent] != final[agent]).any() for agent in env.agents)


def test_a_mapped_scan_plays_what_single_environments_play(env, key):
    keys = jax.random.split(key, 2)
    actions = {agent: jnp.zeros((2, *env.action_space(agent).shape)) for agent in env.agents}

    @jax.jit
    def play(keys):
        _, state = jax.vmap(env.reset)(keys)

        def tick(state, keys):
            _, state, rewards, dones, _ = jax.vmap(env.step)(keys, state, actions)
            return state, (rewards, dones["__all__"])

        steps = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 4))(keys), 0, 1)
        return jax.lax.scan(tick, state, steps)[1]

    rewards, ended = play(keys)
    assert ended[:, 0].tolist() == [False, False, True, False]
    for which, own in enumerate(keys):
        for tick, step in enumerate(played(env, own, 4)):
            for agent in env.agents:
                np.testing.assert_allclose(rewards[agent][tick, which], step[2][agent], rtol=1e-4, atol=1e-4)


def test_absent_agents_are_done_and_have_no_actions(key):
    agents = [
        {"id": f"ess_{k}", "type": "ESS", "bus": bus, "policy": "learned", "params": {"capacity_mwh": 1.0}, **presence}
        for k, (bus, presence) in enumerate([("802", {}), ("808", {"presence": {"leaves": 3600}})])
    ]
    env = jaxmarl.make({"network": "ieee34", "agents": agents}, **SHORT)
    _, state = env.reset(key)
    assert all(mask.all() for mask in env.get_avail_actions(state).values())
    _, state, _, dones, _ = env.step(key, state, zeros(env))
    assert [bool(dones[name]) for name in ("ess_0", "ess_1", "__all__")] == [False, True, False]
    assert env.get_avail_actions(state)["ess_0"].all()
    assert not env.get_avail_actions(state)["ess_1"].any()


def test_padding_is_no_available_action(key):
    env = jaxmarl.make("voltage_control_13", episode_length=4)
    _, state = env.reset(key)
    unpadded = powergrid.make_functional("voltage_control_13")
    available = env.get_avail_actions(state)
    for agent in env.agents:
        own = unpadded.action_spaces[agent].shape[0]
        assert available[agent].tolist() == [True] * own + [False] * (len(available[agent]) - own)


def test_names_the_extra(monkeypatch):
    for name in [*sys.modules]:
        if name.partition(".")[0] == "jaxmarl" or name == "powergrid.integrations.jaxmarl":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jaxmarl", None)
    with pytest.raises(MissingExtraError, match=r"powergrid-marl\[jaxmarl\]"):
        importlib.import_module("powergrid.integrations.jaxmarl")


def test_ippo_learns():
    """A script of the form of the library's IPPO: agents of all environments are one batch of actors."""
    num_envs = 32
    env = LogWrapper(jaxmarl.make("p2p_microgrids", time_step=3600, episode_length=TICKS))
    agents, actors = env.agents, env.num_agents * num_envs

    def batchify(by_agent):
        return jnp.stack([by_agent[agent] for agent in agents]).reshape(actors, -1)

    def unbatchify(rows):
        return dict(zip(agents, rows.reshape(len(agents), num_envs, -1), strict=True))

    def reset(key):
        observations, state = jax.vmap(env.reset)(jax.random.split(key, num_envs))
        return batchify(observations), state

    def step(key, state, actions):
        keys = jax.random.split(key, num_envs)
        observations, state, rewards, dones, infos = jax.vmap(env.step)(keys, state, unbatchify(actions))
        jax.tree.map(lambda x: x.reshape(actors), infos)  # as the scripts do
        return batchify(observations), state, batchify(rewards)[:, 0], batchify(dones)[:, 0]

    sizes = env.observation_space(agents[0]).shape[0], env.action_space(agents[0]).shape[0]
    found = outcomes(reset, step, sizes, reward_scale=0.02)
    print(found)
    assert found.trained > max(found.random, found.untrained) + 0.1 * abs(found.random)


def test_the_page_runs(capsys):
    run_page("jaxmarl.md")
    assert capsys.readouterr().out
