"""How made days differ from the training days that they were made from, in numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import DAY_S

HOUR_S = 3600
LAGS_H = (1, 24, 168)
"""Lags of autocorrelations [h]."""
SHARES = (0.05, 0.5, 0.95)
"""Shares of the quantiles of marginals [1]."""


class Comparison(NamedTuple):
    """Hourly means of training days (first) and made days (second).

    Attributes
    ----------
    columns
        Names, c.
    mean, deviation
        Mean and standard deviation, ``(2, c)``.
    quantiles
        At `SHARES`, ``(2, 3, c)``.
    lags_h
        Lags of the autocorrelations [h], ``(l,)``.
    autocorrelation
        Over pairs of hours of which both are of such days, ``(2, l, c)``; NaN where there are no pairs.
    correlation
        Among columns, after their mean course of the day is taken off, ``(2, c, c)``.
    """

    columns: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    quantiles: np.ndarray
    lags_h: np.ndarray
    autocorrelation: np.ndarray
    correlation: np.ndarray


def compare(dataset: Dataset, columns: tuple[str, ...] | None = None, lags_h: tuple[int, ...] = LAGS_H) -> Comparison:
    """Compare the made days of a dataset with its real training days.

    Parameters
    ----------
    dataset
        With made days; see `powergrid.datasets.synthesis.synthesise`.
    columns
        Series to compare; by default the first of each quantity.
    lags_h
        Lags of autocorrelations [h].

    Raises
    ------
    DataError
        If the dataset has no made day.
    """
    if not dataset.made.any():
        raise DataError(f"dataset {dataset.name} has no made days to compare; see powergrid data synthesise")
    if columns is None:
        quantities = dict.fromkeys(name.split(":")[0] for name in dataset.columns)
        columns = tuple(dataset.sites(quantity)[0] for quantity in quantities)
    _, hours = dataset.table(HOUR_S, columns)
    train = np.zeros(dataset.days, dtype=bool)
    train[dataset.split("train")] = True
    a_day = DAY_S // HOUR_S
    groups = [np.repeat(days, a_day) for days in (train & ~dataset.made, dataset.made)]
    pieces = [hours[group] for group in groups]
    return Comparison(
        columns=columns,
        mean=np.stack([piece.mean(axis=0) for piece in pieces]),
        deviation=np.stack([piece.std(axis=0) for piece in pieces]),
        quantiles=np.stack([np.quantile(piece, SHARES, axis=0) for piece in pieces]),
        lags_h=np.array(lags_h),
        autocorrelation=np.stack([_autocorrelation(hours, group, lags_h) for group in groups]),
        correlation=np.stack([_correlation(piece, a_day) for piece in pieces]),
    )


def _autocorrelation(hours: np.ndarray, group: np.ndarray, lags_h: tuple[int, ...]) -> np.ndarray:
    """Correlation of values with those some hours later, ``(lags, c)``."""
    centred = hours - hours[group].mean(axis=0)
    variance = (centred[group] ** 2).mean(axis=0)
    found = np.full((len(lags_h), hours.shape[1]), np.nan)
    for k, lag in enumerate(lags_h):
        both = group[: len(group) - lag] & group[lag:]
        if both.any():
            with np.errstate(invalid="ignore", divide="ignore"):
                found[k] = (centred[: len(group) - lag] * centred[lag:])[both].mean(axis=0) / variance
    return found


def _correlation(piece: np.ndarray, a_day: int) -> np.ndarray:
    """Correlation of columns without their mean course of the day, ``(c, c)``."""
    by_day = piece.reshape(-1, a_day, piece.shape[1])
    rest = (by_day - by_day.mean(axis=0)).reshape(piece.shape)
    spread = rest.std(axis=0)
    spread[spread == 0.0] = 1.0
    unit = rest / spread
    found: np.ndarray = unit.T @ unit / len(unit)
    return found
