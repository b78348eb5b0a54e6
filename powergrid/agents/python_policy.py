"""Policies in plain Python: objects that an environment asks for an action whenever their agent is due.

A class of the user's needs a method `act` and nothing else; it may have `start` and `reset`. Policies that come with
the package, such as a model predictive controller, derive from :class:`PythonPolicy` and are registered like local
policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np

from powergrid.agents.base import Agent, Observation
from powergrid.agents.device_agent import DeviceAgent, LinearDevice
from powergrid.core.settings import NumberSettings
from powergrid.core.types import Entry
from powergrid.planning.dispatch import Meter


class Site(Protocol):
    """What an agent that decides in Python may know of its place in one environment.

    Attributes
    ----------
    agent
        The agent: its level, parent and subordinates, its labels, its mailbox, and `send_message`.
    decisions
        Owner and entry of each number of its action, with the physical range.
    meanings
        What each of them means to a plan, see :class:`powergrid.agents.protocol.Action`; ``""`` for commands.
    trade_labels
        Labels of what it observes of its last trades, ``trade_price`` and ``traded_energy``; empty without a market.
    whole_markets
        Markets whose meters are all its own and whose orders nobody else gives: their energy is one balance.
    devices
        Devices below it, or itself if it is a device, by id, whoever decides for them.
    dt_h
        Length of a tick [h].
    episode_length
        Ticks of an episode.
    interval, offset
        Ticks between two of its decisions, and the tick of the first.
    world
        Network, all agents, data and layout (:class:`powergrid.worlds.world.World`), for policies that need more than
        their own devices, such as the meters of an area.
    """

    world: Any
    agent: Agent
    decisions: tuple[tuple[str, Entry], ...]
    meanings: tuple[str, ...]
    trade_labels: Mapping[str, str]
    whole_markets: frozenset[str]
    devices: Mapping[str, DeviceAgent]
    dt_h: float
    episode_length: int
    interval: int
    offset: int

    @property
    def tick(self) -> int:
        """Tick of the running episode that it decides about, from 0."""
        ...

    def forecast(self, ticks: int | None = None) -> dict[str, np.ndarray]:
        """What the agent knows now of the series that it observes, by name, ``(ticks,)``.

        The value of the running tick comes first. The hours after it are those that the agent observes: day-ahead
        prices, and forecasts with their errors. Prices hold from one full hour to the next, other values run straight
        between the hours; the last one holds to the end, and the value of the running tick where nothing is known of a
        series.

        Parameters
        ----------
        ticks
            Length; those of 24 hours if ``None``.
        """
        ...

    def rows(self, forecast: Mapping[str, np.ndarray]) -> np.ndarray:
        """A forecast as rows of all series of the environment, NaN where nothing is known, ``(ticks, series)``."""
        ...

    def linear(self, forecast: Mapping[str, np.ndarray]) -> dict[str, LinearDevice]:
        """Linear model of each of `devices` that has one, over the ticks of a forecast, with the energy stored now.

        A device that is out of service has one without power: nobody knows when it returns.
        """
        ...

    def meters(self, forecast: Mapping[str, np.ndarray]) -> tuple[Meter, ...]:
        """Meters at which the agent pays, and those of its devices, with load and tariff over the ticks of a forecast.

        The load is NaN where the agent does not observe its series.
        """
        ...

    def settlement_per_mwh(self) -> dict[str, float]:
        """Price at which what each device holds at the end of the episode is settled [$/MWh], as the agent sees it."""
        ...

    def tariff(self, forecast: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Retail and feed-in price [$/MWh], ``(ticks,)`` each, at the meter of each of `devices`."""
        ...


class PythonPolicy:
    """Base of registered policies in plain Python; one object decides for one agent of one environment.

    Parameters
    ----------
    **params
        The policy's `Settings` by name.
    """

    Settings: ClassVar[type[NumberSettings]] = NumberSettings

    def __init__(self, **params: Any):
        self.settings: Any = self.Settings(**params)

    def start(self, site: Site) -> None:
        """Keep what is known of the agent's place; called once."""
        self.site = site

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode; `rng` follows from the environment's seed, the episode and the agent."""

    def act(self, observation: Observation) -> np.ndarray | Mapping[str, float]:
        """Action of the running tick, asked for when the agent is due; otherwise its last one holds.

        Returns
        -------
        numpy.ndarray or Mapping
            Numbers in [-1, 1] in the order of ``site.decisions``; or physical values by label, such as
            ``{"ess_1.p [MW]": 0.2}``, with or without the unit. What a mapping leaves out holds.
        """
        raise NotImplementedError


def is_python_policy(item: Any) -> TypeGuard[type[PythonPolicy]]:
    """Whether something registered is a class of policies in plain Python."""
    return isinstance(item, type) and issubclass(item, PythonPolicy)


@dataclass(frozen=True)
class PolicyMaker:
    """Makes the objects that decide for one agent.

    Attributes
    ----------
    kind
        Class, or function of an observation.
    params
        Keywords of the class or function.
    name
        What the configuration calls it.
    agent
        Id of the agent.
    """

    kind: Any
    params: Mapping[str, Any]
    name: str
    agent: str

    def __call__(self) -> Any:
        """Make an object with a method `act`.

        Raises
        ------
        TypeError
            If its class has no method `act`.
        """
        if not isinstance(self.kind, type):
            return _Function(self.kind, self.params)
        if not callable(getattr(self.kind, "act", None)):
            raise TypeError(f"{self.kind.__name__} has no method act(observation)")
        if issubclass(self.kind, Agent):
            return self.kind(id=self.agent, **self.params)
        return self.kind(**self.params)


class _Function:
    """A function as an object that decides."""

    def __init__(self, function: Any, params: Mapping[str, Any]):
        self._function, self._params = function, params

    def act(self, observation: Observation) -> Any:
        return self._function(observation, **self._params)
