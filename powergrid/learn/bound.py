"""Lower bound on the cost of a day: the perfect-foresight optimum without a network.

A linear program that every policy's day satisfies, at no more than the policy's cost. Members of a market pool their
energy behind one meter, losses and violations are left out, every device is its linear model, and nothing in the day is
uncertain. A policy that costs less has found energy or money that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from powergrid.planning.dispatch import Before, Problem, least_cost
from powergrid.planning.program import NoOptimumError
from powergrid.worlds.export import EpisodeData


class NoBoundError(NoOptimumError):
    """An episode whose bound cannot be computed; says what stands in the way."""


class Bound(NamedTuple):
    """Perfect-foresight optimum of the relaxation.

    Attributes
    ----------
    cost
        Money of all accounts over the episode, less than or equal to that of any policy [$].
    dispatch
        Injection of each device in the optimum [MW], ``(ticks,)``.
    """

    cost: float
    dispatch: Mapping[str, np.ndarray]


def lower_bound(data: EpisodeData) -> Bound:
    """Bound on the money that all accounts together pay in an episode.

    Energy at the meters, fuel, wear, starts, unserved flexible demand and the settlement at the end are in; violations,
    tap and switching costs, which are never negative, are out. It holds for episodes that run to their time limit with
    every power flow solved. Losses are never negative, and a tariff with feed-in at or below retail, both of at least
    zero, never pays for splitting or wasting energy, so that pooling meters and dropping losses only lower the cost.

    Parameters
    ----------
    data
        From ``env.export_episode(day, seed)``.

    Returns
    -------
    Bound

    Raises
    ------
    NoBoundError
        If a device has no linear model, or the program has no optimum.
    """
    before = {
        unit: Before(p_mw=data.initial_state[unit].p_mw)
        for unit in data.linear
        if hasattr(data.initial_state[unit], "p_mw")
    }
    problem = Problem(
        dt_h=data.dt_h,
        ticks=len(data.network.load_p_mw),
        linear=data.linear,
        meters=data.prices.meters,
        settlement_per_mwh=data.prices.settlement_per_mwh,
        before=before,
        bound=True,
    )
    try:
        found = least_cost(problem)
    except NoOptimumError as error:
        raise NoBoundError(f"no lower bound: {error}") from error
    return Bound(found.cost, found.p_mw)
