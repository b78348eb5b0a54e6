"""Steps per second of one environment with many devices of all types, and where the time goes.

    python bench/devices.py [--profile]

Devices of every type that injects power stand on the 123-bus feeder in equal numbers, each an agent with actions and
observations of its own; the feeder's regulators and capacitors and a meter at the source come on top, and count among
the types. Random actions are drawn beforehand. Prints medians over repeated windows of process CPU time, through
``step_array``.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import powergrid
from powergrid.plugins.registries import DEVICES

COUNTS = (10, 100, 1000)
_TOTAL_MW = {"Biomass": 0.2, "CHP": 0.2, "DataCenter": 0.2, "Electrolyzer": 0.2, "FuelCell": 0.2, "Generator": 0.3}
_TOTAL_MW |= {"Renewable": 0.3, "SolarPlant": 0.3, "Storage": 0.3, "WindTurbine": 0.3}
"""Power of all units of a type together, so that the feeder carries any number of them [MW]."""


def types() -> list[str]:
    """All device types that inject power."""
    return [name for name in DEVICES.names() if DEVICES.get(name).role == "injection"]


def params(name: str, share: float) -> dict[str, Any]:
    """Settings of one of several units that have `share` of their type's power each."""
    if name == "Load":
        return {"p_mw": 0.3 * share, "curtailable_share": 0.3}
    if name == "StaticGenerator":
        return {"p_mw": 0.3 * share, "series": "pv_pu"}
    if name == "Statcom":
        return {"sn_mva": 0.3 * share}
    if name == "EVFleet":
        return {"vehicles": 30.0 * share}
    if name == "RunOfRiver":
        return {"design_flow_m3_s": 2.0 * share, "mean_flow_m3_s": 1.6 * share, "residual_flow_m3_s": 0.2 * share}
    power = "max_p_mw" if name == "Storage" else "p_max_mw"
    return {power: _TOTAL_MW[name] * share} if name in _TOTAL_MW else {}


def world(count: int, seed: int = 0) -> dict[str, Any]:
    """`count` devices of all types in turn, at random three-phase buses."""
    network = powergrid.network("ieee123")
    buses = [name for name in network.buses.name if name.isdigit()]
    random, kinds = np.random.default_rng(seed), types()
    agents = [
        {
            "id": f"device_{i}",
            "type": kinds[i % len(kinds)],
            "bus": str(random.choice(buses)),
            "params": params(kinds[i % len(kinds)], len(kinds) / max(count, len(kinds))),
            "policy": "learned",
        }
        for i in range(count)
    ]
    return {
        "name": f"{count} devices",
        "network": {"base": "ieee123", "load_series": "load_p_pu:com_1", "load_scale": 0.3},
        "agents": [*agents, {"id": "meter", "type": "Grid"}],
        "simulation": {"episode_length": 96, "time_step": 900},
    }


def stepper(count: int) -> tuple[Any, np.ndarray]:
    """An environment, and actions for sixteen steps ``(16, A, k)``."""
    env = powergrid.make(world(count))
    env.reset(seed=0)
    layout = env.world.layout
    return env, np.random.default_rng(1).uniform(-1.0, 1.0, (16, len(layout.actors), layout.action_size))


def run(env: Any, actions: np.ndarray, steps: int) -> float:
    """CPU seconds of one step, without the resets between episodes."""
    env.reset(seed=0)
    begin, solved = time.process_time(), 0
    for step in range(steps):
        solved += bool(env.step_array(actions[step % len(actions)]).output.flow.converged)
    seconds = (time.process_time() - begin) / steps
    if solved < steps:
        raise SystemExit(f"the power flow diverged in {steps - solved} of {steps} steps")
    return seconds


def main() -> None:
    """Print the growth with the number of devices, and on request what the largest spends its time on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    options = parser.parse_args()
    console, costs = Console(), []
    table = Table(title="devices on the 123-bus feeder, one environment, step_array")
    for column in ("devices", "types", "backend", "ms per step", "steps/s", "device-steps/s"):
        table.add_column(column, justify="right")
    for count in COUNTS:
        env, actions = stepper(count)
        run(env, actions, 95)
        cost = median(run(env, actions, 95) for _ in range(9))
        costs.append(cost)
        kinds = str(len(env.world.layout.families))
        table.add_row(f"{count:,}", kinds, env.backend, f"{1e3 * cost:.3f}", f"{1 / cost:,.0f}", f"{count / cost:,.0f}")
    console.print(table)
    slope = np.polyfit(np.log(COUNTS), np.log(costs), 1)[0]
    upper = np.log(costs[2] / costs[1]) / np.log(COUNTS[2] / COUNTS[1])
    console.print(f"log-log slope of the cost: {slope:.2f} over all, {upper:.2f} over the upper decade")
    if options.profile:
        with cProfile.Profile() as profile:
            run(env, actions, 95)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
