"""The learning curve for TensorBoard, without any deep-learning library."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from powergrid.core.errors import MissingExtraError
from powergrid.core.files import unwritable
from powergrid.learn.callbacks.callback import Callback, Run
from powergrid.learn.journal import RESUME


class TensorBoard(Callback):
    """Write event files, at once, so that a full disk is told at once.

    Records go through TensorBoard's own encoder; its writer of files would use a thread, which fails on its own. Each
    run has this callback where tensorboard is installed and the callbacks hold no other one.

    Parameters
    ----------
    folder
        Folder of the files; ``tb`` in the run's folder if ``None``.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed.
    """

    def __init__(self, folder: str | Path | None = None):
        if not self.installed():
            raise MissingExtraError("tensorboard", "rl", "the callback TensorBoard")
        self.folder = None if folder is None else Path(folder)
        self._records: Any = None
        self._place = Path()

    @staticmethod
    def installed() -> bool:
        """Whether the library is there."""
        return find_spec("tensorboard") is not None

    def begin(self, run: Run) -> None:
        """Open a file of this process."""
        from tensorboard.compat.proto import event_pb2
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, Summary
        folder = self.folder or run.folder / "tb"
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{platform.node()}.{os.getpid()}.{time.time_ns()}"
        self._place = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(open(self._place, "xb"))  # noqa: SIM115  (closed by `end`)
            self._add(file_version="brain.Event:2")
            if run.step:  # the viewer drops what an earlier process wrote beyond this step
                start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
                self._add(step=run.step + 1, session_log=start)
        except OSError as error:
            raise unwritable(self._place, error, RESUME) from error

    def log(self, run: Run, row: Mapping[str, float]) -> None:
        """Append the row's numbers."""
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "step"]
        try:
            self._add(step=run.step, summary=self._summary(value=values))
        except OSError as error:
            raise unwritable(self._place, error, RESUME) from error

    def end(self, run: Run) -> None:
        """Close the file."""
        if self._records is not None:
            self._records.close()

    def _add(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())
        self._records.flush()
