"""Sweeps on Ray."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ray", reason="needs ray: make test-integrations")

from sweeps import check_sweep_on, write

ONE_RUN = """
import sys
from pathlib import Path
from powergrid.learn.sweep import on_ray
from powergrid.learn.sweep.grid import read_grid

grid = Path(sys.argv[1])
for job, reason in on_ray.run(read_grid(grid)[:1], grid.parent / "runs", workers=1, environment={}):
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
