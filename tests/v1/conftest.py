"""Recorded runs of version 0.0.2 and the data they consumed."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from powergrid.networks.ieee34 import IEEE34Bus

from powergrid.base_env import GridBaseEnv
from powergrid.devices import DG, ESS, RES, Grid, Shunt, Transformer


@pytest.fixture(scope="session")
def recorded(shared) -> dict[str, Any]:
    return json.loads((shared / "reference/v1/v1_reference.json").read_text())


@pytest.fixture
def v1_data(tmp_path):
    """Write a data file in v1's layout that holds a recorded window at its place, and zeros elsewhere."""
    from powergrid.v1.datasets import write_v1_layout

    def write(window: dict[str, Any]) -> str:
        series = {}
        for quantity in ("load", "solar", "wind", "price"):
            values = np.zeros(8760, np.float32)
            values[window["t0"] : window["t0"] + len(window[quantity])] = window[quantity]
            series[quantity] = values
        names = {
            "load": ("AVA", "AZPS", "BANC", "BANCMID"),
            "solar": ("NP15", "SP15"),
            "wind": ("NP15", "SP15"),
            "price": ("0096WD_7_N001",),
        }
        split = {quantity: dict.fromkeys(areas, series[quantity]) for quantity, areas in names.items()}
        path = tmp_path / "v1.pkl"
        write_v1_layout({"train": split, "test": split}, path)
        return str(path)

    return write


class Everything(GridBaseEnv):
    """One device of each kind on v1's 34-bus feeder."""

    def _build_net(self):
        self.area, self.net = "MG1", IEEE34Bus("MG1")
        devices = [
            DG("Unit", "Bus 838", 0, 0.4, startup_time=1, shutdown_time=0, startup_cost=8.0, shutdown_cost=2.0, dt=0.5),
            ESS("Battery", "Bus 810", -0.3, 0.3, 1.0, sn_mva=0.5, ch_eff=0.9, dsc_eff=0.8, dt=0.5,
                cost_curve_coefs=(-0.3, 3.0, 0.0, 0.0, 0.3, 6.0)),
            RES("Wind", "Bus 822", 0.2, "wind", max_q_mvar=0.2, min_q_mvar=-0.2),
            Transformer("Regulator 1", tap_min=-16, tap_max=16, tap_change_cost=0.5),
            Shunt("Bank", "Bus 848", -0.1, max_step=2, switching_cost=1.5),
            Grid("Main", "Bus 800", 2.5),
        ]  # fmt: skip
        self.devices = OrderedDict((dev.name, dev) for dev in devices)
        ramp = np.arange(288, dtype=np.float32) / 288
        self.dataset = {"load": 0.2 + 0 * ramp, "solar": ramp, "wind": ramp, "price": 100 * ramp}

    def _reward_and_safety(self):
        return {"cost": -sum(dev.cost for dev in self.devices.values())}, {}


@pytest.fixture
def everything() -> type[Everything]:
    return Everything
