"""``powergrid migrate``: names of version 1 in a script, and its environments as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def migrate_command(
    script: Annotated[Path, typer.Argument(help="Python file written for version 1.")],
    env: Annotated[
        list[str] | None,
        typer.Option(
            help="A GridBaseEnv subclass of the script, or a variable with an instance, to write as YAML; may be "
            "repeated. Executes the script."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the YAML files, nets and data.")] = Path("migrated"),
) -> None:
    """List the names of version 1 in a script with their replacements, and write its environments as YAML.

    The script is read and not executed. With `--env` it is executed.

    Examples:

    - `powergrid migrate my_env.py`

    - `powergrid migrate my_env.py --env MyEnv --out migrated/`
    """
    from powergrid.cli.output import print_line
    from powergrid.migration import script_environment, script_environments, script_uses, write_yaml

    uses = script_uses(script)
    count = f"{len(uses)} use{'' if len(uses) == 1 else 's'}" if uses else "nothing"
    print_line(f"{script.name}: {count} of version 1 found")
    for use in uses:
        _print_use(use)
    for name in env or ():
        path = write_yaml(script_environment(script, name), out)
        print_line(f"{name}: {path}")
    if not env:
        for name in script_environments(script):
            print_line(f"to write it as YAML: powergrid migrate {script} --env {name} --out {out}")


def _print_use(use: Any) -> None:
    """Line and name with the replacement below, within the width of the terminal."""
    import shutil
    import textwrap

    from rich.text import Text

    from powergrid.cli.output import print_line

    print_line(Text.assemble((f"{use.line:>5}", "cyan"), f"  {use.name}"))
    width = max(shutil.get_terminal_size().columns - 1, 40)
    for line in textwrap.wrap(use.replacement, width, initial_indent=" " * 7, subsequent_indent=" " * 7):
        print_line(Text(line, style="dim"))
