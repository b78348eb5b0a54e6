"""A sweep as a whole: what is left of a grid is run, and all of it is compared in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from powergrid.core.errors import ArgumentError, RunError, nearest
from powergrid.core.files import make_folder
from powergrid.core.terminal import console
from powergrid.learn import MOST_DEVICES
from powergrid.learn.sweep.grid import read_grid
from powergrid.learn.sweep.job import Job, Source, is_done
from powergrid.learn.sweep.results import Results

EXECUTORS = ("local", "ray", "dask")
"""Names of the files ``on_<name>.py``."""

Ended = tuple[Job, str | None]
"""A job, and the reason if it failed."""


def sweep(
    grid: str | Path,
    *,
    on: str = "local",
    workers: int | None = None,
    address: str | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Results:
    """Train and evaluate every job of a grid file that is not done yet.

    Parameters
    ----------
    grid
        YAML file, see :class:`powergrid.learn.sweep.schema.Grid`.
    on
        ``"local"``, ``"ray"`` or ``"dask"``.
    workers
        Jobs side by side on this machine; as many as it has cores if ``None``. Each gets its share of the cores.
    address
        Address of a cluster of Ray or Dask; ``None`` for this machine alone.
    out
        Folder of the sweep, with one folder for each run; ``runs/<name of the file>`` if ``None``.
    progress
        Show a progress bar, or lines where there is no terminal.

    Returns
    -------
    Results
        What is done and what has failed; ``sweep.csv`` and ``jobs.csv`` in `out` hold it too.

    Raises
    ------
    ArgumentError
        If the executor is unknown, `workers` none of one or more, or an address is given where there is no cluster.
    ConfigError
        If the grid has faults; nothing has been trained then.
    MissingExtraError
        If the executor is not installed.
    RunError
        If results cannot be read or written.
    """
    checked_executor(on, workers, address)
    jobs = read_grid(grid)
    folder = folder_of(grid, out)
    make_folder(folder)
    left = [job for job in jobs if not is_done(job, folder)]
    failed: dict[str, str] = {}
    if left:
        count, waiting = min(workers or os.cpu_count() or 1, len(left)), iter(left)
        ended = distributed(lambda: next(waiting, None), folder, on, count, address)
        try:
            for job, reason in shown(ended, len(jobs), len(jobs) - len(left), progress):
                if reason is not None:
                    failed[job.name] = reason
        except RunError:  # a cluster that has ended
            Results.read(jobs, folder, failed).write()
            raise
    results = Results.read(jobs, folder, failed)
    results.write()
    return results


def folder_of(grid: str | Path, out: str | Path | None) -> Path:
    """Absolute path of a sweep's folder, since workers have working folders of their own."""
    return (Path(out) if out is not None else Path("runs") / Path(grid).stem).absolute()


def checked_executor(on: str, workers: int | None, address: str | None) -> None:
    """Refuse an executor that is unknown, and workers or an address that it cannot have."""
    if on not in EXECUTORS:
        raise ArgumentError(f'unknown executor "{on}"; {nearest(on, EXECUTORS)} available: {", ".join(EXECUTORS)}')
    if workers is not None and workers < 1:
        raise ArgumentError(f"workers {workers} is not a whole number of one or more")
    if address is not None and on == "local":
        raise ArgumentError("there is no cluster to address with local; choose ray or dask")


def distributed(
    source: Source, folder: Path, on: str, count: int, address: str | None, ahead: int | None = None
) -> Iterator[Ended]:
    """Each job of a source as it ends, from `count` workers that share the cores, and the reason if it failed."""
    execute = import_module(f"powergrid.learn.sweep.on_{on}").run
    environment = _environment(max((os.cpu_count() or 1) // count, 1))
    yield from execute(source, folder, workers=count, environment=environment, address=address, ahead=ahead)


def shown(ended: Iterable[Ended], total: int, completed: int, progress: bool) -> Iterator[Ended]:
    """The same jobs, with a progress bar, or with lines where there is no terminal."""
    failed = 0
    screen = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=not (progress and screen.is_terminal)) as bar:
        task = bar.add_task("runs", total=total, completed=completed)
        for number, (job, reason) in enumerate(ended, completed + 1):
            failed += reason is not None
            bar.update(task, advance=1, description=f"runs, {failed} failed" if failed else "runs")
            if progress and not screen.is_terminal:
                state = "done" if reason is None else f"failed: {reason}"
                screen.print(f"{number}/{total} {job.name} {state}", highlight=False, markup=False, soft_wrap=True)
            yield job, reason


def _environment(threads: int) -> dict[str, str]:
    """Variables that give a worker its share of the cores; what the user has set stands."""
    share = {"OMP_NUM_THREADS": str(threads), "JAX_NUM_CPU_DEVICES": str(min(threads, MOST_DEVICES))}
    kept = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    return share | {name: os.environ[name] for name in (*share, *kept) if name in os.environ}
