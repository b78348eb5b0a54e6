"""Made years by a block bootstrap: runs of consecutive training days, drawn by season and weekday."""

from __future__ import annotations

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.synthesis.training_days import TrainingDays

MEAN_DAYS = 5.0
"""Mean length of a block [days]."""


def made(
    days: TrainingDays, season: np.ndarray, weekday: np.ndarray, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Days by the stationary bootstrap of Politis and Romano (1994), with blocks of `MEAN_DAYS` on average.

    A block begins with a training day of the same weekday, at most 45 days of the year apart, and goes on with the days
    after it. It ends by chance, with probability ``1 / MEAN_DAYS`` each day, or where the next day is no training day.
    All series of a day come from the same day, so that what they have in common stays.

    Parameters
    ----------
    days
        The training days.
    season, weekday
        Day of the year and weekday of each day to make, ``(n,)``.
    random
        Source of random numbers.

    Returns
    -------
    dict
        Values by column, ``(n, intervals of a day)``.

    Raises
    ------
    DataError
        If a weekday has no training day in its season.
    """
    chosen = sources(days, season, weekday, random)
    return {name: values[chosen] for name, values in days.values.items()}


def sources(days: TrainingDays, season: np.ndarray, weekday: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Position among the training days of each made day, ``(n,)``; arguments are those of `made`."""
    ends = random.random(len(season)) < 1.0 / MEAN_DAYS
    draws = random.random(len(season))
    starts: dict[tuple[int, int], np.ndarray] = {}
    chosen = np.empty(len(season), dtype=int)
    last = -1
    for day, (when, which) in enumerate(zip(season.tolist(), weekday.tolist(), strict=True)):
        if last >= 0 and days.follows[last] and not ends[day]:
            last += 1
        else:
            if (when, which) not in starts:
                starts[when, which] = np.flatnonzero(days.near(when) & (days.weekday == which))
            found = starts[when, which]
            if not len(found):
                raise DataError(
                    f"no training day has weekday {which} within the season of day {when}; use a whole year"
                )
            last = int(found[int(draws[day] * len(found))])
        chosen[day] = last
    return chosen
