"""California: archives of CAISO's OASIS, load, renewable generation and locational prices.

A zip has one CSV. Its rows are in no order; their times are those of ``INTERVALSTARTTIME_GMT``, since ``OPR_HR`` counts
2 after 1 in spring and places hour 25 between 2 and 3 in autumn. The column named ``MW`` contains prices in $/MWh where
the report is one of prices. Solar plants draw a little power at night, so that their generation is negative then.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.readers.archives import Member, Paths, csv_table, header_of, members, site
from powergrid.datasets.readers.assemble import Collector, numbers_of, seconds_of

if TYPE_CHECKING:
    import pandas as pd

UTC_OFFSET_H = -8.0
"""Pacific standard time."""
SOURCE = "California ISO OASIS"
LICENCE = "published by the California ISO, which states no open licence; credit it, and pass on no raw files"
PARTS = {"LMP": "price", "MCE": "lmp_energy", "MCC": "lmp_congestion", "MCL": "lmp_losses", "MGHG": "lmp_ghg"}
"""Quantity of each part of a price; ``LMP = MCE + MCC + MCL + MGHG``."""

_START, _END = "INTERVALSTARTTIME_GMT", "INTERVALENDTIME_GMT"
_KEYS = (_START, _END, "TAC_AREA_NAME", "TRADING_HUB", "RENEWABLE_TYPE", "LMP_TYPE", "NODE", "NODE_ID", "MARKET_RUN_ID")
_VALUES = ("MW", "PRC", "VALUE")


def read(paths: Paths, *, year: int | None = None, name: str = "caiso") -> Dataset:
    """Load [MW], solar and wind generation [MW] and prices [$/MWh] of OASIS archives.

    Columns are ``load_mw:<area>``, ``solar_mw:<hub>`` and ``wind_mw:<hub>``, with ``_dam`` and the like before the
    unit where they are forecasts; ``price_per_mwh:lmp_<node>`` of the day-ahead market, and ``rtpd_<node>`` and
    ``rtm_<node>`` of the 15-min and 5-min markets; ``lmp_energy_per_mwh``, ``lmp_congestion_per_mwh``,
    ``lmp_losses_per_mwh`` and ``lmp_ghg_per_mwh``, whose sum is the price. ``TH_NP15_GEN-APND`` has the site ``np15``.

    Parameters
    ----------
    paths
        Zips or CSV files of the reports SLD_FCST, SLD_REN_FCST, PRC_LMP, PRC_RTPD_LMP and PRC_INTVL_LMP, or folders.
    year
        Calendar year to cover exactly; by default the days that the files touch.
    name
        Name of the dataset.

    Returns
    -------
    Dataset
        Hours and shorter intervals that the source does not have are NaN.

    Raises
    ------
    DataError
        If a file is damaged, is no such report or contains the error message of OASIS, or files contradict each other.
    """
    found = Collector("CAISO")
    for member in members(paths):
        _read_member(member, found)
    return found.dataset(name, utc_offset_h=UTC_OFFSET_H, source=SOURCE, licence=LICENCE, year=year)


def oasis_fault(content: bytes) -> str:
    """The message inside an XML that OASIS sends in place of data; an empty text where there is none."""
    code = re.search(rb"<(?:\w+:)?ERR_CODE>\s*([^<]{0,40}?)\s*</", content)
    if code is None:
        return ""
    text = re.search(rb"<(?:\w+:)?ERR_DESC>\s*([^<]{0,300}?)\s*</", content)
    described = text[1].decode("utf-8", "replace") if text else "no description"
    return f"CAISO answers with error {code[1].decode('utf-8', 'replace')}: {' '.join(described.split())}"


def node_site(node: str) -> str:
    """Site of a node; trading hubs and load aggregation points have short ones (``np15``, ``pge``)."""
    short = re.fullmatch(r"TH_(\w+?)_GEN-APND|DLAP_(\w+?)-APND", node)
    return site(next(filter(None, short.groups()))) if short else site(node)


def _read_member(member: Member, found: Collector) -> None:
    if fault := oasis_fault(member.content[:65536]):
        raise DataError(f"{member.place}: {fault}; ask for other days, nodes or reports")
    if member.name.endswith(".xml") or member.content.lstrip()[:1] == b"<":
        raise DataError(f"{member.place}: is XML; fetch OASIS reports as CSV (resultformat=6)")
    header = header_of(member)
    value = next((column for column in _VALUES if column in header), None)
    kind = next((key for key in ("LMP_TYPE", "RENEWABLE_TYPE", "TAC_AREA_NAME") if key in header), None)
    if value is None or kind is None or _START not in header or _END not in header:
        raise DataError(
            f"{member.place}: is no report that is read (SLD_FCST, SLD_REN_FCST, PRC_LMP, PRC_RTPD_LMP, "
            f"PRC_INTVL_LMP); its columns begin with {', '.join(header[:4])}"
        )
    table = csv_table(member, [*_KEYS, value], dtype={"MARKET_RUN_ID": str, "NODE": str, "NODE_ID": str})
    if table.empty:
        return
    seconds = seconds_of(table[_START], "ISO8601", member.place)
    interval_s = _interval(seconds_of(table[_END], "ISO8601", member.place) - seconds, member.place)
    values = numbers_of(table[value], value, member.place)
    names = _names(table, kind, member.place)
    codes, labels = names.cat.codes.to_numpy(), names.cat.categories
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    for k, label in enumerate(labels):
        rows = order[edges[k] : edges[k + 1]]
        if label and len(rows):
            found.add(label, seconds[rows], values[rows], interval_s, member.place)


def _names(table: pd.DataFrame, kind: str, place: str) -> pd.Series:
    """Column of each row as a category; an empty text for rows that are left out."""
    run = table["MARKET_RUN_ID"].fillna("").str.upper() if "MARKET_RUN_ID" in table else "ACTUAL"
    if kind == "LMP_TYPE":
        where = table["NODE"] if "NODE" in table else table["NODE_ID"]
        keys = [table["LMP_TYPE"], where.fillna(""), run]
        make: Callable[..., str] = _price_name
    elif kind == "RENEWABLE_TYPE":
        keys = [table["RENEWABLE_TYPE"], table["TRADING_HUB"], run]
        make = _renewable_name
    else:
        keys = [table["TAC_AREA_NAME"].str.replace(r"-TAC$", "", regex=True), run]
        make = _load_name
    import pandas as pd

    frame = pd.concat([pd.Series(key, index=table.index) for key in keys], axis=1)
    groups = frame.groupby(list(frame.columns), sort=False, dropna=False)
    number = groups.ngroup().to_numpy()
    firsts = frame.iloc[np.unique(number, return_index=True)[1]]
    labels = pd.Index([make(*map(str, row), place) for row in firsts.to_numpy().tolist()])
    return pd.Series(pd.Categorical(labels[number]))


def _price_name(part: str, node: str, run: str, place: str) -> str:
    quantity = PARTS.get(part)
    if quantity is None:
        raise DataError(f'{place}: "{part:.20}" is no part of a price; known: {", ".join(PARTS)}')
    market = {"DAM": "lmp", "RTM": "rtm", "RTPD": "rtpd", "HASP": "hasp"}.get(run, site(run) or "lmp")
    where = node_site(node)
    if quantity == "price":
        return f"price_per_mwh:{market}_{where}"
    return f"{quantity}_per_mwh:{where if market == 'lmp' else f'{market}_{where}'}"


def _renewable_name(kind: str, hub: str, run: str, place: str) -> str:
    return f"{site(kind)}{_forecast(run)}_mw:{site(hub)}"


def _load_name(area: str, run: str, place: str) -> str:
    return f"load{_forecast(run)}_mw:{site(area)}"


def _forecast(run: str) -> str:
    return "" if run in ("ACTUAL", "") else f"_{site(run)}"


def _interval(lengths: np.ndarray, place: str) -> int:
    found = np.unique(lengths)
    if len(found) != 1:
        raise DataError(f"{place}: intervals of {found[0]} s and {found[-1]} s stand in one report")
    return int(found[0])
