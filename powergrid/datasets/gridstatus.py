"""Tables of gridstatus as datasets: any market that the library knows, once somebody has asked it for a table.

gridstatus names intervals ``Interval Start`` and ``Interval End`` with a time zone, places ``Location`` or by column,
prices ``LMP``, ``Energy``, ``Congestion`` and ``Loss`` [$/MWh], and powers without a unit [MW].
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.readers.archives import site
from powergrid.datasets.readers.assemble import Collector, numbers_of

if TYPE_CHECKING:
    import pandas as pd

_START, _END = "Interval Start", "Interval End"
_PRICES = {
    "LMP": "price_per_mwh",
    "SPP": "price_per_mwh",
    "Energy": "lmp_energy_per_mwh",
    "Congestion": "lmp_congestion_per_mwh",
    "Loss": "lmp_losses_per_mwh",
    "GHG": "lmp_ghg_per_mwh",
}
_PLACES = ("Location", "Zone", "Area", "TAC Name", "Settlement Point")
_LEFT_OUT = ("Time", _START, _END, "Market", "Location Type", "Location Id", "Location Short Name", "Publish Time")
_SOURCE = "gridstatus, which reads the markets' own tables"


def from_gridstatus(
    frame: pd.DataFrame,
    name: str = "gridstatus",
    *,
    source: str = _SOURCE,
    licence: str = "by the market that published the data",
    year: int | None = None,
) -> Dataset:
    """A dataset of a table that a method of gridstatus such as ``get_lmp`` or ``get_load`` has returned.

    A table of prices gives ``price_per_mwh:<location>`` and its parts; a column ``Load`` gives ``load_mw:<place>``; any
    other column of numbers is a power, ``<name>_mw:system``, as in a fuel mix. Days begin by the standard time of the
    table's own zone.

    Parameters
    ----------
    frame
        The table, intervals in a time zone, in any order.
    name, source, licence
        Of the dataset.
    year
        Calendar year to cover exactly; by default the days that the table touches.

    Raises
    ------
    DataError
        If there are no intervals, no time zone or no numbers, several markets stand in one table, or values contradict
        each other.
    """
    import pandas as pd

    missing = [column for column in (_START, _END) if column not in frame]
    if missing:
        raise DataError(f"{name}: no column {' and '.join(missing)}; give a table of gridstatus with its intervals")
    if not len(frame):
        raise DataError(f"{name}: the table has no rows; ask for other days or places")
    begin, end = pd.DatetimeIndex(frame[_START]), pd.DatetimeIndex(frame[_END])
    if begin.tz is None or end.tz is None:
        raise DataError(f"{name}: {_START} and {_END} have no time zone, so that clock changes are unclear")
    if "Market" in frame and frame["Market"].nunique() > 1:
        markets = ", ".join(sorted(map(str, frame["Market"].unique())))
        raise DataError(f"{name}: several markets ({markets}) stand in one table; choose the rows of one")
    seconds = begin.tz_convert("UTC").tz_localize(None).as_unit("s").asi8
    lengths = np.unique(end.tz_convert("UTC").tz_localize(None).as_unit("s").asi8 - seconds)
    if len(lengths) != 1:
        raise DataError(f"{name}: intervals of {lengths[0]} s and {lengths[-1]} s stand in one table; choose one kind")
    winter = pd.Timestamp(begin[0].year, 1, 1, tz=begin.tz).utcoffset()
    summer = pd.Timestamp(begin[0].year, 7, 1, tz=begin.tz).utcoffset()
    offset_h = min(one.total_seconds() for one in (winter, summer) if one is not None) / 3600.0
    found = Collector(name)
    place = next((column for column in _PLACES if column in frame), None)
    where = frame[place].astype(str) if place else pd.Series("system", index=frame.index)
    codes, labels = pd.factorize(where)
    priced = any(column in frame for column in ("LMP", "SPP"))
    for column in map(str, frame.columns):
        if column in (*_LEFT_OUT, place) or not pd.api.types.is_numeric_dtype(frame[column]):
            continue
        quantity = _PRICES.get(column, "") if priced else _power(column)
        if not quantity:
            continue
        values = numbers_of(frame[column], column, name)
        for k, label in enumerate(labels):
            rows = codes == k
            found.add(f"{quantity}:{site(str(label))}", seconds[rows], values[rows], int(lengths[0]), name)
    if not found:
        raise DataError(f"{name}: no column of prices or powers; its columns: {', '.join(map(str, frame.columns))}")
    return found.dataset(name, utc_offset_h=offset_h, source=source, licence=licence, year=year)


def _power(column: str) -> str:
    """Quantity of a column of powers; an empty text for numbers of other kinds."""
    if re.search(r"price|lmp|\bid\b|hour|percent", column, re.IGNORECASE):
        return ""
    return f"{site(column)}_mw"
