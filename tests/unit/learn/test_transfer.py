"""Runs that begin with the weights of another one, and agents that are frozen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from toy_battery import ToyBattery

import powergrid
from powergrid.core.errors import ConfigError, RunError
from powergrid.learn import checkpoint

SMALL = {"num_envs": 4, "rollout": 24, "epochs": 1, "minibatches": 1, "hidden": (8,), "roll_out": "jax"}
SMALL |= {"learning_rate": 0.02, "entropy_weight": 0.1}  # the bonus moves the spread even of agents without decisions
UPDATE = 4 * 24
GROUPS = {"big": 1, "small": 2}


def learn(out, updates=3, groups=GROUPS, extra=0, **given):
    env = ToyBattery(groups, extra=extra)
    return powergrid.train(env, steps=UPDATE * updates, out=out, progress=False, **{**SMALL, **given})


def weights(run, *parts):
    return {key: array for key, array in checkpoint.load(run).items() if key.startswith(parts)}


def assert_equal(one, other):
    assert one.keys() == other.keys() != set()
    for key, array in one.items():
        np.testing.assert_array_equal(array, other[key], err_msg=key)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run whose agents have an actor each."""
    return learn(tmp_path_factory.mktemp("runs") / "own", share_actors=False)


def test_a_run_begins_with_the_weights_of_another(first, tmp_path):
    """The first update only measures, so that its weights are still those of the beginning."""
    second = learn(tmp_path / "second", updates=1, init_from=first, seed=5)
    assert_equal(weights(second, "actor/", "critic/"), weights(first, "actor/", "critic/"))
    count = "obs_norm/small/count"
    assert checkpoint.load(second)[count] == checkpoint.load(first)[count] + 2 * UPDATE
    assert checkpoint.load(second)["step"] == UPDATE
    assert json.loads((second / "meta.json").read_text())["init_from"] == str(first)
    with pytest.raises(RunError, match=r"init_from is .*first in this run, not elsewhere"):
        learn(second, init_from="elsewhere", resume=True, updates=2)
    with pytest.raises(RunError, match="there is no checkpoint"):
        learn(tmp_path / "third", init_from=tmp_path / "nothing")
    assert not (tmp_path / "third").exists()


def test_actors_of_a_group_come_from_a_run_of_their_own(first, tmp_path):
    run = learn(tmp_path / "run", updates=1, init_from={"small": first}, groups={"large": 1, "small": 2})
    assert_equal(weights(run, "actor/small"), weights(first, "actor/small"))
    fresh = learn(tmp_path / "fresh", updates=1, groups={"large": 1, "small": 2})
    assert_equal(weights(run, "actor/large", "critic/"), weights(fresh, "actor/large", "critic/"))
    assert json.loads((run / "meta.json").read_text())["init_from"] == {"small": str(first)}
    for named, message in (
        ({"smal": first}, 'no group "smal" that learns\n.*did you mean "small"'),
        ({"big": first, "small": tmp_path}, "there is no checkpoint"),
    ):
        with pytest.raises((ConfigError, RunError), match=message):
            learn(tmp_path / "other", init_from=named)
    with pytest.raises(ConfigError, match=r"actor/small/dense_0/bias has shape \[8\] there, \[4\] here"):
        learn(tmp_path / "other", init_from={"small": first}, hidden=(4,))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"hidden": (16, 16)},
            r"layer actor/big/dense_0/bias has shape \[8\] there, \[16\] here\n.*layers are \[8\].*hidden=\[8\] fits",
        ),
        (
            {"extra": 2},
            r"layer actor/big/dense_0/kernel has shape \[4, 8\] there, \[6, 8\] here\n.*observe 4 numbers and set 1, "
            r"here 1, which observe 6 and set 1",
        ),
        (
            {"groups": {"big": 1, "small": 3}},
            r"layer actor/small/dense_0/kernel has shape \[6, 8\] there, \[7, 8\] here\n.*\"small\" has 2 agents there",
        ),
        (
            {"share_actors": False},
            r"layer actor/big/dense_0/bias has shape \[8\] there, \[1, 8\] here\n.*share_actors=True",
        ),
        ({"algo": "ippo"}, r"layer critic/big/dense_0/bias is not there, \[8\] here\n.*same algorithm"),
        ({"groups": {"bigg": 1, "small": 2}}, r'no group "bigg"\n.*did you mean "big"'),
    ],
)
def test_weights_of_other_shapes_are_refused_by_layer(first, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        learn(tmp_path / "run", init_from=first, **given)
    assert not (tmp_path / "run").exists()


def test_a_frozen_group_keeps_its_bits_and_the_others_learn(first, tmp_path):
    run = learn(tmp_path / "run", updates=2, freeze="small", init_from=first)
    learn(run, updates=4, resume=True)
    assert_equal(weights(run, "actor/small", "obs_norm/small"), weights(first, "actor/small", "obs_norm/small"))
    now, before = weights(run, "actor/big"), weights(first, "actor/big")
    assert all(not np.array_equal(now[key], before[key]) for key in now)
    moments = weights(run, "optimiser/")
    still = [key for key in moments if "actor/small/dense_0/kernel" in key]
    assert len(still) == 2
    assert all(not moments[key].any() for key in still)
    with pytest.raises(RunError, match=r"freeze is \['small'\] in this run"):
        learn(run, freeze="big", resume=True)


@pytest.mark.slow
def test_apg_begins_with_another_run_and_freezes_too(tmp_path):
    given = {"algo": "apg", "steps": 4 * 24 * 3, "progress": False, "num_envs": 4, "hidden": (8,)}
    begun = powergrid.train(ToyBattery(GROUPS), out=tmp_path / "begun", **given)
    run = powergrid.train(ToyBattery(GROUPS), out=tmp_path / "run", init_from=begun, freeze="small", **given)
    assert_equal(weights(run, "actor/small", "obs_norm/small"), weights(begun, "actor/small", "obs_norm/small"))
    now, before = weights(run, "actor/big"), weights(begun, "actor/big")
    assert all(not np.array_equal(now[key], before[key]) for key in now)
    with pytest.raises(ConfigError, match=r"(?s)dense_0/kernel has shape .* there, .*observe 4 numbers and set 1"):
        powergrid.train(ToyBattery(GROUPS, extra=1), out=tmp_path / "other", init_from=begun, **given)


def test_one_agent_of_a_group_keeps_its_bits_where_each_has_an_actor(own, tmp_path):
    run = learn(tmp_path / "run", init_from=own, freeze=["small_1"], share_actors=False)
    for key, before in weights(own, "actor/small", "obs_norm/small").items():
        if key.endswith("count"):
            continue
        now = checkpoint.load(run)[key]
        np.testing.assert_array_equal(now[1], before[1], err_msg=key)
        assert not np.array_equal(now[0], before[0]), key


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (["smal"], 'no group or agent "smal" that learns\n.*did you mean "small'),
        (
            ["small_1"],
            r'small_1 shares one actor with the rest of group "small" \(small_0, small_1\)\n.*share_actors=False',
        ),
        (["big", "small_0", "small_1"], "no agent is left that learns"),
    ],
)
def test_what_cannot_be_frozen_is_refused(tmp_path, freeze, message):
    with pytest.raises(ConfigError, match=message):
        learn(tmp_path / "run", freeze=freeze)
    assert not (tmp_path / "run").exists()
