"""The road from version 1 to version 2."""

from __future__ import annotations

import copy

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test, parallel_seed_test
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.utils.utils import NormalizeActionWrapper
from typer.testing import CliRunner

import powergrid
from powergrid.base_env import GridBaseEnv
from powergrid.cli.app import app
from powergrid.core.errors import ConfigError, PowerGridError
from powergrid.migration import script_uses, to_multi_agent, write_yaml

SCRIPT = """\
import pickle
import numpy as np
import pandapower as pp
from powergrid.base_env import GridBaseEnv
from powergrid.devices import *
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.utils.utils import NormalizeActionWrapper

class MyEnv(IEEE13Env):
    pass

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
    wrong = CliRunner().invoke(app, ["migrate", str(script), "--env", "MyEnf", "--out", str(out)])
    assert wrong.exit_code == 1
    assert 'did you mean "MyEnv"' in wrong.output
    (tmp_path / "bad.py").write_text("def")
    with pytest.raises(PowerGridError, match=r"bad.py:1: is no Python"):
        script_uses(tmp_path / "bad.py")


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


def test_environments_can_be_copied(old):
    old.reset(seed=0)
    old.step(np.zeros(5, np.float32))
    twin = copy.deepcopy(old)
    assert isinstance(twin, GridBaseEnv)
    assert twin.step(np.zeros(5, np.float32))[1] == old.step(np.zeros(5, np.float32))[1]
