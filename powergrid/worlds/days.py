"""Days on which episodes start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powergrid.core.errors import ArgumentError, ConfigError, Issue, nearest
from powergrid.worlds.world import World


def chosen_days(world: World, days: str | Sequence[int] | None) -> np.ndarray:
    """Days on which episodes start.

    Parameters
    ----------
    world
        The world whose data the days belong to.
    days
        Name of a split, or day indices; ``None`` for the split that the configuration trains on.

    Returns
    -------
    np.ndarray
        Day indices, int32 ``(days,)``.

    Raises
    ------
    ConfigError
        If the split is unknown or has no day, or a day index lies outside of the data.
    """
    if days is None:
        days = world.resolved.default_split
        if issue := world.resolved.empty_split(days):
            raise ConfigError([issue])
    if isinstance(days, str):
        if days not in world.days:
            hint = nearest(days, world.days) or f"one of {', '.join(world.days)}"
            raise ConfigError([Issue("days", f'unknown split "{days}"', hint)])
        if issue := world.resolved.empty_split(days):
            raise ConfigError([Issue("days", issue.message, issue.hint)])
        return np.asarray(world.days[days], dtype=np.int32)
    count = len(world.table) // world.ticks_per_day
    chosen = np.asarray(days, dtype=np.int32)
    if chosen.size == 0 or (chosen < 0).any() or (chosen >= count).any():
        raise ConfigError([Issue("days", f"days {list(days)} are not all from 0 to {count - 1}", "list day indices")])
    return chosen


def checked_days(day: object, count: int, days: int) -> np.ndarray:
    """Days of `count` environments, int32 ``(count,)``, from one day for all or one day per environment.

    Raises
    ------
    ArgumentError
        If a day is no whole number from 0 to ``days - 1``, or there is neither one day nor `count` of them.
    """
    try:
        rows = np.asarray(day)
    except ValueError:
        rows = np.zeros(0, dtype=object)
    whole = rows.dtype.kind in "iu" and bool(((rows >= 0) & (rows < days)).all())
    if not whole or rows.shape not in ((), (count,)):
        each = "" if count == 1 else f", or {count} of them"
        raise ArgumentError(f"day {day!r} is not a whole number from 0 to {days - 1}{each}")
    return np.broadcast_to(rows.astype(np.int32), (count,))
