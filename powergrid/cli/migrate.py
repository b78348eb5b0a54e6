"""``powergrid migrate``: what a version 1 script uses, and its environments as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def migrate_command(
    script: Annotated[Path, typer.Argument(help="Python file written for version 1.")],
    env: Annotated[
        list[str] | None,
        typer.Option(help="Name of a GridBaseEnv subclass in the script to write as YAML; may be repeated. Runs it."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the YAML files, nets and data.")] = Path("migrated"),
) -> None:
    """List what a script uses of version 1 and what replaces it; write its environments as YAML.

    The script is only read, unless `--env` asks for a class in it.

    Examples:

    - `powergrid migrate my_env.py`

    - `powergrid migrate my_env.py --env MyEnv --out migrated/`
    """
    from powergrid.cli.output import print_line, print_table
    from powergrid.migration import script_uses, write_yaml

    uses = script_uses(script)
    print_table(script.name, ["line", "uses", "in version 2"], [[str(use.line), *use[1:]] for use in uses])
    if not uses:
        print_line("nothing of version 1 found")
    for name in env or ():
        path = write_yaml(_class(script, name)({}), out)
        print_line(f"{name}: {path}")


def _class(script: Path, name: str) -> Any:
    """A class of the script, which is run for it."""
    import runpy

    from powergrid.core.errors import unknown_name
    from powergrid.v1.grid_base_env import GridBaseEnv

    found = {
        key: item
        for key, item in runpy.run_path(str(script)).items()
        if isinstance(item, type) and issubclass(item, GridBaseEnv) and item is not GridBaseEnv
    }
    if name not in found:
        raise unknown_name(f"GridBaseEnv subclass in {script}", name, found)
    return found[name]
