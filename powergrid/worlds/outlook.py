"""Whether an environment can be operated within its limits at all, before anybody trains in it."""

from __future__ import annotations

import warnings

import numpy as np

from powergrid.config.resolve import ResolvedConfig
from powergrid.core import random
from powergrid.core.types import Array
from powergrid.worlds.build import build
from powergrid.worlds.days import chosen_days
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World

POLICIES = ("idle", "rule_based")
"""Policies that are played: one that does nothing, and the rules of a competent operator."""

DAYS = 4
"""Days that are played, spread over the year."""

MOST_TICKS = 300
"""Ticks of a day that are played at most."""

SHARE = 0.5
"""Share of ticks with a violated limit from which on an environment is pointed out."""


def outlook(resolved: ResolvedConfig) -> str:
    """What to know before training: limits that no simple policy keeps, as a sentence; empty if there are none.

    Parameters
    ----------
    resolved
        The configuration. A few days of its default split are played with :data:`POLICIES`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they appear when the environment is made
        world = build(resolved)
        days = chosen_days(world, resolved.default_split)
        days = days[np.linspace(0, len(days) - 1, DAYS + 2).astype(int)[1:-1]]
        played = {name: _violated(world, name, days) for name in POLICIES}
    ticks = min(world.layout.settings.episode_length, MOST_TICKS)
    least = min(played, key=lambda name: played[name].any(-1).mean())
    violated = played[least].any(-1).mean()
    if violated < SHARE:
        return ""
    worst = world.layout.ledger.cost_names[int(played[least].mean((0, 1)).argmax())]
    return (
        f"a limit is violated in {violated * ticks:.0f} of {ticks} ticks whether units are idle or follow their rules "
        f"(mostly: {worst}), so that hardly any policy can keep it; look at network.source_pu, load_scale, regulators "
        "and limits, or price the violations with training.safety_scale"
    )


def _violated(world: World, policy: str, days: Array) -> Array:
    """Whether each constraint is violated, ``(ticks, days, constraints)``."""
    simulation = Simulation(world)
    key = random.fold_in(np, random.key_from_seed(np, np.zeros(len(days), np.int64)), np.arange(len(days)))
    state, *_ = simulation.reset(key, days)
    rows = []
    for _ in range(min(simulation.layout.settings.episode_length, MOST_TICKS)):
        state, output = simulation.step(state, simulation.decide(state, policy))
        rows.append((output.costs > 0.0).any(-2))
    return np.array(rows)
