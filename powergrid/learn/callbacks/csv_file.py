"""The learning curve as a table of comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from powergrid.core.errors import ArgumentError
from powergrid.core.files import unwritable, write_whole
from powergrid.learn.callbacks.callback import Callback, Run
from powergrid.learn.journal import RESUME


class CsvFile(Callback):
    """Write one line an update; a resumed run drops what the file holds beyond its checkpoint.

    A column is added where an update has a number that none before had; lines without it leave it empty.

    Parameters
    ----------
    path
        The file; ``metrics.csv`` in the run's folder if ``None``.
    """

    def __init__(self, path: str | Path | None = None):
        self.path = None if path is None else Path(path)
        self._place = Path()
        self._columns: list[str] = []

    def begin(self, run: Run) -> None:
        """Take up the file where the run continues."""
        self._place, self._columns = self._file(run), []
        if any(isinstance(one, CsvFile) and one is not self and one._file(run) == self._place for one in run.callbacks):
            raise ArgumentError(f"two callbacks CsvFile write {self._place}; give one of them another path")
        rows = [row for row in self._read() if int(row["step"]) <= run.step] if run.step else []
        self._rewrite(rows)

    def log(self, run: Run, row: Mapping[str, float]) -> None:
        """Append the row."""
        new = [name for name in row if name not in self._columns]
        try:
            if new:
                rows = self._read()
                self._columns += new
                self._rewrite([*rows, row])
            else:
                with open(self._place, "a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self._columns).writerow(row)
        except OSError as error:
            raise unwritable(self._place, error, RESUME) from error

    def _file(self, run: Run) -> Path:
        return self.path or run.folder / "metrics.csv"

    def _read(self) -> list[dict[str, str]]:
        if not self._place.exists():
            return []
        with open(self._place, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            self._columns = list(reader.fieldnames or [])
        return rows

    def _rewrite(self, rows: Sequence[Mapping[str, str | float]]) -> None:
        text = io.StringIO(newline="")
        if self._columns:
            writer = csv.DictWriter(text, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        write_whole(self._place, lambda file: file.write(text.getvalue().encode()), RESUME)
