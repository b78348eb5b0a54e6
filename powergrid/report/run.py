"""Content of a run's folder, read once and checked against a replay of the recorded actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import RunError
from powergrid.core.npz import ArchiveError, read_npz
from powergrid.report.files import BOUND, PolicyEntry, RunMeta, read_evaluation, read_meta, read_metrics
from powergrid.report.records import DayRecord, record_days
from powergrid.worlds.days import chosen_days
from powergrid.worlds.residual import with_residual
from powergrid.worlds.seeds import episode_seed
from powergrid.worlds.world import World


@dataclass(frozen=True)
class Played:
    """One policy on the evaluated days.

    Attributes
    ----------
    name
        As in ``evaluation.json``.
    money, violations
        Cost and priced violations of all learning agents [$/day], ``(days,)``.
    violated_ticks
        Ticks with any violation [1/day], ``(days,)``.
    trajectory_hash
        SHA-256 of its trajectories, ``""`` without any.
    record
        All days replayed; ``None`` without trajectories.
    replay_error
        Largest difference between the money of a tick as recorded and as replayed [$].
    """

    name: str
    money: np.ndarray
    violations: np.ndarray
    violated_ticks: np.ndarray
    trajectory_hash: str = ""
    record: DayRecord | None = field(default=None, repr=False)
    replay_error: float = 0.0

    @property
    def objective(self) -> np.ndarray:
        """Money and priced violations together [$/day], ``(days,)``."""
        return self.money + self.violations


@dataclass(frozen=True)
class Run:
    """A folder that :func:`powergrid.learn.train.train` and ``evaluate`` wrote.

    Attributes
    ----------
    folder
        Path of the folder.
    world
        World of its configuration.
    meta
        Content of ``meta.json``; ``None`` without training.
    metrics
        Rows of ``metrics.jsonl``.
    seed, days, machine
        Seed, days and machine of the evaluation.
    policies
        All evaluated policies without the lower bound, the compared policy first.
    bound
        Cost of the lower bound [$/day], ``(days,)``, if it is known.
    """

    folder: Path
    world: World
    meta: RunMeta | None
    metrics: list[dict[str, Any]]
    seed: int
    days: tuple[int, ...]
    machine: str
    policies: tuple[Played, ...]
    bound: np.ndarray | None

    @property
    def main(self) -> Played:
        """The main policy of the report."""
        return self.policies[0]

    @property
    def recorded(self) -> list[tuple[Played, DayRecord]]:
        """Policies with trajectories."""
        return [(policy, policy.record) for policy in self.policies if policy.record is not None]

    @property
    def per_day(self) -> float:
        """Factor from a sum over an episode to a value per day."""
        settings = self.world.layout.settings
        return 24.0 / (settings.episode_length * settings.dt_h)

    @cached_property
    def typical(self) -> int:
        """Row of the day whose cost under the main policy is the median of all days."""
        return int(np.argsort(self.main.objective, kind="stable")[len(self.days) // 2])

    def date(self, row: int) -> str:
        """Calendar date of one of the days, such as ``"Tuesday 14 June 2022"``."""
        day = self.world.resolved.dataset().local_date(self.days[row])
        return f"{day:%A} {day.day} {day:%B %Y}"

    def file(self, policy: Played, row: int) -> Path:
        """Path of a trajectory; those of the first policy are directly in ``trajectories/``."""
        return trajectory_file(self.folder, policy.name, self.days[row], first=policy is self.main)


def load_run(folder: str | Path) -> Run:
    """Read a folder and replay the recorded actions.

    Raises
    ------
    RunError
        If the folder contains no evaluation, or a file cannot be read.
    ConfigError
        If its configuration cannot be used.
    """
    from powergrid.worlds.build import build

    folder = Path(folder)
    try:
        evaluation = read_evaluation(folder)
    except FileNotFoundError as error:
        again = "evaluate the run first: powergrid evaluate RUN --report"
        raise RunError(f"{folder}: evaluation.json is missing; {again}") from error
    if not (folder / "config.yaml").exists():
        raise RunError(f"{folder}: config.yaml is missing; evaluate the run again: powergrid evaluate RUN --report")
    world = build(folder / "config.yaml")
    days, seed = tuple(int(day) for day in chosen_days(world, evaluation.days)), evaluation.seed
    entries = {name: entry for name, entry in evaluation.policies.items() if name != BOUND}
    policies = tuple(
        _played(folder, world, name, entry, days, seed, first=number == 0)
        for number, (name, entry) in enumerate(entries.items())
    )
    if not policies:
        raise RunError(f"{folder / 'evaluation.json'}: no policy was evaluated; evaluate the run again")
    bound = evaluation.policies.get(BOUND)
    return Run(
        folder=folder,
        world=world,
        meta=read_meta(folder) if (folder / "meta.json").exists() else None,
        metrics=read_metrics(folder),
        seed=seed,
        days=days,
        machine=evaluation.machine,
        policies=policies,
        bound=None if bound is None else np.add(bound.by_day.money, bound.by_day.violations),
    )


def trajectory_file(folder: Path, policy: str, day: int, *, first: bool) -> Path:
    """Path of the trajectory of a policy and day; those of the first policy have no folder of their own."""
    shared = folder / "trajectories" / f"{day}.npz"
    return shared if first and shared.exists() else folder / "trajectories" / Path(policy).name / f"{day}.npz"


def _played(
    folder: Path, world: World, name: str, entry: PolicyEntry, days: Sequence[int], seed: int, first: bool
) -> Played:
    by_day = {part: np.array(values, dtype=float) for part, values in entry.by_day if values is not None}
    files = [trajectory_file(folder, name, day, first=first) for day in days]
    record, error, world = None, 0.0, with_residual(world, entry.residual)
    if all(file.exists() for file in files):
        stored = [_arrays(file, world) for file in files]
        seeds = [episode_seed(seed, int(day)) for day in days]
        record = record_days(world, np.stack([arrays["actions"] for arrays in stored]), days=days, seeds=seeds)
        money = np.stack([arrays["money"] for arrays in stored])
        error = float(np.abs(record.money[..., : money.shape[2], :] - money).max(initial=0.0))
    return Played(name, **by_day, trajectory_hash=entry.trajectory_hash, record=record, replay_error=error)


def _arrays(path: Path, world: World) -> dict[str, np.ndarray]:
    """Actions and money of a recorded day, in the shapes that the configuration gives them."""
    try:
        found = read_npz(path, ("actions", "money"))
    except (ArchiveError, OSError) as error:
        raise RunError(f"{path}: this is not a trajectory ({error}); evaluate the run again") from error
    layout, ticks = world.layout, world.layout.settings.episode_length
    wanted = {
        "actions": (ticks, len(layout.actors), layout.action_size),
        "money": (ticks, len(layout.actors), len(layout.ledger.money_names)),
    }
    for name, array in found.items():
        if array.shape != wanted[name] or array.dtype.kind != "f" or not np.isfinite(array).all():
            held = f"{array.dtype}{list(array.shape)}"
            raise RunError(
                f"{path}: this is no trajectory of the configuration: {name} is {held}, expected finite numbers "
                f"{list(wanted[name])}; evaluate the run again"
            )
    return found
