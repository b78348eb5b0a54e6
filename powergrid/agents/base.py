"""What every agent has: an id, a level, a parent, subordinates, a policy, spaces and a mailbox.

Agents are objects at build time and views for the person who looks. During a step the truth is a set of arrays
(``powergrid.engine``); an environment binds each agent to its named entries, so that `observe` and `act` work on one
agent at a time, outside the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from gymnasium.spaces import Box

LEARNED = "learned"
CENTRALIZED = "centralized"


@dataclass(frozen=True)
class Message:
    """One message: who sent it and what it says."""

    sender: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Observation:
    """What one agent sees: named entries with units, and its mail."""

    entries: Mapping[str, float]
    messages: tuple[Message, ...] = ()

    def as_vector(self) -> np.ndarray:
        """The entries in their order, float32."""
        return np.fromiter(self.entries.values(), dtype=np.float32, count=len(self.entries))


class Agent:
    """Base of device, grid and system agents.

    Parameters
    ----------
    id
        Unique name; presets use ``<role>_<index>``.
    policy
        ``"learned"``: outside code acts for it (it is a PettingZoo agent). ``"centralized"`` (coordinators): one
        outside policy acts for it and for its learned subordinates. Any other name: a local policy of
        ``powergrid.agents.policies`` acts inside the step.
    interval_s, offset_s
        It acts every `interval_s` seconds, first at `offset_s`, and holds its action in between; ``None`` is each tick.
    observability
        ``"local"``: its own devices and connection, clock, prices and forecasts; ``"full"``: everything.
    """

    level: ClassVar[int] = 0

    def __init__(
        self,
        id: str,
        *,
        policy: str = LEARNED,
        interval_s: float | None = None,
        offset_s: float = 0.0,
        observability: str = "local",
    ):
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
        self.decide: Callable[[Observation], np.ndarray] | None = None

    def adopt(self, subordinates: Iterable[Agent]) -> None:
        """Make `subordinates` this agent's children."""
        for agent in subordinates:
            agent.parent = self
            self.subordinates.append(agent)

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
        return Observation({label: global_state[label] for label in self.observation_labels}, tuple(self.mailbox))

    def act(self, observation: Observation) -> np.ndarray:
        """Action in [-1, 1] from the policy handed in as `decide`.

        Raises
        ------
        ValueError
            If nobody has given the agent a policy to decide with.
        """
        if self.decide is None:
            raise ValueError(
                f'agent "{self.id}" has no policy object: set agent.decide to a function of an Observation'
            )
        return self.decide(observation)

    def send_message(self, content: Mapping[str, Any], recipients: Iterable[Agent]) -> None:
        """Put a message into each recipient's mailbox."""
        for agent in recipients:
            agent.receive_message(Message(self.id, dict(content)))

    def receive_message(self, message: Message) -> None:
        """Keep a message until the next reset."""
        self.mailbox.append(message)

    def forget(self) -> None:
        """Empty the mailbox, as at a reset of the environment."""
        self.mailbox.clear()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, level={self.level}, policy={self.policy!r})"
