"""The kernel form of the proposal's HVAC: shorter, the same trajectory, and on JAX."""

from __future__ import annotations

import hvac
import numpy as np
import pytest

import powergrid

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
    assert lines(hvac.KERNEL) < 0.8 * lines(hvac.HVAC)


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
