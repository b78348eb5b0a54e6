"""The command line: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from powergrid.cli.app import app
from powergrid.config import preset_names

BAD = """\
network: ieee13
agents:
  - {id: a, type: ESSS, bus: 671}
  - {id: a, type: ESS, bus: 999, params: {capacity: -1}}
"""


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
    """Keep `train` from dividing the CPU in the process of the tests."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    "command",
    [
        "list", "validate", "show", "explain", "train", "evaluate", "sweep", "schema", "migrate", "new", "check",
        "warmup",
    ],
)  # fmt: skip
def test_every_command_has_help_with_examples(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert f"powergrid {command}" in result.stdout


def test_list_presets_and_kinds():
    result = run("list", "presets")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in preset_names())
    everything = run("list").stdout
    for name in ("ieee34", "Storage", "p2p_trading", "rule_based", "embedded_2022"):
        assert name in everything
    assert "storage" in run("list", "devices").stdout
    assert run("list", "nonsense").exit_code == 2


def test_list_names_plugins(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from powergrid.agents import DeviceAgent\nfrom powergrid.plugins import register_device\n"
        '@register_device("CliPlugin")\nclass Mine(DeviceAgent):\n    """A thing of mine."""\n'
    )
    result = run("list", "devices", "--plugins", str(tmp_path))
    assert "CliPlugin" in result.stdout
    assert "A thing of mine." in result.stdout


def test_validate_tells_all_and_writes_nothing(tmp_path, monkeypatch):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    monkeypatch.chdir(tmp_path)
    result = run("validate", str(file), "two_microgrids")
    assert result.exit_code == 1
    assert "two_microgrids: valid" in result.stdout
    for expected in (
        f'{file}:3: agents[0].type: unknown device type "ESSS"',
        f'{file}:4: agents[1].id: id "a" is taken by agents[0] (line 3)',
        f'{file}:4: agents[1].bus: the network has no bus "999"',
        f"{file}:4: agents[1].params.capacity: -1 must be greater than 0",
        'did you mean "ESS"?',
        "4 problems",
    ):
        assert expected in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_validate_points_out_limits_that_no_policy_keeps():
    result = run("validate", "ieee34_microgrid", "ieee34_microgrid_light")
    assert result.exit_code == 0
    assert "ieee34_microgrid_light: valid" in result.stdout
    notes = [line for line in result.stdout.splitlines() if line.lstrip().startswith("note:")]
    assert len(notes) == 2
    assert re.search(r"penalties weigh \d+ times the money .*safety_scale \(10\)", notes[1])
    assert re.search(r"violated in 9\d of 96 ticks .*shared_voltage.*load_scale", notes[0])
    assert result.stdout.rindex("note:") < result.stdout.index("ieee34_microgrid_light")


def test_validate_accepts_all_presets(monkeypatch):
    monkeypatch.setattr("powergrid.worlds.outlook.MOST_TICKS", 2)
    result = run("validate", *preset_names())
    assert (result.exit_code, result.stderr) == (0, "")


def test_show_tells_hierarchy_network_and_spaces():
    result = run("show", "p2p_microgrids")
    assert result.exit_code == 0
    for expected in (
        "microgrid_1  GridCoordinatorAgent of mg1, learned, protocol setpoint",
        "ess_1  Storage at mg1.671, learned",
        "5 x Regulator of the network",
        "p2p_trading among microgrid_1, microgrid_2, microgrid_3",
        "78 buses",
        "mg1.pcc (808 - mg1.650): 1 MVA, 5.75 %, X/R 7.6",
        "ess_1.soc [1]",
        "microgrid_3.limit_price [1]",
    ):
        assert expected in result.stdout
    assert result.stdout.index("microgrid_1") < result.stdout.index("ess_1") < result.stdout.index("microgrid_2")


def test_show_prints_the_transformer_that_add_bus_inserts():
    result = run("show", "ieee34_microgrid", "--no-spaces")
    assert "800-MG1_PCC (800 - MG1_PCC): 2.5 MVA, 5.75 %, X/R 8.0" in result.stdout
    assert "observation, size" not in result.stdout
    assert result.stderr.startswith("note: lmp_solver: dcopf")


def test_show_draws(tmp_path):
    picture = tmp_path / "net.png"
    assert run("show", "ieee13_single", "--no-spaces", "--plot", str(picture)).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = run("show", "ieee13_single", "--no-spaces", "--plot", str(tmp_path / "net.xyz"))
    assert result.exit_code == 1
    assert 'cannot be saved as "xyz"' in result.stderr
    assert run("show", "ieee13_single", "--plot", str(tmp_path / "no" / "net.png")).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.png"]


def test_explain_names_what_cannot_be_fed():
    result = run("explain", "case33bw", "--loading", "4", "--rows", "3")
    assert result.exit_code == 0
    assert "4 times its own loads has no solution" in result.stdout
    assert "solved up to 3.6" in result.stdout
    assert "v when last solved [pu]" in result.stdout
    assert "line_" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "has a solution" in run("explain", "case5").stdout
    assert run("explain", "case55").exit_code == 1


def test_schema(tmp_path):
    assert json.loads(run("schema").stdout)["title"] == "PowerGrid environment"
    file = tmp_path / "schema.json"
    assert run("schema", "--out", str(file)).exit_code == 0
    assert json.loads(file.read_text())["properties"]["network"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "p2p_microgrid"), 'did you mean "p2p_microgrids"?'),
        (("train", "no_such.yaml"), 'there is no preset and no file "no_such.yaml"'),
        (("evaluate", "no_such"), 'there is no preset and no file "no_such"'),
        (("evaluate", "ieee13_single", "--policy", "rule_base"), 'did you mean "rule_based"?'),
        (("evaluate", "ieee13_single", "--days", "tst"), "tst"),
        (("evaluate", "ieee13_single", "--policy", "learned"), "needs a run"),
        (("evaluate", "{tmp_path}"), "no run"),
        (("evaluate", "ieee13_single", "--safety-margin", "0.01"), "add --safety-layer"),
        (("evaluate", "ieee13_single", "--safety-layer", "--safety-margin", "2"), "margin_pu is 2.0"),
        (("evaluate", "ieee13_single", "--safety-layer", "--realtime", "x.yaml"), "choose one of them"),
    ],
)
def test_errors_are_one_message(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*(argument.format(tmp_path=tmp_path) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", ["many", "0", "1.5", "-3"])
def test_steps_must_be_a_number(steps):
    result = run("train", "ieee13_single", "--steps", steps)
    assert result.exit_code == 2
    assert "--steps" in result.output


def test_two_sources_of_weights_are_named_by_group():
    result = run("train", "two_microgrids", "--init-from", "runs/a", "--init-from", "dg=runs/b")
    assert result.exit_code == 1
    assert "runs/a" in result.stderr
    assert "GROUP=RUN" in result.stderr
    result = run("train", "two_microgrids", "--init-from", "dg=runs/a", "--init-from", "dg=runs/b")
    assert result.exit_code == 1
    assert 'group "dg" has two runs' in result.stderr


def test_train_passes_on_what_was_asked(monkeypatch, tmp_path):
    import powergrid.learn.train
    from powergrid.learn.callbacks import CsvFile

    seen = {}

    def train(source, **keywords):
        seen.update(keywords, source=source)
        return tmp_path

    monkeypatch.setattr(powergrid.learn.train, "train", train)
    arguments = ["--algo", "ippo", "--steps", "2e5", "--num-envs", "8", "--seed", "3", "--out", "runs/x", "--resume"]
    arguments += ["--evaluate-every", "7", "--log", "csv"]
    arguments += ["--init-from", "ess=runs/a", "--init-from", "dg=runs/b", "--freeze", "ess_1", "--freeze", "ess_2"]
    settings = ["learning_rate=3e-4", "hidden=[32, 32]", "share_actors=false", "roll_out=jax"]
    result = run("train", "two_microgrids", *arguments, *(part for one in settings for part in ("--set", one)))
    assert result.exit_code == 0
    evaluation, table = seen.pop("callbacks")
    assert (evaluation.days, evaluation.every, evaluation.keep) == ("validation", 7, "best")
    assert isinstance(table, CsvFile)
    assert seen == {
        "source": "two_microgrids", "algo": "ippo", "steps": 200_000, "num_envs": 8, "seed": 3,
        "out": Path("runs/x"), "resume": True, "progress": True,
        "init_from": {"ess": "runs/a", "dg": "runs/b"}, "imitate": None, "residual": None, "freeze": ["ess_1", "ess_2"],
        "learning_rate": 3e-4, "hidden": [32, 32], "share_actors": False, "roll_out": "jax",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--set", "learning_rate"), 2, "not of the form name=value"),
        (("--set", "clip=0.1", "--set", "clip=0.2"), 2, "clip is set twice"),
        (("--set", "num_envs=4", "--num-envs", "8"), 2, "num_envs is set by the command itself"),
        (("--set", "source=a"), 2, "source is set by the command itself"),
        (("--set", "hidden=[64"), 2, "not valid YAML"),
        (("--set", "learning_rat=1e-3"), 1, 'learning_rat: unknown hyperparameter\n    did you mean "learning_rate"?'),
        (
            ("--set", "clip=-1"),
            1,
            "clip: Input should be greater than 0 (found -1)\n    allowed: number > 0; default 0.2",
        ),
        (("--set", "roll_out=gpu"), 1, "allowed: auto or compiled or jax; default auto"),
        ((), 2, None),
    ],
)
def test_wrong_hyperparameters_are_told_with_what_is_allowed(arguments, code, message, tmp_path):
    out = tmp_path / "run"
    source = ("p2p_microgrids", "--out", str(out)) if message else ()
    result = run("train", *source, *arguments)
    assert result.exit_code == code
    text = " ".join(result.output.replace("│", " ").split()) if code == 2 else result.stderr
    assert (message or "name a preset or a configuration file") in text
    assert not out.exists()


@pytest.mark.parametrize("name", ["mappo", "ippo", "ppo_lagrangian", "cpo", "apg"])
def test_every_algorithm_lists_its_hyperparameters(name):
    from powergrid.plugins.algorithms import settings_model
    from powergrid.plugins.registries import ALGORITHMS

    assert name in ALGORITHMS.names()
    result = run("train", "--help-algo", name)
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    for setting, field in settings_model(name).model_fields.items():
        assert field.description.split()[0] in lines[setting]
    assert "whole number >= 1" in lines["num_envs"]
    assert f" {settings_model(name)().num_envs} " in lines["num_envs"]
    assert "true or false" in lines["share_actors"]
    assert "number > 0" in lines["learning_rate"]
    wrong = run("train", "--help-algo", "mapo")
    assert wrong.exit_code == 1
    assert 'did you mean "mappo"' in wrong.stderr


def test_train_divides_the_cpu_unless_told_otherwise(monkeypatch, tmp_path):
    import powergrid.learn.train

    monkeypatch.setattr(powergrid.learn.train, "train", lambda source, **keywords: tmp_path)
    run("train", "two_microgrids")
    assert os.environ["JAX_NUM_CPU_DEVICES"] == "1"
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    run("train", "two_microgrids")
    assert 1 <= int(os.environ["JAX_NUM_CPU_DEVICES"]) <= 8


def test_evaluate_compares_policies(tmp_path):
    result = run("evaluate", "ieee13_single", "--policy", "rule_based", "--policy", "random", "--out", str(tmp_path))
    assert result.exit_code == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(found["policies"]) == {"rule_based", "random"}
    assert "rule_based" in result.stdout


def test_evaluate_plays_policies_with_and_without_a_safety_layer(tmp_path):
    arguments = ["--policy", "random", "--safety-layer", "--days", "stress", "--out", str(tmp_path)]
    result = run("evaluate", "ieee13_single", *arguments)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())["policies"]
    assert set(found) == {"random", "random_safe"}
    assert found["random_safe"]["safety_layer"]["ticks_outside_per_day"] == 0.0
    costs = [sum(found[name]["violations_per_day"].values()) for name in ("random_safe", "random")]
    assert costs[0] < costs[1]
    assert "the safety layer changed" in result.stdout


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = "from powergrid.cli import main; main()"
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)


def test_the_command_itself(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    done = command("validate", str(file))
    assert done.returncode == 1
    assert "agents[1].params.capacity" in done.stderr
    assert "Traceback" not in done.stderr
    assert command("--version").stdout.startswith("powergrid ")
    assert command("vlidate").returncode == 2


def test_help_and_import_stay_light():
    """Neither needs an array, a network or a learning library; that keeps both well under a second."""
    heavy = {"numpy", "pandas", "pandapower", "jax", "numba", "matplotlib", "pydantic", "ruamel.yaml", "gymnasium"}
    script = (
        "import sys; sys.argv = ['powergrid', '--help']\n"
        "import powergrid\nfirst = set(sys.modules)\n"
        "from powergrid.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('HEAVY', sorted({heavy!r} & set(sys.modules)), sorted({{'typer', 'rich'}} & first))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY [] []" in done.stdout
    assert "evaluate" in done.stdout


PLUGIN = """\
from pathlib import Path
from powergrid.devices.storage import Storage
from powergrid.plugins import register_device, register_network
from powergrid.networks import network
Path(__file__).with_name("RAN").touch()
@register_device("CliHeater")
class Heater(Storage):
    pass
@register_network("cli_feeder")
def cli_feeder():
    return network("ieee13")
"""


@pytest.fixture
def plugged(tmp_path):
    """A configuration whose device and network come from a plugin, and a mark that the plugin has run."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "heater.py").write_text(PLUGIN, encoding="utf-8")
    file = tmp_path / "case.yaml"
    file.write_text(
        "network: cli_feeder\nplugins: [mine]\nagents:\n  - {id: h, type: CliHeater, bus: 671, params: {max_p_mw: 1}}\n"
    )
    return file, folder / "RAN"


@pytest.mark.parametrize(("command", "code"), [("validate", 0), ("show", 1), ("explain", 1)])
def test_no_plugin_runs_unless_it_is_told_to(plugged, command, code):
    file, ran = plugged
    # a process of its own: what a registry has read once it keeps
    done = subprocess.run([sys.executable, "-m", "powergrid", command, str(file)], capture_output=True, text=True)
    assert not ran.exists()
    assert done.returncode == code
    assert f'{file}:1: network: network "cli_feeder" may come from a plugin' in done.stderr
    assert f'{file}:4: agents[0].type: device type "CliHeater" may come from a plugin' in done.stderr
    assert "--plugins" in done.stderr
    if command == "validate":
        assert "no fault found without its plugins" in done.stdout
        faulty = file.with_name("faulty.yaml")
        faulty.write_text(
            file.read_text().replace("agents:", "agents:\n  - {id: b, type: ESS, bus: 671, params: {eta: 1}}")
        )
        done = subprocess.run([sys.executable, "-m", "powergrid", command, str(faulty)], capture_output=True, text=True)
        assert done.returncode == 1
        assert 'unknown key "eta"' in done.stderr
    assert not ran.exists()


@pytest.mark.parametrize("command", ["validate", "show", "explain"])
def test_plugins_run_when_told_to(plugged, command):
    file, ran = plugged
    run_it = [sys.executable, "-m", "powergrid", command, str(file), "--plugins"]
    done = subprocess.run(run_it, capture_output=True, text=True)
    assert ran.exists()
    assert done.returncode == 0, done.stderr
    assert "could not be checked" not in done.stderr


def test_a_configuration_without_its_plugins_makes_nothing(plugged):
    import powergrid

    file, ran = plugged
    resolved = powergrid.load_config(file, plugins=False)
    assert len(resolved.unchecked) == 4
    with pytest.raises(powergrid.ConfigError, match="may come from a plugin"):
        powergrid.make(resolved, backend="numpy")
    assert not ran.exists()


def test_warmup_compiles_ahead_and_says_what_it_found():
    first, again = run("warmup", "ieee13_single"), run("warmup", "ieee13_single")
    assert first.exit_code == again.exit_code == 0
    assert "ieee13_single: " in first.stdout
    assert "ieee13_single: all compiled before" in again.stdout
    assert run("warmup", "ieee31_single").exit_code == 1


def test_warmup_without_a_compiler_says_why(monkeypatch):
    from powergrid.core import machine_code

    monkeypatch.setattr(machine_code, "installed", lambda: "0.99.0")
    result = run("warmup", "ieee13_single")
    assert result.exit_code == 0
    assert "nothing was compiled" in result.stderr
