"""Devices that fail and return, agents that join and leave: who is there in a tick, drawn or scheduled at a reset.

A device with failures alternates between service and outage. Both last for exponentially distributed times, so that the
device is a Markov chain of two states (Billinton and Allan, "Reliability Evaluation of Engineering Systems", 2nd ed.,
Plenum 1992, chapter 9). The chain is read at the beginning of each tick: with ``lambda = 1 / MTBF``, ``mu = 1 / MTTR``
and ``s = lambda + mu`` a device in service is out one tick later with the probability ``lambda / s (1 - exp(-s dt))``,
one that is out is back with ``mu / s (1 - exp(-s dt))``. An episode begins in the steady state, out with
``lambda / s``. So the share of ticks out is the unavailability ``MTTR / (MTBF + MTTR)`` whatever the length of a tick.

An agent that leaves does not return. What it decides for is out of service before it joins and after it has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, expm1, floor, log1p
from typing import NamedTuple

import numpy as np

from powergrid.coordination.layers import flagged
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
    """Outages of devices and presence of agents in running episodes.

    Attributes
    ----------
    begin, end
        First tick out of service, and first tick back, ``(*batch, f, k)``;
        :data:`~powergrid.engine.switching.NEVER` where there is none.
    joins, leaves
        First tick with an agent, and first tick without it again, ``(*batch, m)``; NEVER where it stays.
    """

    begin: Array
    end: Array
    joins: Array
    leaves: Array


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


class Life(NamedTuple):
    """When an agent joins and leaves, in ticks.

    Attributes
    ----------
    joins, leaves
        Earliest and latest tick, drawn evenly from this range with both ends; NEVER for an agent that stays.
    dies
        Probability that it leaves from one tick to the next, besides.
    """

    joins: tuple[int, int] = (0, 0)
    leaves: tuple[int, int] = (NEVER, NEVER)
    dies: float = 0.0


def tick_at(seconds: float, tick_s: float) -> int:
    """The nearest tick, the later one of two; times a tick apart stay in different ticks."""
    return floor(seconds / tick_s + 0.5)


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
    """Devices that may be out of service and agents that may be absent.

    The last columns of the signals hold their status in the tick to come, devices before agents: 1 for those that are
    out or absent.

    Attributes
    ----------
    units
        Names of the devices, ``(f,)``.
    family, row
        Family of each, and its row in it.
    column
        First column of the status among the signals.
    rates
        Chances of each device from one tick to the next.
    agents
        Names of the agents, ``(m,)``.
    lives
        When each of them joins and leaves.
    actor
        Row of each among those that act, -1 for others.
    agent_of
        Agent without which each device is out, ``(f,)``; -1 for none.
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
    agents: tuple[str, ...]
    lives: tuple[Life, ...]
    actor: np.ndarray
    agent_of: np.ndarray
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
        return max([SCHEDULED, *(most_spells(rates, self.ticks) for rates in self.rates)])

    @property
    def width(self) -> int:
        """Columns of the status."""
        return len(self.units) + len(self.agents)

    @property
    def draws(self) -> int:
        """Random numbers of an episode."""
        return len(self.units) * (1 + 2 * self.spells) + 3 * len(self.agents)

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
        """Absences of an episode from numbers in [0, 1), ``(*batch, draws)``, the same bits on every backend."""
        devices = len(self.units) * (1 + 2 * self.spells)
        return Absences(*self._outages(xp, uniform[..., :devices]), *self._lives(xp, uniform[..., devices:]))

    def _outages(self, xp: Namespace, uniform: Array) -> tuple[Array, Array]:
        """When devices are out by their rates."""
        n, k, batch = len(self.units), self.spells, uniform.shape[:-1]
        if not n:
            return tuple(xp.zeros((*batch, 0, k), dtype=np.int32) for _ in range(2))
        out = np.array([rates.out for rates in self.rates], np.float32)
        waits = uniform[..., n:].reshape((*batch, 2, n, k))
        up = self._ticks_until(xp, waits[..., 0, :, :], [rates.fails for rates in self.rates])
        gone = self._ticks_until(xp, waits[..., 1, :, :], [rates.returns for rates in self.rates])
        begins_out = (uniform[..., :n] < out)[..., None] & (np.arange(k) == 0)
        up = xp.where(begins_out, 0, up)
        end = xp.cumsum(up + gone, axis=-1).astype(np.int32)
        begin = xp.where(xp.asarray([rates.fails > 0.0 for rates in self.rates])[:, None], end - gone, NEVER)
        return begin.astype(np.int32), xp.where(begin == NEVER, NEVER, end).astype(np.int32)

    def _lives(self, xp: Namespace, uniform: Array) -> tuple[Array, Array]:
        """When agents join and leave."""
        m, batch = len(self.agents), uniform.shape[:-1]
        if not m:
            return tuple(xp.zeros((*batch, 0), dtype=np.int32) for _ in range(2))
        joins, leaves = (
            _between(xp, uniform[..., k * m : (k + 1) * m], np.array([life[k] for life in self.lives]))
            for k in range(2)
        )
        dies = [life.dies for life in self.lives]
        lasts = self._ticks_until(xp, uniform[..., 2 * m :, None], dies)[..., 0]
        dead = xp.where(xp.asarray(dies) > 0.0, joins + lasts, NEVER)
        leaves = xp.minimum(leaves, dead)
        return joins, xp.where(leaves < self.ticks, leaves, NEVER).astype(np.int32)

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

    def absent(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Whether each agent that may be absent is, in a tick, ``(*batch, m)``."""
        now = tick[..., None]
        return (now < absences.joins) | (now >= absences.leaves)

    def out(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Whether each device that may be out of service is, in a tick, ``(*batch, f)``."""
        now = tick[..., None, None]
        out = ((absences.begin <= now) & (now < absences.end)).any(-1)
        if not len(self.agents):
            return out
        left = self.absent(xp, tick, absences)[..., np.maximum(self.agent_of, 0)]
        return out | (xp.asarray(self.agent_of >= 0) & left)

    def status(self, xp: Namespace, tick: Array, absences: Absences) -> Array:
        """Both, devices before agents, ``(*batch, f + m)``."""
        return xp.concatenate([self.out(xp, tick, absences), self.absent(xp, tick, absences)], axis=-1)

    def present(self, xp: Namespace, tick: Array, absences: Absences, acting: int) -> Array:
        """Whether each of those that act is there in a tick, ``(*batch, acting)``."""
        return self.actors_there(xp, self.absent(xp, tick, absences), acting)

    def actors_there(self, xp: Namespace, absent: Array, acting: int) -> Array:
        """The same from the agents that are absent, ``(*batch, m)``."""
        agent = self.agent_of_actor(acting)
        if not len(self.agents):
            return xp.ones((*absent.shape[:-1], acting), dtype=bool)
        return xp.asarray(agent < 0) | xp.logical_not(absent[..., np.maximum(agent, 0)])

    def agent_of_actor(self, acting: int) -> np.ndarray:
        """Which of :attr:`agents` each of those that act is, ``(acting,)``; -1 for those that never are absent."""
        agent = np.full(acting, -1)
        agent[self.actor[self.actor >= 0]] = np.flatnonzero(self.actor >= 0)
        return agent

    def shown(self, xp: Namespace, signals: Array, tick: Array, absences: Absences) -> Array:
        """The signals with the status in a tick."""
        values = xp.where(self.status(xp, tick, absences), signals[..., :1] * 0.0 + 1.0, 0.0)
        return xp.concatenate([signals[..., : self.column], values.astype(signals.dtype)], axis=-1)

    def failed(self, xp: Namespace, signals: Array, i: int) -> Array | None:
        """Whether each unit of family `i` is out of service, ``(*batch, n)``; ``None`` where none ever is."""
        column = self.columns[i]
        if column is None:
            return None
        return flagged(xp, signals, column)

    def lost_mw(self, xp: Namespace, row: Array, signals: Array) -> Array:
        """What sun and wind would offer to plants that are out, by account [MW], ``(*batch, accounts + 1)``."""
        return self._to_account(xp, row[..., self.offered_series] * signals[..., self.offered_column])


def _between(xp: Namespace, uniform: Array, ends: np.ndarray) -> Array:
    """Whole numbers between two ends, both included, from numbers in [0, 1); NEVER where that is an end."""
    first, last = ends.T
    span = np.where(first == NEVER, 0, last - first).astype(np.float32)
    steps = xp.minimum(xp.floor(uniform * (span + np.float32(1.0))), span).astype(np.int32)
    return xp.asarray(first.astype(np.int32)) + steps
