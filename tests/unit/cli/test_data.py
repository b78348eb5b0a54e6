"""``powergrid data``: what its commands print and write."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from powergrid import datasets
from powergrid.cli.app import app


def run(*arguments: str):
    return CliRunner().invoke(app, ["data", *arguments])


def test_list_and_info_fit_80_columns() -> None:
    for arguments, found in ((("list",), "ercot_2021"), (("info", "embedded_2022"), "price_per_mwh:lz_north")):
        result = run(*arguments)
        assert result.exit_code == 0
        assert found in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 80
    assert "train 223, validation 69, test 69, stress 4" in run("info", "embedded_2022").stdout


def test_unknown_names_are_refused_with_the_nearest() -> None:
    result = run("info", "ercot_2012")
    assert result.exit_code == 1
    assert 'did you mean "ercot_2021"?' in result.stderr


def test_synthesise_writes_a_dataset_that_loads_plots_and_validates(tmp_path: Path) -> None:
    file = tmp_path / "more.npz"
    result = run("synthesise", "embedded_2022", "--years", "2", "--seed", "3", "--out", str(file))
    assert result.exit_code == 0, result.stderr
    table = result.stdout.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert datasets.load(str(file)).made.sum() == 730
    for arguments in (("--compare",), ("--column", "wind_pu:turbine")):
        assert run("plot", str(file), *arguments, "--out", str(tmp_path / "p.png")).exit_code == 0
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "valid" in run("validate", str(file)).stdout
    assert 'did you mean "wind_pu:turbine"' in run("plot", str(file), "--column", "wind_pu:turbin").stderr


def test_validate_reports_each_step_and_gaps_are_faults(tmp_path: Path) -> None:
    stamps = pd.date_range("2023-01-01", periods=8760, freq="1h").strftime("%Y-%m-%d %H:%M").tolist()
    lines = [f"{stamp},{0.5 + 0.001 * (k % 24)}" for k, stamp in enumerate(stamps)]
    del lines[4000:4002]
    (tmp_path / "load.csv").write_text("\n".join(["time,load", *lines]) + "\n")
    file = tmp_path / "mine.yaml"
    for fill, code, told in (("keep", 1, "2 values missing in 1 gaps"), ("hold", 0, "load: gaps: 2 rows absent")):
        file.write_text(f"name: mine\nseries:\n  load: {{path: load.csv, cleaning: [gaps: {fill}]}}\n")
        result = run("validate", str(file))
        assert result.exit_code == code
        assert told in result.stdout


@pytest.mark.parametrize("command", ["list", "info", "plot", "validate", "synthesise"])
def test_every_command_has_help_with_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert f"powergrid data {command}" in result.stdout
