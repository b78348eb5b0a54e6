"""What planning is worth: ``python bench/mpc.py [PRESET ...] [--days 10]``.

For days of the test split: cost of a day under the rule, under `mpc` and in the lower bound, what `mpc` saves against
the rule with its paired bootstrap interval, and the processor time of one decision of one agent.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import powergrid
from powergrid.agents.policies.mpc import ModelPredictiveControl
from powergrid.core.statistics import mean_interval
from powergrid.learn.evaluate import evaluate

PRESETS = ("p2p_microgrids", "two_microgrids", "ieee13_single", "ieee34_multi")


def main() -> None:
    """Print one line per preset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--days", type=int, default=None, help="so many days of the test split, evenly spread")
    given = parser.parse_args()
    seconds: list[float] = []
    act = ModelPredictiveControl.act

    def timed(self, observation):
        began = time.process_time()
        chosen = act(self, observation)
        seconds.append(time.process_time() - began)
        return chosen

    ModelPredictiveControl.act = timed
    heads = ("days", "rule_based", "mpc", "bound", "saves", "low 95 %", "high 95 %", "ms/plan")
    print(f"{'$/day':>16} " + " ".join(f"{head:>10}" for head in heads))
    for preset in given.presets:
        days = powergrid.make(preset).world.days["test"]
        if given.days is not None:
            days = days[np.linspace(0, len(days) - 1, min(given.days, len(days))).astype(int)]
        seconds.clear()
        found = evaluate(preset, policy=("mpc", "rule_based"), days=days.tolist(), bound=True, show=False)
        rule, mpc = found["rule_based"].objective, found["mpc"].objective
        bound = np.full(1, np.nan) if found.bound is None else found.bound
        assert not (found["mpc"].money.sum(-1) < bound - 1e-6).any(), "a policy costs less than the bound"
        row = (rule.mean(), mpc.mean(), bound.mean(), *mean_interval(rule - mpc), 1e3 * float(np.mean(seconds)))
        print(f"{preset:>16} {len(days):>10} " + " ".join(f"{value:>10.2f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
