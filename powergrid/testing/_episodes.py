"""Episodes that the examiner of environments plays, and everything that is returned in them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv

from powergrid.core.errors import ArgumentError
from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv

LONGEST = 100_000
"""Ticks of an episode of an environment that does not say how long it is."""
Act = Callable[[int, Mapping[str, Any]], dict[str, np.ndarray]]


class Ledger(NamedTuple):
    """Names of money columns, transfers ``(names, accounts + 1)`` and money of each agent [$]."""

    names: Sequence[str]
    transfers: np.ndarray
    money: Mapping[str, np.ndarray]


class Step(NamedTuple):
    """What a step returns, and after it the agents; that of a reset has no rewards and no ends."""

    observations: dict[str, Any]
    infos: dict[str, Any]
    rewards: dict[str, Any]
    terminations: dict[str, Any]
    truncations: dict[str, Any]
    told: list[str]
    agents: list[str]
    ledger: Ledger | None

    @property
    def values(self) -> dict[str, Any]:
        """What the environment has returned, by name."""
        names = ("observation", "info", "reward", "termination", "truncation")
        return dict(zip(names, self[:5], strict=True))


class Episode(NamedTuple):
    """An episode: copies of what was returned, the objects themselves, and actions that a step has changed."""

    steps: list[Step]
    returned: list[Step]
    changed_actions: list[tuple[int, str]]


class Form:
    """An environment of either form, seen as the parallel one.

    Parameters
    ----------
    env
        A parallel environment or one of Gymnasium, possibly in wrappers.

    Raises
    ------
    ArgumentError
        If it is neither.

    Attributes
    ----------
    alike
        Whether all agents end together and in one way.
    """

    alike = True

    def __init__(self, env: Any):
        self._env, self._single = env, isinstance(env, gym.Env)
        if not self._single and not isinstance(env, ParallelEnv):
            kind = type(env).__name__
            raise ArgumentError(
                f"{kind} is no environment of powergrid.make or make_vec, and no wrapper of PettingZoo or Gymnasium "
                "around one"
            )
        inner = env.unwrapped
        grid = getattr(inner, "env", None) if self._single else inner
        self.grid = grid if isinstance(grid, MultiAgentPowerGridEnv) else None
        self._agent = str(getattr(inner, "agent", "agent"))
        self._live: list[str] = []

    @property
    def length(self) -> int:
        """Most ticks of an episode."""
        return LONGEST if self.grid is None else self.grid.world.layout.settings.episode_length

    @property
    def possible_agents(self) -> list[str]:
        """All agents."""
        return [self._agent] if self._single else list(self._env.possible_agents)

    @property
    def agents(self) -> list[str]:
        """Agents of the running episode."""
        return list(self._live if self._single else self._env.agents)

    def observation_space(self, agent: str) -> Any:
        """Observation space of one agent."""
        return self._env.observation_space if self._single else self._env.observation_space(agent)

    def action_space(self, agent: str) -> Any:
        """Action space of one agent."""
        return self._env.action_space if self._single else self._env.action_space(agent)

    def label(self, agent: str, number: int) -> str:
        """What a number of an agent's observation is, where the environment itself can tell."""
        if self.grid is not None and agent in self.grid.possible_agents:
            labels = self.grid.observation_labels(agent)
            if (len(labels),) == self.observation_space(agent).shape:
                return labels[number]
        return f"number {number}"

    def reset(self, seed: int) -> Step:
        """Start the episode of a seed."""
        observations, infos = self._env.reset(seed=seed)
        if self._single:
            self._live = [self._agent]
            observations, infos = {self._agent: observations}, {self._agent: infos}
        return Step(observations, infos, {}, {}, {}, self.agents, self.agents, None)

    def step(self, actions: dict[str, np.ndarray]) -> Step:
        """Advance by one tick."""
        before = self.agents
        if self._single:
            results = [{self._agent: value} for value in self._env.step(actions[self._agent])]
            if results[2][self._agent] or results[3][self._agent]:
                self._live = []
        else:
            results = list(self._env.step(actions))
        observations, rewards, terminations, truncations, infos = results
        told = list(dict.fromkeys([*before, *self.agents]))
        return Step(observations, infos, rewards, terminations, truncations, told, self.agents, self._ledger())

    def _ledger(self) -> Ledger | None:
        output = None if self.grid is None else self.grid.output
        if self.grid is None or output is None:
            return None
        money = dict(zip(self.grid.possible_agents, np.array(output.money), strict=False))
        return Ledger(
            self.grid.money_names, np.array(output.transfers).reshape(-1, np.shape(output.transfers)[-1]), money
        )


def play(form: Form, seed: int, act: Act, *, spoil: bool = False) -> Episode:
    """Play one episode.

    Parameters
    ----------
    form
        The environment.
    seed
        Its seed.
    act
        Function of the tick and the infos before it to actions of all agents.
    spoil
        Whether all that is returned is overwritten before the next step.
    """
    episode = Episode([], [], [])

    def note(step: Step) -> Step:
        infos = {agent: dict(info) for agent, info in step.infos.items()}
        episode.steps.append(copy.deepcopy(step._replace(infos=infos)))
        episode.returned.append(step)
        if spoil:
            _overwrite(step)
        return episode.steps[-1]

    step = note(form.reset(seed))
    for tick in range(form.length):
        if not step.agents:
            break
        chosen = act(tick, step.infos)
        given = {agent: chosen[agent].copy() for agent in step.agents}
        step = note(form.step(given))
        changed = [agent for agent in given if not np.array_equal(given[agent], chosen[agent])]
        episode.changed_actions.extend((tick + 1, agent) for agent in changed)
    return episode


def _overwrite(step: Step) -> None:
    """Overwrite all that a step has returned, as a careless learner would."""
    for seen in step.observations.values():
        if isinstance(seen, np.ndarray) and seen.flags.writeable:
            seen[...] = -1e6
    for info in step.infos.values():
        for value in info.values():
            if isinstance(value, np.ndarray) and value.flags.writeable and value.ndim:
                value[...] = 0
        info.clear()
    for part in (step.observations, step.infos, step.rewards, step.terminations, step.truncations):
        part.clear()


def difference(one: Any, two: Any, where: str = "") -> str:
    """The first difference of two nested values as the beginning of a sentence; empty if they have the same bits."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        if list(one) != list(two):
            return f"{where or 'what is returned'} has the keys {list(two)} in place of {list(one)}"
        named = ((f'{where} of agent "{key}"' if where in _BY_AGENT else f"{where} {key}".strip(), key) for key in one)
        return next((found for name, key in named if (found := difference(one[key], two[key], name))), "")
    a, b = np.asarray(one), np.asarray(two)
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{where} is {b.dtype} {b.shape} in place of {a.dtype} {a.shape}"
    if a.tobytes() == b.tobytes():
        return ""
    unlike = np.flatnonzero(np.ravel(a != b))
    if not len(unlike):  # two that are not numbers, or zeros of either sign
        return ""
    k = int(unlike[0])
    place = f" number {k}" if a.ndim else ""
    return f"{where}{place} is {np.ravel(b)[k]} in place of {np.ravel(a)[k]}"


_BY_AGENT = ("observation", "info", "reward", "termination", "truncation")


def state_of_ends(step: Step) -> dict[str, tuple[bool, bool]]:
    """Whether each agent is terminated, and whether truncated."""
    return {
        agent: (bool(terminated), bool(step.truncations.get(agent, False)))
        for agent, terminated in step.terminations.items()
    }
