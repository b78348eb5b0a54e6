"""A configuration with one learning agent as an environment of gymnax: pure functions on JAX."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

from powergrid.core.errors import MissingExtraError

try:
    import jax
    import jax.numpy as jnp
    from flax import struct
    from gymnax.environments import environment
    from gymnax.environments.environment import EnvParams
    from gymnax.environments.spaces import Box
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("jax", "flax", "gymnax"):
        raise
    raise MissingExtraError("gymnax", "gymnax", __name__) from error

from powergrid.config.resolve import Source
from powergrid.core.types import Array
from powergrid.envs.factory import make_functional
from powergrid.envs.functional import EnvState, FunctionalEnv, continued
from powergrid.envs.single_agent.gymnasium_env import only_agent


def make(cfg: Source, **make_functional_arguments: Any) -> tuple[GymnaxEnv, EnvParams]:
    """Make an environment of gymnax and its parameters, as ``gymnax.make`` does.

    Parameters
    ----------
    cfg
        As for :func:`powergrid.make`; a configuration with one learning agent.
    **make_functional_arguments
        Those of :func:`powergrid.make_functional`, changes to the configuration among them. By default observations are
        scaled (`normalize`), since gymnax does not.

    Returns
    -------
    env, params
        The environment and its `default_params`.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, or does not have exactly one learning agent.
    """
    env = GymnaxEnv(make_functional(cfg, **{"normalize": True, **make_functional_arguments}))
    return env, env.default_params


@struct.dataclass
class GymnaxState(environment.EnvState):
    """State of one environment.

    Attributes
    ----------
    time
        Ticks since the start of the episode.
    running
        State of the functional environment.
    observation
        What the agent observes, ``(d,)``.
    terminated
        Whether the physics have ended the episode.
    """

    running: EnvState
    observation: Array
    terminated: Array


class GymnaxEnv(environment.Environment):
    """An environment of gymnax, for ``jax.vmap``, ``jax.jit`` and ``jax.lax.scan``.

    An episode that ends is followed by the next one in the same step; `step_env` is the step without that.

    Parameters
    ----------
    env
        The functional environment; whether it starts episodes by itself does not matter.

    Attributes
    ----------
    env
        The functional environment, without the next episode where one ends.
    agent
        The learning agent.

    Raises
    ------
    ConfigError
        If the environment does not have exactly one learning agent.
    """

    _supports_transition_gradients = True

    def __init__(self, env: FunctionalEnv):
        self.env, self.agent = copy(env), only_agent(env.agents)
        self.env.auto_reset = False
        (self._group,) = env.groups

    @property
    def default_params(self) -> EnvParams:
        """The length of an episode; ``max_steps_in_episode`` may be less."""
        return EnvParams(max_steps_in_episode=self.env.episode_length)

    @partial(jax.jit, static_argnames=("self",))
    def step(
        self, key: Array, state: GymnaxState, action: Array, params: EnvParams | None = None
    ) -> tuple[Array, GymnaxState, Array, Array, Array, dict[str, Array]]:
        """Advance by one tick; where that ends the episode, the next one starts in the same step.

        Parameters
        ----------
        key
            Determines the next episode where one ends.
        state
            The state before.
        action
            ``(k,)`` in [-1, 1].
        params
            Parameters; `default_params` by default.

        Returns
        -------
        observation, state, reward, terminated, truncated, info
            `info` also holds `terminated`, `truncated` and `final_observation`.
        """
        params = self.default_params if params is None else params
        key_step, key_reset = jax.random.split(key)
        observation, after, reward, terminated, info = self.step_env(key_step, state, action, params)
        truncated = self.is_truncated(after, params) & ~terminated
        info |= {"terminated": terminated, "truncated": truncated, "final_observation": observation}
        after = continued(terminated | truncated, lambda: self.reset_env(key_reset, params)[1], after)
        return after.observation, after, reward, terminated, truncated, info

    def step_env(
        self, key: Array, state: GymnaxState, action: Array, params: EnvParams
    ) -> tuple[Array, GymnaxState, Array, Array, dict[str, Array]]:
        """Advance by one tick; no episode starts.

        Returns
        -------
        observation, state, reward, terminated, info
            `info` holds gymnax's `discount`; `cost`, priced violations [$]; and `converged`, whether the power flow
            converged.
        """
        seen, running, rewards, _, info = self.env.step(key, state.running, {self._group: action[None]})
        terminated = info["terminated"]
        after = GymnaxState(running.engine.tick, running, seen[self._group][0], terminated)
        observation, after = self._apply_transition_gradient_policy(after.observation, after)
        known = {
            "discount": self.discount(after, params),
            "cost": info["costs"][0].sum(-1),
            "converged": info["converged"],
        }
        return observation, after, rewards[self._group][0], terminated, known

    def reset_env(self, key: Array, params: EnvParams) -> tuple[Array, GymnaxState]:
        """Start an episode, which the key determines."""
        seen, running = self.env.reset(key)
        observation = seen[self._group][0]
        return observation, GymnaxState(running.engine.tick, running, observation, jnp.zeros((), bool))

    def get_obs(self, state: GymnaxState, params: EnvParams | None = None, key: Array | None = None) -> Array:
        """What the agent observes, ``(d,)``."""
        return state.observation

    def is_truncated(self, state: GymnaxState, params: EnvParams) -> Array:
        """Whether the episode is at its time limit."""
        return state.time >= jnp.minimum(params.max_steps_in_episode, self.env.episode_length)

    def is_terminated(self, state: GymnaxState, params: EnvParams) -> Array:
        """Whether the physics have ended the episode."""
        return state.terminated

    @property
    def num_actions(self) -> int:
        """How many numbers an action has."""
        return self.env.action_size[self._group]

    def action_space(self, params: EnvParams | None = None) -> Box:
        """Space of actions, [-1, 1]."""
        space = self.env.action_spaces[self.agent]
        return Box(space.low, space.high, space.shape)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """Space of observations, float32 with finite bounds."""
        space = self.env.observation_spaces[self.agent]
        return Box(space.low, space.high, space.shape)
