"""Alignment of pandas frames from different sources."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.resample import is_point

if TYPE_CHECKING:
    import pandas as pd


class TimeseriesAligner:
    """Cut frames to their common time and resample them to one interval.

    Powers and prices are averaged over longer intervals and repeated in shorter ones. Columns with the unit of an
    instant (``_c``, ``_m_s``) are interpolated. Missing values stay missing (NaN).

    Parameters
    ----------
    interval_s
        Interval of the result [s].
    """

    def __init__(self, interval_s: int = 900):
        self.interval_s = interval_s

    def align(self, datasets: Mapping[str, pd.DataFrame]) -> dict[str, np.ndarray]:
        """Values of each frame on the common intervals.

        Parameters
        ----------
        datasets
            Frames with a regular, increasing index of interval starts, all with a time zone or all without.

        Returns
        -------
        dict
            One array ``(intervals, columns)`` for each frame.

        Raises
        ------
        DataError
            If an index is not regular and increasing, time zones are mixed, or the frames share no time.
        """
        import pandas as pd

        if len({getattr(frame.index, "tz", None) is None for frame in datasets.values()}) != 1:
            raise DataError("frames must all have a time zone or all have none; use tz_localize or tz_convert")
        own = {name: _interval(name, frame) for name, frame in datasets.items()}
        start = max(frame.index[0] for frame in datasets.values())
        end = min(frame.index[-1] + own[name] for name, frame in datasets.items())
        step = pd.Timedelta(seconds=self.interval_s)
        start = start.ceil(step)
        rows = int((end - start) // step)
        if rows < 1:
            raise DataError(
                f"the frames share no {self.interval_s} s: the latest begins {start}, the earliest ends {end}"
            )
        stamps = pd.date_range(start, periods=rows, freq=step)
        return {name: _values(frame, own[name], stamps, step) for name, frame in datasets.items()}


def _interval(name: str, frame: pd.DataFrame) -> pd.Timedelta:
    import pandas as pd

    if not isinstance(frame.index, pd.DatetimeIndex) or len(frame) < 2:
        raise DataError(f"{name}: the frame needs an index of stamps and two rows or more")
    steps = frame.index[1:] - frame.index[:-1]
    if (steps != steps[0]).any() or steps[0] <= pd.Timedelta(0):
        row = int(np.argmax(steps != steps[0])) + 1
        raise DataError(
            f"{name}: the stamps are not regular at {frame.index[row]} (row {row}); sort and fill them first"
        )
    return steps[0]


def _values(frame: pd.DataFrame, own: pd.Timedelta, stamps: pd.DatetimeIndex, step: pd.Timedelta) -> np.ndarray:
    """Means over each interval of `step` that begins at `stamps`, ``(intervals, columns)``."""
    own_s, step_s = int(own.total_seconds()), int(step.total_seconds())
    offset_s = int((stamps[0] - frame.index[0]).total_seconds())
    part_s = gcd(own_s, step_s, offset_s)
    begin_s = offset_s + part_s * np.arange(len(stamps) * step_s // part_s)
    columns = []
    for name in frame.columns:
        values = frame[name].to_numpy(dtype=np.float64)
        if is_point(str(name)):
            parts = np.interp((begin_s + 0.5 * part_s) / own_s, np.arange(len(values)), values)
        else:
            parts = values[begin_s // own_s]
        columns.append(parts.reshape(len(stamps), -1).mean(axis=1))
    return np.stack(columns, axis=1)
