"""The training days of a dataset as arrays, with their season and weekday. Nothing else of the dataset is read."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from powergrid.core.errors import DataError
from powergrid.datasets.dataset import Dataset
from powergrid.datasets.resample import DAY_S
from powergrid.datasets.units import parts_of

YEAR_DAYS = 365
SEASON_DAYS = 45
"""Days before and after a day of the year that count as its season."""
FEWEST_DAYS = 28
"""Training days below which nothing is made."""

_SCALABLE = ("pu", "mw", "mvar", "per_mwh", "c", "m_s", "w_m2", "t_per_mwh")


class TrainingDays:
    """What synthesis may know of a dataset.

    Parameters
    ----------
    dataset
        A dataset without gaps in its training days.

    Attributes
    ----------
    index
        Days of the split ``train``, ascending, ``(t,)``.
    season, weekday
        Day of the year from 0 to 364, and weekday from Monday, of each, ``(t,)``.
    follows
        Whether the next training day is the next day, ``(t,)``.
    values
        By column: its values of these days, ``(t, intervals of a day)``.
    leader
        By column: the column that decides its level. Reactive power follows the active power of its site, and a turbine
        the wind speed from which it is computed. Columns whose level has no meaning of its own, such as charging
        sessions, are absent.

    Raises
    ------
    DataError
        If there are too few training days, some were made, or values are missing.
    """

    def __init__(self, dataset: Dataset):
        if dataset.made.any():
            raise DataError(
                f"dataset {dataset.name}: {int(dataset.made.sum())} days are made; start from the real ones"
            )
        self.index = dataset.split("train")
        if len(self.index) < FEWEST_DAYS:
            raise DataError(
                f"dataset {dataset.name}: has {len(self.index)} training days, fewer than {FEWEST_DAYS}; use more days"
            )
        self.season = season(dataset, self.index)
        self.weekday = weekday(dataset, self.index)
        self.follows = np.append(np.diff(self.index) == 1, False)
        self.values = {}
        for name in dataset.columns:
            series = dataset.series(name)
            values = series.values.reshape(dataset.days, DAY_S // series.interval_s)[self.index]
            if np.isnan(values).any():
                raise DataError(
                    f"dataset {dataset.name}, series {name}: {int(np.isnan(values).sum())} values of training days are "
                    "missing; fill them with a step of cleaning"
                )
            self.values[name] = values
        self.leader = self._leaders()

    @cached_property
    def workday(self) -> np.ndarray:
        """Whether each day is one of Monday to Friday, ``(t,)``."""
        found: np.ndarray = self.weekday < 5
        return found

    def near(self, day_of_year: int) -> np.ndarray:
        """Which training days lie in the season of a day of the year, ``(t,)``."""
        apart = np.abs(self.season - day_of_year)
        found: np.ndarray = np.minimum(apart, YEAR_DAYS - apart) <= SEASON_DAYS
        return found

    def _leaders(self) -> dict[str, str]:
        leaders: dict[str, str] = {}
        seen: dict[bytes, str] = {}
        for name, values in self.values.items():
            quantity, _, site = name.partition(":")
            if parts_of(quantity)[1] not in _SCALABLE:
                continue
            active = f"load_p_pu:{site}"
            alike = seen.setdefault(values.tobytes(), name)
            leaders[name] = active if quantity == "load_q_pu" and active in self.values else alike
        return leaders


def season(dataset: Dataset, days: np.ndarray) -> np.ndarray:
    """Day of the year, from 0 to 364, as the environment's clock counts it; days may lie beyond the data."""
    found: np.ndarray = (dataset.first_day + days) % YEAR_DAYS
    return found


def weekday(dataset: Dataset, days: np.ndarray) -> np.ndarray:
    """Weekday from Monday, 0, to Sunday; days may lie beyond the data."""
    found: np.ndarray = (dataset.local_date(0).weekday() + days) % 7
    return found
