"""``powergrid check``: check all plugins in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def check_command(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Plugin folders.")],
) -> None:
    """Check the plugins in a folder and report each fault with its place.

    The command loads every file, examines everything that a file registers with `powergrid.testing`, and checks every
    YAML file in the folder. The exit code is 1 if there is a fault. The files run with your rights, so check only files
    that you trust.

    Examples:

    - `powergrid check my_devices/`

    - `powergrid check my_devices/ my_networks/`
    """
    from powergrid.cli.output import print_line

    faults = [_check_folder(folder) for folder in folders]
    print_line(_count(sum(faults), "fault"))
    if any(faults):
        raise typer.Exit(1)


def _check_folder(folder: Path) -> int:
    """Print the plugins and their faults; return the number of faults."""
    from powergrid.cli.output import print_error, print_line
    from powergrid.core.errors import PowerGridError
    from powergrid.plugins.load import PluginError, load_plugins, registered

    faults = 0
    try:
        files = load_plugins(folder)
    except PluginError as error:
        faults, files = len(error.broken), error.loaded
        for file, reason in error.broken.items():
            print_error(f"{file}: {reason}")
    plugins = registered(folder) if folder.is_dir() else {}
    print_line(f"{folder}: {_count(len(files), 'file')} loaded, {_count(sum(map(len, plugins.values())), 'plugin')}")
    for kind, names in plugins.items():
        for name in names:
            faults += _examine(kind, name)
    for config in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            _build(config)
        except PowerGridError as error:
            print_error(error)
            faults += 1
        else:
            print_line(f"  {config.name}: valid, and one tick runs")
    return faults


def _examine(kind: str, name: str) -> int:
    """Examine one plugin and print the result; return the number of faults."""
    from powergrid import testing
    from powergrid.cli.output import print_error, print_line
    from powergrid.core.errors import PowerGridError

    examiners: dict[str, Any] = {
        "device type": testing.check_device,
        "network": testing.check_network,
        "dataset": testing.check_dataset,
        "policy": testing.check_policy,
        "protocol": testing.check_protocol,
    }
    if kind not in examiners:
        print_line(f'  {kind} "{name}": there is no check for this kind')
        return 0
    try:
        examiners[kind](name)
    except (AssertionError, PowerGridError) as error:
        faults = getattr(error, "faults", (str(error),))
        for fault in faults:
            print_error(f'{kind} "{name}": {fault}')
        return len(faults)
    print_line(f'  {kind} "{name}": nothing found')
    return 0


def _build(file: Path) -> None:
    """Build the environment of a configuration, and run one tick of it."""
    import numpy as np

    import powergrid

    env = powergrid.make(file, backend="numpy")
    env.reset(seed=0)
    env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
