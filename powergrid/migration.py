"""From version 1 to version 2: several agents at once, a YAML file, and what a script has to change."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import PowerGridError
from powergrid.v1.devices import DG, ESS, RES, Grid, Shunt, Transformer
from powergrid.v1.grid_base_env import SERIES, GridBaseEnv
from powergrid.v1.net_file import write_net
from powergrid.v1.split_env import SplitGridEnv, to_multi_agent

__all__ = ["SplitGridEnv", "Use", "script_uses", "to_multi_agent", "write_yaml"]

REPLACEMENTS = {
    "powergrid.base_env": "powergrid.make(...) builds an environment from a YAML file; keeps working",
    "powergrid.devices.DG": "type: DG in the YAML, powergrid.devices.generator.Generator",
    "powergrid.devices.ESS": "type: ESS in the YAML, powergrid.devices.storage.Storage, which stays in its window",
    "powergrid.devices.RES": "type: RES in the YAML, powergrid.devices.renewable.Renewable",
    "powergrid.devices.Grid": "type: GridConnection in the YAML, powergrid.devices.grid_connection.GridConnection",
    "powergrid.devices.Transformer": "type: Regulator for a tap changer; other transformers are part of the network",
    "powergrid.devices.Shunt": "type: Capacitor in the YAML, powergrid.devices.capacitor.Capacitor",
    "powergrid.devices.Switch": "type: Switch in the YAML, powergrid.devices.switch.Switch",
    "powergrid.devices": "powergrid list devices shows the families of version 2",
    "powergrid.core": "no counterpart is needed: actions and observations have labels, env.action_labels(agent)",
    "powergrid.utils.utils.NormalizeActionWrapper": "actions of version 2 lie in [-1, 1] already",
    "powergrid.utils": "costs and violations are in the ledger, infos of env.step(...)",
    "powergrid.networks": 'powergrid.network("ieee13") and the like are the published feeders; v1\'s deviate from them',
    "powergrid.envs.single_agent": 'gymnasium.make("powergrid/IEEE13-v2"), or powergrid.make("ieee13_single")',
    "powergrid.envs.multiagent": 'powergrid.make("p2p_microgrids"), a PettingZoo environment',
    "pickle": "powergrid.v1.datasets.read_pickle reads a v1 data file without running anything in it",
    "pandapower.runpp": "network.power_flow() of a powergrid.Network; Network.from_pandapower(net) converts",
}
"""What replaces a name of version 1; the longest prefix counts."""


class Use(NamedTuple):
    """Something of version 1 that a script uses.

    Attributes
    ----------
    line
        Line of the script, from 1.
    name
        What is used.
    replacement
        What replaces it.
    """

    line: int
    name: str
    replacement: str


def script_uses(path: str | Path) -> list[Use]:
    """List what a script uses of version 1; the script is read, not run.

    Parameters
    ----------
    path
        Python file.

    Returns
    -------
    list of Use
        In order of lines.

    Raises
    ------
    PowerGridError
        If the file cannot be read or is no Python.
    """
    file = Path(path)
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise PowerGridError(f"{file}: cannot be read ({error}); give the path of a Python file") from error
    except SyntaxError as error:
        raise PowerGridError(f"{file}:{error.lineno}: is no Python ({error.msg})") from error
    found = [Use(line, name, _replacement(name)) for line, name in _names(tree) if _replacement(name)]
    return sorted(dict.fromkeys(found))


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Imported names, and attributes of imported modules such as ``pp.runpp``."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name.partition(".")[0]] = alias.name
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, node.module if alias.name == "*" else f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield node.lineno, f"{modules[node.value.id]}.{node.attr}"


def _replacement(name: str) -> str:
    parts = name.split(".")
    prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((REPLACEMENTS[prefix] for prefix in prefixes if prefix in REPLACEMENTS), "")


def write_yaml(env: Any, folder: str | Path, name: str = "") -> Path:
    """Write what a v1 environment is as a version 2 configuration: a YAML file, its net and its data.

    One learning operator commands all devices, as the agent of version 1 did. What has no counterpart is said in
    comments at the head of the file.

    Parameters
    ----------
    env
        A :class:`~powergrid.base_env.GridBaseEnv`, wrapped or not; it is not changed.
    folder
        Folder to write into; it is made if absent.
    name
        Stem of the files; by default the name of the class in lower case.

    Returns
    -------
    pathlib.Path
        The YAML file, which ``powergrid.make`` takes.

    Raises
    ------
    PowerGridError
        If `env` is no ``GridBaseEnv``.
    """
    env = getattr(env, "unwrapped", env)
    if not isinstance(env, GridBaseEnv):
        raise PowerGridError(f"{type(env).__name__} is no GridBaseEnv; give an instance of one")
    folder, stem = Path(folder), name or type(env).__name__.lower()
    folder.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    write_net(env, folder / f"{stem}_net.json")
    grid = _grid(env)
    document = {
        "name": stem,
        "network": {"file": f"{stem}_net.json", "load_scale": env.load_scale},
        "agents": _agents(env, notes),
        "datasets": _write_data(env, folder, stem, notes),
        "tariff": {"feed_in_share": 1.0 if grid is None else grid.sell_discount, "retail_adder": 0.0},
        "simulation": {"episode_length": env.episode_length, "time_step": int(3600 * _dt_h(env))},
        "training": _training(env),
    }
    if document["datasets"] is None:
        del document["datasets"]
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = None
    path = folder / f"{stem}.yaml"
    with path.open("w", encoding="utf-8") as stream:
        for note in notes:
            stream.write(f"# {note}\n")
        yaml.dump(document, stream)
    return path


def _grid(env: GridBaseEnv) -> Grid | None:
    return next((dev for dev in env.devices.values() if isinstance(dev, Grid)), None)


def _dt_h(env: GridBaseEnv) -> float:
    return float(next((dev.dt for dev in env.devices.values() if hasattr(dev, "dt")), 1.0))


def _training(env: GridBaseEnv) -> dict[str, Any]:
    found: dict[str, Any] = {"train": bool(env.cfg.get("train", True))}
    found |= {key: float(env.cfg[key]) for key in ("reward_scale", "safety_scale") if key in env.cfg}
    if env.cfg.get("max_penalty"):
        found["max_penalty"] = float(env.cfg["max_penalty"])
    return found


def _agents(env: GridBaseEnv, notes: list[str]) -> list[dict[str, Any]]:
    """An operator and its devices."""
    agents: list[dict[str, Any]] = []
    for name, dev in env.devices.items():
        agent: dict[str, Any] = {"id": _identifier(name)}
        if isinstance(dev, Grid):
            agent |= {"type": "GridConnection"}
        elif isinstance(dev, ESS):
            agent |= {"type": "ESS", "bus": _bus(env, name), "params": _battery(dev, name, notes), "policy": "learned"}
        elif isinstance(dev, DG):
            agent |= {"type": "DG", "bus": _bus(env, name), "params": _generator(dev, name, notes), "policy": "learned"}
        elif isinstance(dev, RES):
            params = {"kind": dev.type, "p_max_mw": dev.sn_mva, "curtailable": False}
            agent |= {"type": "RES", "bus": _bus(env, name), "params": params, "policy": "mppt"}
        else:
            if not (isinstance(dev, Transformer) and dev.state.tap_min is None):
                what = "Capacitor" if isinstance(dev, Shunt) else "Regulator or Switch"
                notes.append(f"{name}: a {type(dev).__name__} is not carried over; add an agent of type {what}")
            continue
        agents.append(agent)
    operator = {
        "id": "operator", "type": "GridCoordinator", "policy": "learned", "protocol": "setpoint",
        "sub_agents": [agent["id"] for agent in agents],
    }  # fmt: skip
    return [operator, *agents]


def _identifier(name: str) -> str:
    return name.lower().replace(" ", "_")


def _bus(env: GridBaseEnv, name: str) -> str:
    table, index = env._pp_refs[name]
    return str(env.net.bus["name"].loc[env.net[table].at[index, "bus"]])


def _battery(dev: ESS, name: str, notes: list[str]) -> dict[str, Any]:
    if -dev.min_p_mw != dev.max_p_mw:
        notes.append(f"{name}: charges and discharges up to the larger of {dev.max_p_mw} and {-dev.min_p_mw} MW")
    if any(dev.cost_curve_coefs):
        notes.append(f"{name}: its cost curve {dev.cost_curve_coefs} is not carried over; set wear_cost_per_mwh")
    params = {
        "capacity_mwh": dev.capacity, "max_p_mw": max(dev.max_p_mw, -dev.min_p_mw), "eta_charge": dev.ch_eff,
        "eta_discharge": dev.dsc_eff, "soc_min": dev.min_soc, "soc_max": dev.max_soc,
        "soc_init": (dev.min_soc + dev.max_soc) / 2, "soc_init_spread": dev.max_soc - dev.min_soc,
        "wear_cost_per_mwh": 0.0,
    }  # fmt: skip
    return params | ({} if np.isnan(dev.sn_mva) else {"sn_mva": dev.sn_mva})


def _generator(dev: DG, name: str, notes: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {"p_min_mw": dev.min_p_mw, "p_max_mw": dev.max_p_mw}
    if len(dev.cost_curve_coefs) == 3:
        a, b, c = (float(value) for value in dev.cost_curve_coefs)
        params |= {"no_load_cost_per_h": c, "marginal_cost_per_mwh": b, "marginal_cost_slope_per_mw2h": 2 * a}
    else:
        notes.append(f"{name}: its piecewise linear cost {dev.cost_curve_coefs} is not carried over")
    if not np.isnan(dev.sn_mva):
        params["sn_mva"] = dev.sn_mva
    if dev.min_pf is not None:
        params["min_power_factor"] = dev.min_pf
    if dev.startup_time is not None:
        params |= {
            "commitment": True,
            "start_cost": dev.startup_cost * dev.dt,
            "shut_down_cost": dev.shutdown_cost * dev.dt,
        }
        params |= {"start_up_h": dev.startup_time * dev.dt, "shut_down_h": (dev.shutdown_time or 0) * dev.dt}
    return params


def _write_data(env: GridBaseEnv, folder: Path, stem: str, notes: list[str]) -> dict[str, str] | None:
    """One CSV file a series where they cover a year of hours, as version 2 asks for."""
    hours = env.dataset["load"].size
    year = {8760: 2023, 8784: 2024}.get(hours)
    if year is None or _dt_h(env) != 1.0:
        notes.append(f"the data, {hours} values, are no calendar year of hours; the embedded year serves instead")
        return None
    units = dict(zip(SERIES, ("pu", "pu", "pu", "per_mwh"), strict=True))
    files = {}
    for quantity, unit in units.items():
        files[quantity] = f"{stem}_{quantity}.csv"
        start = datetime(year, 1, 1)
        with (folder / files[quantity]).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["time", f"{quantity}_{unit}"])
            for hour, value in enumerate(env.dataset[quantity]):
                writer.writerow([(start + timedelta(hours=hour)).isoformat(timespec="minutes"), f"{float(value):.9g}"])
    return files
