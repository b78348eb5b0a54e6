"""Made years by a Gaussian copula of daily means, with the course of the day taken from similar training days."""

from __future__ import annotations

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.synthesis.training_days import TrainingDays

FEWEST_ALIKE = 5
"""Training days that a season must have of workdays, and of weekends."""

_NEAREST = 3
_MOST_SCALE = 3.0
"""Factor, and its inverse, beyond which the course of a day is not stretched [1]."""
_MOST_PERSISTENT = 0.95


def made(
    days: TrainingDays, season: np.ndarray, weekday: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Days whose daily means have the marginals and the correlation of the training days.

    The daily mean of each series becomes a normal score ``z`` by its rank among training days of the same season and
    kind (workday or weekend). Scores of a day are correlated as those of the training days, and each goes on from day
    to day by its own persistence: ``z' = a z + e`` with ``cov(e) = R (1 - a a^T)`` by element, so that ``cov(z) = R``.
    The quantile of ``z`` among the same days is the daily mean. The course of the day comes from one of the three
    training days that are most like it in their scores and begin where the day before ended (method of fragments,
    Svanidze 1980; nearest neighbours as by Lall and Sharma 1996). It is scaled to the daily mean where a series is
    never negative, else shifted, and stays within what the season has at that time of the day.

    Parameters
    ----------
    days, season, weekday, random
        As for `powergrid.datasets.synthesis.blocks.made`.

    Returns
    -------
    dict
        Values by column, ``(n, intervals of a day)``.

    Raises
    ------
    DataError
        If a season has too few days.
    """
    model = _Copula(days)
    scores = model.scores(len(season), random)
    choice = random.random(len(season))
    result = {name: np.empty((len(season), values.shape[1])) for name, values in days.values.items()}
    level: np.ndarray | None = None
    for day, (when, work) in enumerate(zip(season.tolist(), (weekday < 5).tolist(), strict=True)):
        pool = model.pool(when, work)
        source = pool.choose(scores[day], level, float(choice[day]))
        means = pool.means(scores[day])
        for name, values in days.values.items():
            result[name][day] = model.fitted(name, values[source], source, means, pool)
        level = np.array([result[name][day, -1] for name in model.leaders])
    return result


class _Copula:
    """Scores of the training days, their correlation and their persistence."""

    def __init__(self, days: TrainingDays):
        self.days = days
        self.leaders = list(dict.fromkeys(days.leader.values()))
        if not self.leaders:
            raise DataError("no series has a level that a copula could draw; use the method blocks")
        self.daily = np.stack([days.values[name].mean(axis=1) for name in self.leaders], axis=1)
        self.spread = np.array([days.values[name].std() for name in self.leaders])
        self.spread[self.spread == 0.0] = 1.0
        self.starts = np.stack([days.values[name][:, 0] for name in self.leaders], axis=1)
        self.positive = {name: bool(values.min() >= 0.0) for name, values in days.values.items()}
        self._pools: dict[tuple[int, bool], _Pool] = {}
        self._bounds: dict[int, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        own = [
            self.pool(int(when), bool(work)).score(self.daily[k])
            for k, (when, work) in enumerate(zip(days.season, days.workday, strict=True))
        ]
        self.z = np.array(own)
        for pool in self._pools.values():
            pool.z = self.z[pool.members]

    def pool(self, when: int, work: bool) -> _Pool:
        """Training days of a season and a kind."""
        if (when, work) not in self._pools:
            members = np.flatnonzero(self.days.near(when) & (self.days.workday == work))
            if len(members) < FEWEST_ALIKE:
                kind = "workdays" if work else "days of weekends"
                raise DataError(
                    f"the season of day {when} has {len(members)} training {kind}, fewer than {FEWEST_ALIKE}; use a "
                    "whole year, or the method blocks"
                )
            pool = _Pool(self, members, when)
            if hasattr(self, "z"):
                pool.z = self.z[members]
            self._pools[when, work] = pool
        return self._pools[when, work]

    def bounds(self, when: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Least and greatest value of each column by time of the day, over workdays and weekends of a season."""
        if when not in self._bounds:
            near = self.days.near(when)
            self._bounds[when] = {
                name: (values[near].min(axis=0), values[near].max(axis=0))
                for name, values in self.days.values.items()
                if name in self.days.leader
            }
        return self._bounds[when]

    def scores(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Scores of made days, ``(count, leaders)``."""
        z = self.z
        spread = z.std(axis=0)
        spread[spread == 0.0] = 1.0
        unit = (z - z.mean(axis=0)) / spread
        together = unit.T @ unit / len(unit)
        np.fill_diagonal(together, 1.0)
        pairs = np.flatnonzero(self.days.follows)
        keeps = np.zeros(z.shape[1])
        if len(pairs):
            keeps = np.clip((unit[pairs] * unit[pairs + 1]).mean(axis=0), 0.0, _MOST_PERSISTENT)
        noise = random.standard_normal((count, z.shape[1])) @ _root(together * (1.0 - np.outer(keeps, keeps)))
        found = np.empty((count, z.shape[1]))
        last = random.standard_normal(z.shape[1]) @ _root(together)
        for day in range(count):
            last = found[day] = keeps * last + noise[day]
        return found

    def fitted(self, name: str, course: np.ndarray, source: int, means: np.ndarray, pool: _Pool) -> np.ndarray:
        """The course of a training day at the level of the made day."""
        leader = self.days.leader.get(name)
        if leader is None:
            return course
        k = self.leaders.index(leader)
        own, wanted = self.daily[source, k], means[k]
        if self.positive[leader] and own > 0.0:
            new = course * min(max(wanted / own, 1.0 / _MOST_SCALE), _MOST_SCALE)
        elif self.positive[leader]:
            new = course
        else:
            new = course + (wanted - own)
        low, high = self.bounds(pool.when)[name]
        fitted: np.ndarray = np.clip(new, low, high)
        return fitted


class _Pool:
    """Training days of one season and kind, from which quantiles and courses come."""

    z: np.ndarray

    def __init__(self, model: _Copula, members: np.ndarray, when: int):
        self.members, self.when, self._model = members, when, model
        self._sorted = np.sort(model.daily[members], axis=0)
        self._ranks = (np.arange(len(members)) + 0.5) / len(members)

    def score(self, daily: np.ndarray) -> np.ndarray:
        """Normal scores of daily means by their rank, equal values at the middle of their ranks, ``(leaders,)``."""
        from scipy.special import ndtri

        below = (self._sorted < daily).sum(axis=0)
        equal = (self._sorted == daily).sum(axis=0)
        rank = (below + 0.5 * np.maximum(equal, 1)) / len(self.members)
        z: np.ndarray = ndtri(np.clip(rank, self._ranks[0], self._ranks[-1]))
        return z

    def means(self, z: np.ndarray) -> np.ndarray:
        """Daily means at the quantiles of scores, ``(leaders,)``."""
        from scipy.special import ndtr

        share = ndtr(z)
        return np.array([np.interp(u, self._ranks, self._sorted[:, k]) for k, u in enumerate(share)])

    def choose(self, z: np.ndarray, level: np.ndarray | None, choice: float) -> int:
        """One of the nearest training days: near in score, and beginning where the day before ended."""
        apart = ((self.z - z) ** 2).mean(axis=1)
        if level is not None:
            model = self._model
            apart = apart + (((model.starts[self.members] - level) / model.spread) ** 2).mean(axis=1)
        nearest = np.argsort(apart, kind="stable")[:_NEAREST]
        return int(self.members[nearest[int(choice * len(nearest))]])


def _root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric root of a covariance; negative eigenvalues, which estimates may have, count as zero."""
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root
