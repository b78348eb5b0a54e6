"""What readers of homes and buildings share: a year of series from stamps, and a dataset over a base."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from powergrid.core.errors import DataError, MissingExtraError
from powergrid.core.files import size_of
from powergrid.datasets.bases import load_base
from powergrid.datasets.combine import combined
from powergrid.datasets.resample import DAY_S, Series
from powergrid.datasets.units import doubt

if TYPE_CHECKING:
    import pandas as pd

    from powergrid.datasets.dataset import Dataset

MOST_BYTES = 1 << 30
"""Size of the largest file that is read; a year of minutes of a hundred homes has about 500 MB."""
YEAR_DAYS = 365


class Homes(NamedTuple):
    """Homes or buildings as series of a dataset.

    Attributes
    ----------
    series
        By ``<quantity>_<unit>:<home>``; 365 days from 1 January, gaps NaN.
    rating_kw
        Power that is 1 per unit, by column [kW].
    source, licence
        Origin and terms.
    notes
        What was done with the files, one sentence each.
    """

    series: Mapping[str, Series]
    rating_kw: Mapping[str, float]
    source: str
    licence: str
    notes: tuple[str, ...] = ()

    def dataset(self, name: str, base: str | Dataset = "embedded_2022") -> Dataset:
        """These series beside those of a base, by position in the year; an active load serves as reactive shape too.

        Parameters
        ----------
        name
            Name of the dataset.
        base
            Dataset of 365 days, its name or its file (``.npz``): prices, weather and all that homes do not measure.

        Raises
        ------
        DataError
            If the base has another number of days.
        """
        ground = load_base(base) if isinstance(base, str) else base
        reactive = {
            column.replace("load_p_pu", "load_q_pu"): one
            for column, one in self.series.items()
            if column.startswith("load_p_pu:")
        }
        found = combined({**self.series, **reactive}, {}, ground, name)
        found.source = f"{self.source}; other series are those of {ground.name}: {ground.source}"
        found.licence = f"{self.licence}; {ground.name}: {ground.licence}"
        return found


def label(text: str) -> str:
    """A name as part of a column: letters, digits and underscores."""
    return re.sub(r"\W+", "_", text).strip("_").lower() or "home"


def per_unit(power_kw: np.ndarray, place: str) -> tuple[np.ndarray, float]:
    """Power over its largest value, and that value [kW].

    Raises
    ------
    DataError
        If there is no value, or all are zero.
    """
    largest = float(np.nanmax(np.abs(power_kw))) if np.isfinite(power_kw).any() else 0.0
    if largest == 0.0:
        raise DataError(f"{place}: all values are zero or missing, so that none of them can be 1 per unit")
    return power_kw / largest, largest


def in_year(stamps: pd.DatetimeIndex, values: np.ndarray, interval_s: int, place: str) -> np.ndarray:
    """Values by their position in a year of 365 days, NaN where there is none.

    Parameters
    ----------
    stamps
        Starts of the intervals in local standard time, without a zone; they span at most a year. 29 February is left
        out.
    values
        ``(n,)`` or ``(n, columns)``.
    interval_s
        Interval [s], a divisor of a day.
    place
        The file, for messages.

    Returns
    -------
    numpy.ndarray
        ``(365 * 86400 / interval_s,)``, or with columns behind.

    Raises
    ------
    DataError
        If the interval does not divide a day, a stamp is off the grid, or two rows fall on the same place.
    """
    if interval_s <= 0 or DAY_S % interval_s:
        raise DataError(f"{place}: an interval of {interval_s} s does not divide a day")
    leap = np.asarray((stamps.month == 2) & (stamps.day == 29))
    stamps, values = stamps[~leap], values[~leap]
    after = np.asarray(stamps.is_leap_year & (stamps.month > 2))
    second = np.asarray(stamps.hour * 3600 + stamps.minute * 60 + stamps.second)
    slot, off = np.divmod((np.asarray(stamps.dayofyear) - 1 - after) * DAY_S + second, interval_s)
    if off.any():
        raise DataError(f"{place}: {stamps[int(off.argmax())]} does not lie on the grid of {interval_s} s")
    counts = np.bincount(slot, minlength=YEAR_DAYS * DAY_S // interval_s)
    if (counts > 1).any():
        twice = stamps[np.flatnonzero(counts[slot] > 1)[0]]
        raise DataError(f"{place}: more than one row falls on {twice:%d %B %H:%M}; give rows of one year, each once")
    year = np.full((len(counts), *values.shape[1:]), np.nan)
    year[slot] = values
    return year


def refuse_wrong_noon(quantity: str, values: np.ndarray, interval_s: int, place: str) -> None:
    """Refuse a sun that does not shine around noon of local standard time; the year may have gaps.

    Raises
    ------
    DataError
        If it does not.
    """
    found = doubt(quantity, np.where(np.isnan(values), 0.0, values), interval_s, sizes=False)
    if found is not None:
        raise DataError(f"{place}: {found.finding}; the clock of the file is not local standard time")


def read_table(file: Path, **options: object) -> pd.DataFrame:
    """A CSV file, plain or compressed, or a Parquet file.

    Raises
    ------
    DataError
        If it is absent, too large or damaged.
    MissingExtraError
        If a Parquet file needs pyarrow and it is absent.
    """
    import pandas as pd

    if not file.is_file():
        raise DataError(f"{file}: there is no such file")
    if size_of(file) > MOST_BYTES:
        raise DataError(f"{file}: has more than {MOST_BYTES >> 20:,} MiB; keep one year of the homes that you need")
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, encoding="utf-8-sig", **options)  # type: ignore[call-overload, no-any-return]
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", f"reading {file.name}") from error
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: cannot be read ({reason:.200}); give a whole CSV or Parquet file") from error
