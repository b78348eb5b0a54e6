"""The learning curve on disk: metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from powergrid.core.files import unwritable, write_whole
from powergrid.report.files import METRICS, read_metrics

RESUME = "resume the run (resume=True, --resume)"
"""What to do once there is space on a full disk."""


class Journal:
    """Appends one row an update.

    Parameters
    ----------
    folder
        The run's folder.
    step
        Environment steps of the checkpoint that the run continues from; later rows are dropped. 0 for a new run.
    """

    def __init__(self, folder: Path, step: int = 0):
        self._path = folder / METRICS
        kept = [row for row in read_metrics(folder) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_whole(self._path, lambda file: file.write(text.encode()), RESUME)
        self.last = kept[-1] if kept else {}
        try:
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  (closed by `close`)
        except OSError as error:
            raise unwritable(self._path, error, RESUME) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row of finite numbers.

        Raises
        ------
        RunError
            If the disk is full.
        """
        try:
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise unwritable(self._path, error, RESUME) from error

    def close(self) -> None:
        """Flush and close the file."""
        try:
            self._file.close()
        except OSError as error:
            raise unwritable(self._path, error, RESUME) from error
