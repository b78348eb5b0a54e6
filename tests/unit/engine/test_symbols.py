"""What numba keeps on disk has names that no two processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TEXT = """
import os
import powergrid.powerflow
import powergrid.engine.compiled.kernels
from powergrid.powerflow.slots import leaf
from numba import types

twin = leaf(lambda number: number + 1.0)
twin.compile((types.float64,))
print(twin.overloads[(types.float64,)].fndesc.mangled_name)
"""


def test_processes_name_the_same_function_differently():
    own = [sys.executable, "-c", TEXT]
    names = {subprocess.run(own, capture_output=True, text=True, check=True, env=os.environ).stdout for _ in range(2)}
    assert len(names) == 2


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="no fork on this system")
def test_a_fork_counts_elsewhere():
    text = TEXT.replace("twin = leaf", "child = os.fork()\nif child:\n    os.waitpid(child, 0)\ntwin = leaf")
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert len(set(found)) == 2
