"""Networks without any load: empty tables in every form of the step."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid

BATTERY = {"id": "b", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3}}


def config(phases: str, agents: list) -> dict:
    network = {"base": "ieee13", "load_scale": 0.0, "phases": phases}
    return {"network": network, "agents": agents, "simulation": {"episode_length": 4, "time_step": 3600}}


@pytest.mark.parametrize("phases", ["balanced", "three"])
def test_a_battery_alone_on_a_network_without_loads(phases):
    rewards = []
    for backend in ("numpy", "fused"):
        env = powergrid.make(config(phases, [BATTERY]), backend=backend)
        assert env.backend == backend
        env.reset(seed=0)
        rewards.append([env.step({"b": np.array([0.5])})[1]["b"] for _ in range(4)])
        flow = env.output.flow
        assert flow.p_slack_mw == pytest.approx(-float(env.output.p_mw[0]) + flow.loss_mw, abs=1e-9)
    assert rewards[0] == pytest.approx(rewards[1], rel=1e-9)
    vector = powergrid.make_vec(config(phases, [BATTERY]), 20)
    vector.reset(seed=0)
    found = [vector.step({"b": np.full((20, 1), 0.5)})[1]["b"][0] for _ in range(4)]
    assert found == pytest.approx(rewards[0], rel=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_nothing_at_all(backend):
    """Neither loads nor generation nor anybody who acts: the source holds its voltage everywhere."""
    env = powergrid.make(config("balanced", [{"id": "meter", "type": "Grid"}]), backend=backend)
    env.reset(seed=0)
    assert env.possible_agents == []
    env.step_array(np.zeros((0, env.world.layout.action_size)))
    assert env.output.flow.converged
    assert abs(env.output.flow.p_slack_mw) < 1e-9


def test_jax_without_loads():
    import jax

    from powergrid.core.backend import jax_float64

    single = powergrid.make(config("balanced", [BATTERY]), backend="numpy")
    single.reset(seed=0, options={"day": 5})
    expected = single.step({"b": np.array([0.5])})[1]["b"]
    with jax_float64():
        env = powergrid.make_functional(config("balanced", [BATTERY]), dtype="float64")
        _, state = env.reset(jax.random.key_data(jax.random.key(0)), jax.numpy.asarray(5))
        reward = env.step(None, state, {"b": jax.numpy.full((1, 1), 0.5)})[2]["b"]
        assert float(reward[0]) == pytest.approx(expected, rel=1e-9)
