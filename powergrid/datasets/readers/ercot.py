"""Texas: yearly workbooks and daily CSV files of ERCOT, settlement point prices, load by zone, wind and solar power.

Hours are named by their end, ``01:00`` to ``24:00``, in the wall clock of Chicago. The spring day has no hour 03:00;
the autumn day has 02:00 twice, and the flag (``DSTFlag``, ``Repeated Hour Flag``) is Y in the second of the two alone,
it does not state that daylight time is on. A few reports count to 25 instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.readers.archives import Member, Paths, csv_table, members, sheets, site
from powergrid.datasets.readers.assemble import Collector, numbers_of, utc_seconds

if TYPE_CHECKING:
    import pandas as pd

ZONE = "America/Chicago"
UTC_OFFSET_H = -6.0
"""Central standard time."""
SOURCE = "ERCOT market information system"
LICENCE = "published by ERCOT, which states no open licence; credit it, and pass on no raw files"

_POINT = ("settlementpoint", "settlementpointname")
_DAY = ("deliverydate", "operday")
_HOUR = ("hourending", "deliveryhour")
_FLAG = ("dstflag", "repeatedhourflag")
_ZONES = {
    **{name: name for name in ("coast", "east", "far_west", "north", "north_c", "southern", "south_c", "west")},
    "farwest": "far_west",
    "fwest": "far_west",
    "ncent": "north_c",
    "south": "southern",
    "scent": "south_c",
    "total": "ercot",
    "ercot": "ercot",
}
"""Site of a load zone by the names that reports have given it, without blanks and underscores."""


def read(paths: Paths, *, year: int | None = None, name: str = "ercot") -> Dataset:
    """Prices [$/MWh], load [MW], and wind and solar generation [MW] of ERCOT's reports.

    Columns are ``price_per_mwh:<settlement point>`` of the day-ahead market, ``price_per_mwh:rtm_<point>`` of 15-min
    real-time settlement, ``load_mw:<zone>`` with ``load_mw:ercot`` for all, ``wind_mw:ercot`` and
    ``solar_mw:ercot``.

    Parameters
    ----------
    paths
        Workbooks (NP4-180-ER, NP6-785-ER), daily CSV files (NP4-190-CD, NP6-905-CD, NP6-345-CD, NP4-732-CD,
        NP4-737-CD), workbooks of native load, their zips, or folders of them.
    year
        Calendar year to cover exactly; by default the days that the files touch.
    name
        Name of the dataset.

    Returns
    -------
    Dataset
        What the source does not have is NaN.

    Raises
    ------
    DataError
        If a file is damaged or is no such report, or files contradict each other.
    MissingExtraError
        If a workbook needs openpyxl and it is absent.
    """
    found = Collector("ERCOT")
    for member in members(paths):
        for place, table in _tables(member):
            _read_table(place, table, found)
    return found.dataset(name, utc_offset_h=UTC_OFFSET_H, source=SOURCE, licence=LICENCE, year=year)


def _tables(member: Member) -> Iterator[tuple[str, pd.DataFrame]]:
    if member.name.endswith(".xlsx"):
        for title, table in sheets(member):
            yield f'{member.place} (sheet "{title}")', table
    elif member.name.endswith((".xls", ".xml")) or member.content.lstrip()[:1] == b"<":
        raise DataError(f"{member.place}: is no CSV file or .xlsx workbook; save it as one of them")
    else:
        yield member.place, csv_table(member, dtype=str)


def _read_table(place: str, table: pd.DataFrame, found: Collector) -> None:
    table = table.rename(columns={name: re.sub(r"[ _]", "", name).lower() for name in table.columns})
    table = table.loc[:, [name for name in table.columns if name]].dropna(how="all").reset_index(drop=True)
    if table.empty:
        return
    day, hour = _first(table, _DAY), _first(table, _HOUR)
    if day is None and _first(table, ("hourending", "hourend")) is not None and _zones(table):
        _native_load(place, table, found)
    elif day is None or hour is None:
        raise DataError(
            f"{place}: is no report that is read (settlement point prices, load, wind or solar power); its columns "
            f"begin with {', '.join(table.columns[:4])}"
        )
    elif _first(table, _POINT) is not None:
        _prices(place, table, day, hour, found)
    elif _zones(table):
        starts = _starts(table, day, hour, 3600, place)
        for zone, column in _zones(table).items():
            found.add(f"load_mw:{zone}", starts, numbers_of(table[column], column, place), 3600, place)
    else:
        _generation(place, table, day, hour, found)


def _prices(place: str, table: pd.DataFrame, day: str, hour: str, found: Collector) -> None:
    import pandas as pd

    point = _first(table, _POINT)
    if point is None or "settlementpointprice" not in table:
        raise DataError(f"{place}: no column with the price of a settlement point")
    quarter = "deliveryinterval" in table
    interval_s = 900 if quarter else 3600
    where = table[point].astype(str).str.strip()
    if "settlementpointtype" in table:  # a zone has a second price there, weighted by energy
        weighted = table["settlementpointtype"].astype(str).str.strip().str.endswith("EW")
        where = where.where(~weighted, where + "_EW")
    starts = _starts(table.assign(settlementpoint=where), day, hour, interval_s, place)
    values = numbers_of(table["settlementpointprice"], "settlementpointprice", place)
    codes, names = pd.factorize(where)
    for k, one in enumerate(names):
        rows = codes == k
        found.add(
            f"price_per_mwh:{'rtm_' if quarter else ''}{site(one)}", starts[rows], values[rows], interval_s, place
        )


def _generation(place: str, table: pd.DataFrame, day: str, hour: str, found: Collector) -> None:
    """Power of all wind or solar plants; forecasts in the same table are left out."""
    column = _first(table, ("systemwidegen", "actualsystemwide", "gensystemwide"))
    kind = next((name for mark, name in (("wgrpp", "wind"), ("pvgrpp", "solar")) if _marked(table, mark)), None)
    if column is None or kind is None:
        raise DataError(
            f"{place}: is no report that is read (settlement point prices, load, wind or solar power); its columns "
            f"begin with {', '.join(table.columns[:4])}"
        )
    starts = _starts(table, day, hour, 3600, place)
    found.add(f"{kind}_mw:ercot", starts, numbers_of(table[column], column, place), 3600, place)


def _native_load(place: str, table: pd.DataFrame, found: Collector) -> None:
    """Yearly native load: one stamp at the end of the hour, ``DST`` behind the second 02:00 of autumn.

    Before 2017 the stamps are cells of dates such as 01:59:59.997, and the spring hour is named by its end, 03:00.
    """
    import pandas as pd

    column = _first(table, ("hourending", "hourend")) or ""
    texts = table[column].astype(str).str.strip()
    second = texts.str.endswith("DST")
    texts = texts.str.removesuffix("DST").str.strip()
    late = texts.str.contains(r"[ T]24:00(?::00)?$", regex=True)
    plain = texts.str.replace(r"([ T])24:00(?::00)?$", r"\g<1>00:00", regex=True)
    american = plain.str.match(r"\d{1,2}/")
    form = "%m/%d/%Y %H:%M" if american.all() else "ISO8601"
    try:
        ends = pd.DatetimeIndex(pd.to_datetime(plain, format=form)).round("min")
    except (ValueError, TypeError) as error:
        raise DataError(f"{place}: a stamp cannot be read ({' '.join(str(error).split()):.120})") from error
    starts = ends + pd.to_timedelta(late.to_numpy().astype(int), unit="D") - pd.Timedelta(hours=1)
    repeated = second.to_numpy() if second.any() else starts.duplicated()
    spring = _in_spring_gap(starts)
    seconds = utc_seconds(starts - pd.to_timedelta(spring.astype(int), unit="h"), ZONE, repeated, place)
    for zone, name in _zones(table).items():
        found.add(f"load_mw:{zone}", seconds, numbers_of(table[name], name, place), 3600, place)


def _in_spring_gap(starts: pd.DatetimeIndex) -> np.ndarray:
    """Whether stamps lie in the hour that spring leaves out, ``(n,)``."""
    shown = starts.tz_localize(ZONE, ambiguous=np.zeros(len(starts), dtype=bool), nonexistent="NaT")
    gap: np.ndarray = np.asarray(shown.isna())
    return gap


def _starts(table: pd.DataFrame, day: str, hour: str, interval_s: int, place: str) -> np.ndarray:
    """Starts of the intervals, seconds since 1970 UTC."""
    import pandas as pd

    written = table[day].astype(str).str.strip()
    codes, unique = pd.factorize(written)
    form = "%m/%d/%Y" if "/" in str(unique[0]) else "ISO8601"
    try:
        dates = pd.DatetimeIndex(pd.to_datetime(pd.Series(unique), format=form))
    except (ValueError, TypeError) as error:
        raise DataError(f"{place}: a date cannot be read ({' '.join(str(error).split()):.120})") from error
    hours = _hours(table[hour], place)
    local = dates.as_unit("s").asi8[codes] + (hours - 1) * 3600
    if "deliveryinterval" in table:
        part = numbers_of(table["deliveryinterval"], "DeliveryInterval", place)
        if not np.isin(part, (1, 2, 3, 4)).all():
            raise DataError(f"{place}: a delivery interval is none of 1, 2, 3 and 4")
        local = local + (part.astype(np.int64) - 1) * interval_s
    if (flag := _first(table, _FLAG)) is not None:
        repeated = table[flag].astype(str).str.strip().str.upper().isin(("Y", "1", "TRUE")).to_numpy()
    else:
        one = table["settlementpoint"] if "settlementpoint" in table else pd.Series("", index=table.index)
        repeated = pd.DataFrame({"local": local, "one": one.to_numpy()}).duplicated().to_numpy()
    counted = np.isin(codes, np.unique(codes[hours == 25]))  # days that count 25 hours instead
    starts = np.empty(len(table), dtype=np.int64)
    if (~counted).any():
        rows = pd.to_datetime(local[~counted], unit="s")
        starts[~counted] = utc_seconds(pd.DatetimeIndex(rows), ZONE, repeated[~counted], place)
    if counted.any():
        midnight = utc_seconds(dates[codes[counted]], ZONE, np.zeros(int(counted.sum()), dtype=bool), place)
        starts[counted] = midnight + local[counted] - dates.as_unit("s").asi8[codes[counted]]
    return starts


def _hours(cells: pd.Series, place: str) -> np.ndarray:
    """Hours that end an interval, 1 to 25, from ``"01:00"``, ``"01"`` or numbers."""
    text = cells.astype(str).str.strip().str.extract(r"^(\d{1,2})(?::00(?::00)?|\.0)?$")[0]
    hours = text.astype(float).to_numpy()
    bad = ~((hours >= 1) & (hours <= 25))
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f'{place}: hour "{cells.iloc[row]!s:.20}" is none of 01:00 to 24:00 (row {row + 2})')
    return hours.astype(np.int64)


def _zones(table: pd.DataFrame) -> dict[str, str]:
    """Columns of load zones by site."""
    known = {name.replace("_", ""): zone for name, zone in _ZONES.items()}
    return {known[name]: name for name in table.columns if name in known}


def _first(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table), None)


def _marked(table: pd.DataFrame, mark: str) -> bool:
    return any(mark in name for name in table.columns)
