"""Environment steps of the functional environment (JAX, float32) against plain flows of power-grid-model.

    pip install -e .[bench]
    python bench/powerflow_functional.py [--envs 512] [--core 0]

Four batteries on the 33-bus feeder; each step is their whole environment: devices, power flow, money, costs,
observations, rewards and new episodes. It runs on one thread of one core, the power-grid-model batch too, in turns;
figures are medians over turns of CPU time. power-grid-model takes the loosest tolerance that keeps voltages within
1e-6 pu. The environment's error is the largest difference between its voltages and those of the same episodes in
float64. The script runs wherever JAX does: on a machine with a GPU leave out ``JAX_PLATFORMS=cpu`` and read wall times.
Ratios travel between machines, digits do not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)  # before JAX is imported

import jax
import jax.numpy as jnp
import numpy as np
from powerflow_engines import Missing, PowerGridModel, processor, radial_case
from powerflow_libraries import CHECKED, Way, prepared
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.core.backend import jax_float64

WITHIN_PU = 1e-6
STEPS = 24


def batteries() -> dict[str, Any]:
    """Four batteries near the ends of the published 33-bus feeder."""
    params = {"capacity_mwh": 1.0, "max_p_mw": 0.25}
    agents = [{"id": f"ess_{bus}", "type": "ESS", "bus": bus, "params": params} for bus in ("17", "21", "24", "32")]
    return {"name": "four batteries", "network": {"base": "case33bw"}, "agents": agents}


def rollout(envs: int, dtype: str) -> Callable[[], Any]:
    """A day of all environments under random actions, compiled; gives voltages and convergence by step."""
    env = powergrid.make_functional(batteries(), dtype=dtype)
    ((group, agents),) = env.groups.items()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (STEPS, envs, len(agents), env.action_size[group])).astype("float32").astype(dtype)
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(0), envs)))
    _, state = jax.jit(env.reset)(keys)

    def tick(state: Any, action: Any) -> tuple[Any, Any]:
        _, state, reward, _, info = env.step(keys, state, {group: action})
        flow = info["output"].flow
        return state, (reward[group], flow.v_pu, flow.converged)

    run = jax.jit(lambda state, actions: jax.lax.scan(tick, state, actions)[1])
    actions = jnp.asarray(actions)
    return lambda: jax.block_until_ready(run(state, actions))


def largest_error(envs: int) -> tuple[float, float]:
    """Largest difference of voltages from float64 [pu], and the share of flows that did not converge."""
    _, v_pu, converged = rollout(envs, "float32")()
    with jax_float64():
        _, truth, _ = rollout(envs, "float64")()
    return float(np.abs(np.asarray(v_pu, float) - np.asarray(truth)).max()), float(1.0 - np.mean(converged))


def power_grid_model(count: int) -> Way | None:
    case = radial_case(33, count)
    try:
        engine = PowerGridModel(case)
    except Missing as sentence:
        print(sentence)
        return None
    return next(prepared(engine, case.reference(CHECKED), WITHIN_PU))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=512, help="environments side by side")
    parser.add_argument("--turns", type=int, default=15, help="turns of which the median is taken")
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    clock = process_time if jax.default_backend() == "cpu" else perf_counter
    count = 4 * options.envs
    other, run = power_grid_model(count), rollout(options.envs, "float32")
    run()
    own_s: list[float] = []
    for _ in range(options.turns):
        begin = clock()
        run()
        own_s.append((clock() - begin) / (STEPS * options.envs))
        if other is not None:
            begin = clock()
            other.run()
            other.times_s.append((clock() - begin) / count)
    error, unconverged = largest_error(options.envs)
    console, own = Console(width=130), median(own_s)
    table = Table(title=f"33 buses: {options.envs} environments in float32 on {jax.default_backend()}, one thread")
    for column in ("what", "a second", "largest error", "not converged", "PowerGrid is faster by"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("PowerGrid, environment steps", f"{1 / own:,.0f}", f"{error:.0e} pu", f"{unconverged:.2%}", "")
    if other is not None:
        took = median(other.times_s)
        label = f"{other.engine}, plain flows ({other.label})"
        table.add_row(label, f"{1 / took:,.0f}", f"{other.error_pu:.0e} pu", "not counted", f"{took / own:.1f}x")
    console.print(processor())
    console.print(table)


if __name__ == "__main__":
    main()
