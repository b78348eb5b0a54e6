"""Steps about values: what is missing, and what stands out."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from powergrid.core.errors import DataError
from powergrid.datasets.cleaning.table import Done, Step, Table, longest_runs
from powergrid.datasets.resample import DAY_S

WEEK_S = 7 * DAY_S
_MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution [1]."""
_LEAST_SCALE = 0.05
"""Least scale of usual deviations, as a share of the range from the 5th to the 95th percentile [1]."""
_WINDOW_DAYS = 31
_FEWEST_DAYS = 7


class Gaps(Step):
    """Puts rows on a regular grid, where missing rows show as NaN, and fills short gaps if it is told how.

    ``hold`` repeats the last value, ``interpolate`` draws a straight line between the values beside the gap,
    ``same_hour_last_week`` takes the value of 168 hours before. A gap that is longer than `longest_h` stays as it is,
    the whole of it.
    """

    name: ClassVar[str] = "gaps"
    short: ClassVar[str] = "fill"

    fill: Literal["keep", "hold", "interpolate", "same_hour_last_week"] = Field(
        "keep", description="how short gaps are filled"
    )
    longest_h: float = Field(3.0, gt=0, le=24 * 31, description="longest gap that is filled [h]")

    def apply(self, table: Table) -> tuple[Table, Done]:
        """The table on a regular grid."""
        table, absent = _on_grid(table)
        interval_s, values = table.interval_s(), table.frame.to_numpy(dtype=float, copy=True)
        missing = np.isnan(values)
        most = int(self.longest_h * 3600 // interval_s)
        for column in range(values.shape[1]):
            short = longest_runs(missing[:, column], most)
            values[:, column] = _filled(values[:, column], short, self.fill, interval_s)
        filled = missing & ~np.isnan(values)
        frame = table.frame.copy()
        frame[:] = values
        rows = np.flatnonzero(missing.any(axis=1))
        kept = int(missing.sum() - filled.sum())
        what = f"{absent} rows absent, {int(missing.sum())} values missing; {int(filled.sum())} filled"
        what += f" ({self.fill}, up to {self.longest_h:g} h)" if self.fill != "keep" else ""
        done = self.done(f"{what}, {kept} stay missing", table.stamps[rows], int(filled.sum()))
        return table._replace(frame=frame, filled=table.filled | filled), done


class Outliers(Step):
    """Flags values that stand out from those at the same time of the day within 31 days.

    A value stands out if its distance from their median exceeds `factor` scales. The scale is 1.4826 times the median
    absolute deviation, and at least 5 % of the range from the 5th to the 95th percentile of the column.
    """

    name: ClassVar[str] = "outliers"
    short: ClassVar[str] = "action"

    factor: float = Field(10.0, gt=0, le=1e6, description="distance from the median in scales [1]")
    action: Literal["flag", "missing"] = Field("flag", description="whether values stay, or become NaN as well")

    def apply(self, table: Table) -> tuple[Table, Done]:
        """The table with flags."""
        table, _ = _on_grid(table)
        frame, outlier, interval_s = table.frame.copy(), table.outlier.copy(), table.interval_s()
        if DAY_S % interval_s:
            raise DataError(f"an interval of {interval_s} s does not divide a day")
        found = np.zeros(frame.shape, dtype=bool)
        for k, column in enumerate(frame.columns):
            found[:, k] = self._stand_out(frame[column].to_numpy(dtype=float), DAY_S // interval_s)
        outlier |= found
        if self.action == "missing":
            frame = frame.mask(found)
        rows = table.stamps[np.flatnonzero(found.any(axis=1))]
        what = f"{int(found.sum())} values stand out and " + ("are" if self.action == "flag" else "became")
        what += " flagged" if self.action == "flag" else " missing"
        return table._replace(frame=frame, outlier=outlier), self.done(what, rows, int(found.sum()))

    def _stand_out(self, values: np.ndarray, a_day: int) -> np.ndarray:
        """Which values stand out, ``(n,)``."""
        import pandas as pd

        if np.isnan(values).all():
            return np.zeros(len(values), dtype=bool)
        days = -(-len(values) // a_day)
        by_day = np.full(days * a_day, np.nan)
        by_day[: len(values)] = values
        table = pd.DataFrame(by_day.reshape(days, a_day))

        def usual(part: pd.DataFrame) -> pd.DataFrame:
            return part.rolling(_WINDOW_DAYS, center=True, min_periods=min(_FEWEST_DAYS, days)).median()

        distance = (table - usual(table)).abs()
        low, high = np.nanpercentile(values, [5, 95])
        scale = np.maximum(_MAD_TO_SIGMA * usual(distance).to_numpy(), _LEAST_SCALE * (high - low))
        with np.errstate(invalid="ignore"):
            found: np.ndarray = (distance.to_numpy() > self.factor * scale).ravel()[: len(values)]
        return found if high > low else np.zeros(len(values), dtype=bool)


def _on_grid(table: Table) -> tuple[Table, int]:
    """The table with a row for every interval, and how many rows were absent.

    Raises
    ------
    DataError
        If stamps are repeated, out of order or off the grid.
    """
    import pandas as pd

    interval_s, seconds = table.interval_s(), table.seconds
    steps = np.diff(seconds)
    if (steps <= 0).any():
        row = int((steps <= 0).argmax()) + 1
        step = "duplicates" if steps[row - 1] == 0 else "order"
        raise DataError(
            f"{table.stamps[row]} does not come after {table.stamps[row - 1]}; write `{step}` before this step"
        )
    off = steps % interval_s != 0
    if off.any():
        row = int(off.argmax()) + 1
        raise DataError(
            f"{table.stamps[row]} comes {steps[row - 1]} s after the stamp before, which is no multiple of the usual "
            f"{interval_s} s; average the rows to regular intervals first"
        )
    index = pd.date_range(table.stamps[0], table.stamps[-1], freq=f"{interval_s}s")
    absent = len(index) - len(table.frame)
    return (table.on(index) if absent else table), absent


def _filled(values: np.ndarray, short: np.ndarray, how: str, interval_s: int) -> np.ndarray:
    """Values with the rows of `short` filled, ``(n,)``; NaN where there is nothing to fill from."""
    known = np.flatnonzero(~np.isnan(values))
    rows = np.flatnonzero(short)
    if how == "keep" or not len(rows) or not len(known):
        return values
    new = values.copy()
    if how == "hold":
        before = np.searchsorted(known, rows) - 1
        new[rows] = np.where(before >= 0, values[known[before]], np.nan)
    elif how == "interpolate":
        new[rows] = np.interp(rows, known, values[known], left=np.nan, right=np.nan)
    else:
        if WEEK_S % interval_s:
            raise DataError(f"an interval of {interval_s} s does not divide a week")
        week = WEEK_S // interval_s
        for row in rows[rows >= week]:  # in time order: what was filled may fill the week after it
            new[row] = new[row - week]
    return new
