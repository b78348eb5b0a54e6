"""What a source of downloadable data states of itself: names, addresses, sizes, licence, and how its files are read."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import ClassVar, NamedTuple

from powergrid.core.errors import DataError
from powergrid.core.registry import Registry
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.fetching.http import Client, Manners, Remote


class Size(NamedTuple):
    """Size of a download: number of files, and about how many MB."""

    files: int
    megabytes: float


class Source(ABC):
    """A source, with one dataset for each year or place."""

    about: ClassVar[str]
    """What it has, in one line."""
    form: ClassVar[str]
    """Form of its names, such as ``caiso_<year>``."""
    example: ClassVar[str]
    """One of its names."""
    pattern: ClassVar[re.Pattern[str]]
    """Names that belong to it, right or wrong."""
    licence: ClassVar[str]
    """Terms of the data."""
    where: ClassVar[str]
    """Where a person gets the files by hand."""
    manners: ClassVar[Manners]
    """How its server wants to be treated."""
    first: ClassVar[tuple[str, ...]] = ()
    """Columns that stand first of their quantity, for whoever names a quantity alone."""

    @abstractmethod
    def check(self, name: str) -> None:
        """Refuse a name that the source has no data for.

        Raises
        ------
        DataError
            With what it has.
        """

    @abstractmethod
    def size(self, name: str) -> Size:
        """Size of the download of a dataset."""

    @abstractmethod
    def remotes(self, name: str, client: Client) -> Sequence[Remote]:
        """Files of a dataset.

        Raises
        ------
        DataError
            If the source does not have them, or needs a key that is not there.
        """

    @abstractmethod
    def read(self, files: Sequence[Path], name: str) -> Dataset:
        """The dataset in its files, as the source has it: gaps stay NaN."""


class YearSource(Source):
    """A source with one dataset for each calendar year."""

    prefix: ClassVar[str]
    first_year: ClassVar[int]

    def year(self, name: str) -> int:
        """Year of a name."""
        return int(name.rpartition("_")[2])

    def check(self, name: str) -> None:
        """Refuse years before the first and those that have not ended."""
        year, last = self.year(name), date.today().year - 1
        if self.first_year <= year <= last:
            return
        nearest = min(max(year, self.first_year), last)
        raise DataError(
            f"{self.prefix} has no complete year {year}, only {self.first_year} to {last}; did you mean "
            f'"{self.prefix}_{nearest}"? files that you have are read by powergrid.datasets.readers.{self.prefix}.read'
        )


SOURCES: Registry[Source] = Registry("data source", "powergrid.datasets.sources", "powergrid.sources")
"""Sources by name; one file each in `powergrid.datasets.sources`."""


def examples(name: str) -> list[str]:
    """A name of each source, with the year of `name` if it ends with one."""
    year = re.search(r"\d{4}$", name)
    found = [SOURCES.get(key) for key in SOURCES.names()]
    return [re.sub(r"\d{4}$", year[0], one.example) if year else one.example for one in found]


def source_of(name: str) -> Source | None:
    """The source that a name of a dataset belongs to, or ``None``."""
    if not name.isprintable() or len(name) > 100:
        return None
    for key in SOURCES.names():
        source = SOURCES.get(key)
        if source.pattern.fullmatch(name):
            return source
    return None
