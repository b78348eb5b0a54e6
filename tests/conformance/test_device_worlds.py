"""Every injecting family in one environment: one physics on NumPy and compiled, and observations in their spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.plugins.registries import DEVICES

BUSES = ("671", "675", "680", "634", "692", "633")
SMALL = {
    "WindTurbine": {"p_max_mw": 0.2, "sn_mva": 0.25},
    "Biomass": {"p_max_mw": 0.2},
    "EVCharger": {"v2g": True},
    "DataCenter": {"p_max_mw": 0.2},
}
"""Parameters of families whose defaults are large for this feeder."""


def families() -> list[str]:
    """The package's own families that inject power; plugins of other tests stay out."""
    own = [name for name in DEVICES.names() if DEVICES.get(name).__module__.startswith("powergrid.")]
    return [name for name in own if DEVICES.get(name).role == "injection"]


def world(ticks: int) -> dict[str, Any]:
    """One unit of each family on the IEEE 13 feeder, under one operator."""
    agents: list[dict[str, Any]] = [
        {
            "id": f"{name.lower()}_1",
            "type": name,
            "bus": BUSES[i % len(BUSES)],
            "params": SMALL.get(name, {}),
            "policy": "learned",
        }
        for i, name in enumerate(families())
    ]
    operator = {
        "id": "operator_1",
        "type": "GridCoordinator",
        "policy": "learned",
        "protocol": "setpoint",
        "sub_agents": [*(agent["id"] for agent in agents), "grid_1"],
    }
    network = {"base": "ieee13", "source_pu": 1.0, "load_scale": 0.5, "load_series": "load_p_pu:com_1"}
    return {
        "name": "everything",
        "network": network,
        "agents": [*agents, {"id": "grid_1", "type": "Grid"}, operator],
        "simulation": {"episode_length": ticks, "time_step": 900},
    }


def day(backend: str, policy: str, ticks: int = 96) -> tuple[Any, np.ndarray, np.ndarray]:
    """Observations and rewards of an episode under a local policy."""
    env = powergrid.make(world(ticks), backend=backend)
    observations, _ = env.reset(seed=3, options={"day": 20})
    seen, rewards = [observations["operator_1"]], []
    while env.agents:
        observations, reward, _, _, infos = env.step(env.policy_actions(policy))
        assert infos["operator_1"]["converged"]
        assert env.observation_space("operator_1").contains(observations["operator_1"])
        seen.append(observations["operator_1"])
        rewards.append(reward["operator_1"])
    return env, np.array(seen), np.array(rewards)


@pytest.mark.parametrize("policy", ["rule_based", "random"])
def test_everything_runs_together_inside_its_spaces(policy: str) -> None:
    _, seen, rewards = day("numpy", policy, ticks=12)
    assert np.isfinite(seen).all()
    assert np.isfinite(rewards).all()


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["rule_based", "random"])
def test_compiled_day_is_the_numpy_day(policy: str) -> None:
    (plain, seen, rewards), (fused, seen_fused, rewards_fused) = day("numpy", policy), day("fused", policy)
    assert (plain.backend, fused.backend) == ("numpy", "fused")
    assert np.allclose(rewards, rewards_fused, rtol=1e-8, atol=1e-8)
    assert np.allclose(seen, seen_fused, rtol=1e-5, atol=1e-6)
