"""``powergrid benchmark``: studies that compare many ways to run one system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

benchmark_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Studies that compare many ways to run one system.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@benchmark_app.callback()
def _root() -> None:
    """Studies that compare many ways to run one system."""


@benchmark_app.command("protocols")
def protocols_command(
    preset: Annotated[
        str, typer.Option(metavar="PRESET|FILE", help="Preset or configuration file with coordinators.")
    ] = "p2p_microgrids",
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="none, mpc, centralized or a registered protocol, with parameters as in admm:form=consensus; may be "
            "repeated. Left out: all that fit."
        ),
    ] = None,
    days: Annotated[str, typer.Option(help="Split of the data: train, validation, test or stress.")] = "test",
    most: Annotated[
        int | None, typer.Option(min=1, help="So many days of the split, evenly spread; left out: all of them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of forecast errors and initial states.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for tables and figure; left out: runs/NAME-protocols, with the name of the preset."),
    ] = None,
) -> None:
    """Play the same days under each protocol, and compare costs, violations, messages and time.

    The network, the data, the devices and the tariff are those of the preset; only the coordination differs. Each day's
    cost is compared with that of the same day without coordination.

    Examples:

    - `powergrid benchmark protocols --most 12`

    - `powergrid benchmark protocols --preset iso_three_level --days validation`

    - `powergrid benchmark protocols --protocol centralized --protocol admm:form=consensus,rounds_per_tick=20`

    - `powergrid benchmark protocols --preset my_microgrids.yaml --out runs/mine`
    """
    from powergrid.benchmarks.protocols import compare

    folder = out if out is not None else Path("runs") / f"{Path(preset).stem}-protocols"
    compare(preset, protocols=protocol or (), days=days, most=most, seed=seed, out=folder)
    typer.echo(f"results: {folder}")
