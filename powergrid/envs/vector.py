"""Many environments in one process: Gymnasium's vector conventions over the compiled step.

Environments run in blocks that fit the processor's cache, and each block is one batch of the engine. With several
threads the blocks run in parallel, since compiled loops release the interpreter's lock. Every environment is computed
by itself, so that its results have the same bits for any number of environments and threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium.spaces import Dict as DictSpace
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from powergrid.config.resolve import ResolvedConfig
from powergrid.core.errors import ActionError, ArgumentError
from powergrid.core.types import Array
from powergrid.engine import schedule
from powergrid.engine.results import Results, blank_results
from powergrid.envs.actions import BatchRows, checked_array
from powergrid.envs.arguments import checked_autoreset, checked_mask, checked_options
from powergrid.envs.block import Block
from powergrid.envs.form import Form
from powergrid.envs.infos import Infos, blank_infos, first_results
from powergrid.envs.labelled import LabelledEnv
from powergrid.envs.shapes import Shapes
from powergrid.envs.vector_step import VectorStep
from powergrid.worlds import snapshot
from powergrid.worlds.build import build
from powergrid.worlds.days import checked_days, chosen_days
from powergrid.worlds.schedules import SCHEDULES, Schedule
from powergrid.worlds.seeds import checked_seeds, fresh_seed
from powergrid.worlds.simulation import Policy
from powergrid.worlds.snapshot import Snapshot
from powergrid.worlds.world import World

ROWS = 2**15
"""Most agents of all environments of a block: the data of a block then stay in the cache from one array to the next."""
FEWEST, MOST = 64, 1024
"""Fewest and most environments of a block; with fewer of them Python's share of a step would be larger."""


class VectorPowerGridEnv(LabelledEnv, VectorEnv):
    """Copies of one environment that step together; where an episode ends, the next one starts by itself.

    Observations, actions, rewards and so on are dictionaries by agent with the environments in front:
    ``{agent: (num_envs, d)}``.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    num_envs
        Number of environments.
    threads
        Number of threads that share the blocks of environments.
    backend
        As for :func:`powergrid.make`.
    days
        Split or day indices from which episodes are drawn; by default the split that the configuration trains on.
    form
        Form of observations, actions and infos; see :func:`powergrid.make_vec`.
    autoreset
        Whether the next episode starts in the step in which one ends, ``"same_step"``, or in the one after,
        ``"next_step"``; Gymnasium's ``AutoresetMode`` of either.

    Attributes
    ----------
    possible_agents
        Acting agents.
    observation_slices
        Columns of each agent in the observations of `step_array`.
    money_names, constraint_names
        Columns of ``info[agent]["money"]`` and ``["costs"]``.
    state_space
        Space of one environment's `state`.
    cost_limits
        Limit of each constraint over an episode and all agents [$], ``(names,)``; 0 where none is given.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        world: World,
        num_envs: int,
        *,
        threads: int = 1,
        backend: str = "auto",
        days: str | Sequence[int] | None = None,
        form: Form = Form(),  # noqa: B008
        autoreset: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ):
        if num_envs < 1 or threads < 1:
            raise ValueError(f"num_envs and threads must be at least 1, got {num_envs} and {threads}")
        self.world, self.num_envs = world, num_envs
        mode = checked_autoreset(autoreset)
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self._arguments: dict[str, Any] = {"threads": threads, "backend": backend, "days": days, "form": form}
        self._arguments["autoreset"], self._holds = mode, mode == AutoresetMode.NEXT_STEP
        self._shapes, self._silent = Shapes(world, form), form.infos == "none"
        self._seeds: Array | None = None
        self._seen: Array | None = None  # last observations of the engine, (E, N)
        layout = world.layout
        self.possible_agents = list(layout.actors)
        self.money_names, self.constraint_names = layout.ledger.money_names, layout.ledger.cost_names
        self.cost_limits = world.limit_row.copy()
        self.observation_slices = dict(zip(layout.actors, self._shapes.slices, strict=True))
        self._sizes = list(self._shapes.action_sizes)
        self._everybody = np.broadcast_to(True, (num_envs, len(layout.actors)))
        self._action_rows = BatchRows(layout.actors, self._sizes, self._shapes.action_width, num_envs)
        chosen = chosen_days(world, days)
        size = min(_block_size(len(layout.actors)), -(-num_envs // threads))
        starts = range(0, num_envs, size)
        self._blocks = [
            Block(world, slice(at, min(at + size, num_envs)), backend, chosen, self._holds) for at in starts
        ]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and len(self._blocks) > 1 else None
        observations, actions = self._shapes.spaces()
        self.single_observation_space, self.single_action_space = DictSpace({**observations}), DictSpace({**actions})
        self.state_space = self._shapes.central_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @property
    def backend(self) -> str:
        """Backend that computes the steps: ``"fused"`` or ``"numpy"``."""
        return self._blocks[0].simulation.backend

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start an episode in every environment.

        Parameters
        ----------
        seed
            Whole number from 0 to 2**64 - 1: environment i gets the seed ``seed + i``; or one seed per environment.
            Without a seed every environment continues with the next episode of its stream; a new vector environment
            starts streams of its own, with seeds from the operating system's entropy. :attr:`np_random_seed` holds the
            seeds.
        options
            ``{"day": d}`` or ``{"day": [d, ...]}`` starts on these days instead of drawn ones. ``device_outages`` and
            ``presence``, lists as of the parallel environment, or one list per environment, say when devices are out of
            service and agents there; episodes that start by themselves draw that. ``{"reset_mask": [True, False,
            ...]}`` starts an episode in the chosen environments alone; the others go on, and their rows of the
            observations are the last ones.

        Returns
        -------
        observations, infos
            `infos` has the keys of those of `step`.

        Raises
        ------
        ArgumentError
            If a seed, an option or a day is not valid; the message names it and the allowed values.
        """
        results = self._reset(seed, options)
        return self._by_agent(results.observation, self.alive), self._infos(results)

    def reset_array(
        self, *, seed: int | Sequence[int] | None = None, options: Mapping[str, Any] | None = None
    ) -> Array:
        """The same without dictionaries: first observations as of `step_array`, float32 ``(E, N)``."""
        observation: Array = self._reset(seed, options).observation
        return observation

    def _reset(self, seed: int | Sequence[int] | None, options: Mapping[str, Any] | None) -> Results:
        """Start episodes; what is known of them."""
        given = checked_options(options, ("day", *SCHEDULES, "reset_mask"))
        mask = checked_mask(given.get("reset_mask"), self.num_envs)
        day, scheduled = given.get("day"), Schedule.of(self.world.layout, given, self.num_envs)
        count = len(self.world.table) // self.world.ticks_per_day
        days = None if day is None else checked_days(day, self.num_envs, count)
        seeds = None if seed is None else checked_seeds(seed, self.num_envs)
        if not mask.all():
            return self._reset_some(mask, seeds, days, given)
        if seeds is None and self._seeds is None:
            seeds = checked_seeds(fresh_seed(), self.num_envs)
        if seeds is not None:
            self._seeds = seeds
            if seed is not None or self._np_random is None:
                super().reset(seed=int(seeds[0]))
        started = self._each(
            lambda block: block.reset(
                None if seeds is None else seeds[block.rows],
                None if days is None else days[block.rows],
                scheduled.rows(block.rows),
            )
        )
        return self._first(*(np.concatenate(parts) for parts in zip(*started, strict=True)))

    def _reset_some(self, mask: Array, seeds: Array | None, days: Array | None, options: Mapping[str, Any]) -> Results:
        """Start episodes in some environments; what is known of all."""
        if self._seen is None or self._seeds is None:
            raise ActionError("call reset() of all environments before one with a reset_mask")
        for name in SCHEDULES:
            if options.get(name) is not None:
                raise ArgumentError(f'reset option "{name}" holds for all environments, without a reset_mask')
        observation = self._seen.copy()
        if seeds is not None:
            self._seeds = np.where(mask, seeds, self._seeds)
        for block in self._blocks:
            who = np.flatnonzero(mask[block.rows])
            if len(who):
                own = [None if part is None else part[block.rows][who] for part in (seeds, days)]
                observation[block.rows.start + who] = block.reset_some(who, *own)
        everybody = np.ones((self.num_envs, len(self.possible_agents)), dtype=bool)
        return self._first(observation, everybody[:, :1].all(-1), everybody)

    def _first(self, observation: Array, converged: Array, available: Array) -> Results:
        """What is known at the start of episodes."""
        self._seen = observation
        first, acting = first_results(self.world.layout, observation, converged, available), len(self.possible_agents)
        return first._replace(
            observation=self._shapes.observation(np, first.observation),
            money=first.money[:, :acting],
            costs=first.costs[:, :acting],
        )

    @property
    def np_random_seed(self) -> tuple[int, ...] | None:  # type: ignore[override]
        """Seeds of the streams of episodes, ``None`` before the first reset; ``reset(seed=...)`` starts them again."""
        return None if self._seeds is None else tuple(self._seeds.tolist())

    def step(
        self, actions: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array], Array, Array, dict[str, Any]]:
        """Advance every environment by one tick.

        Parameters
        ----------
        actions
            ``{agent: (num_envs, k)}`` in [-1, 1].

        Returns
        -------
        observations, rewards, terminations, truncations, infos
            `infos` holds ``cost``, ``costs``, ``money``, ``clipped``, ``due``, ``due_next`` and ``available`` by agent,
            where the configuration has a section ``carbon`` marginal emissions ``carbon_kg`` by agent,
            where devices may be out of service ``in_service`` by agent, where agents join or leave ``alive`` and
            ``left`` by agent, ``converged``, ``day`` (of the episode that the observation belongs to) and, where
            episodes ended, ``final_obs`` by agent (rows of other environments are zero) with the mask ``_final_obs``.
            Observations, rewards and costs of absent agents are zero. Where the next episode starts with the next
            step, `observations` are the last ones in place of ``final_obs``, the next step gives the first ones of the
            next episode with rewards of 0, and its actions have no effect there.

        Raises
        ------
        ActionError
            If an action is missing, has the wrong shape, is not finite, or belongs to an agent that does not act; the
            message names the agent.
        """
        there = self.alive
        done = self._step(self._action_rows.stack(actions))
        infos = self._infos(done)
        ended = done.terminated | done.truncated
        if ended.any() and not self._holds:
            final = np.zeros_like(done.observation)
            final[ended] = done.final_observation
            infos |= {"final_obs": self._by_agent(final, there), "_final_obs": ended}
        if self.world.layout.actors_change and not self._silent:
            infos["left"] = self._split(done.left)
        observations = self._by_agent(done.observation, done.alive)
        return observations, self._split(done.reward), done.terminated, done.truncated, infos

    def step_array(self, actions: Array) -> VectorStep:
        """The same step without dictionaries, from actions ``(E, A, k_max)``.

        Raises
        ------
        ActionError
            If the actions have another shape or are not finite; the message names the agent.
        """
        shape = (self.num_envs, len(self.possible_agents), self._shapes.action_width)
        return self._step(checked_array(actions, shape, self.possible_agents, self._sizes))

    def _step(self, actions: Array) -> VectorStep:
        results, actions = blank_results(self.world.layout, self.num_envs), self._shapes.actions(np, actions)
        stepped = self._each(lambda block: block.step(actions[block.rows], results.rows(block.rows)))
        *ended, left, fills = zip(*stepped, strict=True)

        def fill(money: Array, costs: Array) -> None:
            for block, fill_rows in zip(self._blocks, fills, strict=True):
                fill_rows(money[block.rows], costs[block.rows])

        terminated, truncated, final = map(np.concatenate, ended)
        told = results.of_actors(self.world.layout)
        self._seen = told.observation
        lives = self.alive, np.concatenate(left)
        if self._shapes.changes:
            told = told._replace(observation=self._shapes.observation(np, told.observation))
        return VectorStep(told, (terminated, truncated, self._shapes.observation(np, final)), lives, fill)

    @property
    def alive(self) -> Array:
        """Whether each agent is there in the next tick, ``(E, A)``."""
        if not self.world.layout.actors_change:
            return self._everybody
        return np.concatenate([block.alive for block in self._blocks])

    def policy_array(self, policy: Policy) -> Array:
        """Actions ``(E, A, k_max)`` that a local policy, by name or as a function, would take in the current states."""
        actions = np.concatenate(self._each(lambda block: block.decide(policy)))
        return self._shapes.shown_actions(np, actions)

    def policy_actions(self, policy: Policy) -> dict[str, Array]:
        """The same by agent, float32 ``{agent: (num_envs, k)}``."""
        actions = self.policy_array(policy)
        sizes = zip(self.possible_agents, self._sizes, strict=True)
        return {agent: actions[:, row, :size].astype(np.float32) for row, (agent, size) in enumerate(sizes)}

    def state(self) -> Array:
        """States for a central critic, float32 ``(num_envs, s)``: everything that any agent observes, once.

        They are read from the last observations, which must not have been changed in place. Where an episode has
        ended, it is the first state of the next one, unless that starts with the next step.

        Raises
        ------
        ActionError
            Before the first reset.
        """
        if self._seen is None:
            raise ActionError("call reset() before state()")
        return self._shapes.central(np, self._seen[:, self.world.layout.view.central_places])

    def named(self, infos: Mapping[str, Any]) -> dict[str, Any]:
        """Return infos whose ``costs`` and ``money`` are ``{agent: {name: (num_envs,)}}`` in place of columns."""
        found = dict(infos)
        for key, names in (("costs", self.constraint_names), ("money", self.money_names)):
            found[key] = {
                agent: dict(zip(names, np.moveaxis(table, -1, 0), strict=True)) for agent, table in infos[key].items()
            }
        return found

    def get_state(self) -> Snapshot:
        """Return the running episodes as a value for `set_state`; the environments are the first axis."""
        parts = [block.saved() for block in self._blocks]
        begun = parts[0][0] is not None
        state, key, episode, day, tick = snapshot.joined([part[:5] for part in parts])
        return Snapshot(
            configuration=self.world.digest,
            form=self._kind,
            seed=None if self._seeds is None else self._seeds.copy(),
            episode=episode,
            day=day,
            tick=tick,
            ended=(False, False),
            alive=begun,
            state=state,
            central=(key, None if self._seen is None else self._seen.copy()),
            objects=tuple(pair for part in parts for pair in part[5]),
            mail={},
        )

    def set_state(self, state: Snapshot) -> None:
        """Continue from a state of this vector environment or of another one of the same configuration and size.

        Raises
        ------
        ArgumentError
            If `state` is no state of an environment, or has another configuration or number of environments.
        """
        saved = snapshot.check(state, self.world, self._kind)
        self._seen = saved.central[1]
        self._seeds = None if saved.seed is None else saved.seed.copy()
        for block in self._blocks:
            block.resume(saved)

    @property
    def _kind(self) -> tuple[str, int]:
        """Kind and number of environments, which states of this one have."""
        return "vector with resets in the next step" if self._holds else "vector", self.num_envs

    def __reduce__(self) -> tuple:
        resolved, method = self.world.resolved, self.world.method
        return _rebuild, (type(self), resolved, method, self.num_envs, self._arguments, self.get_state())

    def __deepcopy__(self, memo: dict[int, Any]) -> VectorPowerGridEnv:
        twin = type(self)(snapshot.twin(self.world), self.num_envs, **self._arguments)
        memo[id(self)] = twin
        twin.set_state(self.get_state())
        return twin

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _each(self, work: Callable[[Block], Any]) -> list[Any]:
        """Results of `work` for every block, computed by the threads."""
        return list(map(work, self._blocks) if self._pool is None else self._pool.map(work, self._blocks))

    def _infos(self, results: Results | VectorStep) -> dict[str, Any]:
        """Infos of a step or a reset; each is computed at its first use."""
        if self._silent:
            return {}
        infos = Infos(
            blank_infos(("cost", "costs", "money", "clipped", "due", "available")),
            lambda name: {name: self._split(getattr(results, name))},
        )
        infos["converged"] = results.converged
        layout = self.world.layout
        due = [schedule.actors_due(np, layout, block.tick, block.state.absences) for block in self._blocks]
        following = np.concatenate(due)
        if self._holds:
            following &= ~np.concatenate([block.held for block in self._blocks])[:, None]
        infos["due_next"] = self._split(following)
        if layout.availability is not None:
            parts = [layout.in_service(np, block.tick, block.state.absences) for block in self._blocks]
            numbers = self._shapes.shown_actions(np, np.concatenate(parts)[:, : len(self.possible_agents)])
            infos["in_service"] = {
                agent: numbers[:, row, :size]
                for row, (agent, size) in enumerate(zip(self.possible_agents, self._sizes, strict=True))
            }
        if layout.actors_change:
            infos["alive"] = self._split(self.alive)
        if self.world.carbon is not None:
            infos["carbon_kg"] = self._split(np.concatenate([block.carbon_kg for block in self._blocks]))
        infos["day"] = np.concatenate([block.day for block in self._blocks])
        return infos

    def _by_agent(self, rows: Array, alive: Array | None = None) -> dict[str, Array]:
        """Observations by agent, zero where it is not `alive`, ``(E, A)``."""
        found = {agent: rows[:, own] for agent, own in self.observation_slices.items()}
        if alive is None or not self.world.layout.actors_change:
            return found
        return {agent: np.where(alive[:, k, None], seen, 0.0) for k, (agent, seen) in enumerate(found.items())}

    def _split(self, rows: Array) -> dict[str, Array]:
        return {agent: rows[:, i] for i, agent in enumerate(self.possible_agents)}


def _block_size(agents: int) -> int:
    """Most environments of a block, a multiple of `FEWEST`."""
    return min(max(ROWS // max(agents, 1) // FEWEST * FEWEST, FEWEST), MOST)


def _rebuild(
    cls: type[VectorPowerGridEnv],
    resolved: ResolvedConfig,
    method: str,
    num_envs: int,
    arguments: dict[str, Any],
    state: Snapshot,
) -> VectorPowerGridEnv:
    env = cls(build(resolved, method=method), num_envs, **arguments)
    env.set_state(state)
    return env
