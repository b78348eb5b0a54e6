"""The net of a v1 environment as a file of version 2."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from powergrid.v1.devices import Transformer
from powergrid.v1.grid_base_env import GridBaseEnv


def write_net(env: GridBaseEnv, path: Path) -> None:
    """Save the net at nominal load, without the elements that the environment's devices own, as pandapower JSON.

    Transformers whose tap the agent commands become regulators; all others go to the tap where version 1's
    environment put them.
    """
    import pandapower

    net = copy.deepcopy(env.net)
    for name, (table, index) in env._pp_refs.items():
        dev = env.devices[name]
        if table in ("sgen", "storage", "shunt"):
            net[table] = net[table].drop(index=index)
        elif isinstance(dev, Transformer) and is_regulator(env, name):
            values = regulator(env, name)
            for column, value in values.items():
                if f"regulator_{column}" not in net.trafo:
                    net.trafo[f"regulator_{column}"] = np.nan
                net.trafo.loc[index, f"regulator_{column}"] = value
            net.trafo.loc[index, "tap_pos"] = values["tap"]
        elif isinstance(dev, Transformer) and "tap_pos" in net.trafo and "taps" not in env._fixes:
            net.trafo.loc[index, "tap_pos"] = 0
    net.load["scaling"] = 1.0
    pandapower.to_json(net, str(path))


def is_regulator(env: GridBaseEnv, name: str) -> bool:
    """Whether a device is a tap changer that version 2 can represent: at the low side, in steps of the voltage."""
    dev = env.devices[name]
    if not (isinstance(dev, Transformer) and dev.action.dim_d):
        return False
    row = env.net.trafo.loc[env._pp_refs[name][1]]
    ratio = str(row.get("tap_changer_type", "Ratio")) == "Ratio"
    return bool(row.get("tap_side") == "lv" and ratio and row.get("tap_neutral") == 0 and row["tap_step_percent"] > 0)


def regulator(env: GridBaseEnv, name: str) -> dict[str, float]:
    """Present tap, step [pu] and range of a tap changer."""
    dev, row = env.devices[name], env.net.trafo.loc[env._pp_refs[name][1]]
    low, high = float(dev.tap_min), float(dev.tap_max)
    return {
        "tap": float(np.clip(0.0, low, high)),
        "step_pu": float(row["tap_step_percent"]) / 100,
        "tap_min": low,
        "tap_max": high,
    }
