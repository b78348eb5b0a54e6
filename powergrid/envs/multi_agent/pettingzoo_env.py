"""The PettingZoo parallel environment: dictionaries at the rim, arrays inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from powergrid.core import random
from powergrid.core.errors import ActionError, nearest
from powergrid.engine.results import Results, blank_results
from powergrid.envs.actions import ActionRows, checked_array
from powergrid.envs.arguments import checked_options
from powergrid.envs.describe import describe, tick_line
from powergrid.envs.infos import Infos, agent_infos, first_results
from powergrid.envs.spaces import agent_spaces, central_space
from powergrid.worlds import snapshot
from powergrid.worlds.build import build
from powergrid.worlds.days import checked_days, chosen_days
from powergrid.worlds.export import EpisodeData, export_episode
from powergrid.worlds.seeds import checked_seed, fresh_seed
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.snapshot import Snapshot
from powergrid.worlds.world import World


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
        ``None``, ``"rgb_array"`` (a picture of the feeder) or ``"human"`` (a line of text a tick on the terminal).
    max_cycles
        Episode length in ticks; the configuration's own if ``None``.
    days
        Split that episodes are drawn from, or day indices of the dataset; by default the training split, or the test
        split where the configuration says ``training.train: false``.
    method
        Power-flow method, ``"auto"`` or a name.
    backend
        ``"fused"`` (the compiled step), ``"numpy"`` (the reference, for debugging) or ``"auto"`` for the faster one.
    **overrides
        Changes to the configuration by keyword, such as ``time_step=3600``.

    Attributes
    ----------
    possible_agents, agents
        Acting agents, and those of the running episode.
    observation_spaces, action_spaces
        Spaces by agent: float32 with finite bounds, and [-1, 1].
    state_space
        Space of `state`.
    money_names, constraint_names
        Columns of ``info[agent]["money"]`` and ``["costs"]``.

    Raises
    ------
    ConfigError
        If the configuration cannot be used; carries every problem found.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (PettingZoo reads it from the class)
        "name": "powergrid_v2",
        "render_modes": ["human", "rgb_array"],
        "is_parallelizable": True,
        "render_fps": 4,
    }

    def __init__(
        self,
        config: Any,
        *,
        render_mode: str | None = None,
        max_cycles: int | None = None,
        days: str | Sequence[int] | None = None,
        method: str = "auto",
        backend: str = "auto",
        **overrides: Any,
    ):
        if max_cycles is not None:
            overrides["episode_length"] = max_cycles
        if render_mode not in (None, *self.metadata["render_modes"]):
            modes = ", ".join(f'"{mode}"' for mode in self.metadata["render_modes"])
            raise ValueError(f'render_mode "{render_mode}" is not available; use None, {modes}')
        self._arguments = (render_mode, days, backend)
        self.render_mode = render_mode
        self._furnish(build(config, method=method, **overrides))

    def _furnish(self, world: World) -> None:
        """Everything but an episode."""
        _, days, backend = self._arguments
        self.world = world
        self._simulation = Simulation(world, backend)
        self._days = chosen_days(world, days)
        layout = world.layout
        self.possible_agents = list(layout.actors)
        self.agents: list[str] = []
        self.constraint_names = layout.ledger.cost_names
        self.money_names = layout.ledger.money_names
        self._action_sizes = [len(entries) for entries in layout.action_entries]
        self._action_rows = ActionRows(layout.actors, self._action_sizes, layout.action_size, self.action_labels)
        self.observation_spaces, self.action_spaces = agent_spaces(layout)
        self.state_space = central_space(layout)
        self._state: Any = None
        self._seed: int | None = None
        self._key = np.zeros(2, dtype=np.uint32)
        self._episode = 0
        self._output: Any = None
        self._first = np.zeros(0, dtype=np.float32)  # central state where there is no output
        self._day, self._tick, self._ended = 0, 0, (False, False)
        self._bind_agents()

    @classmethod
    def from_config(cls, source: Any, **keywords: Any) -> MultiAgentPowerGridEnv:
        """The environment of a preset, YAML file or mapping."""
        return cls(source, **keywords)

    # -- copies -----------------------------------------------------------------------------------------------

    def get_state(self) -> Snapshot:
        """The running episode as a value, from which `set_state` goes on: devices, markets, random position, flow.

        ``env.output`` is no part of it.
        """
        state = self._state
        if state is not None:
            state = snapshot.value_of(getattr(state, "state", state))  # the compiled step keeps rows
        return Snapshot(
            configuration=self.world.digest,
            form=("parallel", 1),
            seed=self._seed,
            episode=self._episode,
            day=self._day,
            tick=self._tick,
            ended=self._ended,
            alive=bool(self.agents),
            state=state,
            central=np.array(self._first if self._output is None else self._output.central),
            devices=() if state is None else snapshot.saved_devices(self._simulation, state),
            mail={agent.id: tuple(agent.mailbox) for agent in self.world.agents if agent.mailbox},
        )

    def set_state(self, state: Snapshot) -> None:
        """Go on from a state of this environment or of another one of the same configuration, to the same bits.

        Raises
        ------
        ArgumentError
            If it is no state, or one of another configuration.
        """
        given = snapshot.check(state, self.world, ("parallel", 1))
        self._sow(given.seed)
        self._episode, self._day, self._tick, self._ended = given.episode, given.day, given.tick, given.ended
        self._state, self._output, self._first = None, None, given.central
        if given.state is not None:
            self._state = snapshot.resumed(self._simulation, given.state, given.devices)
        self.agents = list(self.possible_agents) if given.alive else []
        for agent in self.world.agents:
            agent.mailbox[:] = given.mail.get(agent.id, ())

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.world.resolved, self.world.method, self._arguments, self.get_state())

    def __deepcopy__(self, memo: dict[int, Any]) -> MultiAgentPowerGridEnv:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin._arguments, twin.render_mode = self._arguments, self.render_mode
        twin._furnish(snapshot.twin(self.world))
        twin.set_state(self.get_state())
        return twin

    # -- spaces -----------------------------------------------------------------------------------------------

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
            Whole number from 0 to 2**64 - 1 that decides everything that follows. Without it the next episode of the
            running stream begins; a new environment begins a stream of its own, from the operating system's entropy.
            :attr:`np_random_seed` holds the stream's seed.
        options
            ``{"day": d}`` begins on day `d` of the dataset instead of a drawn one.

        Raises
        ------
        ArgumentError
            If the seed, an option or the day is none; names it and what is allowed.
        """
        day = checked_options(options, ("day",)).get("day")
        given = None if day is None else checked_days(day, 1, self._day_count)[0]
        if seed is not None:
            self._sow(checked_seed(seed))
        elif self._seed is None:
            self._sow(fresh_seed())
        key = random.fold_in(np, self._key, np.array(self._episode))
        self._episode += 1
        drawn = np.asarray(self.world.draw_day(np, key, self._days) if given is None else given, dtype=np.int32)
        first = self._simulation.reset(key, drawn)
        self._state, self._first = first.state, first.central
        self._output, self._day, self._tick, self._ended = None, int(drawn), 0, (False, False)
        self.agents = list(self.possible_agents)
        for agent in self.world.agents:
            agent.forget()
        results = first_results(self.world.layout, first.observation, first.converged, first.available)
        self._show()
        return self._by_agent(results.observation[0]), self._told(results)

    def _sow(self, seed: int | None) -> None:
        """Begin the stream of episodes of a seed."""
        self._seed, self._episode = seed, 0
        if seed is not None:
            self._key = random.key_from_seed(np, np.array(seed, dtype=np.uint64))

    @property
    def np_random_seed(self) -> int:
        """Seed of the running stream of episodes: ``reset(seed=env.np_random_seed)`` begins it again."""
        if self._seed is None:
            self._sow(fresh_seed())
        assert self._seed is not None
        return self._seed

    def step(self, actions: Mapping[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Advance by one tick.

        Parameters
        ----------
        actions
            One vector in [-1, 1] for every live agent; numbers outside are clipped and counted in ``info["clipped"]``.

        Raises
        ------
        ActionError
            If an action is missing, of the wrong shape or not finite, or given for an agent that does not act; names
            the agent. If the episode is over.
        """
        live = self._live()
        results = self._advance(self._action_rows.stack(actions))
        terminated, truncated = self._ended
        rewards = dict(zip(live, results.reward[0].tolist(), strict=True))
        observations, infos = self._by_agent(results.observation[0]), self._told(results)
        return observations, rewards, dict.fromkeys(live, terminated), dict.fromkeys(live, truncated), infos

    def step_array(self, actions: np.ndarray) -> ArrayStep:
        """The same step without dictionaries.

        Parameters
        ----------
        actions
            ``(A, k_max)``; agents with shorter actions ignore the rest of their row.

        Raises
        ------
        ActionError
            If the actions are of another shape or not finite; names the agent. If the episode is over.
        """
        shape = (len(self.possible_agents), self.world.layout.action_size)
        self._live()
        results = self._advance(checked_array(actions, shape, self.possible_agents, self._action_sizes))
        terminated, truncated = self._ended
        return ArrayStep(results.observation[0], results.reward[0], terminated, truncated, self._output)

    def _advance(self, actions: np.ndarray) -> Results:
        """Advance by one tick; what agents are told, with one row in front."""
        results = blank_results(self.world.layout, 1)
        self._state, self._output = self._simulation.advance(self._state, actions, results, keep=True)
        self._tick += 1
        given = self.world.layout.settings
        terminated = given.terminate_on_divergence and not results.converged[0]
        self._ended = bool(terminated), self._tick >= given.episode_length and not terminated
        if any(self._ended):
            self.agents = []
        self._show()
        return results

    def _live(self) -> list[str]:
        """Agents of the running episode."""
        if self._state is None or any(self._ended):
            raise ActionError("the episode is over: call reset() before the next step()")
        return self.agents

    def _told(self, results: Results) -> dict[str, dict[str, Any]]:
        """Infos by agent, made when somebody looks."""
        day = self._day
        return Infos(self.possible_agents, lambda _: agent_infos(self.possible_agents, results, day))

    def state(self) -> np.ndarray:
        """State for a central critic: everything that any agent sees, once; float32."""
        space = self.state_space
        central = self._first if self._output is None else self._output.central
        return np.clip(central, space.low, space.high).astype(np.float32)

    def _by_agent(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        sizes = self.world.layout.view.sizes
        if min(sizes, default=0) == rows.shape[1]:  # nobody's row is padded
            return dict(zip(self.possible_agents, rows, strict=True))
        return {agent: row[:size] for agent, row, size in zip(self.possible_agents, rows, sizes, strict=True)}

    def named(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """An agent's info with its rows turned into names."""
        return {
            **info,
            "costs": dict(zip(self.constraint_names, np.asarray(info["costs"]).tolist(), strict=True)),
            "money": dict(zip(self.money_names, np.asarray(info["money"]).tolist(), strict=True)),
        }

    @property
    def accounts(self) -> dict[str, dict[str, Any]]:
        """What each account paid and what violations cost it in the last step [$], by name, ``{}`` after a reset.

        Besides the agents there are accounts that no agent owns: devices and coordinators with local policies, and the
        utility where nobody acts. All together they are all that the step cost.
        """
        if self._output is None:
            return {}
        rows = zip(self.world.layout.accounts, self._output.money, self._output.costs, strict=True)
        return {account: self.named({"money": money, "costs": costs}) for account, money, costs in rows}

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
        return describe(self.world.layout)

    def render(self) -> np.ndarray | None:
        """Picture of the feeder coloured by voltage, ``(height, width, 3)`` uint8, with ``"rgb_array"``.

        ``None`` otherwise: with ``"human"`` each reset and step prints its line by itself.
        """
        if self.render_mode != "rgb_array":
            return None
        from powergrid.studies.drawing import picture

        flow = None if self._output is None else self._output.flow
        return picture(self.world.network, None if flow is None else flow.v_pu, None if flow is None else flow.loading)

    def close(self) -> None:
        """Nothing to release."""

    def export_episode(self, day: int, seed: int = 0) -> EpisodeData:
        """All that an optimiser needs of one episode; see :func:`powergrid.worlds.export.export_episode`."""
        return export_episode(self.world, int(checked_days(day, 1, self._day_count)[0]), seed)

    @property
    def _day_count(self) -> int:
        return len(self.world.table) // self.world.ticks_per_day

    def _show(self) -> None:
        if self.render_mode == "human":
            print(tick_line(self.world, self._tick, self._day, self._output))


class PowerGridEnv(MultiAgentPowerGridEnv):
    """The name the proposal's quickstart uses for :class:`MultiAgentPowerGridEnv`."""


def _rebuild(
    cls: type[MultiAgentPowerGridEnv], resolved: Any, method: str, arguments: tuple[Any, ...], state: Snapshot
) -> MultiAgentPowerGridEnv:
    render_mode, days, backend = arguments
    env = cls(resolved, render_mode=render_mode, days=days, method=method, backend=backend)
    env.set_state(state)
    return env
