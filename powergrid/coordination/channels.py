"""Channels: everything that agents receive from protocols, as columns of one vector."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.core.types import Entry


class Column(NamedTuple):
    """One column of the signals.

    Attributes
    ----------
    owner
        Agent that its entry is named after: the parent that sends it, or the member that it is for.
    entry
        Name, unit and bounds.
    default
        What it holds until something is sent.
    below
        Whether everybody below the owner receives it too.
    stands_for
        Series that it replaces in the rules of its receivers; empty for none.
    peers
        Whether it comes from peers, not from an agent above its receivers.
    """

    owner: str
    entry: Entry
    default: float
    below: bool
    stands_for: str
    peers: bool


class Channels:
    """All columns of the signals, in order, numbered while layers are assembled."""

    def __init__(self) -> None:
        self.columns: list[Column] = []

    def add(self, columns: list[Column]) -> np.ndarray:
        """Numbers of new columns."""
        first = len(self.columns)
        self.columns += columns
        return np.arange(first, len(self.columns))

    @property
    def defaults(self) -> np.ndarray:
        """What each column holds until something is sent, ``(S,)``."""
        return np.array([column.default for column in self.columns], dtype=float)

    def standing_for(self, series: str) -> dict[str, int]:
        """Number of the column that replaces a series, by its owner."""
        return {column.owner: i for i, column in enumerate(self.columns) if column.stands_for == series}
