"""What a sweep on Ray and on Dask must do: repeat a run whose worker is killed, and leave a failing one alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from subprocess import DEVNULL, Popen, run

from fragile_runs import begun, write

from powergrid.learn.sweep.sweep import sweep


def check_sweep_on(name: str, folder: Path) -> None:
    """Run the three runs of the grid, then what is left of them."""
    grid = write(folder)
    results = sweep(grid, on=name, workers=1, out=folder / "runs", progress=False)
    assert begun(folder) == ["killed", "killed", "raises", "well"]
    assert results.failed == {"small-fragile-ends=raises-seed0": "RuntimeError: there is no sun today"}
    assert set(results.objectives) == {f"small-fragile-ends={end}-seed0" for end in ("well", "killed")}
    grid.write_text(grid.read_text().replace(", raises", ""))
    assert not sweep(grid, on=name, workers=1, out=folder / "runs", progress=False).failed
    assert len(begun(folder)) == 4


def check_lost(name: str, address: str, folder: Path, cluster: Sequence[Popen[bytes]]) -> None:
    """End a whole cluster, by groups of processes, while its second run goes on: the first one is kept."""
    grid = write(folder)
    grid.write_text(grid.read_text().replace("[well, killed, raises]", "[well, never]"))
    killer = get_context("spawn").Process(target=_kill, args=(folder, [member.pid for member in cluster]))
    killer.start()
    command = [sys.executable, "-m", "powergrid", "sweep", str(grid), "--on", name, "--address", address]
    try:
        result = run([*command, "--out", str(folder / "runs")], capture_output=True, text=True)  # Ray may end it
    finally:
        killer.join()
    assert result.returncode == 1
    assert f"at {address} has ended in mid-run" in result.stderr
    assert "give the same command again" in result.stderr
    assert "Traceback" not in result.stderr
    rows = (folder / "runs" / "jobs.csv").read_text()
    assert [row.split(",")[5] for row in rows.splitlines()[1:]] == ["done", "left"]
    grid.write_text(grid.read_text().replace("[well, never]", "[well]"))
    assert len(sweep(grid, workers=1, out=folder / "runs", progress=False).objectives) == 1
    assert begun(folder) == ["never", "well"]


def started(arguments: Sequence[str]) -> Popen[bytes]:
    """A process of a cluster that leads a group of its own."""
    return Popen(arguments, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True)


def _kill(folder: Path, leaders: Sequence[int]) -> None:
    """Kill groups of processes once the endless run has begun."""
    file = folder / "plugins" / "begun.txt"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (file.exists() and "never" in file.read_text()):
        time.sleep(0.2)
    for leader in leaders:
        os.killpg(leader, signal.SIGKILL)
