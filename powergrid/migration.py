"""From version 1 to version 2: several agents at once, a YAML file, and what a script has to change."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from powergrid.core.errors import PowerGridError, unknown_name
from powergrid.v1.devices import Grid
from powergrid.v1.grid_base_env import SERIES, GridBaseEnv
from powergrid.v1.net_file import write_net
from powergrid.v1.script_uses import Use, script_environments, script_uses
from powergrid.v1.split_env import SplitGridEnv, to_multi_agent
from powergrid.v1.yaml_agents import agents

__all__ = [
    "SplitGridEnv",
    "Use",
    "script_environment",
    "script_environments",
    "script_uses",
    "to_multi_agent",
    "write_yaml",
]


def write_yaml(env: object, folder: str | Path, name: str = "") -> Path:
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
        "agents": agents(env, notes),
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
    yaml.width = 110
    path = folder / f"{stem}.yaml"
    with path.open("w", encoding="utf-8") as stream:
        for note in notes:
            stream.write(f"# {note}\n")
        yaml.dump(document, stream)
    return path


def script_environment(script: str | Path, name: str) -> GridBaseEnv:
    """Execute a script and return one of its environments: an instance of a class, or the value of a variable.

    Parameters
    ----------
    script
        Python file. It is executed.
    name
        A subclass of ``GridBaseEnv`` or a variable with an instance, wrapped or not.

    Returns
    -------
    GridBaseEnv
        The instance; one of a class is made with an empty ``env_config``.

    Raises
    ------
    PowerGridError
        If the script fails, has no such class or variable, or the class cannot be made.
    """
    import runpy

    try:
        scope = runpy.run_path(str(script))
    except (Exception, SystemExit) as error:
        raise PowerGridError(
            f"{script}: running it, which --env needs, failed ({type(error).__name__}: {error}); put what trains or "
            'plots below `if __name__ == "__main__":`'
        ) from error
    environments = {
        key: item
        for key, item in scope.items()
        if isinstance(getattr(item, "unwrapped", None), GridBaseEnv)
        or (isinstance(item, type) and issubclass(item, GridBaseEnv) and item is not GridBaseEnv)
    }
    if not environments:
        raise PowerGridError(
            f"{script}: has no subclass or instance of GridBaseEnv; only those are written as YAML. For several "
            'microgrids begin with "powergrid show p2p_microgrids"'
        )
    if name not in environments:
        raise unknown_name(f"GridBaseEnv in {script}", name, environments)
    if not isinstance(environments[name], type):
        return environments[name]
    try:
        return environments[name]({})
    except PowerGridError:
        raise
    except Exception as error:
        raise PowerGridError(f"{script}: {name}({{}}) failed ({type(error).__name__}: {error})") from error


def _grid(env: GridBaseEnv) -> Grid | None:
    return next((dev for dev in env.devices.values() if isinstance(dev, Grid)), None)


def _dt_h(env: GridBaseEnv) -> float:
    return float(next((dev.dt for dev in env.devices.values() if hasattr(dev, "dt")), 1.0))


def _training(env: GridBaseEnv) -> dict[str, Any]:
    training: dict[str, Any] = {"train": bool(env.cfg.get("train", True))}
    training |= {key: float(env.cfg[key]) for key in ("reward_scale", "safety_scale") if key in env.cfg}
    if env.cfg.get("max_penalty"):
        training["max_penalty"] = float(env.cfg["max_penalty"])
    return training


def _write_data(env: GridBaseEnv, folder: Path, stem: str, notes: list[str]) -> dict[str, str] | None:
    """One CSV file per series, if the series cover a year of hours, as version 2 needs."""
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
