"""`powergrid new` writes what works, `powergrid check` says what does not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from powergrid.cli.app import app


def run(*arguments: str):
    return CliRunner().invoke(app, list(map(str, arguments)))


PLUGINS = [
    ("device", "heat_pump", ()),
    ("device", "wall_heater", ("--plain",)),
    ("protocol", "surcharge", ()),
    ("network", "my_village", ()),
    ("dataset", "time_of_use", ()),
    ("policy", "night_charge", ()),
]


@pytest.mark.parametrize(("kind", "name", "more"), PLUGINS)
def test_what_is_written_passes_the_examiner_and_runs(tmp_path, kind, name, more):
    folder = tmp_path / "mine"
    written = run("new", kind, name, "--folder", folder, *more)
    assert written.exit_code == 0, written.output
    files = {file.name for file in folder.rglob("*") if file.is_file()}
    assert files == {f"{name}.py", f"{name}.yaml", f"test_{name}.py"}
    checked = run("check", folder)
    assert checked.exit_code == 0, checked.output
    assert "nothing found" in checked.output
    assert f"{name}.yaml: valid" in checked.output
    assert run("validate", folder / f"{name}.yaml").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "more"), PLUGINS)
def test_its_own_test_passes(tmp_path, kind, name, more):
    run("new", kind, name, "--folder", tmp_path, *more)
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(own, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_a_name_that_is_taken_gets_another_type(tmp_path):
    result = run("new", "device", "heat_pump", "--folder", tmp_path)
    assert 'so this one is called "MyHeatPump"' in result.output
    assert '@register_device("MyHeatPump")' in (tmp_path / "heat_pump.py").read_text()
    assert "already" not in run("new", "device", "my_heater", "--folder", tmp_path).output
    assert "already" not in run("new", "protocol", "my_tariff", "--folder", tmp_path).output


def test_nothing_is_overwritten_and_names_are_checked(tmp_path):
    assert run("new", "policy", "calm", "--folder", tmp_path).exit_code == 0
    again = run("new", "policy", "calm", "--folder", tmp_path)
    assert again.exit_code == 1
    assert "exists already" in again.output
    bad = run("new", "device", "Heat Pump", "--folder", tmp_path)
    assert bad.exit_code == 1
    assert '"heat_pump"' in bad.output
    assert run("new", "network", "grid", "--plain", "--folder", tmp_path).exit_code == 1


def test_a_training_script_is_one_file(tmp_path):
    file = tmp_path / "mine" / "ppo.py"
    assert run("new", "cleanrl", file).exit_code == 0
    text = file.read_text()
    assert f"python {file} --source" in text
    compile(text, str(file), "exec")
    assert len(text.splitlines()) <= 250
    for arguments, message in (
        (("cleanrl", file), "exists already"),
        (("cleanrl", tmp_path / "ppo.txt"), "is no Python file; give a name such as cleanrl_ppo.py"),
        (("cleanrl", "--plain"), "--plain is for devices, not for a cleanrl"),
        (("device",), "a device needs a name, such as: powergrid new device my_device"),
    ):
        refused = run("new", *arguments)
        assert refused.exit_code == 1
        assert message in " ".join(refused.output.split())
    assert run("new", "cleanrl", "--folder", tmp_path).exit_code == 0
    assert (tmp_path / "cleanrl_ppo.py").exists()


def test_check_explains_every_fault(tmp_path):
    run("new", "device", "first", "--plain", "--folder", tmp_path)
    text = (tmp_path / "first.py").read_text()
    (tmp_path / "second.py").write_text(text.replace("First", "Second").replace("power_kw / 1000.0", "float('nan')"))
    (tmp_path / "third.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "fourth.yaml").write_text("network: ieee1\n")
    result = run("check", tmp_path)
    assert result.exit_code == 1
    # the broken file, the broken device, the YAML that names the folder of the broken file, and the broken YAML
    assert "third.py: ModuleNotFoundError" in result.output
    assert 'device type "First": nothing found' in result.output
    assert "update_state left state.P = nan" in result.output
    assert 'did you mean "ieee13"' in result.output
    assert "4 faults" in result.output
    assert run("check", tmp_path / "nowhere").exit_code == 1
