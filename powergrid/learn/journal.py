"""The learning curve on disk: metrics.jsonl, and TensorBoard files where tensorboard is installed."""

from __future__ import annotations

import json
import math
import os
import platform
import time
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
            self._board = _Board.open(folder / "tb", step)
        except OSError as error:
            raise unwritable(self._path, error, RESUME) from error

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; values that are not finite are left out.

        Raises
        ------
        RunError
            If the disk is full.
        """
        row = {name: value for name, value in row.items() if not isinstance(value, float) or math.isfinite(value)}
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            if self._board is not None:
                self._board.write(row)
        except OSError as error:
            raise unwritable(self._path, error, RESUME) from error

    def close(self) -> None:
        """Flush and close all files."""
        try:
            self._file.close()
            if self._board is not None:
                self._board.close()
        except OSError as error:
            raise unwritable(self._path, error, RESUME) from error


class _Board:
    """TensorBoard event files, without any deep-learning library; written at once, so that a full disk is told at once.

    Records go through TensorBoard's own encoder; its writer of files would use a thread, which fails on its own.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, Summary
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{platform.node()}.{os.getpid()}.{time.time_ns()}"
        self._records = RecordWriter(open(folder / name, "xb"))  # noqa: SIM115  (closed by `close`)
        self._add(file_version="brain.Event:2")
        if step:  # the viewer drops what an earlier process wrote beyond this step
            self._add(step=step + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    @classmethod
    def open(cls, folder: Path, step: int) -> _Board | None:
        """A writer, or ``None`` where tensorboard is not installed."""
        try:
            return cls(folder, step)
        except ImportError:
            return None

    def write(self, row: Mapping[str, Any]) -> None:
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != "step" and isinstance(value, (int, float))
        ]
        self._add(step=row["step"], summary=self._summary(value=values))

    def close(self) -> None:
        self._records.close()

    def _add(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())
        self._records.flush()
