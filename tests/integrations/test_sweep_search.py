"""Searches: the best trial is near the optimum, what is stopped continues, and a wrong space runs nothing."""

from __future__ import annotations

import csv

import pytest

pytest.importorskip("optuna", reason="needs optuna: make test-integrations")

from fragile_runs import begun, write
from typer.testing import CliRunner

from powergrid.cli.app import app
from powergrid.core.errors import ConfigError, RunError
from powergrid.learn.sweep.grid import read_space
from powergrid.learn.sweep.search import Search, search
from powergrid.report.files import read_evaluation

GRID = """\
base: small.yaml
steps: 12
algorithms: fragile
over:
  agents.ess_1.params.capacity_mwh: {low: 0.5, high: 2.0}
  training.reward_scale: {low: 0.1, high: 10, log: true}
settings: {ends: well}
evaluate: {days: [29, 30]}
search: {trials: 3}
"""


@pytest.fixture
def grid(tmp_path):
    """A search of three trials."""
    file = write(tmp_path)
    file.write_text(GRID)
    return file


def issues(grid, text):
    """Messages of a wrong space by their place."""
    grid.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_space(grid)
    return {issue.path: issue.message for issue in raised.value.issues}


def test_wrong_spaces_are_refused_all_at_once(grid):
    wrong = GRID.replace("low: 0.5, high: 2.0", "low: 3.0, high: 2.0").replace("low: 0.1,", "low: 0,")
    found = issues(grid, wrong + "base2: small.yaml\n")
    assert "low 3.0 is not below high 2.0" in found["over.agents.ess_1.params.capacity_mwh"]
    assert "begins above 0" in found["over.training.reward_scale"]
    assert "base2" in found
    found = issues(grid, GRID.replace("low: 0.5", "low: -0.5").replace("ends: well", "end: well"))
    assert set(found) == {"over.agents.ess_1.params.capacity_mwh", "settings.end"}
    assert "choose a trial" in issues(grid, GRID.replace("[29, 30]", "test"))["evaluate.days"]
    assert "there is one" in issues(grid, GRID.replace("trials: 3", "prune: true"))["search.prune"]
    assert "nothing to search" in issues(grid, "base: small.yaml\nalgorithms: fragile\n")[""]


def test_a_range_without_search_is_refused(grid):
    result = CliRunner().invoke(app, ["sweep", str(grid), "--dry-run"])
    assert result.exit_code == 1
    assert "sampled by --search alone" in result.stderr
    assert "search: it is for --search" in result.stderr


def test_a_stopped_search_asks_for_the_trials_that_it_would_have_asked_for(grid, tmp_path):
    space = read_space(grid)
    whole, first = Search.begin(space, tmp_path / "whole"), Search.begin(space, tmp_path / "stopped")
    wanted = [whole.source() for _ in range(3)]
    taken = [first.source()]
    again = Search.begin(space, tmp_path / "stopped")
    taken += [again.source() for _ in range(3)]
    assert [(job.name, job.settings, job.varied) for job in taken[1:]] == [
        (job.name, job.settings, job.varied) for job in wanted
    ]
    assert taken[0].settings == wanted[0].settings
    assert again.source() is None
    assert len({job.varied["agents.ess_1.params.capacity_mwh"] for job in wanted}) == 3


def test_the_best_trial_comes_first_and_more_trials_continue(grid, tmp_path):
    grid.write_text(GRID.replace("ends: well", "ends: [well, raises]"))
    arguments = ["sweep", str(grid), "--search", "--workers", "1", "--out", str(tmp_path / "runs")]
    result = CliRunner().invoke(app, arguments)
    with open(tmp_path / "runs" / "jobs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(begun(tmp_path)) == 3
    done = [float(row["objective"]) for row in rows if row["state"] == "done"]
    assert done == sorted(done)
    for row in rows:
        assert (row["state"] == "failed") == (row["ends"] == '"raises"')
    assert result.exit_code == int(len(done) < 3)
    best = read_evaluation(tmp_path / "runs" / rows[0]["folder"]).policies["learned"].by_day
    assert done[0] == pytest.approx(sum([*best.money, *best.violations]) / 2)
    grid.write_text(grid.read_text().replace("trials: 3", f"trials: {len(done)}"))
    search(grid, workers=1, out=tmp_path / "runs", progress=False)
    assert len(begun(tmp_path)) == 3  # nothing is repeated
    grid.write_text(grid.read_text().replace("steps: 12", "steps: 24"))
    with pytest.raises(RunError, match="another search, whose steps differs"):
        search(grid, workers=1, out=tmp_path / "runs", progress=False)


def test_a_trial_above_the_median_is_pruned_between_seeds(grid, tmp_path):
    grid.write_text(GRID.replace("trials: 3", "trials: 7, prune: true") + "seeds: 2\n")
    space = read_space(grid)
    found = Search.begin(space, tmp_path / "runs")
    found._objective = lambda job: float(10 if found_number(job) == 6 else 1)  # J of runs that are not trained here
    import powergrid.learn.sweep.search as module

    over: set[str] = set()
    original, module.is_done = module.is_done, lambda job, folder: job.name in over
    try:
        while (job := found.source()) is not None:
            over.add(job.name)
            found.ended(job, None)
    finally:
        module.is_done = original
    states = [trial.state.name for trial in found.study.trials]
    assert states == ["COMPLETE"] * 6 + ["PRUNED"]
    assert len(over) == 13


def found_number(job) -> int:
    """Number of a job's trial."""
    return int(job.group.removeprefix("trial"))
