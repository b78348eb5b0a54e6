"""Series over a horizon from hourly values: what an agent knows of the hours ahead, at the ticks of a plan."""

from __future__ import annotations

import numpy as np


def by_clock_hour(hourly: np.ndarray, ticks: int, dt_h: float, hour: float) -> np.ndarray:
    """Values that hold from one full hour to the next, such as day-ahead prices.

    Parameters
    ----------
    hourly
        Values now, and 1, 2, 3 ... hours from now, ``(hours + 1,)``; after them the last holds.
    ticks, dt_h
        Length of the horizon, and of a tick [h].
    hour
        Hour of the day at which it begins [h].

    Returns
    -------
    numpy.ndarray
        ``(ticks,)``.
    """
    since = hour % 1.0 + np.arange(ticks) * dt_h
    return np.asarray(hourly)[np.minimum(np.floor(since + 1e-6).astype(int), len(hourly) - 1)]


def interpolated(hourly: np.ndarray, ticks: int, dt_h: float) -> np.ndarray:
    """Values between which a series runs straight, such as loads and the sun; see :func:`by_clock_hour`."""
    return np.interp(np.arange(ticks) * dt_h, np.arange(len(hourly)), hourly)
