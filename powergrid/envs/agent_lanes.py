"""Agents of a vector environment as lanes, for learning libraries whose environments have one agent.

Each agent of each environment is one lane, so that all agents share one policy. Lanes of one environment follow each
other: lane ``e * n + i`` is agent i of environment e.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode

from powergrid.config.resolve import Source
from powergrid.core.errors import ActionError, ArgumentError, ConfigError, Issue, nearest
from powergrid.core.types import Array
from powergrid.envs.factory import make_vec
from powergrid.envs.vector import VectorPowerGridEnv
from powergrid.envs.vector_step import VectorStep


def batch_of(cfg: Source, num_envs: int, arguments: Mapping[str, Any]) -> VectorPowerGridEnv:
    """Make the vector environment with dictionaries by agent, also where ``api="gymnasium"`` asks for one agent."""
    env: Any = make_vec(cfg, num_envs, **arguments)
    multi: VectorPowerGridEnv = env if isinstance(env, VectorPowerGridEnv) else env.env
    return multi


class LaneStep(NamedTuple):
    """One step of all lanes.

    Attributes
    ----------
    observations
        float32 ``(lanes, d)``; where an episode ended and the next one has begun, its first ones.
    rewards
        float32 ``(lanes,)``.
    terminated, truncated
        Whether the lane's episode ended, by physics or since its agent left, or at its time limit, ``(lanes,)``.
    last
        Last observation of each lane whose episode ended, ``{lane: (d,)}``.
    all
        The step of the vector environment.
    """

    observations: Array
    rewards: Array
    terminated: Array
    truncated: Array
    last: dict[int, Array]
    all: VectorStep


class AgentLanes:
    """Agents of a vector environment as lanes that share one policy.

    Parameters
    ----------
    env
        The vector environment.
    role
        Role of the agents that learn; ``None`` for all. The others follow the local policy that actions correct, or
        ``rule_based`` where actions are commands.

    Attributes
    ----------
    env
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`.
    agents
        Agents whose lanes these are, in the order of the lanes of one environment.
    others
        Learning agents without a lane.
    follows
        Name of the local policy that they follow.
    observation_space, action_space
        Those of one lane.
    holds
        Whether an ended episode holds until the next step, which begins the next one.

    Raises
    ------
    ConfigError
        If no agent learns, there is no such role, or the agents have different spaces.
    """

    def __init__(self, env: VectorPowerGridEnv, role: str | None = None):
        self.env, self.cfg = env, env.world.resolved
        self.follows = self.cfg.config.residual or "rule_based"
        self.agents = _agents(env, role)
        self.others = [agent for agent in env.possible_agents if agent not in self.agents]
        self.rows = [env.possible_agents.index(agent) for agent in self.agents]
        self._columns = np.concatenate([np.r_[env.observation_slices[agent]] for agent in self.agents])
        spaces: tuple[Any, Any] = env.single_observation_space, env.single_action_space
        self.observation_space, self.action_space = (space[self.agents[0]] for space in spaces)
        self.holds = env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP

    @classmethod
    def make(cls, cfg: Source, num_envs: int, role: str | None, arguments: Mapping[str, Any]) -> AgentLanes:
        """Make the vector environment and its lanes; `pad` is ``"all"`` by default, and ``"role"`` with a `role`."""
        return cls(batch_of(cfg, num_envs, {"pad": "all" if role is None else "role", **arguments}), role)

    def __len__(self) -> int:
        """Number of lanes."""
        return self.env.num_envs * len(self.agents)

    def reset(self, *, seed: int | Sequence[int] | None = None, options: Mapping[str, Any] | None = None) -> Array:
        """Start episodes as the vector environment does; observations of all lanes, float32 ``(lanes, d)``."""
        return self._by_lane(self.env.reset_array(seed=seed, options=options), self.env.alive)

    def step(self, actions: Array) -> LaneStep:
        """Advance every environment by one tick, from actions ``(lanes, k)``.

        An agent that leaves before the end terminates its lane's episode; until the next one, the lane's observations
        and rewards are zero.

        Raises
        ------
        ActionError
            If the actions have another shape or are not finite; the message names the agent.
        """
        there, count = self.env.alive, len(self.agents)
        done = self.env.step_array(self._all_actions(actions))
        observations = self._by_lane(done.observation, done.alive)
        left = done.left[:, self.rows].reshape(-1)
        last = {lane: observations[lane] for lane in np.flatnonzero(left).tolist()}
        over = np.flatnonzero(done.terminated | done.truncated)
        if len(over):
            lanes = (over[:, None] * count + np.arange(count)).reshape(-1)
            final = observations[lanes] if self.holds else self._by_lane(done.final_observation, there[over])
            last |= dict(zip(lanes.tolist(), final, strict=True))
        truncated = np.repeat(done.truncated, count)
        return LaneStep(
            observations,
            done.reward[:, self.rows].astype(np.float32).reshape(-1),
            (np.repeat(done.terminated, count) | left) & ~truncated,
            truncated,
            last,
            done,
        )

    def policy_actions(self) -> Array:
        """Actions of all lanes, ``(lanes, k)``, with which they follow what actions correct, or ``rule_based``."""
        everyone = self.env.policy_array(self.follows)
        actions: Array = everyone[:, self.rows, : self.action_space.shape[0]].reshape(len(self), -1)
        return actions

    def policy(
        self, act: Callable[[Array, bool], Array]
    ) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
        """Make a policy for :func:`powergrid.evaluate` from a function of lanes.

        Parameters
        ----------
        act
            Function of observations ``(lanes, d)`` and whether they are the first ones of an episode, to actions
            ``(lanes, k)``. The days of an evaluation are the environments; agents without a lane do in it what they do
            here.
        """
        return self.env.for_evaluation(_Played(self, act))

    def check_spaces(self, model: Any) -> None:
        """Refuse a model whose `observation_space` or `action_space` is another one.

        Raises
        ------
        ArgumentError
            If it is.
        """
        check_space("observation space", model.observation_space, self.observation_space)
        check_space("action space", model.action_space, self.action_space)

    def _all_actions(self, actions: Array) -> Array:
        """Actions of all agents, ``(E, A, k_max)``."""
        wanted = (len(self), *self.action_space.shape)
        if actions.shape != wanted:
            raise ActionError(f"actions have shape {actions.shape}, expected {wanted}: rows are lanes")
        rows = actions.reshape(self.env.num_envs, len(self.agents), -1)
        if not self.others:
            return rows
        everyone = self.env.policy_array(self.follows)
        everyone[:, self.rows, : rows.shape[-1]] = rows
        return everyone

    def _by_lane(self, observation: Array, alive: Array) -> Array:
        """Observations by lane, ``(lanes, d)``, zero where an agent is absent, from those of all agents ``(E, N)``."""
        own = observation[:, self._columns] if self.others else observation
        lanes = own.reshape(-1, *self.observation_space.shape)
        if not self.env.world.layout.actors_change:
            return lanes
        return np.where(alive[:, self.rows].reshape(-1, 1), lanes, np.float32(0.0))


class _Played:
    """What a function of lanes does, as a function of all agents' observations."""

    def __init__(self, lanes: AgentLanes, act: Callable[[Array, bool], Array]):
        self.agents, self.act = lanes.agents, act
        self.others = lanes.follows if lanes.others else None
        self.length = lanes.env.world.layout.settings.episode_length
        self.tick = 0

    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Actions of the agents that have lanes, ``(days, k)``; those without one follow `others`."""
        rows = np.stack([observations[agent] for agent in self.agents], axis=1)
        days, count, size = rows.shape
        chosen = self.act(rows.reshape(-1, size), self.tick == 0).reshape(days, count, -1)
        self.tick = (self.tick + 1) % self.length
        return {agent: chosen[:, row] for row, agent in enumerate(self.agents)}


def check_space(name: str, of_model: Any, of_env: Any) -> None:
    """Refuse a model that was made for another space than the environment's.

    Raises
    ------
    ArgumentError
        If it was.
    """
    if of_model == of_env:
        return
    shape = None if of_model is None else of_model.shape
    bounds = " with other bounds" if shape == of_env.shape else ""
    raise ArgumentError(
        f"the model has an {name} of shape {shape}{bounds}, the environment one of shape {of_env.shape}; make it with "
        "the arguments of the training: normalize, pad, agent_id, role"
    )


def _agents(env: VectorPowerGridEnv, role: str | None) -> list[str]:
    """Agents that have lanes."""
    if not env.possible_agents:
        raise ConfigError([Issue("agents", "no agent learns", 'give at least one of them "policy: learned"')])
    known = ", ".join(f'"{name}"' for name in env.roles)
    if role is not None and role not in env.roles:
        raise ConfigError([Issue("role", f'there is no role "{role}"', nearest(role, env.roles) or f"one of {known}")])
    agents = list(env.possible_agents if role is None else env.roles[role])
    for agent in agents:
        spaces: tuple[Any, Any] = env.single_observation_space, env.single_action_space
        if any(space[agent] != space[agents[0]] for space in spaces):
            hint = f'pad="all" gives all agents equal spaces; or pad="role" and a role, one of {known}'
            raise ConfigError([Issue("pad", f'agents "{agents[0]}" and "{agent}" have different spaces', hint)])
    return agents
