"""Policies on the test days of ``p2p_microgrids``: the competent operator against careless and exploiting ones.

    python bench/policies.py [--every 3]

Prints mean and median cost of a day with violations priced, how much is traded, and how far voltages leave the band.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import powergrid

Policy = Callable[[Any], np.ndarray]


def constant(value: tuple[float, float, float]) -> Policy:
    """The same action for every microgrid: battery, generator, limit price in [-1, 1]."""
    return lambda env: np.tile(value, (len(env.possible_agents), 1))


def drain(env: Any) -> np.ndarray:
    """The rule, but with batteries always discharging."""
    actions = env.policy_array("rule_based").copy()
    actions[:, 0] = 1.0
    return actions


def worst_prices(env: Any) -> np.ndarray:
    """The rule, but nobody ever agrees on a price: importers bid feed-in, exporters ask retail."""
    actions = env.policy_array("rule_based").copy()
    exports = np.zeros(len(actions)) if env.output is None else -env.output.measured_mw[: len(actions)]
    actions[:, 2] = np.where(exports > 0.0, 1.0, -1.0)
    return actions


def random_policy(seed: int) -> Policy:
    """Uniform actions."""
    rng = np.random.default_rng(seed)
    return lambda env: rng.uniform(-1.0, 1.0, (len(env.possible_agents), 3))


POLICIES: dict[str, Policy] = {
    "rule_based": lambda env: env.policy_array("rule_based"),
    "random": random_policy(0),
    "middle of every range": constant((0.0, 0.0, 0.0)),
    "idle batteries, half power": constant((0.0, -0.5, 0.0)),
    "drain": drain,
    "everything exports": constant((1.0, 1.0, 1.0)),
    "nothing generates": constant((0.0, -1.0, 0.0)),
    "worst limit prices": worst_prices,
}


def run(env: Any, policy: Policy, days: np.ndarray, name: str) -> tuple[np.ndarray, float, float]:
    """Cost of each day [$], share of ticks with trade, share of bus-steps outside the band."""
    costs, traded, outside, steps = [], 0, 0, 0
    settings = env.world.layout.settings
    for day in track(days, description=name):
        env.reset(seed=0, options={"day": int(day)})
        total, done = 0.0, False
        while not done:
            found = env.step_array(policy(env))
            output, done = found.output, found.truncated or found.terminated
            total += float(output.money.sum() + output.costs.sum())
            p2p = output.money[:, env.money_names.index("p2p")]
            traded += bool(np.abs(p2p).sum() > 1e-9)
            v_pu = output.flow.v_pu
            outside += int(((v_pu < settings.v_min_pu) | (v_pu > settings.v_max_pu)).sum())
            steps += 1
        costs.append(total)
    return np.array(costs), traded / steps, outside / steps / len(env.world.network.buses.name)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every n-th test day")
    every = parser.parse_args().every
    env = powergrid.make("p2p_microgrids", days="test")
    days = env.world.days["test"][::every]
    table = Table(title=f"p2p_microgrids on {len(days)} test days")
    for column in ("policy", "mean $/day", "median $/day", "ticks with trade", "bus-steps outside"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, policy in POLICIES.items():
        costs, traded, outside = run(env, policy, days, name)
        table.add_row(name, f"{costs.mean():,.1f}", f"{np.median(costs):,.1f}", f"{traded:.1%}", f"{outside:.3%}")
    Console().print(table)


if __name__ == "__main__":
    main()
