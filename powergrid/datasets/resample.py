"""Resampling of a regular series to another tick length: every row is the mean of its signal over the tick.

There are two kinds of signal. Powers and prices are constant within their interval (`held_means`): shorter ticks repeat
the value, longer ticks average it, and the energy stays the same. Temperature and wind speed are points on straight
lines (`linear_means`). The power of a turbine is the exact mean of its power curve along such a line (`curve_means`),
so its energy does not depend on the tick length either. After the end of the data its beginning follows.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import DataError

DAY_S = 86_400
"""Seconds of a day; every day has as many, since data are in standard time."""

_POINT_UNITS = ("_c", "_m_s")

_FLAT_M_S = 1e-6
"""Below this change of wind speed [m/s] the mean of the curve is its trapezoid, which has a smaller rounding error."""


class PowerCurve(NamedTuple):
    """Turbine power against wind speed at hub height, straight between the points, zero outside them.

    Attributes
    ----------
    speed_m_s
        Increasing wind speeds [m/s].
    power_pu
        Power at those speeds [pu of the largest].
    """

    speed_m_s: np.ndarray
    power_pu: np.ndarray

    def power(self, speed_m_s: np.ndarray) -> np.ndarray:
        """Power [pu] at a wind speed [m/s], any shape."""
        power_pu: np.ndarray = np.interp(speed_m_s, self.speed_m_s, self.power_pu, left=0.0, right=0.0)
        return power_pu

    def mean_power(self, start_m_s: np.ndarray, end_m_s: np.ndarray) -> np.ndarray:
        """Mean power [pu] while the speed goes from `start_m_s` to `end_m_s` [m/s] along a straight line.

        Within one piece of the curve that is the trapezoid, otherwise ``(F(end) - F(start)) / (end - start)`` with the
        antiderivative ``F`` of the curve.
        """
        change = end_m_s - start_m_s
        piece = np.searchsorted(self.speed_m_s, np.stack([start_m_s, end_m_s]), side="right")
        bent = (piece[0] != piece[1]) & (np.abs(change) > _FLAT_M_S)
        mean: np.ndarray = 0.5 * (self.power(start_m_s) + self.power(end_m_s))
        area = self._antiderivative(end_m_s[bent]) - self._antiderivative(start_m_s[bent])
        # A mean cannot leave the range of the curve, a rounded quotient can by its last digit.
        mean[bent] = np.clip(area / change[bent], 0.0, self.power_pu.max())
        return mean

    def _antiderivative(self, speed_m_s: np.ndarray) -> np.ndarray:
        speed, power = self.speed_m_s, self.power_pu
        steps = 0.5 * (power[1:] + power[:-1]) * np.diff(speed)
        area = np.concatenate([[0.0], np.cumsum(steps)])
        inside = np.clip(speed_m_s, speed[0], speed[-1])
        piece = np.clip(np.searchsorted(speed, inside, side="right") - 1, 0, len(speed) - 2)
        integral: np.ndarray = area[piece] + 0.5 * (power[piece] + self.power(inside)) * (inside - speed[piece])
        return integral


class Series(NamedTuple):
    """One series as it was published.

    Attributes
    ----------
    values
        One value per interval, ``(n,)``; the wind speed [m/s] where a curve is given.
    interval_s
        Its own interval [s]: prices and temperature may be hourly in a 15-min dataset.
    curve
        Power curve that turns the values into power; ``None`` for all but turbines.
    """

    values: np.ndarray
    interval_s: int
    curve: PowerCurve | None = None


def is_point(column: str) -> bool:
    """True for quantities measured at an instant and interpolated (temperature, wind speed), by their unit."""
    return column.split(":")[0].endswith(_POINT_UNITS)


def check_tick(dt_s: int) -> int:
    """Tick length as a whole number of seconds.

    Raises
    ------
    DataError
        Unless it is a whole number of seconds that divides a day.
    """
    if dt_s <= 0 or dt_s != int(dt_s) or DAY_S % dt_s:
        raise DataError(
            f"a tick of {dt_s} s does not divide a day; use a whole number of seconds such as 60, 300, 900 or 3600"
        )
    return int(dt_s)


def means(column: str, series: Series, dt_s: int, ticks: np.ndarray | None = None) -> np.ndarray:
    """Mean of a series over ticks of `dt_s` seconds, by the rule of its kind.

    Parameters
    ----------
    ticks
        Indices of the ticks from the beginning of the data, any shape; after the end the beginning follows. ``None``
        means all. The mean of a tick has the same bits whichever other ticks are computed.
    """
    if series.curve is not None:
        return curve_means(series.values, series.interval_s, dt_s, series.curve, ticks)
    if is_point(column):
        return linear_means(series.values, series.interval_s, dt_s, ticks)
    return held_means(series.values, series.interval_s, dt_s, ticks)


def held_means(values: np.ndarray, interval_s: int, dt_s: int, ticks: np.ndarray | None = None) -> np.ndarray:
    """Mean over ticks of a signal that is constant within its intervals (power, price).

    Parameters
    ----------
    values
        One value per interval, ``(n,)``; the intervals cover whole days.
    interval_s, dt_s
        Interval of the values and tick length [s]; both divide a day.
    ticks
        As in `means`.
    """
    parts, an_interval = _parts(len(values), interval_s, dt_s, ticks)
    return _mean(values[parts // an_interval])


def linear_means(points: np.ndarray, interval_s: int, dt_s: int, ticks: np.ndarray | None = None) -> np.ndarray:
    """Mean over ticks of a signal that runs straight from point to point (temperature, wind speed).

    Parameters
    ----------
    points
        Values at the interval starts, ``(n,)``; the last runs back to the first.
    interval_s, dt_s
        Interval of the points and tick length [s].
    ticks
        As in `means`.
    """
    start, end = _edges(points, *_parts(len(points), interval_s, dt_s, ticks))
    return _mean(0.5 * (start + end))


def curve_means(
    points_m_s: np.ndarray, interval_s: int, dt_s: int, curve: PowerCurve, ticks: np.ndarray | None = None
) -> np.ndarray:
    """Mean turbine power [pu] over ticks, for wind speeds [m/s] as in `linear_means`."""
    return _mean(curve.mean_power(*_edges(points_m_s, *_parts(len(points_m_s), interval_s, dt_s, ticks))))


def points_at(points: np.ndarray, interval_s: int, dt_s: int) -> np.ndarray:
    """Values of a straight-line signal at the start of every tick."""
    parts, an_interval = _parts(len(points), interval_s, dt_s, None)
    return _along(points, parts[:, 0], an_interval)


def _parts(size: int, interval_s: int, dt_s: int, ticks: np.ndarray | None) -> tuple[np.ndarray, int]:
    """The parts of each tick, ``(*ticks, parts)``, each of which lies within one interval; and parts of an interval."""
    part_s = gcd(interval_s, dt_s)
    an_interval, a_tick = interval_s // part_s, dt_s // part_s
    count = size * an_interval
    if ticks is None:
        return np.arange(count).reshape(-1, a_tick), an_interval
    return (np.asarray(ticks)[..., None] * a_tick + np.arange(a_tick)) % count, an_interval


def _mean(parts: np.ndarray) -> np.ndarray:
    """Mean over the parts of each tick."""
    mean: np.ndarray = parts[..., 0] if parts.shape[-1] == 1 else parts.mean(axis=-1)
    return mean


def _edges(points: np.ndarray, parts: np.ndarray, an_interval: int) -> tuple[np.ndarray, np.ndarray]:
    """Values at the start and the end of each part."""
    following = (parts + 1) % (len(points) * an_interval)
    return _along(points, parts, an_interval), _along(points, following, an_interval)


def _along(points: np.ndarray, parts: np.ndarray, an_interval: int) -> np.ndarray:
    """Values of a straight-line signal at the start of each part."""
    interval, share = parts // an_interval, (parts % an_interval) / an_interval
    begin = points[interval]
    between: np.ndarray = begin + share * (points[(interval + 1) % len(points)] - begin)
    return between
