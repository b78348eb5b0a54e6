"""Policies on the test days of ``p2p_microgrids``: the competent operator against careless and exploiting ones.

    python bench/policies.py [--evaluations 200]

Prints what a day costs with violations priced, how much is traded, how far voltages leave the band, and the paired
95 % interval of what each policy costs more than ``rule_based``. Among the policies are the best constant actions that
a search on training days finds, the same for all microgrids and one for each. The bound leaves violations out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import differential_evolution

import powergrid
from powergrid.core import random
from powergrid.core.statistics import mean_interval
from powergrid.learn.bound import lower_bound
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.seeds import episode_seed
from powergrid.worlds.simulation import Simulation

PRESET = "p2p_microgrids"
RULE = "rule_based"
OTHERS = ("random", "idle", "drain", "hoard", "all_export", "all_import", "no_trade")
CONSTANTS = {"middle of every range": (0.0, 0.0, 0.0)}
TRAINING_DAYS = 32
POPULATION = 10
LINE = 130

Decider = Callable[[Simulation, Any], np.ndarray]


class Played(NamedTuple):
    """Cost of each day and what of it is settled [$], ``(*batch,)``; shares of trading ticks and bus-steps outside."""

    costs: np.ndarray
    settled: np.ndarray
    traded: float
    outside: float


def play(env: Any, decide: Decider, days: np.ndarray) -> Played:
    """All days ``(*batch,)`` side by side, with the random numbers of ``powergrid evaluate``."""
    simulation, settings = Simulation(env.world), env.world.layout.settings
    seeds = np.vectorize(lambda day: episode_seed(0, int(day)))(days)
    key = random.fold_in(np, random.key_from_seed(np, seeds), np.zeros(days.shape, np.int32))
    state, *_ = simulation.reset(key, days)
    costs, settled, traded, outside = np.zeros(days.shape), np.zeros(days.shape), [], []
    for _ in range(settings.episode_length):
        state, output = simulation.step(state, decide(simulation, state))
        costs += output.money.sum((-2, -1)) + output.costs.sum((-2, -1))
        settled += output.money[..., env.money_names.index("settlement")].sum(-1)
        traded.append((np.abs(output.money[..., env.money_names.index("p2p")]) > 1e-9).any(-1).mean())
        v_pu = output.flow.v_pu
        outside.append(((v_pu < settings.v_min_pu) | (v_pu > settings.v_max_pu)).mean())
    return Played(costs, settled, float(np.mean(traded)), float(np.mean(outside)))


def local(name: str) -> Decider:
    """A registered policy."""
    policy = POLICIES.get(name)
    return lambda simulation, state: simulation.decide(state, policy)


def constant(actions: Any) -> Decider:
    """Actions ``(..., 3)`` or ``(..., agents, 3)`` that never change: battery, generator, limit price in [-1, 1]."""

    def decide(simulation: Simulation, state: Any) -> np.ndarray:
        shape = (len(simulation.layout.actors), simulation.layout.action_size)
        return np.broadcast_to(np.asarray(actions, float), (*state.tick.shape, *shape)).copy()

    return decide


def search(env: Any, agents: int, evaluations: int) -> np.ndarray:
    """Best constant actions ``(agents, 3)`` by differential evolution on training days over the year.

    With one agent it acts for all. Every generation is played as one batch.
    """
    days = env.world.days["train"]
    days = days[np.linspace(0, len(days) - 1, TRAINING_DAYS).astype(int)]

    def mean_costs(tried: np.ndarray) -> np.ndarray:
        actions = tried.T.reshape(-1, 1, agents, 3)
        return play(env, constant(actions), np.tile(days, (len(actions), 1))).costs.mean(-1)

    found = differential_evolution(
        mean_costs,
        bounds=[(-1.0, 1.0)] * 3 * agents,
        init=np.random.default_rng(0).uniform(-1.0, 1.0, (POPULATION, 3 * agents)),
        maxiter=evaluations // POPULATION - 1,
        tol=0.0,
        rng=0,
        polish=False,
        updating="deferred",
        vectorized=True,
    )
    return found.x.reshape(agents, 3)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=200, help="of each search for constants")
    evaluations = parser.parse_args().evaluations
    began, console = time.perf_counter(), Console(width=LINE)
    env = powergrid.make(PRESET)
    days = env.world.days["test"]
    deciders = {name: local(name) for name in (RULE, *OTHERS)} | {n: constant(a) for n, a in CONSTANTS.items()}
    for name, agents in (("best constant, one for all", 1), ("best constant, one each", len(env.possible_agents))):
        found = search(env, agents, evaluations)
        console.print(f"{name}: {np.round(found, 2).tolist()}")
        deciders[name] = constant(found)
    table = Table(title=f"{PRESET} on {len(days)} test days")
    for column in (
        "policy",
        "mean $/day",
        "median $/day",
        "settled $/day",
        "ticks with trade",
        "bus-steps outside",
        f"minus {RULE} [95 %]",
    ):
        table.add_column(column, justify="left" if column == "policy" else "right")
    bound = np.array([lower_bound(env.export_episode(int(day))).cost for day in days])
    table.add_row("lower bound", f"{bound.mean():,.1f}", f"{np.median(bound):,.1f}")
    rule, not_worse = play(env, deciders[RULE], days), []
    for name, decide in deciders.items():
        played = rule if name == RULE else play(env, decide, days)
        row = [f"{played.costs.mean():,.1f}", f"{np.median(played.costs):,.1f}", f"{played.settled.mean():,.1f}"]
        row += [f"{played.traded:.1%}", f"{played.outside:.3%}"]
        mean, low, high = mean_interval(played.costs - rule.costs)
        table.add_row(name, *row, *([] if name == RULE else [f"{mean:+,.1f} [{low:+,.1f}, {high:+,.1f}]"]))
        not_worse += [name] if name != RULE and low <= 0.0 else []
        if (played.costs < bound - 1e-6).any():
            console.print(f"{name} costs less than the bound on days {days[played.costs < bound - 1e-6].tolist()}")
    console.print(table)
    console.print(f"{RULE} is better than all of them" if not not_worse else f"not shown to be worse: {not_worse}")
    console.print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
