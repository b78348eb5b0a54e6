"""Environments that step together on the CPU: environment steps a second, and how the cost grows.

    python bench/vector.py [--threads 1] [--core 1] [--figure growth.png]

Small batteries on the 123-bus feeder, each an agent with a meter of its own, through ``step_array``: power flow,
devices, money and everybody's observation. Every figure is the median wall time over windows of whole steps, resets
left out. Ratios are taken in the same run, against NumPy in place of compiled code and against one environment alone.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import product
from statistics import median

import numpy as np
from environment import many_agents
from rich.console import Console
from rich.table import Table

import powergrid

WINDOWS, SECONDS = 9, 0.1
COUNTS = {10: (64, 512), 100: (64, 128, 512), 1000: (16, 32, 64, 256)}
"""Environments of the first table by number of agents."""
GROWTH = (1, 16, 64, 256, 1024, 4096)
"""Environments of the second table."""


def seconds_per_env_step(agents: int, count: int, threads: int, backend: str = "fused") -> float:
    """Median wall seconds of one step of one environment among `count`."""
    env = powergrid.make_vec(many_agents(agents), count, threads=threads, backend=backend)
    width = env.world.layout.action_size
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (count, agents, width))
    env.reset(seed=0)
    begin = time.perf_counter()
    env.step_array(actions)
    env.step_array(actions)
    steps = int(np.clip(2 * SECONDS / (time.perf_counter() - begin), 2, 80))  # within one day
    found = []
    for _ in range(WINDOWS):
        env.reset(seed=0)
        begin = time.perf_counter()
        for _ in range(steps):
            env.step_array(actions)
        found.append((time.perf_counter() - begin) / steps / count)
    env.close()
    return median(found)


def rates(console: Console, threads: int) -> None:
    """Print environment steps a second by number of agents and environments."""
    table = Table(title=f"123-bus feeder, {threads} thread(s)")
    for column in ("agents", "environments", "us per env-step", "env-steps/s", "agent-steps/s", "to NumPy", "to one"):
        table.add_column(column, justify="right")
    for agents, counts in COUNTS.items():
        alone = seconds_per_env_step(agents, 1, 1)
        for count in counts:
            cost = seconds_per_env_step(agents, count, threads)
            plain = seconds_per_env_step(agents, count, threads, "numpy")
            row = (f"{1e6 * cost:.2f}", f"{1 / cost:,.0f}", f"{agents / cost:,.0f}")
            table.add_row(f"{agents:,}", f"{count:,}", *row, f"{plain / cost:.1f}", f"{alone / cost:.1f}")
    console.print(table)


def slope(counts: tuple[int, ...], costs: list[float]) -> float:
    """Of the logarithms over the upper decade and more."""
    upper = np.array(counts) * 16 >= counts[-1]
    return float(np.polyfit(np.log(np.array(counts)[upper]), np.log(np.array(costs)[upper]), 1)[0])


def growth(console: Console, threads: int) -> dict[str, list[float]]:
    """Print what a step of all environments costs as their number grows; seconds by number of agents."""
    table, found = Table(title="how a step of all environments grows"), {}
    for column in ("agents", "environments", "ms per step of all", "env-steps/s"):
        table.add_column(column, justify="right")
    for agents in (10, 100):
        found[f"{agents} agents"] = [count * seconds_per_env_step(agents, count, threads) for count in GROWTH]
    for (kind, costs), (i, count) in product(found.items(), enumerate(GROWTH)):
        table.add_row(kind.split()[0], f"{count:,}", f"{1e3 * costs[i]:.3f}", f"{count / costs[i]:,.0f}")
    console.print(table)
    for kind, costs in found.items():
        console.print(f"{kind}: log-log slope from 256 to 4,096 environments {slope(GROWTH, costs):.2f}")
    return found


def draw(costs: dict[str, list[float]], path: str) -> None:
    """Plot the costs in logarithms beside a line of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for (kind, cost), marker in zip(costs.items(), "os", strict=True):
        axes.loglog(GROWTH, 1e3 * np.array(cost), marker=marker, label=f"{kind}, slope {slope(GROWTH, cost):.2f}")
    last = next(iter(costs.values()))[-1]
    straight = 1e3 * last * np.array(GROWTH) / GROWTH[-1]
    axes.loglog(GROWTH, straight, color="0.6", linestyle=":", label="in proportion")
    axes.set(xlabel="environments", ylabel="time of a step of all [ms]", title="make_vec on the 123-bus feeder")
    axes.grid(which="both", color="0.9")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="threads")
    parser.add_argument("--core", type=int, help="core to run on")
    parser.add_argument("--figure", help="write a plot of the growth to this file")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    console = Console(width=110)
    rates(console, given.threads)
    costs = growth(console, given.threads)
    if given.figure:
        draw(costs, given.figure)


if __name__ == "__main__":
    main()
