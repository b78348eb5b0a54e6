"""Callbacks of a run: when each method is called, evaluation with the best checkpoint, and loggers."""

from __future__ import annotations

import csv
import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from toy_battery import ToyBattery

import powergrid
from powergrid.core.errors import ArgumentError, MissingExtraError, RunError
from powergrid.learn import checkpoint
from powergrid.learn.callbacks import Callback, CsvFile, Evaluate, MLflow, Run, WandB
from powergrid.report.files import read_metrics

SMALL = {"num_envs": 4, "rollout": 24, "epochs": 1, "minibatches": 1, "hidden": (8,), "roll_out": "jax"}
UPDATE = 4 * 24


def toy_run(folder, updates, callbacks=(), resume=False):
    settings = {} if resume else SMALL
    return powergrid.train(
        ToyBattery(), steps=UPDATE * updates, out=folder, progress=False, resume=resume, callbacks=callbacks, **settings
    )


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.lines = []

    def begin(self, run):
        self.lines.append(("begin", run.update))

    def measure(self, run, row):
        assert row["step"] == run.step == UPDATE * run.update
        return {"double": 2.0 * run.update, "nothing": float("nan")} if run.update == 2 else {}

    def log(self, run, row):
        self.lines.append((run.update, row.get("double"), run.is_last))

    def end(self, run):
        self.lines.append(("end", run.outcome))


class Half(Diary):
    def log(self, run, row):
        super().log(run, row)
        if run.update == 2:
            run.stop("half is enough")


def test_callbacks_follow_a_run_and_its_resumption_and_change_no_bit(tmp_path):
    whole, diary, half = toy_run(tmp_path / "whole", 4), Diary(), Half()
    folder = toy_run(tmp_path / "parts", 4, [half])
    assert half.lines == [("begin", 0), (1, None, False), (2, 4.0, False), ("end", "stopped")]
    toy_run(folder, 4, [diary], resume=True)
    assert diary.lines == [("begin", 2), (3, None, False), (4, None, True), ("end", "finished")]
    rows = read_metrics(folder)
    assert [row.get("double") for row in rows] == [None, 4.0, None, None]
    assert "nothing" not in rows[1]
    first, second = checkpoint.load(whole), checkpoint.load(folder)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.parametrize(
    ("measured", "message"),
    [({"entropy": 1.0}, "measures entropy, which is in"), ({"mine": "a"}, "measures mine = 'a', not a number")],
)
def test_a_callback_that_fails_ends_the_run_and_closes_the_others(tmp_path, measured, message):
    class Wrong(Callback):
        def measure(self, run, row):
            return measured

    diary = Diary()
    with pytest.raises(RunError, match=message):
        toy_run(tmp_path / "run", 2, [diary, Wrong()])
    assert diary.lines == [("begin", 0), ("end", "failed")]


def test_what_is_no_callback_is_refused_before_a_folder_is_made(tmp_path):
    for given, message in ((SimpleNamespace(begin=print), "has no measure"), (CsvFile, "it is a class")):
        with pytest.raises(ArgumentError, match=message):
            toy_run(tmp_path / "run", 1, [given])
    assert not (tmp_path / "run").exists()


def test_comma_separated_values_continue_with_the_run(tmp_path):
    folder = toy_run(tmp_path / "run", 3, [Diary(), CsvFile()])
    text = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("\n".join([*text, text[-1].replace(str(3 * UPDATE), "999", 1)]) + "\n")
    toy_run(folder, 4, [CsvFile()], resume=True)
    with open(folder / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    rows = read_metrics(folder)
    assert [int(line["step"]) for line in table] == [row["step"] for row in rows] == [UPDATE * k for k in (1, 2, 3, 4)]
    assert [line["double"] for line in table] == ["", "4.0", "", ""]
    assert [float(line["value_loss"]) for line in table] == [row["value_loss"] for row in rows]


PRESET = "p2p_microgrids"
TINY = {"num_envs": 2, "rollout": 8, "epochs": 1, "minibatches": 1, "hidden": (8,), "learning_rate": 0.05}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    callbacks = [Evaluate(days=[3, 40], every=2, keep="best"), Evaluate(days=[5], every=3, name="other")]
    return powergrid.train(PRESET, steps=16 * 5, out=folder, progress=False, callbacks=callbacks, **TINY)


def test_evaluation_equals_that_of_the_saved_run_and_the_best_is_kept(evaluated):
    rows = read_metrics(evaluated)
    assert ["evaluation_objective" in row for row in rows] == [False, True, False, True, True]
    assert ["other_objective" in row for row in rows] == [False, False, True, False, True]
    policies = {"last": evaluated, "best": evaluated / "best.npz"}
    result = powergrid.evaluate(PRESET, policy=policies, days=[3, 40], show=False)
    assert result["last"].objective.mean() == rows[-1]["evaluation_objective"]
    assert result["last"].costs.sum(-1).mean() == rows[-1]["evaluation_violations"]
    least = min((row for row in rows if "evaluation_objective" in row), key=lambda row: row["evaluation_objective"])
    assert powergrid.load_policy(evaluated / "best.npz").step == least["step"]
    assert result["best"].objective.mean() == least["evaluation_objective"]


def test_a_resumed_run_knows_how_good_its_best_checkpoint_is(evaluated):
    (evaluated / "best.npz").write_bytes(b"mark")
    rows = [json.loads(line) for line in (evaluated / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row["evaluation_objective"] = -1e12  # nothing can be better
    (evaluated / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = [Evaluate(days=[3, 40], every=1, keep="best")]
    powergrid.train(PRESET, steps=16 * 6, out=evaluated, resume=True, progress=False, callbacks=again)
    assert len(read_metrics(evaluated)) == 6
    assert (evaluated / "best.npz").read_bytes() == b"mark"


@pytest.mark.parametrize(
    ("given", "message"),
    [({"every": 0}, "every is 0"), ({"keep": "last"}, "keep is 'last'"), ({"seed": -1}, "seed -1")],
)
def test_wrong_arguments_of_evaluate_are_refused(given, message):
    with pytest.raises(ArgumentError, match=message):
        Evaluate(**given)


def test_evaluations_that_are_in_each_others_way_are_refused(tmp_path):
    def begun(*callbacks):
        callbacks[0].begin(Run(tmp_path, {}, ToyBattery(), steps=1, callbacks=callbacks))

    with pytest.raises(ArgumentError, match='have the name "test"'):
        begun(Evaluate("test"), Evaluate("test"))
    with pytest.raises(ArgumentError, match='keep="best", but there is one'):
        begun(Evaluate("test", keep="best"), Evaluate("train", keep="best"))
    with pytest.raises(ArgumentError, match="not made from one"):
        begun(Evaluate("test"))


def wandb_double(login=True):
    """A stand-in with the functions of wandb that are used: `init`, `Error`, and a run's `log` and `finish`."""
    module = ModuleType("wandb")
    module.Error = type("Error", (Exception,), {})
    module.begun, module.rows, module.ends = [], [], []

    def init(**given):
        if not login and given.get("mode") != "offline":
            raise module.Error("api_key not configured (no-tty)")
        module.begun.append(given)
        return SimpleNamespace(
            id=given.get("id", "abc"),
            log=lambda row, step: module.rows.append((step, row)),
            finish=lambda exit_code: module.ends.append(exit_code),
        )

    module.init = init
    return module


def test_weights_and_biases_gets_the_curve_and_a_resumed_run_continues_it(tmp_path, monkeypatch):
    wandb = wandb_double()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    folder = toy_run(tmp_path / "run", 2, [WandB("mine", group="a")])
    toy_run(folder, 3, [WandB("mine")], resume=True)
    first, second = wandb.begun
    assert (first["project"], first["name"], first["group"], first.get("id")) == ("mine", "run", "a", None)
    assert first["config"]["settings"]["num_envs"] == 4
    assert (second["id"], second["resume"]) == ("abc", "allow")
    assert wandb.rows == [(row["step"], row) for row in read_metrics(folder)]
    assert wandb.ends == [0, 0]


def test_weights_and_biases_without_login_or_package_falls_back_to_files(tmp_path, monkeypatch):
    said = []
    run = Run(tmp_path, {}, None, steps=1, say=said.append)
    wandb = wandb_double(login=False)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    WandB().begin(run)
    assert wandb.begun[0]["mode"] == "offline"
    assert "api_key not configured" in said[0]
    assert f"wandb sync {tmp_path}" in said[0]
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import of it fails
    callback = WandB()
    callback.begin(run)
    callback.log(run, {"step": 1, "entropy": 0.5})
    callback.end(run)
    assert "wandb is not installed" in said[1]
    assert len(said) == 2
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,entropy", "1,0.5"]
    both = Run(tmp_path, {}, None, steps=1, callbacks=(CsvFile(), WandB()), say=said.append)
    for one in both.callbacks:
        one.begin(both)
    for one in both.callbacks:
        one.log(both, {"step": 1, "entropy": 0.25})
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,entropy", "1,0.25"]
    with pytest.raises(ArgumentError, match="two callbacks CsvFile write"):
        CsvFile().begin(Run(tmp_path, {}, None, steps=1, callbacks=(CsvFile(tmp_path / "metrics.csv"),)))


def test_mlflow_gets_settings_and_curve_and_a_resumed_run_continues_it(tmp_path, monkeypatch):
    calls = []

    class Client:
        def __init__(self, tracking_uri):
            calls.append(("client", tracking_uri))

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return f"id of {name}"

        def create_run(self, experiment, run_name):
            calls.append(("create_run", experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

        def log_batch(self, id, metrics=(), params=()):
            calls.append(("log_batch", id, {m[0]: m for m in metrics}, dict(params)))

        def update_run(self, id, status):
            calls.append(("update_run", id, status))

        def set_terminated(self, id, status):
            calls.append(("set_terminated", id, status))

    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient = Client
    entities.Param = lambda key, value: (key, value)
    entities.Metric = lambda key, value, timestamp, step: (key, value, timestamp, step)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    folder = toy_run(tmp_path / "run", 1, [MLflow(tracking_uri="file:x")])
    toy_run(folder, 2, [MLflow()], resume=True)
    assert calls[:2] == [("client", "file:x"), ("create_run", "id of powergrid", "run")]
    assert calls[2][3]["algorithm"] == "mappo"
    assert calls[2][3]["num_envs"] == "4"
    row = read_metrics(folder)[0]
    assert calls[3][2]["entropy"][1::2] == (row["entropy"], row["step"])
    assert "step" not in calls[3][2]
    assert calls[4] == ("set_terminated", "r1", "FINISHED")
    assert ("update_run", "r1", "RUNNING") in calls[5:]
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"powergrid-marl\[mlflow\]"):
        MLflow()
