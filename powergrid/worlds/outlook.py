"""Whether an environment can be operated within its limits at all, before anybody trains in it."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from powergrid.config.resolve import ResolvedConfig, with_overrides
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


DROWNED = 5.0
"""Times the money that penalties weigh in the reward from which on an environment is pointed out."""


class Played(NamedTuple):
    """What a policy leaves.

    Attributes
    ----------
    violated
        Whether each constraint costs a learning agent something, ``(ticks, days, constraints)``.
    money, penalty
        Absolute parts of the reward of the learning agents, summed.
    """

    violated: Array
    money: float
    penalty: float


def outlook(resolved: ResolvedConfig) -> list[str]:
    """Tell limits that no simple policy keeps, and penalties that drown money, a sentence each.

    Parameters
    ----------
    resolved
        The configuration. A few days of its default split are played with :data:`POLICIES`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they appear when the environment is made
        world = build(with_overrides(resolved, residual=None))
        days = chosen_days(world, resolved.default_split)
        days = days[np.linspace(0, len(days) - 1, DAYS + 2).astype(int)[1:-1]]
        played = [_played(world, name, days) for name in POLICIES]
    found = []
    ticks = len(played[0].violated)
    best = min(played, key=lambda one: one.violated.any(-1).mean())
    share = best.violated.any(-1).mean()
    if share >= SHARE:
        worst = world.layout.ledger.cost_names[int(best.violated.mean((0, 1)).argmax())]
        found.append(
            f"a limit is violated in {share * ticks:.0f} of {ticks} ticks whether units are idle or follow their rules "
            f"(mostly: {worst}), so that hardly any policy can keep it; look at network.source_pu, load_scale, "
            "regulators and limits"
        )
    least = min(played, key=lambda one: one.penalty / max(one.money, 1e-9))
    if least.money > 0.0 and least.penalty >= DROWNED * least.money:
        found.append(
            f"penalties weigh {least.penalty / least.money:.0f} times the money in the reward even so, which a learner "
            f"then hardly sees; lower training.safety_scale ({world.reward.safety_scale:g}) or max_penalty "
            f"({world.reward.max_penalty:g})"
        )
    return found


def _played(world: World, policy: str, days: Array) -> Played:
    simulation, given = Simulation(world), world.reward
    key = random.fold_in(np, random.key_from_seed(np, np.zeros(len(days), np.int64)), np.arange(len(days)))
    state, *_ = simulation.reset(key, days)
    rows, money, penalty, acting = [], 0.0, 0.0, world.layout.acting
    for _ in range(min(world.layout.settings.episode_length, MOST_TICKS)):
        state, output = simulation.step(state, simulation.decide(state, policy))
        rows.append((output.costs[:, :acting] > 0.0).any(-2))
        paid, priced = (table[:, :acting].sum(-1) for table in (output.money, output.costs))
        money += given.reward_scale * float(np.abs(paid).sum())
        penalty += float(np.minimum(given.safety_scale * priced, given.max_penalty).sum())
    return Played(np.array(rows), money, penalty)
