"""Jobs in processes of this machine."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from powergrid.learn.sweep.job import ATTEMPTS, Job, Source, run_job, taken

Result = tuple[Job, str | None]
"""A job, and the reason if it failed."""


def run(
    source: Source,
    out: Path,
    *,
    workers: int,
    environment: Mapping[str, str],
    address: str | None = None,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Run jobs side by side.

    Each worker is a pool of one process: if it is killed, its own job begins again in a new one, and those of others
    go on.

    Parameters
    ----------
    source
        Gives what to run.
    out
        Folder of the sweep.
    workers
        Number of processes.
    environment
        Variables of the workers' environment.
    address
        Not used here: there is no cluster.
    ahead
        Not used here: a job is taken once a worker is free.

    Yields
    ------
    Result
        Each job as it ends.
    """
    again: deque[tuple[Job, int]] = deque()
    idle = [_pool() for _ in range(workers)]
    busy: dict[Future[str | None], tuple[ProcessPoolExecutor, Job, int]] = {}
    try:
        with _environment(environment):
            while True:
                fresh = ((job, 1) for job in taken(source, workers, len(busy) + len(again)))
                for job, attempt in (*again, *fresh):
                    pool = idle.pop()
                    busy[pool.submit(run_job, job, out)] = pool, job, attempt
                again.clear()
                if not busy:
                    return
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    pool, job, attempt = busy.pop(future)
                    try:
                        reason = future.result()
                    except BrokenProcessPool:
                        pool.shutdown(wait=False)
                        idle.append(_pool())
                        if attempt < ATTEMPTS:
                            again.append((job, attempt + 1))
                            continue
                        reason = f"its worker was killed {attempt} times; is there enough memory?"
                    else:
                        idle.append(pool)
                    yield job, reason
    finally:
        for pool in (*idle, *(pool for pool, _, _ in busy.values())):
            pool.shutdown(wait=True, cancel_futures=True)


def _pool() -> ProcessPoolExecutor:
    # a fork of a process with the threads of JAX can hang
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that processes inherit which begin meanwhile: NumPy and JAX read them when they are imported."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
