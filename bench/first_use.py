"""How long the first use on a machine takes, and each later one.

    python bench/first_use.py [PRESET]

Every row is a process of its own with cache folders that are empty at the beginning of the table: making one
environment and its first step, then making 64 side by side and their first step; then the same once more, with what
the first two have compiled. Wall time is what a person waits; processor time is that of the process and of the one that
helps it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ONE = """
import powergrid
env = powergrid.make({preset!r})
env.reset(seed=0)
env.step({{agent: env.action_space(agent).sample() for agent in env.agents}})
"""
MANY = """
import powergrid
env = powergrid.make_vec({preset!r}, 64)
env.reset(seed=0)
env.step({{agent: space.sample() for agent, space in env.action_space.items()}})
"""


def run(code: str, caches: Path) -> tuple[float, float]:
    """Wall time and processor time of a process [s]."""
    variables = {"NUMBA_CACHE_DIR": str(caches / "numba"), "XDG_CACHE_HOME": str(caches / "cache")}
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | variables, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, cpu


def main() -> None:
    """Print the table."""
    preset = sys.argv[1] if len(sys.argv) > 1 else "p2p_microgrids"
    table = Table(title=f"seconds of a whole process, {preset}")
    table.add_column("what")
    table.add_column("wall", justify="right")
    table.add_column("processor", justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for how in ("nothing compiled", "compiled before"):
            for name, code in (("make and first step", ONE), ("make_vec and first step", MANY)):
                wall, cpu = run(code.format(preset=preset), Path(folder))
                table.add_row(f"{name}, {how}", f"{wall:.1f}", f"{cpu:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
