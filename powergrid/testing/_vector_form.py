"""A vector environment as the examiner of environments sees it: each agent of each environment is an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Dict as DictSpace
from gymnasium.vector import VectorEnv

from powergrid.testing._episodes import LONGEST, Form, Step


class VectorForm(Form):
    """The first episode of every environment of a vector environment; what follows it is left out.

    Parameters
    ----------
    env
        A vector environment of arrays, or of dictionaries by agent, possibly in wrappers.
    """

    alike = False

    def __init__(self, env: VectorEnv):
        self._env, self.grid = env, None
        self._by_agent = isinstance(env.single_observation_space, DictSpace)
        names = list(env.single_action_space.keys()) if self._by_agent else ["agent"]  # type: ignore[attr-defined]
        self._lanes = {f"{name}[{e}]": (name, e) for name in names for e in range(env.num_envs)}
        self._live: list[str] = []

    @property
    def length(self) -> int:
        """Most ticks of an episode."""
        inner = self._env.unwrapped
        world = getattr(getattr(inner, "env", inner), "world", None)
        return LONGEST if world is None else int(world.layout.settings.episode_length)

    @property
    def possible_agents(self) -> list[str]:
        """All agents of all environments."""
        return list(self._lanes)

    @property
    def agents(self) -> list[str]:
        """Agents of environments whose first episode goes on."""
        return list(self._live)

    def observation_space(self, agent: str) -> Any:
        """Observation space of one agent."""
        return self._own(self._env.single_observation_space, agent)

    def action_space(self, agent: str) -> Any:
        """Action space of one agent."""
        return self._own(self._env.single_action_space, agent)

    def label(self, agent: str, number: int) -> str:
        """What a number of an agent's observation is."""
        return f"number {number}"

    def reset(self, seed: int) -> Step:
        """Start the episode of a seed in the first environment, of the one after it in the second, and so on."""
        observations, infos = self._env.reset(seed=seed)
        self._live = self.possible_agents
        told = self.agents
        return Step(self._rows(observations, told), self._told(infos, told), {}, {}, {}, told, told, None)

    def step(self, actions: dict[str, np.ndarray]) -> Step:
        """Advance every environment by one tick."""
        told = self.agents
        nothing = {agent: np.zeros(self.action_space(agent).shape, np.float32) for agent in self._lanes}
        rows = nothing | actions
        batch: dict[str, Any] = {}
        for agent, (name, _) in self._lanes.items():
            batch.setdefault(name, []).append(rows[agent])
        stacked = {name: np.stack(parts) for name, parts in batch.items()}
        results = self._env.step(stacked if self._by_agent else stacked["agent"])
        observations, rewards, terminated, truncated, infos = results
        seen, paid = self._rows(observations, told), self._rows(rewards, told)
        if "final_obs" in infos:  # in place of the first observation of the next episode
            final = self._rows(infos["final_obs"], told)
            seen |= {agent: final[agent] for agent in told if infos["_final_obs"][self._lanes[agent][1]]}
        stops = {agent: bool(terminated[self._lanes[agent][1]]) for agent in told}
        cuts = {agent: bool(truncated[self._lanes[agent][1]]) for agent in told}
        self._live = [agent for agent in told if not (stops[agent] or cuts[agent])]
        for agent in told:  # an action that has been changed in the batch
            name, e = self._lanes[agent]
            actions[agent][...] = stacked[name][e]
        return Step(seen, self._told(infos, told), paid, stops, cuts, told, self.agents, None)

    def _own(self, values: Any, agent: str) -> Any:
        name, _ = self._lanes[agent]
        return values[name] if self._by_agent else values

    def _rows(self, values: Any, agents: Sequence[str]) -> dict[str, Any]:
        """Values of some agents."""
        return {agent: self._own(values, agent)[self._lanes[agent][1]] for agent in agents}

    def _told(self, infos: Mapping[str, Any], agents: Sequence[str]) -> dict[str, Any]:
        """Infos of some agents; each gets what is told of its environment as a whole."""
        found: dict[str, Any] = {agent: {} for agent in agents}
        for key, value in infos.items():
            if key.startswith(("_", "final_")):
                continue
            for agent, own in found.items():
                name, e = self._lanes[agent]
                rows = value.get(name) if isinstance(value, dict) else value
                if rows is not None and np.ndim(rows):
                    own[key] = rows[e]
        return found
