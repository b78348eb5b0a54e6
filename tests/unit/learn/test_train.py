"""Runs: they learn, stop, resume as if nothing had happened, and refuse to overwrite each other."""

import errno
import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_battery import HOURS, ToyBattery

from powergrid.core import files
from powergrid.core.errors import ArgumentError, ConfigError, RunError, UnknownNameError
from powergrid.learn import checkpoint
from powergrid.learn.callbacks import Run, TensorBoard
from powergrid.learn.journal import Journal
from powergrid.learn.train import train
from powergrid.learn.trained_policy import load_policy
from powergrid.report.files import read_metrics

SMALL = {
    "num_envs": 32,
    "rollout": 24,
    "epochs": 3,
    "minibatches": 4,
    "hidden": (16, 16),
    "learning_rate": 3e-3,
    "log_std": -0.5,
    "discount": 0.99,  # these batteries are paid hours after they buy
    "trace_decay": 0.95,
}
STEPS = 32 * 24 * 60


def toy():
    return ToyBattery({"battery": 2})


def play(policy, env):
    """Mean money earned in one episode of 64 environments [$]."""
    obs, state = env.reset(jnp.arange(128, dtype=jnp.uint32).reshape(64, 2) * jnp.uint32(40_503_871))
    step, total = jax.jit(env.step), 0.0
    for _ in range(HOURS):
        obs, state, _, _, info = step(jnp.zeros((64, 2), jnp.uint32), state, policy(obs))
        total -= info["money"].sum((-1, -2)).mean()
    return float(total)


def comparable(folder):
    """Rows of the curve without what the clock wrote."""
    return [
        {name: value for name, value in row.items() if name not in ("time_s", "steps_per_s", "rollout_s")}
        for row in read_metrics(folder)
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One uninterrupted run."""
    return train(toy(), steps=STEPS, out=tmp_path_factory.mktemp("runs") / "whole", progress=False, **SMALL)


def test_it_learns_to_trade(finished):
    env, actor = toy(), load_policy(finished)
    rng = np.random.default_rng(0)
    learned = play(lambda obs: actor.actions(obs, {})[0], env)
    random = play(lambda obs: {group: rng.uniform(-1, 1, (64, 2, 1)) for group in obs}, env)
    assert learned > 2.8  # a clairvoyant trader earns 3.99 with two batteries
    assert abs(random) < 0.6


def test_a_run_folder_tells_its_story(finished):
    meta = json.loads((finished / "meta.json").read_text())
    assert meta["algorithm"] == "mappo"
    assert meta["seed"] == 0
    assert meta["settings"]["num_envs"] == 32
    assert meta["versions"]["jax"] == jax.__version__
    assert meta["days"] == [0, 1, 2]
    assert (finished / "config.yaml").read_text() == toy().world.resolved.to_yaml()
    rows = read_metrics(finished)
    assert [row["step"] for row in rows] == [32 * 24 * (i + 1) for i in range(60)]
    assert rows[-1]["episode_reward"] > rows[0]["episode_reward"] + 1.0
    assert rows[-1]["episodes"] == 32
    assert rows[-1]["episode_reward"] == pytest.approx(-rows[-1]["episode_money"], rel=1e-4)


class Terminated(Exception):
    """What the process's own handler of SIGTERM does."""


@pytest.fixture
def own_handler():
    def handler(number, frame):
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_terminated_run_resumes_bit_for_bit(finished, tmp_path, monkeypatch, own_handler):
    folder, write = tmp_path / "parts", Journal.write

    def interrupt(journal, row):
        write(journal, row)
        if row["step"] == 32 * 24 * 23:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Journal, "write", interrupt)
    with pytest.raises(Terminated):
        train(toy(), steps=STEPS, out=folder, progress=False, **SMALL)
    monkeypatch.undo()
    assert int(checkpoint.load(folder)["step"]) == 32 * 24 * 23
    with open(folder / "metrics.jsonl", "a") as file:  # what a kill after the checkpoint leaves behind
        file.write(json.dumps({"step": 32 * 24 * 24, "episode_reward": 99.0}) + '\n{"step": 32')
    train(toy(), out=folder, resume=True, progress=False)
    assert comparable(folder) == comparable(finished)
    whole, parts = checkpoint.load(finished), checkpoint.load(folder)
    assert set(whole) == set(parts)
    for key in whole:
        np.testing.assert_array_equal(whole[key], parts[key], err_msg=key)


def test_a_run_is_not_overwritten(finished):
    before = (finished / "checkpoint.npz").read_bytes()
    with pytest.raises(RunError, match=r"already a run.*--resume"):
        train(toy(), steps=STEPS, out=finished, progress=False, **SMALL)
    assert (finished / "checkpoint.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [({"seed": 1}, "seed is 0"), ({"num_envs": 64}, "num_envs is 32"), ({"algo": "ippo"}, "algorithm is mappo")],
)
def test_a_resumed_run_keeps_its_settings(finished, given, message):
    with pytest.raises(RunError, match=message):
        train(toy(), out=finished, resume=True, progress=False, **given)


def test_there_must_be_a_run_to_resume(tmp_path):
    with pytest.raises(RunError, match="no run to resume"):
        train(toy(), out=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("meta.json", b"{", "not valid JSON"),
        ("meta.json", b"[]", "not an object"),
        ("meta.json", b"\x80\x00", "it is no text"),
        ("meta.json", b'{"algorithm": "mappo", "steps": 5}', r"no meta\.json of a run \(seed: field required\)"),
        ("config.yaml", b"\x80\x00", "configuration differs"),
        ("metrics.jsonl", b"\x80\x00", "it is no text"),
        ("metrics.jsonl", b'3\n{"step": 1}\n', "line 1 of .*not an object"),
        ("checkpoint.npz", b"PK", "not a readable checkpoint"),
    ],
)
def test_a_run_with_a_damaged_file_is_not_resumed(finished, tmp_path, file, content, message):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / file).write_bytes(content)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(RunError, match=message):
        train(toy(), out=folder, resume=True, progress=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("file", ["config.yaml", "meta.json"])
def test_a_disk_that_is_full_at_once_leaves_no_half_of_a_run(tmp_path, monkeypatch, file):
    folder, sync = tmp_path / "run", files.os.fsync

    def full(descriptor):
        if file in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match=r"disk is full.*run it again"):
        train(toy(), steps=STEPS, out=folder, progress=False, **SMALL)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="disk is full"):
        train(toy(), steps=STEPS, out=folder, progress=False, **SMALL)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_learning_that_diverges_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(RunError, match=r"learning diverged.*smaller learning_rate"):
        train(toy(), steps=STEPS, out=tmp_path, progress=False, **{**SMALL, "learning_rate": 1e11})
    assert not (tmp_path / "checkpoint.npz").exists()


def test_tensorboard_reads_the_curve(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    for step, rows in ((0, (10, 20, 30)), (20, (30, 40))):  # the second continues from the checkpoint at 20
        run, board = Run(tmp_path, {}, None, steps=100, step=step), TensorBoard()
        board.begin(run)
        for run.step in rows:
            board.log(run, {"step": run.step, "episode_reward": float(run.step)})
        board.end(run)
    first, second = (
        list(loader.LegacyEventFileLoader(str(path)).Load())
        for path in sorted((tmp_path / "tb").iterdir(), key=lambda path: int(path.name.rsplit(".", 1)[1]))
    )
    assert first[0].file_version == "brain.Event:2"
    assert [(event.step, event.summary.value[0].simple_value) for event in first[1:]] == [(10, 10), (20, 20), (30, 30)]
    assert [value.tag for value in first[1].summary.value] == ["episode_reward"]
    assert second[1].session_log.status == second[1].session_log.START
    assert [event.step for event in second[1:]] == [21, 30, 40]


@pytest.mark.parametrize("fails", ["flush", "open"])
def test_a_disk_that_fills_up_while_learning_is_told_in_one_sentence(tmp_path, monkeypatch, fails, capfd):
    """The curve for TensorBoard fails at the place where it is written, not in a thread of its own."""
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer").RecordWriter

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = Run(tmp_path, {}, None, steps=100)
    if fails == "open":
        monkeypatch.setattr(writer, "__init__", full)
        with pytest.raises(RunError, match=r"disk is full.*resume the run"):
            TensorBoard().begin(run)
    else:
        board = TensorBoard()
        board.begin(run)
        monkeypatch.setattr(writer, "flush", full)
        with pytest.raises(RunError, match=r"disk is full.*resume the run"):
            board.log(run, {"step": 1, "episode_reward": 1.0})
    assert "Traceback" not in capfd.readouterr().err


def test_wrong_names_are_refused_before_a_folder_is_made(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ConfigError, match='did you mean "learning_rate"'):
        train(toy(), out=folder, progress=False, learning_rat=1e-3)
    with pytest.raises(ConfigError, match="must divide num_envs"):
        train(toy(), out=folder, progress=False, num_envs=10, minibatches=4)
    with pytest.raises(UnknownNameError, match='did you mean "mappo"'):
        train(toy(), algo="mapo", out=folder, progress=False)
    for given, message in (({"seed": -1}, "seed -1"), ({"seed": "a"}, "seed 'a'"), ({"steps": 0}, "steps 0")):
        with pytest.raises(ArgumentError, match=message):
            train(toy(), out=folder, progress=False, **given)
    assert not folder.exists()


def test_local_critics_separate_actors_groups_and_terminations(tmp_path):
    env = ToyBattery({"big": 1, "small": 2}, terminates=True)
    folder = train(env, algo="ippo", steps=32 * 24 * 25, out=tmp_path, progress=False, share_actors=False, **SMALL)
    rows = read_metrics(folder)
    assert rows[-1]["episode_reward"] > rows[0]["episode_reward"] + 1.0
    assert load_policy(folder).agents == ("big_0", "small_0", "small_1")


WITH_TRAINING = {
    "network": "ieee13",
    "agents": [{"id": "a", "type": "ESS", "bus": 671, "params": {"capacity": 1}}],
    "training": {"algorithm": "ippo", "steps": 64, "settings": {"num_envs": 2, "rollout": 4, "clip": 0.3, "epochs": 2}},
}


def test_callers_go_before_the_training_section_which_goes_before_defaults(tmp_path, monkeypatch):
    """Nothing is learned here: the run's meta.json says what it would have been trained with."""
    monkeypatch.setattr("powergrid.learn.train.learn", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    folder = train(WITH_TRAINING, clip=0.1, progress=False)
    assert folder.name == "environment-ippo-seed0"
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["algorithm"], meta["steps"]) == ("ippo", 64)
    settings = meta["settings"]
    assert (settings["clip"], settings["epochs"], settings["num_envs"], settings["discount"]) == (0.1, 2, 2, 0.95)
    other = train(WITH_TRAINING, algo="mappo", steps=32, num_envs=4, out="other", progress=False)
    meta = json.loads((other / "meta.json").read_text())
    assert (meta["algorithm"], meta["steps"]) == ("mappo", 32)
    assert (meta["settings"]["num_envs"], meta["settings"]["clip"]) == (4, 0.3)


def test_settings_of_the_training_section_are_checked(tmp_path):
    def refused(message, algo=None, **training):
        with pytest.raises(ConfigError, match=message):
            train({**WITH_TRAINING, "training": training}, algo=algo, out=tmp_path / "run", progress=False)

    refused('unknown algorithm "ipo"', algorithm="ipo")
    refused(r'training\.settings\.clp: unknown hyperparameter.*\n.*did you mean "clip"', settings={"clp": 1})
    refused(r"training\.settings\.clip: .*found -1.*\n.*allowed: number > 0; default 0\.2", settings={"clip": -1})
    refused(r"training\.steps", steps=0)
    message = r'training\.settings\.divergence: the configuration sets it for cpo; algorithm "mappo" has no such'
    refused(message, algo="mappo", algorithm="cpo", settings={"divergence": 0.02})
    assert not (tmp_path / "run").exists()
