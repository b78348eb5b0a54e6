"""Environments with a market in a batch: compiled Newton and clearing against SciPy and NumPy, in the same run.

    python bench/market_environment.py [--environments 64] [--steps 40] [--repeats 5]

The alternative solves every power flow by Newton's method on SciPy's LU factorisation and clears by the interior-point
method on stacked NumPy arrays; the rest of the step is the same. Medians of processor time on one thread, both sides of
a ratio in turn. Actions are random and the same on both sides; the largest difference is that of all rewards, as a
share of the largest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.markets import methods
from powergrid.powerflow import newton

PRESETS = ("iso_case30", "iso_three_level")


@contextmanager
def on_arrays() -> Iterator[None]:
    """Context in which environments are built and stepped without compiled Newton and clearing."""
    plan = partial(newton.plan, compiled_code=False)
    with mock.patch.object(newton, "plan", plan), mock.patch.object(methods, "_compiles", return_value=False):
        yield


def played(env: Any, actions: list[Any], count: int) -> tuple[float, np.ndarray]:
    """Processor time of so many steps [s], and the rewards of the last."""
    begin = time.process_time()
    for k in range(count):
        rewards = env.step(actions[k % len(actions)])[1]
    return time.process_time() - begin, np.array([rewards[agent] for agent in env.possible_agents])


def row(preset: str, environments: int, steps: int, repeats: int) -> list[str]:
    with on_arrays():
        theirs = powergrid.make_vec(preset, environments, infos="none")
    ours = powergrid.make_vec(preset, environments, infos="none")
    ours.action_space.seed(0)
    actions = [ours.action_space.sample() for _ in range(8)]
    spent: list[tuple[float, float]] = []
    apart = 0.0
    for repeat in range(repeats):
        ours.reset(seed=repeat)
        compiled_s, found = played(ours, actions, steps)
        with on_arrays():
            theirs.reset(seed=repeat)
            arrays_s, expected = played(theirs, actions, steps)
        spent.append((compiled_s, arrays_s))
        apart = max(apart, float(np.abs(found - expected).max() / np.abs(expected).max()))
    rates = environments * steps / np.median(spent, axis=0)
    return [preset, f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", f"{rates[0] / rates[1]:.1f}", f"{apart:.0e}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    table = Table("preset", "compiled [steps/s]", "SciPy and NumPy [steps/s]", "ratio", "apart")
    for preset in PRESETS:
        table.add_row(*row(preset, given.environments, given.steps, given.repeats))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
