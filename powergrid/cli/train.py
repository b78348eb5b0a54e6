"""``powergrid train``: train policies for a configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from powergrid.cli.settings import keep_compiled, parsed_settings, print_settings
from powergrid.core.errors import ConfigError, Issue
from powergrid.learn import MOST_DEVICES


class Log(StrEnum):
    """Loggers of the learning curve."""

    csv = "csv"
    wandb = "wandb"
    mlflow = "mlflow"


def train_command(
    source: Annotated[
        str | None, typer.Argument(metavar="PRESET|FILE", help="Name of a preset or a configuration file.")
    ] = None,
    algo: Annotated[
        str | None, typer.Option(help="Algorithm; that of the configuration, or mappo, for a new run.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Environment steps of the whole run; those of the configuration, or 1e6, for a new one."),
    ] = None,
    num_envs: Annotated[int | None, typer.Option(min=1, help="Environments side by side.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, exploration and days; 0 for a new run.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; runs/<name>-<algo>-seed<seed> if left out.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A hyperparameter of the algorithm, such as learning_rate=3e-4; may be repeated, and goes before the "
            "configuration's training.settings.",
        ),
    ] = None,
    init_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Begin with the weights of an earlier run of the same shapes; GROUP=RUN, which may be repeated, takes "
            "the actors of a group only.",
        ),
    ] = None,
    imitate: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY", help="Fit the actors to a local policy first, such as rule_based; none for nobody."
        ),
    ] = None,
    residual: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="Learn to correct a local policy, such as rule_based, and keep what is best on the validation days; "
            "none for nothing.",
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A group or an agent that acts and does not learn; may be repeated."),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="UPDATES",
            help="Evaluate on the validation days every so many updates, and keep the best checkpoint, best.npz.",
        ),
    ] = None,
    log: Annotated[
        list[Log] | None, typer.Option(help="Where else the learning curve goes, beside TensorBoard; may be repeated.")
    ] = None,
    help_algo: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="List the hyperparameters of an algorithm with their meaning, and exit."),
    ] = None,
) -> None:
    """Train the learned agents of a configuration.

    Press Ctrl-C to stop: the run keeps a checkpoint, and `--resume` continues from it.

    Examples:

    - `powergrid train p2p_microgrids --algo mappo --steps 1e6 --seed 0`

    - `powergrid train my_microgrid.yaml --out runs/mine --resume`

    - `powergrid train my_microgrid.yaml --set learning_rate=3e-4 --set hidden=[128,128]`

    - `powergrid train my_microgrid.yaml --evaluate-every 10 --log csv`

    - `powergrid train --help-algo mappo`
    """
    _prepare_jax()
    if help_algo is not None:
        _help(source, help_algo)
        return
    if source is None:
        raise typer.BadParameter("name a preset or a configuration file", param_hint="PRESET|FILE")
    from powergrid.learn.train import train

    count = None if steps is None else _count(steps)
    others = {*signature(train).parameters} - ({"num_envs"} if num_envs is None else set())
    given = parsed_settings(settings or (), others)
    options: dict[str, Any] = {"algo": algo, "steps": count, "num_envs": num_envs, "seed": seed, "out": out}
    options |= {
        "init_from": _source(init_from or ()),
        "imitate": imitate,
        "residual": residual,
        "freeze": freeze or (),
        "callbacks": _callbacks(evaluate_every, log or ()),
    }
    folder = train(source, **{**options, **given}, resume=resume, progress=True)
    typer.echo(f"run: {folder}")


def _source(given: Sequence[str]) -> str | dict[str, str] | None:
    """Where weights come from: one run, or runs by group."""
    if len(given) == 1 and (Path(given[0]).exists() or "=" not in given[0]):
        return given[0]
    whole = [text for text in given if "=" not in text]
    if whole:
        hint = "write GROUP=RUN for each, or name one run"
        raise ConfigError([Issue("--init-from", f"{whole[0]} stands beside others and names no group", hint)])
    pairs = [text.split("=", 1) for text in given]
    groups = [group for group, _ in pairs]
    twice = next((group for group in groups if groups.count(group) > 1), None)
    if twice is not None:
        raise ConfigError([Issue("--init-from", f'group "{twice}" has two runs', "name one run for each group")])
    return dict(pairs) or None


def _callbacks(evaluate_every: int | None, logs: Iterable[Log]) -> list[Any]:
    from powergrid.learn.callbacks import CsvFile, Evaluate, MLflow, WandB

    loggers: dict[Log, Any] = {Log.csv: CsvFile, Log.wandb: WandB, Log.mlflow: MLflow}
    evaluations = [] if evaluate_every is None else [Evaluate(days="validation", every=evaluate_every, keep="best")]
    return [*evaluations, *(loggers[log]() for log in dict.fromkeys(logs))]


def _help(source: str | None, algorithm: str) -> None:
    """Print an algorithm's hyperparameters; plugins of a configuration may add algorithms."""
    from powergrid.config import load_config
    from powergrid.core.errors import MissingExtraError

    if source is not None:
        load_config(source)
    try:
        print_settings(algorithm)
    except ImportError as error:
        if isinstance(error, MissingExtraError) or error.name not in ("jax", "optax"):
            raise
        raise MissingExtraError(error.name, "rl", "training") from error


def _prepare_jax() -> None:
    """Settings that JAX reads when it is imported; what the user has set stands."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(min(os.cpu_count() or 1, MOST_DEVICES)))
    keep_compiled()


def _count(text: str) -> int:
    """A whole number, also written as 1e6 or 1_000_000."""
    try:
        value = float(text)
    except ValueError as error:
        raise typer.BadParameter(
            f'"{text}" is not a number of steps; write 1000000 or 1e6', param_hint="--steps"
        ) from error
    if not (value >= 1 and value.is_integer()):
        raise typer.BadParameter(f'"{text}" is not a whole number of one or more', param_hint="--steps")
    return int(value)
