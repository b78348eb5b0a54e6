"""Sweeps on Ray."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("ray", reason="needs ray: make test-integrations")

from sweeps import check_lost, check_sweep_on, started, write

from powergrid.core.errors import RunError
from powergrid.learn.sweep.sweep import sweep

ONE_RUN = """
import sys
from pathlib import Path
from powergrid.learn.sweep import on_ray
from powergrid.learn.sweep.grid import read_grid

grid = Path(sys.argv[1])
jobs = iter(read_grid(grid)[:1])
for job, reason in on_ray.run(lambda: next(jobs, None), grid.parent / "runs", workers=1, environment={}):
    import ray
    print([node["NodeManagerAddress"] for node in ray.nodes()], reason)
"""


def test_a_sweep_repeats_what_is_killed_and_lists_what_fails(tmp_path):
    check_sweep_on("ray", tmp_path)


def test_its_own_cluster_has_the_loopback_address(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ONE_RUN, str(write(tmp_path))], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["['127.0.0.1'] None"]


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_an_address_without_a_cluster_is_refused_before_ray_waits_for_it(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RunError) as caught:
        sweep(write(tmp_path), on="ray", address=address, out=tmp_path / "runs", progress=False)
    assert f"no cluster of Ray answers at {address} (ConnectionRefusedError" in str(caught.value)
    assert "ray start --head" in str(caught.value)


def test_a_cluster_that_ends_keeps_what_is_done(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    port = free_port()
    head = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port", str(port)]
    head += ["--node-ip-address", "127.0.0.1", "--num-cpus", "1", "--include-dashboard", "false"]
    head += ["--temp-dir", f"/tmp/ray{os.getpid()}", "--disable-usage-stats"]
    cluster = started(head)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    time.sleep(5)  # its other processes
    try:
        check_lost("ray", f"127.0.0.1:{port}", tmp_path, [cluster])
    finally:
        shutil.rmtree(f"/tmp/ray{os.getpid()}", ignore_errors=True)  # sockets need a short path
