"""Simulated buildings of ResStock and ComStock: one Parquet or CSV file each, energy in 15 minutes.

Stamps mark the ends of intervals (the first is 00:15). The releases state by which clock: where it is not the local
standard time of the building, `shift_h` moves the stamps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.readers.homes import Homes, in_year, label, per_unit, read_table, refuse_wrong_noon
from powergrid.datasets.resample import Series

_TOTAL = re.compile(r"out\.electricity\.total\.energy_consumption(\.\.kwh)?")
_SUN = re.compile(r"out\.electricity\.pv\.energy_consumption(\.\.kwh)?")
_NEEDED = "timestamp and out.electricity.total.energy_consumption"


def read(files: Iterable[str | os.PathLike[str]], *, shift_h: float = 0.0) -> Homes:
    """Buildings of ResStock or ComStock.

    Load is ``out.electricity.total.energy_consumption`` [kWh], which does not contain generation; that is
    ``out.electricity.pv.energy_consumption``, negative in the files.

    Parameters
    ----------
    files
        One file for each building, ``<building>-<upgrade>.parquet``, or as CSV.
    shift_h
        Local standard time minus the clock of the stamps [h]: -1 for Texas where stamps are Eastern Standard Time.

    Raises
    ------
    DataError
        If a file has another form, or the sun does not shine around noon.
    MissingExtraError
        If Parquet cannot be read.
    """
    import pandas as pd

    series: dict[str, Series] = {}
    ratings: dict[str, float] = {}
    names, notes = [], []
    for path in map(Path, files):
        table = read_table(path)
        total, sun = (next((name for name in table if form.fullmatch(str(name))), None) for form in (_TOTAL, _SUN))
        if "timestamp" not in table or total is None:
            raise DataError(f"{path}: no column {_NEEDED}; this is no file of ResStock or ComStock")
        stamps = pd.DatetimeIndex(pd.to_datetime(table["timestamp"]))
        if len(stamps) < 2:
            raise DataError(f"{path}: {len(stamps)} rows; give a year")
        interval_s = int(np.median(np.diff(np.unique(stamps.as_unit("s").asi8))))
        hours = interval_s / 3600.0
        begins = stamps - timedelta(seconds=interval_s) + timedelta(hours=shift_h)
        name, home = path.name.partition(".")[0], label(path.name.partition(".")[0])
        power = in_year(begins, table[total].to_numpy(float) / hours, interval_s, str(path))
        load_pu, rating_kw = per_unit(power, f"{path}, column {total}")
        series[f"load_p_pu:{home}"], ratings[f"load_p_pu:{home}"] = Series(load_pu, interval_s), rating_kw
        notes.append(f"{name}: 1 per unit of load is {rating_kw:.3f} kW")
        if sun is not None and (generated := -table[sun].to_numpy(float)).any():
            pv, pv_kw = per_unit(in_year(begins, generated / hours, interval_s, str(path)), f"{path}, column {sun}")
            refuse_wrong_noon("pv_pu", pv, interval_s, f"{path}, column {sun}")
            series[f"pv_pu:{home}"], ratings[f"pv_pu:{home}"] = Series(pv, interval_s), pv_kw
        names.append(name)
    if not names:
        raise DataError("no file is given; name those of the buildings")
    return Homes(
        series,
        ratings,
        source=f"ResStock/ComStock, simulated: {', '.join(names)}",
        licence="as the release states (CC BY 4.0 for the end-use load profiles)",
        notes=tuple(notes),
    )
