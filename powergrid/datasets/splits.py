"""Days for training, validation and test, and stress days with extreme prices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

STRESS_SHARE, STRESS_MULTIPLE = 0.9, 10.0
"""A day is a stress day if a price exceeds this multiple of the price that this share of the year stays below [1]."""

STRESS_DAYS = 100
"""If no price exceeds that multiple, one of so many days is a stress day: the one with the highest price."""

SPLITS = ("train", "validation", "test", "stress")

_WEEK_SPLIT = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}


def of_weeks(name: str, days: np.ndarray) -> np.ndarray:
    """Whether days of the year, ``(n,)``, lie in a week of a split: ``week % 5`` is 0, 1 or 2, 3, or 4."""
    return np.isin(days // 7 % 5, _WEEK_SPLIT[name])


def stress_days(prices: Mapping[str, np.ndarray], days: int, stress_price: float | None) -> np.ndarray:
    """Whether each day is a stress day, ``(days,)``.

    Parameters
    ----------
    prices
        Price series in any currency.
    days
        Days that they cover.
    stress_price
        Price above which a day is a stress day; by default ten times the 90th percentile. If no price exceeds the
        default, the 1 % of days with the highest prices are stress days.
    """
    found, dearest = np.zeros(days, dtype=bool), np.full(days, -np.inf)
    for values in prices.values():
        highest = np.where(np.isnan(values), -np.inf, values).reshape(days, -1).max(axis=1)
        dearest = np.maximum(dearest, highest)
        found |= highest > (usual_limit(values) if stress_price is None else stress_price)
    if prices and stress_price is None and not found.any():
        found[np.argsort(-dearest, kind="stable")[: days // STRESS_DAYS]] = True
    return found


def usual_limit(prices: np.ndarray) -> float:
    """Price above which a day is a stress day; infinite if most prices are zero or negative."""
    known = prices[~np.isnan(prices)]
    usual = float(np.quantile(known, STRESS_SHARE)) if known.size else 0.0
    return STRESS_MULTIPLE * usual if usual > 0 else np.inf
