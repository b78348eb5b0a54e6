"""``powergrid data``: datasets as a person sees them; tables fit 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from powergrid.datasets.card import Card

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
