"""Jobs as tasks of Dask, on this machine or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from powergrid.core.errors import MissingExtraError, RunError
from powergrid.learn.sweep.job import ATTEMPTS, Job, Source, lost_cluster, one_line, run_job, taken


def run(
    source: Source,
    out: Path,
    *,
    workers: int,
    environment: Mapping[str, str],
    address: str | None = None,
    ahead: int | None = None,
) -> Iterator[tuple[Job, str | None]]:
    """Run jobs as tasks; Dask repeats those whose worker is killed.

    Parameters
    ----------
    source
        Gives what to run.
    out
        Folder of the sweep, which all machines of a cluster reach under this path.
    workers
        Number of worker processes, without an address.
    environment
        Variables of the workers' environment; those of a cluster keep their own.
    address
        Address of a scheduler; ``None`` begins one on the loopback interface of this machine, and ends it.
    ahead
        Most jobs that are taken from the source before they have ended; all that it has if ``None``.

    Yields
    ------
    Job, str or None
        Each job as it ends, and the reason if it failed.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    RunError
        If no scheduler answers at the address, or it ends in mid-run.
    """
    try:
        import dask
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise MissingExtraError("Dask", "dask", "--on dask") from error
    settings = {
        "distributed.nanny.pre-spawn-environ": dict(environment),
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.scheduler.worker-ttl": None,  # compiling can keep a worker from answering for minutes
    }
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # tracebacks of a lost scheduler
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        if address is None:
            # a worker has one thread for jobs and no limit of memory: the operating system's is the only one
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.ERROR,
            )
            stack.enter_context(cluster)
        try:
            client = stack.enter_context(Client(address or cluster))
        except (OSError, ValueError) as error:
            raise RunError(
                f"no scheduler of Dask answers at {address} ({one_line(error)}); start one with `dask scheduler`, or "
                "leave --address out"
            ) from error
        running: dict[Any, Job] = {}
        ends = as_completed()
        while True:
            for job in taken(source, ahead, len(running)):
                future = client.submit(run_job, job, out, key=job.name, pure=False)
                running[future] = job
                ends.add(future)
            if not running:
                return
            ended = next(ends)
            if ended.status == "cancelled":
                raise RunError(lost_cluster("Dask", address, "its scheduler does not answer", out))
            lost = ended.exception()
            yield running.pop(ended), ended.result() if lost is None else one_line(lost)
