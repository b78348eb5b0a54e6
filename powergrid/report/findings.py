"""Numbers in the text and tables of the report, from the replayed days or from ``evaluation.json``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.core.statistics import mean_interval
from powergrid.report.records import DayRecord, record_days
from powergrid.report.run import Played, Run
from powergrid.worlds.days import chosen_days
from powergrid.worlds.seeds import episode_seed
from powergrid.worlds.world import World

_BLOCK = 64
"""Number of days replayed together if only their cost is needed."""


class Saving(NamedTuple):
    """Difference of two costs [$/day]: mean and 95 % interval, paired by day."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> int:
        """1 if it is cheaper, -1 if it costs more, 0 if the interval contains zero."""
        return int(self.low > 0.0) - int(self.high < 0.0)


def saving(run: Run, other: Played) -> Saving:
    """Saving of the main policy relative to another."""
    return Saving(*mean_interval(other.objective - run.main.objective))


def gap(run: Run, policy: Played) -> Saving | None:
    """Cost of a policy above the lower bound, day by day; ``None`` without a bound."""
    return None if run.bound is None else Saving(*mean_interval(policy.objective - run.bound))


def rival(run: Run) -> Played | None:
    """The policy that the headline compares with: the rule if it was evaluated, else the second policy."""
    others = run.policies[1:]
    return next((policy for policy in others if policy.name == "rule_based"), others[0] if others else None)


def split_name(run: Run) -> str:
    """``"test "`` or ``"training "`` if all days belong to one split of the dataset, else an empty text."""
    splits = [split for split, days in run.world.days.items() if set(run.days) <= {int(day) for day in days}]
    return {"train": "training "}.get(splits[0], f"{splits[0]} ") if splits else ""


class MoneyTable(NamedTuple):
    """Mean of a day [$/day]: money by account (rows) and name (columns), and priced violations by account.

    Names without any payment are left out.
    """

    accounts: tuple[str, ...]
    names: tuple[str, ...]
    money: np.ndarray
    violations: np.ndarray


def money_table(run: Run, record: DayRecord) -> MoneyTable:
    """Costs by account and name over all days."""
    money = record.money.sum(1).mean(0) * run.per_day
    used = np.flatnonzero(np.abs(money).max(0) > 1e-9)
    return MoneyTable(
        accounts=tuple(record.names.accounts.tolist()),
        names=tuple(record.names.money[used].tolist()),
        money=money[:, used],
        violations=record.costs.sum((1, 3)).mean(0) * run.per_day,
    )


def day_costs(world: World, policy: str, days: list[int], seed: int) -> np.ndarray:
    """Money and priced violations of a local policy [$/day], ``(days,)``."""
    settings, acting = world.layout.settings, len(world.layout.actors)
    costs = []
    for start in range(0, len(days), _BLOCK):
        block = days[start : start + _BLOCK]
        record = record_days(world, policy, days=block, seeds=[episode_seed(seed, day) for day in block])
        costs.append(record.money[..., :acting, :].sum((1, 2, 3)) + record.costs[..., :acting, :].sum((1, 2, 3)))
    return np.concatenate(costs) * 24.0 / (settings.episode_length * settings.dt_h)


def training_levels(run: Run) -> dict[str, np.ndarray]:
    """Cost of the evaluated local policies on the run's own training days, for the learning curve."""
    from powergrid.plugins.registries import POLICIES

    days = run.meta.days if run.meta else []
    if not (days and run.metrics):
        return {}
    chosen_days(run.world, days)
    names = [policy.name for policy in run.policies if policy.name in POLICIES]
    return {name: day_costs(run.world, name, days, run.seed) for name in names}


def largest_imbalance(record: DayRecord) -> float:
    """Largest sum of the transfers of a tick over all accounts and the utility [$]; zero except for rounding."""
    return float(np.abs(record.transfers.sum(-1)).max(initial=0.0))


def days_below_bound(run: Run) -> int:
    """Days on which a policy costs less than the lower bound, beyond rounding. A nonzero count means a wrong bound."""
    if run.bound is None:
        return 0
    tolerance = 1e-6 * np.maximum(np.abs(run.bound), 1.0)
    return int(sum((policy.objective < run.bound - tolerance).sum() for policy in run.policies))
