"""The application: commands in the order of use, and one way to report errors."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from powergrid.cli.benchmark import benchmark_app
from powergrid.cli.check import check_command
from powergrid.cli.data import data_app
from powergrid.cli.evaluate import evaluate_command
from powergrid.cli.explain import explain_command
from powergrid.cli.list import list_command
from powergrid.cli.migrate import migrate_command
from powergrid.cli.new import new_command
from powergrid.cli.schema import schema_command
from powergrid.cli.show import show_command
from powergrid.cli.sweep import sweep_command
from powergrid.cli.train import train_command
from powergrid.cli.validate import validate_command
from powergrid.cli.warmup import warmup_command


class _Commands(TyperGroup):
    """Turns user errors into one readable message and exit code 1, and warnings into notes."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command; output works on every terminal, plain ASCII included."""
        from powergrid.core.terminal import accept_all_text

        accept_all_text()
        return super().main(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        from powergrid.cli.output import print_error, print_note
        from powergrid.core.errors import PowerGridError

        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: print_note(str(message))
                return super().invoke(ctx)
        except (PowerGridError, OSError) as error:
            print_error(error)
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import powergrid

        typer.echo(f"powergrid {powergrid.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Multi-agent reinforcement learning on real power systems.

    Start with `powergrid list presets`, then `powergrid show p2p_microgrids` and `powergrid train p2p_microgrids`.
    """


app.command("list")(list_command)
app.command("validate")(validate_command)
app.command("show")(show_command)
app.command("explain")(explain_command)
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("sweep")(sweep_command)
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(data_app, name="data")
app.command("schema")(schema_command)
app.command("new")(new_command)
app.command("check")(check_command)
app.command("migrate")(migrate_command)
app.command("warmup")(warmup_command)
