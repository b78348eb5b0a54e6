"""Power flows: one warm step and a batch, against pandapower in the same run.

    python bench/powerflow.py [--batch 4096] [--steps 400] [--jax]

One warm step is what an environment does each tick: the load moves by about 2 %, the flow starts from the previous one,
and the time covers everything from arrays in to ``Flow`` out. A batch is solved from no-load voltages, its loads drawn
from 50 to 100 % of the published ones, with different taps in every environment. pandapower runs with its best
settings: numba, warm start, whole load columns written at once, and `recycle`, which keeps the admittance matrix. All
times are medians of wall time on one thread. Ratios travel between machines, digits do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from powergrid.core.types import Control, NodeLoad
from powergrid.networks import Network, compose, network, scaled
from powergrid.networks.to_pandapower import upstream_gain
from powergrid.powerflow import method

TOL_PU = 1e-8


def microgrids() -> Network:
    """Three 13-bus microgrids on the 34-bus feeder, as in the peer-to-peer preset."""
    grid = scaled(network("ieee34"), load=0.5)
    unit = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}
    for k, at in enumerate(("808", "830", "834"), start=1):
        grid = compose(grid, network("ieee13"), at, name=f"mg{k}", transformer=unit, load_scale=0.2)
    return replace(grid, name="three microgrids", source_v_pu=1.04)


def own_load(grid: Network) -> NodeLoad:
    m = len(grid.buses.name)
    return NodeLoad(*(np.bincount(grid.loads.bus, power, m) for power in (grid.loads.p_mw, grid.loads.q_mvar)))


def median_s(run: Callable[[int], Any], repeat: int) -> float:
    """Median duration of ``run(k)`` after two calls to warm up."""
    times = []
    for k in range(repeat + 2):
        begin = time.perf_counter()
        run(k)
        times.append(time.perf_counter() - begin)
    return float(np.median(times[2:]))


def drift(grid: Network, steps: int) -> list[NodeLoad]:
    """Loads that wander by about 2 % a step around 80 % of the published ones."""
    rng, own = np.random.default_rng(0), own_load(grid)
    level = 0.8 + 0.1 * np.sin(0.3 * np.arange(steps))
    factors = level[:, None] * (1 + 0.02 * rng.standard_normal((steps, len(own.p_mw))))
    return [NodeLoad(own.p_mw * factor, own.q_mvar * factor) for factor in factors]


def warm_step(grid: Network, steps: int) -> tuple[float, float]:
    """Seconds and iterations of one warm step."""
    solver = method("sparse_lu")
    plan, loads = solver.plan(grid, tol_pu=TOL_PU), drift(grid, steps + 2)
    last, iterations = solver.solve(plan, loads[0]), []
    control = Control(tap_ratio=plan.tap_ratio)

    def run(k: int) -> None:
        nonlocal last
        last = solver.solve(plan, loads[k], control, last)
        iterations.append(int(last.iterations))

    return median_s(run, steps), float(np.mean(iterations))


def pandapower_step(grid: Network, steps: int) -> float:
    """Seconds of one warm ``runpp``."""
    import pandapower as pp

    net, loads = grid.to_pandapower(bus_loads=True), drift(grid, steps + 2)
    pp.runpp(net, init_vm_pu=grid.source_v_pu * upstream_gain(grid), init_va_degree="dc", tolerance_mva=TOL_PU)
    recycle = {"bus_pq": True, "trafo": False, "gen": False}

    def run(k: int) -> None:
        net.load["p_mw"], net.load["q_mvar"] = loads[k].p_mw, loads[k].q_mvar
        pp.runpp(
            net, init="results", tolerance_mva=TOL_PU, numba=True, check_connectivity=False, recycle=recycle,
            lightsim2grid=False,
        )  # fmt: skip

    return median_s(run, steps)


def batch_inputs(grid: Network, count: int, dtype: str) -> tuple[NodeLoad, Control]:
    rng, own = np.random.default_rng(1), own_load(grid)
    factor = rng.uniform(0.5, 1.0, (count, len(own.p_mw)))
    gain = 1 / grid.branches.ratio[grid.regulators.branch] * rng.uniform(0.98, 1.02, (count, len(grid.regulators.tap)))
    p_mw, q_mvar = (own.p_mw * factor).astype(dtype), (own.q_mvar * factor).astype(dtype)
    return NodeLoad(p_mw, q_mvar), Control(tap_ratio=gain.astype(dtype))


def batch_rate(grid: Network, count: int) -> tuple[float, float]:
    """Flows a second and mean iterations of the CPU method."""
    solver = method("sparse_lu")
    plan, (load, control) = solver.plan(grid, tol_pu=TOL_PU), batch_inputs(grid, count, "float64")
    iterations = solver.solve(plan, load, control).iterations.mean()
    return count / median_s(lambda _: solver.solve(plan, load, control), 15), float(iterations)


def jax_rate(grid: Network, count: int) -> tuple[float, float]:
    """Flows a second of the JAX method in float32 on its default device, and seconds to compile."""
    import jax

    solver = method("zbus")
    plan, (load, control) = solver.plan(grid, tol_pu=1e-6), batch_inputs(grid, count, "float32")
    load, control = jax.device_put((load, control))
    solve = jax.jit(lambda load, control: solver.solve(plan, load, control))
    begin = time.perf_counter()
    compiled = solve.lower(load, control).compile()
    compile_s = time.perf_counter() - begin
    return count / median_s(lambda _: jax.block_until_ready(compiled(load, control)), 10), compile_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096, help="environments in a batch")
    parser.add_argument("--steps", type=int, default=400, help="warm steps (pandapower takes a tenth)")
    parser.add_argument("--jax", action="store_true", help="also the JAX method")
    options = parser.parse_args()
    table = Table("network", "buses", "regulators", "warm step", "its", "runpp", "ratio", f"batch of {options.batch}")
    table.add_column("its")
    table.add_column("ratio")
    if options.jax:
        table.add_column("JAX float32")
        table.add_column("compile")
    for grid in (network("case33bw"), network("ieee34"), microgrids(), network("ieee123")):
        step_s, step_its = warm_step(grid, options.steps)
        oracle_s = pandapower_step(grid, max(20, options.steps // 10))
        rate, its = batch_rate(grid, options.batch)
        row = [
            grid.name, str(len(grid.buses.name)), str(len(grid.regulators.tap)), f"{1e6 * step_s:.1f} us",
            f"{step_its:.1f}", f"{1e3 * oracle_s:.1f} ms", f"{oracle_s / step_s:,.0f}x", f"{rate:,.0f} flows/s",
            f"{its:.1f}", f"{rate * oracle_s:,.0f}x",
        ]  # fmt: skip
        if options.jax:
            jax_per_s, compile_s = jax_rate(grid, options.batch)
            row += [f"{jax_per_s:,.0f} flows/s", f"{compile_s:.1f} s"]
        table.add_row(*row)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
