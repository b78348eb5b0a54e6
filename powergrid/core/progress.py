"""How far compiling is: a bar on a terminal, one plain line in a log, nothing where it takes but a moment.

Progress is counted in functions, of this process and of one that helps; what is expected of a piece of work is what it
took when this was written. The bar estimates the time that is left from the time that the functions so far have taken.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

_log = logging.getLogger("powergrid")
MOMENT_S = 1.0
"""What takes less is not worth a word [s]."""


class _Progress:
    """All that is being compiled at present, together."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pieces, self._said = 0, False
        self.done: list[tuple[str, float]] = []
        self._clear()

    def _clear(self) -> None:
        self._expected, self._counted = 0.0, 0.0
        self._began, self._told = time.monotonic(), False
        self._bar: Any = None
        self._task: Any = None

    @contextlib.contextmanager
    def piece(self, what: str, functions: int) -> Iterator[Any]:
        """A piece of work that is expected to compile so many functions; gives what counts each."""
        begin, counted = time.monotonic(), 0

        def count() -> None:
            nonlocal counted
            counted += 1
            self._advance(1.0 if counted <= functions else 0.0)

        with self._lock:
            if self._pieces == 0:
                self._clear()
            self._pieces += 1
            self._expected += functions
        try:
            yield count
        finally:
            with self._lock:
                self._pieces -= 1
                self.done.append((what, time.monotonic() - begin))
                self._advance(max(functions - counted, 0))
                if self._pieces == 0 and self._bar is not None:
                    self._bar.stop()

    def _advance(self, by: float) -> None:
        with self._lock:
            self._counted += by
            if not self._told and time.monotonic() - self._began > MOMENT_S:
                self._told = True
                self._tell()
            if self._bar is not None:
                self._bar.update(self._task, total=self._expected, completed=self._counted)

    def _tell(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if not console.is_interactive:
            if not self._said:
                _log.warning("compiling, once on this machine; `powergrid warmup` does it ahead ...")
            self._said = True
            return
        columns = (TextColumn("compiling, once on this machine"), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=self._expected, completed=self._counted)
        self._bar.start()


_progress = _Progress()
piece = _progress.piece


def finished() -> list[tuple[str, float]]:
    """What has been compiled in this process or for it, and how long that took [s], in the order of its end."""
    return list(_progress.done)
