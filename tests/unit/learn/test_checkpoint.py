"""Checkpoints that are whole, damaged, foreign or cannot be written; the actor inside them."""

import errno
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile

import jax
import numpy as np
import pytest
from toy_battery import ToyBattery

from powergrid.core import files
from powergrid.core.errors import RunError
from powergrid.learn import checkpoint
from powergrid.learn.algorithms.mappo import mappo
from powergrid.learn.groups import ByGroup
from powergrid.learn.policy import Seen, mean_actions
from powergrid.learn.trained_policy import load_policy

ENV = ToyBattery({"big": 1, "small": 2})


def learner(**hyper):
    return mappo(ENV, 1000, {"num_envs": 4, "hidden": (8,), **hyper})


@pytest.fixture(scope="module")
def state():
    """A fresh state whose observation statistics are not trivial."""
    made = learner().init(3)
    norms = made.obs_norm.by_name()
    norms["small"] = norms["small"]._replace(mean=np.arange(4, dtype=np.float32), var=np.full(4, 4.0, np.float32))
    return made._replace(obs_norm=ByGroup.of(ENV.groups, norms))


def save(folder, state, step=640):
    checkpoint.save(folder, state, groups=ENV.groups, step=step)
    return folder / checkpoint.FILE_NAME


def test_every_leaf_comes_back_bit_for_bit(tmp_path, state):
    path = save(tmp_path, state)
    back, step = checkpoint.restore(path, learner().init(9), ENV.groups)
    assert step == 640
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(old, new)


def test_keys_are_readable_and_nothing_is_pickled(tmp_path, state):
    keys = checkpoint.load(save(tmp_path, state))
    expected = {"actor/small/dense_0/kernel", "obs_norm/small/mean", "critic/dense_1/bias", "optimiser/count", "key"}
    assert expected <= set(keys)
    assert {"env/soc", "step", "groups/small"} <= set(keys)
    assert all(array.dtype != object for array in keys.values())


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.999])
def test_a_truncated_file_is_refused_with_advice(tmp_path, state, kept):
    path = save(tmp_path, state)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(RunError, match=r"truncated, damaged.*delete it and train again"):
        checkpoint.load(path)


def test_a_flipped_bit_is_noticed(tmp_path, state):
    path = save(tmp_path, state)
    damaged = bytearray(path.read_bytes())
    at = damaged.index(np.asarray(state.actor["small"]["dense_0"]["kernel"]).tobytes())
    damaged[at] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(RunError, match="damaged"):
        checkpoint.load(path)


def test_foreign_files_and_missing_ones_are_refused(tmp_path, state):
    text = tmp_path / "notes.npz"
    text.write_text("not an archive")
    with pytest.raises(RunError, match="some other file"):
        checkpoint.load(text)
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(3))
    with pytest.raises(RunError, match="no checkpoint of this version"):
        checkpoint.load(other)
    with pytest.raises(RunError, match="train first"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("hyper", [{"hidden": (16,)}, {"hidden": (8, 8)}, {"num_envs": 8}, {"share_actors": False}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, state, hyper):
    save(tmp_path, state)
    with pytest.raises(RunError, match="another algorithm, network size or configuration"):
        checkpoint.restore(tmp_path, learner(**hyper).init(0), ENV.groups)


def resaved(path, **changes):
    arrays = checkpoint.load(path)
    arrays.update(changes)
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, state, value):
    path = save(tmp_path, state)
    kernel = np.array(state.actor["small"]["dense_1"]["kernel"])
    kernel[0, 0] = value
    resaved(path, **{"actor/small/dense_1/kernel": kernel})
    for read in (load_policy, lambda path: checkpoint.restore(path, learner().init(0), ENV.groups)):
        with pytest.raises(RunError, match=r"actor/small/dense_1/kernel holds -?(nan|inf)"):
            read(path)


def test_weights_that_are_not_finite_are_never_written(tmp_path, state):
    path = save(tmp_path, state, step=1)
    diverged = state._replace(value_norm=state.value_norm._replace(mean=np.full(3, np.nan, np.float32)))
    with pytest.raises(RunError, match=r"learning diverged: value_norm/mean holds nan.*older checkpoint is kept"):
        save(tmp_path, diverged, step=2)
    assert int(checkpoint.load(path)["step"]) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("actor/small/dense_0/kernel", np.zeros((3, 8), np.float32), "fit no layer of 2 agents behind"),
        ("actor/small/dense_0/kernel", np.zeros(8, np.float32), "fit no layer"),
        ("actor/small/dense_1/bias", np.zeros(2, np.float32), "fit no layer"),
        ("actor/small/dense_1/bias", np.zeros(1, int), "fit no layer"),
        ("actor/small/dense_0/bias", None, "lacks"),
        ("obs_norm/small/var", np.full(4, -1.0, np.float32), "negative"),
        ("obs_norm/small/mean", np.zeros((3, 4), np.float32), "obs_norm/small has shapes"),
        ("obs_norm/big/count", None, "lacks"),
        ("groups/small", np.array(["small_0", "small_0"]), "one of them twice"),
        ("step", np.array(1.5), "after how many steps"),
        ("format", np.array(["powergrid-checkpoint-1"] * 2), "no checkpoint of this version"),
    ],
)
def test_actors_that_do_not_fit_together_are_refused(tmp_path, state, key, value, message):
    path = save(tmp_path, state)
    resaved(path, **{key: value})
    with pytest.raises(RunError, match=message):
        load_policy(path)


def test_a_checkpoint_that_claims_more_than_it_holds_is_refused(tmp_path, state):
    """A header of 10^12 entries in a file of a few kilobytes; nothing of that size is asked of the machine."""
    path = save(tmp_path, state)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("actor/big/dense_9/kernel.npy", header.getvalue())
    tracemalloc.start()
    with pytest.raises(RunError, match="claims 8,000,000,000,000 bytes and has 0"):
        checkpoint.load(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_columns_of_other_agents_are_not_taken_over(tmp_path, state):
    save(tmp_path, state)
    swapped = {"small": ENV.groups["small"], "big": ENV.groups["big"]}
    with pytest.raises(RunError, match="checkpoint is of the agents"):
        checkpoint.restore(tmp_path, learner().init(0), swapped)


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, state, monkeypatch):
    path = save(tmp_path, state, step=1)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match=r"disk is full.*kept"):
        save(tmp_path, state, step=2)
    assert int(checkpoint.load(path)["step"]) == 1
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.FILE_NAME]


@pytest.mark.parametrize("share_actors", [True, False])
def test_the_numpy_actor_equals_the_jax_actor(tmp_path, share_actors):
    learning = learner(share_actors=share_actors)
    state = learning.init(1)
    rng = np.random.default_rng(0)
    state = state._replace(  # weights large enough that the clip at 1 matters
        actor=jax.tree.map(lambda leaf: rng.normal(0.0, 0.7, leaf.shape).astype(np.float32), state.actor),
        obs_norm=jax.tree.map(lambda leaf: rng.uniform(0.5, 2.0, leaf.shape).astype(np.float32), state.obs_norm),
    )
    actor = load_policy(save(tmp_path, state))
    obs = {
        group: rng.normal(0.0, 3.0, (5, len(members), 4)).astype(np.float32) for group, members in ENV.groups.items()
    }
    seen = Seen(ByGroup.make(obs, lambda group: learning_normal(state, group, obs[group])))
    raw = mean_actions(learning.network, state.actor, seen)
    seen = {agent: obs[g][:, i] for g, members in ENV.groups.items() for i, agent in enumerate(members)}
    found = actor.act(seen, deterministic=True)
    assert max(abs(np.asarray(rows)).max() for rows in raw.parts) > 1.0
    for group, members in ENV.groups.items():
        for i, agent in enumerate(members):
            np.testing.assert_allclose(found[agent], np.clip(raw[group][:, i], -1, 1), rtol=1e-4, atol=1e-5)


def learning_normal(state, group, rows):
    norm = state.obs_norm[group]
    return np.clip((rows - norm.mean) / np.sqrt(norm.var + 1e-8), -10, 10)


@pytest.mark.parametrize("share_actors", [True, False])
def test_an_agents_own_layers_give_its_actions(tmp_path, share_actors):
    actor = load_policy(save(tmp_path, learner(share_actors=share_actors).init(2)))
    obs = np.random.default_rng(1).standard_normal(4).astype(np.float32)
    norm, layers = actor.agent_layers("small_1")
    x = (obs - norm.mean) / np.sqrt(norm.var + 1e-8)
    for kernel, bias in layers[:-1]:
        x = np.tanh(x @ kernel + bias)
    mean = x @ layers[-1][0] + layers[-1][1]
    found = actor.act({"small_1": obs}, deterministic=True)
    assert set(found) == {"small_1"}
    np.testing.assert_allclose(found["small_1"], np.clip(mean, -1, 1), rtol=1e-4, atol=1e-6)


def test_acting_needs_no_jax(tmp_path, state):
    path = save(tmp_path, state)
    code = (
        "import sys, numpy as np; import powergrid; "
        f"a = powergrid.load_policy({str(path)!r}); a.act({{'big_0': np.zeros(4)}}); assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("share_actors", [True, False])
def test_drawn_actions_spread_as_in_training(tmp_path, share_actors):
    path = save(tmp_path, learner(share_actors=share_actors, log_std=-1.5).init(2))  # few draws are clipped
    policy, seen = load_policy(path, seed=1), {"small_1": np.zeros((20_000, 4), np.float32)}
    spread = policy.act(seen)["small_1"] - policy.act(seen, deterministic=True)["small_1"]
    assert spread.std() == pytest.approx(np.exp(-1.5), rel=0.02)
    assert abs(spread.mean()) < 0.01
    first, other = load_policy(path, seed=1).act(seen), load_policy(path, seed=2)
    np.testing.assert_array_equal(other.act(seen, rng=np.random.default_rng(1))["small_1"], first["small_1"])
    assert not np.array_equal(other.act(seen)["small_1"], first["small_1"])
