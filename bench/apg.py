"""Gradients through the step against MAPPO: cost of a test day, and seconds of training from process start.

    python bench/apg.py [--seeds 3] [--steps 1.5e5 5e5] [--mappo-steps 1e6] [--preset p2p_microgrids] [--out FOLDER]

Each run is trained by ``powergrid train`` in a process of its own, one after the other, and timed from its start to
its end, imports and compilation included. Compiled code of earlier runs is in the caches of Numba and JAX, as on any
machine where somebody has trained before; ``--cold`` gives apg's runs an empty cache of JAX. Then all play the test
days, each day with the same forecasts and initial states for all. ``J`` is money and priced violations of all learning
agents. The share captured is ``(J_rule - J) / (J_rule - J_bound)`` with the perfect-foresight lower bound, its interval
from resampling seeds and days together; what apg saves against MAPPO has the paired interval over the days, each the
mean over the seeds. Runs already in ``--out`` are not trained again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from mappo import EVALUATION_SEED, LEARNED, RULE, bounds, share
from rich.console import Console
from rich.progress import track
from rich.table import Table

from powergrid.core.statistics import mean_interval
from powergrid.learn.evaluate import evaluate

SECONDS = "seconds.txt"


def trained(preset: str, algorithm: str, steps: float, seed: int, folder: Path, cold: bool) -> float:
    """Train in a fresh process unless the run is there; wall time [s]."""
    if not (folder / SECONDS).exists():
        command = [sys.executable, "-m", "powergrid", "train", preset, "--algo", algorithm, "--steps", f"{steps:.0f}"]
        with tempfile.TemporaryDirectory() as empty:
            environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": empty} if cold else None
            begin = time.perf_counter()
            subprocess.run(
                [*command, "--seed", str(seed), "--out", str(folder)],
                check=True,
                stdout=subprocess.DEVNULL,
                env=environment,
            )
        (folder / SECONDS).write_text(f"{time.perf_counter() - begin:.1f}")
    return float((folder / SECONDS).read_text())


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of each")
    parser.add_argument("--steps", type=float, nargs="+", default=[1.5e5, 5e5], help="environment steps of apg's runs")
    parser.add_argument("--mappo-steps", type=float, default=1e6)
    parser.add_argument("--preset", default="p2p_microgrids")
    parser.add_argument("--days", default="test", help="split that is played")
    parser.add_argument("--cold", action="store_true", help="an empty cache of compiled code for each run of apg")
    parser.add_argument("--out", type=Path, default=None, help="folder that keeps the runs")
    given = parser.parse_args()
    console = Console(width=120)
    kinds = [("mappo", given.mappo_steps), *(("apg", steps) for steps in given.steps)]
    with tempfile.TemporaryDirectory() as scratch:
        objectives, seconds = {}, {}
        found = None
        runs = [(algorithm, steps, seed) for seed in range(given.seeds) for algorithm, steps in kinds]
        for algorithm, steps, seed in track(runs, "training", console=console):
            folder = (given.out or Path(scratch)) / f"{algorithm}-{steps:.0f}-seed{seed}"
            cold = given.cold and algorithm == "apg"
            seconds[algorithm, steps, seed] = trained(given.preset, algorithm, steps, seed, folder, cold)
            found = evaluate(folder, policy=(LEARNED, RULE), days=given.days, seed=EVALUATION_SEED, show=False)
            objectives[algorithm, steps, seed] = found[LEARNED].objective
    assert found is not None
    rule, bound = found[RULE].objective, bounds(given.preset, found.days)
    table = Table(title=f"{given.preset}: {len(found.days)} {given.days} days, {given.seeds} seeds; $/day")
    columns = ("policy", "steps", "seconds", "J", "saved to rule", "saved to mappo", "share captured")
    for column in columns:
        table.add_column(column, justify="left" if column == "policy" else "right")
    table.add_row("rule", "", "", f"{rule.mean():,.2f}", "", "", "0")
    first = np.array([objectives[(*kinds[0], seed)] for seed in range(given.seeds)])
    for kind in kinds:
        rows = np.array([objectives[(*kind, seed)] for seed in range(given.seeds)])
        times = [seconds[(*kind, seed)] for seed in range(given.seeds)]
        table.add_row(
            kind[0],
            f"{kind[1]:,.0f}",
            f"{np.mean(times):.1f}\n{min(times):.1f} to {max(times):.1f}",
            f"{rows.mean():,.2f}\n{rows.mean(1).min():,.2f} to {rows.mean(1).max():,.2f}",
            _interval(mean_interval(rule - rows.mean(0))),
            "" if kind == kinds[0] else _interval(mean_interval(first.mean(0) - rows.mean(0))),
            _interval(share(rule, rows, bound), 3),
        )
    table.add_row("lower bound", "", "", f"{bound.mean():,.2f}", _interval(mean_interval(rule - bound)), "", "1")
    console.print(table)
    console.print("below: seconds and J from the least to the greatest of the seeds, 95 % intervals of the others")


def _interval(values: tuple[float, float, float], digits: int = 2) -> str:
    return "{0:.{d}f}\n[{1:.{d}f}, {2:.{d}f}]".format(*values, d=digits)


if __name__ == "__main__":
    main()
