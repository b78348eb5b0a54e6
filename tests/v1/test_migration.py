"""The road from version 1 to version 2."""

from __future__ import annotations

import copy
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test, parallel_seed_test
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.envs.single_agent.ieee34_mg import IEEE34Env
from powergrid.utils.utils import NormalizeActionWrapper
from typer.testing import CliRunner

import powergrid
from powergrid.base_env import GridBaseEnv
from powergrid.cli.app import app
from powergrid.core.errors import ConfigError, PowerGridError
from powergrid.migration import script_environments, script_uses, to_multi_agent, write_yaml

SCRIPT = """\
import pickle
import numpy as np
import pandapower as pp
from powergrid.base_env import GridBaseEnv
from powergrid.devices import *
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.utils.utils import NormalizeActionWrapper

class MyEnv(IEEE13Env):
    kind = DG

if __name__ == "__main__":
    pp.runpp(None)
"""


@pytest.fixture(scope="module")
def old():
    return IEEE13Env({"train": True, "safety_scale": 3.0, "max_penalty": 50.0})


@pytest.mark.parametrize(
    ("split", "agents"),
    [
        ("device", ["ESS1", "DG1", "DG2"]),
        ("area", ["MG1"]),
        ({"north": ["ESS1", "DG2"], "south": ["DG1"]}, ["north", "south"]),
    ],
)
def test_a_split_environment_conforms(old, split, agents):
    env = to_multi_agent(NormalizeActionWrapper(old), split)
    assert env.possible_agents == agents
    parallel_api_test(env, num_cycles=60)
    parallel_seed_test(lambda: to_multi_agent(old, split), num_cycles=5)


def test_costs_and_rewards_add_up_to_those_of_version_1(old):
    env = to_multi_agent(old, "device")
    env.reset(seed=0, options={"t": 2400})
    old.reset(seed=1)
    old.t = 2400
    old.devices["ESS1"].state.soc = env.env.devices["ESS1"].state.soc = 0.5
    old._apply_dataset_scalers()
    rng = np.random.default_rng(4)
    for hour in range(24):
        action = rng.uniform(0.3, 0.7, 5).astype(np.float32) * (old.action_space.high - old.action_space.low)
        action += old.action_space.low
        _, rewards, _, truncated, infos = env.step({"ESS1": action[:1], "DG1": action[1:3], "DG2": action[3:]})
        _, reward, *_ = old.step(action)
        assert sum(rewards.values()) == pytest.approx(reward, abs=1e-6)
        cost = sum(dev.cost for dev in old.devices.values())
        assert sum(info["cost"] for info in infos.values()) == pytest.approx(cost, abs=1e-6)
        assert all(truncated.values()) == (hour == 23)
    assert env.agents == []


@pytest.mark.parametrize("config", [{"train": True, "safety_scale": 40.0, "max_penalty": 3.0}, {"train": False}, {}])
@pytest.mark.parametrize("split", ["device", "area", {"rest": ["DG2", "ESS1"], "one": ["DG1"]}])
def test_equal_seeds_are_equal_days(config, split):
    """The same day, states of charge and reward as in the old environment, over two episodes."""
    old = IEEE13Env(config)
    env = to_multi_agent(old, split)
    rng = np.random.default_rng(1)
    for seed in (5, None):
        assert env.reset(seed=seed)[1][env.agents[0]]["t"] == old.reset(seed=seed)[1]["t"]
        assert env.env.devices["ESS1"].soc == old.devices["ESS1"].soc
        for _ in range(24):
            share = {"ESS1": [0.0], "DG1": rng.uniform(0, 0.3, 2), "DG2": rng.uniform(0, 0.3, 2)}
            _, reward, *_ = old.step(np.concatenate([share[name] for name in ("ESS1", "DG1", "DG2")]))
            actions = {agent: np.concatenate([share[name] for name in names]) for agent, names in env.split.items()}
            _, rewards, *_, infos = env.step(actions)
            assert sum(rewards.values()) == pytest.approx(reward, abs=1e-6)
            cost = sum(dev.cost for dev in old.devices.values())
            assert sum(info["cost"] for info in infos.values()) == pytest.approx(cost, abs=1e-6)


def test_limits_are_kept(old):
    env = to_multi_agent(old, "device")
    env.reset(seed=0)
    for _ in range(12):
        env.step({"ESS1": [9.0], "DG1": [9.0, 9.0], "DG2": [0.0, 0.0]})
    assert env.env.devices["ESS1"].soc <= 0.9 + 1e-6
    assert pytest.approx(0.4) == env.env.devices["DG1"].state.P


def test_a_split_that_does_not_do_is_told_at_once(old):
    with pytest.raises(ConfigError) as caught:
        to_multi_agent(old, {"a": ["ESS1", "DG3"], "b": ["PV1", "ESS1"], "c": []})
    said = str(caught.value)
    for part in ('no device is called "DG3"', 'did you mean "DG', '"PV1" takes no action', '"ESS1" is given 2 times',
                 '"DG1" is given 0 times', "has no device"):  # fmt: skip
        assert part in said
    with pytest.raises(ConfigError, match='did you mean "device"'):
        to_multi_agent(old, "devices")
    with pytest.raises(ConfigError, match="is a int"):
        to_multi_agent(3)


def test_a_script_is_read_and_its_environment_written(tmp_path):
    script = tmp_path / "my_env.py"
    script.write_text(SCRIPT)
    uses = {use.name: use.line for use in script_uses(script)}
    assert uses == {
        "pickle": 1,
        "powergrid.base_env.GridBaseEnv": 4,
        "powergrid.devices": 5,
        "powergrid.envs.single_agent.ieee13_mg.IEEE13Env": 6,
        "powergrid.utils.utils.NormalizeActionWrapper": 7,
        "powergrid.devices.DG": 10,
        "pandapower.runpp": 13,
    }
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["migrate", str(script), "--env", "MyEnv", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "NormalizeActionWrapper" in result.stdout
    env = powergrid.make(out / "myenv.yaml")
    assert env.possible_agents == ["operator"]
    env.reset(seed=0)
    assert np.isfinite(env.step({"operator": np.zeros(5)})[1]["operator"])
    assert script_environments(script) == ["IEEE13Env", "MyEnv"]
    only_read = CliRunner().invoke(app, ["migrate", str(script)])
    assert only_read.stdout.splitlines()[-1].endswith("--env MyEnv --out migrated")
    script.write_text(f"{SCRIPT}\nmine = NormalizeActionWrapper(MyEnv({{'load_scale': 0.8}}))\n")
    held = CliRunner().invoke(app, ["migrate", str(script), "--env", "mine", "--out", str(tmp_path / "held")])
    assert held.exit_code == 0, held.output
    assert "load_scale: 0.8" in (tmp_path / "held" / "myenv.yaml").read_text()
    wrong = CliRunner().invoke(app, ["migrate", str(script), "--env", "MyEnf", "--out", str(out)])
    assert wrong.exit_code == 1
    assert 'did you mean "MyEnv"' in wrong.output


OTHER_SCRIPT = """\
import powergrid as pg
import powergrid.utils.cost
import powergrid.devices as dv
from powergrid import ESS
from powergrid.envs.multiagent.ieee34_ieee13 import MultiAgentMicrogrids as Microgrids

env = Microgrids({"train": True})
unit = dv.DG("a", "b", 0, 1)
cost = powergrid.utils.cost.quadratic_cost(1, 2, 3, 4)
bank = pg.Shunt("s", "b", 0.1)
"""


def test_another_way_to_write_it_and_the_width_of_a_terminal(tmp_path, monkeypatch):
    script = tmp_path / "other.py"
    script.write_text(OTHER_SCRIPT)
    assert [(use.line, use.name) for use in script_uses(script)] == [
        (2, "powergrid.utils.cost"),
        (3, "powergrid.devices"),
        (4, "powergrid.ESS"),
        (5, "powergrid.envs.multiagent.ieee34_ieee13.MultiAgentMicrogrids"),
        (8, "powergrid.devices.DG"),
        (9, "powergrid.utils.cost.quadratic_cost"),
        (10, "powergrid.Shunt"),
    ]
    monkeypatch.setenv("COLUMNS", "72")
    result = CliRunner().invoke(app, ["migrate", str(script)])
    assert "7 uses of version 1" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) < 72
    for path in ("powergrid.networks.ieee34", "powergrid.envs.single_agent.ieee34_mg"):
        script.write_text(f"import {path}")
        assert "34" in script_uses(script)[0].replacement
    script.write_text("import numpy")
    assert "nothing of version 1" in CliRunner().invoke(app, ["migrate", str(script)]).stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"def", "is no Python"),
        (b"\xff\xfe\x00", "is no Python"),
        (None, "cannot be read (No such file"),
        (b"raise RuntimeError('boom')", "failed (RuntimeError: boom)"),
        (b"import sys; sys.exit(3)", "failed (SystemExit: 3)"),
        (b"import numpy", "has no subclass or instance of GridBaseEnv"),
        (b"from powergrid.base_env import GridBaseEnv\nclass E(GridBaseEnv): pass", "E({}) failed (TypeError"),
    ],
)
def test_scripts_that_do_not_do(tmp_path, content, sentence):
    script = tmp_path / "bad.py"
    if content is not None:
        script.write_bytes(content)
    result = CliRunner().invoke(app, ["migrate", str(script), "--env", "E"])
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_the_yaml_means_the_same_powers_and_money(tmp_path):
    old = IEEE34Env({"train": True})
    new = powergrid.make(write_yaml(old, tmp_path))
    obs, info = new.reset(seed=3)
    see = dict(zip(new.observation_labels("operator"), obs["operator"], strict=True))
    old.reset(seed=0)
    old.t = info["operator"]["day"] * 24
    for name in ("ESS1", "ESS2"):
        old.devices[name].state.soc = float(see[f"{name.lower()}.soc [1]"])
    old._apply_dataset_scalers()
    rng = np.random.default_rng(0)
    for _ in range(4):
        share = {name: rng.uniform(-0.5, 0.5) for name in ("ESS1", "ESS2", "DG1", "DG2")}
        unit = {f"{name.lower()}.p [MW]": value for name, value in share.items()}
        action = np.array([unit.get(label, 0.0) for label in new.action_labels("operator")], np.float32)
        low, high = old.action_space.low, old.action_space.high
        charge = [-0.5 * share["ESS1"], -0.4 * share["ESS2"]]  # version 2 counts what a battery feeds in
        fuel = [(1 + share["DG1"]) / 2 * high[2], 0.0, (1 + share["DG2"]) / 2 * high[4], 0.0]
        obs, _, _, _, infos = new.step({"operator": action})
        _, reward, *_ = old.step(np.array([*charge, *fuel], np.float32))
        see = dict(zip(new.observation_labels("operator"), obs["operator"], strict=True))
        assert see["source.p [MW]"] == pytest.approx(old.devices["Grid"].state.P, abs=1e-6)
        money = infos["operator"]["money"]
        assert money[1] + money[3] == pytest.approx(-reward, abs=1e-4)  # fuel and settlement
    assert (low < high).all()


def test_what_has_no_counterpart_is_noted_and_the_rest_runs(everything, tmp_path):
    path = write_yaml(everything({}), tmp_path)
    notes = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for part in ("Battery: its cost curve", "Wind: its reactive", "Regulator 1: starts at tap 0", "Bank: a Shunt",
                 "are no calendar year"):  # fmt: skip
        assert any(part in note for note in notes), part
    env = powergrid.make(path)
    env.reset(seed=0)
    labels = env.action_labels("operator")
    assert {"unit.commit [1]", "regulator_1.move [1]", "wind.q [Mvar]"} <= set(labels)
    see = env.observation_labels("operator").index("bus_MG1 Bus 838.v [pu]")
    voltages = []
    for share in (0.0, 8 / 32):
        up = np.array([share if label.startswith("regulator_1") else 0.0 for label in labels], np.float32)
        voltages.append(float(env.step({"operator": up})[0]["operator"][see]))
    assert voltages[1] - voltages[0] > 0.03  # eight steps of 0.625 %


def test_unit_commitment_and_taps_in_several_hands(everything):
    env = to_multi_agent(everything({"train": True}), {"a": ["Unit", "Battery"], "b": ["Wind", "Regulator 1", "Bank"]})
    assert env.action_space("a")["discrete"].n == 2
    assert env.action_space("b")["discrete"].nvec.tolist() == [33, 3]
    parallel_api_test(env, num_cycles=30)


@pytest.mark.parametrize("split", ["device", "area"])
def test_the_two_environments_live_apart(old, split):
    """Stepping one changes nothing of the other."""
    old.reset(seed=0)
    env = to_multi_agent(old, split)

    def traces(one):
        tables = [one.net[table].to_numpy().tolist() for table in ("load", "sgen", "storage", "trafo", "res_bus")]
        return str(tables), one.t, [str(dev.state) for dev in one.devices.values()]

    env.reset(seed=1)
    before = traces(old)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    assert traces(old) == before
    before = traces(env.env)
    old.step(old.action_space.sample())
    old.reset(seed=4)
    assert traces(env.env) == before


def test_the_yaml_means_the_same_network_and_devices(old, tmp_path):
    path = write_yaml(old, tmp_path)
    env = powergrid.make(path)
    env.reset(seed=0)
    assert env.action_labels("operator") == ("ess1.p [MW]", "dg1.p [MW]", "dg2.p [MW]", "dg1.q [Mvar]", "dg2.q [Mvar]")
    config = powergrid.load_config(path).config
    params = {agent.id: agent.params for agent in config.agents}
    assert params["dg1"]["marginal_cost_slope_per_mw2h"] == 200.0
    assert params["ess1"]["capacity_mwh"] == 3.0
    assert config.training.max_penalty == 50.0
    with pytest.raises(PowerGridError, match="is no GridBaseEnv"):
        write_yaml(env, tmp_path)


@pytest.mark.parametrize("name", ["IEEE13", "IEEE34", "CIGREMV"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_gymnasium_ids(name, version):
    env = gym.make(f"powergrid/{name}-{version}")
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    for _ in range(24):
        *_, terminated, truncated, info = env.step(env.action_space.sample())
        assert info["converged"]
    assert (terminated, truncated) == ((True, False) if version == "v1" else (False, True))
    if version == "v2":
        assert 0.1 - 1e-6 <= env.unwrapped.devices[next(iter(env.unwrapped.devices))].soc <= 0.9 + 1e-6


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import powergrid, gymnasium", marks=pytest.mark.slow),
        pytest.param("import gymnasium, powergrid", marks=pytest.mark.slow),
        "import sys, powergrid; assert 'gymnasium' not in sys.modules; import gymnasium",
        "import gymnasium; gymnasium.make('powergrid:powergrid/IEEE13-v1')",
    ],
)
def test_ids_are_there_whichever_is_imported_first(program):
    told = "print(gymnasium.make('powergrid/IEEE13-v2').unwrapped.reset(seed=0)[0].shape)"
    found = subprocess.run([sys.executable, "-c", f"{program}; {told}"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("(")


def test_environments_can_be_copied(old):
    old.reset(seed=0)
    old.step(np.zeros(5, np.float32))
    twin = copy.deepcopy(old)
    assert isinstance(twin, GridBaseEnv)
    assert twin.step(np.zeros(5, np.float32))[1] == old.step(np.zeros(5, np.float32))[1]
