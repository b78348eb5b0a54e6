"""``powergrid data``: what its commands print and write."""

from __future__ import annotations

from typer.testing import CliRunner

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
