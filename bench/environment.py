"""Steps per second of the PettingZoo environment: against pandapower in the same step, and as agents grow in number.

    python bench/environment.py

Prints medians over repeated windows of process CPU time; ratios are taken within this run.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid


def seconds_per_step(env: Any, steps: int, windows: int) -> float:
    """Median CPU seconds of one step through dictionaries, with random actions drawn beforehand."""
    env.reset(seed=0)
    length = env.world.layout.settings.episode_length
    actions = [{agent: env.action_space(agent).sample() for agent in env.possible_agents} for _ in range(16)]
    found = []
    for _ in range(windows):
        env.reset()
        env.step(actions[0])  # warm up outside the window
        done = 0
        begin = time.process_time()
        while done < steps:
            if done % length == length - 1:
                env.reset()
            env.step(actions[done % len(actions)])
            done += 1
        found.append((time.process_time() - begin) / steps)
    return median(found)


def many_agents(count: int, seed: int = 0) -> dict[str, Any]:
    """`count` small batteries spread over the 123-bus feeder, each an agent with a meter of its own."""
    buses = [bus for bus in powergrid.network("ieee123").buses.name if bus.isdigit()]
    rng = np.random.default_rng(seed)
    return {
        "name": f"{count} batteries",
        "network": {"base": "ieee123"},
        "agents": [
            {
                "id": f"ess_{i}",
                "type": "ESS",
                "bus": str(rng.choice(buses)),
                "params": {"capacity_mwh": 4.0 / count, "max_p_mw": 1.0 / count},
            }
            for i in range(count)
        ],
    }


def against_pandapower(console: Console) -> None:
    """The same preset with the compiled power flow and with ``pandapower.runpp`` in its place."""
    fast = seconds_per_step(powergrid.make("p2p_microgrids"), 95, 7)
    slow = seconds_per_step(powergrid.make("p2p_microgrids", method="pandapower"), 10, 3)
    table = Table(title="p2p_microgrids, one environment through PettingZoo dictionaries")
    for column in ("power flow", "ms per step", "steps/s", "ratio"):
        table.add_column(column, justify="right")
    table.add_row("pandapower.runpp", f"{1e3 * slow:.2f}", f"{1 / slow:,.0f}", "1")
    table.add_row("sparse_lu", f"{1e3 * fast:.3f}", f"{1 / fast:,.0f}", f"{slow / fast:.0f}")
    console.print(table)


def growth(console: Console) -> None:
    """Steps per second with 10, 100 and 1,000 agents, the time to build the environment, and the slopes of both."""
    counts, costs, built = (10, 100, 1000), [], []
    table = Table(title="small batteries on the 123-bus feeder, through PettingZoo dictionaries")
    for column in ("agents", "built in s", "ms per step", "steps/s", "agent-steps/s"):
        table.add_column(column, justify="right")
    for count in counts:
        begin = time.process_time()
        env = powergrid.make(many_agents(count))
        built.append(time.process_time() - begin)
        cost = seconds_per_step(env, 95, 5)
        costs.append(cost)
        table.add_row(f"{count:,}", f"{built[-1]:.2f}", f"{1e3 * cost:.3f}", f"{1 / cost:,.0f}", f"{count / cost:,.0f}")
    console.print(table)
    for name, values in (("a step", costs), ("building", built)):
        slope = np.polyfit(np.log(counts), np.log(values), 1)[0]
        upper = np.log(values[2] / values[1]) / np.log(counts[2] / counts[1])
        console.print(f"log-log slope of {name}: {slope:.2f} over all, {upper:.2f} over the upper decade")


if __name__ == "__main__":
    against_pandapower(Console())
    growth(Console())
