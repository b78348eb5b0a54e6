"""New York: NYISO's monthly zips and daily CSV files, locational prices, load by zone and generation by fuel.

Stamps are the wall clock of New York. Where a report has no column ``Time Zone``, the autumn day lists 01:00 twice: all
zones of the first hour, then all of the second; the spring day has no 02:00. Stamps of 5-min prices mark the end of
their interval, all others its start. Congestion has the opposite sign of other markets: ``LBMP = energy + losses -
congestion``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.readers.archives import Member, Paths, csv_table, header_of, members, site
from powergrid.datasets.readers.assemble import Collector, numbers_of, utc_seconds

if TYPE_CHECKING:
    import pandas as pd

ZONE = "America/New_York"
UTC_OFFSET_H = -5.0
"""Eastern standard time."""
SOURCE = "New York ISO"
LICENCE = "published by the New York ISO, which grants no licence; credit it, and pass on no files"
ZONES = (
    *("capitl", "centrl", "dunwod", "genese", "hud_vl", "longil", "mhk_vl", "millwd", "nyc", "north", "west"),
    *("h_q", "npx", "o_h", "pjm"),
)
"""Sites of load zones, then of the neighbours that have prices too."""

_LBMP = "LBMP ($/MWHr)"
_PARTS = {"Marginal Cost Losses ($/MWHr)": "lbmp_losses", "Marginal Cost Congestion ($/MWHr)": "lbmp_congestion"}
_PRICES = {"damlbmp": ("lbmp", 3600, 0), "rtlbmp": ("rt_hourly", 3600, 0), "realtime": ("rt", 300, 300)}
"""Prefix of sites, interval [s] and how far a stamp lies behind the start of its interval [s], by file."""
_INSTANT_S = 300


def read(paths: Paths, *, year: int | None = None, name: str = "nyiso") -> Dataset:
    """Prices [$/MWh], load and generation [MW] of NYISO's files.

    Columns are ``price_per_mwh:lbmp_<zone>`` of the day-ahead market, ``rt_hourly_<zone>`` and ``rt_<zone>`` of hourly
    and 5-min real-time prices; beside each ``lbmp_energy_per_mwh``, ``lbmp_losses_per_mwh`` and
    ``lbmp_congestion_per_mwh``, the last with the sign of NYISO: ``LBMP = energy + losses - congestion``, by which the
    energy is computed; ``load_mw:<zone>`` from palIntegrated, ``load_rt_mw:<zone>`` from pal,
    ``load_forecast_mw:<zone>`` from isolf (the first day of each file), and ``generation_mw:<fuel>`` from rtfuelmix.
    Readings at instants (pal, rtfuelmix) are averaged over 5 min.

    Parameters
    ----------
    paths
        Zips or CSV files under their original names, or folders of them.
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
    """
    found = Collector("NYISO")
    for member in members(paths):
        _read_member(member, found)
    return found.dataset(name, utc_offset_h=UTC_OFFSET_H, source=SOURCE, licence=LICENCE, year=year)


def _read_member(member: Member, found: Collector) -> None:
    header = header_of(member)
    place = member.place
    if "Time Stamp" not in header:
        raise DataError(
            f"{place}: no column Time Stamp; NYISO's files that are read are damlbmp, rtlbmp, realtime, pal, "
            "palIntegrated, isolf and rtfuelmix"
        )
    table = csv_table(member)
    if table.empty:
        return
    if _LBMP in header:
        _prices(member, table, found)
    elif "Integrated Load" in header:
        _long(table, "Name", "Integrated Load", "load_mw", 3600, found, place)
    elif "Load" in header:
        _long(table, "Name", "Load", "load_rt_mw", _INSTANT_S, found, place)
    elif "Gen MW" in header:
        _long(table, "Fuel Category", "Gen MW", "generation_mw", _INSTANT_S, found, place)
    elif "NYISO" in header:
        _forecast(table, found, place)
    else:
        raise DataError(f"{place}: is no report that is read; its columns begin with {', '.join(header[:5])}")


def _prices(member: Member, table: pd.DataFrame, found: Collector) -> None:
    import pandas as pd

    place = member.place
    kind = next((kind for kind in _PRICES if re.match(rf"\d{{8}}{kind}", member.name)), None)
    if kind is None:
        raise DataError(
            f"{place}: the name of a file of prices states its market; give it its own, such as "
            "20190101damlbmp_zone.csv, 20190101rtlbmp_zone.csv or 20190101realtime_zone.csv"
        )
    prefix, interval_s, behind_s = _PRICES[kind]
    names = table["Name"].astype(str).str.strip()
    seconds = _seconds(table, names, behind_s, place)
    if interval_s < 3600:  # runs in between the 5-min grid correct one interval again; the regular run counts
        on_grid = seconds % interval_s == 0
        table, names, seconds = table[on_grid], names[on_grid], seconds[on_grid]
    price = numbers_of(table[_LBMP], _LBMP, place)
    parts = {part: numbers_of(table[column], column, place) for column, part in _PARTS.items()}
    # The energy is a number of cents like its parts; a difference of doubles would have a tail of digits.
    energy = np.round(price - parts["lbmp_losses"] + parts["lbmp_congestion"], 2)
    codes, labels = pd.factorize(names)
    for k, label in enumerate(labels):
        rows, where = codes == k, site(str(label))
        found.add(f"price_per_mwh:{prefix}_{where}", seconds[rows], price[rows], interval_s, place)
        part_site = where if prefix == "lbmp" else f"{prefix}_{where}"
        for part, values in {"lbmp_energy": energy, **parts}.items():
            found.add(f"{part}_per_mwh:{part_site}", seconds[rows], values[rows], interval_s, place)


def _long(
    table: pd.DataFrame, key: str, value: str, quantity: str, interval_s: int, found: Collector, place: str
) -> None:
    """One row for each zone or fuel and time."""
    import pandas as pd

    names = table[key].astype(str).str.strip()
    seconds = _seconds(table, names, 0, place)
    values = numbers_of(table[value], value, place)
    codes, labels = pd.factorize(names)
    for k, label in enumerate(labels):
        rows = codes == k
        at, mean = seconds[rows], values[rows]
        if interval_s == _INSTANT_S:
            at, mean = _means(at, mean, interval_s)
        found.add(f"{quantity}:{site(str(label))}", at, mean, interval_s, place)


def _forecast(table: pd.DataFrame, found: Collector, place: str) -> None:
    """Forecasts of six days, of which the first counts: the others are forecast again the next day."""
    zones = [name for name in table.columns if name not in ("Time Stamp", "Time Zone")]
    day = table["Time Stamp"].astype(str).str.slice(0, 10)
    table = table[day == day.iloc[0]].reset_index(drop=True)
    seconds = _seconds(table, None, 0, place)
    for zone in zones:
        found.add(f"load_forecast_mw:{site(zone)}", seconds, numbers_of(table[zone], zone, place), 3600, place)


def _means(seconds: np.ndarray, values: np.ndarray, interval_s: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the readings within each interval."""
    known = ~np.isnan(values)
    slots, number = np.unique(seconds[known] // interval_s, return_inverse=True)
    total = np.bincount(number, weights=values[known], minlength=len(slots))
    return slots * interval_s, total / np.bincount(number, minlength=len(slots))


def _seconds(table: pd.DataFrame, names: pd.Series | None, behind_s: int, place: str) -> np.ndarray:
    """Starts of the intervals, seconds since 1970 UTC.

    A stamp that marks an end is moved before the clock is resolved in UTC, where all hours have the same length.
    """
    import pandas as pd

    texts = table["Time Stamp"].astype(str).str.strip()
    codes, unique = pd.factorize(texts)
    form = "%m/%d/%Y %H:%M:%S" if str(unique[0]).count(":") == 2 else "%m/%d/%Y %H:%M"
    try:
        times = pd.DatetimeIndex(pd.to_datetime(pd.Series(unique), format=form))
    except (ValueError, TypeError) as error:
        raise DataError(f"{place}: a stamp cannot be read ({' '.join(str(error).split()):.120})") from error
    local = times.as_unit("s").asi8[codes]
    if "Time Zone" in table:
        zone = table["Time Zone"].astype(str).str.strip().str.upper()
        if not zone.isin(("EST", "EDT")).all():
            raise DataError(
                f'{place}: time zone "{zone[~zone.isin(("EST", "EDT"))].iloc[0]:.20}" is neither EST nor EDT'
            )
        known: np.ndarray = local + np.where(zone == "EDT", 4, 5) * 3600 - behind_s
        return known
    clock = pd.DatetimeIndex(pd.to_datetime(local, unit="s"))
    repeated = _second_pass(local, names)
    return utc_seconds(clock, ZONE, repeated, place) - behind_s


def _second_pass(local: np.ndarray, names: pd.Series | None) -> np.ndarray:
    """Whether a row repeats a stamp of its zone, ``(n,)``: in autumn these are the rows of the second hour."""
    import pandas as pd

    series = np.zeros(len(local), dtype=np.int64) if names is None else pd.factorize(names)[0]
    frame = pd.DataFrame({"local": local, "series": series})
    return (frame.groupby(["series", "local"]).cumcount() > 0).to_numpy()
