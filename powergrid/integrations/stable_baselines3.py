"""Stable-Baselines3 and sb3-contrib: a ``VecEnv`` over the compiled batch of environments.

Each agent of each environment is one lane, so that all agents share one policy; see :mod:`powergrid.envs.agent_lanes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import AutoresetMode

from powergrid.core.errors import ActionError, ArgumentError, ConfigError, Issue, MissingExtraError
from powergrid.envs.agent_lanes import AgentLanes
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
    arguments = {"infos": "none", "autoreset": AutoresetMode.SAME_STEP, **make_vec_arguments}
    return PowerGridVecEnv(AgentLanes.make(cfg, num_envs, role, arguments), infos=arguments["infos"] != "none")


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
        If `env` is no environment of :func:`make`, or the model observes something else.
    """
    own = env.unwrapped
    if not isinstance(own, PowerGridVecEnv):
        raise ArgumentError(f"env is {type(own).__name__}; give what {__name__}.make returned")
    shown, wrapped = own.observation_space.shape, env.observation_space.shape
    if shown != wrapped:
        raise ArgumentError(
            f"wrappers make observations of shape {wrapped} from {shown}, which an evaluation does not repeat; use "
            "VecMonitor and VecNormalize only"
        )
    own.lanes.check_spaces(model)
    return own.lanes.policy(_Acting(model, unwrap_vec_normalize(env) or model.get_vec_normalize_env()))


class PowerGridVecEnv(VecEnv):
    """Agents of a vector environment as lanes of a ``VecEnv``.

    Parameters
    ----------
    lanes
        The lanes, whose next episode begins in the step in which one ends.
    infos
        Whether infos of a step hold ``cost``, ``costs``, ``money``, ``clipped``, ``due``, ``available`` and
        ``converged`` of each lane.

    Attributes
    ----------
    lanes
        The lanes.
    env
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`; wrappers have it, too.
    agents
        Agents whose lanes these are, in the order of the lanes of one environment.

    Raises
    ------
    ConfigError
        If the next episode begins later.
    """

    def __init__(self, lanes: AgentLanes, *, infos: bool = False):
        if lanes.env.metadata["autoreset_mode"] != AutoresetMode.SAME_STEP:
            hint = 'leave it out, or "same_step": Stable-Baselines3 has no other'
            raise ConfigError([Issue("autoreset", '"next_step" is not available here', hint)])
        self.lanes, self._wants_infos = lanes, infos
        self.env, self.cfg, self.agents = lanes.env, lanes.cfg, lanes.agents
        self._actions: np.ndarray | None = None
        super().__init__(len(lanes), lanes.observation_space, lanes.action_space)

    def reset(self) -> np.ndarray:
        """Start an episode in every environment, with the seed and options that were set; observations by lane."""
        count, options = len(self.agents), self._options[0]
        seeds = None if self._seeds[0] is None else self._seeds[::count]
        observations = self.lanes.reset(seed=seeds, options=options or None)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        return observations

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
        if self._actions is None:
            raise ActionError("call step_async() with actions before step_wait()")
        step = self.lanes.step(self._actions)
        infos = self._infos(step.all)
        for lane, observation in step.last.items():
            truncated = bool(step.truncated[lane])
            infos[lane] |= {"terminal_observation": observation, "TimeLimit.truncated": truncated}
        return step.observations, step.rewards, step.terminated | step.truncated, infos

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

    def _infos(self, done: VectorStep) -> list[dict[str, Any]]:
        if not self._wants_infos:
            return [{} for _ in range(self.num_envs)]
        tables = {name: getattr(done, name)[:, self.lanes.rows] for name in _INFOS}
        return [
            {name: table[env, row] for name, table in tables.items()} | {"converged": done.converged[env]}
            for env in range(self.env.num_envs)
            for row in range(len(self.agents))
        ]


class _Acting:
    """What a model does without exploration; the memory of a recurrent one begins anew with each episode."""

    def __init__(self, model: Any, scale: Any):
        self.model, self.scale, self.memory = model, scale, None

    def __call__(self, seen: np.ndarray, first: bool) -> np.ndarray:
        if self.scale is not None:
            seen = self.scale.normalize_obs(seen)
        starts, memory = np.full(len(seen), first), None if first else self.memory
        chosen, self.memory = self.model.predict(seen, state=memory, episode_start=starts, deterministic=True)
        return chosen
