"""Agents that decide in Python: objects that fill their rows of the actions before each step.

In the engine these agents act like those that outside code acts for, and follow them in every array. A
:class:`~powergrid.worlds.simulation.Simulation` takes and returns the rows of the latter alone.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from powergrid.agents.base import Agent, Entries, Post, places_of, twins
from powergrid.agents.device_agent import DeviceAgent, LinearDevice
from powergrid.agents.python_policy import PolicyMaker, PythonPolicy
from powergrid.core.errors import AgentError, ConfigError, Issue, nearest
from powergrid.core.types import Array, Entry
from powergrid.datasets.tariff import tariff
from powergrid.engine.layout import Layout
from powergrid.engine.state import State
from powergrid.planning.dispatch import Meter
from powergrid.worlds import prospects
from powergrid.worlds.billing import MeterPlace
from powergrid.worlds.linear import linear_models
from powergrid.worlds.world import World

DAY_H = 24
"""Length of a forecast [h] where none is named."""
_BOUND = (
    "id",
    "site",
    "parent",
    "subordinates",
    "mailbox",
    "observation_labels",
    "action_labels",
    "decisions",
    "_post",
)
"""Attributes of a policy object that belong to its environment, not to its memory."""


@dataclass(frozen=True)
class _Role:
    """What is the same for a Python agent in every environment.

    Attributes
    ----------
    id, row
        Its name, and its row in the engine's arrays.
    seen
        Its numbers among those that all agents observe.
    labels, places
        Labels of its observation, and their positions.
    actions
        Position of each label of its action, with and without the unit.
    decisions, low, span
        Owner and entry of each number of its action, and their physical ranges.
    slots
        Slots that its action fills.
    interval, offset
        Ticks between two decisions, and tick of the first.
    """

    id: str
    row: int
    seen: slice
    labels: tuple[str, ...]
    places: Mapping[str, int]
    action_labels: tuple[str, ...]
    actions: Mapping[str, int]
    decisions: tuple[tuple[str, Entry], ...]
    low: Array
    span: Array
    slots: Array
    interval: int
    offset: int

    def due(self, tick: int) -> bool:
        """Whether the agent decides at a tick."""
        return tick >= self.offset and (tick - self.offset) % self.interval == 0


class PythonAgents:
    """The Python agents of all environments of a simulation.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    own
        Whether the one environment of the simulation uses the world's agent objects; otherwise each uses copies.
    """

    def __init__(self, world: World, own: bool):
        self._world, self._own, self._layout = world, own, world.layout
        self._acting = len(world.layout.actors)
        agents = {agent.id: agent for agent in world.agents}
        roles = [_role(world.layout, id) for id in world.layout.python_agents]
        self._roles = sorted(roles, key=lambda role: -agents[role.id].level)  # top down
        self._environments: list[_Environment] = []

    def begin(self, key: Array, observation: Array) -> None:
        """Start an episode in every environment; `observation` has all agents' numbers, ``(*batch, N)``."""
        keys, seen = np.reshape(key, (-1, 2)), self._by_environment(observation)
        if len(self._environments) != len(keys):
            self._environments = [self._made() for _ in keys]
        for environment, own_key, numbers in zip(self._environments, keys, seen, strict=True):
            environment.begin(own_key, numbers)

    def begin_again(self, who: Array, key: Array, observation: Array) -> None:
        """Start an episode in some environments."""
        for e, own_key, numbers in zip(who, key, self._by_environment(observation), strict=True):
            self._environments[e].begin(own_key, numbers)

    def filled(self, state: Any, actions: Array) -> Array:
        """Actions of everybody, ``(*batch, A, k_max)``, from those of the agents that outside code acts for."""
        batch = np.shape(state.tick)
        ticks = np.ravel(state.tick).tolist()
        whole = np.zeros((len(ticks), self._layout.acting, self._layout.action_size))
        whole[:, : self._acting] = np.reshape(actions, whole[:, : self._acting].shape)
        for e, (environment, tick) in enumerate(zip(self._environments, ticks, strict=True)):
            environment.decide(tick, _Moment(state, e), whole[e])
        return whole.reshape(*batch, *whole.shape[1:])

    def observe(self, observation: Array) -> None:
        """Keep what Python agents see after a step; `observation` has all agents' numbers."""
        for environment, numbers in zip(self._environments, self._by_environment(observation), strict=True):
            environment.observe(numbers)

    def saved(self) -> tuple[Any, ...]:
        """Copies of what each environment's Python agents remember."""
        return tuple(environment.saved() for environment in self._environments)

    def resume(self, state: State, saved: tuple[Any, ...]) -> None:
        """Continue from what `saved` has returned; without it memories start afresh, and agents hold for a tick."""
        slots, keys = (np.reshape(part, (-1, np.shape(part)[-1])) for part in (state.slots, state.key))
        if len(self._environments) != len(slots):
            self._environments = [self._made() for _ in slots]
        parts = saved or (None,) * len(slots)
        for environment, own_slots, key, part in zip(self._environments, slots, keys, parts, strict=True):
            environment.resume(own_slots, key, part)

    def last_seen(self) -> dict[str, float]:
        """Value by label of what the Python agents of the first environment observed last."""
        return {} if not self._environments else self._environments[0].last_seen()

    def _by_environment(self, observation: Array) -> Array:
        """Observations by environment."""
        return np.reshape(observation, (-1, np.shape(observation)[-1]))

    def _made(self) -> _Environment:
        agents = list(self._world.agents) if self._own else twins(self._world.agents)
        return _Environment(self._world, self._roles, agents)


class StandIns:
    """A policy in plain Python in place of all agents that outside code acts for, in all environments of a simulation.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    policy
        A class of :class:`powergrid.agents.python_policy.PythonPolicy`; each agent of each environment has an object.
    """

    def __init__(self, world: World, policy: type[PythonPolicy]):
        self._world, self._policy = world, policy
        levels = {agent.id: agent.level for agent in world.agents}
        self._roles = [_role(world.layout, id) for id in sorted(world.layout.actors, key=lambda id: -levels[id])]
        self._environments: list[_Environment] = []
        self._keys: Array = np.zeros((0, 2), np.uint32)

    def actions(self, state: Any, observation: Array) -> Array:
        """Actions ``(*batch, A, k_max)`` from the state and the last observations ``(*batch, N)``."""
        layout, keys = self._world.layout, np.reshape(state.key, (-1, 2))
        ticks, seen = np.ravel(state.tick).tolist(), np.reshape(observation, (-1, np.shape(observation)[-1]))
        if len(self._environments) != len(keys):
            self._environments = [self._made() for _ in keys]
            self._keys = np.zeros_like(keys)
        whole = np.zeros((len(keys), len(layout.actors), layout.action_size))
        for e, environment in enumerate(self._environments):
            if ticks[e] == 0 or not np.array_equal(keys[e], self._keys[e]):
                environment.begin(keys[e], seen[e])
            else:
                environment.observe(seen[e])
            environment.decide(ticks[e], _Moment(state, e), whole[e])
        self._keys = np.array(keys)
        return whole.reshape(*np.shape(state.tick), *whole.shape[1:])

    def _made(self) -> _Environment:
        agents = twins(self._world.agents)
        for agent in agents:
            if agent.id in self._world.layout.actors:
                agent.make_policy = PolicyMaker(self._policy, {}, self._policy.__name__, agent.id)
        return _Environment(self._world, self._roles, agents)


class _Environment:
    """The Python agents of one environment."""

    def __init__(self, world: World, roles: list[_Role], agents: list[Agent]):
        by_id = {agent.id: agent for agent in agents}
        self.post = Post(agents)
        self.seats = [_Seat(world, role, by_id[role.id]) for role in roles]

    def begin(self, key: Array, numbers: Array) -> None:
        self.post.clear()
        self.post.tick = 0
        for seat in self.seats:
            seat.begin(key, numbers)

    def decide(self, tick: int, moment: _Moment, actions: Array) -> None:
        """Fill the rows of the Python agents among the actions of everybody ``(A, k_max)``."""
        self.post.tick, self.post.holding = tick, True
        try:
            for seat in self.seats:
                actions[seat.role.row, : len(seat.held)] = seat.decided(tick, moment)
        finally:
            self.post.holding = False

    def observe(self, numbers: Array) -> None:
        self.post.deliver()
        for seat in self.seats:
            seat.observe(numbers)

    def saved(self) -> tuple[Any, ...]:
        mail = {id: tuple(agent.mailbox) for id, agent in self.post.agents.items() if agent.mailbox}
        return mail, tuple(seat.saved() for seat in self.seats)

    def resume(self, slots: Array, key: Array, saved: tuple[Any, ...] | None) -> None:
        mail, parts = ({}, [None] * len(self.seats)) if saved is None else saved
        self.post.queue.clear()
        for id, agent in self.post.agents.items():
            agent.mailbox[:] = mail.get(id, ())
        for seat, part in zip(self.seats, parts, strict=True):
            seat.resume(slots, key, part)

    def last_seen(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for seat in self.seats:
            if seat.seen is not None:
                found |= zip(seat.role.labels, seat.seen.tolist(), strict=True)
        return found


class _Moment:
    """State of one environment of a batch while its agents decide."""

    def __init__(self, state: Any, e: int):
        self._state, self._e = state, e

    def devices(self, family: int) -> Any:
        """State of a family's units, columns ``(n,)``."""
        columns = self._state.devices[family]
        return type(columns)(*(np.reshape(column, (-1, np.shape(column)[-1]))[self._e] for column in columns))

    @property
    def row(self) -> int:
        """Row of the exogenous table of the tick that is decided about."""
        return int(np.ravel(self._state.row)[self._e])

    def absent(self, layout: Layout, agent: str) -> bool:
        """Whether an agent is absent in the tick that is decided about."""
        known = layout.availability
        if known is None or agent not in known.agents:
            return False
        absent = known.absent(np, np.asarray(self._state.tick), self._state.absences)
        return bool(np.reshape(absent, (-1, absent.shape[-1]))[self._e, known.agents.index(agent)])

    def out_of_service(self, layout: Layout) -> frozenset[str]:
        """Devices that are out of service in the tick that is decided about."""
        if layout.availability is None:
            return frozenset()
        out = layout.availability.out(np, np.asarray(self._state.tick), self._state.absences)
        row = np.reshape(out, (-1, out.shape[-1]))[self._e]
        return frozenset(np.array(layout.availability.units)[row].tolist())


class _Seat:
    """One Python agent in one environment, with the object that decides for it."""

    def __init__(self, world: World, role: _Role, agent: Agent):
        self.role, self.agent = role, agent
        self.held = np.zeros(len(role.decisions))
        self.rest = np.array([world.layout.slots.rest[slot] for slot in role.slots])
        self.seen: Array | None = None
        self.site = _Site(world, self)
        agent.observation_labels, agent.action_labels = role.labels, role.action_labels
        agent.decisions = role.decisions
        self.policy: Any = None
        if agent.make_policy is not None:
            self.policy = agent.make_policy()
            if isinstance(self.policy, Agent):
                _bind(self.policy, agent)
            if callable(start := getattr(self.policy, "start", None)):
                self._call("start", start, self.site)
            agent.policy_object = self.policy

    @property
    def name(self) -> str:
        """The agent, with what decides for it."""
        maker = self.agent.make_policy
        return f'agent "{self.role.id}"' + ("" if maker is None else f" ({getattr(maker, 'name', maker)})")

    def begin(self, key: Array, numbers: Array) -> None:
        self._restart(key)
        self.held = self.rest.copy()
        self.observe(numbers)

    def observe(self, numbers: Array) -> None:
        self.seen = numbers[self.role.seen].astype(np.float32)

    def decided(self, tick: int, moment: _Moment) -> Array:
        """What the agent's action is at a tick: a new one where it is due, the last one otherwise."""
        if self.role.due(tick) and self.seen is not None and not moment.absent(self.site.world.layout, self.role.id):
            self.site.moment, self.site.tick = moment, tick
            if self.agent.decide is None:
                raise AgentError(
                    f'agent "{self.role.id}" has policy: python and nothing that decides: set '
                    f'env.agent("{self.role.id}").decide to a function of an Observation, or name a class in the '
                    "configuration, policy: {python: my_module:MyAgent}"
                )
            entries = Entries(self.role.labels, self.seen, self.role.places)
            watcher = self.policy if callable(getattr(self.policy, "observe", None)) else self.agent
            observation = self._call("observe", watcher.observe, entries)
            chosen = self._call("act", self.agent.decide, observation)
            self.held = self._action(chosen, tick)
        return self.held

    def _action(self, chosen: Any, tick: int) -> Array:
        """An action as numbers in [-1, 1]."""
        role = self.role
        if isinstance(chosen, Mapping):
            return self._from_physical(chosen, tick)
        try:
            numbers = np.asarray(chosen, dtype=float)
        except (TypeError, ValueError):
            raise AgentError(f"{self.name}: {self._place(tick)} is no vector of numbers: {chosen!r}") from None
        if numbers.shape != self.held.shape:
            wanted = ", ".join(role.action_labels)
            raise AgentError(
                f"{self.name}: {self._place(tick)} has shape {numbers.shape}, expected {self.held.shape}: {wanted}; or "
                "return a mapping from these labels to physical values"
            )
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            label = role.action_labels[int(bad[0])]
            raise AgentError(f"{self.name}: {self._place(tick)} is not finite at {label}: {numbers[bad[0]]}")
        return np.clip(numbers, -1.0, 1.0)

    def _from_physical(self, chosen: Mapping[Any, Any], tick: int) -> Array:
        """An action from physical values by label; what is left out holds."""
        role, numbers = self.role, self.held.copy()
        for label, value in chosen.items():
            at = role.actions.get(str(label))
            if at is None:
                hint = nearest(str(label), role.action_labels)
                raise AgentError(
                    f'{self.name}: {self._place(tick)} names "{label}", which it does not choose; '
                    f"{hint + ' ' if hint else ''}it chooses: {', '.join(role.action_labels)}"
                )
            try:
                number = float(value)
            except (TypeError, ValueError):
                number = float("nan")
            if not np.isfinite(number):
                raise AgentError(
                    f"{self.name}: {self._place(tick)} is not a finite number at {role.action_labels[at]}: {value!r}"
                )
            share = (number - role.low[at]) / role.span[at] if role.span[at] > 0.0 else 0.5
            numbers[at] = min(max(2.0 * share - 1.0, -1.0), 1.0)
        return numbers

    def _place(self, tick: int) -> str:
        return f"the action of tick {tick}"

    def _call(self, what: str, function: Any, *given: Any) -> Any:
        try:
            return function(*given)
        except AgentError:
            raise
        except Exception as error:  # a stranger's code may fail in any way
            reason = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            raise AgentError(f"{self.name}: {what} fails with {type(error).__name__}: {reason}") from error

    def _restart(self, key: Array) -> None:
        reset = getattr(self.policy, "reset", None)
        if callable(reset) and reset is not DeviceAgent.reset:  # that one is a kernel of device families
            seed = [int(word) for word in key] + [self.role.row]
            self._call("reset", reset, np.random.default_rng(seed))

    def saved(self) -> tuple[Any, ...]:
        """Copies of what the agent holds, sees and remembers."""
        seen = None if self.seen is None else self.seen.copy()
        return self.held.copy(), seen, copy.deepcopy(self._memory(), {id(self.site): self.site})

    def resume(self, slots: Array, key: Array, saved: tuple[Any, ...] | None) -> None:
        if saved is None:
            self._restart(key)
            self.held, self.seen = slots[self.role.slots], None
            return
        held, seen, memory = saved
        self.held, self.seen = held.copy(), None if seen is None else seen.copy()
        if memory is not None:
            own = {name: value for name, value in vars(self.policy).items() if name in _BOUND}
            vars(self.policy).clear()
            vars(self.policy).update(own, **copy.deepcopy(memory))

    def _memory(self) -> dict[str, Any] | None:
        """Attributes of the object that decides, without those that belong to its environment."""
        if not hasattr(self.policy, "__dict__"):
            return None
        return {
            name: value for name, value in vars(self.policy).items() if name not in _BOUND and value is not self.site
        }


class _Site:
    """A Python agent's place in one environment; see :class:`powergrid.agents.python_policy.Site`."""

    def __init__(self, world: World, seat: _Seat):
        layout, agent = world.layout, seat.agent
        self.world, self._seat = world, seat
        self.agent, self.decisions = agent, seat.role.decisions
        below = [agent, *agent.descendants()]
        self.devices = {device.id: device for device in below if isinstance(device, DeviceAgent)}
        self.dt_h, self.episode_length = layout.settings.dt_h, layout.settings.episode_length
        self.interval, self.offset = seat.role.interval, seat.role.offset
        self.tick = 0
        self.moment: _Moment | None = None
        self._ahead = _hours_ahead(layout, seat.role)
        self.meanings = prospects.meanings(layout, seat.role.slots)
        self.trade_labels = prospects.trade_labels(layout, agent.id)
        self.whole_markets = prospects.whole_markets(world, agent.id, self.devices, seat.role.slots)
        self._settled_at = prospects.settlement_names(layout, self.devices)
        self._meters: tuple[MeterPlace, ...] | None = None

    def forecast(self, ticks: int | None = None) -> dict[str, Array]:
        """See :meth:`powergrid.agents.python_policy.Site.forecast`."""
        seen, count = self._seat.seen, round(DAY_H / self.dt_h) if ticks is None else ticks
        assert seen is not None, "it is asked for while the agent decides"
        assert self.moment is not None, "it is asked for while the agent decides"
        hour = self.tick * self.dt_h % DAY_H
        return prospects.forecast(self.world, self._ahead, seen, count, hour, self.moment.row)

    def rows(self, forecast: Mapping[str, Array]) -> Array:
        """See :meth:`powergrid.agents.python_policy.Site.rows`."""
        return prospects.rows_of(self.world.layout, forecast)

    def linear(self, forecast: Mapping[str, Array]) -> dict[str, LinearDevice]:
        """See :meth:`powergrid.agents.python_policy.Site.linear`."""
        assert self.moment is not None, "it is asked for while the agent decides"
        rows, out = self.rows(forecast), self.moment.out_of_service(self.world.layout)
        found: dict[str, LinearDevice] = {}
        for i, family in enumerate(self.world.layout.families):
            if family.kernel.role == "injection" and any(id in self.devices for id in family.ids):
                found |= linear_models(self.world, family, self.moment.devices(i), rows, self.devices)
        # when a failed device returns is not known
        nothing = LinearDevice(p_min_mw=0.0, p_max_mw=0.0)
        return {id: nothing if id in out else model for id, model in found.items()}

    def meters(self, forecast: Mapping[str, Array]) -> tuple[Meter, ...]:
        """See :meth:`powergrid.agents.python_policy.Site.meters`."""
        if self._meters is None:
            self._meters = prospects.own_meters(self.world, self.agent.id, self.devices)
        rows = self.rows(forecast)
        return tuple(place.meter(rows) for place in self._meters)

    def settlement_per_mwh(self) -> dict[str, float]:
        """See :meth:`powergrid.agents.python_policy.Site.settlement_per_mwh`."""
        seen, places = self._seat.seen, self._seat.role.places
        assert seen is not None, "it is asked for while the agent decides"
        return {id: float(seen[places[name]]) for id, name in self._settled_at.items() if name in places}

    def tariff(self, forecast: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
        """See :meth:`powergrid.agents.python_policy.Site.tariff`."""
        layout, found = self.world.layout, {}
        series, terms = layout.columns.series, self.world.table.tariffs
        price = forecast[series[layout.columns.price]]
        for family in layout.families:
            for row, id in enumerate(family.ids):
                if id in self.devices and family.kernel.role == "injection":
                    names = series[family.retail[row]], series[family.feed_in[row]]
                    if names[0] in terms:
                        _, retail = tariff(np, price, *terms[names[0]])
                        feed_in, _ = tariff(np, price, *terms[names[1]])
                        found[id] = retail, feed_in
                    else:
                        found[id] = forecast[names[0]], forecast[names[1]]
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> _Site:
        return self  # a copy of a policy's memory goes on at the same place

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, ()  # a policy that goes on in another process has the place that `start` gave it


def _elsewhere() -> None:
    """Place of a policy whose memory comes from another process."""


def _hours_ahead(layout: Layout, role: _Role) -> dict[str, Array]:
    """Positions in an agent's observation of each series: now, and 1, 2, 3 ... hours ahead."""
    view = layout.view
    at = {
        view.entries[feature][1].name: place
        for place, feature in enumerate(view.features(role.row))
        if not view.entries[feature][0]
    }
    found = {}
    for name in (name for name in layout.columns.series if name in at):
        columns, hour = [at[name]], 1
        while f"{name}+{hour}h" in at:
            columns.append(at[f"{name}+{hour}h"])
            hour += 1
        found[name] = np.array(columns)
    return found


def _role(layout: Layout, id: str) -> _Role:
    row = (*layout.actors, *layout.python_agents).index(id)
    labels, decisions = layout.view.labels(row), layout.action_entries[row]
    action_labels = tuple(entry.label(owner) for owner, entry in decisions)
    low = np.array([entry.low for _, entry in decisions])
    slots = np.flatnonzero(layout.slots.actor == row)
    slots = slots[np.argsort(layout.slots.given[slots])]
    return _Role(
        id=id,
        row=row,
        seen=layout.view.slices[row],
        labels=labels,
        places=places_of(labels),
        action_labels=action_labels,
        actions=places_of(action_labels),
        decisions=decisions,
        low=low,
        span=np.array([entry.high for _, entry in decisions]) - low,
        slots=slots,
        interval=int(layout.slots.interval[row]),
        offset=int(layout.slots.offset[row]),
    )


def _bind(policy: Agent, agent: Agent) -> None:
    """Give an agent of the user's own class the place of the agent for which it decides."""
    policy.id, policy.mailbox = agent.id, agent.mailbox
    policy.parent, policy.subordinates = agent.parent, agent.subordinates
    policy.observation_labels, policy.action_labels = agent.observation_labels, agent.action_labels
    policy.decisions, policy._post = agent.decisions, agent._post


def refuse_on_jax(layout: Layout, agents: tuple[Agent, ...]) -> None:
    """Refuse agents that decide in Python on JAX, which traces arrays and calls no Python in a step.

    Raises
    ------
    ConfigError
        If there are such agents; the message names each.
    """
    if not layout.python_agents:
        return
    makers = {agent.id: agent.make_policy for agent in agents}
    raise ConfigError(
        [
            Issue(
                f"agents: {id}",
                f"its policy in Python ({getattr(makers[id], 'name', 'a function')}) runs on the CPU only: JAX cannot "
                "call it within a step",
                "make and make_vec run it; train with roll_out: compiled, or give it a local policy with a kernel act",
            )
            for id in layout.python_agents
        ]
    )
