"""``powergrid data``: datasets as a person sees them; tables fit 80 columns."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from powergrid.cli.data_fetch import fetch_command
from powergrid.cli.data_homes import carbon_command, homes_command, sessions_command
from powergrid.cli.data_import import import_command

if TYPE_CHECKING:
    from powergrid.datasets.card import Card
    from powergrid.datasets.synthesis import Comparison

WIDTH = 80
"""Columns of every table of these commands."""

data_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Datasets: list, look at, check, import and make them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

SOURCE_HELP = "A registered dataset, a stored one (.npz), or a description (.yaml)."


@data_app.callback()
def _root() -> None:
    """Datasets: list, look at, check, import and make them."""


data_app.command("import")(import_command)
data_app.command("fetch")(fetch_command)
data_app.command("homes")(homes_command)
data_app.command("sessions")(sessions_command)
data_app.command("carbon")(carbon_command)


@data_app.command("list")
def list_command() -> None:
    """List the registered datasets.

    Examples:

    - `powergrid data list`
    """
    from powergrid.cli.list import about
    from powergrid.cli.output import print_table
    from powergrid.plugins.registries import DATASETS

    rows = [[name, about(DATASETS.get(name))] for name in DATASETS.names()]
    rows += [[name, f"cannot be loaded: {reason}"] for name, reason in DATASETS.broken.items()]
    print_table("datasets", ["name", "about"], rows, WIDTH)


@data_app.command("info")
def info_command(source: Annotated[str, typer.Argument(metavar="NAME|FILE", help=SOURCE_HELP)]) -> None:
    """Print the card of a dataset: source, licence, span, splits, and each column with its sizes and gaps.

    Examples:

    - `powergrid data info embedded_2022`

    - `powergrid data info my_load.yaml`
    """
    from powergrid.datasets import load
    from powergrid.datasets.card import card

    print_card(card(load(source)))


def print_card(card: Card) -> None:
    """Facts of a dataset in lines of 80 columns."""
    from textwrap import wrap

    from powergrid.cli.output import print_line, print_table

    made = f", of which {card.made:,} are made" if card.made else ""
    facts = {
        "dataset": card.name,
        "span": f"{card.first} to {card.last}, {card.days:,} days{made}",
        "interval": f"{card.interval_s} s, local standard time UTC{card.utc_offset_h:+g} h",
        "splits": ", ".join(f"{name} {days:,}" for name, days in card.splits.items()) + " days",
        "source": card.source or "not stated",
        "licence": card.licence or "not stated",
    }
    for key, text in facts.items():
        for line in wrap(f"{key + ':':10}{text}", WIDTH, subsequent_indent=" " * 10, break_on_hyphens=False):
            print_line(line)
    rows = [
        [
            column.name,
            f"{column.interval_s}",
            *(f"{value:.4g}" for value in (column.least, column.mean, column.most)),
            f"{column.missing:,} in {column.gaps:,}, up to {column.longest_h:g} h" if column.missing else "none",
        ]
        for column in card.columns
    ]
    print_line()
    print_table("columns", ["name", "s", "least", "mean", "most", "gaps"], rows, WIDTH)


class Method(StrEnum):
    """Ways to make years."""

    blocks = "blocks"
    copula = "copula"


@data_app.command("synthesise")
def synthesise_command(
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help=SOURCE_HELP)],
    years: Annotated[int, typer.Option(min=1, max=200, help="Years of 365 days to make.")] = 20,
    method: Annotated[Method, typer.Option(help="How days are made.")] = Method.blocks,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same bits.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="File of the result; left out: NAME_METHOD_YEARSy.npz here.")
    ] = None,
) -> None:
    """Make training years from the training days of a dataset, and compare them with these.

    The result contains the days of the dataset, with their splits, and the made days behind them, all for training.
    `datasets: FILE.npz` in a configuration uses it.

    - `blocks`: runs of training days of the same season and weekday, all series together.

    - `copula`: daily means with the correlations of the training days, and the course of similar days.

    Examples:

    - `powergrid data synthesise embedded_2022`

    - `powergrid data synthesise my_load.yaml --years 50 --method copula --seed 3 --out more.npz`
    """
    from powergrid.cli.output import print_line
    from powergrid.datasets import load, save, synthesise
    from powergrid.datasets.synthesis import compare

    made = synthesise(load(source), years, method.value, seed)
    file = out if out is not None else Path(f"{made.name}.npz")
    save(made, file)
    print_comparison(compare(made))
    print_line(f"\n{file}: {int(made.made.sum()):,} made days; write `datasets: {file}` in a configuration")


def print_comparison(found: Comparison) -> None:
    """Training days and made days side by side."""
    from powergrid.cli.output import print_line, print_table

    rows = []
    for k, name in enumerate(found.columns):
        short = name if len(name) <= 26 else f"{name[:23]}..."
        pairs = [found.mean, found.deviation, *(found.autocorrelation[:, lag] for lag in range(len(found.lags_h)))]
        rows.append([short, *(f"{pair[0, k]:.3g} {pair[1, k]:.3g}" for pair in pairs)])
    lags = [f"corr {lag} h" for lag in found.lags_h]
    print_table("training days, made days (hourly means)", ["series", "mean", "deviation", *lags], rows, WIDTH)
    apart = abs(found.correlation[0] - found.correlation[1]).max()
    print_line(f"\nlargest difference of a correlation between two series: {apart:.2f}")


@data_app.command("plot")
def plot_command(
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help=SOURCE_HELP)],
    column: Annotated[
        list[str] | None, typer.Option(help="Series to draw; may be repeated. Left out: the first of each quantity.")
    ] = None,
    compare_made: Annotated[bool, typer.Option("--compare", help="Made days beside training days instead.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Picture; left out: NAME.png here.")] = None,
) -> None:
    """Draw a dataset: every day as heat map, the duration curve, and the typical day of each season.

    Examples:

    - `powergrid data plot embedded_2022`

    - `powergrid data plot ercot_2021 --column price_per_mwh:lz_north --out price.png`

    - `powergrid data plot embedded_2022_blocks_20y.npz --compare`
    """
    from powergrid.cli.output import print_line
    from powergrid.cli.show import save_figure
    from powergrid.datasets import load
    from powergrid.datasets.plots import card_figure, comparison_figure
    from powergrid.datasets.synthesis import compare

    dataset = load(source)
    if compare_made:
        figure = comparison_figure(compare(dataset, tuple(column) if column else None, (1, 3, 6, 12, 24, 48, 168)))
    else:
        figure = card_figure(dataset, column)
    file = out if out is not None else Path(f"{dataset.name}.png")
    save_figure(figure, file)
    print_line(f"drawing: {file}")


@data_app.command("validate")
def validate_command(
    sources: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", help=SOURCE_HELP)],
) -> None:
    """Read datasets completely, and report every fault: files, stamps, units, gaps, splits without days.

    What steps of cleaning did is printed for each series of a description. The exit code is 1 if there is a fault; a
    gap is one, since no environment runs over it.

    Examples:

    - `powergrid data validate my_load.yaml`

    - `powergrid data validate embedded_2022 ercot_2021`
    """
    from powergrid.cli.output import print_error, print_line
    from powergrid.core.errors import PowerGridError
    from powergrid.datasets import load
    from powergrid.datasets.card import card

    faulty = False
    for source in sources:
        try:
            found = card(load(source))
        except (PowerGridError, OSError) as error:
            faulty = True
            print_error(error)
            continue
        for line in _cleaning_lines(source):
            print_line(line)
        gaps = [column for column in found.columns if column.missing]
        for column in gaps:
            print_line(f"{source}: {column.name}: {column.missing:,} values missing in {column.gaps:,} gaps")
        for split in ("train", "validation", "test"):
            if not found.splits[split]:
                print_line(f'{source}: note: no day in the split "{split}"')
        faulty |= bool(gaps)
        if not gaps:
            print_line(f"{source}: valid ({found.name}, {found.days:,} days, {len(found.columns)} series)")
    if faulty:
        raise typer.Exit(1)


def _cleaning_lines(source: str) -> list[str]:
    """What the steps of cleaning did with each series of a description."""
    from powergrid.datasets.described import ENDINGS, cleaning_reports, description

    if not source.endswith(ENDINGS):
        return []
    reports = cleaning_reports(description(Path(source)), Path(source).parent)
    return [f"  {key}: {done}" for key, report in reports.items() for done in report]
