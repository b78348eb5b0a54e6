"""California ISO: actual load, solar and wind generation, and day-ahead prices of the three trading hubs, by year."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from zipfile import ZipFile

from powergrid.core.npz import ArchiveError, open_archive
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.http import Client, Manners, Remote
from powergrid.datasets.fetching.source import SOURCES, Size, YearSource
from powergrid.datasets.readers import caiso

BASE = "https://oasis.caiso.com/oasisapi/SingleZip"
NODES = ("TH_NP15_GEN-APND", "TH_SP15_GEN-APND", "TH_ZP26_GEN-APND")
QUERIES = {
    "SLD_FCST": "version=1&market_run_id=ACTUAL",
    "SLD_REN_FCST": "version=1&market_run_id=ACTUAL",
    "PRC_LMP": f"version=12&market_run_id=DAM&node={','.join(NODES)}",
}
"""Parameters of each report."""


class Caiso(YearSource):
    """OASIS, at most 31 days and one request in 5 s."""

    about = "CAISO: load, solar and wind [MW], day-ahead prices of NP15, SP15 and ZP26, hourly"
    form, example = "caiso_<year>", "caiso_2024"
    prefix, first_year = "caiso", 2010
    pattern = re.compile(r"caiso_\d{4}")
    licence = caiso.LICENCE
    where = "CAISO OASIS (oasis.caiso.com)"
    first = ("price_per_mwh:lmp_np15", "load_mw:ca_iso", "load_p_pu:ca_iso", "load_q_pu:ca_iso")
    manners = Manners(pause_s=5.0, backoff_s=10.0)

    def size(self, name: str) -> Size:
        """Three reports a month."""
        return Size(12 * len(QUERIES), 60.0)

    def remotes(self, name: str, client: Client) -> Sequence[Remote]:
        """One archive for each report and month, from one midnight of Pacific standard time to another."""
        year = self.year(name)
        found = []
        for month in range(1, 13):
            begin, end = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
            span = f"startdatetime={begin:%Y%m%d}T08:00-0000&enddatetime={end:%Y%m%d}T08:00-0000"
            for query, more in QUERIES.items():
                url = f"{BASE}?queryname={query}&{span}&resultformat=6&{more}"
                found.append(Remote(url, f"{begin:%Y%m%d}_{end:%Y%m%d}_{query}.zip", fault=fault))
        return found

    def read(self, files: Sequence[Path], name: str) -> Dataset:
        """A calendar year of Pacific standard time."""
        return caiso.read(files, year=self.year(name), name=name)


def fault(file: Path) -> str:
    """A sentence if a download is no archive of data; OASIS sends its errors as XML inside one."""
    try:
        with open_archive(file) as archive:
            return _fault_inside(archive)
    except (ArchiveError, OSError) as error:
        return f"what CAISO sends is no archive ({error})"


def _fault_inside(archive: ZipFile) -> str:
    for entry in archive.infolist():
        if entry.filename.endswith(".xml"):
            with archive.open(entry) as stream:
                told = caiso.oasis_fault(stream.read(1 << 16))
            return told or f"CAISO sends the XML {entry.filename:.80} in place of a table"
    return "" if archive.infolist() else "CAISO sends an empty archive"


SOURCES.register("caiso")(Caiso())
