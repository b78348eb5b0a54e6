"""``powergrid evaluate``: compare policies on days that training did not use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate_command(
    source: Annotated[str, typer.Argument(metavar="RUN|PRESET", help="Folder of a run, preset or configuration file.")],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="learned, rule_based, mpc, random, another registered policy or the folder of another run; may be "
            "repeated, the first is compared with the others. Left out: learned and rule_based for a run, else "
            "rule_based and random."
        ),
    ] = None,
    days: Annotated[str, typer.Option(help="Split of the data: train, validation, test or stress.")] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Seed of forecast errors and initial states.")] = 0,
    report: Annotated[bool, typer.Option("--report", help="Write report.html with plots.")] = False,
    bound: Annotated[
        bool | None,
        typer.Option(help="Also the perfect-foresight lower bound of each day; left out: with --report."),
    ] = None,
    realtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML file of delays: what they cost the first policy in continuous time.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results; left out: the run's own, and for a preset's report runs/<name>."),
    ] = None,
) -> None:
    """Evaluate policies on the same days and compare them.

    Examples:

    - `powergrid evaluate runs/p2p_microgrids-mappo-seed0 --report`

    - `powergrid evaluate p2p_microgrids --policy rule_based --policy random --days test`

    - `powergrid evaluate p2p_microgrids --policy rule_based --realtime delays.yaml`
    """
    from powergrid.learn.evaluate import evaluate

    is_run = Path(source).is_dir()
    chosen = policy or (["learned", "rule_based"] if is_run else ["rule_based", "random"])
    if realtime is not None:
        from powergrid.learn.realtime import evaluate_realtime

        evaluate_realtime(source, realtime, policy=chosen[0], days=days, seed=seed, out=out)
        return
    if report and out is None and not is_run:
        out = Path("runs") / Path(source).stem
    evaluate(source, policy=chosen, days=days, seed=seed, report=report, bound=bound, out=out)
    folder = out if out is not None else Path(source) if is_run else None
    if folder is not None:
        typer.echo(f"results: {folder}")
