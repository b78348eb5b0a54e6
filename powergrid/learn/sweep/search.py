"""Search: trials of a grid's values, sampled by Optuna, each trained with every seed and compared by J.

Optuna is asked for values and told J, and nothing else of it is used, so that trials run wherever a sweep does. Its
storage is a journal beside the runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.config.findings import quoted
from powergrid.config.resolve import with_overrides
from powergrid.core.errors import ConfigError, MissingExtraError, RunError
from powergrid.core.files import make_folder
from powergrid.learn.sweep.grid import Space, read_space
from powergrid.learn.sweep.job import LEARNED, Job, is_done, one_line
from powergrid.learn.sweep.results import Results
from powergrid.learn.sweep.schema import Range
from powergrid.learn.sweep.sweep import checked_executor, distributed, folder_of, shown
from powergrid.report.files import read_evaluation

JOURNAL, CONTENT = "search.log", "search"


def search(
    grid: str | Path,
    *,
    on: str = "local",
    workers: int | None = None,
    address: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Results:
    """Try combinations of a grid's values, each chosen with what is known of those before.

    Parameters
    ----------
    grid
        YAML file, see :class:`powergrid.learn.sweep.schema.Grid`.
    on
        ``"local"``, ``"ray"`` or ``"dask"``.
    workers
        Runs side by side; as many as this machine has cores if ``None``.
    address
        Address of a cluster of Ray or Dask; ``None`` for this machine alone.
    out
        Folder of the search, with one folder for each run and Optuna's journal; ``runs/<name of the file>`` if
        ``None``.
    progress
        Show a progress bar, or lines where there is no terminal.

    Returns
    -------
    Results
        All trials, the best first; ``sweep.csv`` and ``jobs.csv`` in `out` hold them too.

    Raises
    ------
    ArgumentError
        If the executor is unknown, `workers` none of one or more, or an address is given where there is no cluster.
    ConfigError
        If the grid has faults; nothing has been trained then.
    MissingExtraError
        If Optuna or the executor is not installed.
    RunError
        If the folder belongs to another search, or results cannot be read or written.
    """
    checked_executor(on, workers, address)
    space = read_space(grid)
    folder = folder_of(grid, out)
    found = Search.begin(space, folder)
    count = workers or os.cpu_count() or 1
    if found.left() or found.waiting:
        total = space.grid.search.trials * len(space.grid.seeds)
        ended = distributed(found.source, folder, on, count, address, ahead=count)
        try:
            for job, reason in shown(ended, total, found.runs_done(), progress):
                found.ended(job, reason)
        except RunError:  # a cluster that has ended
            Results.read(found.jobs(), folder, found.failed).write()
            raise
    results = Results.read(found.jobs(), folder, found.failed)
    results.write()
    return results


@dataclass
class Search:
    """Trials of one search.

    Attributes
    ----------
    space
        What is sampled.
    folder
        Folder of the search.
    study
        Optuna's study.
    waiting
        Jobs that can begin.
    failed
        Reason in one line by the name of each job that failed in this call.
    """

    space: Space
    folder: Path
    study: Any
    waiting: deque[Job] = field(default_factory=deque)
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, space: Space, folder: Path) -> Search:
        """Open the journal of a folder, or begin one; trials that a stopped call has left go on."""
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError as error:
            raise MissingExtraError("Optuna", "search", "--search") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        make_folder(folder)
        try:
            study = optuna.create_study(
                study_name=CONTENT,
                storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=5) if space.grid.search.prune else None,
                load_if_exists=True,
            )
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{folder / JOURNAL}: it is no journal of a search ({one_line(error)}); delete it, or choose another "
                "folder (--out)"
            ) from error
        _check_same(study, space, folder)
        found = cls(space, folder, study)
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            found._enter(trial.number, trial.params)
        return found

    def left(self) -> int:
        """Trials that are still to be asked for; those that failed count for none, but are not replaced in one call."""
        states = [trial.state.name for trial in self.study.get_trials(deepcopy=False)]
        now = len(self._failed_now())
        return int(self.space.grid.search.trials - len(states) + states.count("FAIL") - now)

    def runs_done(self) -> int:
        """Runs of trials that are over."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials) * len(self.space.grid.seeds)

    def source(self) -> Job | None:
        """The next job: of a trial that has begun, or of a new one."""
        while not self.waiting and self.left() > 0:
            number, values = self._ask()
            self._enter(number, values)
        return self.waiting.popleft() if self.waiting else None

    def ended(self, job: Job, reason: str | None) -> None:
        """Tell Optuna what a job has found once its trial is over, or has reached a seed at which it may be pruned."""
        from optuna.trial import Trial, TrialState

        number = _number(job)
        if self._state(number) != "RUNNING":
            if reason is not None:
                self.failed[job.name] = reason
            return  # another seed of the trial has failed
        if reason is not None:
            self.failed[job.name] = reason
            self.waiting = deque(other for other in self.waiting if _number(other) != number)
            self.study.tell(number, state=TrialState.FAIL)
            return
        jobs = self._jobs(number, self.study.get_trials(deepcopy=False)[number].params)
        done = [other for other in jobs if is_done(other, self.folder)]
        mean = float(np.mean([self._objective(other) for other in done]))
        if len(done) == len(jobs):
            self.study.tell(number, mean)
        elif self.space.grid.search.prune:
            trial = Trial(self.study, self.study.get_trials(deepcopy=False)[number]._trial_id)
            trial.report(mean, len(done))
            if trial.should_prune():
                self.study.tell(number, state=TrialState.PRUNED)
            else:
                self.waiting.append(next(other for other in jobs if other not in done))

    def jobs(self) -> tuple[Job, ...]:
        """Jobs of all trials that have values which make a configuration: the best first, then the others by number."""
        trials = self.study.get_trials(deepcopy=False)
        order = {"COMPLETE": 0, "PRUNED": 1, "RUNNING": 2, "FAIL": 3}
        ranked = sorted(
            trials, key=lambda t: (order.get(t.state.name, 3), t.value if t.value is not None else t.number)
        )
        found: list[Job] = []
        for trial in ranked:
            try:
                found += self._jobs(trial.number, trial.params)
            except ConfigError:
                continue  # it is among those that failed
        return tuple(found)

    def _ask(self) -> tuple[int, dict[str, Any]]:
        """A new trial; its sampler depends on the seed and on the number of the trial, so that a search continues."""
        from optuna.samplers import TPESampler

        number = len(self.study.get_trials(deepcopy=False))
        sequence = np.random.SeedSequence([self.space.grid.search.seed, number])
        self.study.sampler = TPESampler(seed=int(sequence.generate_state(1)[0]))
        trial = self.study.ask()
        if len(self.space.algorithms) > 1:
            trial.suggest_categorical("algorithm", self.space.algorithms)
        for name, values in _named(self.space).items():
            if not isinstance(values, Range):
                if len(values) > 1:
                    trial.suggest_categorical(name, [json.dumps(value) for value in values])
            elif _is_whole(values):
                trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
            else:
                trial.suggest_float(name, values.low, values.high, log=values.log)
        return trial.number, trial.params

    def _enter(self, number: int, values: Mapping[str, Any]) -> None:
        """Put the jobs of a trial among those that wait; one seed at a time where trials are pruned."""
        from optuna.trial import TrialState

        try:
            jobs = self._jobs(number, values)
        except ConfigError as error:  # values that are right one by one need not fit together
            self.failed[f"trial{number:04}"] = one_line(error)
            self.study.tell(number, state=TrialState.FAIL)
            return
        left = [job for job in jobs if not is_done(job, self.folder)] or jobs[-1:]
        self.waiting.extend(left[:1] if self.space.grid.search.prune else left)

    def _jobs(self, number: int, values: Mapping[str, Any]) -> list[Job]:
        """Jobs of a trial, one for each seed."""
        chosen: dict[str, Any] = {}
        for name, listed in _named(self.space).items():
            sampled = name in values
            if isinstance(listed, Range):
                chosen[name] = values[name] if sampled else None
            else:
                chosen[name] = json.loads(values[name]) if sampled else listed[0]
        if None in [chosen[name] for name, listed in _named(self.space).items() if isinstance(listed, Range)]:
            return []  # a trial whose values were being written when the search was stopped
        over = {name: chosen[f"over.{name}"] for name in self.space.over}
        settings = {name: chosen[f"settings.{name}"] for name in self.space.settings}
        own = self.space.resolved
        resolved = with_overrides(own, **over) if over else own
        shown_as = {**over, **{f"settings.{name}" if name in over else name: v for name, v in settings.items()}}
        return [
            Job(
                name=f"trial{number:04}-seed{seed}",
                group=f"trial{number:04}",
                base=self.space.base,
                varied={name: _short(value) for name, value in shown_as.items()},
                resolved=resolved,
                algorithm=values.get("algorithm", self.space.algorithms[0]),
                steps=self.space.grid.steps,
                seed=seed,
                settings=settings,
                days=self.space.grid.evaluate.days,
            )
            for seed in self.space.grid.seeds
        ]

    def _objective(self, job: Job) -> float:
        """Mean J of a run on the days of evaluation [$/day]."""
        days = read_evaluation(self.folder / job.name).policies[LEARNED].by_day
        return float(np.mean(np.array(days.money) + np.array(days.violations)))

    def _state(self, number: int) -> str:
        return str(self.study.get_trials(deepcopy=False)[number].state.name)

    def _failed_now(self) -> set[str]:
        return {name.partition("-")[0] for name in self.failed}


def _named(space: Space) -> dict[str, Range | list[Any]]:
    """All names that are sampled or fixed, by the section in which they stand."""
    over = {f"over.{name}": values for name, values in space.over.items()}
    return {**over, **{f"settings.{name}": values for name, values in space.settings.items()}}


def _number(job: Job) -> int:
    return int(job.group.removeprefix("trial"))


def _is_whole(values: Range) -> bool:
    return isinstance(values.low, int) and isinstance(values.high, int)


def _short(value: Any) -> str:
    """A value for the table."""
    return f"{value:.4g}" if isinstance(value, float) else quoted(value)


def _check_same(study: Any, space: Space, folder: Path) -> None:
    """Refuse a folder whose trials have been sampled elsewhere or have another objective; trials may be added."""
    plain = space.grid.model_dump(mode="json", exclude={"search", "over", "settings"})
    values = {name: v.model_dump() if isinstance(v, Range) else v for name, v in _named(space).items()}
    text = space.resolved.to_yaml(folder)
    wanted = {**plain, **values, "configuration": hashlib.sha256(text.encode()).hexdigest()}
    wanted |= {"algorithms": space.algorithms, "seed of the search": space.grid.search.seed}
    held = study.user_attrs.get(CONTENT)
    if held is None:
        study.set_user_attr(CONTENT, wanted)
        return
    wanted = json.loads(json.dumps(wanted))
    other = [name for name in dict.fromkeys([*held, *wanted]) if held.get(name) != wanted.get(name)]
    if other:
        raise RunError(
            f"{folder}: it holds another search, whose {', '.join(other)} differ{'s' if len(other) == 1 else ''}; "
            "delete it, or choose another folder (--out)"
        )
