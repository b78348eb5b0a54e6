"""Places of names in a drawing: no name covers another or a bus."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIDES = np.array([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)], float)
_RINGS = (1.0, 1.9, 3.0)
"""Distances from the bus that are tried, over the least one."""
_APART = 1.5
"""Least distance between two names [points of text]."""
_CLEAR = 1.5
"""Room beyond which more is no gain, over the size of the name."""
WIDTH, HEIGHT = 0.66, 1.2
"""Size of a letter over the size of its font."""


class Place(NamedTuple):
    """Place of a name: its offset from the bus [points of text], and the side of the bus, each -1, 0 or 1."""

    offset: np.ndarray
    side: np.ndarray


class Labels:
    """Finds a place for one name after another.

    Parameters
    ----------
    dots
        What no name may cover, buses and symbols, ``(m, 2)`` in coordinates of the drawing.
    lines
        Points on lines, which a name crosses only where there is no better place, ``(l, 2)``.
    per_point
        Coordinates per point of text.
    size
        Size of the font [points].
    """

    def __init__(self, dots: np.ndarray, lines: np.ndarray, per_point: float, size: float):
        self._dots, self._lines = dots, lines
        self._per_point, self._size = per_point, size
        self._boxes = np.zeros((0, 4))

    def cover(self, low: np.ndarray, high: np.ndarray) -> None:
        """Keep a rectangle free of names."""
        self._boxes = np.vstack([self._boxes, [*low, *high]])

    def place(self, at: np.ndarray, text: str, gap: float, least_room: float) -> Place | None:
        """The best place for `text` near `at`, which is taken from then on; ``None`` where all would cover something.

        Parameters
        ----------
        at
            Coordinates of the bus.
        gap
            Least distance between bus and text [points].
        least_room
            Least distance to the next line, over the size of the text: 0 lets names stand on lines.
        """
        half = 0.5 * np.array([WIDTH * len(text), HEIGHT]) * self._size
        offsets = np.concatenate([ring * gap * SIDES for ring in _RINGS])
        sides = np.tile(SIDES, (len(_RINGS), 1))
        centres = at + (offsets + sides * half) * self._per_point
        room = self._room(at, centres, half)
        free = self._free(at, centres, half) & (room >= least_room)
        if not free.any():
            return None
        order = np.arange(len(centres))
        merit = np.minimum(room, _CLEAR) - 0.02 * (order % len(SIDES)) - 0.7 * (order // len(SIDES))
        best = int(np.argmax(np.where(free, merit, -np.inf)))
        self.cover(centres[best] - half * self._per_point, centres[best] + half * self._per_point)
        return Place(offsets[best], sides[best])

    def _room(self, at: np.ndarray, centres: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Distance of each centre to the next dot or line, over the size of the text, ``(candidates,)``."""
        marks = np.concatenate([self._dots, self._lines])
        others = marks[np.abs(marks - at).max(axis=1) > 1e-9]
        if not len(others):
            return np.full(len(centres), _CLEAR)
        reach = (half + 2.0) * self._per_point
        room: np.ndarray = np.min(np.abs((centres[:, None] - others) / reach).max(axis=2), axis=1)
        return room

    def _free(self, at: np.ndarray, centres: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Whether each candidate covers no dot and no name, ``(candidates,)``."""
        reach = (half + _APART) * self._per_point
        low, high = centres - reach, centres + reach
        dots = self._dots[np.abs(self._dots - at).max(axis=1) > 1e-9]
        on_dot = np.any(np.all((dots > low[:, None]) & (dots < high[:, None]), axis=2), axis=1)
        boxes = self._boxes
        on_name = np.any(np.all((boxes[:, :2] < high[:, None]) & (boxes[:, 2:] > low[:, None]), axis=2), axis=1)
        free: np.ndarray = ~(on_dot | on_name)
        return free
