"""What steps of cleaning work on, and how they state what they did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from powergrid.core.errors import DataError
from powergrid.core.settings import NumberSettings

if TYPE_CHECKING:
    import pandas as pd


class Table(NamedTuple):
    """Rows with stamps, and what is known of their values.

    Attributes
    ----------
    frame
        Columns of numbers, NaN where a value is missing; stamps on a wall clock without a zone, or in UTC.
    filled
        Values that a step filled in, shaped like `frame`.
    outlier
        Values that a step flagged, shaped like `frame`.
    starts
        Whether `hour_ending` has moved the stamps to the starts of intervals.
    utc_offset_h
        Local standard time minus UTC [h]; ``None`` if it is not known.
    """

    frame: pd.DataFrame
    filled: pd.DataFrame
    outlier: pd.DataFrame
    starts: bool = False
    utc_offset_h: float | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """A table of which nothing has been filled or flagged."""
        import pandas as pd

        none = pd.DataFrame(False, index=frame.index, columns=frame.columns)
        return cls(frame, none, none.copy())

    def rows(self, positions: np.ndarray) -> Table:
        """Some rows, in the order of `positions`, ``(n,)`` whole numbers or booleans."""
        return self._replace(**{name: getattr(self, name).iloc[positions] for name in _PARTS})

    def at(self, index: pd.DatetimeIndex) -> Table:
        """The same rows under other stamps, one each."""
        return self._replace(**{name: getattr(self, name).set_axis(index) for name in _PARTS})

    def on(self, index: pd.DatetimeIndex) -> Table:
        """Rows at the stamps of `index`; those that are new have no values."""
        return self._replace(
            frame=self.frame.reindex(index),
            filled=self.filled.reindex(index, fill_value=False),
            outlier=self.outlier.reindex(index, fill_value=False),
        )

    @property
    def stamps(self) -> pd.DatetimeIndex:
        """Stamps of the rows."""
        index: pd.DatetimeIndex = self.frame.index  # type: ignore[assignment]
        return index

    @property
    def seconds(self) -> np.ndarray:
        """Stamps in whole seconds since 1970, ``(n,)``."""
        plain = self.stamps.tz_localize(None).as_unit("s")
        seconds: np.ndarray = plain.asi8
        return seconds

    def interval_s(self) -> int:
        """The usual distance of rows that follow each other in time [s].

        Raises
        ------
        DataError
            If there are fewer than two different stamps.
        """
        steps = np.diff(self.seconds)
        if not (steps > 0).all():  # sorting takes longer than this
            steps = np.diff(np.unique(self.seconds))
        if not len(steps):
            raise DataError("one stamp only, so that the interval is not known; give two rows or more")
        return int(np.median(steps))


_PARTS = ("frame", "filled", "outlier")


class Done(NamedTuple):
    """What one step did.

    Attributes
    ----------
    step
        Its name.
    what
        The sentence for the reader.
    changed
        Rows or values that it changed or flagged.
    first
        Stamp of the first of them; empty if there are none.
    """

    step: str
    what: str
    changed: int = 0
    first: str = ""

    def __str__(self) -> str:
        return f"{self.step}: {self.what}" + (f", the first at {self.first}" if self.first else "")


class Report(tuple[Done, ...]):
    """What each step did, in order; its text has one line for each."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


class Step(NumberSettings, ABC):
    """One step. Its fields are its settings."""

    name: ClassVar[str]
    """Name in a pipeline."""
    short: ClassVar[str] = ""
    """Field that a plain value sets, as in ``duplicates: first``."""

    @abstractmethod
    def apply(self, table: Table) -> tuple[Table, Done]:
        """The table after this step, and what the step did.

        Raises
        ------
        DataError
            If the table cannot be cleaned in this way.
        """

    def done(self, what: str, stamps: Sequence[object] | pd.DatetimeIndex = (), changed: int | None = None) -> Done:
        """What this step did at some stamps."""
        return Done(self.name, what, len(stamps) if changed is None else changed, str(stamps[0]) if len(stamps) else "")


def longest_runs(missing: np.ndarray, most: int) -> np.ndarray:
    """True in runs of missing values that have at most `most` rows, ``(n,)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    chosen = np.zeros(len(missing), dtype=bool)
    for first, end in edges.reshape(-1, 2):
        chosen[first:end] = end - first <= most
    return chosen
