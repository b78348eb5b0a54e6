"""Mutated presets and files: each is refused in sentences, or runs on finite numbers; none crashes, hangs or grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

TRIAL = Path(__file__).parent / "trial.py"
LIMIT_S = 3600
"""Guard against a mutant that no signal ends; `trial` stops a usual one much earlier."""
PORTION = 500
"""Mutants of one process, few enough that the guard never ends them on a busy machine."""


def tried(kind: str, seed: int, start: int, stop: int) -> list[dict]:
    """What became of a range of mutants, in a process of their own."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(TRIAL), kind, *map(str, (seed, start, stop))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        last = lines[-1]["number"] if lines else start
        why = f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
        lines.append({"number": last, "outcome": "crash", "why": why})
    return [line for line in lines if "outcome" in line]


def examine(kind: str, seed: int, count: int, processes: int) -> None:
    with ThreadPoolExecutor(processes) as pool:
        starts = range(0, count, PORTION)
        parts = pool.map(lambda start: tried(kind, seed, start, min(start + PORTION, count)), starts)
        results = [result for part in parts for result in part]
    wrong = [result for result in results if result["outcome"] not in ("refused", "ran")]
    shown = "\n\n".join(f"{kind} {seed} {item['number']}: {item['outcome']}\n{item.get('why')}" for item in wrong[:5])
    assert not wrong, f"{len(wrong)} of {count} mutants\n{shown}"
    assert len(results) == count
    ran = sum(result["outcome"] == "ran" for result in results)
    assert count // 100 < ran < count * 19 // 20, f"{ran} of {count} mutants ran: mutation is too strong or too weak"


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.skipif(sys.platform == "win32", reason="there are no alarms to end a mutant that hangs")
def test_mutants_are_refused_or_run():
    examine("configuration", seed=0, count=150, processes=1)


@pytest.mark.slow
@pytest.mark.timeout(8 * LIMIT_S)
@pytest.mark.skipif(sys.platform == "win32", reason="there are no alarms to end a mutant that hangs")
def test_many_mutants_are_refused_or_run():
    examine("configuration", seed=20, count=10_000, processes=max((os.cpu_count() or 2) // 2, 1))


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("kind", ["network", "series", "archive", "pickle"])
@pytest.mark.skipif(sys.platform == "win32", reason="there are no alarms to end a mutant that hangs")
def test_mutated_files_are_refused_or_read(kind):
    examine(kind, seed=0, count=40 if kind in ("network", "series") else 300, processes=1)


@pytest.mark.slow
@pytest.mark.timeout(8 * LIMIT_S)
@pytest.mark.parametrize("kind", ["network", "series", "archive", "pickle"])
@pytest.mark.skipif(sys.platform == "win32", reason="there are no alarms to end a mutant that hangs")
def test_many_mutated_files_are_refused_or_read(kind):
    examine(kind, seed=21, count=500 if kind in ("network", "series") else 10_000, processes=1)
