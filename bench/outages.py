"""A day in which lines fail and switches move, in compiled code against NumPy.

    python bench/outages.py [--core 1] [--islands]

Batteries on the 33-bus feeder, each an agent, and a tie switch that an agent moves. Two outages are drawn for each
episode: each cuts part of the feeder off for four hours. Days without their resets are timed in rounds that alternate
between compiled code and NumPy; a figure is the median of the rounds. With ``--islands`` the batteries form the grids
of what is cut off.
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

TICKS, HOUR_S, ROUNDS = 96, 3600, 9
DAYS = {"fused": 4, "numpy": 1}
"""Days of a round with each backend; rounds alternate between them."""


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


class Player:
    """One batch of environments and the random commands of a day."""

    def __init__(self, source: dict[str, Any], count: int, backend: str):
        self._env = powergrid.make_vec(source, count, backend=backend, episode_length=TICKS)
        self._count, layout = count, self._env.world.layout
        shape = (TICKS - 1, count, len(layout.actors), layout.action_size)
        self._actions = np.random.default_rng(0).uniform(-1.0, 1.0, shape)

    def dark(self) -> float:
        """Share of steps in which an agent is without voltage."""
        self._env.reset(seed=0)
        return float(np.mean([(~self._env.step_array(chosen).available).any(-1) for chosen in self._actions]))

    def seconds(self, days: int) -> float:
        """Wall seconds of one environment's step."""
        total = 0.0
        for _ in range(days):
            self._env.reset(seed=0)
            begin = time.perf_counter()
            for chosen in self._actions:
                self._env.step_array(chosen)
            total += time.perf_counter() - begin
        return total / days / len(self._actions) / self._count


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
    for batteries in (1, 10):
        for count in (1, 64):
            players = {name: Player(config(batteries, given.islands), count, name) for name in DAYS}
            dark = players["fused"].dark()
            rounds = [[players[name].seconds(days) for name, days in DAYS.items()] for _ in range(ROUNDS)]
            cost, plain = (median(column) for column in zip(*rounds, strict=True))
            row = (f"{dark:.0%}", f"{1e6 * cost:.1f}", f"{1e6 * plain:.1f}", f"{plain / cost:.1f}")
            table.add_row(str(batteries), str(count), *row)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
