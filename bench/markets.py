"""Time of a market clearing per environment: 20 offers, 10 bids and the grid on the 34-bus feeder and on case30.

``compiled`` and ``JAX`` are what kernels run; ``arrays`` is the same interior-point method on NumPy, ``highs`` the
simplex method, one environment after the other.

``python bench/markets.py [--batch 64]`` prints one row per set of limits and method. CPU time of one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from powergrid import markets
from powergrid.core.backend import jax_float64, jax_module, jax_numpy
from powergrid.markets import Blocks
from powergrid.networks import network

FEW = {
    "monitored": ["800-802", "808-812", "850-816", "816-824", "834-842", "888-890", "832-888", "836-862"],
    "voltage_bus": ["814", "850", "822", "890", "848", "840", "838", "856"],
}


def plans() -> dict[str, markets.Plan]:
    """Markets of one feeder with more and fewer limits."""
    feeder, meshed = network("ieee34", load_scale=0.9).settled(), network("case30", load_scale=0.9)
    there = {"offer_bus": [meshed.source_bus, *range(1, 21)], "bid_bus": list(range(20, 30))}
    order = np.random.default_rng(0).permutation(len(feeder.buses.name)).tolist()
    buses = [bus for bus in order if bus != feeder.source_bus][:30]
    places = {"offer_bus": [feeder.source_bus, *buses[:20]], "bid_bus": buses[20:]}
    limits = {"model": "lindistflow", "v_min_pu": 0.9, "v_max_pu": 1.1}
    return {
        "33 branches, 35 voltages": markets.plan(feeder, **places, **limits),
        "8 branches, 8 voltages": markets.plan(feeder, **places, **limits, **FEW),
        "case30, 41 branches": markets.plan(meshed, model="dc", limit_percent=65, **there),
        "copper plate": markets.plan(feeder, model="copper_plate", **places),
    }


def blocks(plan: markets.Plan, batch: int) -> tuple[Blocks, Blocks, np.ndarray, np.ndarray]:
    """Random offers, bids and loads."""
    rng = np.random.default_rng(1)
    total = plan.load_mw.sum()
    offers = Blocks(total * rng.uniform(0.02, 0.1, (batch, 21)), rng.uniform(20, 80, (batch, 21)))
    offers.quantity_mw[:, 0], offers.price_per_mwh[:, 0] = 1.5 * total, 50.0
    bids = Blocks(total * rng.uniform(0.01, 0.03, (batch, 10)), rng.uniform(20, 120, (batch, 10)))
    scale = rng.uniform(0.5, 1.0, (batch, 1))
    return offers, bids, scale * plan.load_mw, scale * plan.load_mvar


def one_round(
    plan: markets.Plan, offers: Blocks, bids: Blocks, load_mw: np.ndarray, load_mvar: np.ndarray, method: str
) -> markets.Clearing:
    """A clearing around no dispatch, as kernels do it."""
    return markets.clear(plan, offers, bids, load_mw=load_mw, load_mvar=load_mvar, rounds=1, method=method)


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """CPU time of one call, after a first one."""
    run()
    start = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - start) / repeats


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    batch = parser.parse_args().batch
    jax = jax_module()
    print(f"{'limits':26} {'compiled':>9} {'arrays':>9} {'JAX':>9} {'highs':>9}   us per environment, batch of {batch}")
    for name, plan in plans().items():
        given = blocks(plan, batch)
        compiled_s = seconds(lambda plan=plan, given=given: markets.clear_arrays(np, plan, *given))
        arrays_s = seconds(lambda plan=plan, given=given: one_round(plan, *given, method="ipm"))
        with jax_float64():
            jitted = jax.jit(lambda *given, plan=plan: markets.clear_arrays(jax_numpy(), plan, *given))
            jax_s = seconds(lambda jitted=jitted, given=given: jax.block_until_ready(jitted(*given)))
        highs_s = seconds(lambda plan=plan, given=given: one_round(plan, *given, method="highs"))
        print(f"{name:26}" + "".join(f" {1e6 * s / batch:9.0f}" for s in (compiled_s, arrays_s, jax_s, highs_s)))


if __name__ == "__main__":
    main()
