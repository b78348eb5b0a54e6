"""The net of a v1 environment as a file of version 2."""

from __future__ import annotations

import copy
from pathlib import Path

from powergrid.v1.grid_base_env import GridBaseEnv


def write_net(env: GridBaseEnv, path: Path) -> None:
    """Save the net at nominal load, without the elements that the environment's devices own, as pandapower JSON."""
    import pandapower

    net = copy.deepcopy(env.net)
    for table, index in env._pp_refs.values():
        if table in ("sgen", "storage", "shunt"):
            net[table] = net[table].drop(index=index)
    net.load["scaling"] = 1.0
    pandapower.to_json(net, str(path))
