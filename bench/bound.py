"""Cost of a day against its lower bound: ``python bench/bound.py [preset] [--split test] [--days 10]``.

For every day of a split: the perfect-foresight bound, what the policies pay (money of all accounts), and the ratio
where the bound is positive. Priced violations are listed apart, as the bound leaves them out.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import powergrid
from powergrid.learn.bound import lower_bound

POLICIES = ("rule_based", "random")


def day_cost(env: Any, policy: str, day: int) -> tuple[float, float]:
    """Money and priced violations of all accounts over one day [$]."""
    env.reset(seed=0, options={"day": day})
    money, violations = 0.0, 0.0
    while env.agents:
        env.step(env.policy_actions(policy))
        money += float(env.output.money.sum())
        violations += float(env.output.costs.sum())
    return money, violations


def main() -> None:
    """Print one line per day, then mean and median day."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset", nargs="?", default="p2p_microgrids")
    parser.add_argument("--split", default="test", help="days to run")
    parser.add_argument("--days", type=int, default=None, help="only so many of them, evenly spread")
    given = parser.parse_args()
    env = powergrid.make(given.preset, days=given.split)
    days = env.world.days[given.split]
    if given.days is not None:
        days = days[np.linspace(0, len(days) - 1, min(given.days, len(days))).astype(int)]
    names = [column for policy in POLICIES for column in (policy, "viol.", "ratio")]
    print(f"{'day':>6} {'bound':>10} " + " ".join(f"{name:>10}" for name in names))
    rows, seconds = [], []
    for day in days:
        began = time.perf_counter()
        bound = lower_bound(env.export_episode(int(day))).cost
        seconds.append(time.perf_counter() - began)
        costs = [day_cost(env, policy, int(day)) for policy in POLICIES]
        rows.append(
            [
                bound,
                *(value for money, viol in costs for value in (money, viol, money / bound if bound > 0.0 else np.nan)),
            ]
        )
        print_row(str(day), rows[-1])
    table = np.array(rows)
    for name, total in (("mean", table.mean(axis=0)), ("median", np.median(table, axis=0))):
        total[3::3] = total[1::3] / total[0]
        print_row(name, total)
    print(f"{len(days)} days, {np.median(seconds):.2f} s a bound (longest {max(seconds):.2f} s)")
    below = days[(table[:, [1, 4]] < table[:, :1] - 1e-6).any(axis=1)]
    print(f"days on which a policy costs less than the bound: {below.tolist() or 'none'}")


def print_row(name: str, row: Any) -> None:
    """One line of the table."""
    values = [f"{value:>10.3f}" if i % 3 == 0 and i > 0 else f"{value:>10.2f}" for i, value in enumerate(row)]
    print(f"{name:>6} " + " ".join(values), flush=True)


if __name__ == "__main__":
    main()
