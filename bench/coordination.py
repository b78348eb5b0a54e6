"""What coordination costs: a market and local policies against the same agents without them, in one run.

    python bench/coordination.py [--repeats 15]

``p2p_microgrids`` stands against itself without its market and with every agent learned, and 100 batteries under
``rule_based`` against 100 learned ones. Times are processor time of one environment's step. Both play the same 90
ticks several times in turn, and the mean of each tick's least counts, so that other work on the machine hardly does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

import powergrid
import powergrid.config

STEPS, COUNT = 90, 64
PRESETS = Path(powergrid.config.__file__).parent / "presets"


def trading() -> tuple[dict[str, Any], dict[str, Any]]:
    """The preset, and the same without a market and with learned agents only."""
    with_market = YAML(typ="safe").load(PRESETS / "p2p_microgrids.yaml")
    without = {name: value for name, value in with_market.items() if name != "protocols"}
    without["agents"] = [{**agent, "policy": "learned"} for agent in with_market["agents"]]
    return with_market, without


def batteries(policy: str, count: int = 100) -> dict[str, Any]:
    """Small batteries beside one learned plant."""
    buses = ("671", "675", "680", "634", "692")
    stores = [
        {
            "id": f"ess_{i}",
            "type": "ESS",
            "bus": buses[i % len(buses)],
            "params": {"capacity_mwh": 0.01, "max_p_mw": 0.002},
            "policy": policy,
        }
        for i in range(count)
    ]
    plant = {"id": "pv_1", "type": "RES", "bus": "680", "params": {"kind": "solar", "p_max_mw": 0.3}}
    return {
        "name": "many",
        "network": "ieee13",
        "agents": [*stores, {**plant, "policy": "learned"}, {"id": "grid", "type": "Grid"}],
    }


Episode = tuple[Callable[[], Any], Callable[[], Any]]
"""What begins the same ticks anew, and what plays one."""


def least(episodes: Sequence[Episode], repeats: int) -> list[float]:
    """Mean over the ticks of the least processor time that each took [s], by episode."""
    taken = np.full((len(episodes), STEPS), np.inf)
    for _ in range(repeats):
        for best, (reset, step) in zip(taken, episodes, strict=True):
            reset()
            for k in range(STEPS):
                begin = time.process_time()
                step()
                best[k] = min(best[k], time.process_time() - begin)
    return [float(best.mean()) for best in taken]


def one_environment(source: Mapping[str, Any]) -> Episode:
    """Through PettingZoo's dicts."""
    env = powergrid.make(source)
    env.reset(seed=0)
    actions = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.possible_agents}
    return lambda: env.reset(seed=0), lambda: env.step(actions)


def many_environments(source: Mapping[str, Any]) -> Episode:
    """A whole batch."""
    env = powergrid.make_vec(source, COUNT)
    env.reset(seed=0)
    actions = np.zeros((COUNT, len(env.possible_agents), env.world.layout.action_size))
    return lambda: env.reset(seed=0), lambda: env.step_array(actions)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="how often each tick is played")
    repeats = parser.parse_args().repeats
    rows = [
        ("p2p_microgrids: market and local policies", "no market, learned agents only", *trading()),
        ("100 batteries: rule_based", "learned", batteries("rule_based"), batteries("learned")),
    ]
    table = Table(title="processor time of one environment's step \\[us]")
    for header in ("what", "against", "one environment", "ratio", f"one of {COUNT}", "ratio"):
        table.add_column(header, justify="left" if header in ("what", "against") else "right", overflow="fold")
    for name, other, *sources in rows:
        single, batch = (
            [taken / count for taken in least([episode(source) for source in sources], repeats)]
            for episode, count in ((one_environment, 1), (many_environments, COUNT))
        )
        cells = [(f"{1e6 * a:.1f} / {1e6 * b:.1f}", f"{a / b:.2f}") for a, b in (single, batch)]
        table.add_row(name, other, *cells[0], *cells[1])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
