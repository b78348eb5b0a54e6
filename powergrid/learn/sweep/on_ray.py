"""Jobs as tasks of Ray, on this machine or on a cluster."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from powergrid.core.errors import MissingExtraError, RunError
from powergrid.learn.sweep.job import ATTEMPTS, Job, Source, lost_cluster, one_line, run_job, taken

_STORE_BYTES = 100_000_000
"""Memory for objects that tasks exchange, which are small here; by default Ray takes 30 % of the machine's."""

_PROBED_S = 5.0
_ANSWERED_S = 10.0
"""Longest wait for a connection; Ray itself gives up after three minutes."""


def run(
    source: Source,
    out: Path,
    *,
    workers: int,
    environment: Mapping[str, str],
    address: str | None = None,
    ahead: int | None = None,
) -> Iterator[tuple[Job, str | None]]:
    """Run jobs as tasks of one CPU; Ray repeats those whose worker is killed.

    Parameters
    ----------
    source
        Gives what to run.
    out
        Folder of the sweep, which all machines of a cluster reach under this path.
    workers
        Number of tasks side by side, without an address.
    environment
        Variables of the workers' environment.
    address
        Address of a cluster; ``None`` begins one on this machine, and ends it. It listens on the loopback interface
        alone if Ray has not been imported before.
    ahead
        Most jobs that are taken from the source before they have ended; all that it has if ``None``.

    Yields
    ------
    Job, str or None
        Each job as it ends, and the reason if it failed.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    RunError
        If no cluster answers at the address, it ends in mid-run, or none starts here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # Ray reads this when it is imported, and takes the loopback address then, on Linux too; _node_ip_address alone
        # is replaced by the machine's address
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Ray", "ray", "--on ray") from error
    options = {"runtime_env": {"env_vars": dict(environment)}, "log_to_driver": False, "logging_level": "warning"}
    if address is None:
        options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        options |= {"_node_ip_address": "127.0.0.1"}
    if address is not None:
        _check_reachable(address)
    try:
        ray.init(address or "local", **options)
    except (OSError, ValueError, RuntimeError) as error:
        if address is None:
            raise RunError(f"Ray does not start on this machine ({one_line(error)}); choose --on local") from error
        raise RunError(
            f"no cluster of Ray answers at {address} ({one_line(error)}); start one with `ray start --head`, or leave "
            "--address out"
        ) from error
    try:
        task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(run_job)
        running: dict[Any, Job] = {}
        while True:
            for job in taken(source, ahead, len(running)):
                running[task.remote(job, out)] = job
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=_PROBED_S)
            if not ready:
                _check_alive(address, out)
                continue
            (ended,) = ready
            try:
                reason = ray.get(ended)
            except ray.exceptions.RayError as error:
                reason = one_line(error)
            yield running.pop(ended), reason
    finally:
        ray.shutdown()


def _answers(address: str) -> str | None:
    """Reason why no connection to an address of the form host:port opens; ``None`` if one does, or for other forms."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return None
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERED_S).close()
    except (OSError, OverflowError) as error:
        return one_line(error)
    return None


def _check_reachable(address: str) -> None:
    reason = _answers(address)
    if reason is not None:
        raise RunError(
            f"no cluster of Ray answers at {address} ({reason}); start one with `ray start --head`, or leave --address "
            "out"
        )


def _check_alive(address: str | None, out: Path) -> None:
    """Refuse to wait for a cluster whose head is gone: Ray ends the whole process a minute after, without a word."""
    reason = _answers(address) if address is not None else None
    if reason is not None:
        raise RunError(lost_cluster("Ray", address, reason, out))
