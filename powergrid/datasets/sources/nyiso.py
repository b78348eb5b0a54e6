"""New York ISO: integrated load, day-ahead prices by zone, and generation by fuel, by year."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from powergrid.core.npz import ArchiveError, open_archive
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.http import Client, Manners, Remote
from powergrid.datasets.fetching.source import SOURCES, Size, YearSource
from powergrid.datasets.readers import nyiso

BASE = "https://mis.nyiso.com/public/csv"
SETS = {"damlbmp": "damlbmp_zone", "palIntegrated": "palIntegrated", "rtfuelmix": "rtfuelmix"}
"""File of each folder."""
FUEL_MIX_SINCE = 2016
"""First year with generation by fuel."""


class Nyiso(YearSource):
    """Monthly archives of daily files."""

    about = "NYISO: load [MW] and day-ahead prices of 11 zones, hourly; generation [MW] of 7 fuels, 5 min"
    form, example = "nyiso_<year>", "nyiso_2019"
    prefix, first_year = "nyiso", 2005
    pattern = re.compile(r"nyiso_\d{4}")
    licence = nyiso.LICENCE
    where = "NYISO (mis.nyiso.com/public)"
    first = ("price_per_mwh:lbmp_nyc", "load_mw:nyc", "load_p_pu:nyc", "load_q_pu:nyc")
    manners = Manners(pause_s=1.0)

    def size(self, name: str) -> Size:
        """Three archives a month, two before there was generation by fuel."""
        recent = self.year(name) >= FUEL_MIX_SINCE
        return Size(36 if recent else 24, 25.0 if recent else 10.0)

    def remotes(self, name: str, client: Client) -> Sequence[Remote]:
        """One archive for each set and month."""
        year = self.year(name)
        sets = {key: file for key, file in SETS.items() if key != "rtfuelmix" or year >= FUEL_MIX_SINCE}
        names = [(key, f"{year}{month:02d}01{file}_csv.zip") for month in range(1, 13) for key, file in sets.items()]
        return [Remote(f"{BASE}/{key}/{file}", file, fault=fault) for key, file in names]

    def read(self, files: Sequence[Path], name: str) -> Dataset:
        """A calendar year of Eastern standard time."""
        return nyiso.read(files, year=self.year(name), name=name)


def fault(file: Path) -> str:
    """A sentence if a download is no archive."""
    try:
        with open_archive(file) as archive:
            return "" if archive.infolist() else "the archive is empty"
    except (ArchiveError, OSError) as error:
        return f"what the server sends is no archive ({error})"


SOURCES.register("nyiso")(Nyiso())
