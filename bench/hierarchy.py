"""What a hierarchy with messages costs, and how steps grow with the number of agents, in one run.

    python bench/hierarchy.py [--repeats 15] [--most 10000]

An operator sends a price each hour, ten coordinators one every 15 minutes, and 100 batteries on the IEEE 123 feeder
decide every 5 minutes; ten of them exchange messages over a ring of links that delay and lose. Against it stands the
same feeder with the same 100 batteries, without hierarchy and without messages. Between both stand parts of it: the
batteries with messages alone, and the whole hierarchy with coordinators that decide by rule. Times are processor time
of one environment's step, the least of several windows of 90 steps, so that other work on the machine does not count.
The second table has flat environments through PettingZoo's dicts, and the exponent of the growth from row to row.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.networks.terminals import bus_names

STEPS, COUNT = 90, 64
BATTERY = {"type": "ESS", "params": {"capacity_mwh": 0.1, "max_p_mw": 0.05}, "policy": "learned"}
PRICE = {"type": "price_signal", "params": {"price_min_per_mwh": 0, "price_max_per_mwh": 200}}


def flat(count: int = 100) -> dict[str, Any]:
    """Learned batteries all over the IEEE 123 feeder."""
    buses = bus_names(powergrid.load_config({"network": "ieee123"}).network())[:85]
    return {
        "name": "flat",
        "network": "ieee123",
        "agents": [{**BATTERY, "id": "ess", "count": count, "buses": list(buses), "observability": "local"}],
        "simulation": {"time_step": 300, "episode_length": 288},
    }


MESSAGES = {
    "members": [f"ess_{k + 1}" for k in range(10)],
    "topology": "neighbours",
    "width": 2,
    "delay": {"dist": "uniform", "mean": 450, "std": 100},
    "loss": 0.1,
}


def three_levels(policy: str = "learned", count: int = 100, areas: int = 10) -> dict[str, Any]:
    """The same batteries under coordinators and an operator, at three rates, with messages that are late or lost."""
    source = flat(count)
    (group,) = source["agents"]
    names = [f"area_{k}" for k in range(areas)]
    devices = [f"ess_{k + 1}" for k in range(count)]
    coordinators = [
        {"id": name, "type": "GridCoordinator", "sub_agents": devices[k::areas], "policy": policy, "protocol": PRICE}
        for k, name in enumerate(names)
    ]
    operator = {"id": "iso", "type": "SystemAgent", "sub_agents": names, "policy": policy, "protocol": PRICE}
    source |= {"name": "three_levels", "agents": [operator, *coordinators, group]}
    source["simulation"] |= {"intervals": {"device": 300, "grid": 900, "system": 3600}}
    source["messages"] = MESSAGES
    return source


def delivered_per_tick(source: Mapping[str, Any]) -> float:
    """Messages that arrive in one environment, mean of an episode's first ticks."""
    env = powergrid.make(source)
    env.reset(seed=0)
    actions = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.possible_agents}
    for _ in range(STEPS):
        env.step(actions)
    states = [layer.protocol.State._fields for layer in env.world.layout.coordination.layers]
    (which,) = (k for k, fields in enumerate(states) if "delivered" in fields)
    queue = env.get_state().state.layers[which]
    return float(np.sum(queue[states[which].index("delivered")])) / STEPS


Run = tuple[Callable[[], Any], Callable[[], Any]]
"""What begins an episode and what makes a step."""


def least(runs: Sequence[Run], repeats: int, steps: int = STEPS) -> list[float]:
    """Least processor time of a step of each over windows of an episode that take turns [s]."""
    best = [math.inf] * len(runs)
    for _ in range(repeats):
        for k, (reset, step) in enumerate(runs):
            reset()
            step()
            begin = time.process_time()
            for _ in range(steps):
                step()
            best[k] = min(best[k], (time.process_time() - begin) / steps)
    return best


def one_environment(source: Mapping[str, Any]) -> Run:
    """Through PettingZoo's dicts."""
    env = powergrid.make(source)
    env.reset(seed=0)
    actions = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.possible_agents}
    return lambda: env.reset(seed=0), lambda: env.step(actions)


def many_environments(source: Mapping[str, Any]) -> Run:
    """A batch."""
    env = powergrid.make_vec(source, COUNT)
    env.reset(seed=0)
    actions = np.zeros((COUNT, len(env.possible_agents), env.world.layout.action_size))
    return lambda: env.reset(seed=0), lambda: env.step_array(actions)


def hierarchy(repeats: int) -> Table:
    """Time of a step with hierarchy and messages over that without."""
    table = Table(title="processor time of one environment's step, 100 batteries \\[us]; in brackets over flat")
    for header in (
        "environment",
        "agents",
        "numbers observed",
        "PettingZoo",
        f"one of {COUNT}",
        "messages delivered per tick",
    ):
        table.add_column(header, justify="left" if header == "environment" else "right", overflow="fold")
    rows = {
        "flat": flat(),
        "flat, messages": {**flat(), "messages": MESSAGES},
        "three levels, messages, coordinators by rule": three_levels("rule_based"),
        "three levels, messages, all learn": three_levels(),
    }
    alone = least([one_environment(source) for source in rows.values()], repeats)
    batch = [cost / COUNT for cost in least([many_environments(source) for source in rows.values()], repeats)]
    for k, (name, source) in enumerate(rows.items()):
        env = powergrid.make(source)
        seen = sum(env.observation_space(agent).shape[0] for agent in env.possible_agents)
        cells = [f"{1e6 * costs[k]:.1f} ({costs[k] / costs[0]:.2f})" for costs in (alone, batch)]
        delivered = f"{delivered_per_tick(source):.1f}" if "messages" in source else "0"
        table.add_row(name, f"{len(env.possible_agents)}", f"{seen:,}", *cells, delivered)
    return table


def growth(repeats: int, most: int) -> Table:
    """Steps per second by number of agents, and the exponent of the growth of a step's time."""
    table = Table(title="flat environments through PettingZoo's dicts")
    for header in ("agents", "step \\[us]", "steps/s", "exponent"):
        table.add_column(header, justify="right")
    before: tuple[int, float] | None = None
    for count in (10, 100, 1000, 10_000):
        if count > most:
            break
        (cost,) = least([one_environment(flat(count))], repeats, 20 if count >= 1000 else STEPS)
        exponent = "" if before is None else f"{math.log(cost / before[1]) / math.log(count / before[0]):.2f}"
        table.add_row(f"{count:,}", f"{1e6 * cost:.1f}", f"{1 / cost:,.0f}", exponent)
        before = count, cost
    return table


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="windows of 90 steps")
    parser.add_argument("--most", type=int, default=10_000, help="largest number of agents of the second table")
    given = parser.parse_args()
    console = Console(width=110)
    console.print(hierarchy(given.repeats))
    console.print(growth(given.repeats, given.most))


if __name__ == "__main__":
    main()
