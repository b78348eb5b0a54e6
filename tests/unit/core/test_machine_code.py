"""Machine code from the cache is never older than its sources, and made by versions of numba that are known."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from powergrid.core import machine_code
from powergrid.core.errors import NotCompilableError

OUTER = """
from pathlib import Path
from inner import FACTOR, doubled
from powergrid.core.machine_code import cached

@cached(Path(__file__).parent, nogil=True)
def answer(x):
    return FACTOR * doubled(x)

print(answer(1.0), sum(answer.stats.cache_hits.values()))
"""
INNER = """
from numba import njit
FACTOR = {factor}

@njit
def doubled(x):
    return {twice} * x
"""


def test_a_change_in_another_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(OUTER)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def answer(**constants: float) -> str:
        (tmp_path / "inner.py").write_text(INNER.format(**constants))
        command = [sys.executable, "-B", str(tmp_path / "outer.py")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert answer(factor=3.0, twice=2.0) == "6.0 0"
    assert answer(factor=3.0, twice=2.0) == "6.0 1"  # warm
    assert answer(factor=5.0, twice=2.0) == "10.0 0"
    assert answer(factor=5.0, twice=4.0) == "20.0 0"
    assert answer(factor=5.0, twice=4.0) == "20.0 1"


def test_the_bounds_are_those_of_the_distribution() -> None:
    with open(Path(__file__).parents[3] / "pyproject.toml", "rb") as file:
        found = [Requirement(text) for text in tomllib.load(file)["project"]["dependencies"]]
    numba = next(requirement for requirement in found if requirement.name == "numba")
    first, last = (".".join(map(str, bound)) for bound in machine_code.KNOWN)
    assert numba.specifier == SpecifierSet(f">={first},<{last}")


@pytest.mark.parametrize("found", ["0.60.0", "0.69.0rc1", "1.0", ""])
def test_a_numba_that_is_not_known_is_a_sentence(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(machine_code, "installed", lambda: found)
    assert 'pip install "numba>=' in machine_code.problem()
    with pytest.raises(NotCompilableError, match=re.escape(found) if found else "not installed"):
        machine_code.cached(Path(__file__))


def test_a_numba_without_a_part_that_is_needed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine_code._PRIVATE, "numba.core.codegen", ("JITCodeLibrary.no_such_thing",))
    machine_code._problem.cache_clear()
    assert "no_such_thing" in machine_code.problem()
    monkeypatch.undo()
    machine_code._problem.cache_clear()
    assert machine_code.problem() == ""


WITHOUT = """
import logging, sys
logging.basicConfig(format="%(message)s")
import numpy as np
from powergrid.core import machine_code
if sys.argv[1] == "without":
    machine_code.installed = lambda: "0.99.0"
import powergrid
for name in sys.argv[2:]:
    env = powergrid.make(name)
    env.reset(seed=0)
    total = 0.0
    for _ in range(3):
        total = total + env.step_array(np.zeros((len(env.agents), env.world.layout.action_size))).reward
    print(env.backend, np.round(total, 6).tolist(), "numba" in sys.modules, file=sys.stdout)
"""


def test_environments_step_on_numpy_where_nothing_can_be_compiled() -> None:
    def run(how: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", WITHOUT, how, "ieee34_microgrid", "voltage_control_13"]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    with_numba, without = run("with"), run("without")
    assert "0.99.0 is installed" in without.stderr
    assert "newton, which is slower, solves the power flow" in without.stderr
    assert "zbus, which is slower, solves the power flow" in without.stderr
    ours, others = (found.stdout.splitlines() for found in (with_numba, without))
    assert [line.split()[0] for line in ours] == ["fused", "fused"]
    assert [line.split()[0] for line in others] == ["numpy", "numpy"]
    for a, b in zip(ours, others, strict=True):
        values = [json.loads(line[line.index("[") : line.index("]") + 1]) for line in (a, b)]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)


def test_compiling_leaves_everything_as_it_was_whoever_ends_first() -> None:
    from numba.core import types

    before = gc.get_threshold(), types.BaseFunction.get_call_type
    first, second = (machine_code.compiling(name, 1) for name in ("first", "second"))
    first.__enter__()
    second.__enter__()
    assert (gc.get_threshold(), types.BaseFunction.get_call_type) != before
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert (gc.get_threshold(), types.BaseFunction.get_call_type) == before
