"""Exogenous rows of the running episodes: an environment stores these, not the year."""

from __future__ import annotations

import numpy as np

from powergrid.worlds.exogenous import ExogenousTable

_KEPT_BYTES = 64 * 2**20
"""Memory for the rows of ended episodes, which are used again when their day is drawn again [byte]."""


class EpisodeRows:
    """Rows of episodes in one array; episodes that start on the same row share their rows.

    Parameters
    ----------
    table
        Rows of the year, ``table[rows]``; see :class:`~powergrid.worlds.exogenous.ExogenousTable`.
    ticks
        Ticks of an episode. Two more rows are stored: the observation of the last tick, and decisions after it, read
        the rows that follow.

    Attributes
    ----------
    rows
        C-contiguous, ``(n, W)``.
    """

    def __init__(self, table: ExogenousTable, ticks: int):
        self._table, self._length = table, ticks + 2
        self.rows = np.empty((0, table.width))
        self._places: dict[int, int] = {}
        self._most = max(_KEPT_BYTES // (8 * self._length * max(table.width, 1)), 1)

    def place(self, first: np.ndarray, busy: np.ndarray) -> np.ndarray:
        """Position of the first row of each episode, shaped like `first`.

        Parameters
        ----------
        first
            Row of the year on which each episode starts.
        busy
            Positions of other episodes' rows, which must not change.
        """
        wanted = np.unique(first).tolist()
        missing = [row for row in wanted if row not in self._places]
        if missing:
            used = {self._places[row] for row in wanted if row in self._places} | set(busy.ravel().tolist())
            self._load(missing, self._free(len(missing), used))
        return np.array([self._places[row] for row in first.ravel().tolist()], dtype=np.int64).reshape(first.shape)

    def _free(self, count: int, used: set[int]) -> list[int]:
        """Free positions, `count` of them."""
        held = len(self.rows) // self._length
        free = sorted(set(range(0, len(self.rows), self._length)) - set(self._places.values()))
        if len(free) < count and held >= self._most:
            self._places = {row: place for row, place in self._places.items() if place in used}
            free = sorted(set(range(0, len(self.rows), self._length)) - used)
        lacking = count - len(free)
        if lacking > 0:
            more = max(lacking, min(held, self._most - held))
            free += range(len(self.rows), len(self.rows) + more * self._length, self._length)
            self.rows = np.concatenate([self.rows, np.empty((more * self._length, self._table.width))])
        return free[:count]

    def _load(self, missing: list[int], places: list[int]) -> None:
        loaded = self._table[np.array(missing)[:, None] + np.arange(self._length)]
        for row, place, rows in zip(missing, places, loaded, strict=True):
            self.rows[place : place + self._length] = rows
            self._places[row] = place
