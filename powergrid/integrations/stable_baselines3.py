"""Stable-Baselines3 and sb3-contrib: a ``VecEnv`` over the compiled batch of environments.

Each agent of each environment is one lane, so that all agents share one policy. Lanes of one environment follow each
other: lane ``e * n + i`` is agent i of environment e.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode

from powergrid.core.errors import ActionError, ArgumentError, ConfigError, Issue, MissingExtraError, nearest
from powergrid.envs import make_vec
from powergrid.envs.vector import VectorPowerGridEnv
from powergrid.envs.vector_step import VectorStep

try:
    from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
except ModuleNotFoundError as error:
    if str(error.name).partition(".")[0] not in ("stable_baselines3", "torch"):
        raise
    raise MissingExtraError("stable-baselines3", "sb3", __name__) from error

if TYPE_CHECKING:
    from powergrid.config.resolve import Source

_INFOS = ("cost", "costs", "money", "clipped", "due", "available")


def make(cfg: Source, num_envs: int, *, role: str | None = None, **make_vec_arguments: Any) -> PowerGridVecEnv:
    """Make many copies of an environment as one ``VecEnv``, whose lanes are the agents of all of them.

    Parameters
    ----------
    cfg, num_envs
        As for :func:`powergrid.make_vec`.
    role
        Role of the agents that learn (see ``env.roles``); the others follow the local policy that actions correct, or
        ``rule_based`` where actions are commands. ``None`` for all agents.
    **make_vec_arguments
        Those of :func:`powergrid.make_vec`, changes to the configuration among them. `pad` is ``"all"`` by default, and
        ``"role"`` with a `role`. `infos` is ``"none"`` by default; ``"flat"`` gives each lane its costs and money in
        every step. ``api="gymnasium"`` accepts configurations with one learning agent only.

    Returns
    -------
    PowerGridVecEnv
        The environments; every episode that ends is followed by the next one in the same step.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, no agent learns, or agents have different spaces.
    """
    pad = "all" if role is None else "role"
    arguments = {"pad": pad, "infos": "none", "autoreset": AutoresetMode.SAME_STEP, **make_vec_arguments}
    env: Any = make_vec(cfg, num_envs, **arguments)
    multi = env if isinstance(env, VectorPowerGridEnv) else env.env
    return PowerGridVecEnv(multi, role=role, infos=arguments["infos"] != "none")


def as_policy(model: Any, env: VecEnv) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Make a policy for :func:`powergrid.evaluate` from a model of Stable-Baselines3, without exploration.

    Parameters
    ----------
    model
        Trained or loaded model; also a recurrent one of sb3-contrib.
    env
        What :func:`make` returns with the arguments of the training, for any number of environments. The statistics of
        a ``VecNormalize`` around it, or else of that of the model, are applied.

    Returns
    -------
    callable
        For ``powergrid.evaluate(env.cfg, policy={"sb3": as_policy(model, env)})``.

    Raises
    ------
    ArgumentError
        If `env` is no environment of :func:`make`, the model observes something else, or agents without a lane need
        commands.
    """
    lanes = env.unwrapped
    if not isinstance(lanes, PowerGridVecEnv):
        raise ArgumentError(f"env is {type(lanes).__name__}; give what {__name__}.make returned")
    shown, wrapped = lanes.observation_space.shape, env.observation_space.shape
    if shown != wrapped:
        raise ArgumentError(
            f"wrappers make observations of shape {wrapped} from {shown}, which an evaluation does not repeat; use "
            "VecMonitor and VecNormalize only"
        )
    for name in ("observation_space", "action_space"):
        of_model, of_env = getattr(model, name), getattr(env, name)
        if of_model != of_env:
            bounds = " with other bounds" if of_model.shape == of_env.shape else ""
            raise ArgumentError(
                f"the model has an {name.replace('_', ' ')} of shape {of_model.shape}{bounds}, the environment one of "
                f"shape {of_env.shape}; make it with the arguments of the training: normalize, pad, agent_id, role"
            )
    if lanes.others and not lanes.corrects:
        raise ArgumentError(
            f"the model has no actions of {', '.join(lanes.others)}, which an evaluation needs; train with "
            'residual="rule_based", under which they follow the rule without one'
        )
    return lanes.env.for_evaluation(_Acting(model, lanes, unwrap_vec_normalize(env) or model.get_vec_normalize_env()))


class PowerGridVecEnv(VecEnv):
    """Agents of a vector environment as lanes of a ``VecEnv``.

    Parameters
    ----------
    env
        The vector environment, in which the next episode begins in the step in which one ends.
    role
        Role of the agents that learn; ``None`` for all.
    infos
        Whether infos of a step hold ``cost``, ``costs``, ``money``, ``clipped``, ``due``, ``available`` and
        ``converged`` of each lane.

    Attributes
    ----------
    env
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`; wrappers have it, too.
    agents
        Agents whose lanes these are, in the order of the lanes of one environment.
    others
        Learning agents without a lane.
    follows
        Local policy of the others.
    corrects
        Whether actions correct that policy, which zeros then follow.

    Raises
    ------
    ConfigError
        If no agent learns, there is no such role, the agents have different spaces, or the next episode begins later.
    """

    def __init__(self, env: VectorPowerGridEnv, *, role: str | None = None, infos: bool = False):
        if env.metadata["autoreset_mode"] != AutoresetMode.SAME_STEP:
            hint = 'leave it out, or "same_step": Stable-Baselines3 has no other'
            raise ConfigError([Issue("autoreset", '"next_step" is not available here', hint)])
        self.env, self._wants_infos, self.cfg = env, infos, env.world.resolved
        self.agents = _agents(env, role)
        self.others = [agent for agent in env.possible_agents if agent not in self.agents]
        self._rows = [env.possible_agents.index(agent) for agent in self.agents]
        self._columns = np.concatenate([np.r_[env.observation_slices[agent]] for agent in self.agents])
        self._actions: np.ndarray | None = None
        residual = self.cfg.config.residual
        self.corrects, self.follows = residual is not None, residual or "rule_based"
        spaces: tuple[Any, Any] = env.single_observation_space, env.single_action_space
        super().__init__(env.num_envs * len(self.agents), *(space[self.agents[0]] for space in spaces))

    def reset(self) -> np.ndarray:
        """Start an episode in every environment, with the seed and options that were set; observations by lane."""
        count, options = len(self.agents), self._options[0]
        seeds = None if self._seeds[0] is None else self._seeds[::count]
        observation = self.env.reset_array(seed=seeds, options=options or None)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        return self._by_lane(observation, self.env.alive)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions of all lanes, ``(lanes, k)``, for :meth:`step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Advance every environment by one tick.

        Returns
        -------
        observations, rewards, dones, infos
            float32 ``(lanes, d)`` and ``(lanes,)``, bool ``(lanes,)``, and a dictionary per lane. At the end of an
            episode it has ``terminal_observation`` and ``TimeLimit.truncated``. An agent that leaves before ends its
            lane's episode; until the next one, the lane's observations and rewards are zero.

        Raises
        ------
        ActionError
            If the actions have another shape or are not finite; the message names the agent.
        """
        there, count = self.env.alive, len(self.agents)
        done = self.env.step_array(self._all_actions())
        observations = self._by_lane(done.observation, done.alive)
        over, left = np.flatnonzero(done.terminated | done.truncated), done.left[:, self._rows]
        last = self._by_lane(done.final_observation, there[over])
        lanes = (over[:, None] * count + np.arange(count)).reshape(-1)
        ends = {lane: observations[lane] for lane in np.flatnonzero(left).tolist()}
        ends |= dict(zip(lanes.tolist(), last, strict=True))
        dones, infos = np.zeros(self.num_envs, dtype=bool), self._infos(done)
        for lane, observation in ends.items():
            dones[lane] = True
            infos[lane] |= {
                "terminal_observation": observation,
                "TimeLimit.truncated": bool(done.truncated[lane // count]),
            }
        return observations, done.reward[:, self._rows].astype(np.float32).reshape(-1), dones, infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seed of the next reset: environment e gets ``seed + e``, as of :func:`powergrid.make_vec`."""
        first = super().seed(seed)[0]
        assert first is not None  # the library draws one where none is given
        self._seeds = [first + env for env in range(self.env.num_envs) for _ in self.agents]
        return self._seeds

    def set_options(self, options: Any = None) -> None:
        """Set options of the next reset: one mapping, with lists for the environments, as of ``make_vec(...).reset``.

        Raises
        ------
        ArgumentError
            If there is one mapping per lane: lanes of one environment cannot differ.
        """
        if options is not None and not isinstance(options, Mapping):
            raise ArgumentError(
                f'options are one mapping for all environments, such as {{"day": [...]}} with {self.env.num_envs} days'
            )
        super().set_options(dict(options or {}))

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Attribute of the vector environment per lane; ``"agent"`` is the agent of each lane."""
        lanes = list(self._get_indices(indices))
        if attr_name == "agent":
            return [self.agents[lane % len(self.agents)] for lane in lanes]
        return [getattr(self.env, attr_name)] * len(lanes)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: all lanes are one vector environment, whose attributes do not change.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(f'"{attr_name}" cannot be set: make another environment with the arguments of make_vec')

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector environment once; the result per lane.

        Of results by agent a lane gets its agent's, and of arrays with the environments in front its environment's.
        """
        result, count = getattr(self.env, method_name)(*method_args, **method_kwargs), len(self.agents)

        def of_lane(lane: int) -> Any:
            agent = self.agents[lane % count]
            own = result[agent] if isinstance(result, Mapping) and agent in result else result
            by_env = isinstance(own, np.ndarray) and len(own) == self.env.num_envs
            return own[lane // count] if by_env else own

        return [of_lane(lane) for lane in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Whether a wrapper of single environments is around a lane: never."""
        return [False for _ in self._get_indices(indices)]

    def close(self) -> None:
        """Stop the threads."""
        self.env.close()

    def _all_actions(self) -> np.ndarray:
        """Actions of all agents, ``(E, A, k_max)``."""
        actions, wanted = self._actions, (self.num_envs, *(self.action_space.shape or ()))
        if actions is None or actions.shape != wanted:
            found = None if actions is None else actions.shape
            raise ActionError(f"actions have shape {found}, expected {wanted}: rows are lanes")
        rows = actions.reshape(self.env.num_envs, len(self.agents), -1)
        if not self.others:
            return rows
        everyone = self.env.policy_array(self.follows)
        everyone[:, self._rows, : rows.shape[-1]] = rows
        return everyone

    def _by_lane(self, observation: np.ndarray, alive: np.ndarray) -> np.ndarray:
        """Observations by lane, ``(lanes, d)``, zero where an agent is absent, from those of all agents ``(E, N)``."""
        own = observation[:, self._columns] if self.others else observation
        lanes = own.reshape(-1, *self.observation_space.shape)
        if not self.env.world.layout.actors_change:
            return lanes
        return np.where(alive[:, self._rows].reshape(-1, 1), lanes, np.float32(0.0))

    def _infos(self, done: VectorStep) -> list[dict[str, Any]]:
        if not self._wants_infos:
            return [{} for _ in range(self.num_envs)]
        tables = {name: getattr(done, name)[:, self._rows] for name in _INFOS}
        return [
            {name: table[env, row] for name, table in tables.items()} | {"converged": done.converged[env]}
            for env in range(self.env.num_envs)
            for row in range(len(self.agents))
        ]


class _Acting:
    """What a model does without exploration, as a function of all agents' observations."""

    def __init__(self, model: Any, lanes: PowerGridVecEnv, scale: Any):
        self.model, self.scale = model, scale
        self.agents = lanes.agents
        spaces: Any = lanes.env.single_action_space
        self.widths = {agent: spaces[agent].shape[0] for agent in lanes.others}
        self.length = lanes.env.world.layout.settings.episode_length
        self.tick, self.memory = 0, None

    def __call__(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Actions of all agents, ``(days, k)``; the memory of a recurrent model begins anew with each episode."""
        rows = np.stack([observations[agent] for agent in self.agents], axis=1)
        days, count, size = rows.shape
        seen = rows.reshape(-1, size)
        if self.scale is not None:
            seen = self.scale.normalize_obs(seen)
        starts = np.full(len(seen), self.tick == 0)
        memory = None if self.tick == 0 else self.memory
        chosen, self.memory = self.model.predict(seen, state=memory, episode_start=starts, deterministic=True)
        self.tick = (self.tick + 1) % self.length
        chosen = chosen.reshape(days, count, -1)
        still = {agent: np.zeros((days, width)) for agent, width in self.widths.items()}
        return still | {agent: chosen[:, row] for row, agent in enumerate(self.agents)}


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
