"""No result of the compiled step depends on memory that nothing has written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.engine import results
from powergrid.engine.compiled import flow, step

BATTERY = {"id": "b", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3}}
EPISODE = {"episode_length": 4, "time_step": 3600}
OUTAGE = {"branch": "*", "start": [0, 7200], "duration": 3600}
CONFIGURATIONS = {
    "three phases": {"network": {"base": "ieee13", "phases": "three"}, "agents": [BATTERY], "simulation": EPISODE},
    "three phases without loads": {
        "network": {"base": "ieee13", "phases": "three", "load_scale": 0.0},
        "agents": [BATTERY],
        "simulation": EPISODE,
    },
    "outages": {
        "network": {"base": "case33bw", "outages": OUTAGE},
        "agents": [{**BATTERY, "bus": "18"}],
        "simulation": EPISODE,
    },
    "market": "p2p_microgrids",
    "regulators": "voltage_control_13",
}


class Filled:
    """NumPy, whose new arrays hold a value of the test's choice."""

    def __init__(self, value: float):
        self.value = value

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = float) -> np.ndarray:
        array = np.empty(shape, dtype)
        array.fill({"f": self.value, "b": True}.get(array.dtype.kind, 77))
        return array


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_results_do_not_depend_on_what_new_arrays_hold(name, monkeypatch):
    def played(value: float) -> list[np.ndarray]:
        for module in (step, flow, results):
            monkeypatch.setattr(module, "np", Filled(value))
        env = powergrid.make_vec(CONFIGURATIONS[name], 5, backend="fused")
        env.reset(seed=0)
        rng, arrays = np.random.default_rng(0), []
        for _ in range(6):
            shape = (5, len(env.possible_agents), env.world.layout.action_size)
            tick = env.step_array(rng.uniform(-1, 1, shape))
            arrays += [tick.observation, tick.reward, tick.cost, tick.money, tick.costs, tick.final_observation]
            arrays += [tick.converged, tick.clipped, tick.due, tick.available]
        return [array.copy() for array in arrays]

    for one, other in zip(played(np.nan), played(1000.0), strict=True):
        assert np.isfinite(one).all()
        assert np.array_equal(one, other)
