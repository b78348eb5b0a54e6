"""One learning agent whose step gives a cost beside its reward: the form of safe reinforcement learning."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from powergrid.core.errors import ConfigError, Issue
from powergrid.envs.single_agent.gymnasium_env import SingleAgentPowerGridEnv
from powergrid.worlds.world import SHARED


class SixValueEnv(gym.Env):
    """``step`` gives observation, reward, cost, terminated, truncated and info, as Safety-Gymnasium has it.

    The cost holds the priced violations of the constraints with a limit in ``training.cost_limits``, or of all where
    none has one; the reward is free of them.

    Parameters
    ----------
    env
        What ``powergrid.make(..., api="gymnasium")`` gives.

    Raises
    ------
    ConfigError
        If the agent's objective holds the costs of others, which its infos do not show, or infos are empty.

    Attributes
    ----------
    cost_limit
        Sum of the limits [$ per episode].
    """

    def __init__(self, env: SingleAgentPowerGridEnv):
        self.env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.metadata, self.render_mode = env.metadata, env.render_mode
        self._world = env.env.world
        if env.env.silent:
            raise ConfigError(
                [Issue("infos", "the cost of a step comes from its info", 'make the environment with infos="flat"')]
            )
        if self._world.layout.ledger.objective is not None:
            message = "the agent's reward holds the costs of other accounts, which its step does not show apart"
            raise ConfigError([Issue(f"agents.{env.agent}.objective", message, "write objective: own")])
        limits = self._world.cost_limits
        names = limits or [name.removeprefix(SHARED) for name in env.env.constraint_names]
        self._limited = self._world.limited(names)
        self.cost_limit = float(sum(limits.values()))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; see :meth:`SingleAgentPowerGridEnv.reset`."""
        return self.env.reset(seed=seed, options=options)

    def step(  # type: ignore[override]  # six values are the purpose
        self, action: np.ndarray
    ) -> tuple[np.ndarray, float, float, bool, bool, dict[str, Any]]:
        """Advance by one tick; the third value is the cost [$]."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        costs = np.asarray(info["costs"], float)
        relief = float(self._world.reward.relief(np, costs, self._limited))
        return observation, reward + relief, float(costs[self._limited].sum()), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """Picture of the feeder; see :meth:`MultiAgentPowerGridEnv.render`."""
        return self.env.render()

    def close(self) -> None:
        """Nothing to release."""
        self.env.close()
