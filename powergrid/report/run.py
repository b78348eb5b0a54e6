"""What a run's folder holds, read once and checked against a replay of the recorded actions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import RunError
from powergrid.core.npz import ArchiveError, read_npz
from powergrid.envs.simulation import World, episode_seed
from powergrid.report.records import DayRecord, record_days

BOUND = "lower_bound"
"""Name under which ``evaluation.json`` holds costs that no policy can go below; it has no trajectories."""


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
        SHA-256 of its trajectories, ``""`` where there are none.
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
    """A folder as :func:`powergrid.learn.train.train` and ``evaluate`` leave it.

    Attributes
    ----------
    folder
        Where it lies.
    world
        Its configuration, built.
    meta
        Content of ``meta.json``; empty where nothing was trained.
    metrics
        Rows of ``metrics.jsonl``.
    seed, days, machine
        What ``evaluation.json`` says of the evaluation.
    policies
        Everything that was evaluated, the compared policy first, the lower bound not among them.
    bound
        Cost of the lower bound [$/day], ``(days,)``, if it is known.
    """

    folder: Path
    world: World
    meta: dict[str, Any]
    metrics: list[dict[str, Any]]
    seed: int
    days: tuple[int, ...]
    machine: str
    policies: tuple[Played, ...]
    bound: np.ndarray | None

    @property
    def main(self) -> Played:
        """The policy that the report is about."""
        return self.policies[0]

    @property
    def recorded(self) -> list[tuple[Played, DayRecord]]:
        """Policies with trajectories, and these."""
        return [(policy, policy.record) for policy in self.policies if policy.record is not None]

    @property
    def per_day(self) -> float:
        """Days in an episode's time, inverted: what is summed over an episode times this is per day."""
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
        """Where a trajectory lies: the first policy's directly in ``trajectories/``."""
        return trajectory_file(self.folder, policy.name, self.days[row], first=policy is self.main)


def load_run(folder: str | Path) -> Run:
    """Read a folder and replay what was recorded.

    Raises
    ------
    RunError
        If the folder holds no evaluation, or a file of it cannot be read.
    ConfigError
        If its configuration cannot be used.
    """
    from powergrid.envs.build import build

    folder = Path(folder)
    evaluation = _json(folder / "evaluation.json", "evaluate the run first: powergrid evaluate RUN --report")
    if not (folder / "config.yaml").exists():
        raise RunError(f"{folder}: config.yaml is missing; evaluate the run again: powergrid evaluate RUN --report")
    world = build(folder / "config.yaml")
    days, seed = tuple(evaluation["days"]), int(evaluation["seed"])
    entries = {name: entry for name, entry in evaluation["policies"].items() if name != BOUND}
    policies = tuple(
        _played(folder, world, name, entry, days, seed, first=number == 0)
        for number, (name, entry) in enumerate(entries.items())
    )
    if not policies:
        raise RunError(f"{folder / 'evaluation.json'}: no policy was evaluated; evaluate the run again")
    meta = _json(folder / "meta.json", "") if (folder / "meta.json").exists() else {}
    bound = evaluation["policies"].get(BOUND)
    return Run(
        folder=folder,
        world=world,
        meta=meta,
        metrics=_rows(folder / "metrics.jsonl"),
        seed=seed,
        days=days,
        machine=str(evaluation.get("machine", "")),
        policies=policies,
        bound=None if bound is None else np.add(bound["by_day"]["money"], bound["by_day"]["violations"]),
    )


def trajectory_file(folder: Path, policy: str, day: int, *, first: bool) -> Path:
    """Where the trajectory of a policy and day lies; the first policy's lie without a folder of their own."""
    shared = folder / "trajectories" / f"{day}.npz"
    return shared if first and shared.exists() else folder / "trajectories" / Path(policy).name / f"{day}.npz"


def _played(
    folder: Path, world: World, name: str, entry: dict[str, Any], days: Sequence[int], seed: int, first: bool
) -> Played:
    by_day = {part: np.array(values, dtype=float) for part, values in entry["by_day"].items()}
    files = [trajectory_file(folder, name, day, first=first) for day in days]
    record, error = None, 0.0
    if all(file.exists() for file in files):
        stored = [_arrays(file) for file in files]
        seeds = [episode_seed(seed, int(day)) for day in days]
        record = record_days(world, np.stack([arrays["actions"] for arrays in stored]), days=days, seeds=seeds)
        money = np.stack([arrays["money"] for arrays in stored])
        error = float(np.abs(record.money[..., : money.shape[2], :] - money).max(initial=0.0))
    return Played(name, **by_day, trajectory_hash=entry.get("trajectory_hash", ""), record=record, replay_error=error)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path, ("actions", "money"))
    except (ArchiveError, OSError) as error:
        raise RunError(f"{path}: this is not a trajectory ({error}); evaluate the run again") from error


def _json(path: Path, hint: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path.parent}: {path.name} is missing; {hint}") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: not valid JSON ({error}); write it again") from error
    assert isinstance(content, dict)
    return content


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a learning curve; a last line cut short by a kill is left out."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
