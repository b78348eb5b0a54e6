"""skrl: multi-agent and shared-policy environments over the compiled batch, as wrappers of its PyTorch interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import Space

from powergrid.core.errors import ArgumentError, MissingExtraError

try:
    import torch
    from skrl import config
    from skrl.envs.wrappers.torch import MultiAgentEnvWrapper, Wrapper
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("torch", "skrl"):
        raise
    raise MissingExtraError("skrl", "skrl", __name__) from error

from powergrid.envs.agent_lanes import AgentLanes, batch_of, check_space
from powergrid.envs.vector import VectorPowerGridEnv

if TYPE_CHECKING:
    from powergrid.config.resolve import Source

_DEFAULTS = {"infos": "none", "autoreset": "next_step"}


def make(cfg: Source, num_envs: int, *, device: Any = None, **make_vec_arguments: Any) -> PowerGridMultiAgentWrapper:
    """Make many copies of an environment as one multi-agent environment of skrl, such as for its IPPO and MAPPO.

    Parameters
    ----------
    cfg, num_envs
        As for :func:`powergrid.make_vec`.
    device
        Where tensors are; the steps are computed on the CPU. skrl's default device by default.
    **make_vec_arguments
        Those of :func:`powergrid.make_vec`, changes to the configuration among them. The next episode begins in the
        step after the last one, since skrl bootstraps a time limit from the observation that this step returns.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used.
    """
    return PowerGridMultiAgentWrapper(batch_of(cfg, num_envs, {**_DEFAULTS, **make_vec_arguments}), device=device)


def make_shared(
    cfg: Source, num_envs: int, *, role: str | None = None, device: Any = None, **make_vec_arguments: Any
) -> PowerGridWrapper:
    """Make the same with one policy that all agents share: each agent of each environment is a lane.

    Parameters
    ----------
    cfg, num_envs, device
        As for :func:`make`.
    role
        Role of the agents that learn (see ``env.roles``); the others follow the local policy that actions correct, or
        ``rule_based`` where actions are commands. ``None`` for all agents.
    **make_vec_arguments
        As for :func:`make`. `pad` is ``"all"`` by default, and ``"role"`` with a `role`. ``api="gymnasium"`` accepts
        configurations with one learning agent only.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, no agent learns, or agents have different spaces.
    """
    return PowerGridWrapper(AgentLanes.make(cfg, num_envs, role, {**_DEFAULTS, **make_vec_arguments}), device=device)


def as_policy(
    agent: Any, env: PowerGridMultiAgentWrapper | PowerGridWrapper
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Make a policy for :func:`powergrid.evaluate` from an agent of skrl, without exploration.

    Parameters
    ----------
    agent
        Trained or loaded agent, whose policies act on observations alone. Where a model has mean actions, as in PPO and
        SAC, these are taken.
    env
        What :func:`make` or :func:`make_shared` returns with the arguments of the training, for any number of
        environments.

    Returns
    -------
    callable
        For ``powergrid.evaluate(env.cfg, policy={"skrl": as_policy(agent, env)})``.

    Raises
    ------
    ArgumentError
        If `env` is of another form than the agent, the agent observes something else, or a policy is recurrent.
    """
    multi = hasattr(agent, "possible_agents")
    if not isinstance(env, PowerGridMultiAgentWrapper if multi else PowerGridWrapper):
        needed = "make" if multi else "make_shared"
        raise ArgumentError(f"{type(agent).__name__} needs what {__name__}.{needed} returned, not {type(env).__name__}")
    models = agent.models.values() if multi else [agent.models]
    if any(own["policy"].get_specification().get("rnn") for own in models):
        raise ArgumentError(
            "a recurrent policy of skrl has a memory for as many environments as it was trained with, which an "
            "evaluation does not have; use one without"
        )
    if isinstance(env, PowerGridWrapper):
        env.lanes.check_spaces(agent)
        return env.lanes.policy(lambda seen, _: _acted(agent, torch.as_tensor(seen, device=agent.device)).cpu().numpy())
    for uid in env.possible_agents:
        for name in ("observation_space", "action_space"):
            label = f'{name.replace("_", " ")} of "{uid}"'
            check_space(label, getattr(agent, f"{name}s").get(uid), getattr(env, f"{name}s")[uid])

    def act(observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen = {uid: torch.as_tensor(rows, device=agent.device) for uid, rows in observations.items()}
        return {uid: rows.cpu().numpy() for uid, rows in _acted(agent, seen).items()}

    return env.batch.for_evaluation(act)


class PowerGridMultiAgentWrapper(MultiAgentEnvWrapper):
    """A vector environment as a multi-agent environment of skrl.

    Parameters
    ----------
    env
        The vector environment.
    device
        Where tensors are.

    Attributes
    ----------
    batch
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`.
    """

    def __init__(self, env: VectorPowerGridEnv, *, device: Any = None):
        super().__init__(env)
        self._device = config.torch.parse_device(device)
        self.batch, self.cfg, self._started = env, env.world.resolved, False

    @property
    def agents(self) -> list[str]:
        """All agents: those that are absent have observations and rewards of zero."""
        return list(self.batch.possible_agents)

    @property
    def observation_spaces(self) -> dict[str, Space]:
        """Spaces of observations by agent."""
        spaces: Any = self.batch.single_observation_space
        return dict(spaces.items())

    @property
    def action_spaces(self) -> dict[str, Space]:
        """Spaces of actions by agent, [-1, 1]."""
        spaces: Any = self.batch.single_action_space
        return dict(spaces.items())

    def reset(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Start an episode in every environment; the first time with the seed of ``skrl.utils.set_seed``.

        Returns
        -------
        observations, infos
            float32 ``{agent: (num_envs, d)}``.
        """
        observations, infos = self.batch.reset(seed=_seed(self._started))
        self._started = True
        return self._tensors(observations), infos

    def step(
        self, actions: Mapping[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor], Any]:
        """Advance every environment by one tick.

        Parameters
        ----------
        actions
            ``{agent: (num_envs, k)}`` in [-1, 1].

        Returns
        -------
        observations, rewards, terminated, truncated, infos
            float32 ``{agent: (num_envs, d)}`` and ``{agent: (num_envs, 1)}``, bool ``{agent: (num_envs, 1)}`` twice.
            `terminated` is also true for an agent that leaves; its observations and rewards are zero from then on.

        Raises
        ------
        ActionError
            If an action is missing, has the wrong shape or is not finite; the message names the agent.
        """
        there = self.batch.alive
        taken = {uid: action.detach().cpu().numpy() for uid, action in actions.items()}
        observations, rewards, terminated, truncated, infos = self.batch.step(taken)
        ended = np.repeat(terminated[:, None], len(self.batch.possible_agents), axis=1)
        if self.batch.world.layout.actors_change:
            ended |= there & ~self.batch.alive & ~truncated[:, None]
        return (
            self._tensors(observations),
            {uid: self._tensor(paid.astype(np.float32)[:, None]) for uid, paid in rewards.items()},
            {uid: self._tensor(ended[:, row, None]) for row, uid in enumerate(self.batch.possible_agents)},
            {uid: self._tensor(truncated[:, None]) for uid in self.batch.possible_agents},
            infos,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """State for a central critic, ``(num_envs, s)``, the same for all: everything that any agent observes."""
        state = self._tensor(self.batch.state())
        return dict.fromkeys(self.batch.possible_agents, state)

    def render(self, *args: Any, **kwargs: Any) -> None:
        """Draw nothing; trainers call this in each step unless they are ``headless``."""

    def close(self) -> None:
        """Stop the threads."""
        self.batch.close()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, device=self.device)

    def _tensors(self, arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {uid: self._tensor(array) for uid, array in arrays.items()}


class PowerGridWrapper(Wrapper):
    """Agents of a vector environment as environments of skrl that share one policy.

    Parameters
    ----------
    lanes
        The lanes.
    device
        Where tensors are.

    Attributes
    ----------
    lanes
        The lanes; ``lanes.agents`` are the agents of the lanes of one environment, which follow each other.
    batch
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`.
    """

    def __init__(self, lanes: AgentLanes, *, device: Any = None):
        super().__init__(lanes.env)
        self._device = config.torch.parse_device(device)
        self.lanes, self.batch, self.cfg, self._started = lanes, lanes.env, lanes.cfg, False

    @property
    def num_envs(self) -> int:
        """Number of lanes."""
        return len(self.lanes)

    @property
    def observation_space(self) -> Space:
        """Space of one lane's observations."""
        return self.lanes.observation_space

    @property
    def action_space(self) -> Space:
        """Space of one lane's actions, [-1, 1]."""
        return self.lanes.action_space

    def reset(self) -> tuple[torch.Tensor, dict[str, Any]]:
        """Start an episode in every environment; the first time with the seed of ``skrl.utils.set_seed``.

        Returns
        -------
        observations, infos
            float32 ``(lanes, d)``.
        """
        observations = self.lanes.reset(seed=_seed(self._started))
        self._started = True
        return torch.as_tensor(observations, device=self.device), {}

    def step(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Any]:
        """Advance every environment by one tick, from actions ``(lanes, k)``.

        Returns
        -------
        observations, rewards, terminated, truncated, infos
            float32 ``(lanes, d)`` and ``(lanes, 1)``, bool ``(lanes, 1)`` twice. An agent that leaves terminates its
            lane's episode; until the next one, the lane's observations and rewards are zero. `infos` are empty.

        Raises
        ------
        ActionError
            If the actions have another shape or are not finite; the message names the agent.
        """
        step = self.lanes.step(actions.detach().cpu().numpy())
        arrays = step.rewards[:, None], step.terminated[:, None], step.truncated[:, None]
        return (
            torch.as_tensor(step.observations, device=self.device),
            *(torch.as_tensor(array, device=self.device) for array in arrays),
            {},
        )

    def state(self) -> torch.Tensor:
        """State for a central critic, ``(lanes, s)``: everything that any agent of the lane's environment observes."""
        state = torch.as_tensor(self.batch.state(), device=self.device)
        return state.repeat_interleave(len(self.lanes.agents), dim=0)

    def render(self, *args: Any, **kwargs: Any) -> None:
        """Draw nothing; trainers call this in each step unless they are ``headless``."""

    def close(self) -> None:
        """Stop the threads."""
        self.batch.close()


def _seed(started: bool) -> int | None:
    """Seed of a reset: that of the library the first time, and then what follows in the streams of episodes."""
    return None if started else int(config.torch.key)


def _acted(agent: Any, seen: Any) -> Any:
    """Actions of an agent of skrl for observations as its environment shows them, without exploration."""
    policies = getattr(agent, "policies", None)
    if policies is None:
        return _mean(agent.policy, agent._observation_preprocessor, seen)
    return {uid: _mean(policies[uid], agent._observation_preprocessor[uid], rows) for uid, rows in seen.items()}


def _mean(policy: Any, scaled: Callable[[torch.Tensor], torch.Tensor], seen: torch.Tensor) -> torch.Tensor:
    """The mean of the actions of a stochastic policy, or the actions of a deterministic one."""
    with torch.no_grad():
        actions, outputs = policy.act({"observations": scaled(seen), "states": None}, role="policy")
    mean: torch.Tensor = outputs.get("mean_actions", actions)
    return mean
