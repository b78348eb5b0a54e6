"""Means of a few days, and their confidence intervals."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000
"""Bootstrap samples of every interval."""

INTERVAL = f"95 % bootstrap interval of the mean over the days (percentile method, {RESAMPLES:,} resamples of the days)"
"""Description of the bounds of :func:`mean_interval`."""


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, and the 2.5 % and 97.5 % quantiles of the means of bootstrap samples of the days.

    Efron, "Bootstrap methods: another look at the jackknife", The Annals of Statistics 7 (1979),
    doi:10.1214/aos/1176344552; the percentile method with 2,000 samples. Of the differences between two policies on
    the same days it makes the paired interval.
    """
    rows = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[rows].mean(-1), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
