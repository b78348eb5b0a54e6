"""The PettingZoo parallel environment: dictionaries at the rim, arrays inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from powergrid.core import random
from powergrid.core.errors import ActionError, nearest
from powergrid.engine.results import Results, blank_results
from powergrid.envs.build import build
from powergrid.envs.export import EpisodeData, export_episode
from powergrid.envs.infos import Infos
from powergrid.envs.simulation import Simulation, World, chosen_days


class ArrayStep(NamedTuple):
    """One step without dictionaries: rows are agents, in the order of ``possible_agents``.

    Attributes
    ----------
    observation
        float32, ``(A, d_max)``.
    reward
        ``(A,)``.
    terminated, truncated
        Whether physics or the time limit ended the episode.
    output
        Everything else, by account; see :class:`powergrid.engine.state.Output`.
    """

    observation: np.ndarray
    reward: np.ndarray
    terminated: bool
    truncated: bool
    output: Any


class MultiAgentPowerGridEnv(ParallelEnv):
    """Devices, microgrids and operators as PettingZoo agents on an AC feeder.

    Parameters
    ----------
    config
        Preset name, path of a YAML file, mapping or resolved configuration.
    render_mode
        ``None`` or ``"rgb_array"``.
    max_cycles
        Episode length in ticks; the configuration's own if ``None``.
    days
        Split that episodes are drawn from, or day indices of the dataset.
    method
        Power-flow method, ``"auto"`` or a name.
    backend
        ``"fused"`` (the compiled step), ``"numpy"`` (the reference, for debugging) or ``"auto"`` for the faster one.
    **overrides
        Changes to the configuration by keyword, such as ``time_step=3600``.

    Raises
    ------
    ConfigError
        If the configuration cannot be used; carries every problem found.
    """

    metadata = {  # noqa: RUF012  (PettingZoo reads it from the class)
        "name": "powergrid_v2",
        "render_modes": ["rgb_array"],
        "is_parallelizable": True,
        "render_fps": 4,
    }

    def __init__(
        self,
        config: Any,
        *,
        render_mode: str | None = None,
        max_cycles: int | None = None,
        days: str | Sequence[int] = "train",
        method: str = "auto",
        backend: str = "auto",
        **overrides: Any,
    ):
        if max_cycles is not None:
            overrides["episode_length"] = max_cycles
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode "{render_mode}" is not available; use None or "rgb_array"')
        self._arguments = (config, render_mode, days, method, backend, overrides)
        self.render_mode = render_mode
        self.world: World = build(config, method=method, **overrides)
        self._simulation = Simulation(self.world, backend)
        self._days = chosen_days(self.world, days)
        layout = self.world.layout
        self.possible_agents = list(layout.actors)
        self.agents: list[str] = []
        self.constraint_names = layout.ledger.cost_names
        self.money_names = layout.ledger.money_names
        sizes = [len(entries) for entries in layout.action_entries]
        width = self._action_width = layout.action_size
        self._action_rows = np.concatenate(
            [row * width + np.arange(size) for row, size in enumerate(sizes)] or [np.zeros(0, dtype=int)]
        ).astype(int)
        self._action_sizes = sizes
        several = len(self.possible_agents) > 1  # of one key, itemgetter gives the value itself
        self._rows_of = itemgetter(*self.possible_agents) if several else self._each_row
        self._low, self._high = layout.view.low.astype(np.float32), layout.view.high.astype(np.float32)
        self._state: Any = None
        self._key = random.key_from_seed(np, np.array(0))
        self._episode = 0
        self._output: Any = None
        self._first = np.zeros(0, dtype=np.float32)  # central state after a reset
        self._tick, self._ended = 0, (False, False)
        self._bind_agents()

    @classmethod
    def from_config(cls, source: Any, **keywords: Any) -> MultiAgentPowerGridEnv:
        """The environment of a preset, YAML file or mapping."""
        return cls(source, **keywords)

    def __reduce__(self) -> tuple:
        config, render_mode, days, method, backend, overrides = self._arguments
        given = {"render_mode": render_mode, "days": days, "method": method, "backend": backend}
        return _rebuild, (type(self), config, {**given, **overrides})

    # -- spaces -----------------------------------------------------------------------------------------------

    @cached_property
    def observation_spaces(self) -> dict[str, Box]:
        """Spaces of all possible agents, float32 with finite bounds."""
        sizes = self.world.layout.view.sizes
        return {
            agent: Box(self._low[row, : sizes[row]], self._high[row, : sizes[row]], dtype=np.float32)
            for row, agent in enumerate(self.possible_agents)
        }

    @cached_property
    def action_spaces(self) -> dict[str, Box]:
        """Spaces of all possible agents, [-1, 1]."""
        return {
            agent: Box(-1.0, 1.0, shape=(size,), dtype=np.float32)
            for agent, size in zip(self.possible_agents, self._action_sizes, strict=True)
        }

    def observation_space(self, agent: str) -> Box:
        """Observation space of one agent, the same object at each call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """Action space of one agent, the same object at each call."""
        return self.action_spaces[agent]

    def observation_labels(self, agent: str) -> tuple[str, ...]:
        """What each number of the agent's observation is, with its unit."""
        return self.world.layout.view.labels(self.possible_agents.index(agent))

    def action_labels(self, agent: str) -> tuple[str, ...]:
        """What each number of the agent's action sets, with the unit of its physical range."""
        entries = self.world.layout.action_entries[self.possible_agents.index(agent)]
        return tuple(entry.label(owner) for owner, entry in entries)

    @cached_property
    def state_space(self) -> Box:
        """Space of `state`."""
        view = self.world.layout.view
        entries = [view.entries[i][1] for i in view.central]
        low, high = np.array([(entry.low, entry.high) for entry in entries], dtype=np.float32).reshape(-1, 2).T
        return Box(low, high, dtype=np.float32)

    def agent(self, id: str) -> Any:
        """The agent object of that name, device, coordinator or operator."""
        for agent in self.world.agents:
            if agent.id == id:
                return agent
        raise KeyError(f'no agent "{id}"; {nearest(id, [agent.id for agent in self.world.agents])}')

    def _bind_agents(self) -> None:
        """Give the acting agents' objects their spaces and labels."""
        by_id = {agent.id: agent for agent in self.world.agents}
        for id in self.possible_agents:
            by_id[id].observation_labels = self.observation_labels(id)
            by_id[id].action_labels = self.action_labels(id)
            by_id[id].observation_space = self.observation_space(id)
            by_id[id].action_space = self.action_space(id)

    # -- episodes ---------------------------------------------------------------------------------------------

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode.

        Parameters
        ----------
        seed
            Decides everything that follows; without it the next episode of the running seed begins.
        options
            ``{"day": d}`` begins on day `d` of the dataset instead of a drawn one.
        """
        if seed is not None:
            self._key, self._episode = random.key_from_seed(np, np.array(seed % 2**32)), 0
        key = random.fold_in(np, self._key, np.array(self._episode))
        self._episode += 1
        day = (options or {}).get("day")
        drawn = np.int32(self._checked_day(day)) if day is not None else self.world.draw_day(np, key, self._days)
        self._state, observation, self._first = self._simulation.reset(key, np.asarray(drawn, dtype=np.int32))
        self._output, self._tick = None, 0
        self.agents = list(self.possible_agents)
        for agent in self.world.agents:
            agent.forget()
        seen = observation.astype(np.float32)
        return self._by_agent(seen), {agent: {"day": int(drawn)} for agent in self.agents}

    def step(self, actions: Mapping[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Advance by one tick.

        Parameters
        ----------
        actions
            One vector in [-1, 1] for every live agent; numbers outside are clipped and counted in ``info["clipped"]``.

        Raises
        ------
        ActionError
            If an action is missing, of the wrong shape or not finite; names the agent.
        """
        if not self.agents:
            raise ActionError("the episode is over: call reset() before the next step()")
        results = self._advance(self._stack(actions))
        live, (terminated, truncated) = self.agents, self._ended
        rewards = dict(zip(live, results.reward[0].tolist(), strict=True))
        observations, infos = self._by_agent(results.observation[0]), Infos(live, lambda _: self._infos(results))
        if terminated or truncated:
            self.agents = []
        return observations, rewards, dict.fromkeys(live, terminated), dict.fromkeys(live, truncated), infos

    def step_array(self, actions: np.ndarray) -> ArrayStep:
        """The same step without dictionaries.

        Parameters
        ----------
        actions
            ``(A, k_max)``; agents with shorter actions ignore the rest of their row.
        """
        results = self._advance(actions)
        terminated, truncated = self._ended
        return ArrayStep(results.observation[0], results.reward[0], terminated, truncated, self._output)

    def _advance(self, actions: np.ndarray) -> Results:
        """Advance by one tick; what agents are told, with one row in front."""
        results = blank_results(self.world.layout, 1)
        self._state, self._output = self._simulation.advance(self._state, actions, results, keep=True)
        self._tick += 1
        given = self.world.layout.settings
        terminated = given.terminate_on_divergence and not results.converged[0]
        self._ended = terminated, self._tick >= given.episode_length and not terminated
        return results

    def state(self) -> np.ndarray:
        """State for a central critic: everything that any agent sees, once; float32."""
        space = self.state_space
        central = self._first if self._output is None else self._output.central
        return np.clip(central, space.low, space.high).astype(np.float32)

    def _stack(self, actions: Mapping[str, Any]) -> np.ndarray:
        """Actions of all agents as ``(A, k_max)``, checked."""
        stacked = np.zeros((len(self.possible_agents), self._action_width))
        if not self.possible_agents:
            return stacked
        try:
            rows = self._rows_of(actions)
            flat = np.concatenate(rows, dtype=float, casting="same_kind")
            fits = flat.ndim == 1 and list(map(len, rows)) == self._action_sizes
        except (KeyError, TypeError, ValueError) as error:
            raise self._action_error(actions) from error
        if not fits or not np.isfinite(flat).all():
            raise self._action_error(actions)
        stacked.reshape(-1)[self._action_rows] = flat
        return stacked

    def _each_row(self, actions: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(actions[agent] for agent in self.possible_agents)

    def _action_error(self, actions: Mapping[str, Any]) -> ActionError:
        """The sentence for the first action that is wrong."""
        for agent, size in zip(self.possible_agents, self._action_sizes, strict=True):
            shape = (size,)
            if agent not in actions:
                given = ", ".join(map(str, actions)) or "none"
                return ActionError(f'no action for agent "{agent}"; actions were given for: {given}')
            try:
                row = np.asarray(actions[agent], dtype=float)
            except (TypeError, ValueError):
                return ActionError(f'action of agent "{agent}" is not a vector of numbers: {actions[agent]!r}')
            if row.shape != shape:
                labels = ", ".join(self.action_labels(agent))
                return ActionError(f'action of agent "{agent}" has shape {row.shape}, expected {shape}: {labels}')
            if not np.isfinite(row).all():
                label = self.action_labels(agent)[int(np.flatnonzero(~np.isfinite(row))[0])]
                return ActionError(f'action of agent "{agent}" is not finite at {label}: {row.tolist()}')
        return ActionError("actions could not be read")

    def _by_agent(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        sizes = self.world.layout.view.sizes
        if min(sizes, default=0) == rows.shape[1]:  # nobody's row is padded
            return dict(zip(self.possible_agents, rows, strict=True))
        return {agent: row[:size] for agent, row, size in zip(self.possible_agents, rows, sizes, strict=True)}

    def _infos(self, results: Results) -> dict[str, dict[str, Any]]:
        converged = bool(results.converged[0])
        columns = zip(
            self.possible_agents,
            results.cost[0].tolist(),
            results.costs[0],
            results.money[0],
            results.due[0].tolist(),
            results.clipped[0].tolist(),
            results.available[0].tolist(),
            strict=False,  # behind the rows of acting agents there are those of others
        )
        return {
            agent: {
                "cost": cost,
                "costs": costs,
                "money": money,
                "converged": converged,
                "due": due,
                "available": available,
                "clipped": clipped,
            }
            for agent, cost, costs, money, due, clipped, available in columns
        }

    def named(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """An agent's info with its rows turned into names."""
        return {
            **info,
            "costs": dict(zip(self.constraint_names, np.asarray(info["costs"]).tolist(), strict=True)),
            "money": dict(zip(self.money_names, np.asarray(info["money"]).tolist(), strict=True)),
        }

    @property
    def cost_limits(self) -> np.ndarray:
        """Limit of each constraint over an episode [$], for constrained RL: no priced violation at all."""
        return np.zeros(len(self.constraint_names))

    @property
    def backend(self) -> str:
        """What runs the steps: ``"fused"`` or ``"numpy"``."""
        return self._simulation.backend

    # -- looking in -------------------------------------------------------------------------------------------

    @property
    def output(self) -> Any:
        """Full output of the last step, ``None`` after a reset; see :class:`powergrid.engine.state.Output`."""
        return self._output

    def global_state(self) -> dict[str, float]:
        """Label to value of everything that any agent sees."""
        view = self.world.layout.view
        labels = (view.entries[i][1].label(view.entries[i][0]) for i in view.central)
        return dict(zip(labels, self.state().tolist(), strict=True))

    def policy_actions(self, policy: Any) -> dict[str, np.ndarray]:
        """Actions that a local policy, by name or as a function, would take now for every agent."""
        actions = self.policy_array(policy)
        return {
            agent: actions[i, :size].astype(np.float32)
            for i, (agent, size) in enumerate(zip(self.possible_agents, self._action_sizes, strict=True))
        }

    def policy_array(self, policy: Any) -> np.ndarray:
        """As `policy_actions`, ``(A, k_max)`` in float64."""
        if isinstance(policy, str):
            from powergrid.plugins.registries import POLICIES

            policy = POLICIES.get(policy)
        return self._simulation.decide(self._state, policy)

    def describe(self) -> str:
        """Every agent's observation and action entries with units and bounds, as text; hours ahead share a line."""
        view = self.world.layout.view
        lines = []
        for i, agent in enumerate(self.possible_agents):
            seen = [view.entries[j] for j in view.index[i, : view.sizes[i]]]
            acts = self.world.layout.action_entries[i]
            lines += [f"{agent}", f"  observes {len(seen)} numbers", *_entry_lines(seen)]
            lines += [f"  acts with {len(acts)} numbers", *_entry_lines(acts)]
        return "\n".join(lines)

    def render(self) -> np.ndarray | None:
        """Picture of the feeder coloured by voltage, ``(height, width, 3)`` uint8; ``None`` without a render mode."""
        if self.render_mode is None:
            return None
        from powergrid.networks.drawing import picture

        flow = None if self._output is None else self._output.flow
        return picture(self.world.network, None if flow is None else flow.v_pu, None if flow is None else flow.loading)

    def close(self) -> None:
        """Nothing to release."""

    def export_episode(self, day: int, seed: int = 0) -> EpisodeData:
        """All that an optimiser needs of one episode; see :func:`powergrid.envs.export.export_episode`."""
        return export_episode(self.world, self._checked_day(day), seed)

    def _checked_day(self, day: Any) -> int:
        count = len(self.world.table) // self.world.ticks_per_day
        if not (isinstance(day, (int, np.integer)) and 0 <= day < count):
            raise ValueError(f"day {day!r} is not a whole number from 0 to {count - 1}")
        return int(day)


class PowerGridEnv(MultiAgentPowerGridEnv):
    """The name the proposal's quickstart uses for :class:`MultiAgentPowerGridEnv`."""


def _entry_lines(entries: Sequence[tuple[str, Any]]) -> list[str]:
    """One line an entry; hours ahead of one series that follow each other, ``name+1h`` to ``name+24h``, share one."""
    lines = []
    for (owner, _, _, ahead), run in groupby(entries, key=_series_of):
        found = [entry for _, entry in run]
        first, last = found[0], found[-1]
        if ahead and last is not first:
            found = [first._replace(name=f"{first.name} ... +{last.name.rpartition('+')[2]}")]
        lines += [f"    {entry.label(owner):<44} {entry.low:>10g} ... {entry.high:g}" for entry in found]
    return lines


def _series_of(item: tuple[str, Any]) -> tuple[str, str, str, bool]:
    """Owner, name without its hours ahead, unit, and whether it lies ahead."""
    owner, entry = item
    name, plus, _ = entry.name.rpartition("+")
    return owner, name if plus else entry.name, entry.unit, bool(plus)


def _rebuild(cls: type, config: Any, keywords: dict[str, Any]) -> MultiAgentPowerGridEnv:
    return cls(config, **keywords)
