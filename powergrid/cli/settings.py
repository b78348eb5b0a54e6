"""Hyperparameters on the command line, the table of an algorithm's own, and what JAX keeps of a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer


def parsed_settings(pairs: Iterable[str], options: Iterable[str]) -> dict[str, Any]:
    """Values of ``name=value``, read as YAML does: ``3e-4``, ``[64, 64]``, ``false``.

    Parameters
    ----------
    pairs
        What was given.
    options
        Names that the command itself sets.

    Raises
    ------
    BadParameter
        If one has no ``=``, is set twice, is no value, or is set otherwise.
    """
    from powergrid.config.yaml_reader import read_yaml
    from powergrid.core.errors import ConfigError

    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        name = name.strip()
        if not sign or not name or not text.strip():
            raise _refused(f'"{pair}" is not of the form name=value, such as learning_rate=3e-4')
        if name in found:
            raise _refused(f"{name} is set twice; leave one of them out")
        if name in options:
            raise _refused(f"{name} is set by the command itself, see powergrid train --help")
        try:
            document = read_yaml(text, "", Path())
        except ConfigError as error:
            raise _refused(f'"{pair}": {error.issues[0].message}') from error
        if document.issues:
            raise _refused(f'"{pair}": {document.issues[0].message}')
        found[name] = document.data
    return found


def keep_compiled() -> None:
    """Let JAX store what it compiles in the user's cache folder, so that the next run of the same kind starts at once.

    What the user has set stands. https://docs.jax.dev/en/latest/persistent_compilation_cache.html
    """
    from platformdirs import user_cache_path

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(user_cache_path("powergrid") / "jax"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def print_settings(algorithm: str) -> None:
    """Print every hyperparameter of a registered algorithm with its type, default and meaning."""
    import inspect

    from powergrid.cli.output import print_line, print_table
    from powergrid.plugins.algorithms import hyperparameters, settings_model
    from powergrid.plugins.registries import ALGORITHMS

    about = " ".join((inspect.getdoc(ALGORITHMS.get(algorithm)) or "").split("\n\n")[0].replace("``", "").split())
    rows = hyperparameters(settings_model(algorithm))
    print_table(f"{algorithm}: {about}", ("hyperparameter", "type", "default", "meaning"), rows)
    print_line("\nSet one with --set NAME=VALUE, or in the configuration under training.settings.")


def _refused(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="--set")
