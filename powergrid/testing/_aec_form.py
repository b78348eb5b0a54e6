"""An environment whose agents act in turn as the examiner of environments sees it: a tick is one turn of each agent."""

from __future__ import annotations

from typing import Any

import numpy as np
from pettingzoo import AECEnv

from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv
from powergrid.testing._episodes import Form, Step


class AecForm(Form):
    """An AEC environment as a parallel one.

    Parameters
    ----------
    env
        An environment of PettingZoo's AEC form in which each agent acts once in a tick, possibly in wrappers.

    Attributes
    ----------
    faults
        Sentences about turns and about what ``last()`` tells at them.
    """

    def __init__(self, env: AECEnv[str, Any, Any]):
        self._env, self._single = env, False
        inner = env.unwrapped
        self.grid = inner if isinstance(inner, MultiAgentPowerGridEnv) else None
        self.faults: list[str] = []
        self._tick, self._paid = 0, dict[str, Any]()

    def reset(self, seed: int) -> Step:
        """Start the episode of a seed."""
        self._env.reset(seed=seed)
        self._tick, self._paid, told = 0, {}, self.agents
        return Step(self._seen(told), self._infos(told), {}, {}, {}, told, told, None)

    def step(self, actions: dict[str, np.ndarray]) -> Step:
        """Give every agent its turn, and then those that have ended their last one, without an action."""
        self._tick += 1
        waiting = self.agents
        before = list(waiting)
        while waiting:
            agent = self._env.agent_selection
            if agent not in waiting:
                raise AssertionError(
                    f'at tick {self._tick} it is the turn of agent "{agent}", while {", ".join(waiting)} have not acted'
                )
            waiting.remove(agent)
            self._look(agent)
            self._env.step(actions[agent])
        told = self.agents
        told += [agent for agent in before if agent not in told and agent in self._env.terminations]
        stops, cuts = (
            {agent: part[agent] for agent in told} for part in (self._env.terminations, self._env.truncations)
        )
        self._paid = {agent: self._env.rewards[agent] for agent in told}
        paid = dict(self._paid)
        seen, infos = self._seen(told), self._infos(told)
        while self.agents and self._ended(self._env.agent_selection):
            self._look(self._env.agent_selection)
            self._env.step(None)
        return Step(seen, infos, paid, stops, cuts, told, self.agents, self._ledger())

    def _look(self, agent: str) -> None:
        """What ``last()`` tells an agent at its turn is what the environment holds for it."""
        seen, paid, terminated, truncated, _ = self._env.last()
        where = f'agent "{agent}" at its turn after tick {self._tick - 1}'
        if not np.array_equal(seen, self._env.observe(agent), equal_nan=True):
            self.faults.append(f"last() shows {where} another observation than observe()")
        if not np.array_equal(paid, self._paid.get(agent, 0.0), equal_nan=True):
            self.faults.append(f"last() pays {where} {paid}, and the tick has paid {self._paid.get(agent, 0.0)}")
        if (terminated, truncated) != (self._env.terminations[agent], self._env.truncations[agent]):
            self.faults.append(f"last() tells {where} other ends than terminations and truncations")

    def _ended(self, agent: str) -> bool:
        return bool(self._env.terminations[agent] or self._env.truncations[agent])

    def _seen(self, agents: list[str]) -> dict[str, Any]:
        return {agent: self._env.observe(agent) for agent in agents}

    def _infos(self, agents: list[str]) -> dict[str, Any]:
        return {agent: dict(self._env.infos[agent]) for agent in agents}
