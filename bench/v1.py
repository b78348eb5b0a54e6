"""Steps per second of version 1's environments: the compiled network against ``pandapower.runpp`` in the same class.

    python bench/v1.py

Prints medians over repeated windows of process CPU time; ratios are taken within this run.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from powergrid.envs.multiagent.ieee34_ieee13 import MultiAgentMicrogrids
from powergrid.envs.single_agent.cigre_mv import CIGREMVEnv
from powergrid.envs.single_agent.ieee13_mg import IEEE13Env
from powergrid.envs.single_agent.ieee34_mg import IEEE34Env
from rich.console import Console
from rich.table import Table

ENVS: dict[str, Callable[[dict], Any]] = {
    "IEEE13Env": IEEE13Env,
    "IEEE34Env": IEEE34Env,
    "CIGREMVEnv": CIGREMVEnv,
    "MultiAgentMicrogrids": MultiAgentMicrogrids,
}


def stepper(env: Any) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """Step with the k-th of some random actions drawn beforehand, and reset."""
    if isinstance(env, MultiAgentMicrogrids):
        actions: list[Any] = [{name: env.action_space(name).sample() for name in env.agents} for _ in range(16)]
    else:
        actions = [env.action_space.sample() for _ in range(16)]
    return lambda k: env.step(actions[k % 16]), lambda: env.reset(seed=0)


def seconds_per_step(env: Any, steps: int, windows: int) -> float:
    """Median CPU seconds of one step."""
    step, reset = stepper(env)
    found = []
    for _ in range(windows):
        reset()
        step(0)  # warm up outside the window
        begin = time.process_time()
        for k in range(steps):
            if k % 24 == 23:
                reset()
            step(k)
        found.append((time.process_time() - begin) / steps)
    return median(found)


def main() -> None:
    """Print the table."""
    table = Table(title="environments of version 1, one process")
    for column in ("environment", "runpp (ms/step)", "compiled (ms/step)", "compiled (steps/s)", "ratio"):
        table.add_column(column, justify="right")
    for name, build in ENVS.items():
        np.random.seed(0)  # noqa: NPY002 - v1 draws from it
        slow = seconds_per_step(build({"train": True, "power_flow": "runpp"}), 12, 3)
        fast = seconds_per_step(build({"train": True}), 96, 5)
        table.add_row(name, f"{1e3 * slow:.1f}", f"{1e3 * fast:.2f}", f"{1 / fast:,.0f}", f"{slow / fast:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    main()
