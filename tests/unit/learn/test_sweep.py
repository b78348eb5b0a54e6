"""Sweeps: what is left is run, what is killed is repeated, what fails stays alone, and wrong grids run nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys

import pytest
from fragile_runs import begun, write
from rich.console import Console
from typer.testing import CliRunner

from powergrid.cli.app import app
from powergrid.core.errors import ArgumentError, ConfigError, MissingExtraError
from powergrid.learn.sweep import on_local
from powergrid.learn.sweep.grid import read_grid
from powergrid.learn.sweep.schema import MOST_JOBS
from powergrid.learn.sweep.sweep import sweep

NAMES = {end: f"small-fragile-ends={end}-seed0" for end in ("well", "killed", "raises")}


def issues(tmp_path, text: str) -> dict[str, tuple[str, int | None]]:
    """Messages and lines of a wrong grid by their place."""
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_grid(file)
    return {issue.path: (issue.message, issue.line) for issue in raised.value.issues}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep by two workers, and what it has found."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, sweep(write(folder), workers=2, out=folder / "runs", progress=False)


@pytest.fixture
def copied(swept, tmp_path):
    """A copy of it that a test may change; it has the same relative paths."""
    return shutil.copytree(swept[0], tmp_path / "copy")


def test_a_killed_run_is_repeated_and_a_failing_one_is_alone(swept):
    folder, results = swept
    assert begun(folder) == ["killed", "killed", "raises", "well"]
    assert results.failed == {NAMES["raises"]: "RuntimeError: there is no sun today"}
    assert set(results.objectives) == {NAMES["well"], NAMES["killed"]}
    assert "Traceback" in (folder / "runs" / NAMES["raises"] / "failure.txt").read_text()
    assert not (folder / "runs" / NAMES["killed"] / "failure.txt").exists()


def test_the_tables_hold_what_the_evaluations_hold(swept):
    folder, results = swept
    with open(folder / "runs" / "jobs.csv", newline="") as file:
        rows = {row["folder"]: row for row in csv.DictReader(file)}
    assert {name: row["state"] for name, row in rows.items()} == {
        NAMES["well"]: "done", NAMES["killed"]: "done", NAMES["raises"]: "failed",
    }  # fmt: skip
    found = json.loads((folder / "runs" / NAMES["well"] / "evaluation.json").read_text())
    assert found["days"] == [29, 30]
    saved = found["policies"]["rule_based"]["saving_of_learned_per_day"]
    row = rows[NAMES["well"]]
    assert [float(row[name]) for name in ("saved", "saved_low_95", "saved_high_95")] == pytest.approx(
        [saved["mean"], saved["low_95"], saved["high_95"]]
    )
    with open(folder / "runs" / "sweep.csv", newline="") as file:
        groups = list(csv.DictReader(file))
    assert [(group["ends"], group["done"]) for group in groups] == [
        ('"well"', "1"), ('"killed"', "1"), ('"raises"', "0"),
    ]  # fmt: skip
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(results.table())
    text = screen.export_text()
    assert all(part in text for part in ('ends: "well"', f"{float(row['objective']):,.1f}", "0/1"))


def test_a_second_call_runs_what_is_left_alone(copied):
    arguments = ["sweep", str(copied / "grid.yaml"), "--workers", "1", "--out", str(copied / "runs")]
    (copied / "runs" / NAMES["well"] / "evaluation.json").unlink()
    curve = (copied / "runs" / NAMES["well"] / "metrics.jsonl").read_text()
    result = CliRunner().invoke(app, arguments)
    assert begun(copied) == ["killed", "killed", "raises", "raises", "well", "well"]
    assert (copied / "runs" / NAMES["well"] / "metrics.jsonl").read_text() == curve  # resumed at its end
    assert result.exit_code == 1
    assert f"{NAMES['raises']}: RuntimeError: there is no sun today" in result.stderr
    assert "1 of 3 runs failed" in result.stdout
    grid = copied / "grid.yaml"
    grid.write_text(grid.read_text().replace(", raises", ""))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert len(begun(copied)) == 6


def test_more_steps_prolong_a_run_and_another_configuration_is_refused(copied):
    grid, base = copied / "grid.yaml", copied / "small.yaml"
    grid.write_text(grid.read_text().replace("steps: 12", "steps: 18").replace(", killed, raises", ""))
    assert not sweep(grid, out=copied / "runs", progress=False).failed
    curve = (copied / "runs" / NAMES["well"] / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in curve] == [6, 12, 18]
    base.write_text(base.read_text().replace("1.0", "2.0"))
    failed = sweep(grid, out=copied / "runs", progress=False).failed
    assert "it holds another run, whose configuration differs" in failed[NAMES["well"]]


def test_a_run_whose_worker_is_killed_each_time_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(on_local, "ATTEMPTS", 1)
    grid = write(tmp_path)
    grid.write_text(grid.read_text().replace("well, killed, raises", "killed"))
    failed = sweep(grid, out=tmp_path / "runs", progress=False).failed
    assert failed == {NAMES["killed"]: "its worker was killed 1 times; is there enough memory?"}


def test_a_dry_run_lists_and_writes_nothing(tmp_path):
    grid = write(tmp_path)
    grid.write_text(grid.read_text().replace("steps: 12", "seeds: [3, 5]\nover: {training.reward_scale: [1, 2.5]}"))
    result = CliRunner().invoke(app, ["sweep", str(grid), "--dry-run", "--out", str(tmp_path / "runs")])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "small-fragile-training.reward_scale=1-ends=well-seed3"
    assert lines[-2] == "small-fragile-training.reward_scale=2.5-ends=raises-seed5"
    assert lines[-1].startswith("12 runs, 0 of them done")
    assert not (tmp_path / "runs").exists()
    scales = [job.resolved.config.training.reward_scale for job in read_grid(grid)]
    assert scales == [1.0] * 6 + [2.5] * 6


def test_all_faults_of_a_grid_are_told_at_once(tmp_path):
    text = """\
base: [ieee13_singl, ieee13_single]
seeds: [0, 0]
algorithms: [mapo, apg]
over:
  training.reward_scale: [1, -2]
  simulation.episode_lenth: 24
settings:
  learning_rate: [0.1, fast]
  clip: 0.1
  residual: rule_based
evaluate: {days: [9999]}
steps: 0
ovr: 1
"""
    found = issues(tmp_path, text)
    assert {place: line for place, (_, line) in found.items()} == {
        "base[0]": 1, "seeds[1]": 2, "algorithms[0]": 3, "over.training.reward_scale[1]": 5,
        "over.simulation.episode_lenth": 6, "settings.learning_rate[1]": 8, "settings.clip": 9,
        "settings.residual": 10, "evaluate.days": 11, "steps": 12, "ovr": 13,
    }  # fmt: skip
    assert found["settings.clip"][0] == "apg: unknown hyperparameter"
    assert found["over.training.reward_scale[1]"][0] == "ieee13_single: -2 must be greater than 0"


def test_values_that_do_not_fit_together_are_told(tmp_path):
    over = "{simulation.v_min_pu: [0.9, 1.0], simulation.v_max_pu: [0.98, 1.1]}"
    found = issues(tmp_path, f"base: ieee13_single\nover: {over}\n")
    assert list(found) == ["over"]
    assert "with simulation.v_min_pu 1.0, simulation.v_max_pu 0.98: simulation" in found["over"][0]


def test_values_that_fit_together_only_are_taken_together(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("base: ieee13_single\nover: {simulation.v_min_pu: 1.06, simulation.v_max_pu: 1.1}\n")
    (job,) = read_grid(file)
    assert (job.resolved.config.simulation.v_min_pu, job.resolved.config.simulation.v_max_pu) == (1.06, 1.1)


def test_a_name_may_be_one_of_the_configuration_and_of_an_algorithm(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text(
        "base: ieee13_single\nover: {network: [{load_scale: 0.5}, {load_scale: 0.6}]}\nsettings: {network: dense}\n"
    )
    jobs = read_grid(file)
    assert [job.resolved.config.network.load_scale for job in jobs] == [0.5, 0.6]
    assert [job.settings for job in jobs] == [{"network": "dense"}] * 2
    assert len({job.name for job in jobs}) == 2


def test_what_the_grid_has_a_key_for_is_no_override(tmp_path):
    found = issues(tmp_path, "base: ieee13_single\nsteps: 5\nover: {algorithm: mappo, training.steps: [5, 10]}\n")
    assert set(found) == {"over.algorithm", "over.training.steps"}


def test_faults_of_a_configuration_keep_their_place(tmp_path):
    (tmp_path / "wrong.yaml").write_text("network: ieee13\nagents:\n  - {id: a, type: ESSS, bus: 671}\n")
    message, line = issues(tmp_path, "base: wrong.yaml")["base"]
    assert "wrong.yaml:3: agents[0].type" in message
    assert line == 1


def test_settings_of_a_configuration_that_an_algorithm_lacks_are_told(tmp_path):
    text = "base: ieee13_single\nalgorithms: [mappo, apg]\nover: {training.settings.input_noise: 0.1}\n"
    message, line = issues(tmp_path, text)["algorithms"]
    assert message.startswith("mappo: unknown hyperparameter; ieee13_single sets training.settings.input_noise for apg")
    assert line == 2


def test_a_grid_of_too_many_runs_is_refused(tmp_path):
    half = f"base: ieee13_single\nseeds: {MOST_JOBS}\nover: {{simulation.v_min_pu: [0.9, 0.95]}}\n"
    assert issues(tmp_path, half)[""][0] == "20,000 jobs are more than 10,000"


@pytest.mark.parametrize("number", [0, -1, 10**12])
def test_a_number_of_seeds_has_bounds(number, tmp_path):
    message, line = issues(tmp_path, f"base: ieee13_single\nseeds: {number}\n")["seeds"]
    assert message.startswith(f"{number:,} seeds are not 1 to 10,000")
    assert line == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"on": "rya"}, 'did you mean "ray"'), ({"workers": 0}, "workers 0"), ({"address": "a:1"}, "choose ray or dask")],
)
def test_arguments_are_checked_first(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        sweep("absent.yaml", **arguments)


@pytest.mark.parametrize(("name", "library"), [("ray", "ray"), ("dask", "distributed")])
def test_an_absent_executor_names_its_extra(name, library, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'powergrid-marl\[{name}\]'"):
        sweep(write(tmp_path), on=name, out=tmp_path / "runs", progress=False)
