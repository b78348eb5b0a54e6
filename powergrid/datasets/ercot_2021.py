"""The embedded year with the ERCOT prices of 2021, the year of the February winter storm: a stress set.

Its calendar begins on 2 January 2021, a Saturday like the first day of the embedded year. Prices therefore keep their
true stamps, and every series keeps its weekdays. The other series are those of the embedded year, day by day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from powergrid.datasets.dataset import Dataset
from powergrid.datasets.embedded import year
from powergrid.plugins.registries import register_dataset


@register_dataset("ercot_2021")
def ercot_2021(
    start: str | date | None = None,
    end: str | date | None = None,
    cache_dir: Path | None = None,
    download: bool = False,
) -> Dataset:
    """The embedded year with the prices of 2 January 2021 to 1 January 2022; nothing is ever downloaded."""
    return year("ercot_2021", "price_2021", datetime(2021, 1, 2, 6, tzinfo=UTC)).clip(start, end)
