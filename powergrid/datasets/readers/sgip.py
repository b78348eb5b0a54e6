"""Marginal emission rates of the Self-Generation Incentive Program of California (SGIP): monthly files, 5 minutes, UTC.

A file has the columns ``time`` (with an offset) and ``moer`` (kg CO2 per kWh, which are t/MWh); others, such as
forecasts, are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.cleaning import clean
from powergrid.datasets.readers.homes import Homes, in_year, label, read_table
from powergrid.datasets.resample import Series

_COLUMNS = ("time", "moer")
_MOST_T_PER_MWH = 3.0
"""More than any power station emits [t/MWh]."""


def read(
    files: Iterable[str | os.PathLike[str]], *, year: int | None = None, utc_offset_h: float = -8.0, site: str = "sgip"
) -> Homes:
    """A year of marginal emission rates as ``carbon_t_per_mwh``; what no file has stays NaN.

    Parameters
    ----------
    files
        CSV files, plain or compressed, in any order. They may overlap where they agree.
    year
        Calendar year of local standard time; by default the one that most rows lie in.
    utc_offset_h
        Local standard time minus UTC [h].
    site
        Name of the column's site.

    Raises
    ------
    DataError
        If a file has another form, files disagree, or a rate is beyond what a power station emits.
    """
    import pandas as pd

    tables = []
    for path in map(Path, files):
        table = read_table(path)
        if missing := [name for name in _COLUMNS if name not in table]:
            raise DataError(f"{path}: no column {', '.join(missing)}; this is no file of marginal emission rates")
        try:
            stamps = pd.DatetimeIndex(pd.to_datetime(table["time"], utc=True))
            rates = pd.to_numeric(table["moer"]).to_numpy(float)
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {' '.join(str(error).split()):.200}; give stamps and numbers") from error
        if (wrong := np.abs(rates) > _MOST_T_PER_MWH).any():
            raise DataError(
                f"{path}: a rate of {rates[wrong][0]:g} at {stamps[wrong][0]} is beyond {_MOST_T_PER_MWH:g} t/MWh; "
                "rates are in kg/kWh"
            )
        tables.append(pd.DataFrame({"carbon_t_per_mwh:x": rates}, index=stamps))
    if not tables:
        raise DataError("no file is given; name those of the months")
    frame = pd.concat(tables)
    local = (pd.DatetimeIndex(frame.index).tz_localize(None) + timedelta(hours=utc_offset_h)).year
    chosen = int(np.bincount(local).argmax()) if year is None else year
    steps: list[str | Mapping[str, object]] = [
        "order",
        "duplicates",
        {"year": {"year": chosen, "utc_offset_h": utc_offset_h}},
    ]
    found = clean(frame, steps)
    begins = found.table.stamps.tz_localize(None) + timedelta(hours=utc_offset_h)
    interval_s = found.table.interval_s()
    values = in_year(begins, found.frame.iloc[:, 0].to_numpy(), interval_s, "marginal emission rates")
    missing_share = np.isnan(values).mean()
    note = f"{chosen}: {np.nanmean(values):.4f} t/MWh on average; {missing_share:.1%} of the year missing"
    return Homes(
        {f"carbon_t_per_mwh:{label(site)}": Series(values, interval_s)},
        {},
        source="marginal emission rates in the form of the Self-Generation Incentive Program (SGIP)",
        licence="as the source of the files states",
        notes=(note, *(str(done) for done in found.report)),
    )
