"""Plain Python devices: the proposal's HVAC as it stands, alone and in batches, and devices that do what none may."""

from __future__ import annotations

import pickle
from pathlib import Path

import hvac
import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError, DeviceError
from powergrid.worlds.simulation import Simulation

DAY = 40


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Path:
    return hvac.folder(tmp_path_factory.mktemp("hvac"))


def ambient_c(env) -> np.ndarray:
    """Outdoor temperature of the test day."""
    return env.world.resolved.dataset().table(900, columns=["ambient_temp_c:greensboro"])[1][DAY * 96 :, 0]


def run(env, commands, seed=0):
    env.reset(seed=seed, options={"day": DAY})
    infos, slack, seen = [], [], []
    for command in commands:
        observations, _, _, _, info = env.step({"hvac_1": np.array([command])})
        infos.append(env.named(info["hvac_1"]))
        slack.append(float(env._output.flow.p_slack_mw))
        seen.append(observations["hvac_1"])
    return infos, slack, seen


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_temperature_power_cost_and_comfort_of_the_proposals_hvac(plugins, backend):
    env = powergrid.make(hvac.config(plugins), backend=backend)
    assert env.backend == backend
    commands = np.array([0.8, 0.0, -1.0, 1.0, 1.0, -0.4])
    infos, slack, seen = run(env, commands)
    temperature, outdoors = 22.0, ambient_c(env)
    at = env.observation_labels("hvac_1").index("hvac_1.temperature [1]")
    retail = env.world.table.column(env.world.layout.columns.column("retail_per_mwh"))[DAY * 96 :]
    for k, (info, row) in enumerate(zip(infos, seen, strict=True)):
        kw = 5.0 * commands[k]
        temperature += (kw - (temperature - outdoors[k])) * 0.25
        assert row[at] == pytest.approx(temperature, rel=1e-6)
        outside = max(20.0 - temperature, temperature - 24.0, 0.0)
        assert info["costs"]["safety"] == pytest.approx(outside * 0.25, abs=1e-9)
        assert info["cost"] >= info["costs"]["safety"]
        assert info["money"]["cost"] == pytest.approx(abs(kw) / 1000.0 * retail[k] * 0.25, rel=1e-9)
    assert any(info["costs"]["safety"] > 0.0 for info in infos)
    assert env.agent("hvac_1").temperature == pytest.approx(temperature)
    idle = run(env, np.zeros(len(commands)))[1]
    for power, alone, command in zip(slack, idle, commands, strict=True):
        assert power - alone == pytest.approx(command * 0.005, rel=0.1, abs=1e-6)  # the rest is losses


def test_the_compiled_step_gives_what_numpy_gives(plugins):
    commands = np.linspace(-1.0, 1.0, 8)
    first, second = (run(powergrid.make(hvac.config(plugins), backend=each), commands) for each in ("numpy", "fused"))
    assert np.allclose(first[1], second[1], rtol=0.0, atol=1e-9)
    for one, other in zip(first[0], second[0], strict=True):
        assert np.allclose(one["costs"]["safety"], other["costs"]["safety"], rtol=0.0, atol=1e-9)


def test_from_a_yaml_file_with_a_folder_beside_it(tmp_path):
    hvac.folder(tmp_path)
    text = (
        "name: home\nnetwork: ieee13\nplugins: [my_devices/]\nagents:\n"
        "  - {id: hvac_1, type: HVAC, bus: 671, params: {temp_range: [20, 24]}}\n"
    )
    (tmp_path / "home.yaml").write_text(text)
    env = powergrid.make(tmp_path / "home.yaml")
    infos, *_ = run(env, [1.0] * 4)
    assert infos[0]["money"]["cost"] > 0.0
    assert env.agent("hvac_1").temp_range == [20, 24]
    copied = pickle.loads(pickle.dumps(env))
    assert run(copied, [1.0] * 4)[1] == run(env, [1.0] * 4)[1]


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_a_batch_is_as_many_single_environments(plugins, backend):
    single = powergrid.make(hvac.config(plugins), backend=backend)
    batch = powergrid.make_vec(hvac.config(plugins), 3, backend=backend)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (20, 3, 1))
    batch.reset(seed=7)
    rows = [batch.step({"hvac_1": action}) for action in actions]  # two and a half episodes
    for e in range(3):
        single.reset(seed=7 + e)
        for k in range(20):
            observations, rewards, *_ = single.step({"hvac_1": actions[k, e]})
            assert rows[k][1]["hvac_1"][e] == pytest.approx(rewards["hvac_1"], rel=1e-9, abs=1e-12)
            if not single.agents:
                observations, _ = single.reset()
            assert np.allclose(rows[k][0]["hvac_1"][e], observations["hvac_1"], rtol=1e-6, atol=1e-6)


MEMORY = """
from powergrid.agents import DeviceAgent
from powergrid.plugins import register_device
import numpy as np

@register_device("PluginMemory")
class Memory(DeviceAgent):
    def __init__(self, share=1.0, **kwargs):
        super().__init__(**kwargs)
        self.share, self.log, self.level = share, [], 0.0
        self.action.dim_c, self.action.range = 2, np.array([[0.0, -1.0], [0.002, 3.0]])
        self.action.names, self.action.units = ("draw", "turn"), ("MW", "1")

    def reset(self, uniform):
        self.level = uniform

    def update_state(self):
        self.log.append(self.t)
        self.level += 1.0
        self.state.P, self.state.Q = self.share * self.action.c[0], 0.0005

    def update_cost_safety(self):
        self.cost = len(self.log)
"""


def memory(tmp_path, *agents, **sections):
    found = agents or ({"id": "memory_1", "type": "PluginMemory", "bus": "671"},)
    return hvac.config(hvac.folder(tmp_path, MEMORY, "memory.py"), *found, **sections)


def test_every_episode_and_every_environment_has_its_own_objects(tmp_path):
    env = powergrid.make_vec(memory(tmp_path), 4, backend="numpy")
    column = env.money_names.index("cost")
    env.reset(seed=0)
    for tick in range(20):
        _, _, _, _, infos = env.step({"memory_1": np.zeros((4, 2))})
        assert np.allclose(infos["money"]["memory_1"][:, column], (tick % 8 + 1) * 0.25)


def test_initial_states_come_from_the_seed(tmp_path):
    env = powergrid.make(memory(tmp_path), backend="numpy")
    at = env.observation_labels("memory_1").index("memory_1.level [1]")
    levels = [env.reset(seed=seed)[0]["memory_1"][at] for seed in (3, 3, 4)]
    assert levels[0] == levels[1] != levels[2]
    assert 0.0 <= levels[0] < 1.0


def test_labels_idle_actions_and_signs(tmp_path):
    generator = {"id": "memory_1", "type": "PluginMemory", "bus": "671", "params": {"p_sign": 1}}
    env = powergrid.make(memory(tmp_path, generator), backend="numpy")
    assert env.action_labels("memory_1") == ("memory_1.draw [MW]", "memory_1.turn [1]")
    env.reset(seed=0)
    env.step({"memory_1": np.array([1.0, 0.0])})
    assert env._output.p_mw == pytest.approx(0.002)
    assert env._output.q_mvar == pytest.approx(0.0005)
    consumer = powergrid.make(memory(tmp_path), backend="numpy")
    consumer.reset(seed=0)
    assert np.allclose(consumer.agent("memory_1").action.c, 0.0)
    consumer.step({"memory_1": np.array([1.0, 0.0])})
    assert consumer._output.p_mw == pytest.approx(-0.002)


def test_behind_a_meter_energy_is_paid_once(plugins):
    site = {"id": "site_1", "type": "GridCoordinator", "policy": "learned", "protocol": "setpoint"}
    site["sub_agents"] = ["hvac_1", "grid_1"]
    env = powergrid.make(hvac.config(plugins, hvac.AGENT, {"id": "grid_1", "type": "Grid"}, site))
    env.reset(seed=0)
    *_, infos = env.step({"site_1": np.array([1.0])})
    money = env.named(infos["site_1"])["money"]
    assert money["cost"] == 0.0
    assert money["grid"] > 0.0
    assert env.agent("hvac_1").price_per_mwh > 0.0


def test_objects_of_given_up_episodes_are_used_again(tmp_path):
    env = powergrid.make_vec(memory(tmp_path), 4, backend="numpy")
    for seed in range(12):
        env.reset(seed=seed)
        env.step({"memory_1": np.zeros((4, 2))})
    herd = env.world.layout.python
    assert len(herd._episodes) + len(herd._idle) <= 8


def test_an_earlier_state_cannot_be_stepped_again(plugins):
    world = powergrid.make(hvac.config(plugins)).world
    simulation = Simulation(world)
    state, *_ = simulation.reset(np.array([0, 1], dtype=np.uint32), np.array(DAY, dtype=np.int32))
    simulation.step(state, np.zeros((1, 1)))
    with pytest.raises(DeviceError, match=r"hvac_1.*at tick 0, the device at tick 1.*`step` kernel"):
        simulation.step(state, np.zeros((1, 1)))


def test_jax_and_switches_are_refused_with_what_to_do(plugins):
    with pytest.raises(ConfigError, match=r"HVACAgent is a plain Python device(.|\n)*static method step"):
        powergrid.make_functional(hvac.config(plugins))
    network = {"base": "ieee13", "outages": [{"branch": ["*"], "start": [0, 0], "duration": 900}]}
    with pytest.raises(ConfigError, match="switches and outages"):
        powergrid.make(hvac.config(plugins, network=network))


BROKEN = {
    "raises": ("self.x = 1 / 0", r"d_1.*update_state failed at tick 0: ZeroDivisionError"),
    "nan": ("self.state.P = float('nan')", r"d_1.*update_state left state.P = nan at tick 0"),
    "text": ("self.cost = 'dear'", r"d_1.*update_cost_safety left cost = 'dear'"),
    "class": ("type(self).units = 3", r"d_1.*change PluginBroken\w*.units to 3.*self.units"),
    "parameter": ("self.limit = 2.0", r"d_1.*changed the parameter limit from 1.0 to 2.0 at tick 0"),
    "container": ("self.curve.append(1.0)", r"d_1.*write into the parameter curve: \[0.5\] has become \[0.5, 1.0"),
    "data": ("self.dataset['ambient_temp'][self.t] = 0.0", r"d_1.*update_state failed.*read-only"),
    "series": ("self.dataset['ambient_tmp']", r"d_1.*ambient_tmp"),
}


def broken(tmp_path, line, action="self.action.dim_c, self.action.range = 1, np.array([[0.0], [1.0]])", late=False):
    name = f"PluginBroken{abs(hash((line, action, late)))}"
    when = "self.t == 5 and self.told" if late else "True"
    text = f"""
import numpy as np
from powergrid.agents import DeviceAgent
from powergrid.plugins import register_device

@register_device("{name}")
class {name}(DeviceAgent):
    def __init__(self, limit=1.0, curve=(0.5,), **kwargs):
        super().__init__(**kwargs)
        self.limit, self.curve, self.told = limit, list(curve), False
        {action}

    def update_state(self):
        self.told = 0.123 < self.action.c[0] < 0.124
        if {when}:
            {line}

    def update_cost_safety(self):
        pass
"""
    place = hvac.folder(tmp_path, text, f"{name.lower()}.py")
    return hvac.config(place, {"id": "d_1", "type": name, "bus": "671"})


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_device_is_stopped_when_the_environment_is_built(tmp_path, fault):
    line, sentence = BROKEN[fault]
    with pytest.raises(ConfigError, match=sentence):
        powergrid.make(broken(tmp_path, line))


@pytest.mark.parametrize("backend", ["numpy", "fused"])
@pytest.mark.parametrize("fault", ["raises", "nan", "text", "parameter"])
def test_a_device_that_breaks_later_stops_the_step(tmp_path, fault, backend):
    line, sentence = BROKEN[fault]
    env = powergrid.make(broken(tmp_path, line, late=True), backend=backend)
    env.reset(seed=0)
    for _ in range(5):
        env.step({"d_1": np.array([-0.753])})
    with pytest.raises(DeviceError, match=sentence.replace("tick 0", "tick 5")):
        env.step({"d_1": np.array([-0.753])})


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ("self.action.dim_c, self.action.range = 1, np.array([[5.0], [-5.0]])", "upside down: lowest 5.0 .* -5.0"),
        ("self.action.dim_c = 1", r"action.range is missing, expected \(2, 1\)"),
        ("self.action.dim_c, self.action.range = 1, np.zeros((2, 2))", r"has shape \(2, 2\), expected \(2, 1\)"),
        ("self.action.dim_c, self.action.range = 1, np.array([[0.0], [np.inf]])", "must be finite"),
        ("self.action.range = np.array([[0.0], [1.0]])", "action.dim_c is 0"),
        ("self.action.dim_d = 1", "discrete actions are not available"),
    ],
)
def test_an_action_that_is_not_well_defined_is_refused(tmp_path, action, sentence):
    with pytest.raises(ConfigError, match=sentence):
        powergrid.make(broken(tmp_path, "pass", action))


def test_a_missing_method_is_named(tmp_path):
    text = hvac.HVAC.replace('"HVAC"', '"PluginForgetful"').replace("def update_cost_safety", "def cost_safety")
    place = hvac.folder(tmp_path, text, "forgetful.py")
    with pytest.raises(ConfigError, match="no method `update_cost_safety` beside `update_state`"):
        powergrid.make(hvac.config(place, {**hvac.AGENT, "type": "PluginForgetful"}))
    bare = text.replace("PluginForgetful", "PluginBare").replace("def update_state", "def state_of")
    place = hvac.folder(tmp_path, bare, "bare.py")
    with pytest.raises(ConfigError, match="neither a `step` kernel nor the methods"):
        powergrid.make(hvac.config(place, {**hvac.AGENT, "type": "PluginBare"}))
