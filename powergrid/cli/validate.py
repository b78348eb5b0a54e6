"""``powergrid validate``: every fault of a configuration at once."""

from __future__ import annotations

from typing import Annotated

import typer


def validate_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Configuration files, or names of presets.")],
) -> None:
    """Check configurations: every fault at once, with file, line, path, value and what is allowed.

    Nothing is built or written. The exit code is 1 if any file has a fault.

    Examples:

    - `powergrid validate my_microgrid.yaml`

    - `powergrid validate configs/*.yaml`
    """
    from powergrid.cli.output import print_error, print_line
    from powergrid.config import load_config
    from powergrid.core.errors import ConfigError

    faulty = False
    for file in files:
        try:
            config = load_config(file).config
        except ConfigError as error:
            faulty = True
            print_error(error)
        else:
            print_line(f"{file}: valid ({config.name}, {len(config.agents)} agents)")
    if faulty:
        raise typer.Exit(1)
