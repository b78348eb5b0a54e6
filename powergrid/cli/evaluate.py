"""``powergrid evaluate``: how good a policy is on days it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate_command(
    source: Annotated[str, typer.Argument(metavar="RUN|PRESET", help="Folder of a run, preset or configuration file.")],
    policy: Annotated[
        str | None, typer.Option(help="learned (the default for a run), rule_based, random or another local policy.")
    ] = None,
    days: Annotated[str, typer.Option(help="Split of the data: train, validation, test or stress.")] = "test",
    report: Annotated[bool, typer.Option("--report", help="Write a report with plots.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; the run's own if left out.")] = None,
) -> None:
    """Evaluate a policy and set it beside the baselines.

    Examples:

    - `powergrid evaluate runs/p2p_microgrids-mappo-seed0 --report`

    - `powergrid evaluate p2p_microgrids --policy rule_based --days test`
    """
    from powergrid.learn.evaluate import evaluate

    result = evaluate(source, policy=policy, days=days, report=report, out=out)
    typer.echo(str(result))
