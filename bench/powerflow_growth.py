"""How the cost of a power flow grows with the network, from 100 to 10,000 buses.

    python bench/powerflow_growth.py [--figure growth.png] [--core 0]

Made-up radial feeders of the same make: CPU time of a flow in a batch and of one warm step, float64 to 1e-8 pu, pinned
to one core, sizes in turns, medians over turns. A slope is that of the straight line through the points of the upper
decade in logarithms: 1 means a cost in proportion to the number of buses.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from powerflow_engines import PowerGrid, processor, radial_case
from rich.console import Console
from rich.table import Table

SIZES = (100, 200, 500, 1000, 2000, 5000, 10_000)
BUSES_A_BATCH = 1_920_000
"""Whole groups of 16 scenarios at each size: what the last group leaves empty is not growth. So many that inputs and
results leave the cache at every size; of few scenarios those of a small network would stay in it."""
TOL_PU = 1e-8


def measured(turns: int) -> dict[str, np.ndarray]:
    """Microseconds of each size by kind of run."""
    runs: list[tuple[str, int, Callable[[], Any], int]] = []
    for size in SIZES:
        case = radial_case(size, BUSES_A_BATCH // size, steps=40)
        engine = PowerGrid(case)
        ((_, batch),) = engine.batches()
        step = engine.step()
        runs.append(("a flow in a batch", size, lambda batch=batch: batch(TOL_PU), len(case.p_mw)))
        runs.append(("one warm step", size, lambda step=step: [step(k) for k in range(40)], 40))
    times: dict[tuple[str, int], list[float]] = {(kind, size): [] for kind, size, _, _ in runs}
    for turn in range(turns + 1):
        for kind, size, run, count in runs:
            begin = process_time()
            run()
            if turn:  # the first warms up
                times[kind, size].append(1e6 * (process_time() - begin) / count)
    kinds = dict.fromkeys(kind for kind, *_ in runs)
    return {kind: np.array([median(times[kind, size]) for size in SIZES]) for kind in kinds}


def slope(cost: np.ndarray) -> float:
    """Of the upper decade."""
    upper = np.array(SIZES) >= SIZES[-1] / 10
    return float(np.polyfit(np.log(np.array(SIZES)[upper]), np.log(cost[upper]), 1)[0])


def draw(costs: dict[str, np.ndarray], path: str) -> None:
    """Plot the costs in logarithms beside a line of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for (kind, cost), marker in zip(costs.items(), "os", strict=True):
        axes.loglog(SIZES, cost, marker=marker, label=f"{kind}, slope {slope(cost):.2f}")
    first = next(iter(costs.values()))
    axes.loglog(SIZES, first[0] * np.array(SIZES) / SIZES[0], color="0.6", linestyle=":", label="in proportion")
    axes.set(xlabel="buses", ylabel="CPU time [us]", title="Cost of a power flow on radial feeders")
    axes.grid(which="both", color="0.9")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", help="write a plot to this file")
    parser.add_argument("--turns", type=int, default=9, help="turns of which the median is taken")
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    costs, console = measured(options.turns), Console(width=110)
    table = Table(title="CPU time in microseconds")
    for column in ("buses", *costs):
        table.add_column(column, justify="right")
    for at, size in enumerate(SIZES):
        table.add_row(f"{size:,}", *(f"{cost[at]:,.1f}" for cost in costs.values()))
    table.add_row("slope over the upper decade", *(f"{slope(cost):.2f}" for cost in costs.values()))
    console.print(processor())
    console.print(table)
    if options.figure:
        draw(costs, options.figure)


if __name__ == "__main__":
    main()
