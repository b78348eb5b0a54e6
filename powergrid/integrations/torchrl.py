"""TorchRL: an ``EnvBase`` over the compiled batch of environments, with agents grouped by role."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from powergrid.core.errors import ArgumentError, ConfigError, Issue, MissingExtraError

try:
    import torch
    from tensordict import TensorDict
    from torchrl.data import Binary, Bounded, Composite, Unbounded
    from torchrl.envs import EnvBase, ExplorationType, set_exploration_type
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("torch", "tensordict", "torchrl"):
        raise
    raise MissingExtraError("torchrl", "torchrl", __name__) from error

from powergrid.config.resolve import Source
from powergrid.envs.factory import make_vec
from powergrid.envs.vector import VectorPowerGridEnv

ENDS = ("done", "terminated", "truncated")


def make(cfg: Source, num_envs: int, *, device: Any = None, **make_vec_arguments: Any) -> TorchRLEnv:
    """Make many copies of an environment that step together as one environment of TorchRL.

    Parameters
    ----------
    cfg, num_envs
        As for :func:`powergrid.make_vec`.
    device
        Where tensors are; the steps are computed on the CPU.
    **make_vec_arguments
        Those of :func:`powergrid.make_vec`, changes to the configuration among them. By default observations are scaled
        (`normalize`) and agents of one role have equal spaces (``pad="role"``).

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, or agents of one role have different spaces.
    """
    arguments = {"normalize": True, "pad": "role", "infos": "none", **make_vec_arguments}
    return TorchRLEnv(make_vec(cfg, num_envs, autoreset="next_step", **arguments), device=device)


def as_policy(policy: Any, env: Any) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Make a policy for :func:`powergrid.evaluate` from a module that acts on observations, without exploration.

    Parameters
    ----------
    policy
        Module that reads ``(role, "observation")`` and writes ``(role, "action")`` of every role.
    env
        What :func:`make` returns with the arguments of the training, for any number of environments; also transformed,
        where the transforms change no observation.

    Returns
    -------
    callable
        For ``powergrid.evaluate(env.cfg, policy={"torchrl": as_policy(policy, env)})``.

    Raises
    ------
    ArgumentError
        If `env` is no environment of :func:`make`.
    """
    base = base_of(env)

    def act(observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen = {
            role: {"observation": torch.as_tensor(np.stack([observations[agent] for agent in agents], axis=1))}
            for role, agents in base.group_map.items()
        }
        days = len(next(iter(observations.values())))
        with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
            acted = policy(TensorDict(seen, batch_size=(days,), device=base.device))
        return {
            agent: acted[role, "action"][:, row].cpu().numpy()
            for role, agents in base.group_map.items()
            for row, agent in enumerate(agents)
        }

    return base.env.for_evaluation(act)


def base_of(env: Any) -> TorchRLEnv:
    """The environment of :func:`make` inside transformed ones.

    Raises
    ------
    ArgumentError
        If there is none.
    """
    base = env
    while not isinstance(base, TorchRLEnv):
        if not hasattr(base, "base_env"):
            raise ArgumentError(f"env is {type(base).__name__}; give what {__name__}.make returned")
        base = base.base_env
    return base


class TorchRLEnv(EnvBase):
    """An environment of TorchRL with the batch ``(num_envs,)``, whose agents are grouped by role.

    Each role holds ``observation`` ``(E, n, d)``, ``action`` ``(E, n, k)`` in [-1, 1] and ``reward`` ``(E, n, 1)``;
    where agents join or leave, also ``mask`` ``(E, n)``, true for those that are there. ``state`` ``(E, s)`` is for a
    central critic. ``done``, ``terminated`` and ``truncated``, ``(E, 1)``, are those of the episode.

    Parameters
    ----------
    env
        The vector environment, where the next episode starts with the step after the last.
    device
        Where tensors are.

    Attributes
    ----------
    env
        The vector environment.
    cfg
        Its configuration with all changes, for :func:`powergrid.evaluate`.
    group_map
        Agents by role.

    Raises
    ------
    ConfigError
        If agents of one role have different spaces.
    """

    batch_locked = True

    def __init__(self, env: VectorPowerGridEnv, *, device: Any = None):
        super().__init__(device=device, batch_size=torch.Size([env.num_envs]))
        self.env, self.cfg = env, env.world.resolved
        self.group_map = {role: list(agents) for role, agents in env.roles.items()}
        self._next_seed: int | None = None
        rows = {agent: row for row, agent in enumerate(env.possible_agents)}
        self._rows = {role: [rows[agent] for agent in agents] for role, agents in self.group_map.items()}
        spaces: tuple[Any, Any] = env.single_observation_space, env.single_action_space
        _check_equal(self.group_map, spaces)
        seen, acts = spaces
        self._columns = {
            role: np.stack([np.r_[env.observation_slices[agent]] for agent in agents])
            for role, agents in self.group_map.items()
        }
        self._sizes = {role: acts[agents[0]].shape[0] for role, agents in self.group_map.items()}
        self._changes = env.world.layout.actors_change
        self._set_specs({role: seen[agents[0]] for role, agents in self.group_map.items()})

    def _set_specs(self, seen: dict[str, Any]) -> None:
        """Set the specs from the observation space of one agent of each role."""
        count = self.env.num_envs
        shapes = {role: (count, len(rows)) for role, rows in self._rows.items()}

        def box(space: Any, *shape: int) -> Any:
            low, high = (torch.as_tensor(end).expand(*shape, *space.shape).clone() for end in (space.low, space.high))
            return Bounded(low, high, dtype=torch.float32)

        def by_role(name: str, leaves: dict[str, Any]) -> dict[str, Any]:
            return {role: Composite({name: leaf}, shape=shapes[role]) for role, leaf in leaves.items()}

        observed = by_role("observation", {role: box(space, *shapes[role]) for role, space in seen.items()})
        if self._changes:
            for role, shape in shapes.items():
                observed[role]["mask"] = Binary(shape=shape, dtype=torch.bool)
        acts = {role: Bounded(-1.0, 1.0, shape=(*shapes[role], size)) for role, size in self._sizes.items()}
        paid = {role: Unbounded(shape=(*shape, 1)) for role, shape in shapes.items()}
        ends = {name: Binary(shape=(count, 1), dtype=torch.bool) for name in ENDS}
        self.observation_spec = Composite({**observed, "state": box(self.env.state_space, count)}, shape=(count,))
        self.action_spec = Composite(by_role("action", acts), shape=(count,))
        self.reward_spec = Composite(by_role("reward", paid), shape=(count,))
        self.done_spec = Composite(ends, shape=(count,))

    def _reset(self, tensordict: Any = None, **options: Any) -> Any:
        """Start episodes in all environments, or in those of the entry ``_reset``."""
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is not None and not mask.all():
            options = {**options, "reset_mask": mask.reshape(-1).cpu().numpy()}
        seen = self.env.reset_array(seed=self._next_seed, options=options)
        self._next_seed = None
        never = torch.zeros(self.env.num_envs, 1, dtype=torch.bool)
        ends = {name: never.clone() for name in ENDS}
        return self._tensors(seen, self.env.alive, {role: {} for role in self._rows}, ends)

    def _step(self, tensordict: Any) -> Any:
        """Advance every environment by one tick."""
        actions = np.zeros((self.env.num_envs, len(self.env.possible_agents), max(self._sizes.values())))
        for role, rows in self._rows.items():
            actions[:, rows, : self._sizes[role]] = tensordict[role, "action"].detach().cpu().numpy()
        done = self.env.step_array(actions)
        rewards = {
            role: {"reward": torch.as_tensor(done.reward[:, rows, None], dtype=torch.float32)}
            for role, rows in self._rows.items()
        }
        flags = done.terminated | done.truncated, done.terminated, done.truncated
        ends = {name: torch.as_tensor(flag[:, None]) for name, flag in zip(ENDS, flags, strict=True)}
        return self._tensors(done.observation, done.alive, rewards, ends)

    def _tensors(
        self, seen: np.ndarray, alive: np.ndarray, known: dict[str, dict[str, Any]], ends: dict[str, Any]
    ) -> Any:
        """What a step or reset gives, from the observations ``(E, N)`` of all agents."""
        count = self.env.num_envs
        found: dict[str, Any] = {"state": torch.as_tensor(self.env.state()), **ends}
        for role, rows in self._rows.items():
            own = torch.as_tensor(seen[:, self._columns[role]])
            if self._changes:
                there = torch.as_tensor(alive[:, rows])
                own, known[role]["mask"] = torch.where(there[..., None], own, 0.0), there
            found[role] = TensorDict({"observation": own, **known[role]}, batch_size=(count, len(rows)))
        return TensorDict(found, batch_size=self.batch_size, device=self.device)

    def _set_seed(self, seed: int | None) -> None:
        """Set the seed of the next reset of all environments: environment e gets ``seed + e``."""
        self._next_seed = seed

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Stop the threads."""
        self.env.close()
        super().close(raise_if_closed=raise_if_closed)


def _check_equal(group_map: dict[str, list[str]], spaces: Iterable[Any]) -> None:
    """Refuse roles whose agents have different spaces."""
    for role, (first, *others) in group_map.items():
        for agent in others:
            if any(space[agent] != space[first] for space in spaces):
                hint = 'leave out pad, which is "role" here; "all" works too'
                message = f'agents "{first}" and "{agent}" of the role "{role}" have different spaces'
                raise ConfigError([Issue("pad", message, hint)])
