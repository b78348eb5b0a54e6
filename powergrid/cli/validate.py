"""``powergrid validate``: report all faults of a configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from powergrid.cli.sources import PLUGINS_HELP


def validate_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Configuration files, or names of presets.")],
    plugins: Annotated[bool, typer.Option("--plugins", help=PLUGINS_HELP)] = False,
) -> None:
    """Check configurations and report all faults with file, line, path, value and what is allowed.

    A valid configuration is also played for a few days; where hardly any policy can keep its limits, a note says so.
    The command writes nothing. Files under `plugins:` run only with `--plugins`; without it, a list contains
    what depends on them, which is no fault. The exit code is 1 if a file has a fault.

    Examples:

    - `powergrid validate my_microgrid.yaml`

    - `powergrid validate configs/*.yaml`
    """
    from powergrid.cli.output import print_error, print_line, print_unread
    from powergrid.config import load_config
    from powergrid.core.errors import ConfigError, PowerGridError
    from powergrid.worlds.check_members import check_members
    from powergrid.worlds.outlook import outlook

    faulty = False
    for file in files:
        try:
            resolved = load_config(file, plugins=plugins)
            issue = None if resolved.unchecked else resolved.empty_split(resolved.default_split)
            if issue is not None:
                raise ConfigError([issue])
            if not resolved.unchecked:
                check_members(resolved)
        except (PowerGridError, OSError) as error:
            faulty = True
            print_error(error)
        else:
            config = resolved.config
            state = "no fault found without its plugins" if resolved.unchecked else "valid"
            print_line(f"{file}: {state} ({config.name}, {len(config.agents)} agents)")
            print_unread(file, resolved)
            for note in [] if resolved.unchecked else outlook(resolved):
                print_line(f"  note: {note}")
    if faulty:
        raise typer.Exit(1)
