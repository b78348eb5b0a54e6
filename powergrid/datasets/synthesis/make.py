"""A dataset with made years behind its own days."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from powergrid.core.errors import DataError, nearest
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import Series
from powergrid.datasets.synthesis import blocks, copula
from powergrid.datasets.synthesis.training_days import YEAR_DAYS, TrainingDays, season, weekday

METHODS: dict[str, Callable[..., dict[str, np.ndarray]]] = {"blocks": blocks.made, "copula": copula.made}
"""Ways to make days."""
MOST_YEARS = 200


def synthesise(dataset: Dataset, years: int = 20, method: str = "blocks", seed: int = 0) -> Dataset:
    """Append made years to a dataset; the same seed gives the same bits.

    Only training days are read to make them: changes of validation, test and stress days change no made day.

    Parameters
    ----------
    dataset
        Dataset with a year or more, without gaps in its training days.
    years
        Years of 365 days to make.
    method
        ``"blocks"``: runs of training days of the same season and weekday. ``"copula"``: daily means with the
        correlations of the training days, and courses of similar days.
    seed
        Seed of the random numbers.

    Returns
    -------
    Dataset
        The days of `dataset`, with their indices and splits, and behind them the made days, all in the split ``train``.

    Raises
    ------
    DataError
        If the method is unknown, or the training days are too few or have gaps.
    """
    if method not in METHODS:
        raise DataError(f'unknown method "{method}"; {nearest(method, METHODS)} available: {", ".join(METHODS)}')
    if not 1 <= years <= MOST_YEARS:
        raise DataError(f"{years} years cannot be made; choose 1 to {MOST_YEARS}")
    if seed < 0:
        raise DataError(f"seed {seed} is negative; choose 0 or more")
    new = dataset.days + np.arange(years * YEAR_DAYS)
    random = np.random.default_rng([list(METHODS).index(method), seed])
    days = METHODS[method](TrainingDays(dataset), season(dataset, new), weekday(dataset, new), random)
    series = {}
    for name in dataset.columns:
        own = dataset.series(name)
        series[name] = Series(np.concatenate([own.values, days[name].ravel()]), own.interval_s, own.curve)
    return Dataset.from_columns(
        f"{dataset.name}_{method}_{years}y",
        series,
        start=dataset.start,
        utc_offset_h=dataset.utc_offset_h,
        interval=dataset.interval,
        source=f"{years} years made from the training days of {dataset.name} (method {method}, seed {seed}), behind "
        f"its own days: {dataset.source}",
        licence=dataset.licence,
        first_day=dataset.first_day,
        stress_price=dataset.stress_price,
        stress=np.concatenate([dataset.stress_days(), np.zeros(len(new), dtype=bool)]),
        made=np.arange(dataset.days + len(new)) >= dataset.days,
    )
