"""skrl: its environments play what `make_vec` plays, and what it trains is evaluated here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("skrl", reason="needs skrl: make test-integrations")

import torch
from pages import costs, run_page
from skrl.agents.torch.td3 import TD3, TD3_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
from skrl.utils import set_seed
from systems import FORMS, UNEQUAL, leaves_after

import powergrid
from powergrid.core.errors import ActionError, ArgumentError, ConfigError, RunError
from powergrid.integrations.skrl import as_policy, make, make_shared

SHORT = {"episode_length": 3}
LEAVES = leaves_after(1800)


class Linear(DeterministicMixin, Model):
    """One layer: a policy from observations to actions, or a critic from both to their value."""

    def __init__(self, env, critic=False):
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        Model.__init__(self, **spaces, device="cpu")
        DeterministicMixin.__init__(self)
        self.critic, sizes = critic, (self.num_observations, self.num_actions)
        self.net = torch.nn.Linear(sum(sizes), 1) if critic else torch.nn.Linear(*sizes)

    def compute(self, inputs, role):
        parts = [inputs["observations"], *([inputs["taken_actions"]] if self.critic else [])]
        return self.net(torch.cat(parts, dim=-1)), {}


def drawn(shape, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, *shape)).astype(np.float32)


@pytest.mark.parametrize("source", ["p2p_microgrids", UNEQUAL], ids=["equal", "unequal"])
def test_agents_play_what_the_vector_environment_plays(source):
    """Over two episodes and a half, and the steps between, bit for bit."""
    set_seed(5)
    env = make(source, 2, device="cpu", **SHORT)
    vector = powergrid.make_vec(source, 2, autoreset="next_step", **SHORT)
    seen, (expected, _) = env.reset()[0], vector.reset(seed=5)
    assert (env.num_envs, env.num_agents, env.possible_agents) == (2, 3, vector.possible_agents)
    for tick in range(9):
        for uid, rows in expected.items():
            np.testing.assert_array_equal(seen[uid], rows)
            np.testing.assert_array_equal(env.state()[uid], vector.state())
            assert env.state_space(uid).shape == env.state()[uid].shape[1:]
            assert env.observation_space(uid).shape == seen[uid].shape[1:]
        actions = {uid: drawn((2, *env.action_space(uid).shape), 1, tick)[0] for uid in env.agents}
        seen, rewards, terminated, truncated, _ = env.step({uid: torch.as_tensor(a) for uid, a in actions.items()})
        expected, paid, _, over, _ = vector.step(actions)
        for uid in env.agents:
            np.testing.assert_array_equal(rewards[uid][:, 0], paid[uid].astype(np.float32))
            np.testing.assert_array_equal(truncated[uid][:, 0], over)
            assert truncated[uid].all() == (tick in (2, 6))  # the step after an end begins the next episode
            assert not terminated[uid].any()
    env.close()


def test_lanes_are_the_agents():
    set_seed(5)
    env, agents = (form(UNEQUAL, 2, pad="all", device="cpu", **FORMS, **SHORT) for form in (make_shared, make))
    assert env.num_envs == 6
    seen, each = env.reset()[0], agents.reset()[0]
    for actions in drawn((2, 3, *env.action_space.shape), 5):
        np.testing.assert_array_equal(seen, torch.stack(list(each.values()), 1).reshape(6, -1))
        np.testing.assert_array_equal(env.state()[::3], agents.state()["ess_1"])
        seen, *rest, _ = env.step(torch.as_tensor(actions.reshape(6, -1)))
        each, *others, _ = agents.step({uid: torch.as_tensor(actions[:, row]) for row, uid in enumerate(each)})
        for own, by_agent in zip(rest, others, strict=True):
            np.testing.assert_array_equal(own, torch.stack(list(by_agent.values()), 1).reshape(6, 1))


def test_equal_to_the_librarys_own_wrapper():
    set_seed(9)
    single = powergrid.make_vec("ieee13_single", 2, api="gymnasium", **SHORT)
    theirs, env = (
        wrap_env(single, wrapper="gymnasium", verbose=False),
        make_shared("ieee13_single", 2, api="gymnasium", device="cpu", **SHORT),
    )
    np.testing.assert_array_equal(env.reset()[0], theirs.reset()[0])
    for actions in drawn((2, *env.action_space.shape), 5):
        results = zip(env.step(torch.as_tensor(actions)), theirs.step(torch.as_tensor(actions)), strict=True)
        for own, other in list(results)[:4]:
            np.testing.assert_array_equal(own, other)
            assert own.dtype == other.dtype


def test_seeds_hold_for_one_reset():
    set_seed(3)
    env, other = (make_shared("two_microgrids", 2, device="cpu", **SHORT) for _ in range(2))
    first = env.reset()[0]
    np.testing.assert_array_equal(first, other.reset()[0])
    assert not np.array_equal(first, env.reset()[0])
    set_seed(4)  # environment 0 with seed 4 is environment 1 with 3
    np.testing.assert_array_equal(first[2:], make_shared("two_microgrids", 2, device="cpu", **SHORT).reset()[0][:2])


@pytest.mark.parametrize("form", [make, make_shared])
def test_an_agent_that_leaves_terminates_alone(form):
    env = form(LEAVES, 2, pad="all", device="cpu", **SHORT)
    env.reset()
    ends = []
    for _ in range(3):
        if form is make:
            parts = env.step({uid: torch.zeros(2, *env.action_space(uid).shape) for uid in env.agents})
            seen, paid, terminated, truncated = (torch.stack(list(part.values()), 1) for part in parts[:4])
        else:
            parts = env.step(torch.zeros(4, *env.action_space.shape))
            seen, paid, terminated, truncated = (part.reshape(2, 2, -1) for part in parts[:4])
        ends.append((terminated[0, :, 0].tolist(), truncated.all().item()))
    assert ends == [([False, False], False), ([False, True], False), ([False, False], True)]
    assert not seen[:, 1].any()
    assert not paid[:, 1].any()
    assert seen[:, 0].any()


def test_an_episode_that_physics_ends_is_no_time_out():
    env = make_shared(
        "ieee13_single", 2, network={"base": "ieee13", "load_scale": 100.0}, terminate_on_divergence=True, device="cpu"
    )
    env.reset()
    _, _, terminated, truncated, _ = env.step(torch.zeros(2, *env.action_space.shape))
    assert (terminated.all(), truncated.any()) == (True, False)


def test_one_environment_goes_on_after_its_episode():
    env = make_shared("ieee13_single", 1, device="cpu", **SHORT)
    days = []
    step = env.step

    def watched(actions):
        days.append(env.batch.get_state().day.item())
        return step(actions)

    env.step = watched
    SequentialTrainer(cfg=trainer(7), env=env, agents=off_policy(env)).train()
    assert len(set(days[:3])) == len(set(days[3:6])) == 1
    assert len(set(days)) > 1


def trainer(timesteps):
    return SequentialTrainerCfg(
        timesteps=timesteps, headless=True, disable_progressbar=True, close_environment_at_exit=False
    )


def off_policy(env):
    models = {"policy": Linear(env), "target_policy": Linear(env)}
    models |= {f"{kind}critic_{k}": Linear(env, critic=True) for kind in ("", "target_") for k in (1, 2)}
    cfg = TD3_CFG(learning_starts=2, batch_size=4)
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    memory = RandomMemory(memory_size=8, num_envs=env.num_envs, device="cpu")
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
    return TD3(models=models, memory=memory, cfg=cfg, **spaces, device="cpu")


@pytest.mark.parametrize("residual", [None, "rule_based"])
def test_a_deterministic_policy_of_one_role_is_evaluated(residual):
    env = make_shared(UNEQUAL, 2, role="ess", residual=residual, device="cpu", **FORMS, **SHORT)
    agent = off_policy(env)
    SequentialTrainer(cfg=trainer(6), env=env, agents=agent).train()
    cfg = {**UNEQUAL, "simulation": SHORT}
    policies = [{"skrl": as_policy(agent, env)}, "rule_based"]
    found, rule = powergrid.evaluate(cfg, policy=policies, days=[3], show=False).outcomes
    assert found.residual == residual
    follows = 0.0 if residual else rule.arrays["actions"][:, :, 1]
    np.testing.assert_array_equal(found.arrays["actions"][:, :, 1] - follows, 0.0)  # the generator follows the rule
    shapes = env.batch._shapes
    seen = shapes.observation(np, found.arrays["obs"][:, 0])[:, env.lanes._columns].reshape(2, -1)
    with torch.no_grad():
        actions = agent.policy.net(torch.as_tensor(seen)).numpy()
    own = found.arrays["actions"][0, 0, [0, 2]]
    np.testing.assert_allclose(own[:, : actions.shape[1]], np.clip(actions, -1, 1)[:, : own.shape[1]], atol=1e-6)


def test_what_cannot_be_used_is_refused_with_a_sentence():
    with pytest.raises(ConfigError, match=r"one learning agent"):
        make_shared("p2p_microgrids", 2, api="gymnasium")
    with pytest.raises(ConfigError, match=r'agents "ess_1" and "dg_1" have different spaces\n *pad="all" gives'):
        make_shared(UNEQUAL, 2, pad=None)
    with pytest.raises(ConfigError, match=r'there is no role "es"\n *did you mean "ess"'):
        make_shared(UNEQUAL, 2, role="es")
    env, lanes = make(UNEQUAL, 2, device="cpu", **SHORT), make_shared(UNEQUAL, 2, device="cpu", **SHORT)
    env.reset(), lanes.reset()
    with pytest.raises(ActionError, match=r"dg_1"):
        env.step({uid: torch.zeros(2, *env.action_space(uid).shape) for uid in ("ess_1", "ess_2")})
    with pytest.raises(ActionError, match=r"actions have shape \(2, 1\), expected \(6, \d\): rows are lanes"):
        lanes.step(torch.zeros(2, 1))
    agent = off_policy(lanes)
    with pytest.raises(ArgumentError, match=r"TD3 needs what .*make_shared returned, not PowerGridMultiAgentWrapper"):
        as_policy(agent, env)
    with pytest.raises(ArgumentError, match=r"shape \(\d+,\) with other bounds.*arguments of the training"):
        as_policy(agent, make_shared(UNEQUAL, 2, normalize=True, device="cpu", **SHORT))
    with pytest.raises(RunError, match=r"evaluate the configuration that the environment of the policy was made of"):
        powergrid.evaluate("two_microgrids", policy={"skrl": as_policy(agent, lanes)}, days=[3], show=False)


def test_the_page_in_short_begins_near_the_rule(tmp_path, monkeypatch):
    """One that all agents share, and one each with a central critic."""
    monkeypatch.chdir(tmp_path)
    names = run_page("skrl.md", updates=("updates = 60", "updates = 2"), timesteps=("timesteps=288", "timesteps=96"))
    cost = costs(names)
    assert cost["shared"] < 1.05 * cost["rule_based"] < cost["random"]
    assert cost["mappo"] < cost["random"]
    assert (tmp_path / "microgrids.pt").exists()
    other = make("p2p_microgrids", 1, device="cpu")
    with pytest.raises(ArgumentError, match=r'observation space of "microgrid_1" of shape \(\d+,\) with other bounds'):
        as_policy(names["agents"], other)
    with pytest.raises(ArgumentError, match=r"MAPPO needs what .*make returned, not PowerGridWrapper"):
        as_policy(names["agents"], names["env"])
