"""A day in which lines fail and switches move, in compiled code against NumPy.

    python bench/outages.py [--core 1] [--islands]

Batteries on the 33-bus feeder, each an agent, and a tie switch that an agent moves. Two outages are drawn for each
episode: each cuts part of the feeder off for four hours. Every tick of a day is stepped once; a figure is the median
of whole days. Ratios are taken in the same run. With ``--islands`` the batteries form the grids of what is cut off.
"""

from __future__ import annotations

import argparse
import os
import time
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid

TICKS, HOUR_S = 96, 3600
DAYS = {"fused": 9, "numpy": 3}
"""Days that are played with each backend."""


def config(batteries: int, forming: bool = False) -> dict[str, Any]:
    """The feeder with so many batteries, a tie switch and two outages a day."""
    params = {"capacity_mwh": 2.0, "max_p_mw": 0.2, **({"sn_mva": 0.3, "grid_forming": True} if forming else {})}
    agents = [
        {"id": f"ess_{i}", "type": "ESS", "bus": str(32 - i % 32), "params": dict(params)} for i in range(batteries)
    ]
    failing = {"start": [0, 18 * HOUR_S], "duration": 4 * HOUR_S}
    return {
        "name": "a day with outages",
        "network": {
            "base": "case33bw",
            "outages": [{"branch": ["line_4", "line_12"], **failing}, {"branch": ["line_22", "line_27"], **failing}],
        },
        "agents": [*agents, {"id": "tie", "type": "Switch", "bus": "line_35", "params": {"move_cost": 5.0}}],
    }


def seconds_per_env_step(source: dict[str, Any], count: int, backend: str) -> tuple[float, float]:
    """Median wall seconds of one environment's step, and the share of steps in which an agent is without voltage."""
    env = powergrid.make_vec(source, count, backend=backend, episode_length=TICKS)
    layout = env.world.layout
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (TICKS - 1, count, len(layout.actors), layout.action_size))
    env.reset(seed=0)
    dark = [float((~env.step_array(chosen).available).any(-1).mean()) for chosen in actions]
    found = []
    for _ in range(DAYS[backend]):
        env.reset(seed=0)
        begin = time.perf_counter()
        for chosen in actions:
            env.step_array(chosen)
        found.append((time.perf_counter() - begin) / len(actions) / count)
    env.close()
    return median(found), float(np.mean(dark))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, help="core to run on")
    parser.add_argument("--islands", action="store_true", help="let the batteries form grids")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    table = Table(title=f"a day with outages on case33bw{', islands carry themselves' if given.islands else ''}")
    for column in ("batteries", "environments", "without voltage", "us per env-step", "with NumPy", "to NumPy"):
        table.add_column(column, justify="right")
    for batteries in (1, 10, 32):
        for count in (1, 64):
            source = config(batteries, given.islands)
            cost, dark = seconds_per_env_step(source, count, "fused")
            plain, _ = seconds_per_env_step(source, count, "numpy")
            row = (f"{dark:.0%}", f"{1e6 * cost:.1f}", f"{1e6 * plain:.1f}", f"{plain / cost:.1f}")
            table.add_row(str(batteries), str(count), *row)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
