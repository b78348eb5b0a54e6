"""BenchMARL: presets and configurations as its tasks, over the environments of TorchRL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import ArgumentError, MissingExtraError

try:
    from benchmarl.environments.common import Task, TaskClass
    from torchrl.data import Composite
    from torchrl.envs import EnvBase, RewardScaling
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("torch", "tensordict", "torchrl", "benchmarl"):
        raise
    raise MissingExtraError("benchmarl", "benchmarl", __name__) from error

from powergrid.config.resolve import Source
from powergrid.config.sources import preset_names
from powergrid.integrations import torchrl


def make(cfg: Source, *, reward_scale: float = 1.0, **make_vec_arguments: Any) -> PowerGridClass:
    """Make a task of BenchMARL from any preset or configuration.

    Parameters
    ----------
    cfg
        As for :func:`powergrid.make_vec`.
    reward_scale
        What rewards [$] are multiplied with, so that a critic learns numbers of about 1; returns in the logs are
        scaled, too.
    **make_vec_arguments
        Those of :func:`powergrid.integrations.torchrl.make`, changes to the configuration among them.

    Returns
    -------
    PowerGridClass
        For ``Experiment(task=...)`` and ``Benchmark(tasks=[...])``. Its name in logs and folders is that of the preset
        or file, or ``powergrid``.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, or agents of one role have different spaces.
    """
    name = "powergrid" if isinstance(cfg, Mapping) else Path(str(cfg)).stem
    task = PowerGridClass(name, {"cfg": cfg, "reward_scale": reward_scale, **make_vec_arguments})
    task.environment(1).close()
    return task


def as_policy(experiment: Any) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Make a policy for :func:`powergrid.evaluate` from an experiment, without exploration.

    Parameters
    ----------
    experiment
        Trained or reloaded ``Experiment`` with a task of :func:`make`.

    Returns
    -------
    callable
        For ``powergrid.evaluate(cfg, policy={"benchmarl": as_policy(experiment)})``, where `cfg` is
        ``experiment.task.cfg``.

    Raises
    ------
    ArgumentError
        If the task is another one, or the policy is recurrent.
    """
    if not isinstance(experiment.task, PowerGridClass):
        raise ArgumentError(f"the task of the experiment is {experiment.task}; give one of {__name__}.make")
    if experiment.model_config.is_rnn:
        raise ArgumentError("a recurrent model of BenchMARL reads its memory from roll-outs; evaluate one without")
    return torchrl.as_policy(experiment.policy, experiment.test_env)


class PowerGridClass(TaskClass):
    """A task of BenchMARL whose groups are the roles of the agents.

    Parameters
    ----------
    name
        Name of the task.
    config
        Arguments of :func:`make`.
    """

    def environment(self, num_envs: int, device: Any = None) -> torchrl.TorchRLEnv:
        """Make the environment of the task, without the transforms of BenchMARL."""
        arguments = {"cfg": self.name.lower(), **self.config}
        arguments.pop("reward_scale", None)
        return torchrl.make(num_envs=num_envs, device=device, **arguments)

    @property
    def cfg(self) -> Any:
        """The configuration with all changes, for :func:`powergrid.evaluate`."""
        return self.environment(1).cfg

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        """Make what makes the environment, a batch of `num_envs`; environment e gets the seed ``seed + e``."""

        def environment() -> EnvBase:
            env = self.environment(num_envs, device)
            if seed is not None:
                env.set_seed(seed)
            return env

        return environment

    def supports_continuous_actions(self) -> bool:
        """Whether actions may be continuous: always."""
        return True

    def supports_discrete_actions(self) -> bool:
        """Whether actions may be discrete: never, so that BenchMARL refuses IQL, VDN and QMIX."""
        return False

    def max_steps(self, env: EnvBase) -> int:
        """Ticks of an episode."""
        return int(torchrl.base_of(env).env.world.layout.settings.episode_length)

    def has_render(self, env: EnvBase) -> bool:
        """Whether there are pictures: never."""
        return False

    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        """Agents by role."""
        return dict(env.group_map)

    def observation_spec(self, env: EnvBase) -> Composite:
        """What agents observe, ``(role, "observation")``."""
        # for one environment; TorchRL's own such spec fails on the mask of agents that leave
        each = {role: env.observation_spec[role, "observation"][0] for role in env.group_map}
        return Composite({role: Composite({"observation": seen}, shape=seen.shape[:1]) for role, seen in each.items()})

    def info_spec(self, env: EnvBase) -> Composite | None:
        """Nothing: infos are not part of the batch."""

    def state_spec(self, env: EnvBase) -> Composite:
        """``"state"`` for a central critic: everything that any agent observes, once."""
        return Composite({"state": env.observation_spec["state"][0]})

    def action_spec(self, env: EnvBase) -> Composite:
        """What agents choose, ``(role, "action")``."""
        return env.full_action_spec_unbatched

    def action_mask_spec(self, env: EnvBase) -> Composite | None:
        """Nothing: masks are for discrete actions."""

    def get_env_transforms(self, env: EnvBase) -> list[Any]:
        """Scale rewards."""
        keys = [(role, "reward") for role in env.group_map]
        return [RewardScaling(0.0, self.config.get("reward_scale", 1.0), in_keys=keys, out_keys=keys)]

    @staticmethod
    def env_name() -> str:
        """Name of the environment in logs and folders."""
        return "powergrid"


class _Presets(Task):
    """Tasks of the presets, as an enumeration of BenchMARL."""

    @staticmethod
    def associated_class() -> type[TaskClass]:
        """Class of the tasks."""
        return PowerGridClass

    def get_task(self, config: dict[str, Any] | None = None) -> TaskClass:
        """Make the task of a preset; `config` has the arguments of :func:`make` after `cfg`."""
        return make(self.name.lower(), **(config or {}))


PowerGridTask = _Presets("PowerGridTask", [name.upper() for name in preset_names()], module=__name__)
"""Tasks of BenchMARL by preset: ``PowerGridTask.P2P_MICROGRIDS.get_task()``."""
