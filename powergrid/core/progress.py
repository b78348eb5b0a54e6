"""Progress of compilation: a bar on a terminal, one plain line in a log, nothing where it takes a moment.

Progress is counted in functions, of this process and of one that helps; the expected number of a piece of work is that
at the time of writing. The bar estimates the time that is left from the time that the functions so far have taken.
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
"""Work that takes less is not reported [s]."""


class _Progress:
    """Progress of everything that is being compiled."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pieces, self._logged = 0, False
        self.done: list[tuple[str, float]] = []
        self._clear()

    def _clear(self) -> None:
        self._expected, self._counted = 0.0, 0.0
        self._began, self._shown = time.monotonic(), False
        self._bar: Any = None
        self._task: Any = None

    @contextlib.contextmanager
    def piece(self, what: str, functions: int) -> Iterator[Any]:
        """A piece of work that is expected to compile so many functions; yields a function that counts each."""
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
            if not self._shown and time.monotonic() - self._began > MOMENT_S:
                self._shown = True
                self._show()
            if self._bar is not None:
                self._bar.update(self._task, total=self._expected, completed=self._counted)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if not console.is_interactive:
            if not self._logged:
                _log.warning("compiling, once on this machine; `powergrid warmup` does it ahead ...")
            self._logged = True
            return
        columns = (TextColumn("compiling, once on this machine"), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", total=self._expected, completed=self._counted)
        self._bar.start()


_progress = _Progress()
piece = _progress.piece


def finished() -> list[tuple[str, float]]:
    """Work that has been compiled in this process or for it, with its duration [s], in the order of completion."""
    return list(_progress.done)
