"""``powergrid data``: what its commands print and write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import powergrid
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
    result = run("info", "embeded_2022")
    assert result.exit_code == 1
    assert 'did you mean "embedded_2022"?' in result.stderr


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


@pytest.mark.parametrize(
    "command", ["list", "info", "plot", "validate", "import", "synthesise", "homes", "sessions", "carbon"]
)
def test_every_command_has_help_with_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert f"powergrid data {command}" in result.stdout


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """A leap year of Eastern wall clock with a gap, in kW and $/kWh."""
    hours = pd.date_range("2024-01-01T05:00", periods=8784, freq="1h", tz="UTC")
    shape = np.sin(np.arange(8784) / 24 * 2 * np.pi)
    table = pd.DataFrame(
        {
            "time": hours.tz_convert("America/New_York").tz_localize(None),
            "P_kW": 900 + 600 * shape,
            "price": 0.08 + 0.05 * shape,
        }
    )
    table.loc[100:101, "P_kW"] = np.nan
    file = tmp_path / "my.xlsx"
    table.to_excel(file, index=False)
    return file


def test_import_lists_all_faults_and_writes_nothing(workbook: Path) -> None:
    result = run(
        "import", str(workbook), "--series", "load=P_kw", "--series", "prise", "--rating", "laod=3", "--zone", "Mars/X"
    )
    assert result.exit_code == 1
    for told in ('did you mean "load"', "unknown time zone"):
        assert told in result.stderr
    result = run("import", str(workbook), "--series", "load=P_kw", "--series", "prise", "--zone", "America/New_York")
    for told in ('unknown column "P_kw"', 'did you mean "price"', "2 problems"):
        assert told in result.stderr
    assert not workbook.with_suffix(".yaml").exists()


def test_import_writes_a_description_that_loads_and_is_not_replaced(workbook: Path, tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    out = tmp_path / "sets" / "mine.yaml"
    flags = "--series load=P_kW --series price=price --unit load=kW --unit price=USD/kWh --rating load=3000"
    flags += " --zone America/New_York --year 2024 --fill interpolate --licence mine"
    arguments = ["import", str(workbook), *flags.split(), "--out", str(out)]
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "load: clock_changes: 8784 stamps" in result.stdout
    assert "2 filled" in result.stdout
    mine = datasets.load(str(out))
    assert mine.series("load_p_pu:user").values.max() == pytest.approx(0.5)
    assert mine.series("price_per_mwh:user").values.max() == pytest.approx(130.0)
    assert mine.licence.startswith("mine; base embedded_2022")
    resolved = powergrid.load_config({"network": "ieee13", "datasets": str(out)})
    assert resolved.dataset().days == 365
    assert "exists already" in run(*arguments).stderr
    assert run(*arguments, "--overwrite").exit_code == 0


def test_import_takes_both_kinds_of_ends(tmp_path: Path) -> None:
    """A label of the clock's hour has no 03:00 in spring, a time at the end of an hour no 02:00."""
    begins = pd.date_range("2024-01-01T05:00", periods=8784, freq="1h", tz="UTC").tz_convert("America/New_York")
    load = 1000.0 + np.arange(8784)
    stamps = {
        "ending": begins.tz_localize(None) + pd.Timedelta("1h"),
        "ending_instant": (begins + pd.Timedelta("1h")).tz_localize(None),
    }
    flags = ["--series", "load", "--unit", "kW", "--zone", "America/New_York", "--year", "2024", "--licence", "mine"]
    for kind, other in (("ending", "ending_instant"), ("ending_instant", "ending")):
        file = tmp_path / f"{kind}.csv"
        pd.DataFrame({"time": stamps[kind], "kW": load}).to_csv(file, index=False)
        refused = run("import", str(file), *flags, "--hour", other)
        assert refused.exit_code != 0
        assert "hour that America/New_York skips" in refused.output
        assert run("import", str(file), *flags, "--hour", kind).exit_code == 0
        values = datasets.load(str(file.with_suffix(".yaml"))).series("load_p_pu:user").values
        real = np.delete(load, range(59 * 24, 60 * 24))  # 29 February
        assert values == pytest.approx(real / real.max())
