"""What a plain Python device costs: seconds of a step with plugins, less those of the same environment without them.

    python bench/plugins.py

The plugin is the air conditioner of the design proposal, written into a folder and loaded from there. A building
operator on the 123-bus feeder commands a battery and a number of them; the environment without plugins has the battery
only. Prints the least of repeated windows of process CPU time, for one environment through ``step_array`` and 64 in a
batch: what other programs on the machine add is not the plugin's.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid

HVAC = """
import numpy as np
from powergrid.agents import DeviceAgent
from powergrid.plugins import register_device


@register_device("HVAC")
class HVACAgent(DeviceAgent):
    def __init__(self, temp_range=(18, 26), thermal_mass=1.0, **kwargs):
        super().__init__(**kwargs)
        self.temp_range = temp_range
        self.thermal_mass = thermal_mass
        self.temperature = 22.0
        self.action.dim_c = 1
        self.action.range = np.array([[-5.0], [5.0]])

    def update_state(self):
        power = self.action.c[0]
        ambient = self.dataset["ambient_temp"][self.t]
        heat_loss = (self.temperature - ambient) / self.thermal_mass
        self.temperature += (power - heat_loss) * self.dt / 3600
        self.state.P = power / 1000

    def update_cost_safety(self):
        self.cost = abs(self.state.P) * self.electricity_price
        if self.temperature < self.temp_range[0]:
            self.safety = self.temp_range[0] - self.temperature
        elif self.temperature > self.temp_range[1]:
            self.safety = self.temperature - self.temp_range[1]
        else:
            self.safety = 0.0
"""
WINDOWS = 15


def config(folder: Path, units: int) -> dict[str, Any]:
    """An operator with a battery, a meter and so many plugins."""
    buses = [bus for bus in powergrid.network("ieee123").buses.name if bus.isdigit()]
    rng = np.random.default_rng(0)
    devices = [
        {"id": "ess_1", "type": "ESS", "bus": "60", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}},
        {"id": "grid_1", "type": "Grid"},
        *({"id": f"hvac_{i}", "type": "HVAC", "bus": str(rng.choice(buses))} for i in range(units)),
    ]
    operator = {"id": "operator_1", "type": "GridCoordinator", "policy": "learned", "protocol": "setpoint"}
    operator["sub_agents"] = [device["id"] for device in devices]
    return {"name": f"{units} plugins", "network": "ieee123", "plugins": [str(folder)], "agents": [*devices, operator]}


def seconds_per_step(env: Any, actions: np.ndarray, steps: int) -> float:
    """Least CPU seconds of one step without dictionaries; resets lie outside of what is timed."""
    found = []
    for _ in range(WINDOWS):
        env.reset(seed=0)
        env.step_array(actions)
        begin = time.process_time()
        for _ in range(steps):
            env.step_array(actions)
        found.append((time.process_time() - begin) / steps)
    return min(found)


def costs(folder: Path, units: int, environments: int) -> float:
    """CPU seconds of one step of all environments."""
    given, steps = config(folder, units), 90 if environments == 1 else 45
    env = powergrid.make(given) if environments == 1 else powergrid.make_vec(given, environments)
    shape = (len(env.possible_agents), env.world.layout.action_size)
    actions = np.full(shape if environments == 1 else (environments, *shape), 0.1)
    return seconds_per_step(env, actions, steps)


def main(console: Console) -> None:
    """Print the table."""
    table = Table(title="plain Python devices on the 123-bus feeder")
    for column in ("environments", "plugins", "us a step and environment", "us a plugin unit and step"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "hvac.py").write_text(HVAC)
        for environments, counts in ((1, (1, 10, 100, 300)), (64, (1, 10, 100))):
            without = costs(folder, 0, environments)
            table.add_row(str(environments), "0", f"{1e6 * without / environments:.1f}", "")
            for units in counts:
                spent = costs(folder, units, environments)
                beyond = 1e6 * (spent - without) / environments
                row = (str(environments), str(units), f"{1e6 * spent / environments:.1f}", f"{beyond / units:.2f}")
                table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main(Console())
