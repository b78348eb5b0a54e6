"""Evaluation while a run learns: fixed days, the mean of each action, and the best checkpoint kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from powergrid.core.errors import ArgumentError
from powergrid.learn import checkpoint
from powergrid.learn.callbacks.callback import Callback, Run
from powergrid.learn.checkpoint import BEST
from powergrid.learn.trained_policy import TrainedPolicy
from powergrid.report.files import read_metrics
from powergrid.worlds.seeds import checked_seed


class Evaluate(Callback):
    """Play the present policies on fixed days every few updates, as :func:`powergrid.evaluate` does.

    The learning curve gets ``<name>_objective`` (J, money and priced violations together, [$/day]),
    ``<name>_money``, ``<name>_violations`` [$/day] and ``<name>_violated_ticks`` [1/day], means over the days.

    Parameters
    ----------
    days
        Split (``"train"``, ``"validation"``, ``"test"``, ``"stress"``) or day indices of the dataset.
    every
        Updates between two evaluations; there is one at the end as well.
    keep
        ``"best"`` keeps the checkpoint with the least objective as ``best.npz``, next to the last one. In a run that
        corrects a local policy this policy, with which it begins, is a candidate too.
    seed
        Decides forecast errors and initial states.
    name
        Beginning of the names in the learning curve; the split, or ``"evaluation"``, if ``None``.

    Raises
    ------
    ArgumentError
        If an argument cannot be used.
    """

    def __init__(
        self,
        days: str | Sequence[int] = "validation",
        every: int = 10,
        keep: Literal["best"] | None = None,
        seed: int = 0,
        name: str | None = None,
    ):
        if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
            raise ArgumentError(f"every is {every!r}; it is a number of updates of one or more, such as 10")
        if keep not in (None, "best"):
            raise ArgumentError(f'keep is {keep!r}; it is "best" or None')
        self.days, self.every, self.keep, self.seed = days, int(every), keep, checked_seed(seed)
        self.name = name or (days if isinstance(days, str) else "evaluation")
        self._best = float("inf")
        self._env: Any = None
        self._days = np.zeros(0, int)

    def begin(self, run: Run) -> None:
        """Open the environment, and read from the learning curve how good the best checkpoint is."""
        import powergrid
        from powergrid.config.resolve import ResolvedConfig
        from powergrid.worlds.days import chosen_days

        others = [one for one in run.callbacks if isinstance(one, Evaluate) and one is not self]
        if any(one.name == self.name for one in others):
            raise ArgumentError(f'two callbacks Evaluate have the name "{self.name}"; give one of them name="..."')
        if self.keep and any(one.keep for one in others):
            raise ArgumentError('two callbacks Evaluate have keep="best", but there is one best.npz; choose one')
        resolved = run.env.world.resolved
        if not isinstance(resolved, ResolvedConfig):
            raise ArgumentError("Evaluate plays days of a configuration, and this environment was not made from one")
        self._env = powergrid.make(resolved, backend="numpy")
        self._days = chosen_days(self._env.world, self.days)
        key = f"{self.name}_objective"
        known = [row[key] for row in read_metrics(run.folder) if key in row and row["step"] <= run.step]
        self._best = min(known, default=float("inf"))
        if not (self.keep and run.meta.get("keep") == "best"):
            return
        if not run.step:
            self._best = float(self._played(run.policy()).objective.mean())
            run.save(BEST)
        elif (run.folder / BEST).exists():  # it may be older than the first row
            best = TrainedPolicy(checkpoint.load(run.folder / BEST))
            self._best = min(self._best, float(self._played(best).objective.mean()))

    def _played(self, policy: TrainedPolicy) -> Any:
        """What a policy does on the days."""
        from powergrid.learn.deciders import decider
        from powergrid.learn.evaluate import play

        return play(self._env, self.name, decider(self._env, policy, None), self._days, self.seed)

    def measure(self, run: Run, row: Mapping[str, float]) -> Mapping[str, float]:
        """The means over the days, where this update is one to evaluate."""
        if run.update % self.every and not run.is_last:
            return {}
        outcome = self._played(run.policy())
        objective = float(outcome.objective.mean())
        if self.keep and objective < self._best:
            run.save(BEST)
        self._best = min(self._best, objective)
        return {
            f"{self.name}_objective": objective,
            f"{self.name}_money": float(outcome.money.sum(-1).mean()),
            f"{self.name}_violations": float(outcome.costs.sum(-1).mean()),
            f"{self.name}_violated_ticks": float(outcome.violated_ticks.mean()),
        }
