"""Sweeps on Dask."""

from __future__ import annotations

import socket
import sys

import pytest

pytest.importorskip("distributed", reason="needs distributed: make test-integrations")

import dask
from sweeps import check_lost, check_sweep_on, started, write

from powergrid.core.errors import RunError
from powergrid.learn.sweep.sweep import sweep


def test_a_sweep_repeats_what_is_killed_and_lists_what_fails(tmp_path):
    check_sweep_on("dask", tmp_path)


def test_an_address_without_a_scheduler_is_refused_by_name(tmp_path):
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(RunError) as caught:
        sweep(write(tmp_path), on="dask", address="127.0.0.1:9", out=tmp_path / "runs", progress=False)
    assert "no scheduler of Dask answers at 127.0.0.1:9" in str(caught.value)
    assert "dask scheduler" in str(caught.value)


def test_a_cluster_that_ends_keeps_what_is_done(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    module, quiet = [sys.executable, "-m"], ["--no-dashboard"]
    scheduler = [*module, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), *quiet]
    worker = [*module, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *quiet]
    check_lost("dask", address, tmp_path, [started(scheduler), started(worker)])
