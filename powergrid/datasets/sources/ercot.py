"""ERCOT: day-ahead prices of hubs and load zones, by year, from the yearly workbook."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.http import Client, Manners, Remote
from powergrid.datasets.fetching.source import SOURCES, Size, YearSource
from powergrid.datasets.readers import ercot
from powergrid.datasets.sources.nyiso import fault

BASE = "https://www.ercot.com"
REPORT = 13060
"""Type of the report "Historical DAM Load Zone and Hub Prices" (NP4-180-ER)."""


class Ercot(YearSource):
    """The list of documents of a report, then the workbook of the year."""

    about = "ERCOT: day-ahead prices of hubs and load zones, hourly"
    form, example = "ercot_<year>", "ercot_2020"
    prefix, first_year = "ercot", 2011
    pattern = re.compile(r"ercot_\d{4}")
    licence = ercot.LICENCE
    where = "ERCOT (www.ercot.com, report NP4-180-ER)"
    first = ("price_per_mwh:hb_hubavg", "load_mw:ercot", "load_p_pu:ercot", "load_q_pu:ercot")
    manners = Manners(pause_s=1.0)

    def size(self, name: str) -> Size:
        """One workbook."""
        return Size(1, 6.0)

    def remotes(self, name: str, client: Client) -> Sequence[Remote]:
        """The newest workbook of the year."""
        address = f"{BASE}/misapp/servlets/IceDocListJsonWS?reportTypeId={REPORT}"
        try:
            listed = json.loads(client.text(address))["ListDocsByRptTypeRes"]["DocumentList"]
            documents = [one["Document"] for one in (listed if isinstance(listed, list) else [listed])]
            found = [
                (str(one["PublishDate"]), str(one["DocID"]))
                for one in documents
                if re.search(rf"_{self.year(name)}\b", str(one["FriendlyName"]))
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{address}: the list of ERCOT's documents has another form than expected") from error
        if not found:
            years = sorted({year for one in documents for year in re.findall(r"_(\d{4})\b", str(one["FriendlyName"]))})
            raise DataError(f"ERCOT lists no workbook of {self.year(name)}, only {', '.join(years) or 'none'}")
        url = f"{BASE}/misdownload/servlets/mirDownload?doclookupId={max(found)[1]}"
        return [Remote(url, f"DAMLZHBSPP_{self.year(name)}.zip", fault=fault)]

    def read(self, files: Sequence[Path], name: str) -> Dataset:
        """A calendar year of Central standard time."""
        return ercot.read(files, year=self.year(name), name=name)


SOURCES.register("ercot")(Ercot())
