"""What every agent has: an id, a level, a parent, subordinates, a policy, spaces and a mailbox.

Agents are objects at build time and views for the person who looks. During a step the truth is a set of arrays
(``powergrid.engine``); an environment binds each agent to its named entries, so that `observe` and `act` work on one
agent at a time. Agents that decide in Python (``policy: python``) are called by the environment before each step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from powergrid.core.errors import AgentError, ArgumentError, nearest

if TYPE_CHECKING:
    from gymnasium.spaces import Box

    from powergrid.core.types import Entry

LEARNED = "learned"
CENTRALIZED = "centralized"
PYTHON = "python"
"""Policy of agents that decide in Python: a class of the user's, a registered one, or a function set as `decide`."""

Observability = Literal["local", "local+communication", "neighbours", "full"]
"""How much an agent observes; each includes what the one before it does."""


class Presence(NamedTuple):
    """When an agent joins an episode and when it leaves.

    Attributes
    ----------
    joins_s, leaves_s
        Earliest and latest time after the start of the episode [s]; `leaves_s` is ``None`` for an agent that stays.
    lifetime_h
        Mean of the exponential time for which it stays, besides [h]; ``None`` for no such end.
    """

    joins_s: tuple[float, float] = (0.0, 0.0)
    leaves_s: tuple[float, float] | None = None
    lifetime_h: float | None = None


@dataclass(frozen=True)
class Message:
    """One message: who sent it, what it says, and the tick of the episode in which it was sent."""

    sender: str
    content: Mapping[str, Any]
    tick: int | None = None


class Entries(Mapping[str, float]):
    """Named entries of an observation: numbers by their labels, in order.

    An entry is also found by its label without the unit, ``"ess_1.soc"`` for ``"ess_1.soc [1]"``.

    Parameters
    ----------
    labels
        Labels, in order.
    vector
        Their values, ``(d,)``.
    places
        Position of each label, of :func:`places_of`; shared by all observations of an agent.
    """

    __slots__ = ("labels", "places", "vector")

    def __init__(self, labels: tuple[str, ...], vector: np.ndarray, places: Mapping[str, int] | None = None):
        self.labels, self.vector = labels, vector
        self.places = places_of(labels) if places is None else places

    def __getitem__(self, label: str) -> float:
        at = self.places.get(label)
        if at is None:
            raise KeyError(f'no entry "{label}"; {nearest(label, self.places) or "see observation_labels"}')
        return float(self.vector[at])

    def __contains__(self, label: object) -> bool:
        return label in self.places  # without the message of an entry that is missing

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return repr(dict(self))


def places_of(labels: Sequence[str]) -> dict[str, int]:
    """Position of each label, and of each label without its unit where that is the only one."""
    found: dict[str, int] = {}
    for at, label in enumerate(labels):
        short = label.rpartition(" [")[0] or label
        found[short] = -1 if short in found else at
    places = {short: at for short, at in found.items() if at >= 0}
    return {**places, **{label: at for at, label in enumerate(labels)}}


@dataclass(frozen=True)
class Observation:
    """What one agent sees: named entries with units, and the messages in its mailbox."""

    entries: Mapping[str, float]
    messages: tuple[Message, ...] = ()

    def __getitem__(self, label: str) -> float:
        """Value of an entry by its label, with or without the unit."""
        return self.entries[label]

    def as_vector(self) -> np.ndarray:
        """The entries in their order, float32."""
        if isinstance(self.entries, Entries):
            return np.array(self.entries.vector, dtype=np.float32)
        return np.fromiter(self.entries.values(), dtype=np.float32, count=len(self.entries))


Objective = Literal["own", "below", "all"]
"""Whose money and violations a reward sums: its agent's account, those of the agents below as well, or all accounts."""

Decide = Callable[[Observation], Any]
"""Function from an observation to an action: a vector in [-1, 1], or physical values by label."""


class Agent:
    """Base of device, grid and system agents.

    Parameters
    ----------
    id
        Unique name; presets use ``<role>_<index>``.
    policy
        ``"learned"``: outside code acts for it (it is a PettingZoo agent). ``"centralized"`` (coordinators): one
        outside policy acts for it and for its learned subordinates. ``"python"``: a Python object or function decides,
        called by the environment. Any other name: a local policy of ``powergrid.agents.policies`` acts inside the step.
    interval_s, offset_s
        It acts every `interval_s` seconds, first at `offset_s`, and holds its action in between; ``None`` is each tick.
    observability
        ``"local"``: its own devices and connection, clock, prices, forecasts, and what agents above it send;
        ``"local+communication"``: also what it receives from peers; ``"neighbours"``: also what the nearest agents
        along the feeder observe locally; ``"full"``: everything.

    Attributes
    ----------
    level
        Level in the hierarchy: 1 device, 2 grid agent, 3 system agent; a coordinator stands above its subordinates.
    parent, subordinates
        Agents above and below it.
    mailbox
        Messages that have arrived since the reset.
    observation_labels, action_labels
        What each number of its observation and action is, with its unit.
    decisions
        Owner and entry, with its physical range, of each number of its action.
    presence
        When it joins and leaves; ``None`` for an agent that is there in all episodes from their start to their end.
    make_policy
        Makes the object that decides for it in one environment, of agents with the policy ``"python"``.
    policy_object
        The object that decides for it in its environment, from the first reset.

    Raises
    ------
    ArgumentError
        If there is no such observability.
    """

    level: int = 0

    def __init__(
        self,
        id: str,
        *,
        policy: str = LEARNED,
        interval_s: float | None = None,
        offset_s: float = 0.0,
        observability: str = "local+communication",
    ):
        known = get_args(Observability)
        if observability not in known:
            raise ArgumentError(
                f'agent "{id}": there is no observability "{observability}"; {nearest(observability, known)} '
                f"available: {', '.join(known)}"
            )
        self.id = id
        self.policy = policy
        self.interval_s = interval_s
        self.offset_s = offset_s
        self.observability = observability
        self.parent: Agent | None = None
        self.subordinates: list[Agent] = []
        self.mailbox: list[Message] = []
        self.observation_labels: tuple[str, ...] = ()
        self.action_labels: tuple[str, ...] = ()
        self.observation_space: Box | None = None
        self.action_space: Box | None = None
        self.decisions: tuple[tuple[str, Entry], ...] = ()
        self.presence: Presence | None = None
        self.make_policy: Callable[[], Any] | None = None
        self.policy_object: Any = None
        self._decide: Decide | None = None
        self._post: Post | None = None

    @property
    def decide(self) -> Decide | None:
        """Function that decides for this agent: one that has been set, else that of `policy_object`.

        Of an agent with the policy ``"python"`` the environment calls it whenever the agent is due; of one that outside
        code acts for, only `act` does.

        Raises
        ------
        AgentError
            If it is set on an agent whose local policy decides inside the step, where it would have no effect.
        """
        return self.policy_object.act if self._decide is None and self.policy_object is not None else self._decide

    @decide.setter
    def decide(self, function: Decide | None) -> None:
        if function is not None and self.policy not in (LEARNED, CENTRALIZED, PYTHON):
            raise AgentError(
                f'agent "{self.id}" follows its local policy "{self.policy}" inside the step, where no function is '
                "called: give it policy: python in the configuration, then set decide"
            )
        self._decide = function

    def adopt(self, subordinates: Iterable[Agent]) -> None:
        """Make `subordinates` this agent's children; a coordinator stands at least one level above each."""
        for agent in subordinates:
            agent.parent = self
            self.subordinates.append(agent)
        for above in (self, *self.ancestors()):
            if above.level > 1:  # a device stays one, whatever measures it
                above.level = max([above.level, *(child.level + 1 for child in above.subordinates)])

    def ancestors(self) -> list[Agent]:
        """Parent, grandparent and so on."""
        chain, agent = [], self.parent
        while agent is not None:
            chain.append(agent)
            agent = agent.parent
        return chain

    def descendants(self) -> list[Agent]:
        """All agents below this one, depth first."""
        found: list[Agent] = []
        for agent in self.subordinates:
            found += [agent, *agent.descendants()]
        return found

    def observe(self, global_state: Mapping[str, float]) -> Observation:
        """Pick this agent's entries out of `global_state` (label to value, as ``env.global_state()`` gives it)."""
        if isinstance(global_state, Entries) and global_state.labels is self.observation_labels:
            return Observation(global_state, tuple(self.mailbox))
        own = np.array([global_state[label] for label in self.observation_labels], dtype=float)
        return Observation(Entries(self.observation_labels, own), tuple(self.mailbox))

    def act(self, observation: Observation) -> Any:
        """Action from the function handed in as `decide`: a vector in [-1, 1], or physical values by label.

        Raises
        ------
        AgentError
            If nobody has given the agent a function to decide with.
        """
        if self.decide is None:
            raise AgentError(
                f'agent "{self.id}" has no policy object: set agent.decide to a function of an Observation'
            )
        return self.decide(observation)

    def send_message(self, content: Mapping[str, Any], recipients: Iterable[Agent | str]) -> None:
        """Send a message to agents, by their objects or ids.

        It is in a recipient's mailbox at the recipient's next observation; sent outside a step it is there at once.

        Raises
        ------
        AgentError
            If no agent has one of the ids.
        """
        for recipient in recipients:
            agent = recipient if isinstance(recipient, Agent) else self._addressed(recipient)
            if self._post is not None and self._post.holding:
                self._post.queue.append((agent, Message(self.id, dict(content), self._post.tick)))
            else:
                agent.receive_message(Message(self.id, dict(content)))

    def _addressed(self, id: str) -> Agent:
        known = {} if self._post is None else self._post.agents
        if id not in known:
            hint = nearest(id, known) or "agents outside an environment are addressed by their objects"
            raise AgentError(f'agent "{self.id}" sends a message to "{id}", which is no agent; {hint}')
        return known[id]

    def receive_message(self, message: Message | Mapping[str, Any], sender: Agent | str | None = None) -> None:
        """Keep a message until the next reset.

        Parameters
        ----------
        message
            The message, or its content with a `sender`.
        sender
            Who sent it, where `message` is the content alone.
        """
        if not isinstance(message, Message):
            message = Message(sender.id if isinstance(sender, Agent) else str(sender or ""), dict(message))
        self.mailbox.append(message)

    def forget(self) -> None:
        """Empty the mailbox, as at a reset of the environment."""
        self.mailbox.clear()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, level={self.level}, policy={self.policy!r})"


class Post:
    """Messages between the agents of one environment.

    Parameters
    ----------
    agents
        All agents; messages may name them by id.

    Attributes
    ----------
    agents
        Agents by id.
    holding
        Whether messages wait for the next observations.
    queue
        Messages that wait, with their recipients.
    tick
        Tick of the running episode.
    """

    def __init__(self, agents: Iterable[Agent]):
        self.agents = {agent.id: agent for agent in agents}
        self.holding = False
        self.queue: list[tuple[Agent, Message]] = []
        self.tick = 0
        for agent in self.agents.values():
            agent._post = self

    def deliver(self) -> None:
        """Put what waits into the mailboxes."""
        waiting, self.queue = self.queue, []
        for agent, message in waiting:
            own = agent.policy_object if isinstance(agent.policy_object, Agent) else agent
            own.receive_message(message)

    def clear(self) -> None:
        """Forget all messages, as at a reset."""
        self.queue.clear()
        for agent in self.agents.values():
            agent.forget()


def twins(agents: Iterable[Agent]) -> list[Agent]:
    """Copies of agents, for another environment: hierarchy and mailboxes of their own, everything else shared."""
    made = {agent.id: copy.copy(agent) for agent in agents}
    for agent in made.values():
        agent.mailbox = []
        agent._post, agent.policy_object = None, None
        agent.parent = None if agent.parent is None else made[agent.parent.id]
        agent.subordinates = [made[child.id] for child in agent.subordinates]
    return list(made.values())
