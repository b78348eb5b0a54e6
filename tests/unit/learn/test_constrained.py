"""Algorithms with limits: the limit holds where the optimum is known, and the pieces on the way."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_battery import ToyConfig

import powergrid
from powergrid.core.errors import ConfigError
from powergrid.engine import formulas
from powergrid.envs import SixValueEnv
from powergrid.learn import checkpoint, policy
from powergrid.learn.algorithms.cpo import cpo
from powergrid.learn.algorithms.ppo_lagrangian import ppo_lagrangian
from powergrid.learn.constraints import Constraints, worst_costs
from powergrid.learn.groups import ByGroup
from powergrid.learn.multipliers import relative_excess
from powergrid.learn.train import train
from powergrid.worlds.world import RewardSettings

HOURS = 24
HEATERS = ("heater_0", "heater_1")
LIMIT = 24.0
QUICK = {"num_envs": 32, "rollout": HOURS, "minibatches": 4, "hidden": (16,), "learning_rate": 3e-3}


class ToyState(NamedTuple):
    tick: Any


class ToyHeaters:
    """Two heaters earn ``2 u - u^2`` an hour with ``u = action + 1`` in [0, 2], and each costs ``u``.

    Without a limit they choose u = 1, which costs 48 $ a day; a limit d on the cost of both gives ``u = d / 48``.
    """

    episode_length = HOURS
    days = (0, 1, 2)
    groups = MappingProxyType({"heater": HEATERS})
    agents = HEATERS
    observation_size = action_size = MappingProxyType({"heater": 1})
    state_size = 1
    constraint_names = ("heat",)
    world: Any = SimpleNamespace(
        resolved=ToyConfig(), limited=lambda names: [0] if "heat" in names else [], reward=RewardSettings()
    )

    def __init__(self, limit: float | None = LIMIT):
        self.cost_limits = {} if limit is None else {"heat": limit}

    def reset(self, key):
        state = ToyState(jnp.zeros(key.shape[:-1], jnp.int32))
        return self.seen(state), state

    def seen(self, state):
        return {"heater": jnp.broadcast_to((state.tick / HOURS)[..., None, None], (*state.tick.shape, 2, 1))}

    def central_state(self, state):
        return (state.tick / HOURS)[..., None]

    def step(self, key, state, actions):
        used = actions["heater"][..., 0] + 1.0
        done = state.tick + 1 >= HOURS
        after = ToyState(jnp.where(done, 0, state.tick + 1))
        earned = 2.0 * used - used**2
        info = {
            "final_obs": self.seen(after),
            "final_state": self.central_state(after),
            "state": self.central_state(after),
            "terminated": jnp.zeros_like(done),
            "truncated": done,
            "due": {"heater": jnp.ones_like(used, bool)},
            "money": -earned[..., None],
            "costs": used[..., None],
        }
        return self.seen(after), after, {"heater": earned - used}, {"__all__": done}, info  # costs are priced at 1


def used_by(learner, state) -> float:
    """What both heaters use in a day by their mean actions."""
    hours = jnp.broadcast_to((jnp.arange(HOURS) / HOURS)[:, None, None], (HOURS, 2, 1))
    obs = ByGroup.of(ToyHeaters.groups, {"heater": hours})
    seen = policy.Seen(policy.normal_obs(learner.network, state.obs_norm, obs))
    means = policy.mean_actions(learner.network, state.actor, seen)
    return float((jnp.clip(means["heater"][..., 0], -1.0, 1.0) + 1.0).sum())


@pytest.mark.parametrize(
    ("algorithm", "extra"),
    [
        (ppo_lagrangian, {}),
        pytest.param(cpo, {"divergence": 0.03, "curvature_share": 1.0}, marks=pytest.mark.slow),
    ],
    ids=["ppo_lagrangian", "cpo"],
)
def test_the_limit_holds_where_the_optimum_is_known(algorithm, extra):
    """At the configured price of 1 both would use 24, whatever the limit."""
    for limit in (12.0, 36.0):
        learner = algorithm(ToyHeaters(limit), 120 * 32 * HOURS, {**QUICK, **extra, "worst_share": 1.0})
        state = learner.init(0)
        for _ in range(120):
            state, metrics = learner.update(state)
        assert used_by(learner, state) == pytest.approx(limit, rel=0.15)
        assert float(metrics["cost_heat"]) == pytest.approx(limit, rel=0.2)


def test_a_limit_that_does_not_bind_changes_nothing_but_the_price():
    """The multiplier of what stays below its limit falls under the configured price, down to nothing."""
    learner = ppo_lagrangian(ToyHeaters(100.0), 40 * 32 * HOURS, {**QUICK, "worst_share": 1.0})
    state = learner.init(0)
    for _ in range(40):
        state, metrics = learner.update(state)
    assert float(metrics["multiplier_heat"]) < 0.5
    assert used_by(learner, state) > 40.0


@pytest.mark.parametrize("algorithm", [ppo_lagrangian, pytest.param(cpo, marks=pytest.mark.slow)])
def test_resumed_runs_go_on_with_their_multipliers(algorithm, tmp_path):
    env = ToyHeaters()
    first = algorithm(env, 10**5, QUICK)
    state = first.init(3)
    for update in range(4):
        if update == 2:
            checkpoint.save(tmp_path, state, groups=env.groups, step=1)
        state, _ = first.update(state)
    second = algorithm(env, 10**5, QUICK)
    again, _ = checkpoint.restore(tmp_path, second.init(4), env.groups)
    for _ in range(2):
        again, _ = second.update(again)
    assert jax.tree.leaves(again.multipliers)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_algorithm_without_a_limit_to_keep_is_refused():
    with pytest.raises(ConfigError, match=r"(?s)training\.cost_limits.*\{heat: 0\.5\}"):
        ppo_lagrangian(ToyHeaters(None), 100, QUICK)


def test_an_algorithm_that_keeps_no_limit_says_so(tmp_path):
    small = {"num_envs": 4, "rollout": HOURS, "hidden": (8,), "out": tmp_path / "run", "progress": False}
    with pytest.warns(UserWarning, match=r"cost_limits.*heat.*mappo.* prices violations.*ppo_lagrangian, cpo and apg"):
        train(ToyHeaters(), algo="mappo", steps=96, **small)


def test_limits_of_constraints_that_are_not_there_are_refused_by_name():
    with pytest.raises(ConfigError) as caught:
        powergrid.make("ieee13_single", cost_limits={"voltag": 0.5, "shared_voltage": 1.0})
    first, second = caught.value.issues
    assert first.path == "training.cost_limits.voltag"
    assert "voltage" in first.hint
    assert second.path == "training.cost_limits.shared_voltage"
    limits = {"cost_limits": {"voltage": 1.0}}
    with pytest.raises(ConfigError, match=r"(?s)training\.cost_limits.*operator_1.*objective: own"):
        powergrid.make("ieee13_single", agents={"operator_1": {"objective": "all"}}, **limits)
    with pytest.raises(ConfigError, match=r"cost_limits\.voltage.*greater than or equal to 0"):
        powergrid.make("ieee13_single", cost_limits={"voltage": -1.0})


def test_environments_have_the_limits_of_their_configuration():
    limits = {"voltage": 0.5}
    env = powergrid.make("ieee13_single", cost_limits=limits)
    by_name = dict(zip(env.constraint_names, env.cost_limits.tolist(), strict=True))
    assert by_name["voltage"] == by_name["shared_voltage"] == 0.5
    assert sum(by_name.values()) == 1.0
    assert np.array_equal(powergrid.make_vec("ieee13_single", 2, cost_limits=limits).cost_limits, env.cost_limits)
    functional = powergrid.make_functional("ieee13_single", cost_limits=limits)
    assert functional.cost_limits == limits


@pytest.mark.parametrize("ceiling", [float("inf"), 2.0])
def test_limited_violations_leave_the_reward(ceiling):
    """What the columns hold and the reward add up to money alone, and to the penalty of what has no limit."""
    env = powergrid.make_functional("p2p_microgrids", cost_limits={"voltage": 0.5}, max_penalty=None)
    settings = RewardSettings(safety_scale=3.0, max_penalty=ceiling)
    object.__setattr__(env.world, "reward", settings)
    rng = np.random.default_rng(0)
    costs = rng.uniform(0.0, 1.0, (5, len(env.agents), len(env.constraint_names)))
    money = rng.uniform(-1.0, 1.0, costs.shape)
    scales = settings.reward_scale, settings.safety_scale, settings.max_penalty

    def rewards(costs):
        return formulas.reward(np, money.sum(-1), costs.sum(-1), *scales)

    columns = Constraints(env).columns(np, rewards(costs), costs)
    reward, limited = columns[:, : len(env.agents)], columns[:, len(env.agents) :]
    voltage = [k for k, name in enumerate(env.constraint_names) if name.endswith("voltage")]
    rest = costs.copy()
    rest[..., voltage] = 0.0
    np.testing.assert_allclose(limited, costs[..., voltage].sum(-1))
    np.testing.assert_allclose(reward, rewards(rest))


def test_costs_are_measured_over_the_worst_episodes():
    """Ten environments that cost 0 ... 9 $ a tick in four ticks, of episodes of eight."""
    costs = np.tile(np.arange(10.0)[None, :, None], (4, 1, 1))
    rollout: Any = SimpleNamespace(reward=np.concatenate([np.zeros_like(costs), costs], -1))
    assert worst_costs(rollout, 1, 8, 0.2) == pytest.approx([68.0])  # of 8 and 9
    assert worst_costs(rollout, 1, 8, 1.0) == pytest.approx([36.0])
    assert relative_excess(np.array([3.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0])) == pytest.approx([0.5, 0.0, 0.0])


def test_six_values_hold_the_cost_apart_from_the_reward():
    env = SixValueEnv(
        powergrid.make("ieee34_microgrid", api="gymnasium", cost_limits={"voltage": 2.0}, safety_scale=2.0)
    )
    plain = powergrid.make("ieee34_microgrid", api="gymnasium", safety_scale=2.0)
    first, _ = env.reset(seed=3)
    again, _ = plain.reset(seed=3)
    np.testing.assert_array_equal(first, again)
    total = 0.0
    for _ in range(96):
        action = np.zeros(env.action_space.shape, np.float32)
        _, reward, cost, *ended = env.step(action)[:5]
        _, priced, *others, info = plain.step(action)
        assert ended == others
        assert reward - 2.0 * cost == pytest.approx(priced)
        assert cost == pytest.approx(sum(v for k, v in plain.env.named(info)["costs"].items() if "voltage" in k))
        total += cost
    assert total > 0.0
    assert env.cost_limit == 2.0
