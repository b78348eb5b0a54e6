"""Power flow against other libraries, each with its best settings, all to the same accuracy.

    pip install -e .[bench]
    python bench/powerflow_libraries.py [--sizes 33 123 1000] [--count 2000] [--core 0]

Batch: the loads of every scenario lie between 50 and 120 % of the network's own, drawn bus by bus. Every engine may
choose its method and takes the loosest of its tolerances that keeps all voltages within 1e-8 pu of pandapower's Newton
method at 1e-11; the largest difference is printed. Single step: one flow after the other at a tolerance of 1e-8, the
loads move by about 2 %, data in and results out. Results are voltages, loadings of branches and the power of the source
(tensorpowerflow: voltages). All engines run in one process pinned to one core, in turns; a figure is the median over
turns of CPU time. A library that is not installed is left out with a sentence. Ratios travel between machines, digits
do not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from statistics import median
from time import process_time
from typing import Any, NamedTuple

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from powerflow_engines import ENGINES, Case, Engine, Missing, processor, radial_case
from rich.console import Console
from rich.table import Table

WITHIN_PU = 1e-8
TOLERANCES = tuple(float(f"1e-{k}") for k in range(3, 12))
CHECKED = 20
"""Scenarios that are compared with the reference."""


class Way(NamedTuple):
    """One engine with one of its methods, prepared: what to run, how far off it is and its time a flow."""

    engine: str
    label: str
    run: Callable[[], Any]
    error_pu: float
    times_s: list[float]


def prepared(engine: Engine, reference: np.ndarray, within_pu: float = WITHIN_PU) -> Iterator[Way]:
    """The methods of an engine, each at the loosest tolerance that is accurate enough."""
    for label, run in engine.batches():
        for tolerance in TOLERANCES:
            error = float(np.abs(run(tolerance)[: len(reference)] - reference).max())
            if error <= within_pu:
                yield Way(engine.name, f"{label}, {tolerance:.0e}", lambda run=run, tol=tolerance: run(tol), error, [])
                break


def take_turns(ways: list[Way], count: int, turns: int) -> None:
    """Let every way run once a turn and note its CPU time a flow."""
    for _ in range(turns):
        for way in ways:
            begin = process_time()
            way.run()
            way.times_s.append((process_time() - begin) / count)


def best_of_each(ways: list[Way]) -> list[Way]:
    """The fastest way of each engine."""
    found: dict[str, Way] = {}
    for way in ways:
        held = found.get(way.engine)
        if held is None or median(way.times_s) < median(held.times_s):
            found[way.engine] = way
    return list(found.values())


def engines_for(case: Case) -> Iterator[Engine]:
    for build in ENGINES:
        try:
            yield build(case)
        except Missing as sentence:
            print(f"{case.name}: {sentence}")


def batch(case: Case, turns: int, console: Console) -> None:
    """Print the table of flows a second."""
    reference = case.reference(CHECKED)
    ways = [way for engine in engines_for(case) for way in prepared(engine, reference)]
    take_turns(ways, len(case.p_mw), turns)
    shown = best_of_each(ways)
    print_batch(f"{case.name}: {len(case.p_mw)} flows in a batch, one core, float64", shown, console)


def print_batch(title: str, ways: list[Way], console: Console) -> None:
    """Print flows a second, the first way being ours."""
    own, table = median(ways[0].times_s), Table(title=title)
    for column in ("engine", "method, tolerance", "flows/s", "largest error", "PowerGrid is faster by"):
        table.add_column(column, justify="left" if column.startswith(("e", "m")) else "right")
    for way in ways:
        took = median(way.times_s)
        ratio = "" if way is ways[0] else f"{took / own:.1f}x"
        table.add_row(way.engine, way.label, f"{1 / took:,.0f}", f"{way.error_pu:.0e} pu", ratio)
    console.print(table)


def single(case: Case, turns: int, console: Console, steps: int = 200) -> None:
    """Print the table of warm steps."""
    ways = []
    for engine in engines_for(case):
        step = engine.step()
        if step is None:
            continue
        error = float(np.abs(np.array([step(k) for k in range(CHECKED)]) - case.reference(CHECKED, steps=True)).max())

        def run(step: Callable[[int], Any] = step) -> None:
            for k in range(steps):
                step(k)

        ways.append(Way(engine.name, "", run, error, []))
    take_turns(ways, steps, turns)
    own = median(ways[0].times_s)
    table = Table(title=f"{case.name}: one warm step, data in and out")
    for column in ("engine", "us a step", "largest error", "PowerGrid is faster by"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for way in ways:
        took = median(way.times_s)
        ratio = "" if way is ways[0] else f"{took / own:.2f}x"
        table.add_row(way.engine, f"{1e6 * took:.1f}", f"{way.error_pu:.0e} pu", ratio)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[33, 123, 1000], help="buses of the feeders")
    parser.add_argument("--count", type=int, default=2048, help="scenarios in a batch, a quarter of it at 1000 buses")
    parser.add_argument("--turns", type=int, default=9, help="turns of which the median is taken")
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    console = Console(width=130)
    console.print(processor())
    for size in options.sizes:
        case = radial_case(size, options.count if size < 500 else options.count // 4)
        batch(case, options.turns, console)
        single(case, options.turns, console)


if __name__ == "__main__":
    main()
