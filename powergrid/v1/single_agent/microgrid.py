"""What the three single-agent environments of v1 share: reward, safety and their data."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from powergrid.v1.devices import Device, Transformer
from powergrid.v1.grid_base_env import GridBaseEnv

PRICE_NODE = "0096WD_7_N001"
VOLTAGE_BAND = (0.95, 1.05)
"""Voltages outside this band count as violations [pu]."""


class MicrogridEnv(GridBaseEnv):
    """Pays for its devices; violations are those of the devices, of voltages and of lines.

    ``env_config["data"]`` names a v1 data file, see :func:`~powergrid.v1.datasets.read_data`.
    """

    reward: dict[str, float]
    safety: dict[str, float]

    def _take(self, net: Any, devices: list[Device]) -> None:
        """Own the net, the devices and all transformers of the net, which have no tap control."""
        prefix = f"{self.area} " if self.area else ""
        names = [str(name)[len(prefix) :] for name in net.trafo["name"]]
        trafos = [
            Transformer(name, sn_mva=float(sn_mva)) for name, sn_mva in zip(names, net.trafo["sn_mva"], strict=True)
        ]
        self.devices = OrderedDict((dev.name, dev) for dev in [*devices, *trafos])
        self.net = net

    def _reward_and_safety(self) -> tuple[dict[str, float], dict[str, float]]:
        """Minus the cost of each device; device safety, voltages outside the band [pu], loadings above 100 % [1]."""
        if self.net["converged"]:
            low, high = VOLTAGE_BAND
            vm = self._area_values("bus", "vm_pu")
            loading = self._area_values("line", "loading_percent")
            self.reward = {name: -float(dev.cost) for name, dev in self.devices.items()}
            self.safety = {name: float(dev.safety) for name, dev in self.devices.items()}
            self.safety["overloading"] = float(np.maximum(loading - 100.0, 0.0).sum() * 0.01)
            self.safety["overvoltage"] = float(np.maximum(vm - high, 0.0).sum())
            self.safety["undervoltage"] = float(np.maximum(low - vm, 0.0).sum())
        else:
            self.reward, self.safety = {"convergence": -100.0}, {"convergence": 1.0}
        return self.reward, self.safety

    def _area_values(self, table: str, column: str) -> np.ndarray:
        values: np.ndarray = self.net[f"res_{table}"][column].to_numpy()
        return values[self._area_rows.places(self.net, table, self.area)]
