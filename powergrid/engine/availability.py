"""Devices that fail and return: which are out of service in a tick, drawn when an episode begins or scheduled.

A device with failures alternates between service and outage. Both last for exponentially distributed times, so that the
device is a Markov chain of two states (Billinton and Allan, "Reliability Evaluation of Engineering Systems", 2nd ed.,
Plenum 1992, chapter 9). The chain is read at the beginning of each tick: with ``lambda = 1 / MTBF``, ``mu = 1 / MTTR``
and ``s = lambda + mu`` a device in service is out one tick later with the probability ``lambda / s (1 - exp(-s dt))``,
one that is out is back with ``mu / s (1 - exp(-s dt))``. An episode begins in the steady state, out with
``lambda / s``. So the share of ticks out is the unavailability ``MTTR / (MTBF + MTTR)`` whatever the length of a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, expm1, log1p
from typing import NamedTuple

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.engine.gather import SumTo
from powergrid.engine.switching import NEVER

SCHEDULED = 8
"""Outages of one device in an episode that a schedule may have at least."""
MAX_SPELLS = 256
"""Outages of one device in an episode beyond which failures are not drawn."""
_RARE = 1e-9
"""Probability with which a device fails more often than an episode has room for."""


class Absences(NamedTuple):
    """Outages of the devices in running episodes, ``(*batch, f, k)``.

    Attributes
    ----------
    begin, end
        First tick out of service, and first tick back; :data:`~powergrid.engine.switching.NEVER` where there is none.
    """

    begin: Array
    end: Array


class Rates(NamedTuple):
    """Chances of a device from one tick to the next.

    Attributes
    ----------
    fails, returns
        Probability that it is out one tick after it was in service, and back one tick after it was out.
    out
        Probability that an episode begins with it out.
    """

    fails: float = 0.0
    returns: float = 0.0
    out: float = 0.0


def rates_of(mtbf_h: float, mttr_h: float, dt_h: float) -> Rates:
    """Chances from one tick to the next for exponential times between failures and to repair [h]."""
    fail, repair = 1.0 / mtbf_h, 1.0 / mttr_h
    total = fail + repair
    moves = -expm1(-total * dt_h)
    return Rates(fail / total * moves, repair / total * moves, fail / total)


def most_spells(rates: Rates, ticks: int) -> int:
    """Outages in an episode that a device has more of with a probability of 1e-9 only.

    Outages begin no more often than in ticks that are all in service, ``Poisson(-ticks log(1 - fails))``, besides the
    one with which an episode may begin.
    """
    mean = -ticks * log1p(-rates.fails)
    if mean > 600.0:
        return (ticks + 1) // 2 + 1
    count, term = 0, exp(-mean)
    beyond = 1.0 - term
    while beyond > _RARE and count < ticks:
        count += 1
        term *= mean / count
        beyond -= term
    return min(count, (ticks + 1) // 2) + 1


@dataclass(frozen=True)
class Availability:
    """Devices that may be out of service; the signals hold which of them are, in the last columns.

    Attributes
    ----------
    units
        Their names, ``(f,)``.
    family, row
        Family of each, and its row in it.
    column
        First column among the signals; 1 there says that a device is out in the tick to come.
    rates
        Chances of each from one tick to the next.
    ticks
        Ticks of an episode.
    families
        Number of families, and units of each.
    offered_column, offered_series, offered_mw, offered_account
        Plants that follow a series: columns of the signals and of the exogenous row, power at a series value of 1 [MW],
        and account, the shared rest last.
    accounts
        Number of accounts without that rest.
    """

    units: tuple[str, ...]
    family: np.ndarray
    row: np.ndarray
    column: int
    rates: tuple[Rates, ...]
    ticks: int
    families: tuple[int, ...]
    offered_column: np.ndarray
    offered_series: np.ndarray
    offered_mw: np.ndarray
    offered_account: np.ndarray
    accounts: int

    @cached_property
    def spells(self) -> int:
        """Outages of one device that an episode has room for."""
        return max(SCHEDULED, *(most_spells(rates, self.ticks) for rates in self.rates))

    @property
    def draws(self) -> int:
        """Random numbers of an episode."""
        return len(self.units) * (1 + 2 * self.spells)

    @cached_property
    def columns(self) -> tuple[np.ndarray | None, ...]:
        """Column of the signals of each unit, -1 for those always in service, by family; ``None`` for all of them."""
        found: list[np.ndarray | None] = []
        for i, size in enumerate(self.families):
            mine = self.family == i
            column = np.full(size, -1)
            column[self.row[mine]] = self.column + np.flatnonzero(mine)
            found.append(column if mine.any() else None)
        return tuple(found)

    @cached_property
    def _to_account(self) -> SumTo:
        return SumTo(self.offered_account, self.accounts + 1, self.offered_mw)

    def draw(self, xp: Namespace, uniform: Array) -> Absences:
        """Outages of an episode from numbers in [0, 1), ``(*batch, draws)``, the same bits on every backend."""
        n, k, batch = len(self.units), self.spells, uniform.shape[:-1]
        out = np.array([rates.out for rates in self.rates], np.float32)
        waits = uniform[..., n:].reshape((*batch, 2, n, k))
        up = self._ticks_until(xp, waits[..., 0, :, :], [rates.fails for rates in self.rates])
        gone = self._ticks_until(xp, waits[..., 1, :, :], [rates.returns for rates in self.rates])
        begins_out = (uniform[..., :n] < out)[..., None] & (np.arange(k) == 0)
        up = xp.where(begins_out, 0, up)
        end = xp.cumsum(up + gone, axis=-1).astype(np.int32)
        begin = xp.where(xp.asarray([rates.fails > 0.0 for rates in self.rates])[:, None], end - gone, NEVER)
        return Absences(begin.astype(np.int32), xp.where(begin == NEVER, NEVER, end).astype(np.int32))

    def _ticks_until(self, xp: Namespace, uniform: Array, chance: Sequence[float]) -> Array:
        """Ticks until something happens that has these chances in each, by comparison, which no backend rounds."""
        chances, place, parts = np.unique(chance), np.array(chance), []
        for value in chances.tolist():
            log = log1p(-value) if value < 1.0 else -np.inf
            passed = (-np.expm1(log * np.arange(1.0, self.ticks + 1.0))).astype(np.float32)
            own = np.flatnonzero(place == value)
            found = xp.searchsorted(xp.asarray(passed), uniform[..., own, :], side="right")
            parts.append(found.astype(np.int32) + 1)
        order = np.argsort(np.concatenate([np.flatnonzero(place == value) for value in chances.tolist()]))
        return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=-2)[..., order, :]

    def out(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Whether each device is out of service in a tick, ``(*batch, f)``."""
        now = tick[..., None, None]
        return ((absences.begin <= now) & (now < absences.end)).any(-1)

    def shown(self, xp: Namespace, signals: Array, tick: Array, absences: Absences) -> Array:
        """The signals with those that are out in a tick."""
        values = xp.where(self.out(xp, tick, absences), signals[..., :1] * 0.0 + 1.0, 0.0)
        return xp.concatenate([signals[..., : self.column], values.astype(signals.dtype)], axis=-1)

    def failed(self, xp: Namespace, signals: Array, i: int) -> Array | None:
        """Whether each unit of family `i` is out of service, ``(*batch, n)``; ``None`` where none ever is."""
        column = self.columns[i]
        if column is None:
            return None
        return xp.asarray(column >= 0) & (signals[..., np.maximum(column, 0)] > 0.5)

    def lost_mw(self, xp: Namespace, row: Array, signals: Array) -> Array:
        """What sun and wind would offer to plants that are out, by account [MW], ``(*batch, accounts + 1)``."""
        return self._to_account(xp, row[..., self.offered_series] * signals[..., self.offered_column])
