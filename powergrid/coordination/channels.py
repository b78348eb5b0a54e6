"""Channels: everything that agents receive from protocols, as columns of one vector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import ConfigError, Issue
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
    whole_tariff
        Whether a price stands for the tariff of its receivers' meters as well.
    """

    owner: str
    entry: Entry
    default: float
    below: bool
    stands_for: str
    peers: bool
    whole_tariff: bool = False


class Replacements(NamedTuple):
    """Columns that replace a series in rules.

    Attributes
    ----------
    sent
        Number of the column that an agent sends to everybody below it, by its id.
    told
        Number of the column that is for one agent and everybody below it, by its id.
    whole_tariff
        Numbers of those that stand for a whole tariff.
    """

    sent: Mapping[str, int]
    told: Mapping[str, int]
    whole_tariff: frozenset[int] = frozenset()

    def heard_by(self, agent: Any) -> int:
        """Number of the column that holds for an agent, from the nearest above it; -1 for none."""
        return next(iter(self._above(agent)), -1)

    def replaces_tariff(self, agent: Any) -> bool:
        """Whether an agent, or one above it, receives a price in place of a whole tariff: then there is none to add."""
        return any(column in self.whole_tariff for column in self._above(agent))

    def _above(self, agent: Any) -> list[int]:
        """Numbers of the columns for an agent and for those above it, the nearest first."""
        found = []
        for one in (agent, *agent.ancestors()):
            for columns in (self.sent, self.told) if one is not agent else (self.told,):
                if one.id in columns:
                    found.append(columns[one.id])
        return found


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

    def standing_for(self, series: str) -> Replacements:
        """Columns that replace a series, or shift a set point.

        Raises
        ------
        ConfigError
            If an agent would receive two of them.
        """
        found = [(i, column) for i, column in enumerate(self.columns) if column.stands_for == series]
        owners = Counter((column.owner, column.below) for _, column in found)
        for (owner, _), count in owners.items():
            if count > 1:
                message = f'"{owner}" receives {series} from {count} protocols'
                raise ConfigError([Issue("protocols", message, "let it be a member of one of them")])
        return Replacements(
            {column.owner: i for i, column in found if column.below},
            {column.owner: i for i, column in found if not column.below},
            frozenset(i for i, column in found if column.whole_tariff),
        )
