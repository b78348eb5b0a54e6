"""Homes of Pecan Street Dataport, from the user's own copy: its licence forbids to pass the data on.

A file such as ``15minute_data_austin.csv`` has one row for each home and interval: ``dataid``, ``local_15min`` with an
offset of whole hours that changes with the clock (``2018-03-01 00:00:00-06``), and mean powers [kW]. Stamps mark the
starts of intervals. ``grid`` is negative for export, so that the load is ``grid + solar + solar2``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.datasets.cleaning import clean
from powergrid.datasets.readers.homes import Homes, in_year, per_unit, read_table, refuse_wrong_noon
from powergrid.datasets.resample import Series

LICENCE = "Pecan Street Dataport: for the holder of an agreement alone; do not pass on the data, nor files made of them"
_SUN = ("solar", "solar2")


def read(
    file: str | os.PathLike[str],
    homes: Sequence[int | str] = (),
    *,
    year: int | None = None,
    utc_offset_h: float = -6.0,
) -> Homes:
    """Homes of a file of Pecan Street; what is missing stays NaN.

    Parameters
    ----------
    file
        The user's copy, plain or compressed.
    homes
        Numbers (``dataid``); all homes of the file where empty.
    year
        Calendar year; by default the only one of the file.
    utc_offset_h
        Local standard time minus UTC [h]: -6 for Austin, -5 for New York, -8 for California.

    Raises
    ------
    DataError
        If the file has another form or several years, a home has no value, or the sun does not shine around noon.
    """
    import pandas as pd

    path = Path(file)
    table = read_table(path, low_memory=False)
    time = next((str(name) for name in table if str(name).startswith("local_")), None)
    if missing := [name for name in ("dataid", "grid") if name not in table] + ([] if time else ["local_15min"]):
        raise DataError(f"{path}: no column {', '.join(missing)}; this is no file of Pecan Street")
    known = {str(number): rows for number, rows in table.groupby("dataid")}
    for home in map(str, homes):
        if home not in known:
            raise unknown_name("home", home, known)
    series: dict[str, Series] = {}
    ratings: dict[str, float] = {}
    notes = []
    for home in map(str, homes or known):
        rows, place = known[home], f"{path}, home {home}"
        try:
            stamps = pd.to_datetime(rows[time] + ":00", utc=True)  # their offset has hours only
        except (ValueError, TypeError) as error:
            raise DataError(f"{place}: stamps such as {rows[time].iloc[0]!s:.40} cannot be read") from error
        local = pd.DatetimeIndex(stamps).tz_localize(None) + timedelta(hours=utc_offset_h)
        years = np.unique(local.year)
        if year is None and len(years) > 1:
            raise DataError(f"{place}: has rows of {years[0]} to {years[-1]}; give the year")
        columns = ["grid", *(name for name in _SUN if name in rows)]
        frame = pd.DataFrame(rows[columns].to_numpy(float), local, [f"{name}_mw:x" for name in columns])
        chosen = int(years[0]) if year is None else year
        found = clean(frame, ["order", {"duplicates": "first"}, {"year": chosen}])
        interval_s = found.table.interval_s()
        values = in_year(found.table.stamps, found.frame.to_numpy(), interval_s, place)
        sun = values[:, 1:]
        generated = np.where(np.isnan(sun).all(axis=0), 0.0, sun).sum(axis=1)  # a home without modules has blanks
        load_pu, rating_kw = per_unit(values[:, 0] + generated, f"{place}, load")
        series[f"load_p_pu:home_{home}"], ratings[f"load_p_pu:home_{home}"] = Series(load_pu, interval_s), rating_kw
        if np.nanmax(generated) > 0.0:
            pv, pv_kw = per_unit(generated, f"{place}, solar")
            pv = np.where(pv < 0.0, 0.0, pv)  # what inverters draw at night is part of the load
            refuse_wrong_noon("pv_pu", pv, interval_s, f"{place}, solar")
            series[f"pv_pu:home_{home}"], ratings[f"pv_pu:home_{home}"] = Series(pv, interval_s), pv_kw
        gaps = int(np.isnan(load_pu).sum())
        notes.append(f"home {home}, {chosen}: 1 per unit of load is {rating_kw:.3f} kW; {gaps:,} values missing")
    return Homes(series, ratings, f"Pecan Street Dataport, {path.name}, the user's own copy", LICENCE, tuple(notes))
