"""Federated averaging: equal parameters or a weighted mean at its interval; refused where there is no mean."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from toy_battery import ToyBattery

import powergrid
from powergrid.agents.protocol import Pupil
from powergrid.agents.protocols.federated import FederatedAveraging
from powergrid.core.errors import ConfigError
from powergrid.learn.algorithms.ippo import ippo
from powergrid.learn.algorithms.mappo import mappo
from powergrid.learn.federation import Federation
from powergrid.learn.train import train
from powergrid.plugins.registries import ALGORITHMS
from powergrid.testing.coordination import check_protocol
from powergrid.worlds.build import build
from powergrid.worlds.world import Mixing

TINY = {"num_envs": 4, "rollout": 4, "epochs": 1, "minibatches": 2, "hidden": (4,)}
MEMBERS = ("battery_2", "battery_0", "store_0")  # of two groups, in an order of its own


def toy(**params):
    """Three batteries and two stores, of which three agents average."""
    env = ToyBattery({"battery": 3, "store": 2})
    protocol = FederatedAveraging(**params)
    matrix = protocol.mixing([Pupil(id) for id in MEMBERS])
    mixing = Mixing("federated", MEMBERS, protocol.interval, matrix)
    env.world = SimpleNamespace(resolved=ToyBattery.world.resolved, mixings=(mixing,))
    return env


def parameters(state, env):
    """All parameters of each agent's actor as one vector, by id."""
    found = {}
    for group, members in env.groups.items():
        leaves = jax.tree.leaves(state.actor[group])
        for row, id in enumerate(members):
            found[id] = np.concatenate([np.ravel(np.asarray(leaf)[row]) for leaf in leaves])
    return found


def updated(learner, updates, seed=0):
    """Parameters after each update, from the first weights on, and the metrics of each update."""
    state = learner.init(seed)
    rows, told = [parameters(state, learner.env)], []
    for _ in range(updates):
        state, metrics = learner.update(state)
        rows.append(parameters(state, learner.env))
        told.append(metrics)
    return rows, told


def test_members_are_equal_after_an_averaging_and_only_then_with_the_same_bits_for_the_same_seed():
    learner = mappo(toy(interval=2), 10_000, TINY)
    rows, told = updated(learner, 4)
    assert all((rows[0][MEMBERS[0]] == rows[0][id]).all() for id in MEMBERS)  # they begin alike
    assert not np.allclose(rows[0]["battery_1"], rows[0]["battery_0"])
    for update, now in enumerate(rows[1:], 1):
        same = [np.array_equal(now[MEMBERS[0]], now[id]) for id in MEMBERS[1:]]
        # the first update only measures, so that nothing has moved
        assert same == [update in (1, 2, 4)] * 2, update
    assert not np.allclose(rows[-1]["battery_1"], rows[-1]["battery_0"])
    # what the journal gets, one number each
    assert [metrics["mixings"].item() for metrics in told] == [0, 1, 0, 1]
    assert told[-1]["parameter_distance"].item() > 0.0
    again, _ = updated(learner, 2)
    for id, vector in rows[2].items():
        np.testing.assert_array_equal(again[2][id], vector)


def test_agents_have_actors_of_their_own_in_both_algorithms():
    for algorithm in (mappo, ippo):
        learner = algorithm(toy(), 100, TINY)
        assert learner.federation
        assert not learner.settings.share_actors


def test_a_mixing_gives_the_weighted_mean():
    env = toy(weight=0.25, shares={"battery_2": 1.0, "battery_0": 3.0, "store_0": 0.0})
    learner = mappo(env, 10_000, TINY)
    state = learner.init(3)
    moved = state.actor.map(
        lambda part: jax.tree.map(lambda leaf: leaf + np.arange(len(leaf)).reshape(-1, *[1] * (leaf.ndim - 1)), part)
    )
    before = parameters(state._replace(actor=moved), env)
    after, told = Federation(env).mixed(moved, 1)
    after = parameters(state._replace(actor=after), env)
    mean = 0.25 * before["battery_2"] + 0.75 * before["battery_0"]
    for id in MEMBERS:
        np.testing.assert_allclose(after[id], 0.75 * before[id] + 0.25 * mean, rtol=1e-5, atol=1e-6)
    for id in ("battery_1", "store_1"):
        np.testing.assert_array_equal(after[id], before[id])
    stacked = np.stack([before[id] for id in MEMBERS])
    assert float(told["parameter_distance"]) == pytest.approx(
        np.sqrt(np.mean((stacked - stacked.mean(0)) ** 2)), rel=1e-4
    )


def test_shared_actors_are_refused():
    with pytest.raises(ConfigError, match="nothing to mix"):
        mappo(toy(), 100, {**TINY, "share_actors": True})


def test_an_algorithm_that_does_not_average_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(ALGORITHMS._items, "own", lambda env, steps, hyper: SimpleNamespace(settings=None))
    with pytest.raises(ConfigError, match='"own" does not apply protocol federated'):
        train(toy(), algo="own", steps=16, out=tmp_path / "run", progress=False)


def test_shares_are_those_of_the_decisions_or_given():
    pupils = [Pupil("a", 1.0), Pupil("b", 0.25)]
    np.testing.assert_allclose(FederatedAveraging().mixing(pupils), [[0.8, 0.2]] * 2)
    np.testing.assert_allclose(
        FederatedAveraging(shares="equal", weight=0.5).mixing(pupils), [[0.75, 0.25], [0.25, 0.75]]
    )
    check_protocol("federated", interval=3, weight=0.3)
    with pytest.raises(ConfigError, match='"c" is no member'):
        FederatedAveraging(shares={"a": 1, "c": 1}).mixing(pupils)
    with pytest.raises(ConfigError, match='"b" has no share'):
        FederatedAveraging(shares={"a": 1}).mixing(pupils)


ESS = {"type": "ESS", "policy": "learned", "params": {"capacity_mwh": 1.0}}


def config(*protocols, **more):
    agents = [
        {**ESS, "id": "ess_1", "bus": "671"},
        {**ESS, "id": "ess_2", "bus": "675", "interval": 1800},
        {"id": "dg_1", "type": "DG", "bus": "680", "policy": "learned"},
        {**ESS, "id": "ess_3", "bus": "634", "policy": "rule_based"},
    ]
    simulation = {"episode_length": 4}
    return {"network": "ieee13", "agents": agents, "protocols": list(protocols), "simulation": simulation, **more}


def test_the_environment_ignores_it():
    world = build(config({"type": "federated", "members": ["ess_1", "ess_2"], "params": {"interval": 5}}))
    assert not world.layout.coordination.layers
    (mixing,) = world.mixings
    assert (mixing.members, mixing.interval) == (("ess_1", "ess_2"), 5)
    np.testing.assert_allclose(mixing.matrix, [[2 / 3, 1 / 3]] * 2)  # the second decides half as often
    env = powergrid.make(world.resolved, backend="numpy")
    assert env.possible_agents == ["ess_1", "ess_2", "dg_1"]


@pytest.mark.parametrize(
    ("protocols", "message"),
    [
        ([{"type": "federated", "members": ["ess_1", "dg_1"]}], "parameters of networks of different size"),
        ([{"type": "federated", "members": ["ess_1", "ess_3"]}], '"ess_3" does not learn'),
        ([{"type": "federated", "members": ["ess_1"]}], "fewer than two members"),
        ([{"type": "federated", "members": ["ess_1", "ess_2"]}] * 2, "is in another protocol"),
        ([{"type": "federated", "members": ["ess_1", "ess_2"], "interval": 900}], "after updates of the learners"),
        ([{"type": "federated", "members": ["ess_1", "ess_2"], "params": {"weight": 0}}], "greater than 0"),
        ([{"type": "federated", "members": ["ess_1", "ess_2"], "topology": "star"}], "knows no links"),
    ],
)
def test_what_cannot_be_averaged_is_refused_by_name(protocols, message):
    with pytest.raises(ConfigError, match=message):
        build(config(*protocols))


def test_a_coordinator_cannot_own_it():
    source = config()
    owner = {"id": "op", "type": "GridCoordinator", "sub_agents": ["ess_1"], "protocol": "federated"}
    source["agents"].append({**owner, "policy": "rule_based"})
    with pytest.raises(ConfigError, match="learning, a vertical one is needed"):
        build(source)
