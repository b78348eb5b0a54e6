"""Tianshou: a vector environment over the compiled batch, whose environments are the lanes of all agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import ArgumentError, ConfigError, Issue, MissingExtraError

try:
    import torch
    from tianshou.data import Batch
    from tianshou.env import BaseVectorEnv, VectorEnvNormObs
    from tianshou.env.venv_wrappers import VectorEnvWrapper
    from tianshou.utils.torch_utils import torch_train_mode
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("torch", "tianshou", "sensai", "overrides"):
        raise
    two_steps = "tianshou, which pip install --no-deps 'tianshou==2.0.1' brings after its other dependencies"
    raise MissingExtraError(two_steps, "tianshou", __name__) from error

from powergrid.envs.agent_lanes import AgentLanes

if TYPE_CHECKING:
    from powergrid.config.resolve import Source

Ids = int | Sequence[int] | np.ndarray | None


def make(cfg: Source, num_envs: int, *, role: str | None = None, **make_vec_arguments: Any) -> PowerGridVectorEnv:
    """Make many copies of an environment as one vector environment of Tianshou, whose lanes are the agents of all.

    Parameters
    ----------
    cfg, num_envs
        As for :func:`powergrid.make_vec`.
    role
        Role of the agents that learn (see ``env.roles``); the others follow the local policy that actions correct, or
        ``rule_based`` where actions are commands. ``None`` for all agents.
    **make_vec_arguments
        Those of :func:`powergrid.make_vec`, changes to the configuration among them. `pad` is ``"all"`` by default, and
        ``"role"`` with a `role`. ``api="gymnasium"`` accepts configurations with one learning agent only.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, no agent learns, or agents have different spaces.
    """
    arguments = {"infos": "none", "autoreset": "next_step", **make_vec_arguments}
    return PowerGridVectorEnv(AgentLanes.make(cfg, num_envs, role, arguments))


def as_policy(policy: Any, env: BaseVectorEnv) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Make a policy for :func:`powergrid.evaluate` from a policy or an algorithm of Tianshou, without exploration.

    Parameters
    ----------
    policy
        Trained or loaded policy, or an algorithm that has one; also a recurrent one.
    env
        What :func:`make` returns with the arguments of the training, for any number of environments. The statistics of
        a ``VectorEnvNormObs`` around it are applied.

    Returns
    -------
    callable
        For ``powergrid.evaluate(env.cfg, policy={"tianshou": as_policy(policy, env)})``.

    Raises
    ------
    ArgumentError
        If `env` is no environment of :func:`make`, or it has other actions.
    """
    scales = []
    while isinstance(env, VectorEnvWrapper):
        scales += [env.get_obs_rms()] if isinstance(env, VectorEnvNormObs) else []
        env = env.venv
    if not isinstance(env, PowerGridVectorEnv):
        raise ArgumentError(f"env is {type(env).__name__}; give what {__name__}.make returned")
    acting = getattr(policy, "policy", policy)
    if acting.action_space != env.lanes.action_space:
        raise ArgumentError(
            f"the policy has the action space {acting.action_space}, the environment {env.lanes.action_space}; make it "
            "with the arguments of the training: pad, role"
        )
    return env.lanes.policy(_Acting(acting, scales[::-1]))


class PowerGridVectorEnv(BaseVectorEnv):
    """Agents of a vector environment as environments of Tianshou.

    Parameters
    ----------
    lanes
        The lanes, where an ended episode holds until the next one begins.

    Attributes
    ----------
    lanes
        The lanes; ``lanes.agents`` are the agents of the lanes of one environment, which follow each other.
    batch
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`.

    Raises
    ------
    ConfigError
        If an episode that ends is followed by the next one in the same step.
    """

    def __init__(self, lanes: AgentLanes):
        # BaseVectorEnv makes a worker for each environment; as VectorEnvWrapper does, this form has none.
        if not lanes.holds:
            hint = 'leave it out, or "next_step": collectors of Tianshou begin the next episodes'
            raise ConfigError([Issue("autoreset", '"same_step" is not available here', hint)])
        self.lanes, self.batch, self.cfg = lanes, lanes.env, lanes.cfg
        self.env_num, self.is_async, self.is_closed = len(lanes), False, False
        self._over = np.zeros(lanes.env.num_envs, dtype=bool)
        self._seen = np.zeros((len(lanes), *lanes.observation_space.shape), dtype=np.float32)
        self._seed: Sequence[int] | None = None

    def reset(
        self, env_id: Ids = None, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Begin the next episode of environments that are over and have one of the lanes, or whose lanes are all given.

        Parameters
        ----------
        env_id
            Lanes; all by default.
        seed, options
            As for ``make_vec(...).reset``; a seed holds for all environments.

        Returns
        -------
        observations, infos
            float32 ``(ids, d)``, and an empty dictionary per lane. A lane whose agent has left while the others go on
            stays at zero.
        """
        ids, count = self._ids(env_id), len(self.lanes.agents)
        envs, given = np.unique(ids // count, return_counts=True)
        begin = np.zeros(self.batch.num_envs, dtype=bool)
        begin[envs] = self._over[envs] | (given == count)
        if begin.any():
            mask = {} if begin.all() else {"reset_mask": begin}
            self._seen = self.lanes.reset(
                seed=self._seed if seed is None else seed, options={**(options or {}), **mask}
            )
            self._seed = None
            self._over &= ~begin
        return self._seen[ids], np.array([{} for _ in ids])

    def step(self, action: Any, id: Ids = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Advance every environment by one tick.

        Parameters
        ----------
        action
            ``(ids, k)`` in [-1, 1].
        id
            Lanes; all by default. The other ones follow the local policy that actions correct, or ``rule_based``:
            collectors leave lanes out at the end of ``collect(n_episode=...)``, and begin all episodes after it.

        Returns
        -------
        observations, rewards, terminated, truncated, infos
            Those of the given lanes: float32 ``(ids, d)`` and ``(ids,)``, bool ``(ids,)`` twice, and a dictionary per
            lane with its ``env_id``. An agent that leaves terminates its lane's episode; until the next one, the lane's
            observations and rewards are zero.

        Raises
        ------
        ActionError
            If the actions have another shape or are not finite; the message names the agent.
        """
        ids = self._ids(id)
        actions = np.asarray(action.detach().cpu() if isinstance(action, torch.Tensor) else action)
        if len(ids) < len(self.lanes):
            others = self.lanes.policy_actions()
            others[ids] = actions
            actions = others
        done = self.lanes.step(actions)
        self._seen, self._over = done.observations, done.all.terminated | done.all.truncated
        infos = np.array([{"env_id": lane} for lane in ids.tolist()])
        return self._seen[ids], done.rewards[ids], done.terminated[ids], done.truncated[ids], infos

    def seed(self, seed: int | list[int] | None = None) -> list[Any]:
        """Set the seed of the next reset of all lanes: environment e gets ``seed + e``; or a seed per lane.

        Raises
        ------
        ArgumentError
            If lanes of one environment have different seeds.
        """
        count = len(self.lanes.agents)
        if seed is None:
            self._seed = None
            return [None] * len(self)
        if isinstance(seed, int):
            each = [seed + env for env in range(self.batch.num_envs)]
        else:
            each = list(seed)[::count]
            if list(seed) != [own for own in each for _ in range(count)] or len(seed) != len(self):
                raise ArgumentError(
                    f"seeds are one number, or one for each of {len(self)} lanes, equal within an environment"
                )
        self._seed = each
        return [[own] for own in each for _ in range(count)]

    def get_env_attr(self, key: str, id: Ids = None) -> list[Any]:
        """Attribute of the vector environment per lane; spaces are those of one lane, ``"agent"`` is its agent."""
        ids = self._ids(id)
        if key == "agent":
            return [self.lanes.agents[lane % len(self.lanes.agents)] for lane in ids]
        place = self.lanes if key in ("observation_space", "action_space") else self.batch
        return [getattr(place, key)] * len(ids)

    def set_env_attr(self, key: str, value: Any, id: Ids = None) -> None:
        """Refuse: all lanes are one vector environment, whose attributes do not change.

        Raises
        ------
        ArgumentError
            Always.
        """
        raise ArgumentError(f'"{key}" cannot be set: make another environment with the arguments of make_vec')

    def render(self, **kwargs: Any) -> list[Any]:
        """Draw nothing."""
        return [None] * len(self)

    def close(self) -> None:
        """Stop the threads."""
        self.batch.close()
        self.is_closed = True

    def _ids(self, ids: Ids) -> np.ndarray:
        return np.arange(len(self.lanes)) if ids is None else np.atleast_1d(np.asarray(ids))


class _Acting:
    """What a policy does without exploration; the memory of a recurrent one begins anew with each episode."""

    def __init__(self, policy: Any, scales: Sequence[Any]):
        self.policy, self.scales, self.memory = policy, scales, None

    def __call__(self, seen: np.ndarray, first: bool) -> np.ndarray:
        for scale in self.scales:
            seen = scale.norm(seen)
        sampled = getattr(self.policy, "deterministic_eval", None)
        if sampled is not None:
            self.policy.deterministic_eval = True
        try:
            with torch.no_grad(), torch_train_mode(self.policy, enabled=False):
                acted = self.policy(Batch(obs=seen, info=Batch()), None if first else self.memory)
        finally:
            if sampled is not None:
                self.policy.deterministic_eval = sampled
        self.memory = acted.get("state", None)
        mapped: np.ndarray = self.policy.map_action(acted.act)
        return mapped
