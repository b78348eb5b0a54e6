"""A configuration with one learning agent as a Gymnasium environment."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from powergrid.core.errors import ArgumentError, ConfigError, Issue
from powergrid.envs.multi_agent.pettingzoo_env import MultiAgentPowerGridEnv
from powergrid.worlds.seeds import checked_seed
from powergrid.worlds.snapshot import Snapshot


class SingleAgentPowerGridEnv(gym.Env):
    """The one learning agent of a PettingZoo environment as a Gymnasium environment.

    Parameters
    ----------
    env
        The environment to wrap.

    Raises
    ------
    ConfigError
        If the environment does not have exactly one learning agent.
    """

    def __init__(self, env: MultiAgentPowerGridEnv):
        self.env = env
        self.agent = only_agent(env.possible_agents)
        self.metadata = {**env.metadata}
        self.render_mode = env.render_mode
        self.observation_space = env.observation_space(self.agent)
        self.action_space = env.action_space(self.agent)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; see :meth:`MultiAgentPowerGridEnv.reset`.

        A seed also seeds :attr:`np_random`; without a seed, it and the stream of episodes continue.
        """
        if seed is not None:
            super().reset(seed=checked_seed(seed))
        observations, infos = self.env.reset(seed, options)
        self._seed_generator()
        return observations[self.agent], infos[self.agent]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one tick; see :meth:`MultiAgentPowerGridEnv.step`."""
        results = self.env.step({self.agent: action})
        observation, reward, terminated, truncated, info = (result[self.agent] for result in results)
        return observation, float(reward), terminated, truncated, info

    def get_state(self) -> tuple[Snapshot, dict[str, Any] | None]:
        """Return the running episode, and the state of :attr:`np_random`.

        See :meth:`MultiAgentPowerGridEnv.get_state`.
        """
        generator = self._np_random
        drawn = None if generator is None else dict(copy.deepcopy(generator.bit_generator.state))
        return self.env.get_state(), drawn

    def set_state(self, state: tuple[Snapshot, dict[str, Any] | None]) -> None:
        """Continue from a state of this environment or of another one of the same configuration, with the same bits.

        Raises
        ------
        ArgumentError
            If `state` is no state of an environment, or belongs to another configuration.
        """
        if not (isinstance(state, tuple) and len(state) == 2):
            kind = type(state).__name__
            raise ArgumentError(f"{kind} is no state of an environment; pass what get_state() has returned")
        self.env.set_state(state[0])
        self._np_random = self._np_random_seed = None
        if state[1] is not None:
            self._seed_generator()
            self.np_random.bit_generator.state = copy.deepcopy(state[1])

    @property
    def np_random(self) -> np.random.Generator:
        """Generator for the user's own numbers; the numbers of episodes follow from the seed, not from it."""
        self._seed_generator()
        return super().np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = value, -1

    @property
    def np_random_seed(self) -> int:
        """Seed of the stream of episodes and of :attr:`np_random`: ``reset(seed=env.np_random_seed)`` starts it again.

        -1 where :attr:`np_random` has been set by hand.
        """
        self._seed_generator()
        return super().np_random_seed

    def _seed_generator(self) -> None:
        """Seed the generator like the stream of episodes, unless it is already seeded."""
        if self._np_random is None:
            super().reset(seed=self.env.np_random_seed)

    def render(self) -> np.ndarray | None:
        """Picture of the feeder; see :meth:`MultiAgentPowerGridEnv.render`."""
        return self.env.render()

    def close(self) -> None:
        """Nothing to release."""
        self.env.close()


def only_agent(agents: Sequence[str]) -> str:
    """The one learning agent.

    Raises
    ------
    ConfigError
        If there are more, or none.
    """
    if len(agents) != 1:
        learning = ", ".join(agents) or "none"
        hint = "let one coordinator with policy: centralized command all devices"
        raise ConfigError([Issue("agents", f"the Gymnasium form needs one learning agent, found: {learning}", hint)])
    return agents[0]
