"""One job of a sweep: a training run and its evaluation beside the rule, in a folder of its own.

A job can be called again at any time: it continues from its last checkpoint, and does nothing once it is evaluated.
"""

from __future__ import annotations

import contextlib
import hashlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from powergrid.config.resolve import ResolvedConfig
from powergrid.core.errors import ConfigError, RunError
from powergrid.core.files import make_folder, read_json, write_json, write_whole
from powergrid.report.files import EVALUATION, META

LEARNED, RULE = "learned", "rule_based"
JOB, FAILURE = "job.json", "failure.txt"
ATTEMPTS = 4
"""Times that a job is begun whose worker is killed each time."""


@dataclass(frozen=True)
class Job:
    """What one run of a sweep is.

    Attributes
    ----------
    name
        Name of its folder.
    group
        The name without the seed; runs of a group differ in nothing else.
    base
        Name of the preset or file.
    varied
        Values of the grid by dotted path or hyperparameter, as text.
    resolved
        The configuration with these values.
    algorithm, steps, seed, settings
        Arguments of training; `steps` is ``None`` for those of the configuration.
    days
        Split or day indices of the evaluation.
    """

    name: str
    group: str
    base: str
    varied: Mapping[str, str]
    resolved: ResolvedConfig
    algorithm: str
    steps: int | None
    seed: int
    settings: Mapping[str, Any]
    days: str | list[int]

    def wanted(self, folder: Path) -> dict[str, Any]:
        """Plain content of ``job.json`` in the job's folder."""
        text = self.resolved.to_yaml(folder)
        return {
            "configuration": hashlib.sha256(text.encode()).hexdigest(),
            "algorithm": self.algorithm,
            "steps": self.steps,
            "seed": self.seed,
            "settings": dict(self.settings),
            "days": self.days,
        }


Source = Callable[[], Job | None]
"""Gives the next job, or ``None`` where none can begin before another has ended."""


def taken(source: Source, most: int | None, running: int) -> Iterator[Job]:
    """Jobs that begin now: `most` with those that are running, or all that there are."""
    while (most is None or running < most) and (job := source()) is not None:
        running += 1
        yield job


def is_done(job: Job, out: Path) -> bool:
    """Whether the job has been trained and evaluated in its folder of `out`."""
    folder = out / job.name
    try:
        return (folder / EVALUATION).exists() and _held(folder) == job.wanted(folder)
    except RunError:
        return False  # the job itself states what is damaged


def run_job(job: Job, out: Path) -> str | None:
    """Train and evaluate.

    Parameters
    ----------
    out
        Folder of the sweep.

    Returns
    -------
    str or None
        Reason in one line if the job failed, whose traceback is in ``failure.txt``; ``None`` if it is done.
    """
    folder = out / job.name
    try:
        _run(job, folder)
        (folder / FAILURE).unlink(missing_ok=True)
    except Exception as error:  # plugins raise anything, and the other jobs go on
        with contextlib.suppress(RunError):  # a full disk is what has failed, perhaps
            make_folder(folder)
            text = traceback.format_exc()
            write_whole(folder / FAILURE, lambda file: file.write(text.encode()))
        return one_line(error)
    return None


def lost_cluster(library: str, address: str | None, reason: str, out: Path) -> str:
    """What a user reads whose cluster ends in mid-run."""
    where = f" at {address}" if address is not None else ""
    return (
        f"the cluster of {library}{where} has ended in mid-run ({reason}); what is done is kept in {out}: start the "
        "cluster and give the same command again, which continues from the checkpoints"
    )


def one_line(error: BaseException) -> str:
    """The reason of a failure, without a traceback."""
    if isinstance(error, ConfigError):
        issue = error.issues[0]
        more = f" (and {len(error.issues) - 1} more)" if len(error.issues) > 1 else ""
        return f"{issue.path}: {issue.message}{more}" if issue.path else f"{issue.message}{more}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _run(job: Job, folder: Path) -> None:
    from powergrid.learn.evaluate import evaluate
    from powergrid.learn.train import train

    held, wanted = _held(folder), job.wanted(folder)
    if held is not None and held != wanted:
        _check_same(folder, held, wanted)
    if held != wanted:
        make_folder(folder)
        (folder / EVALUATION).unlink(missing_ok=True)  # before the new job.json, which would make it count
        write_json(folder / JOB, wanted)
    elif (folder / EVALUATION).exists():
        return
    train(
        job.resolved,
        algo=job.algorithm,
        steps=job.steps,
        seed=job.seed,
        out=folder,
        resume=(folder / META).exists(),
        progress=False,
        **job.settings,
    )
    evaluate(folder, policy=(LEARNED, RULE), days=job.days, show=False, bound=False)


def _held(folder: Path) -> dict[str, Any] | None:
    """Content of ``job.json``; ``None`` without one."""
    try:
        return read_json(folder / JOB)
    except FileNotFoundError:
        return None


def _check_same(folder: Path, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a folder of another run; a run may get more steps, and other days of evaluation."""
    other = [name for name in wanted if name not in ("steps", "days") and held.get(name) != wanted[name]]
    if (held.get("steps") or 0) > (wanted["steps"] or 0):
        other.append("steps")
    if other:
        raise RunError(
            f"{folder}: it holds another run, whose {', '.join(other)} differ{'s' if len(other) == 1 else ''}; delete "
            "it, or choose another folder (--out)"
        )
