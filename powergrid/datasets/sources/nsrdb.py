"""NSRDB: sun, air temperature and wind of any place in the Americas, by year, with a free key."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from urllib.parse import quote

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.http import Client, Manners, Remote
from powergrid.datasets.fetching.source import SOURCES, Size, Source
from powergrid.datasets.readers import weather

BASE = "https://developer.nlr.gov/api/nsrdb/v2/solar/nsrdb-GOES-aggregated-v4-0-0-download.csv"
KEY, EMAIL = "NSRDB_API_KEY", "NSRDB_EMAIL"
"""Environment variables of the key and of the address that it was given to."""
FIRST_YEAR = 1998
ATTRIBUTES = "ghi,dni,dhi,air_temperature,wind_speed"
_NUMBER = r"[+-]?\d{1,3}(?:\.\d+)?"


class Nsrdb(Source):
    """Half hours of one place and year, with the power of a plant there."""

    about = "NSRDB: irradiance, temperature, wind and a plant's power at a place, 30 min"
    form, example = "nsrdb:<latitude>,<longitude>,<year>", "nsrdb:39.74,-105.18,2022"
    pattern = re.compile(r"nsrdb:[^:]*")
    licence = weather.LICENCES["nsrdb"]
    where = "NSRDB (nsrdb.nlr.gov)"
    manners = Manners(pause_s=2.0)

    def check(self, name: str) -> None:
        """Refuse other forms, places off the earth and years without data."""
        parts = re.fullmatch(rf"nsrdb:({_NUMBER}), ?({_NUMBER}), ?(\d{{4}})", name)
        if parts is None:
            raise DataError(f'"{name:.60}" is no place and year of NSRDB; write {self.form}, such as {self.example}')
        latitude, longitude, year = float(parts[1]), float(parts[2]), int(parts[3])
        if not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
            raise DataError(
                f"{name}: latitude lies between -90 and 90, longitude between -180 and 180 degrees, west negative"
            )
        last = date.today().year - 1
        if not FIRST_YEAR <= year <= last:
            raise DataError(
                f"{name}: NSRDB has the years {FIRST_YEAR} to {last}, nearest is {min(max(year, FIRST_YEAR), last)}"
            )

    def size(self, name: str) -> Size:
        """One table."""
        return Size(1, 1.0)

    def remotes(self, name: str, client: Client) -> Sequence[Remote]:
        """One table in local standard time, with the key of the environment in its address."""
        latitude, longitude, year = _place(name)
        missing = [variable for variable in (KEY, EMAIL) if not os.environ.get(variable)]
        if missing:
            raise DataError(
                f"{name}: NSRDB needs a key, free from developer.nlr.gov/signup; set the environment variables {KEY} "
                f"and {EMAIL} ({' and '.join(missing)} not set)"
            )
        url = (
            f"{BASE}?wkt=POINT({longitude:g}+{latitude:g})&names={year}&attributes={ATTRIBUTES}&leap_day=true&utc=false"
            f"&interval=30&email={quote(os.environ[EMAIL])}&api_key={quote(os.environ[KEY])}"
        )
        return [Remote(url, f"nsrdb_{latitude:g}_{longitude:g}_{year}.csv", fault=fault)]

    def read(self, files: Sequence[Path], name: str) -> Dataset:
        """A calendar year of local standard time, with ``pv_pu`` of a plant."""
        latitude, longitude, year = _place(name)
        if len(files) != 1:
            raise DataError(f"{name}: one file is expected in {files[0].parent}, there are {len(files)}")
        return weather.with_pv(weather.read(files[0], "nsrdb", year=year, name=name), latitude, longitude)


def fault(file: Path) -> str:
    """A sentence if a download is no table of NSRDB."""
    head = file.read_bytes()[:400].decode("utf-8", "replace")
    return (
        ""
        if head.startswith("Source,")
        else f"what the server sends is no table of NSRDB: {' '.join(head.split()):.120}"
    )


def _place(name: str) -> tuple[float, float, int]:
    latitude, longitude, year = name.removeprefix("nsrdb:").split(",")
    return float(latitude), float(longitude), int(year)


SOURCES.register("nsrdb")(Nsrdb())
