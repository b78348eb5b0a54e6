"""Results of a sweep: one row for the seeds of a configuration and an algorithm, against the rule on the same days."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.files import write_whole
from powergrid.core.statistics import mean_interval
from powergrid.learn.sweep.job import LEARNED, RULE, Job, is_done
from powergrid.report.files import read_evaluation


@dataclass(frozen=True)
class Row:
    """Seeds of one group together.

    Attributes
    ----------
    job
        The first of the group.
    seeds, done
        Number of its seeds, and of those with a result.
    learned, rule
        J on each day, mean over the seeds [$/day], ``(days,)``; ``None`` without a result.
    """

    job: Job
    seeds: int
    done: int
    learned: np.ndarray | None
    rule: np.ndarray | None

    def numbers(self) -> dict[str, float]:
        """J, that of the rule, and what is saved against it with its 95 % interval [$/day]; empty without a result."""
        if self.learned is None or self.rule is None:
            return {}
        mean, low, high = mean_interval(self.rule - self.learned)
        own = {"objective": float(self.learned.mean()), "objective_of_rule": float(self.rule.mean())}
        return {**own, "saved": mean, "saved_low_95": low, "saved_high_95": high}


@dataclass(frozen=True)
class Results:
    """All jobs of a sweep.

    Attributes
    ----------
    folder
        Folder of the sweep.
    jobs
        In the order of the grid.
    objectives
        J of the trained policies and of the rule by the name of each job that is done [$/day], ``(days,)`` each.
    failed
        Reason in one line by the name of each job that failed.
    """

    folder: Path
    jobs: tuple[Job, ...]
    objectives: Mapping[str, tuple[np.ndarray, np.ndarray]]
    failed: Mapping[str, str]

    @classmethod
    def read(cls, jobs: tuple[Job, ...], folder: Path, failed: Mapping[str, str]) -> Results:
        """Read the evaluations of all jobs that are done."""
        objectives = {}
        for job in jobs:
            if job.name not in failed and is_done(job, folder):
                policies = read_evaluation(folder / job.name).policies
                days = (policies[name].by_day for name in (LEARNED, RULE))
                learned, rule = (np.array(own.money) + np.array(own.violations) for own in days)
                objectives[job.name] = learned, rule
        return cls(folder, jobs, objectives, failed)

    def rows(self) -> list[Row]:
        """One row for each configuration and algorithm, in the order of the grid."""
        groups: dict[str, list[Job]] = {}
        for job in self.jobs:
            groups.setdefault(job.group, []).append(job)
        found = []
        for jobs in groups.values():
            done = [self.objectives[job.name] for job in jobs if job.name in self.objectives]
            learned, rule = np.mean(done, axis=0) if done else (None, None)
            found.append(Row(jobs[0], len(jobs), len(done), learned, rule))
        return found

    def table(self) -> Any:
        """A table to print with rich, 80 columns wide or more."""
        from rich.table import Table

        days = self.jobs[0].days
        which = f"{days} days" if isinstance(days, str) else f"{len(days)} days"
        title = f"{which}, mean over seeds; $/day; below what is saved against the rule its 95 % interval"
        table = Table(title=title, padding=(0, 1, 0, 0), show_lines=True)
        for header in ("run", "algorithm"):
            table.add_column(header, overflow="fold")
        for header in ("seeds", "J", "J of the rule", "saved"):
            table.add_column(header, justify="right", overflow="fold", min_width=5 if header == "seeds" else 9)
        first = self.jobs[0].varied
        several = {name for job in self.jobs for name, value in job.varied.items() if value != first[name]}
        ends = [name.rpartition(".")[2] for name in first]
        short = {name: end if ends.count(end) == 1 else name for name, end in zip(first, ends, strict=True)}
        for row in self.rows():
            varied = (f"  {short[name]}: {value}" for name, value in row.job.varied.items() if name in several)
            name = "\n".join([row.job.base, *varied])
            numbers = row.numbers()
            cells = ("-", "-", "-")
            if numbers:
                interval = f"{numbers['saved_low_95']:+,.1f}\n{numbers['saved_high_95']:+,.1f}"
                own = (f"{numbers[part]:,.1f}" for part in ("objective", "objective_of_rule"))
                cells = (*own, f"{numbers['saved']:+,.1f}\n{interval}")  # type: ignore[assignment]
            seeds = str(row.seeds) if row.done == row.seeds else f"{row.done}/{row.seeds}"
            table.add_row(name, row.job.algorithm, seeds, *cells)
        return table

    def write(self) -> None:
        """Write ``sweep.csv``, the table, and ``jobs.csv`` with one row for each job.

        Raises
        ------
        RunError
            If the folder cannot be written.
        """
        groups: list[dict[str, Any]] = [
            {**_about(row.job), "seeds": row.seeds, "done": row.done, **row.numbers()} for row in self.rows()
        ]
        jobs = []
        for job in self.jobs:
            state = "failed" if job.name in self.failed else "done" if job.name in self.objectives else "left"
            own = self.objectives.get(job.name, (None, None))
            row = Row(job, 1, int(state == "done"), *own)
            reason = {"reason": self.failed.get(job.name, "")}
            jobs.append(
                {**_about(job), "seed": job.seed, "folder": job.name, "state": state, **row.numbers(), **reason}
            )
        for name, rows in (("sweep.csv", groups), ("jobs.csv", jobs)):
            text = _csv(rows)
            write_whole(self.folder / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]


def _about(job: Job) -> dict[str, Any]:
    return {"base": job.base, "algorithm": job.algorithm, **job.varied}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; a row may lack columns that others have."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
