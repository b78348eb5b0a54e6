"""Many copies of a configuration with one learning agent, as Gymnasium's vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from powergrid.envs.infos import Infos, blank_infos
from powergrid.envs.single_agent.gymnasium_env import only_agent
from powergrid.envs.vector import VectorPowerGridEnv
from powergrid.worlds.simulation import Policy
from powergrid.worlds.snapshot import Snapshot


class SingleAgentVectorEnv(VectorEnv):
    """The one learning agent of a vector environment: arrays in place of dictionaries by agent.

    Parameters
    ----------
    env
        The environment to wrap.

    Raises
    ------
    ConfigError
        If the environment does not have exactly one learning agent.
    """

    def __init__(self, env: VectorPowerGridEnv):
        self.env, self.agent = env, only_agent(env.possible_agents)
        self.num_envs, self.metadata = env.num_envs, env.metadata
        spaces: tuple[Any, ...] = (env.single_observation_space, env.single_action_space)
        batched: tuple[Any, ...] = (env.observation_space, env.action_space)
        self.single_observation_space, self.single_action_space = (space[self.agent] for space in spaces)
        self.observation_space, self.action_space = (space[self.agent] for space in batched)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in every environment, or in some; see :meth:`VectorPowerGridEnv.reset`."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return observations[self.agent], self._own(infos)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance every environment by one tick, from actions ``(num_envs, k)``; see :meth:`VectorPowerGridEnv.step`.

        Returns
        -------
        observations, rewards, terminations, truncations, infos
            ``(num_envs, d)``, then ``(num_envs,)`` each. Values of `infos` have the environments in front.
        """
        observations, rewards, terminated, truncated, infos = self.env.step({self.agent: actions})
        return observations[self.agent], rewards[self.agent], terminated, truncated, self._own(infos)

    def policy_actions(self, policy: Policy) -> np.ndarray:
        """Actions that a local policy, by name or as a function, would take, float32 ``(num_envs, k)``."""
        return self.env.policy_actions(policy)[self.agent]

    def named(self, infos: Mapping[str, Any]) -> dict[str, Any]:
        """Return infos with names in place of the columns of ``costs`` and ``money``, ``{name: (num_envs,)}``."""
        env = self.env
        tables = (("costs", env.constraint_names), ("money", env.money_names))
        return {
            **infos,
            **{key: dict(zip(names, np.moveaxis(infos[key], -1, 0), strict=True)) for key, names in tables},
        }

    def get_state(self) -> Snapshot:
        """Return the running episodes as a value; see :meth:`VectorPowerGridEnv.get_state`."""
        return self.env.get_state()

    def set_state(self, state: Snapshot) -> None:
        """Continue from a state; see :meth:`VectorPowerGridEnv.set_state`."""
        self.env.set_state(state)

    @property
    def np_random_seed(self) -> tuple[int, ...] | None:  # type: ignore[override]
        """Seeds of the streams of episodes, ``None`` before the first reset."""
        return self.env.np_random_seed

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads."""
        self.env.close()

    def _own(self, infos: Mapping[str, Any]) -> dict[str, Any]:
        """Infos of the agent; each is computed at its first use."""

        def own(name: str) -> dict[str, Any]:
            value = infos[name]
            return {name: value[self.agent] if isinstance(value, dict) else value}

        return Infos(blank_infos(infos.keys()), own)
