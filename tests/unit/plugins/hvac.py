"""The plain Python device of the design proposal, as a user writes it, in files of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HVAC = '''
import numpy as np

from powergrid.agents import DeviceAgent
from powergrid.plugins import register_device

@register_device("HVAC")
class HVACAgent(DeviceAgent):
    """Heating/cooling system with thermal dynamics."""

    def __init__(self, temp_range=(18, 26), thermal_mass=1.0, **kwargs):
        super().__init__(**kwargs)
        self.temp_range = temp_range
        self.thermal_mass = thermal_mass
        self.temperature = 22.0  # Initial temp
        self.set_action_space()

    def set_action_space(self):
        # Action: heating/cooling power (kW)
        self.action.dim_c = 1
        self.action.range = np.array([[-5.0], [5.0]])  # -5kW (cooling) to 5kW (heating)

    def update_state(self):
        # Thermal dynamics
        power = self.action.c[0]
        ambient = self.dataset['ambient_temp'][self.t]
        heat_loss = (self.temperature - ambient) / self.thermal_mass

        self.temperature += (power - heat_loss) * self.dt / 3600
        self.state.P = power / 1000  # Convert to MW

    def update_cost_safety(self):
        self.cost = abs(self.state.P) * self.electricity_price

        # Safety: temperature comfort violation
        if self.temperature < self.temp_range[0]:
            self.safety = self.temp_range[0] - self.temperature
        elif self.temperature > self.temp_range[1]:
            self.safety = self.temperature - self.temp_range[1]
        else:
            self.safety = 0.0
'''
"""The proposal's text, with the import of NumPy that it leaves out."""

AGENT = {"id": "hvac_1", "type": "HVAC", "bus": "671", "params": {"temp_range": [20, 24]}}


def folder(place: Path, text: str = HVAC, name: str = "hvac.py") -> Path:
    """A folder `my_devices` with one file."""
    found = place / "my_devices"
    found.mkdir(exist_ok=True)
    (found / name).write_text(text)
    return found


def config(plugins: Path, *agents: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Configuration of the 13-bus feeder with the given agents, by default one HVAC, and episodes of eight ticks."""
    return {
        "name": "home",
        "network": "ieee13",
        "plugins": [str(plugins)],
        "agents": list(agents) or [AGENT],
        "simulation": {"episode_length": 8, "time_step": 900},
        **sections,
    }


KERNEL = """
from collections import namedtuple

from powergrid.agents import DeviceAgent
from powergrid.core.types import Injection
from powergrid.plugins import register_device

State = namedtuple("State", "temp_c", defaults=[22.0])

@register_device("HVACKernel")
class HVACKernel(DeviceAgent):
    Settings = {"t_min_c": 18.0, "t_max_c": 26.0, "thermal_mass": 1.0}
    State, Command, Exogenous = State, {"power_kw": (-5.0, 5.0)}, ["ambient_temp_c"]
    violation_names = ["comfort"]

    def step(xp, params, state, command, exogenous, dt_h):
        heat_loss = (state.temp_c - exogenous.ambient_temp_c) / params.thermal_mass
        temp_c = state.temp_c + (command.power_kw - heat_loss) * dt_h
        return State(temp_c), Injection(-command.power_kw / 1000, temp_c * 0.0)

    def violation(xp, params, state, injection, exogenous, dt_h):
        return [xp.maximum(xp.maximum(params.t_min_c - state.temp_c, state.temp_c - params.t_max_c), 0.0) * dt_h]
"""
"""The same device as a kernel."""
