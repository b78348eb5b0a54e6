"""``powergrid evaluate``: compare policies on days that training did not use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    on: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET|FILE",
            help="Play the run's policies on another configuration, which graph policies can (network=graph).",
        ),
    ] = None,
    others: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="Local policy of agents that the run's policies do not know."),
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
    safety_layer: Annotated[
        bool,
        typer.Option(
            "--safety-layer",
            help="Also play each policy behind a safety layer, as <policy>_safe: the nearest actions that keep "
            "voltages and loadings inside their limits.",
        ),
    ] = False,
    safety_margin: Annotated[
        float | None,
        typer.Option(
            metavar="PU", help="Distance to the limits that --safety-layer brings voltages and loadings to [pu]."
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

    - `powergrid evaluate runs/graph34 --on voltage_control_123`

    - `powergrid evaluate p2p_microgrids --policy rule_based --realtime delays.yaml`

    - `powergrid evaluate voltage_control_34 --policy random --safety-layer`
    """
    from powergrid.core.errors import ArgumentError
    from powergrid.learn.evaluate import evaluate

    is_run = Path(source).is_dir()
    chosen = policy or (["learned", "rule_based"] if is_run else ["rule_based", "random"])
    if safety_margin is not None and not safety_layer:
        raise ArgumentError("--safety-margin is the margin of a safety layer; add --safety-layer")
    if realtime is not None and safety_layer:
        raise ArgumentError(
            "--safety-layer computes the tick in which actions are decided, and with --realtime they arrive in others; "
            "choose one of them"
        )
    if realtime is not None:
        from powergrid.learn.realtime import evaluate_realtime

        if on is not None or others is not None:
            raise ArgumentError("--realtime plays a run on its own configuration; leave --on and --others out")

        evaluate_realtime(source, realtime, policy=chosen[0], days=days, seed=seed, out=out)
        return
    if report and out is None and not is_run:
        out = Path("runs") / Path(source).stem
    policies: list[Any] = [*chosen]
    if safety_layer:
        from powergrid.learn.deciders import SafePolicy
        from powergrid.learn.safety_layer import MARGIN_PU

        margin_pu = MARGIN_PU if safety_margin is None else safety_margin
        policies = [item for name in chosen for item in (name, SafePolicy(name, margin_pu))]
    result = evaluate(
        source, policy=policies, days=days, seed=seed, report=report, bound=bound, out=out, on=on, others=others
    )
    home = Path(source) if on is None else Path(source) / f"on_{result.name}"
    folder = out if out is not None else home if is_run else None
    if folder is not None:
        typer.echo(f"results: {folder}")
