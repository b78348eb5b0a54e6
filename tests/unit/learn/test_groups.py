"""Groups keep one order: no naming of agents mixes them up, and another naming gives the same run under other names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_battery import ToyBattery

from powergrid.learn import checkpoint
from powergrid.learn.algorithms.ippo import ippo
from powergrid.learn.algorithms.mappo import mappo
from powergrid.learn.critics import LocalCritic
from powergrid.learn.groups import ByGroup
from powergrid.learn.trained_policy import load_policy

SMALL = {"num_envs": 8, "rollout": 24, "epochs": 2, "minibatches": 2, "hidden": (8,)}
NAMINGS = [("a", "b", "c"), ("ess", "dg", "pv")]
COUNTS = (2, 1, 3)


def toy(names):
    return ToyBattery(dict(zip(names, COUNTS, strict=True)))


def test_the_order_outlives_every_transformation():
    made = ByGroup.of(("c", "a", "b"), {"a": jnp.zeros((4, 2)), "b": jnp.ones((4, 1)), "c": jnp.full((4, 3), 2.0)})
    expected = np.repeat([2.0, 0.0, 1.0], [3, 2, 1])
    mapped = jax.tree.map(lambda leaf: leaf[:1], made)
    traced = jax.jit(lambda values: values.map(lambda part: part + 0.0))(made)
    scanned = jax.lax.scan(lambda carry, row: (carry, row), 0, made)[1]
    for values in (made, mapped, traced, scanned):
        assert values.names == ("c", "a", "b")
        np.testing.assert_array_equal(values.columns()[0], expected)
    assert list(made.by_name()) == ["c", "a", "b"]


def test_groups_of_another_order_are_not_set_side_by_side():
    one = ByGroup(("a", "b"), (1, 2))
    other = ByGroup(("b", "a"), (1, 2))
    with pytest.raises(ValueError, match="set against"):
        one.map(lambda a, b: a + b, other)
    with pytest.raises(ValueError, match="pytree"):
        jax.tree.map(lambda a, b: a + b, one, other)
    with pytest.raises(KeyError, match="c"):
        ByGroup.of(("a", "c"), {"a": 1, "b": 2})


def test_a_local_critic_values_each_agent_by_its_own_group():
    env, rng = toy(("ess", "dg", "pv")), np.random.default_rng(0)
    critic = LocalCritic()
    weights = critic.init(rng, env, env.observation_size, (8,), True)
    obs = ByGroup.make(env.groups, lambda group: rng.normal(size=(5, len(env.groups[group]), 4)).astype(np.float32))
    central = np.zeros((5, env.state_size), np.float32)
    columns = np.asarray(critic.value(*jax.tree.map(lambda leaf: leaf, (weights, obs)), central))
    first = 0
    for group, members in env.groups.items():
        alone = ToyBattery({group: len(members)})
        single = ByGroup((group,), (weights[group],)), ByGroup((group,), (obs[group],))
        assert columns[:, first : first + len(members)].std() > 0.01
        found = critic.value(*single, np.zeros((5, alone.state_size), np.float32))
        np.testing.assert_allclose(columns[:, first : first + len(members)], found, rtol=1e-5, atol=1e-6)
        first += len(members)


@pytest.mark.parametrize(
    ("algorithm", "share_actors"), [pytest.param(mappo, True, marks=pytest.mark.slow), (ippo, False)]
)
def test_other_names_change_nothing_but_names(algorithm, share_actors, tmp_path):
    """Nothing has changed before anything is learned; afterwards every naming has learned the same, bit for bit."""
    curves, actors = [], []
    for names in NAMINGS:
        learner = algorithm(toy(names), 10 * 8 * 24, {**SMALL, "share_actors": share_actors})
        state, curve = learner.init(5), []
        for _ in range(4):
            state, metrics = learner.update(state)
            curve.append({name: float(value) for name, value in metrics.items()})
        checkpoint.save(tmp_path, state, groups=learner.env.groups, step=1)
        curves.append(curve)
        actors.append(load_policy(tmp_path))
    assert curves[0][0]["learning_rate"] == 0.0
    assert curves[0][0]["approx_kl"] < 1e-6
    assert curves[0][0]["clip_share"] == 0.0
    assert curves[0][-1]["approx_kl"] > 1e-6
    rows = np.random.default_rng(0).normal(size=(sum(COUNTS), 4)).astype(np.float32)
    seen = [dict(zip(actor.agents, rows, strict=True)) for actor in actors]
    acted = [actor.act(own, deterministic=True) for actor, own in zip(actors, seen, strict=True)]
    played = [np.concatenate(list(actions.values())) for actions in acted]
    assert curves[1] == curves[0]
    np.testing.assert_array_equal(played[1], played[0])
