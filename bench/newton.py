"""Newton's method compiled against the same method on SciPy's LU factorisation, in the same run.

    python bench/newton.py [--scenarios 64] [--repeats 9]

A warm flow starts from the flow at loads that differ by 2 %, as in an environment; a cold one from the angles of a DC
power flow. Reactive limits are kept unless the row says otherwise. Medians of processor time on one thread, both sides
of a ratio in turn. The largest difference is that of all voltages [pu] between the two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from powergrid import network
from powergrid.core.types import NodeLoad
from powergrid.powerflow import newton

CASES = (("case14", True), ("case30", True), ("case118", True), ("case118", False))


def in_turn(runs: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Median processor times [s] of functions that run in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, spent in zip(runs, times, strict=True):
            begin = time.process_time()
            run()
            spent.append(time.process_time() - begin)
    return [float(np.median(spent)) for spent in times]


def row(name: str, q_limits: bool, count: int, repeats: int) -> list[str]:
    grid = network(name)
    own, rng = grid.node_load(), np.random.default_rng(0)
    level = rng.uniform(0.7, 1.0, (count, 1)) * rng.uniform(0.95, 1.05, (count, len(grid.buses.name)))
    moved = level * (1 + 0.02 * rng.standard_normal(level.shape))
    first, later = (NodeLoad(own.p_mw * factor, own.q_mvar * factor) for factor in (level, moved))
    plans = [newton.plan(grid, q_limits=q_limits, compiled_code=code) for code in (True, False)]
    start = newton.solve(plans[0], first)
    warm = in_turn([lambda p=p: newton.solve(p, later, None, start) for p in plans], repeats)
    cold = in_turn([lambda p=p: newton.solve(p, later) for p in plans], repeats)
    flows = [newton.solve(p, later, None, start) for p in plans]
    assert flows[0].converged.all()
    apart = max(float(np.abs(getattr(flows[0], part) - getattr(flows[1], part)).max()) for part in ("v_re", "v_im"))
    cells = [name + ("" if q_limits else ", no limits"), str(count)]
    for ours, scipy in (warm, cold):
        cells += [f"{1e6 * ours / count:.1f}", f"{1e6 * scipy / count:,.0f}", f"{scipy / ours:.0f}"]
    return [*cells, f"{apart:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    table = Table(
        "network", "scenarios", "warm [us]", "SciPy [us]", "ratio", "cold [us]", "SciPy [us]", "ratio", "apart [pu]"
    )
    for name, q_limits in CASES:
        table.add_row(*row(name, q_limits, given.scenarios, given.repeats))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
