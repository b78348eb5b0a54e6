"""Machine code from the cache is never older than the files that it was made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
