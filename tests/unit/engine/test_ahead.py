"""What a step needs is compiled side by side, once for each signature, and read from the disk afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import types

import powergrid
from powergrid.engine.compiled import ahead
from powergrid.engine.compiled.loops import TICK, tick

COLD = """
import numpy as np
import powergrid
from powergrid.core import progress
from powergrid.engine.compiled.loops import tick

env = powergrid.make("ieee13_single")
env.reset(seed=0)
reward = env.step_array(np.zeros((len(env.agents), env.world.layout.action_size))).reward
print(repr(reward.tolist()), sum(tick(1).stats.cache_hits.values()), [what for what, _ in progress.finished()])
"""


@pytest.mark.slow
def test_two_processes_share_the_work_of_the_first_use(tmp_path: Path):
    variables = {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", COLD], env=os.environ | variables, capture_output=True, text=True, check=True
        )

    cold, warm = run(), run()
    assert cold.stderr.count("compiling, once on this machine") == 1
    assert warm.stderr == ""
    if (os.cpu_count() or 1) > 1:
        assert "] 1 [" in cold.stdout  # this process has read what the other has compiled
        assert "tick of one environment" in cold.stdout
    assert "power flow" in cold.stdout
    assert warm.stdout.endswith("] 1 []\n")
    assert warm.stdout.split("]")[0] == cold.stdout.split("]")[0]


@pytest.mark.parametrize("count", [1, 5])
def test_a_step_compiles_no_other_signature(count: int):
    if count == 1:
        env = powergrid.make("p2p_microgrids")
        shape: tuple[int, ...] = (len(env.possible_agents), env.world.layout.action_size)
    else:
        env = powergrid.make_vec("p2p_microgrids", count)
        shape = (count, len(env.possible_agents), env.world.layout.action_size)
    env.reset(seed=0)
    env.step_array(np.zeros(shape))
    compiled = tick(ahead.lanes_of(count))
    single = [signature for signature in compiled.overloads if types.Array(types.float32, 2, "C") in signature]
    assert single == [TICK]


def test_a_helper_that_fails_costs_time_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ahead, "_is_worth_it", lambda lanes: True)
    for executable in ("/bin/false", "/no/such/file"):
        monkeypatch.setattr(sys, "executable", executable)
        with ahead.first_use(1):
            assert 1 in ahead._running
            ahead.ready(1)
        assert not ahead._running
        assert TICK in tick(1).overloads


def test_what_is_not_needed_any_more_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ahead, "_is_worth_it", lambda lanes: True)
    with contextlib.suppress(KeyError), ahead.first_use(1):
        helper = ahead._running[1]
        raise KeyError("a fault in the configuration")
    assert helper._process is not None
    assert helper._process.poll() is not None
