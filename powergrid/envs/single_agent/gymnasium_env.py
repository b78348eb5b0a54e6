"""A configuration with one learning agent as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from powergrid.core.errors import ConfigError, Issue
from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv


class SingleAgentPowerGridEnv(gym.Env):
    """The one learning agent of a PettingZoo environment, alone.

    Parameters
    ----------
    env
        The environment to wrap.

    Raises
    ------
    ConfigError
        If it has not exactly one learning agent.
    """

    def __init__(self, env: MultiAgentPowerGridEnv):
        if len(env.possible_agents) != 1:
            found = ", ".join(env.possible_agents) or "none"
            hint = "let one coordinator with policy: centralized command all devices"
            raise ConfigError([Issue("agents", f"the Gymnasium form needs one learning agent, found: {found}", hint)])
        self.env = env
        self.agent = env.possible_agents[0]
        self.metadata = {**env.metadata}
        self.render_mode = env.render_mode
        self.observation_space = env.observation_space(self.agent)
        self.action_space = env.action_space(self.agent)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; see :meth:`MultiAgentPowerGridEnv.reset`."""
        super().reset(seed=seed)
        observations, infos = self.env.reset(seed, options)
        return observations[self.agent], infos[self.agent]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one tick; see :meth:`MultiAgentPowerGridEnv.step`."""
        results = self.env.step({self.agent: action})
        observation, reward, terminated, truncated, info = (result[self.agent] for result in results)
        return observation, float(reward), terminated, truncated, info

    def render(self) -> Any:
        """Picture of the feeder; see :meth:`MultiAgentPowerGridEnv.render`."""
        return self.env.render()

    def close(self) -> None:
        """Nothing to release."""
        self.env.close()
