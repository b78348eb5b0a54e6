"""Parts of RLlib's algorithms: an ``EnvRunner`` over the compiled batch of environments, models, scaled rewards.

Nothing of a tick is done per environment in Python: models act on all environments at once, and what they have seen and
done is cut into RLlib's episodes when a sample is complete.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.spaces import Dict as DictSpace
from gymnasium.vector.utils import batch_space
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.connectors.module_to_env import GetActions
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils import metrics as names
from scipy.signal import lfilter

from powergrid.config.resolve import Source
from powergrid.core.errors import ConfigError, Issue
from powergrid.envs.factory import make_vec
from powergrid.envs.vector import VectorPowerGridEnv


class VectorEnvRunner(MultiAgentEnvRunner):
    """Env runner whose environments step together, with one pass of each model for all of them.

    Its samples are of ``MultiAgentEpisode``, as those of RLlib's own runner. Callbacks run at the end of a sample only,
    and infos are empty.

    Raises
    ------
    ConfigError
        If there are connectors between environment and models, or a model is recurrent.
    """

    def __init__(self, config: Any, **kwargs: Any):
        for name in ("env_to_module_connector", "module_to_env_connector"):
            if getattr(config, f"_{name}") is not None:
                hint = "leave it out, or take RLlib's runner: .env_runners(env_runner_cls=MultiAgentEnvRunner)"
                raise ConfigError([Issue(name, "environments that step together have no connectors", hint)])
        super().__init__(config=config, **kwargs)
        self._choose = GetActions()
        self.module.foreach_module(check_stateless)

    def make_env(self) -> None:
        """Make the environments."""
        if self.env is not None:
            self.env.close()
        settings, self.num_envs = self.config.env_config, self.config.num_envs_per_env_runner
        self.env: Any = vector(self.num_envs, **settings)
        self._central = bool(settings.get("central"))
        self._agents = self.env.possible_agents
        self._sizes = [len(self.env.action_labels(agent)) for agent in self._agents]
        self._modules = [self.config.policy_mapping_fn(agent, None) for agent in self._agents]
        self._rows = {
            name: [k for k, own in enumerate(self._modules) if own == name] for name in dict.fromkeys(self._modules)
        }
        slices = list(self.env.observation_slices.values())
        state = np.arange(self.env.state_space.shape[0] * self._central) + slices[-1].stop
        self._columns = {
            name: np.stack([np.append(np.r_[slices[row]], state) for row in rows]) for name, rows in self._rows.items()
        }
        self._needs_initial_reset = True

    def _reset(self) -> None:
        """Start episodes in all environments."""
        seed = None
        if self._needs_initial_reset and self.config.seed is not None:  # no two runners share an environment's seed
            seed = int(self.config.seed + (self.worker_index or 0) * self.num_envs + 1e6 * self.config.in_evaluation)
        self._seen = self._with_state(self.env.reset_array(seed=seed))
        shape = self.num_envs, len(self._agents)
        self._over, self._ids = np.zeros(self.num_envs, dtype=bool), [MultiAgentEpisode().id_ for _ in range(shape[0])]
        self._paid, self._lengths, self._ticks = np.zeros(shape), np.zeros(shape, dtype=int), np.zeros(shape[0], int)
        self._begun = np.full(self.num_envs, time.perf_counter())

    def _with_state(self, observation: np.ndarray) -> np.ndarray:
        return np.concatenate([observation, self.env.state()], axis=1) if self._central else observation

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[MultiAgentEpisode]:
        """Sample at least so many steps, or episodes, of all environments together."""
        if force_reset or num_episodes is not None or self._needs_initial_reset:
            self._reset()
        self._needs_initial_reset = num_episodes is not None
        wanted, column = (num_timesteps, 0) if num_episodes is None else (num_episodes, 1)
        if num_episodes is None and self.config.count_steps_by == "agent_steps":
            column = 2
        sampled, ticks, acted = np.zeros(3, dtype=int), list[_Tick](), list[dict[tuple[str, str], np.ndarray]]()
        while sampled[column] < wanted:
            given = self._act(explore, random_actions)
            actions = np.zeros((*self._paid.shape, max(self._sizes)))
            for name, rows in self._rows.items():
                own = given[name, Columns.ACTIONS]
                actions[:, rows, : own.shape[-1]] = np.clip(own, -1.0, 1.0)
            valid = ~self._over  # where an episode is over, the tick starts the next one
            there = self.env.alive & valid[:, None]
            done = self.env.step_array(actions)
            ticks.append(_Tick(self._seen, done.reward, valid, there, done.terminated, done.truncated, done.left))
            acted.append(given)
            self._seen, self._over = self._with_state(done.observation), done.terminated | done.truncated
            sampled += valid.sum(), self._over.sum(), there.sum()
        return self._episodes(_Tick(*map(np.stack, zip(*ticks, strict=True))), acted, num_episodes is None)

    def _act(self, explore: bool, at_random: bool) -> dict[tuple[str, str], np.ndarray]:
        """What the models give for the last observations, ``(E, n, ...)`` by model and column."""
        found = {}
        for name, columns in self._columns.items():
            model, seen = self.module[name], self._seen[:, columns]
            if at_random:
                size = self._sizes[self._rows[name][0]]
                given = {Columns.ACTIONS: torch.rand(seen.shape[0] * seen.shape[1], size) * 2.0 - 1.0}
            else:
                batch = {Columns.OBS: torch.from_numpy(seen).flatten(0, 1).to(self._device)}
                given = model.forward_exploration(batch) if explore else model.forward_inference(batch)
                self._choose(
                    rl_module=self.module, batch={name: given}, episodes=[MultiAgentEpisode()], explore=explore
                )
            for column, value in given.items():
                found[name, column] = value.detach().cpu().numpy().reshape(*seen.shape[:2], *value.shape[1:])
        return found

    def _episodes(self, ticks: _Tick, acted: list[Any], unfinished: bool) -> list[MultiAgentEpisode]:
        """Episodes of what was recorded, the `unfinished` ones too."""
        seen = np.concatenate([ticks.seen, self._seen[None]])
        columns = {key: np.stack([given[key] for given in acted]) for key in acted[0]}
        views = {name: seen[:, :, own] for name, own in self._columns.items()}
        found = []
        for env in range(self.num_envs):
            edges = np.flatnonzero(np.diff(ticks.valid[:, env], prepend=False, append=False))
            for begin, end in edges.reshape(-1, 2).tolist():
                ends = bool(ticks.terminated[end - 1, env]), bool(ticks.truncated[end - 1, env])
                if unfinished or any(ends):
                    found.append(self._episode(ticks, columns, views, env, slice(begin, end), ends))
        steps = int(ticks.valid.sum())
        self._log_env_steps(self._metrics_num_env_steps_sampled, steps)
        self._log(names.NUM_ENV_STEPS_SAMPLED, names.NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, with_throughput=True)
        for row, (agent, module) in enumerate(zip(self._agents, self._modules, strict=True)):
            for key, last, who in (
                (names.NUM_AGENT_STEPS_SAMPLED, names.NUM_AGENT_STEPS_SAMPLED_LIFETIME, agent),
                (names.NUM_MODULE_STEPS_SAMPLED, names.NUM_MODULE_STEPS_SAMPLED_LIFETIME, module),
            ):
                self._log((key, who), (last, who), int(ticks.there[:, :, row].sum()))
        return found

    def _episode(
        self, ticks: _Tick, columns: Any, views: Any, env: int, when: slice, ends: tuple[bool, bool]
    ) -> MultiAgentEpisode:
        """What one environment has done in some ticks; the counters of its episode go on, or begin anew."""
        id, mapping = self._ids[env], self.config.policy_mapping_fn
        whole = MultiAgentEpisode(id, env_t_started=int(self._ticks[env]), agent_to_module_mapping_fn=mapping)
        whole.env_t += when.stop - when.start
        whole.is_terminated, whole.is_truncated = ends
        for row, (agent, module) in enumerate(zip(self._agents, self._modules, strict=True)):
            present = np.flatnonzero(ticks.there[when, env, row]) + when.start
            if not len(present):
                continue
            first, last, place = present[0], present[-1] + 1, self._rows[module].index(row)
            gone = bool(ticks.left[last - 1, env, row])
            own = {name: column[first:last, env, place] for (of, name), column in columns.items() if of == module}
            whole.agent_episodes[agent] = SingleAgentEpisode(
                id_=f"{id}_{agent}",
                agent_id=agent,
                module_id=module,
                multi_agent_episode_id=id,
                observations=views[module][first : last + 1, env, place],
                actions=own.pop(Columns.ACTIONS),
                rewards=ticks.reward[first:last, env, row],
                infos=[{}] * (last - first + 1),
                extra_model_outputs=own,
                terminated=gone or ends[0],
                truncated=ends[1] and not gone,
                t_started=int(self._lengths[env, row]),
                len_lookback_buffer=0,
            )
        self._ticks[env] += when.stop - when.start
        self._paid[env] += ticks.reward[when, env].sum(0)
        self._lengths[env] += ticks.there[when, env].sum(0)
        if any(ends):
            self._log_end(env)
        return whole

    def _log_end(self, env: int) -> None:
        """Log the episode of an environment, and begin to count the next one."""
        paid, now = self._paid[env], time.perf_counter()
        by_agent, steps = (dict(zip(self._agents, own.tolist(), strict=True)) for own in (paid, self._lengths[env]))
        by_module = {name: float(paid[rows].sum()) for name, rows in self._rows.items()}
        self._log_episode_metrics(
            int(self._ticks[env]), float(paid.sum()), now - self._begun[env], by_agent, by_module, steps
        )
        self._log(names.NUM_EPISODES, names.NUM_EPISODES_LIFETIME, 1)
        self._ids[env], self._begun[env] = MultiAgentEpisode().id_, now
        for count in (self._paid, self._lengths, self._ticks):
            count[env] = 0

    def _log(self, key: Any, lifetime: Any, count: int, **how: Any) -> None:
        self.metrics.log_value(key, count, reduce="sum")
        self.metrics.log_value(lifetime, count, reduce="lifetime_sum", **how)


class _Tick(NamedTuple):
    """What happened in one tick, with the environments in front; of several ticks, these in front of them."""

    seen: np.ndarray
    reward: np.ndarray
    valid: np.ndarray
    there: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    left: np.ndarray


class ActorCritic(TorchRLModule, ValueFunctionAPI, InferenceOnlyAPI):
    """An actor and a critic without shared layers, whose first actions are close to zero: they follow a corrected rule.

    ``model_config`` holds ``fcnet_hiddens``, the widths of the layers; ``log_std``, logarithm of the standard deviation
    with which exploration begins; and ``actor_inputs``, how many numbers of an observation the actor sees.
    """

    def setup(self) -> None:
        """Make the networks."""
        settings, (size,), (acts,) = self.model_config, self.observation_space.shape, self.action_space.shape
        self.actor = _network(settings["actor_inputs"], settings["fcnet_hiddens"], acts)
        self.critic = _network(size, settings["fcnet_hiddens"], 1)
        self.log_std = torch.nn.Parameter(torch.full((acts,), float(settings["log_std"])))
        with torch.no_grad():
            self.actor[-1].weight.mul_(0.01)
            self.actor[-1].bias.zero_()

    def _forward(self, batch: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        mean = self.actor(batch[Columns.OBS][..., : self.model_config["actor_inputs"]])
        return {Columns.ACTION_DIST_INPUTS: torch.cat([mean, self.log_std.expand_as(mean)], dim=-1)}

    def compute_values(self, batch: Mapping[str, Any], embeddings: Any = None) -> Any:
        """Values of the observations, ``(B,)``."""
        return self.critic(batch[Columns.OBS]).squeeze(-1)

    def get_non_inference_attributes(self) -> list[str]:
        """What env runners do without."""
        return ["critic"]


class RewardScale(ConnectorV2):
    """Divide rewards by the standard deviation of what was paid over an episode, discounted, for each model.

    Models then learn at one rate from dollars of any amount. RLlib's figures of returns remain dollars.
    """

    def __init__(self, observation_space: Any = None, action_space: Any = None, *, gamma: float, **_: Any):
        super().__init__(observation_space, action_space)
        self._gamma = gamma
        self._sums: dict[str, np.ndarray] = {}

    def __call__(self, *, batch: Any, episodes: Any, **_: Any) -> Any:
        """Add the scaled rewards to a batch for training."""
        own = list(self.single_agent_episode_iterator(episodes, agents_that_stepped_only=False))
        for episode in own:
            paid = lfilter([1.0], [1.0, -self._gamma], episode.get_rewards())
            sums = np.array([len(paid), paid.sum(), np.square(paid).sum()])
            self._sums[episode.module_id] = self._sums.get(episode.module_id, 0.0) + sums
        for episode in own:
            count, total, squares = self._sums[episode.module_id]
            spread = np.sqrt(max(squares / count - (total / count) ** 2, 1e-8))
            rewards = (episode.get_rewards() / spread).astype(np.float32)
            self.add_n_batch_items(batch, Columns.REWARDS, rewards, len(episode), episode)
        return batch


def _network(inputs: int, hidden: Sequence[int], outputs: int) -> Any:
    sizes = [inputs, *hidden]
    layers = [layer for size in pairwise(sizes) for layer in (torch.nn.Linear(*size), torch.nn.Tanh())]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], outputs))


def vector(num_envs: int, *, cfg: Source, central: bool = False, **arguments: Any) -> VectorPowerGridEnv:
    """Environments that step together, whose spaces hold the state for a `central` critic."""
    env = make_vec(cfg, num_envs, autoreset="next_step", **{**arguments, "infos": "none"})
    if central:
        own: Any = env.single_observation_space
        env.single_observation_space = DictSpace(with_state(own, env.state_space))
        env.observation_space = batch_space(env.single_observation_space, num_envs)
    return env


def with_state(spaces: Mapping[str, Any], state: Box) -> dict[str, Any]:
    """Spaces of observations that end with the state."""
    return {
        agent: Box(np.append(own.low, state.low), np.append(own.high, state.high), dtype=np.float32)
        for agent, own in spaces.items()
    }


def check_stateless(name: str, module: Any) -> None:
    """Refuse recurrent models, which need RLlib's connectors."""
    if module.is_stateful():
        raise ConfigError([Issue(f'model "{name}"', "it is recurrent", "take RLlib's MultiAgentEnvRunner for it")])
