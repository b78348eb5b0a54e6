"""Days that episodes begin on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.core.errors import ArgumentError, ConfigError, Issue, nearest
from powergrid.worlds.world import World


def chosen_days(world: World, days: str | Sequence[int] | None) -> np.ndarray:
    """Day indices of a split, or the given ones, checked; ``None`` is the split that the configuration trains on."""
    if days is None:
        days = "train" if world.resolved.config.training.train else "test"
    if isinstance(days, str):
        if days not in world.days:
            hint = nearest(days, world.days) or f"one of {', '.join(world.days)}"
            raise ConfigError([Issue("days", f'unknown split "{days}"', hint)])
        chosen = world.days[days]
        if len(chosen) == 0:
            why, hint = world.resolved.dataset().why_empty(days)
            raise ConfigError([Issue("days", f'the dataset has no day in the split "{days}": {why}', hint)])
        return np.asarray(chosen, dtype=np.int32)
    count = len(world.table) // world.ticks_per_day
    chosen = np.asarray(days, dtype=np.int32)
    if chosen.size == 0 or (chosen < 0).any() or (chosen >= count).any():
        raise ConfigError([Issue("days", f"days {list(days)} are not all from 0 to {count - 1}", "list day indices")])
    return chosen


def checked_days(day: Any, count: int, days: int) -> np.ndarray:
    """Days of `count` environments, int32 ``(count,)``, from one for all or one for each.

    Raises
    ------
    ArgumentError
        If they are no whole numbers from 0 to ``days - 1``, or neither one nor `count`.
    """
    try:
        given = np.asarray(day)
    except ValueError:
        given = np.zeros(0, dtype=object)
    whole = given.dtype.kind in "iu" and bool(((given >= 0) & (given < days)).all())
    if not whole or given.shape not in ((), (count,)):
        each = "" if count == 1 else f", or {count} of them"
        raise ArgumentError(f"day {day!r} is not a whole number from 0 to {days - 1}{each}")
    return np.broadcast_to(given.astype(np.int32), (count,))
