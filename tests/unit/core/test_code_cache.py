"""Kept machine code is read only if it is whole; anything else is compiled anew, with a message."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CODE = """
import logging
import sys
from pathlib import Path

from numba import types
from powergrid.core.machine_code import c_function, cached, part

logging.basicConfig(format="%(message)s")

@part(error_model="numpy")
def half(x):
    return x / 2.0

def made(lanes):
    @cached(Path(__file__), name=f"-{lanes}")
    def times(x):
        return lanes * half(x)
    return times

@c_function(types.float64(types.float64), Path(__file__))
def doubled(x):
    return 4.0 * half(x)

few, many = made(3), made(5)
print(few(2.0), many(2.0), doubled.ctypes(2.0), sum(few.stats.cache_hits.values()), doubled.cache_hits)
"""


def emptied(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :]


def another(content: bytes) -> bytes:
    """Whole, by its checksum, yet nothing that numba has written."""
    import hashlib
    import pickle

    from powergrid.core.code_cache import _HEAD

    body = pickle.dumps(("nothing", 3))
    return _HEAD + hashlib.sha256(body).digest() + body


@pytest.fixture
def run(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess]:
    (tmp_path / "kept.py").write_text(CODE)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-B", str(tmp_path / "kept.py")]
    return lambda: subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "damage", [cut, *(pytest.param(damage, marks=pytest.mark.slow) for damage in (emptied, flipped, another))]
)
def test_damaged_files_are_compiled_anew(tmp_path: Path, run, damage: Callable[[bytes], bytes]) -> None:
    assert run().stdout == "3.0 5.0 4.0 0 0\n"
    assert run().stdout == "3.0 5.0 4.0 1 1\n"
    files = list(tmp_path.rglob("*.nbc"))
    assert len(files) == 3
    assert not list(tmp_path.rglob("*.nbi"))
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    found = run()
    assert found.returncode == 0, found.stderr
    assert found.stdout == "3.0 5.0 4.0 0 0\n"
    assert found.stderr.count("compiled anew") == 3
    assert run().stdout == "3.0 5.0 4.0 1 1\n"


def test_code_of_older_sources_is_removed(tmp_path: Path, run) -> None:
    run()
    before = set(tmp_path.rglob("*.nbc"))
    text = (tmp_path / "kept.py").read_text()
    (tmp_path / "kept.py").write_text(text.replace("lanes * half(x)", "lanes * half(2.0 * x)"))
    assert run().stdout == "6.0 10.0 4.0 0 0\n"
    after = set(tmp_path.rglob("*.nbc"))
    assert len(after) == 3
    assert not before & after


def test_a_full_disk_only_costs_time(tmp_path: Path, run) -> None:
    text = (tmp_path / "kept.py").read_text()
    broken = "import os\ndef full(*names):\n    raise OSError(28, 'No space left on device')\nos.replace = full\n"
    (tmp_path / "kept.py").write_text(broken + text)
    found = run()
    assert found.returncode == 0, found.stderr
    assert found.stdout == "3.0 5.0 4.0 0 0\n"
    assert "No space left on device" in found.stderr
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_closes_over_variables_needs_a_name() -> None:
    from powergrid.core.machine_code import cached

    factor = 3.0
    with pytest.raises(ValueError, match="needs a name"):
        cached(Path(__file__))(lambda x: factor * x)
