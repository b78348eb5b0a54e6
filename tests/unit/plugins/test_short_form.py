"""The kernel form of the proposal's HVAC: shorter, the same trajectory, and on JAX."""

from __future__ import annotations

import hvac
import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError, DeviceError

KERNEL_AGENT = {"id": "hvac_1", "type": "HVACKernel", "bus": "671", "params": {"t_min_c": 20.0, "t_max_c": 24.0}}
COMMANDS = np.array([0.8, 0.0, -1.0, 1.0, 1.0, -0.4])


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    place = hvac.folder(tmp_path_factory.mktemp("short"))
    (place / "kernel.py").write_text(hvac.KERNEL)
    return place


def lines(text: str) -> int:
    """Lines of a class and its columns that are code."""
    body = [line.strip() for line in text.splitlines()]
    return sum(bool(line) and not line.startswith(("#", '"""', "import", "from")) for line in body)


def run(env):
    env.reset(seed=0, options={"day": 40})
    at = next(i for i, label in enumerate(env.observation_labels("hvac_1")) if label.startswith("hvac_1.temp"))
    column = next(i for i, name in enumerate(env.constraint_names) if name in ("safety", "comfort"))
    found = []
    for command in COMMANDS:
        seen, _, _, _, info = env.step({"hvac_1": np.array([command])})
        found.append((seen["hvac_1"][at], info["hvac_1"]["costs"][column], env._output.flow.p_slack_mw))
    return np.array(found)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_the_kernel_gives_the_trajectory_of_the_plain_device(plugins, backend):
    env = powergrid.make(hvac.config(plugins, KERNEL_AGENT), backend=backend)
    assert env.backend == backend
    assert env.action_labels("hvac_1") == ("hvac_1.power [kW]",)
    assert "hvac_1.temp [degC]" in env.observation_labels("hvac_1")
    plain = run(powergrid.make(hvac.config(plugins), backend=backend))
    assert np.allclose(run(env), plain, rtol=1e-6, atol=1e-9)
    assert lines(hvac.KERNEL) <= 0.5 * lines(hvac.HVAC)


@pytest.mark.slow
def test_the_kernel_runs_on_jax(plugins):
    import jax

    cpu = run(powergrid.make(hvac.config(plugins, KERNEL_AGENT), backend="numpy"))
    env = powergrid.make_functional(hvac.config(plugins, KERNEL_AGENT), auto_reset=False)
    column = env.constraint_names.index("comfort")
    _, state = env.reset(jax.random.key(0), day=np.int32(40))
    step = jax.jit(env.step)
    for command, (_, comfort, slack) in zip(COMMANDS, cpu, strict=True):
        _, state, _, _, info = step(jax.random.key(0), state, {"hvac": np.array([[command]], np.float32)})
        assert float(info["costs"][0, column]) == pytest.approx(comfort, rel=1e-4, abs=1e-5)
        assert float(info["output"].flow.p_slack_mw) == pytest.approx(slack, rel=1e-4)


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value|overflow)")
@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_a_kernel_that_spoils_its_state_later_stops_the_step(tmp_path, backend):
    at_full_power = "xp.where(command.power_kw > 4.999, 1e308 * command.power_kw, command.power_kw)"
    text = hvac.KERNEL.replace("(command.power_kw - heat_loss)", f"({at_full_power} - heat_loss)")
    place = hvac.folder(tmp_path, text, "kernel.py")
    env = powergrid.make(hvac.config(place, KERNEL_AGENT), backend=backend)
    env.reset(seed=0)
    env.step({"hvac_1": np.array([0.5])})
    with pytest.raises(DeviceError, match=r"\"hvac_1\" \(HVACKernel\): step gave state.temp_c = inf at tick 1"):
        env.step({"hvac_1": np.array([1.0])})


def test_a_kernel_that_raises_later_stops_the_step(tmp_path):
    text = hvac.KERNEL.replace("heat_loss =", "if (command.power_kw > 4.9).any(): 1 / 0\n        heat_loss =")
    place = hvac.folder(tmp_path, text, "kernel.py")
    env = powergrid.make(hvac.config(place, KERNEL_AGENT))
    env.reset(seed=0)
    env.step({"hvac_1": np.array([0.5])})
    with pytest.raises(
        DeviceError, match=r'"hvac_1" \(HVACKernel\): step failed at tick 1: ZeroDivisionError.*line 17'
    ):
        env.step({"hvac_1": np.array([1.0])})


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value|overflow)")
@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_a_batch_stops_too_and_names_the_environment_s_tick(tmp_path, backend):
    at_full_power = "xp.where(command.power_kw > 4.999, 1e308 * command.power_kw, command.power_kw)"
    text = hvac.KERNEL.replace("(command.power_kw - heat_loss)", f"({at_full_power} - heat_loss)")
    env = powergrid.make_vec(hvac.config(hvac.folder(tmp_path, text, "kernel.py"), KERNEL_AGENT), 3, backend=backend)
    env.reset(seed=0)
    env.step({"hvac_1": np.zeros((3, 1))})
    with pytest.raises(DeviceError, match=r"step gave state.temp_c = inf at tick 1"):
        env.step({"hvac_1": np.array([[0.0], [1.0], [0.0]])})


def test_words_that_kernels_do_not_have_are_stepped_on_numpy(tmp_path, caplog):
    text = hvac.KERNEL.replace("heat_loss =", "xp.tanh(state.temp_c); heat_loss =")
    env = powergrid.make(hvac.config(hvac.folder(tmp_path, text, "kernel.py"), KERNEL_AGENT))
    assert env.backend == "numpy"
    assert "they use xp.tanh, which is not in the vocabulary of kernels" in caplog.text


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("return State(temp_c)", "return State(temp_c / 0.0 * 0.0)", "step gives temp_c = "),
        ("return State(temp_c)", "return State(temp_c[:1])", r"step gives temp_c of shape \(1,\) for 2 units"),
        ("return [xp", "return [-1.0 - xp", "violation gives comfort = .*; it must not be negative"),
        ("heat_loss =", "state.temp_c[:] = 0.0; heat_loss =", "step writes into its arguments"),
        ("(-5.0, 5.0)", "(5.0, -5.0)", r'action "power_kw" needs finite bounds low < high, has \[5.0, -5.0\]'),
        ("thermal_mass\n        temp_c", "thermal_mas\n        temp_c", "step failed: AttributeError"),
        ('["comfort"]', '["comfort", "more"]', r"violation gives 1 columns for the names \['comfort', 'more'\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
def test_a_kernel_that_is_wrong_is_stopped_when_the_environment_is_built(tmp_path, right, wrong, sentence):
    assert right in hvac.KERNEL
    place = hvac.folder(tmp_path, hvac.KERNEL.replace(right, wrong), "kernel.py")
    with pytest.raises(ConfigError, match=rf'device "hvac_1" \(HVACKernel\): {sentence}'):
        powergrid.make(hvac.config(place, KERNEL_AGENT))
