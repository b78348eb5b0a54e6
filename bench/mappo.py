"""Training: wall time of a run from a cold start, and how much of what is possible MAPPO saves over the rule.

    python bench/mappo.py [--seeds 5] [--steps 1e6] [--preset p2p_microgrids] [--out FOLDER]

Each seed is trained by ``powergrid train`` in a process of its own, and timed from its start to its end, imports and
compilation included, also in units of one warm ``pandapower.runpp`` on case33bw (numba, start from the last results),
timed before the first run. The wall time is split into the start (imports, environments, what is compiled before the
first update), roll-outs and updates, as the run's own clock has them. Then every policy plays the test days, and each
of these days gets its perfect-foresight lower bound. ``J`` is money and priced violations of all learning agents, and
the share captured is ``(J_rule - J_mappo) / (J_rule - J_bound)``; its interval comes from resampling seeds and days
together, each day with the same forecasts and initial states for all policies. What a seed saves against the rule has
the paired interval over the days. Runs already in ``--out`` are not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from powerflow import pandapower_step
from rich.console import Console
from rich.progress import track
from rich.table import Table

import powergrid
from powergrid.core.statistics import mean_interval
from powergrid.learn.bound import lower_bound
from powergrid.learn.evaluate import Evaluation, evaluate
from powergrid.report.files import read_metrics
from powergrid.worlds.seeds import episode_seed

RULE, LEARNED = "rule_based", "learned"
TARGET_SHARE = 0.2
RESAMPLES = 10_000
EVALUATION_SEED = 0


class Times(NamedTuple):
    """Where the wall time of a run went [s]."""

    wall: float
    start: float
    roll_outs: float
    updates: float


def train(preset: str, steps: str, seed: int, folder: Path) -> Times | None:
    """Train in a fresh process; ``None`` where the run is there already."""
    if (folder / "meta.json").exists():
        return None
    command = [sys.executable, "-m", "powergrid", "train", preset, "--steps", steps, "--seed", str(seed)]
    begin = time.perf_counter()
    subprocess.run([*command, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - begin
    rows = read_metrics(folder)
    rolled_s, loop_s = sum(row["rollout_s"] for row in rows), rows[-1]["time_s"]
    return Times(wall_s, wall_s - loop_s, rolled_s, loop_s - rolled_s)


def bounds(preset: str, days: tuple[int, ...]) -> np.ndarray:
    """Lower bound of each day as it is evaluated [$]."""
    env = powergrid.make(preset)
    return np.array(
        [
            lower_bound(env.export_episode(day, episode_seed(EVALUATION_SEED, day))).cost
            for day in track(days, description="lower bounds")
        ]
    )


def share(rule: np.ndarray, learned: np.ndarray, bound: np.ndarray) -> tuple[float, float, float]:
    """Share captured of costs ``(days,)``, ``(seeds, days)`` and ``(days,)``, and its 95 % interval."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        seeds, days = (rng.integers(0, size, size) for size in learned.shape)
        found.append(_share(rule[days], learned[np.ix_(seeds, days)], bound[days]))
    low, high = np.quantile(found, (0.025, 0.975))
    return _share(rule, learned, bound), float(low), float(high)


def _share(rule: np.ndarray, learned: np.ndarray, bound: np.ndarray) -> float:
    return float((rule.mean() - learned.mean()) / (rule.mean() - bound.mean()))


def print_times(console: Console, steps: str, times: dict[int, Times], runpp_s: float) -> None:
    """One row a run that was trained."""
    table = Table(title=f"training, {float(steps):,.0f} steps from process start to its end")
    for column in ("seed", "wall time", "start", "roll-outs", "updates", "runpp on case33bw", "steps/s over all"):
        table.add_column(column, justify="right")
    for seed, found in times.items():
        parts = (f"{part_s:.1f} s" for part_s in found)
        table.add_row(str(seed), *parts, f"{found.wall / runpp_s:,.0f}", f"{float(steps) / found.wall:,.0f}")
    console.print(table)
    console.print(f"one warm runpp: {1e3 * runpp_s:.2f} ms")


def print_quality(console: Console, evaluations: dict[int, Evaluation], bound: np.ndarray) -> None:
    """Mean cost of a day by policy, and the share captured by each seed and by all."""
    first = next(iter(evaluations.values()))
    rule = first[RULE].objective
    learned = np.array([evaluation[LEARNED].objective for evaluation in evaluations.values()])
    table = Table(title=f"{first.name}: J over {len(first.days)} test days")
    for column in ("policy", "J $/day", "saved $/day", "95 % interval", "share captured", "95 % interval"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    table.add_row(RULE, f"{rule.mean():,.2f}", "0", "", "0", "")
    for seed, row in zip(evaluations, learned, strict=True):
        mean, low, high = share(rule, row[None], bound)
        saved = mean_interval(rule - row)
        cells = f"{saved[0]:.2f}", "[{1:.2f}, {2:.2f}]".format(*saved), f"{mean:.3f}", f"[{low:.3f}, {high:.3f}]"
        table.add_row(f"mappo, seed {seed}", f"{row.mean():,.2f}", *cells)
    mean, low, high = share(rule, learned, bound)
    saved_by_all = f"{rule.mean() - learned.mean():.2f}"
    table.add_row(
        "mappo, all seeds", f"{learned.mean():,.2f}", saved_by_all, "", f"{mean:.3f}", f"[{low:.3f}, {high:.3f}]"
    )
    table.add_row("lower bound", f"{bound.mean():,.2f}", f"{(rule - bound).mean():.2f}", "", "1", "")
    console.print(table)
    verdict = "met" if low > TARGET_SHARE else "missed"
    console.print(f"target, the interval of all seeds above {TARGET_SHARE}: {verdict}")


def main() -> None:
    """Train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0, 1, ... to train")
    parser.add_argument("--steps", default="1e6", help="environment steps of a run")
    parser.add_argument("--preset", default="p2p_microgrids")
    parser.add_argument("--out", type=Path, default=None, help="folder that keeps the runs")
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folders = {seed: (given.out or Path(scratch)) / f"seed{seed}" for seed in range(given.seeds)}
        runpp_s = pandapower_step(powergrid.network("case33bw"), 200)
        times = {}
        for seed, folder in folders.items():
            console.print(f"seed {seed}")
            found = train(given.preset, given.steps, seed, folder)
            if found is not None:
                times[seed] = found
        print_times(console, given.steps, times, runpp_s)
        evaluations = {
            seed: evaluate(folder, policy=(LEARNED, RULE), seed=EVALUATION_SEED, show=False)
            for seed, folder in folders.items()
        }
        print_quality(console, evaluations, bounds(given.preset, evaluations[0].days))


if __name__ == "__main__":
    main()
