"""How long a person waits: import, help, and the first reset of a process that finds compiled code in the cache.

    python bench/startup.py

Each figure is the median wall time of whole processes, after one that is not counted; ``bench/first_use.py`` measures
those that find nothing compiled.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from rich.console import Console
from rich.table import Table

FIRST_RESET = "import powergrid; env = powergrid.make('p2p_microgrids'); env.reset(seed=0)"
TEN_THOUSAND = "from powergrid.networks import network; network('radial', n=10_000, seed=1)"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import powergrid": [sys.executable, "-c", "import powergrid"],
    "a feeder of 10,000 buses": [sys.executable, "-c", TEN_THOUSAND],
    "powergrid --help": [sys.executable, "-m", "powergrid", "--help"],
    "make and first reset": [sys.executable, "-c", FIRST_RESET],
}


def wall_s(command: list[str]) -> float:
    """Wall time of one process [s]."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Print the table."""
    table = Table(title="seconds of a whole process")
    table.add_column("what")
    table.add_column("median", justify="right")
    table.add_column("most", justify="right")
    for name, command in COMMANDS.items():
        wall_s(command)
        found = [wall_s(command) for _ in range(7)]
        table.add_row(name, f"{median(found):.2f}", f"{max(found):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
