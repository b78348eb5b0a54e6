"""Learners against the rule of each preset on the test days, after the same number of steps.

    python bench/against_rule.py [--presets ieee13_single voltage_control_13 two_microgrids ieee34_multi]
                                 [--algorithms mappo apg] [--kinds commands corrections] [--steps 2e5] [--seeds 1]
                                 [--out DIR]
    python bench/against_rule.py --algorithms default --kinds default --steps 5e5 [--presets ...]

The second line trains each preset as ``powergrid train PRESET`` does; otherwise actions are commands, or correct the
rule. Each run plays the test days beside the rule. Columns are the mean cost J of a day over days and seeds, and what a
run saves against the rule, day by day, with the 95 % interval of the mean. A line follows each run. Runs that are in
``--out`` are not trained again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.core.statistics import mean_interval

RULE = "rule_based"
DEFAULT = "default"
KINDS = {"commands": "none", "corrections": RULE, DEFAULT: None}


def saved(
    preset: str, algorithm: str, residual: str | None, steps: int, seed: int, folder: Path
) -> tuple[np.ndarray, ...]:
    """Cost of a run and of the rule on each test day [$/day], and seconds of training if it is trained here."""
    begin, trains = time.perf_counter(), not (folder / "checkpoint.npz").exists()
    if trains:
        given = {
            "algo": None if algorithm == DEFAULT else algorithm,
            "steps": steps,
            "seed": seed,
            "residual": residual,
            "out": folder,
        }
        powergrid.train(preset, progress=False, **given)
    seconds = time.perf_counter() - begin if trains else np.nan
    found = powergrid.evaluate(folder, policy=("learned", RULE), days="test", show=False, bound=False)
    return found["learned"].objective, found[RULE].objective, np.array(seconds)


def main() -> None:
    """Train, play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = ["ieee13_single", "voltage_control_13", "two_microgrids", "ieee34_multi"]
    parser.add_argument("--presets", nargs="+", default=presets)
    parser.add_argument("--algorithms", nargs="+", default=["mappo", "apg"])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["commands", "corrections"])
    parser.add_argument("--steps", type=float, default=2e5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out, console = given.out or Path(tempfile.mkdtemp(prefix="residual-")), Console()
    table = Table(title=f"{int(given.steps):,} steps, {given.seeds} seed(s), test days, $/day")
    for column in (
        "preset",
        "algorithm",
        "actions are",
        "J",
        "J of the rule",
        "saves",
        "95 % interval",
        "training [s]",
    ):
        table.add_column(column, justify="left" if column in ("preset", "algorithm", "actions are") else "right")
    for preset, algorithm, kind in product(given.presets, given.algorithms, given.kinds):
        runs = [
            saved(preset, algorithm, KINDS[kind], int(given.steps), seed, out / f"{preset}-{algorithm}-{kind}-{seed}")
            for seed in range(given.seeds)
        ]
        learned, rule, seconds = (np.mean(part, axis=0) for part in zip(*runs, strict=True))
        mean, low, high = mean_interval(rule - learned)
        numbers = f"{learned.mean():,.1f}", f"{rule.mean():,.1f}", f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}"
        table.add_row(preset, algorithm, kind, *numbers, f"{seconds:.0f}")
        console.print(f"{preset} {algorithm} {kind}: {', '.join(numbers)}, {seconds:.0f} s")
    console.print(table)


if __name__ == "__main__":
    main()
