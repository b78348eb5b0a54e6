"""The static part of an environment of any kind, and the random numbers of its episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike

from powergrid.agents.base import Agent
from powergrid.config.resolve import ResolvedConfig
from powergrid.core import random
from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.engine import formulas
from powergrid.engine.availability import Absences
from powergrid.engine.layout import Layout
from powergrid.engine.observations import forecast_scale
from powergrid.engine.state import Noise
from powergrid.engine.switching import Outages
from powergrid.networks.kinds import AnyNetwork
from powergrid.worlds.carbon import Carbon
from powergrid.worlds.exogenous import ExogenousTable

DAY_HOURS = 24
"""Hours after an episode whose prices settle the stored energy [h]."""
FORECAST, POLICY, INITIAL, DAY, OUTAGE, PROTOCOLS, ABSENCE = range(1, 8)
"""Streams of random numbers."""
SHARED = "shared_"
"""Prefix of constraints on what no agent owns, which all pay in equal parts."""


@dataclass(frozen=True)
class RewardSettings:
    """Weights of money and violations in the reward.

    Attributes
    ----------
    reward_scale
        Factor on money [1/$].
    safety_scale
        Factor on priced violations [1/$].
    max_penalty
        Largest penalty of a tick; infinite for no limit.
    """

    reward_scale: float = 1.0
    safety_scale: float = 1.0
    max_penalty: float = float("inf")

    def relief(self, xp: Namespace, costs: Array, limited: Sequence[int]) -> Array:
        """What a reward gains if the violations in the columns `limited` have limits in place of prices, ``(*batch,)``.

        `costs` are priced violations by name [$], ``(*batch, names)``.
        """
        rest = [k for k in range(costs.shape[-1]) if k not in limited]
        whole, left = costs.sum(-1), (costs[..., rest].sum(-1) if rest else xp.zeros_like(costs[..., 0]))
        penalties = (xp.minimum(self.safety_scale * cost, self.max_penalty) for cost in (whole, left))
        return next(penalties) - next(penalties)


def _total(columns: Array) -> Array:
    """Sum over the last axis, which is short: a sum by columns is faster, with the same bits in any batch."""
    return sum((columns[..., i] for i in range(1, columns.shape[-1])), start=columns[..., 0])


@dataclass(frozen=True)
class Mixing:
    """Mixing of the parameters of learners' policies.

    Attributes
    ----------
    name
        Name of the protocol.
    members
        Ids of the agents, whose networks have one size.
    interval
        Updates between two mixings.
    matrix
        The parameters after a mixing are this matrix times those before, ``(n, n)``; rows sum to one.
    """

    name: str
    members: tuple[str, ...]
    interval: int
    matrix: np.ndarray


@dataclass(frozen=True)
class World:
    """The static part of an environment of any kind.

    Attributes
    ----------
    layout
        The engine's tables of agents, units and accounts.
    table
        Exogenous rows of the data, computed when they are read.
    days
        Days that episodes may start on, by split, each ``(days,)``.
    ticks_per_day
        Rows of one day.
    reward
        Weights of money and violations in the reward.
    agents
        All agents, in the order of the configuration.
    network
        The network's columns.
    resolved
        The configuration.
    method, tol_pu
        Power-flow method, as a name or ``"auto"``, and its tolerance [pu].
    mixings
        What protocols of kind learning do with the parameters of their members; only a trainer applies it.
    cost_limits
        Limits of constraints by name, over the learning agents and an episode [$]; what is shared of a constraint
        counts.
    carbon
        Accounts of marginal carbon; ``None`` where the configuration names no series.
    """

    layout: Layout
    table: ExogenousTable
    days: dict[str, np.ndarray]
    ticks_per_day: int
    reward: RewardSettings
    agents: tuple[Agent, ...]
    network: AnyNetwork
    resolved: ResolvedConfig
    method: str = "auto"
    tol_pu: float = 1e-8
    mixings: tuple[Mixing, ...] = ()
    cost_limits: Mapping[str, float] = field(default_factory=dict)
    carbon: Carbon | None = None

    def limited(self, names: Iterable[str]) -> list[int]:
        """Columns of the constraints `names` and of what is shared of them, in the ledger's order."""
        wanted = set(names)
        return [k for k, name in enumerate(self.layout.ledger.cost_names) if name.removeprefix(SHARED) in wanted]

    @cached_property
    def limit_row(self) -> np.ndarray:
        """Limit of each constraint in the ledger's order [$], ``(names,)``; 0 where none is given."""
        names = (name.removeprefix(SHARED) for name in self.layout.ledger.cost_names)
        return np.array([self.cost_limits.get(name, 0.0) for name in names])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of configuration, method and tolerance: worlds with equal digests can exchange their states."""
        text = self.resolved.to_yaml(self.resolved.base_dir)
        return hashlib.sha256(f"{self.method} {self.tol_pu}\n{text}".encode()).hexdigest()

    def rewards(self, xp: Namespace, money: Array, costs: Array) -> Array:
        """Rewards of the agents that act, ``(*batch, acting)``.

        ``-reward_scale * money - min(safety_scale * cost, max_penalty)``, with the sums over the accounts that are an
        agent's objective.

        Parameters
        ----------
        money, costs
            Money and priced violations [$] by account and name, ``(*batch, accounts, names)``.
        """
        given, of = self.reward, self.layout.of_objectives
        scales = given.reward_scale, given.safety_scale, given.max_penalty
        return formulas.reward(xp, of(xp, _total(money)), of(xp, _total(costs)), *scales)

    def settlement(self, row: np.ndarray) -> np.ndarray:
        """Settlement prices [$/MWh] of stored energy in episodes that start at each row, ``(*row, s)``.

        The price is the cost of refilling after the episode: the mean retail price of the `hours` cheapest hours within
        `within_h`, over the efficiency. The price of an hour is the mean of its four quarters. After the last row of
        the data the first follows.
        """
        layout = self.layout
        quarters = np.floor(np.arange(4 * DAY_HOURS) * 0.25 / layout.settings.dt_h + 1e-9).astype(int)
        after = np.asarray(row)[..., None] + layout.settings.episode_length + quarters
        prices = self.table.series(layout.ledger.settle_columns, after)
        hourly = _total(np.moveaxis(prices.reshape((*np.shape(row), DAY_HOURS, 4, -1)), -2, -1)) / 4.0
        refill_prices = np.empty((*np.shape(row), len(layout.ledger.settle_columns)))
        for k, refill in enumerate(layout.ledger.settle_refill):
            cheapest = np.sort(hourly[..., : int(refill.within_h), k], axis=-1)[..., : int(refill.hours)]
            refill_prices[..., k] = _total(cheapest) / (refill.hours * refill.efficiency)
        return refill_prices

    def carbon_kg(self, measured_mw: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Marginal emissions of a tick by account [kg], ``(*batch, accounts)``; needs `carbon`.

        Parameters
        ----------
        measured_mw
            Measurements of the tick [MW], ``(*batch, Q)``.
        row
            Row of the table of the tick, ``(*batch,)``.
        """
        assert self.carbon is not None
        rate = self.table.series([self.carbon.series], np.asarray(row))
        emitted: np.ndarray = self.carbon._replace(series=0).kg(np, measured_mw, rate)
        return emitted

    @property
    def units(self) -> int:
        """Number of device units in all families."""
        return sum(family.size for family in self.layout.families)

    def draw_day(self, xp: Namespace, key: Array, days: Array) -> Array:
        """Draw a day for each key: ``(*batch,)`` for keys ``(*batch, 2)``."""
        draw = random.uniform(xp, key, xp.zeros(key.shape[:-1], dtype=np.int32), DAY, (1,), np.float32)[..., 0]
        return xp.asarray(days)[(draw * len(days)).astype(np.int32)]

    def noise(self, xp: Namespace, key: Array, tick: Array, dtype: DTypeLike) -> Noise:
        """Random numbers of the observations at `tick` and of the decisions that follow from them."""
        columns, slots = self.layout.columns, self.layout.slots
        if any(columns.ahead_noise):
            draw = random.normal(xp, key, tick, FORECAST, (columns.ahead_hours, len(columns.ahead)), dtype)
            forecast = forecast_scale(xp, columns, self.layout.settings.forecast_rho, draw)
        else:
            forecast = xp.ones((*tick.shape, columns.ahead_hours * len(columns.ahead)), dtype=dtype)
        if self.layout.policies.choices.random:
            policy = self.policy_noise(xp, key, tick, dtype)
        else:
            policy = xp.zeros((*tick.shape, slots.size), dtype=dtype)
        noisy = sum(layer.draws for layer in self.layout.coordination.layers)
        return Noise(forecast, policy, random.uniform(xp, key, tick, PROTOCOLS, (noisy,), dtype))

    def policy_noise(self, xp: Namespace, key: Array, tick: Array, dtype: DTypeLike) -> Array:
        """Uniform numbers in [0, 1) for the actions of random policies at `tick`, ``(*batch, K)``."""
        return random.uniform(xp, key, tick, POLICY, (self.layout.slots.size,), dtype)

    def initial(self, xp: Namespace, key: Array, dtype: DTypeLike) -> Array:
        """Uniform numbers in [0, 1) for the initial states of the devices, ``(*batch, units)``."""
        return random.uniform(xp, key, xp.zeros(key.shape[:-1], dtype=np.int32), INITIAL, (self.units,), dtype)

    def outages(self, xp: Namespace, key: Array) -> Outages:
        """Outages of the episode of each key."""
        switching, batch = self.layout.grid.switching, key.shape[:-1]
        if switching is None or not switching.outages:
            return Outages(*(xp.zeros((*batch, 0), dtype=np.int32) for _ in Outages._fields))
        shape = (3 * len(switching.outages),)
        return switching.draw(xp, random.uniform(xp, key, xp.zeros(batch, np.int32), OUTAGE, shape, np.float32))

    def absences(self, xp: Namespace, key: Array) -> Absences:
        """When devices are out of service and agents absent in the episode of each key."""
        availability, batch = self.layout.availability, key.shape[:-1]
        if availability is None:
            shapes = ((0, 0), (0, 0), (0,), (0,))
            return Absences(*(xp.zeros((*batch, *shape), dtype=np.int32) for shape in shapes))
        draws = (availability.draws,)
        return availability.draw(xp, random.uniform(xp, key, xp.zeros(batch, np.int32), ABSENCE, draws, np.float32))
