"""Environments that step together on the CPU: environment steps a second, and how the cost grows.

    python bench/vector.py [--envs 512] [--threads 1]

Small batteries on the 123-bus feeder, each an agent with a meter of its own, through ``make_vec(...).step_array``.
Every figure is the median wall time over windows; ratios are against one environment stepped by itself in the same run.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from environment import many_agents
from rich.console import Console
from rich.table import Table

import powergrid

WINDOWS, STEPS = 7, 12


def seconds_per_env_step(agents: int, count: int, threads: int) -> float:
    """Median wall seconds of one step of one environment among `count`."""
    env = powergrid.make_vec(many_agents(agents), count, threads=threads)
    env.reset(seed=0)
    width = env.world.layout.action_size
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (count, agents, width))
    env.step_array(actions)
    found = []
    for _ in range(WINDOWS):
        begin = time.perf_counter()
        for _ in range(STEPS):
            env.step_array(actions)
        found.append((time.perf_counter() - begin) / STEPS / count)
    env.close()
    return median(found)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=512, help="environments in the first table")
    parser.add_argument("--threads", type=int, default=1, help="threads")
    given = parser.parse_args()
    console = Console()
    table = Table(title=f"{given.envs} environments of the 123-bus feeder, {given.threads} thread(s)")
    for column in ("agents", "us per env-step", "env-steps/s", "agent-steps/s", "ratio to one alone"):
        table.add_column(column, justify="right")
    for agents in (10, 100, 1000):
        alone = seconds_per_env_step(agents, 1, 1)
        cost = seconds_per_env_step(agents, max(given.envs // max(agents // 100, 1), 1), given.threads)
        row = (f"{1e6 * cost:.1f}", f"{1 / cost:,.0f}", f"{agents / cost:,.0f}", f"{alone / cost:.1f}")
        table.add_row(f"{agents:,}", *row)
    console.print(table)
    counts = (1, 16, 256, 4096)
    costs = [count * seconds_per_env_step(10, count, given.threads) for count in counts]
    growth = Table(title="10 agents: how a step of all environments grows")
    for column in ("environments", "ms per step of all", "env-steps/s"):
        growth.add_column(column, justify="right")
    for count, cost in zip(counts, costs, strict=True):
        growth.add_row(f"{count:,}", f"{1e3 * cost:.2f}", f"{count / cost:,.0f}")
    console.print(growth)
    slope = np.log(costs[-1] / costs[-2]) / np.log(counts[-1] / counts[-2])
    console.print(f"log-log slope over the upper decade: {slope:.2f}")


if __name__ == "__main__":
    main()
