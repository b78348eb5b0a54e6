"""Learning within limits: cost of a day against its limit, and the money it takes, for algorithms that price or limit.

    python bench/constrained.py [--preset voltage_control_34] [--limit voltage=1] [--steps 3e5] [--seeds 3]

`mappo` prices violations; its `safety_scale` is chosen among three by the validation days: the cheapest one whose mean
cost is within the limits, or else the one with the least cost. `ppo_lagrangian` and `cpo` keep the limits of
``training.cost_limits``. All play the test days with their mean actions. Costs are those of all limited constraints of
a day; the last column compares the money with that of the chosen `mappo`. Runs that are in ``--out`` are not trained
again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from powergrid.config import load_config
from powergrid.config.resolve import with_overrides
from powergrid.learn.evaluate import evaluate
from powergrid.learn.train import train

SCALES = (1.0, 10.0, 100.0)
LIMITED = ("ppo_lagrangian", "cpo")


class Played(NamedTuple):
    """Days of one run: cost of the limited constraints and money [$/day], and the seconds of its training."""

    cost: np.ndarray
    money: np.ndarray
    seconds: float


def played(run: Path, limits: dict[str, float], days: str) -> Played:
    """A run's days."""
    found = evaluate(run, policy="learned", days=days, bound=False, show=False)
    outcome = found.outcomes[0]
    limited = [k for k, name in enumerate(found.cost_names) if name.removeprefix("shared_") in limits]
    seconds = float((run / "seconds.txt").read_text())
    return Played(outcome.costs[:, limited].sum(1), outcome.money.sum(1), seconds)


def trained(config: Any, algorithm: str, seed: int, steps: int, folder: Path) -> Path:
    """A run, trained unless it is there."""
    if not (folder / "seconds.txt").exists():
        begin = time.perf_counter()
        train(config, algo=algorithm, steps=steps, seed=seed, out=folder, residual="none", progress=False)
        (folder / "seconds.txt").write_text(f"{time.perf_counter() - begin:.1f}")
    return folder


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="voltage_control_34")
    parser.add_argument("--limit", action="append", metavar="NAME=USD", help="a limit [$ per day]")
    parser.add_argument("--steps", type=float, default=3e5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    limits = {name: float(value) for name, value in (part.split("=") for part in given.limit or ["voltage=1"])}
    out = given.out or Path(tempfile.mkdtemp(prefix="constrained-"))
    console, steps = Console(), int(given.steps)
    plain = load_config(given.preset)
    runs: dict[str, list[Path]] = {}
    tasks = [("mappo", seed, scale) for scale in SCALES for seed in range(given.seeds)]
    tasks += [(algorithm, seed, 0.0) for algorithm in LIMITED for seed in range(given.seeds)]
    for algorithm, seed, scale in track(tasks, "training", console=console):
        name = f"mappo x {scale:g}" if scale else algorithm
        config = with_overrides(plain, safety_scale=scale) if scale else with_overrides(plain, cost_limits=limits)
        folder = out / f"{name.replace(' x ', '-')}-{seed}"
        runs.setdefault(name, []).append(trained(config, algorithm, seed, steps, folder))
    priced = {name: [played(run, limits, "validation") for run in runs[name]] for name in runs if name[:5] == "mappo"}
    costs = {name: float(np.mean([row.cost.mean() for row in rows])) for name, rows in priced.items()}
    money = {name: float(np.mean([row.money.mean() for row in rows])) for name, rows in priced.items()}
    within = [name for name in priced if costs[name] <= sum(limits.values())]
    chosen = min(within, key=money.__getitem__) if within else min(costs, key=costs.__getitem__)
    table = Table(title=f"{given.preset}: limits {limits} $ a day, {steps:,} steps, {given.seeds} seeds, test days")
    for column in ("algorithm", "cost, mean", "worst day", "days above", "money", "to tuned mappo", "training [s]"):
        table.add_column(column, justify="left" if column == "algorithm" else "right")
    tests = {name: [played(run, limits, "test") for run in runs[name]] for name in runs}
    base = float(np.mean([row.money.mean() for row in tests[chosen]]))
    for name, rows in tests.items():
        cost, spent = np.concatenate([row.cost for row in rows]), np.mean([row.money.mean() for row in rows])
        above = (cost > sum(limits.values())).mean()
        table.add_row(
            f"{name} *" if name == chosen else name,
            f"{cost.mean():.3f}",
            f"{cost.max():.2f}",
            f"{above:.1%}",
            f"{spent:.2f}",
            f"{(spent - base) / abs(base):+.1%}",
            f"{np.mean([row.seconds for row in rows]):.0f}",
        )
    console.print(table)
    console.print("* chosen by the validation days; mappo x k prices violations k times")


if __name__ == "__main__":
    main()
