"""``powergrid schema``: the JSON Schema of configurations, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema_command(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output if left out.")] = None,
) -> None:
    """Print the JSON Schema of a configuration; editors use it to complete keys and to mark faults.

    Examples:

    - `powergrid schema --out powergrid.schema.json`

    - then start a configuration with `# yaml-language-server: $schema=powergrid.schema.json`
    """
    import json

    from powergrid.config import json_schema
    from powergrid.core.files import write_whole

    text = json.dumps(json_schema(), indent=2)
    if out is None:
        typer.echo(text)
        return
    write_whole(out, lambda stream: stream.write(f"{text}\n".encode()))
    typer.echo(f"written: {out}")
