"""The PettingZoo parallel environment: dictionaries outside, arrays inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from powergrid.agents.base import Post
from powergrid.config.resolve import ResolvedConfig, Source
from powergrid.core import random
from powergrid.core.errors import ActionError
from powergrid.engine import schedule
from powergrid.engine.availability import Absences
from powergrid.engine.results import Results, blank_results
from powergrid.engine.state import Output
from powergrid.envs.actions import ActionRows, checked_array
from powergrid.envs.arguments import checked_options
from powergrid.envs.describe import tick_line
from powergrid.envs.form import Form
from powergrid.envs.infos import Infos, agent_infos, blank_infos, first_results
from powergrid.envs.multi_agent.inspection import InspectableEnv
from powergrid.envs.shapes import Shapes
from powergrid.worlds import snapshot
from powergrid.worlds.build import build
from powergrid.worlds.days import checked_days, chosen_days
from powergrid.worlds.export import EpisodeData, export_episode
from powergrid.worlds.schedules import SCHEDULES, Schedule
from powergrid.worlds.seeds import checked_seed, fresh_seed
from powergrid.worlds.simulation import Policy, Simulation
from powergrid.worlds.snapshot import Snapshot
from powergrid.worlds.world import World


class ArrayStep(NamedTuple):
    """One step without dictionaries; agents in the order of ``possible_agents``.

    Attributes
    ----------
    observation
        Numbers of all agents, float32 ``(N,)``; those of one agent are ``observation[env.observation_slices[agent]]``.
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
    output: Output


class MultiAgentPowerGridEnv(InspectableEnv):
    """Devices, microgrids and operators as PettingZoo agents on an AC feeder.

    Parameters
    ----------
    config
        Preset name, path of a YAML file, mapping or resolved configuration.
    render_mode
        ``None``, ``"rgb_array"`` (a picture of the feeder) or ``"human"`` (one line of text per tick on the terminal).
    max_cycles
        Episode length in ticks; the configuration's own if ``None``.
    days
        Split that episodes are drawn from, or day indices of the dataset; by default the training split, or the test
        split where the configuration says ``training.train: false``.
    method
        Power-flow method, ``"auto"`` or a name.
    backend
        ``"fused"`` (the compiled step), ``"numpy"`` (the reference, for debugging) or ``"auto"`` for the faster one.
    normalize, pad, agent_id, infos
        Form of observations, actions and infos; see :func:`powergrid.make`.
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
    observation_slices
        Numbers of each agent in the observation of `step_array`.
    money_names, constraint_names
        Columns of ``info[agent]["money"]`` and ``["costs"]``.
    silent
        Whether infos are empty.

    Raises
    ------
    ConfigError
        If the configuration cannot be used; ``issues`` holds every fault.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (PettingZoo reads it from the class)
        "name": "powergrid_v2",
        "render_modes": ["human", "rgb_array"],
        "is_parallelizable": True,
        "render_fps": 4,
    }

    def __init__(
        self,
        config: Source,
        *,
        render_mode: str | None = None,
        max_cycles: int | None = None,
        days: str | Sequence[int] | None = None,
        method: str = "auto",
        backend: str = "auto",
        normalize: bool = False,
        pad: str | None = None,
        agent_id: bool = False,
        infos: str = "flat",
        **overrides: Any,
    ):
        if max_cycles is not None:
            overrides["episode_length"] = max_cycles
        if render_mode not in (None, *self.metadata["render_modes"]):
            modes = ", ".join(f'"{mode}"' for mode in self.metadata["render_modes"])
            raise ValueError(f'render_mode "{render_mode}" is not available; use None, {modes}')
        self._arguments = (render_mode, days, backend, Form(normalize, pad, agent_id, infos).checked())
        self.render_mode = render_mode
        self._use_world(build(config, method=method, **overrides))

    def _use_world(self, world: World) -> None:
        """Set every attribute that follows from the world; no episode runs yet."""
        _, days, backend, form = self._arguments
        self.world = world
        self._shapes, self.silent = Shapes(world, form), form.infos == "none"
        self._simulation = Simulation(world, backend, own_agents=True)
        self._days = chosen_days(world, days)
        layout = world.layout
        self.possible_agents = list(layout.actors)
        self.agents: list[str] = []
        self.constraint_names = layout.ledger.cost_names
        self.money_names = layout.ledger.money_names
        self._action_sizes = list(self._shapes.action_sizes)
        self._action_rows = ActionRows(layout.actors, self._action_sizes, self._shapes.action_width, self.action_labels)
        self.observation_spaces, self.action_spaces = self._shapes.spaces()
        self.observation_slices = dict(zip(layout.actors, self._shapes.slices, strict=True))
        self._equal_sizes = self._shapes.runs
        # copies of these cost much less than new dictionaries
        self._flags = {flag: dict.fromkeys(self.possible_agents, flag) for flag in (False, True)}
        self._blank_infos = blank_infos(self.possible_agents)
        self.state_space = self._shapes.central_space()
        self._state: Any = None
        self._seed: int | None = None
        self._key = np.zeros(2, dtype=np.uint32)
        self._episode = 0
        self._output = None
        self._first_central = np.zeros(0, dtype=np.float32)
        self._day, self._tick, self._ended = 0, 0, (False, False)
        self._bind_agents()

    @classmethod
    def from_config(cls, source: Source, **keywords: Any) -> MultiAgentPowerGridEnv:
        """Make the environment of a preset, YAML file or mapping; `keywords` are those of the class."""
        return cls(source, **keywords)

    # -- copies -----------------------------------------------------------------------------------------------

    def get_state(self) -> Snapshot:
        """Return the running episode as a value for `set_state`: devices, markets, random position, flow.

        The value does not contain ``env.output``.
        """
        state = self._state
        if state is not None:
            state = snapshot.value_of(getattr(state, "state", state))  # the compiled step returns rows
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
            central=np.array(self._first_central if self._output is None else self._output.central),
            objects=() if state is None else snapshot.saved_objects(self._simulation, state),
            mail={agent.id: tuple(agent.mailbox) for agent in self.world.agents if agent.mailbox},
        )

    def set_state(self, state: Snapshot) -> None:
        """Continue from a state of this environment or of another one of the same configuration, with the same bits.

        Raises
        ------
        ArgumentError
            If `state` is no state of an environment, or belongs to another configuration.
        """
        saved = snapshot.check(state, self.world, ("parallel", 1))
        self._start_stream(saved.seed)
        self._episode, self._day, self._tick, self._ended = saved.episode, saved.day, saved.tick, saved.ended
        self._state, self._output, self._first_central = None, None, saved.central
        if saved.state is not None:
            self._state = snapshot.resumed(self._simulation, saved.state, saved.objects)
        self.agents = self._present() if saved.alive else []
        for agent in self.world.agents:
            agent.mailbox[:] = saved.mail.get(agent.id, ())

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.world.resolved, self.world.method, self._arguments, self.get_state())

    def __deepcopy__(self, memo: dict[int, Any]) -> MultiAgentPowerGridEnv:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin._arguments, twin.render_mode = self._arguments, self.render_mode
        twin._use_world(snapshot.twin(self.world))
        twin.set_state(self.get_state())
        return twin

    def _bind_agents(self) -> None:
        """Set spaces and labels on the objects of the acting agents."""
        by_id = {agent.id: agent for agent in self.world.agents}
        for id in self.possible_agents:
            by_id[id].observation_labels = self.observation_labels(id)
            by_id[id].action_labels = self.action_labels(id)
            by_id[id].observation_space = self.observation_space(id)
            by_id[id].action_space = self.action_space(id)
            by_id[id].decisions = self.world.layout.action_entries[self._shapes.row_of[id]]
        Post(self.world.agents)  # by which agents address each other

    # -- episodes ---------------------------------------------------------------------------------------------

    def reset(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode.

        Parameters
        ----------
        seed
            Whole number from 0 to 2**64 - 1. It determines this episode and all that follow it. Without a seed the
            next episode of the running stream starts; a new environment starts a stream of its own, with a seed from
            the operating system's entropy. :attr:`np_random_seed` is the stream's seed.
        options
            ``{"day": d}`` starts on day `d` of the dataset instead of a drawn day. ``{"device_outages": [{"device": id,
            "start": s, "duration": s}, ...]}`` says when devices are out of service in this episode, in place of
            outages by their rates, and ``{"presence": [{"agent": id, "joins": s, "leaves": s}, ...]}`` when agents join
            and leave, in place of their own times; times are in seconds from its start.

        Returns
        -------
        observations, infos
            Both by agent, of those that are there from the start.

        Raises
        ------
        ArgumentError
            If the seed, an option or the day is not valid; the message names it and the allowed values.
        """
        given = checked_options(options, ("day", *SCHEDULES))
        day, scheduled = given.get("day"), Schedule.of(self.world.layout, given, 1)
        fixed = None if day is None else checked_days(day, 1, self._day_count)[0]
        if seed is not None:
            self._start_stream(checked_seed(seed))
        elif self._seed is None:
            self._start_stream(fresh_seed())
        key = random.fold_in(np, self._key, np.array(self._episode))
        self._episode += 1
        start = np.asarray(self.world.draw_day(np, key, self._days) if fixed is None else fixed, dtype=np.int32)
        first = self._simulation.reset(key, start, scheduled.rows(0))
        self._state, self._first_central = first.state, first.central
        self._output, self._day, self._tick, self._ended = None, int(start), 0, (False, False)
        self.agents = self._present()
        for agent in self.world.agents:
            agent.forget()
        results = first_results(self.world.layout, first.observation, first.converged, first.available)
        results = results._replace(observation=self._shapes.observation(np, results.observation))
        self._print_tick()
        return self._by_agent(results.observation[0], self.agents), self._infos(results, self.agents)

    def _start_stream(self, seed: int | None) -> None:
        """Start the stream of episodes that belongs to a seed."""
        self._seed, self._episode = seed, 0
        if seed is not None:
            self._key = random.key_from_seed(np, np.array(seed, dtype=np.uint64))

    @property
    def np_random_seed(self) -> int:
        """Seed of the running stream of episodes: ``reset(seed=env.np_random_seed)`` starts it again."""
        if self._seed is None:
            self._start_stream(fresh_seed())
        assert self._seed is not None
        return self._seed

    def step(self, actions: Mapping[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        """Advance by one tick.

        Parameters
        ----------
        actions
            One vector in [-1, 1] for each of :attr:`agents`; numbers outside are clipped and counted in
            ``info["clipped"]``.

            Between its decisions an agent's action has no effect; ``info["due_next"]`` and :attr:`due_agents` say
            whose action counts.

        Returns
        -------
        observations, rewards, terminations, truncations, infos
            Each by agent: of those that acted, and of those that join, whose reward is 0. An agent that leaves is
            terminated once and does not return in this episode.

        Raises
        ------
        ActionError
            If the episode is over, or an action is missing, has the wrong shape, is not finite, or belongs to an agent
            that does not act or is absent; the message names the agent.
        """
        live = self._live_agents()
        results = self._advance(self._action_rows.stack(actions, live))
        terminated, truncated = self._ended
        told, left = live, frozenset[str]()
        if self.world.layout.actors_change and not any(self._ended):
            told, left = self._told(live), frozenset(live).difference(self.agents)
        if told is live and len(live) == len(self.possible_agents):
            rewards = dict(zip(live, results.reward[0].tolist(), strict=True))
            terminations, truncations = self._flags[terminated].copy(), self._flags[truncated].copy()
        else:
            paid = dict(zip(self.possible_agents, results.reward[0].tolist(), strict=True))
            rewards = {agent: paid[agent] for agent in told}
            terminations, truncations = {a: terminated or a in left for a in told}, dict.fromkeys(told, truncated)
        observations, infos = self._by_agent(results.observation[0], told), self._infos(results, told)
        return observations, rewards, terminations, truncations, infos

    def _told(self, live: Sequence[str]) -> list[str]:
        """Agents that acted or are there next."""
        some = frozenset(live).union(self.agents)
        return [agent for agent in self.possible_agents if agent in some]

    def step_array(self, actions: np.ndarray) -> ArrayStep:
        """The same step without dictionaries.

        Parameters
        ----------
        actions
            ``(A, k_max)``, as wide as the longest action; the rest of a row has no effect where an agent's is shorter.

        Raises
        ------
        ActionError
            If the episode is over, or the actions have another shape or are not finite; the message names the agent.
        """
        shape = (len(self.possible_agents), self._shapes.action_width)
        self._live_agents()
        results = self._advance(checked_array(actions, shape, self.possible_agents, self._action_sizes))
        terminated, truncated = self._ended
        return ArrayStep(results.observation[0], results.reward[0], terminated, truncated, cast(Output, self._output))

    def _advance(self, actions: np.ndarray) -> Results:
        """Advance by one tick; the results have one environment in front."""
        results, layout = blank_results(self.world.layout, 1), self.world.layout
        alive = layout.alive(np, np.asarray(self._tick), self._state.absences) if layout.actors_change else None
        actions = self._shapes.actions(np, actions)
        self._state, self._output = self._simulation.advance(self._state, actions, results, keep=True)
        self._tick += 1
        settings = self.world.layout.settings
        terminated = settings.terminate_on_divergence and not results.converged[0]
        self._ended = bool(terminated), self._tick >= settings.episode_length and not terminated
        results = results.of_actors(layout)
        if self._shapes.changes:
            results = results._replace(observation=self._shapes.observation(np, results.observation))
        if alive is not None:
            results.reward[:, ~alive] = results.cost[:, ~alive] = 0.0
        if alive is not None or any(self._ended):
            self.agents = [] if any(self._ended) else self._present()
        self._print_tick()
        return results

    def _present(self) -> list[str]:
        """Agents that are there in the next tick."""
        layout = self.world.layout
        if not layout.actors_change or self._state is None:
            return list(self.possible_agents)
        alive = layout.alive(np, np.asarray(self._tick), self._state.absences).tolist()
        return [agent for agent, there in zip(self.possible_agents, alive, strict=True) if there]

    def _live_agents(self) -> list[str]:
        """Agents of the running episode."""
        if self._state is None or any(self._ended):
            raise ActionError("the episode is over: call reset() before the next step()")
        return self.agents

    def _infos(self, results: Results, agents: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Infos of some agents; each is computed at its first use."""
        if self.silent:
            return {agent: {} for agent in agents}
        day, tick, absences, over = self._day, self._tick, self._state.absences, not self.agents
        blank = self._blank_infos if len(agents) == len(self.possible_agents) else blank_infos(agents)

        carbon = self._carbon_later()

        def later(_: str) -> dict[str, dict[str, Any]]:
            due_next = np.zeros(len(self.possible_agents), dtype=bool) if over else self._due(tick, absences)
            in_service = self._in_service(tick, absences)
            found = agent_infos(self.possible_agents, results, due_next, day, in_service, carbon())
            return found if len(agents) == len(found) else {agent: found[agent] for agent in agents}

        return Infos(blank, later)

    def _carbon_later(self) -> Callable[[], np.ndarray | None]:
        """Marginal emissions of the last step by account [kg], computed when they are asked for."""
        world, output, state = self.world, self._output, self._state
        if world.carbon is None:
            return lambda: None
        if output is None:
            return lambda: np.zeros(len(world.layout.accounts))
        return lambda: world.carbon_kg(output.measured_mw, state.row - 1)

    @property
    def due_agents(self) -> list[str]:
        """Agents whose actions take effect in the next step; the others hold theirs. Empty when the episode is over."""
        if not self.agents:
            return []
        due = self._due(self._tick, self._state.absences).tolist()
        return [agent for agent, takes_effect in zip(self.possible_agents, due, strict=True) if takes_effect]

    def _due(self, tick: int, absences: Absences) -> np.ndarray:
        """Whether each agent decides in a tick, ``(A,)``."""
        due: np.ndarray = schedule.actors_due(np, self.world.layout, np.asarray(tick), absences)
        return due[: len(self.possible_agents)]

    def _in_service(self, tick: int, absences: Absences) -> list[np.ndarray] | None:
        """Whether each number of the agents' actions in a tick moves something in service, ``(k,)`` each."""
        layout = self.world.layout
        if layout.availability is None:
            return None
        in_service = layout.in_service(np, np.asarray(tick), absences)
        rows = self._shapes.shown_actions(np, in_service[: len(self.possible_agents)])
        return [row[:size] for row, size in zip(rows, self._action_sizes, strict=False)]

    def _by_agent(self, numbers: np.ndarray, agents: Sequence[str]) -> dict[str, np.ndarray]:
        rows, first = [], 0
        for count, size in self._equal_sizes:  # rows of a table cost less than as many slices
            rows += list(numbers[first : first + count * size].reshape(count, size))
            first += count * size
        found = dict(zip(self.possible_agents, rows, strict=True))
        return found if len(agents) == len(found) else {agent: found[agent] for agent in agents}

    @property
    def backend(self) -> str:
        """What runs the steps: ``"fused"`` or ``"numpy"``."""
        return self._simulation.backend

    def policy_actions(self, policy: Policy) -> dict[str, np.ndarray]:
        """Actions that a local policy, by name or as a function, would take for all agents that are there."""
        actions = self.policy_array(policy)
        sizes = zip(self.possible_agents, self._action_sizes, strict=True)
        there = frozenset(self.agents) if self.world.layout.actors_change else frozenset(self.possible_agents)
        return {agent: actions[i, :size].astype(np.float32) for i, (agent, size) in enumerate(sizes) if agent in there}

    def policy_array(self, policy: Policy) -> np.ndarray:
        """As `policy_actions`, ``(A, k_max)`` in float64."""
        actions: np.ndarray = self._shapes.shown_actions(np, self._simulation.decide(self._state, policy))
        return actions

    def close(self) -> None:
        """Nothing to release."""

    def export_episode(self, day: int, seed: int = 0) -> EpisodeData:
        """Data of one episode for an optimiser; see :func:`powergrid.worlds.export.export_episode`."""
        return export_episode(self.world, int(checked_days(day, 1, self._day_count)[0]), seed)

    @property
    def _day_count(self) -> int:
        return len(self.world.table) // self.world.ticks_per_day

    def _print_tick(self) -> None:
        if self.render_mode == "human":
            print(tick_line(self.world, self._tick, self._day, self._output))


class PowerGridEnv(MultiAgentPowerGridEnv):
    """Short name of :class:`MultiAgentPowerGridEnv`."""


def _rebuild(
    cls: type[MultiAgentPowerGridEnv],
    resolved: ResolvedConfig,
    method: str,
    arguments: tuple[Any, ...],
    state: Snapshot,
) -> MultiAgentPowerGridEnv:
    render_mode, days, backend, form = arguments
    env = cls(resolved, render_mode=render_mode, days=days, method=method, backend=backend, **form._asdict())
    env.set_state(state)
    return env
