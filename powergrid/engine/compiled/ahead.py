"""What a step needs is compiled side by side, by this process and by one that helps.

numba compiles one function at a time in a process. Another process compiles the tick into the cache on disk while this
one compiles the power flow and the devices' kernels; then this one takes the tick from there. Where there is but one
core, where the cache cannot be written or where the other fails, this process compiles everything.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

from powergrid.core import progress
from powergrid.core.machine_code import compile_for, is_kept, kept_at
from powergrid.engine.compiled.loops import TICK, tick
from powergrid.engine.compiled.rows import FEW, WIDE

_FUNCTIONS = 85
"""Functions that numba compiles for a tick, for the bar."""
_running: dict[int, _Helper] = {}


def lanes_of(count: int) -> int:
    """Lanes that serve so many environments."""
    return WIDE if count > FEW else 1


@contextlib.contextmanager
def first_use(lanes: int) -> Iterator[None]:
    """Around whatever ends in :func:`ready`: another process begins with the tick where the disk has none."""
    if lanes in _running or not _is_worth_it(lanes):
        yield
        return
    _running[lanes] = helper = _Helper(lanes)
    try:
        yield
    finally:
        helper.end()
        _running.pop(lanes, None)


def ready(lanes: int) -> None:
    """Have the tick for so many lanes, from wherever."""
    helper = _running.get(lanes)
    if helper is not None:
        helper.wait()
    compile_tick(lanes)


def compile_tick(lanes: int) -> None:
    """Compile the tick for so many lanes, or take it from the disk."""
    compile_for(tick(lanes), TICK, _name(lanes), _FUNCTIONS)


def _name(lanes: int) -> str:
    return "tick of one environment" if lanes == 1 else "tick of many environments"


def _is_worth_it(lanes: int) -> bool:
    own = tick(lanes)
    if TICK in getattr(own, "overloads", {}) or kept_at(own, TICK) is None or is_kept(own, TICK):
        return False
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1 and bool(sys.executable)


class _Helper:
    """The process that helps; tells of each function that it has compiled by a line."""

    def __init__(self, lanes: int):
        import numba

        code = f"from powergrid.engine.compiled import ahead; ahead.help_with({lanes})"
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        if numba.config.CACHE_DIR:
            variables["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR
        self._lanes = lanes
        self._listener = threading.Thread(target=self._listen, daemon=True)
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-c", code],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:  # no process can be started: everything is compiled here
            self._process = None
            return
        self._listener.start()

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with progress.piece(_name(self._lanes), _FUNCTIONS) as count:
            for _ in self._process.stdout:
                count()
        self._process.stdout.close()

    def wait(self) -> None:
        """Until it is done."""
        if self._process is not None:
            self._process.wait()
            self._listener.join()

    def end(self) -> None:
        """Nobody needs it any more."""
        if self._process is not None:
            self._process.kill()
            self.wait()


def help_with(lanes: int) -> None:
    """Compile the tick onto the disk, with a line on standard output for each function; the other process's part."""
    from numba.core import event

    class Teller(event.Listener):
        """Prints a line at the end of each function."""

        def on_start(self, event: object) -> None:
            """Nothing to do."""

        def on_end(self, event: object) -> None:
            print(flush=True)

    with event.install_listener("numba:compile", Teller()):
        compile_tick(lanes)
