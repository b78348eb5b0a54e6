"""The steps of cleaning, by name. A new step is a class here and its line in `STEPS`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from pydantic import Field, field_validator

from powergrid.core.errors import DataError
from powergrid.datasets.cleaning.gaps import Gaps, Outliers
from powergrid.datasets.cleaning.table import Done, Step, Table
from powergrid.datasets.resample import DAY_S
from powergrid.datasets.units import by_size, conversion, converted, parts_of


class Order(Step):
    """Sorts rows by time; rows with the same stamp keep their order."""

    name: ClassVar[str] = "order"

    def apply(self, table: Table) -> tuple[Table, Done]:
        """Rows in time order."""
        early = np.flatnonzero(np.diff(table.seconds) < 0) + 1
        what = f"{len(early)} rows came before a later row" if len(early) else "rows are in time order"
        return table.rows(np.argsort(table.seconds, kind="stable")), self.done(what, table.stamps[early])


class HourEnding(Step):
    """Moves stamps from the ends of intervals to their starts.

    It goes before `clock_changes` where a source labels the hour of the clock (ERCOT leaves hour ending 03:00 out in
    spring), and after it where stamps are instants.
    """

    name: ClassVar[str] = "hour_ending"
    short: ClassVar[str] = "interval_s"

    interval_s: int | None = Field(
        None, gt=0, le=DAY_S, description="length of an interval [s]; omitted: the usual one"
    )

    def apply(self, table: Table) -> tuple[Table, Done]:
        """Stamps one interval earlier, unless that has been done."""
        import pandas as pd

        if table.starts:
            return table, self.done("stamps mark the starts of intervals already")
        interval_s = self.interval_s or table.interval_s()
        moved = table.at(table.stamps - pd.Timedelta(seconds=interval_s))._replace(starts=True)
        return moved, self.done(f"{len(moved.frame)} stamps moved {interval_s} s back", changed=len(moved.frame))


class ClockChanges(Step):
    """Turns stamps of a wall clock into UTC, so that days of 23 and 25 hours are right.

    Of stamps that the clock shows twice in autumn, the first row is daylight saving time and the second standard time.
    """

    name: ClassVar[str] = "clock_changes"
    short: ClassVar[str] = "zone"

    zone: str = Field(description="time zone, such as America/Los_Angeles")
    once: Literal["first", "second"] = Field(
        "first", description="which of the two hours a stamp of autumn means that is there once"
    )
    skipped: Literal["refuse", "drop"] = Field(
        "refuse", description="what becomes of stamps in the hour that the clock skips in spring"
    )

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f'unknown time zone "{zone}"; write one such as America/Los_Angeles') from error
        return zone

    def apply(self, table: Table) -> tuple[Table, Done]:
        """The table in UTC; one in UTC stays as it is."""
        import pandas as pd

        if table.stamps.tz is not None:
            return table, self.done("stamps have a zone already")
        stamps, zone = table.stamps, ZoneInfo(self.zone)
        there = stamps.tz_localize(zone, ambiguous=np.ones(len(stamps), dtype=bool), nonexistent="NaT")
        gone = np.asarray(there.isna())
        if gone.any() and self.skipped == "refuse":
            raise DataError(
                f"{int(gone.sum())} stamps lie in the hour that {self.zone} skips, the first is {stamps[gone][0]}; "
                "write `skipped: drop`, or `hour_ending` before this step if stamps are ends of hours"
            )
        table = table.rows(~gone)
        stamps = table.stamps
        twice = np.asarray(stamps.tz_localize(zone, ambiguous="NaT").isna())
        seen = pd.Series(stamps).groupby(stamps.to_numpy())
        summer = (seen.cumcount() == 0).to_numpy()
        if self.once == "second":
            summer &= (seen.transform("size") > 1).to_numpy()
        utc = stamps.tz_localize(zone, ambiguous=summer).tz_convert("UTC")
        dropped = f"; {int(gone.sum())} in the skipped hour dropped" if gone.any() else ""
        what = f"{len(stamps)} stamps of {self.zone} turned into UTC, {int(twice.sum())} in repeated hours{dropped}"
        turned = table.at(utc)._replace(utc_offset_h=_standard_offset_h(zone, int(stamps[0].year)))
        return turned, self.done(what, changed=len(stamps))


def _standard_offset_h(zone: ZoneInfo, year: int) -> float:
    """Offset of a zone from UTC without daylight saving time [h]."""
    offsets = [datetime(year, month, 1, tzinfo=zone).utcoffset() or timedelta(0) for month in (1, 7)]
    return min(offsets).total_seconds() / 3600.0


class Duplicates(Step):
    """Keeps one row of each stamp. Rows that are equal are one row in any case."""

    name: ClassVar[str] = "duplicates"
    short: ClassVar[str] = "keep"

    keep: Literal["first", "last", "mean", "refuse"] = Field(
        "refuse", description="which row of a stamp stays where they differ"
    )

    def apply(self, table: Table) -> tuple[Table, Done]:
        """The table with different stamps."""
        stamps = table.stamps
        copies = table.frame.assign(_stamp=stamps).duplicated().to_numpy()
        table = table.rows(~copies)
        again = np.asarray(table.stamps.duplicated())
        equal = f"{int(copies.sum())} equal rows left out"
        if not again.any():
            return table, self.done(equal, stamps[copies])
        if self.keep == "refuse":
            raise DataError(
                f"{int(again.sum())} stamps are given again with other values, the first is {table.stamps[again][0]}; "
                "write `duplicates: first`, last or mean"
            )
        first = table.stamps[again]
        if self.keep == "mean":
            group = table.frame.index
            table = Table(
                table.frame.groupby(group).mean(),
                table.filled.groupby(group).any(),
                table.outlier.groupby(group).any(),
                table.starts,
                table.utc_offset_h,
            )
        else:
            table = table.rows(~table.stamps.duplicated(keep=self.keep))
        what = f"{equal}; {len(first)} stamps with other values again, of which {self.keep} is used"
        return table, self.done(what, first, int(copies.sum()) + len(first))


class Year(Step):
    """Cuts or extends the table to one calendar year of local standard time; what is added has no values."""

    name: ClassVar[str] = "year"
    short: ClassVar[str] = "year"

    year: int = Field(ge=1900, le=2200, description="calendar year")
    utc_offset_h: float | None = Field(
        None, ge=-12, le=14, description="local standard time minus UTC [h]; omitted: as `clock_changes` found, else 0"
    )

    def apply(self, table: Table) -> tuple[Table, Done]:
        """Rows of the year on a regular grid."""
        import pandas as pd

        interval_s, zone = table.interval_s(), table.stamps.tz
        offset_h = table.utc_offset_h if self.utc_offset_h is None else self.utc_offset_h
        offset = pd.Timedelta(hours=offset_h or 0.0)
        first, end = (pd.Timestamp(year, 1, 1, tz=zone) - offset for year in (self.year, self.year + 1))
        inside = (table.stamps >= first) & (table.stamps < end)
        if not inside.any():
            raise DataError(f"no row lies in {self.year}; rows go from {table.stamps.min()} to {table.stamps.max()}")
        index = pd.date_range(first, end, freq=f"{interval_s}s", inclusive="left")
        left_out, kept = int((~inside).sum()), table.rows(np.asarray(inside))
        off_grid = ~kept.stamps.isin(index)
        if off_grid.any():
            raise DataError(
                f"{int(off_grid.sum())} stamps do not lie on the grid of {interval_s} s, the first is "
                f"{kept.stamps[off_grid][0]}; average them to regular intervals first"
            )
        if kept.stamps.has_duplicates:
            raise DataError("stamps are repeated; write `duplicates` before this step")
        added = len(index) - len(kept.frame)
        return kept.on(index), self.done(
            f"{left_out} rows outside {self.year} left out, {added} added", changed=left_out
        )


class Unit(Step):
    """Converts columns that are named as those of a dataset to the unit in their name.

    Without a unit, the size of the values decides, by the same table with which files are refused; a price and a
    power in an unusual size are converted, and the report states from which unit.
    """

    name: ClassVar[str] = "unit"
    short: ClassVar[str] = "unit"

    unit: str | None = Field(None, min_length=1, description="unit of all columns; omitted: by the size of the values")
    rating: float | None = Field(None, gt=0, description="power that is 1 per unit [unit]; omitted: the largest value")

    def apply(self, table: Table) -> tuple[Table, Done]:
        """The table with converted values."""
        frame, told, interval_s = table.frame.copy(), [], table.interval_s()
        for column in frame.columns:
            quantity = str(column).partition(":")[0]
            if not parts_of(quantity)[1]:
                raise DataError(f'column "{column}" names no unit of a dataset; name it as load_p_pu:<site>')
            values = frame[column].to_numpy(dtype=float)
            unit = self.unit or self._by_size(quantity, values)
            if unit:
                frame[column] = converted(values, interval_s, conversion(quantity, unit), self.rating, unit)
                told.append(f"{column} from {unit}")
        return table._replace(frame=frame), self.done(", ".join(told) or "nothing converted", changed=len(told))

    @staticmethod
    def _by_size(quantity: str, values: np.ndarray) -> str:
        found = None if np.isnan(values).all() else by_size(quantity, values)
        return "" if found is None else found.unit


STEPS: dict[str, type[Step]] = {
    kind.name: kind for kind in (Order, HourEnding, ClockChanges, Duplicates, Year, Unit, Outliers, Gaps)
}
"""Steps by their name in a pipeline."""
