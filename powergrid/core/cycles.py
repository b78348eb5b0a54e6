"""Rainflow: the cycles of a finished trajectory."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Cycles(NamedTuple):
    """Cycles of a series, in the order in which they close; those that never close count half and come last.

    Attributes
    ----------
    depth, mean
        Range and mean of each cycle, in the unit of the series, ``(n,)``.
    weight
        1 for a whole cycle, 0.5 for a half one, ``(n,)``.
    """

    depth: np.ndarray
    mean: np.ndarray
    weight: np.ndarray


def rainflow(series: ArrayLike) -> Cycles:
    """Count the cycles of a series by the three-point rainflow method.

    The rule of ASTM E1049-85, section 5.4.4: a range that is no larger than the one after it is a cycle, or half of one
    if it begins at the first point that is left; what remains counts as halves.

    Parameters
    ----------
    series
        Values such as the state of charge over an episode, ``(n,)``.

    Raises
    ------
    ValueError
        If the series is not one row of finite numbers.

    Examples
    --------
    >>> cycles = rainflow([-2, 1, -3, 5, -1, 3, -4, 4, -2])
    >>> [float(depth) for depth in cycles.depth]
    [3.0, 4.0, 4.0, 8.0, 9.0, 8.0, 6.0]
    """
    found: list[tuple[float, float, float]] = []
    points: list[float] = []
    for value in _turning_points(series):
        points.append(value)
        while len(points) > 2 and abs(points[-1] - points[-2]) >= abs(points[-2] - points[-3]):
            first = len(points) == 3
            found.append(_cycle(points[-3], points[-2], 0.5 if first else 1.0))
            del points[-3 : -2 if first else -1]
    found += [_cycle(begin, end, 0.5) for begin, end in pairwise(points)]
    return Cycles(*np.array(found, dtype=float).reshape(-1, 3).T)


def _cycle(begin: float, end: float, weight: float) -> tuple[float, float, float]:
    return abs(end - begin), 0.5 * (begin + end), weight


def _turning_points(series: ArrayLike) -> list[float]:
    """First and last value, and those between at which the series turns; level stretches count once."""
    values = np.asarray(series, dtype=float)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"rainflow needs one row of finite numbers, found shape {values.shape}")
    values = values[np.append(True, np.diff(values) != 0.0)] if len(values) else values
    rises = np.diff(values) > 0.0
    inner = values[1:-1][rises[:-1] != rises[1:]] if len(values) > 2 else values[:0]
    return [*values[:1], *inner, *(values[-1:] if len(values) > 1 else ())]
