"""Content of the JSON files in a run's folder, read once and validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from powergrid.core.errors import RunError
from powergrid.core.files import read_json, read_json_lines

META, EVALUATION, METRICS = "meta.json", "evaluation.json", "metrics.jsonl"
BOUND = "lower_bound"
"""Name of the lower bound in ``evaluation.json``; it has no trajectories."""


class _File(BaseModel):
    """Unknown names are accepted; a wrong type or a value that is not finite is refused."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class RunMeta(_File):
    """``meta.json``: the training and its settings."""

    algorithm: str
    steps: PositiveInt
    seed: NonNegativeInt
    settings: dict[str, Any]
    days: list[NonNegativeInt] = []
    backend: str = "an unknown backend"
    versions: dict[str, str] = {}
    keep: str | None = None


class ByDay(_File):
    """Costs [$/day] of one policy, one entry per day."""

    money: list[float]
    violations: list[float]
    violated_ticks: list[float] | None = None


class PolicyEntry(_File):
    """One policy in ``evaluation.json``."""

    by_day: ByDay
    trajectory_hash: str = ""
    residual: str | None = None


class EvaluationFile(_File):
    """``evaluation.json``: policies and days of an evaluation."""

    days: list[NonNegativeInt] = Field(min_length=1)
    seed: NonNegativeInt
    machine: str = ""
    policies: dict[str, PolicyEntry]

    @model_validator(mode="after")
    def _complete(self) -> EvaluationFile:
        for name, entry in self.policies.items():
            columns = {"money": entry.by_day.money, "violations": entry.by_day.violations}
            if name != BOUND:
                columns["violated_ticks"] = entry.by_day.violated_ticks or []
            for column, values in columns.items():
                if len(values) != len(self.days):
                    raise ValueError(f"{name} has {len(values)} values of {column} for {len(self.days)} days")
        return self


def read_meta(folder: Path) -> RunMeta:
    """``meta.json`` of a run.

    Raises
    ------
    FileNotFoundError
        If there is none.
    RunError
        If it cannot be read, or is not such a file of a run.
    """
    return _checked(RunMeta, folder / META, "put a copy in its place, or train again into another folder")


def read_evaluation(folder: Path) -> EvaluationFile:
    """``evaluation.json`` of a run; raises like :func:`read_meta`."""
    return _checked(EvaluationFile, folder / EVALUATION, "evaluate the run again")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's learning curve, empty without a file. An incomplete last line is left out.

    Raises
    ------
    RunError
        If the file is damaged elsewhere, or some other file.
    """
    path = folder / METRICS
    try:
        rows = read_json_lines(path)
    except FileNotFoundError:
        return []
    for number, row in enumerate(rows, 1):
        wrong = [name for name, value in row.items() if not isinstance(value, int | float)]
        if wrong or not isinstance(row.get("step"), int):
            fault = f"{wrong[0]} is {row[wrong[0]]!r:.40}, not a number" if wrong else "it has no step"
            raise RunError(f"{path}: line {number} is no row of a learning curve: {fault}")
    return rows


F = TypeVar("F", bound=_File)


def _checked(schema: type[F], path: Path, advice: str) -> F:
    content = read_json(path)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        fault = f"{place}: {message[0].lower()}{message[1:]}" if place else message
        raise RunError(f"{path}: it is no {path.name} of a run ({fault}); {advice}") from error
