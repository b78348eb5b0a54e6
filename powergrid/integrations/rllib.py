"""Ray RLlib, new API stack: a ``MultiAgentEnv``, a configuration of PPO over a batch of environments, its policies.

Agents are grouped by role, and a model is shared by the agents of a role, by all of them, or by none.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from powergrid.core.errors import ArgumentError, ConfigError, Issue, MissingExtraError, nearest

try:
    import torch
    from ray.rllib.algorithms.algorithm import Algorithm
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.connectors.module_to_env import GetActions
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module import MultiRLModule, MultiRLModuleSpec, RLModuleSpec
    from ray.rllib.env.multi_agent_env import MultiAgentEnv
    from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("ray", "torch", "tree", "lz4"):
        raise
    raise MissingExtraError("ray[rllib] and torch", "rllib", __name__) from error

from powergrid.config.resolve import Source
from powergrid.envs.factory import make as make_parallel
from powergrid.envs.multi_agent.semi_markov_env import ALL, SemiMarkovEnv
from powergrid.envs.vector import VectorPowerGridEnv
from powergrid.integrations.rllib_parts import (
    ActorCritic,
    RewardScale,
    VectorEnvRunner,
    check_stateless,
    vector,
    with_state,
)

SHARES = {"role": "role", "all": "all", "none": None}
"""How many agents share a model, and the padding that gives them equal spaces."""
CRITICS = ("own", "central")
CORRECTING = -1.5
"""Logarithm of the exploration's standard deviation where actions correct a local policy; commands begin with 0."""
FORM = ("backend", "days", "normalize", "pad", "agent_id", "infos", "threads")


def make(
    cfg: Source, *, due_only: bool = False, central: bool = False, gamma: float = 1.0, **make_arguments: Any
) -> RLlibEnv:
    """Make one environment as RLlib's ``MultiAgentEnv``.

    Parameters
    ----------
    cfg
        As for :func:`powergrid.make`.
    due_only
        Whether only agents that must act next appear, each with the rewards of the interval since its last decision and
        the length of it as ``info["ticks"]``; see :class:`powergrid.SemiMarkovEnv`.
    central
        Whether the observation of every agent ends with the state for a central critic.
    gamma
        Discount per tick within an interval, with `due_only`.
    **make_arguments
        Those of :func:`powergrid.make`, changes to the configuration among them. By default observations are scaled
        (`normalize`) and agents of one role have equal spaces (``pad="role"``); without `due_only`, infos are empty.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used.
    """
    return RLlibEnv({"cfg": cfg, "due_only": due_only, "central": central, "gamma": gamma, **make_arguments})


def config(
    cfg: Source,
    *,
    share: str = "role",
    critic: str = "own",
    num_envs: int = 64,
    due_only: bool = False,
    gamma: float = 0.95,
    **make_vec_arguments: Any,
) -> PPOConfig:
    """Make a configuration of PPO with which RLlib trains the learning agents, ready for ``.build_algo()``.

    Parameters
    ----------
    cfg
        As for :func:`powergrid.make`.
    share
        Who shares a model: the agents of each ``"role"`` (see ``env.roles``), ``"all"`` agents, or ``"none"``.
    critic
        Whether critics see the observation of their agent, ``"own"``, or the state of the system as well,
        ``"central"`` (MAPPO: Yu et al., "The surprising effectiveness of PPO in cooperative multi-agent games",
        NeurIPS 2022). Actors act on their own observations in both cases.
    num_envs
        Environments that step together in each env runner.
    due_only
        Whether agents appear only when they must act (see :func:`make`). RLlib then steps its environments one by one.
    gamma
        Discount per tick. With `due_only`, RLlib discounts by that of the shortest interval from decision to decision.
    **make_vec_arguments
        Those of :func:`powergrid.make_vec`, changes to the configuration among them. By default observations are scaled
        (`normalize`), and agents that share a model have equal spaces (`pad`) and their number in their observations
        (`agent_id`).

    Returns
    -------
    PPOConfig
        Its ``env_config["cfg"]`` is the configuration with all changes, for :func:`powergrid.evaluate`. A model is an
        :class:`ActorCritic`, and rewards are scaled by :class:`RewardScale`.

    Raises
    ------
    ConfigError
        If the configuration or an argument cannot be used, no agent learns, or agents that share a model have different
        spaces.
    """
    for name, value, allowed in (("share", share, tuple(SHARES)), ("critic", critic, CRITICS)):
        if value not in allowed:
            hint = nearest(str(value), allowed) or f"one of {', '.join(allowed)}"
            raise ConfigError([Issue(name, f"{value!r} is not available", hint)])
    _check_api(make_vec_arguments)
    defaults = {"normalize": True, "pad": SHARES[share], "agent_id": share != "none"}
    arguments = {**defaults, **make_vec_arguments}
    form = {name: arguments.pop(name) for name in FORM if name in arguments}
    central = critic == "central"
    env = vector(1, cfg=cfg, central=central, **form, **arguments)
    if not env.possible_agents:
        raise ConfigError([Issue("agents", "no agent learns", 'give at least one of them "policy: learned"')])
    modules = _modules(env, share)
    settings = {"cfg": env.world.resolved, "central": central, **form}
    per_decision = gamma
    if due_only:
        settings |= {"due_only": True, "gamma": gamma}
        per_decision = gamma ** int(env.world.layout.slots.interval[: len(env.possible_agents)].min())
    batch_size = num_envs * min(env.world.layout.settings.episode_length, 128)
    of_agent = {agent: module for module, agents in modules.items() for agent in agents}
    made = PPOConfig().environment(RLlibEnv, env_config=settings, disable_env_checking=True)
    made.env_runners(
        num_env_runners=0,
        num_envs_per_env_runner=num_envs,
        rollout_fragment_length="auto",
        env_runner_cls=None if due_only else VectorEnvRunner,
    )
    made.multi_agent(policies=list(modules), policy_mapping_fn=partial(_module_of, of_agent))
    made.rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=_specs(env, modules)))
    made.learners(num_learners=0, learner_connector=partial(_scale, per_decision))
    made.training(
        gamma=per_decision,
        lambda_=0.9,
        lr=1e-3,
        train_batch_size_per_learner=batch_size,
        minibatch_size=min(batch_size, 1152),
        num_epochs=4,
        use_kl_loss=False,
        clip_param=0.2,
        vf_clip_param=float("inf"),
        vf_loss_coeff=0.5,
        grad_clip=0.5,
        entropy_coeff=0.0,
    )
    return made


def as_policy(source: Algorithm | str | Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Make a policy for :func:`powergrid.evaluate` from what RLlib has trained, without exploration.

    Parameters
    ----------
    source
        An algorithm that was built from :func:`config`, another one that trains an :class:`RLlibEnv`, or the folder of
        a checkpoint. RLlib reads checkpoints with ``pickle``: take them from sources that you trust.

    Returns
    -------
    callable
        For ``powergrid.evaluate(cfg, policy={"rllib": as_policy(algorithm)})``, where `cfg` is
        ``algorithm.config.env_config["cfg"]``, or the configuration with the changes that :func:`config` was given.

    Raises
    ------
    ArgumentError
        If `source` is no algorithm that trains an :class:`RLlibEnv`, and no checkpoint of one.
    ConfigError
        If a model is recurrent.
    """
    if isinstance(source, Algorithm):
        settings, modules = source.config, source.env_runner.module
        found = {"env": settings.env, "env_config": settings.env_config, "mapping": settings.policy_mapping_fn}
    else:
        found, modules = _checkpoint(Path(source))
    if found["env"] is not RLlibEnv:
        raise ArgumentError(f"the algorithm trains {found['env']}; give one of {__name__}.config(...).build_algo()")
    arguments = {**found["env_config"]}
    central = arguments.pop("central", False)
    for name in ("due_only", "gamma"):
        arguments.pop(name, None)
    env = vector(1, central=False, **arguments)
    of_agent = {agent: found["mapping"](agent, None) for agent in env.possible_agents}
    for name in sorted({*of_agent.values()}):
        check_stateless(name, modules[name])
    more = env.state_space.shape[0] if central else 0
    return env.for_evaluation(partial(_acting, modules, of_agent, more))


class RLlibEnv(MultiAgentEnv):
    """One environment for RLlib; every `reset` and `step` returns dictionaries of its own.

    Parameters
    ----------
    config
        Arguments of :func:`make`, ``cfg`` among them.

    Attributes
    ----------
    env
        The parallel environment.
    possible_agents, agents
        Learning agents, and those of the running episode.
    observation_spaces, action_spaces
        Spaces by agent.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        arguments = dict(config)
        cfg, due_only = arguments.pop("cfg"), arguments.pop("due_only", False)
        self._central, gamma = arguments.pop("central", False), arguments.pop("gamma", 1.0)
        arguments.pop("threads", None)
        _check_api(arguments)
        infos = "flat" if due_only else "none"
        self.env = make_parallel(cfg, **{"normalize": True, "pad": "role", "infos": infos, **arguments})
        self._stepped: Any = SemiMarkovEnv(self.env, gamma=gamma) if due_only else self.env
        self.render_mode = self.env.render_mode
        self.possible_agents = list(self.env.possible_agents)
        self.agents = list(self.possible_agents)
        self.observation_spaces, self.action_spaces = dict(self.env.observation_spaces), dict(self.env.action_spaces)
        if self._central:
            self.observation_spaces = with_state(self.observation_spaces, self.env.state_space)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode.

        Parameters
        ----------
        seed, options
            As for the parallel environment.

        Returns
        -------
        observations, infos
            Of the agents that are there or, with `due_only`, must act next.
        """
        observations, infos = self._stepped.reset(seed=seed, options=options)
        self.agents = list(self.env.agents)
        return self._seen(observations), dict(infos)

    def step(
        self, action_dict: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Act.

        Parameters
        ----------
        action_dict
            One vector in [-1, 1] for each agent whose observation came last.

        Returns
        -------
        observations, rewards, terminateds, truncateds, infos
            By agent. ``"__all__"`` is true in `truncateds` where the episode has ended at its time limit, and in
            `terminateds` where it has ended otherwise; an agent that leaves before is terminated alone.
        """
        observations, rewards, terminated, truncated, infos = self._stepped.step(action_dict)
        self.agents = list(self.env.agents)
        ended, timed_out = not self.agents, any(truncated.values())
        return (
            self._seen(observations),
            dict(rewards),
            {**terminated, ALL: ended and not timed_out},
            {**truncated, ALL: ended and timed_out},
            dict(infos),
        )

    def render(self) -> Any:
        """Picture of the feeder, as of the parallel environment."""
        return self.env.render()

    def close(self) -> None:
        """Close the parallel environment."""
        self.env.close()

    def _seen(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self._central:
            return dict(observations)
        state = self.env.state()
        return {agent: np.concatenate([own, state]) for agent, own in observations.items()}


def _specs(env: VectorPowerGridEnv, modules: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What each model observes and does, and how its exploration begins."""
    spaces: tuple[Any, Any] = env.single_observation_space, env.single_action_space
    model = {"fcnet_hiddens": [64, 64], "log_std": CORRECTING if env.world.resolved.config.residual else 0.0}
    return {
        name: RLModuleSpec(
            module_class=ActorCritic,
            observation_space=spaces[0][first],
            action_space=spaces[1][first],
            model_config={**model, "actor_inputs": len(env.observation_labels(first))},
        )
        for name, (first, *_) in modules.items()
    }


def _check_api(arguments: Mapping[str, Any]) -> None:
    """Refuse another form than that of several agents, which a configuration with one agent has, too."""
    if "api" in arguments:
        hint = 'leave it out; powergrid.make(cfg, api="gymnasium") is an environment that RLlib takes as it is'
        raise ConfigError([Issue("api", f"{arguments['api']!r} is not available here", hint)])


def _scale(gamma: float, *spaces: Any) -> RewardScale:
    return RewardScale(*spaces, gamma=gamma)


def _module_of(modules: Mapping[str, str], agent: str, *_: Any, **__: Any) -> str:
    return modules[agent]


def _modules(env: VectorPowerGridEnv, share: str) -> dict[str, list[str]]:
    """Agents by model; those that share one must have equal spaces."""
    agents = env.possible_agents
    modules = {"all": {"agents": agents}, "none": {agent: [agent] for agent in agents}}.get(share, env.roles)
    spaces: tuple[Any, Any] = env.single_observation_space, env.single_action_space
    for first, *others in modules.values():
        for agent in others:
            if any(space[agent] != space[first] for space in spaces):
                hint = f'leave out pad, which is "{SHARES[share]}" here; or share="none"'
                raise ConfigError([Issue("pad", f'agents "{first}" and "{agent}" have different spaces', hint)])
    return {name: list(own) for name, own in modules.items()}


def _checkpoint(folder: Path) -> tuple[dict[str, Any], MultiRLModule]:
    """Settings and models of a checkpoint of an algorithm, without Ray's processes."""
    file = folder / Algorithm.CLASS_AND_CTOR_ARGS_FILE_NAME
    models = folder / "learner_group" / "learner" / "rl_module"
    if not (file.is_file() and models.is_dir()):
        raise ArgumentError(
            f"{folder} is no checkpoint of an algorithm; give the folder that algorithm.save_to_path() wrote"
        )
    (settings,), _ = pickle.loads(file.read_bytes())["ctor_args_and_kwargs"]
    found = {"env": settings["env"], "env_config": settings["env_config"], "mapping": settings["policy_mapping_fn"]}
    return found, MultiRLModule.from_checkpoint(models)


def _acting(
    modules: Any, of_agent: Mapping[str, str], more: int, observations: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Actions of all agents without exploration, ``(days, k)``; actors do not see the `more` numbers of the state."""
    found = {}
    for agent, seen in observations.items():
        model = modules[of_agent[agent]]
        batch = {Columns.OBS: torch.as_tensor(np.pad(seen, ((0, 0), (0, more))), dtype=torch.float32)}
        given = model.forward_inference(batch)
        GetActions()(rl_module=modules, batch={of_agent[agent]: given}, episodes=[MultiAgentEpisode()], explore=False)
        found[agent] = np.clip(given[Columns.ACTIONS].detach().cpu().numpy(), -1.0, 1.0)
    return found
