"""Recorded runs of version 0.0.2 and the data they consumed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest


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
