"""The same environment seen from decision to decision: only agents that must act next appear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from powergrid.core.errors import ActionError, ArgumentError
from powergrid.engine.state import Output
from powergrid.envs.actions import unknown_agent
from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv

ALL = "__all__"
"""Key of the end of the episode, as RLlib's ``MultiAgentEnv`` has it."""


class _Interval:
    """What has happened to each of `agents` since its last decision; before its first, since the reset."""

    def __init__(self, agents: int, money: int, costs: int):
        self.decided = np.zeros(agents, dtype=bool)
        self.ticks = np.zeros(agents, dtype=int)
        self.weight = np.ones(agents)
        self.reward = np.zeros(agents)
        self.money, self.costs = np.zeros((agents, money)), np.zeros((agents, costs))
        self.carbon_kg = np.zeros(agents)
        self.clipped = np.zeros(agents, dtype=int)
        self.converged = np.ones(agents, dtype=bool)

    def begin(self, due: np.ndarray) -> None:
        """Begin the intervals of agents that are due; what comes before a first decision remains in its sums."""
        for total in (self.reward, self.money, self.costs, self.carbon_kg):
            total[due & self.decided] = 0.0
        self.ticks[due], self.weight[due], self.clipped[due], self.converged[due] = 0, 1.0, 0, True
        self.decided |= due

    def add(
        self, reward: np.ndarray, output: Output, gamma: float, there: np.ndarray, carbon_kg: np.ndarray | None
    ) -> None:
        """Add a tick for the agents that are there; `carbon_kg` are its marginal emissions, where they are counted."""
        acting = len(self.ticks)
        self.reward += self.weight * reward
        self.weight[self.decided & there] *= gamma
        self.ticks += there
        self.money[there] += output.money[:acting][there]
        self.costs[there] += output.costs[:acting][there]
        if carbon_kg is not None:
            self.carbon_kg[there] += carbon_kg[:acting][there]
        self.clipped += np.where(output.due, output.clipped, 0)[:acting]
        self.converged &= bool(output.flow.converged) | ~there


class SemiMarkovEnv:
    """Agents with intervals of their own, each from one of its decisions to the next.

    `reset` and `step` return the observations of agents that must act next, and the next `step` takes actions of these
    agents alone: the convention of RLlib's ``MultiAgentEnv``. A step lasts until somebody is due or the episode ends.
    For each agent the rewards of its interval come as one sum, ``sum_k gamma^k r_{t+k}`` over the ``info["ticks"]``
    ticks since its decision at tick t, so that it faces a semi-Markov decision process: a learner discounts the value
    of the next observation by ``gamma ** info["ticks"]`` (Sutton, Precup and Singh, "Between MDPs and semi-MDPs",
    Artificial Intelligence 112, 1999). What an agent is paid before its first decision is part of its first reward,
    undiscounted; with its first observation come the reward 0 and the ``ticks`` 0. The end of the episode ends the
    intervals of all agents.

    Parameters
    ----------
    env
        A parallel environment, as ``powergrid.make`` returns it.
    gamma
        Discount per tick, in (0, 1].

    Attributes
    ----------
    possible_agents
        All agents that act.
    agents
        Agents of the running episode.
    due_agents
        Those whose actions the next step takes.
    observation_spaces, action_spaces
        Spaces by agent.

    Raises
    ------
    ArgumentError
        If `env` is not a parallel environment, nobody decides within its episodes, or `gamma` lies outside (0, 1].

    Examples
    --------
    >>> import powergrid
    >>> env = powergrid.SemiMarkovEnv(powergrid.make("ieee34_multi", intervals={"device": 3600}))
    >>> observations, infos = env.reset(seed=0)
    >>> actions = {agent: env.action_spaces[agent].sample() for agent in observations}
    >>> _, _, _, _, infos = env.step(actions)
    >>> infos["ess_1"]["ticks"]
    4
    """

    def __init__(self, env: MultiAgentPowerGridEnv, *, gamma: float = 1.0):
        if not isinstance(env, MultiAgentPowerGridEnv):
            kind = type(env).__name__
            raise ArgumentError(f"{kind} is not a parallel environment; pass what powergrid.make(source) returns")
        if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0.0 < gamma <= 1.0:
            raise ArgumentError(f"gamma {gamma!r} is not a number above 0 and up to 1, such as 0.999")
        if env.silent:
            raise ArgumentError('the lengths of intervals come in infos; make the environment without infos="none"')
        layout = env.world.layout
        if not (layout.slots.offset < layout.settings.episode_length).any():
            raise ArgumentError(
                f"no agent decides within an episode of {layout.settings.episode_length} ticks; "
                "give one of them a smaller offset, or the simulation a longer episode_length"
            )
        self.env, self.gamma = env, float(gamma)
        self.possible_agents: list[str] = list(env.possible_agents)
        self.observation_spaces: dict[str, Box] = dict(env.observation_spaces)
        self.action_spaces: dict[str, Box] = dict(env.action_spaces)
        self._held: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        """Forget the decisions of earlier episodes."""
        names = len(self.env.money_names), len(self.env.constraint_names)
        self._held = {agent: np.zeros(self.action_spaces[agent].shape) for agent in self.possible_agents}
        self._left: dict[str, tuple[Any, Any]] = {}
        self._interval = _Interval(len(self.possible_agents), *names)

    @property
    def agents(self) -> list[str]:
        """Agents of the running episode."""
        return self.env.agents

    @property
    def due_agents(self) -> list[str]:
        """Agents whose actions the next step takes."""
        return self.env.due_agents

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode, and go on to the first tick at which somebody decides.

        Parameters
        ----------
        seed, options
            As for the parallel environment.

        Returns
        -------
        observations, infos
            Of the agents that must act next.
        """
        observations, infos = self.env.reset(seed=seed, options=options)
        self._begin()
        while self.agents and not self.due_agents:
            observations, *_, infos = self._tick()
        who = self.due_agents
        self._left.clear()  # of agents that have left before anybody decided there is nothing to say
        return {agent: observations[agent] for agent in who}, self._infos(infos, who, self._ended())

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Act, and go on to the next tick at which somebody decides.

        Parameters
        ----------
        actions
            One vector in [-1, 1] for each agent that is due, and no other.

        Returns
        -------
        observations, rewards, terminations, truncations, infos
            Of the agents that must act next, and of those that have left since the last step, which are terminated; of
            all that are there at the end of the episode. Terminations and truncations have the key ``"__all__"`` as
            well. An info contains ``ticks``, the length of the interval that ends; ``cost``, ``costs`` and ``money``,
            the undiscounted sums over it; ``converged``, whether all of its power flows were solved; ``clipped``, how
            many numbers of its action lay outside [-1, 1]; and ``available`` and ``day`` as in the parallel
            environment.

        Raises
        ------
        ActionError
            If the episode is over, or an action is missing, has the wrong shape, is not finite, or belongs to an agent
            that is not due; the message names the agent.
        """
        due = self.due_agents
        if self.agents:  # otherwise the parallel environment refuses the step
            self._check_due(actions, due)
        observations, terminated, truncated, infos = self._tick(actions, due)
        self._held |= {agent: np.clip(actions[agent], -1.0, 1.0) for agent in due}
        while self.agents and not self.due_agents:
            observations, terminated, truncated, infos = self._tick()
        left, self._left = self._left, {}
        there = self.due_agents if self.agents else list(observations)
        who = [agent for agent in self.possible_agents if agent in there or agent in left]
        ended = self._ended() | np.isin(self.possible_agents, list(left))
        rewards = dict(zip(self.possible_agents, (self._interval.reward * ended).tolist(), strict=True))
        seen = {agent: left[agent][0] if agent in left else observations[agent] for agent in who}
        told = {agent: left[agent][1] if agent in left else infos[agent] for agent in who}
        return (
            seen,
            {agent: rewards[agent] for agent in who},
            {**{agent: terminated or agent in left for agent in who}, ALL: terminated},
            {**{agent: truncated and agent not in left for agent in who}, ALL: truncated},
            self._infos(told, who, ended),
        )

    def _tick(
        self, actions: Mapping[str, Any] | None = None, due: Sequence[str] = ()
    ) -> tuple[dict[str, np.ndarray], bool, bool, Any]:
        """Advance by one tick, in which some agents decide; the others hold.

        Returns observations of all agents that are there, whether the episode was terminated or truncated, and infos.
        What those observe who leave is noted.
        """
        acting, given = list(self.agents), self._held | dict(actions or {})
        step = self.env.step({agent: given[agent] for agent in acting})
        observations, rewards, terminations, truncations, infos = step
        decides, there = np.isin(self.possible_agents, due), np.isin(self.possible_agents, acting)
        self._interval.begin(decides)
        reward = np.array([rewards.get(agent, 0.0) for agent in self.possible_agents])
        output = self.env.output
        assert output is not None, "it follows a step"
        self._interval.add(reward, output, self.gamma, there, self.env.carbon_of_tick())
        if self.agents:  # the end of the episode ends all intervals anyway
            gone = [agent for agent in acting if agent not in self.agents]
            self._left |= {agent: (observations[agent], infos[agent]) for agent in gone}
        terminated = not self.agents and any(terminations.values())
        return observations, terminated, any(truncations.values()), infos

    def _check_due(self, actions: Mapping[str, Any], due: Sequence[str]) -> None:
        """Refuse actions of agents that are not due, and missing ones."""
        turns = frozenset(due)
        for agent in actions:
            if agent not in self.action_spaces:
                raise unknown_agent(str(agent), self.possible_agents)
            if agent not in turns:
                raise ActionError(
                    f'there is an action for agent "{agent}", which is not due and holds its last one; '
                    f"give actions for: {', '.join(due)}"
                )
        for agent in due:
            if agent not in actions:
                present = ", ".join(map(str, actions)) or "none"
                raise ActionError(f'no action for agent "{agent}", which is due; there are actions for: {present}')

    def _ended(self) -> np.ndarray:
        """Agents that have an interval to end: those that have decided and, when the episode is over, all."""
        return self._interval.decided | (not self.agents)

    def _infos(
        self, infos: Mapping[str, dict[str, Any]], who: Sequence[str], ended: np.ndarray
    ) -> dict[str, dict[str, Any]]:
        """Infos of some agents over their intervals; those of intervals that have not `ended` are empty."""
        now, wanted = self._interval, frozenset(who)
        rows = {agent: row for row, agent in enumerate(self.possible_agents) if agent in wanted}
        counted = self.env.world.carbon is not None
        return {
            agent: {
                "ticks": int(now.ticks[row] * ended[row]),
                "cost": float(now.costs[row].sum() * ended[row]),
                "costs": now.costs[row] * ended[row],
                "money": now.money[row] * ended[row],
                **({"carbon_kg": float(now.carbon_kg[row] * ended[row])} if counted else {}),
                "converged": bool(now.converged[row]),
                "clipped": int(now.clipped[row]),
                "available": infos[agent]["available"],
                "day": infos[agent]["day"],
            }
            for agent, row in rows.items()
        }
