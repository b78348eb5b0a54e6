"""The engine's step on the CPU, for one environment or a batch, with its data and its random numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import numpy as np

from powergrid.agents.policy import LocalPolicy, is_policy
from powergrid.agents.python_policy import PythonPolicy, is_python_policy
from powergrid.core.errors import ArgumentError, NotCompilableError
from powergrid.core.machine_code import problem, require
from powergrid.engine import step as engine
from powergrid.engine.assembly.kernel_trial import check_raised, check_states, from_outside
from powergrid.engine.layout import params_of
from powergrid.engine.results import Results, blank_results
from powergrid.engine.state import Exogenous, First, Noise, Output, State
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.episode_rows import EpisodeRows
from powergrid.worlds.python_agents import PythonAgents, StandIns
from powergrid.worlds.schedules import Schedule
from powergrid.worlds.world import World

BACKENDS = ("auto", "numpy", "fused")
"""Ways to run a step on the CPU: ``numpy`` is the reference, ``fused`` the same compiled, ``auto`` the faster one."""

Policy: TypeAlias = str | LocalPolicy | type[LocalPolicy] | type[PythonPolicy] | Callable[..., np.ndarray]
"""A policy: its registered name, its class, an object of a local one, or a function ``(xp, layout, params, state,
exogenous, noise) -> slots``."""

_log = logging.getLogger("powergrid")


def first_use(backend: str, count: int) -> AbstractContextManager[None]:
    """Context in which `count` environments are built: their code is compiled in parallel with their building."""
    if backend == "numpy" or problem():
        return nullcontext()
    from powergrid.engine.compiled import ahead

    return ahead.first_use(ahead.lanes_of(count))


class Simulation:
    """Steps of a :class:`World` on the CPU in float64.

    Parameters
    ----------
    world
        Network, agents, data and layout.
    count
        Expected number of environments in a batch; other numbers work too.
    backend
        One of :data:`BACKENDS`. ``"auto"`` uses the compiled step, and NumPy with a warning where a device's kernels
        cannot be compiled.
    own_agents
        Whether agents that decide in Python are the world's own objects, which needs a single environment; otherwise
        every environment has copies.

    Raises
    ------
    NotCompilableError
        If `backend` is ``"fused"`` and a device's kernels cannot be compiled.
    """

    def __init__(self, world: World, backend: str = "numpy", count: int = 1, own_agents: bool = False):
        self.world = world
        self.layout = world.layout
        self.params = params_of(world.layout)
        self._noise: Noise | None = None
        self._key = np.zeros(0, dtype=np.uint32)  # of the episodes that the noise belongs to
        self._rows = EpisodeRows(world.table, world.layout.settings.episode_length)
        self._first = np.zeros(0, dtype=np.int64)  # first row of each environment's episode
        self._watched = from_outside(world.layout)
        self._stand_ins: dict[Any, StandIns] = {}  # by class of policies in plain Python
        self._seen: Any = None  # last observations of the agents that outside code acts for
        self.python_agents = PythonAgents(world, own_agents) if world.layout.python_agents else None
        self._fused: Any = None
        if backend != "numpy":
            self._fused = self._compile(backend == "auto", count)

    @property
    def backend(self) -> str:
        """Backend that computes the steps: ``"numpy"`` or ``"fused"``."""
        return "numpy" if self._fused is None else "fused"

    def _compile(self, may_fall_back: bool, count: int) -> Any:
        """The compiled step, or ``None`` where it cannot be compiled and NumPy may take its place."""
        try:
            require()
            from powergrid.engine.compiled.step import FusedStep

            reward = self.world.reward
            return FusedStep(self.layout, (reward.reward_scale, reward.safety_scale, reward.max_penalty), count)
        except NotCompilableError as error:
            if not may_fall_back:
                raise
            _log.warning("%s; this environment steps on NumPy", error)
            return None

    def reset(self, key: np.ndarray, day: np.ndarray, schedule: Schedule | None = None) -> First:
        """Start episodes.

        Parameters
        ----------
        key
            uint32, ``(*batch, 2)``.
        day
            First day of each episode, ``(*batch,)``.
        schedule
            When devices are out of service and agents there, ``(*batch, ...)``; drawn where it says nothing.
        """
        first = self._begin(key, day, np.zeros(0, dtype=np.int64), schedule or Schedule())
        self._seen = first.observation
        if self.python_agents is None:
            return first
        self.python_agents.begin(key, first.observation)
        return first._replace(observation=self._outside(first.observation), available=self._seats(first.available))

    def _outside(self, observation: np.ndarray) -> np.ndarray:
        """What the agents observe that outside code acts for, ``(*batch, N)``."""
        return observation[..., : self.layout.seen_by_actors]

    def _seats(self, values: np.ndarray) -> np.ndarray:
        """Numbers of the agents that outside code acts for, ``(*batch, A)``."""
        return values[..., : len(self.layout.actors)]

    def _begin(
        self,
        key: np.ndarray,
        day: np.ndarray,
        busy: np.ndarray,
        schedule: Schedule = Schedule(),  # noqa: B008
    ) -> First:
        """Start episodes while others read the rows that begin at the places `busy`."""
        batch = np.shape(day)
        self._draw(key)
        row = np.asarray(day, dtype=np.int32) * self.world.ticks_per_day
        self._first = self._rows.place(row, busy)
        return engine.reset(
            np,
            self.layout,
            self.params,
            key,
            row,
            self.world.settlement(row),
            self.world.initial(np, key, np.float64),
            self._rows.rows[self._first],
            self.noise_at(np.zeros(batch, dtype=np.int32)),
            self.world.outages(np, key),
            schedule.over(self.world.absences(np, key)),
        )

    def _draw(self, key: np.ndarray) -> None:
        """Draw the noise of all ticks of the episodes at once: it depends on the tick alone, and one draw is cheap."""
        length = self.layout.settings.episode_length
        ticks = np.broadcast_to(np.arange(length + 1, dtype=np.int32), (*key.shape[:-1], length + 1))
        noise = self.world.noise(np, key[..., None, :], ticks, np.float64)
        self._noise, self._key = Noise(*map(np.ascontiguousarray, noise)), key

    def resume(self, state: State) -> None:
        """Continue from any state: noise and rows of data follow from its key and its row."""
        if not np.array_equal(self._key, state.key):
            self._draw(state.key)
        self._first = self._rows.place(state.row - state.tick, np.zeros(0, dtype=np.int64))

    def restart(self, state: State, who: np.ndarray, key: np.ndarray, day: np.ndarray) -> tuple[State, np.ndarray]:
        """Start new episodes in some environments of a batch; the others remain as they are.

        Parameters
        ----------
        state
            State of the whole batch.
        who
            Environments whose next episode starts, ``(n,)``.
        key, day
            Key ``(n, 2)`` and first day ``(n,)`` of each new episode.

        Returns
        -------
        state, observation
            State of the whole batch, and first observations of the new episodes ``(n, N)``.
        """
        if len(who) == len(state.tick):
            fresh, observation, *_ = self.reset(key, day)
            return fresh, observation
        noise, first, keys = self._noise, self._first, self._key
        fresh, observation, *_ = self._begin(key, day, np.delete(first, who))
        if self.python_agents is not None:
            self.python_agents.begin_again(who, key, observation)
            observation = self._outside(observation)
        self._noise, self._first = _replaced(noise, who, self._noise), _replaced(first, who, self._first)
        self._key = _replaced(keys, who, self._key)
        if self._seen is not None:
            self._seen = np.array(self._seen)
            self._seen[who, : observation.shape[-1]] = observation
        whole = state if isinstance(state, State) else state.state  # the compiled step returns rows
        merged: State = _replaced(whole, who, fresh)
        return merged, observation

    def step(self, state: State, actions: np.ndarray, observation: np.ndarray | None = None) -> tuple[State, Output]:
        """Advance all environments of the batch by one tick; see :func:`powergrid.engine.step.step`.

        Parameters
        ----------
        state
            State of the batch.
        actions
            ``(*batch, A, k_max)`` in [-1, 1].
        observation
            Array that receives the observations, C-contiguous ``(*batch, N)``, for example float32; a new one if
            ``None``.

        Returns
        -------
        state, output
        """
        if self.python_agents is not None:
            return self._step_with_python(state, actions, observation)
        after, output = self._step(state, actions, observation)
        self._seen = output.observation
        return after, output

    def _step_with_python(
        self, state: State, actions: np.ndarray, observation: np.ndarray | None
    ) -> tuple[State, Output]:
        """The same where agents decide in Python, which act and observe beside those from outside."""
        assert self.python_agents is not None
        after, output = self._step(state, self.python_agents.filled(state, actions), None)
        self.python_agents.observe(output.observation)
        self._seen = seen = self._outside(output.observation)
        if observation is not None:
            observation[:] = seen
            seen = observation
        due, clipped, available = (self._seats(part) for part in (output.due, output.clipped, output.available))
        return after, output._replace(observation=seen, due=due, clipped=clipped, available=available)

    def _step(self, state: State, actions: np.ndarray, observation: np.ndarray | None) -> tuple[State, Output]:
        if self._fused is None:
            after, output = self._reference(state, actions)
            if observation is not None:
                observation[:] = output.observation
                output = output._replace(observation=observation)
            return after, output
        batch = np.shape(state.tick)
        count = int(np.prod(batch))
        results = blank_results(self.layout, count, dtype=np.float64)
        if observation is not None:
            results = results._replace(observation=observation.reshape(count, *observation.shape[len(batch) :]))
        after, output = self._fused(state, actions, self._rows.rows, self._first, self._noise, results, keep=True)
        self._watch(state, after)
        return after.state, output.output

    def advance(self, state: State, actions: np.ndarray, results: Results, keep: bool) -> tuple[State, Any]:
        """Advance by one tick into existing arrays, rewards included.

        Parameters
        ----------
        state, actions
            As for `step`.
        results
            Arrays to fill, all C-contiguous, with one batch axis even where the state has none. Rows of agents that
            decide in Python follow those of the others.
        keep
            Whether the second result is the output. Otherwise ``money`` and ``costs`` of the results are not filled,
            and the second result is a function that fills them: ``fill(money, costs)``.

        Returns
        -------
        state, output or fill
            State and output have the attributes of those of `step`, each computed at its first use.
        """
        self._seen = results.observation
        if self.python_agents is None:
            return self._advance(state, actions, results, keep)
        advanced = self._advance(state, self.python_agents.filled(state, actions), results, keep)
        self.python_agents.observe(results.observation)
        return advanced

    def _advance(self, state: State, actions: np.ndarray, results: Results, keep: bool) -> tuple[State, Any]:
        if self._fused is not None:
            stepped: tuple[State, Any] = self._fused(
                state, actions, self._rows.rows, self._first, self._noise, results, keep=keep
            )
            self._watch(state, stepped[0])
            return stepped
        after, output = self._reference(state, actions)
        acting = self.layout.acting
        money, costs = output.money, output.costs
        results.observation[:], results.due[:], results.clipped[:] = output.observation, output.due, output.clipped
        results.converged[:], results.available[:] = output.flow.converged, output.available
        results.reward[:] = self.world.rewards(np, money, costs)
        results.cost[:] = costs.sum(-1)[..., :acting]

        def fill(into_money: np.ndarray, into_costs: np.ndarray) -> None:
            into_money[:, :-1], into_costs[:, :-1] = money, costs

        if keep:
            fill(results.money, results.costs)
        return after, output if keep else fill

    def _reference(self, state: State, actions: np.ndarray) -> tuple[State, Output]:
        exogenous, noise = self.exogenous(state), self.noise_at(state.tick + 1)
        try:
            after, output = engine.step(np, self.layout, self.params, state, actions, exogenous, noise)
        except Exception as error:
            check_raised(self.layout, self._watched, error, state.tick)
            raise
        self._watch(state, after)
        return after, output

    def _watch(self, before: State, after: Any) -> None:
        """Check what kernels from outside PowerGrid have computed."""
        if self._watched:
            check_states(self.layout, self._watched, after.devices, before.tick)

    def exogenous(self, state: State) -> Exogenous:
        """Rows of the running and the following tick."""
        at = self._first + np.minimum(state.tick, self.layout.settings.episode_length)
        return Exogenous(self._rows.rows[at], self._rows.rows[at + 1])

    def decide(self, state: State, policy: Policy) -> np.ndarray:
        """Actions ``(*batch, A, k_max)`` that a local policy would take in this state.

        Where units follow their voltage, the actions are those of their curves at the voltages of the running tick. Of
        a policy in plain Python each agent of each environment has an object, which begins anew with each episode.

        Raises
        ------
        ArgumentError
            If a local policy has a memory, or actions here correct another policy.
        AgentError
            If a policy in plain Python cannot decide for an agent.
        """
        if isinstance(policy, str):
            policy = POLICIES.get(policy)
        if self.layout.policies.corrected is not None:
            return self._uncorrected(policy, state)
        if is_python_policy(policy):
            if policy not in self._stand_ins:
                self._stand_ins[policy] = StandIns(self.world, policy)
            assert self._seen is not None, "reset first"
            return self._stand_ins[policy].actions(state, self._outside(self._seen))
        draw = self.world.policy_noise(np, state.key, state.tick, np.float64)
        noise, exogenous = self.noise_at(state.tick)._replace(policy=draw), self.exogenous(state)
        rule = _without_memory(policy)
        inputs = np, self.layout, self.params, state, exogenous, noise
        slots = engine.settled_slots(*inputs, rule) if isinstance(rule, LocalPolicy) else rule(*inputs)
        plan = self.layout.slots
        actions = np.zeros((*state.tick.shape, self.layout.acting * self.layout.action_size))
        mine = plan.actor >= 0
        actions[..., plan.given[mine]] = slots[..., mine]
        rows = actions.reshape((*state.tick.shape, self.layout.acting, self.layout.action_size))
        return rows[..., : len(self.layout.actors), :]

    def _uncorrected(self, policy: Policy, state: State) -> np.ndarray:
        """Actions with which agents follow the policy that actions correct."""
        corrected = self.layout.policies.corrected
        if type(corrected) not in (policy, type(policy)):
            raise ArgumentError(
                f"actions correct {_name(corrected)} here, and those of {_name(policy)} are commands: make the "
                "environment with residual=None"
            )
        return np.zeros((*state.tick.shape, len(self.layout.actors), self.layout.action_size))

    def noise_at(self, tick: np.ndarray) -> Noise:
        """Random numbers of the observations at a tick and of the decisions that follow from them."""
        assert self._noise is not None, "reset first"
        if np.ndim(tick) == 0:
            return Noise(*(values[tick] for values in self._noise))
        at = tick.reshape((*tick.shape, 1))

        def pick(values: np.ndarray) -> np.ndarray:
            index = at.reshape(at.shape + (1,) * (values.ndim - at.ndim))
            return np.take_along_axis(values, index, axis=tick.ndim)[(slice(None),) * tick.ndim + (0,)]

        return Noise(*(pick(values) for values in self._noise))


_OBJECTS: dict[type[LocalPolicy], LocalPolicy] = {}
"""One object per class of local policies that acted for agents from outside."""


def _name(policy: Any) -> str:
    """A policy's registered name, else that of its class or function."""
    kind = policy if isinstance(policy, type) or not isinstance(policy, LocalPolicy) else type(policy)
    return next(
        (name for name in POLICIES.names() if POLICIES.get(name) is kind), getattr(kind, "__name__", repr(kind))
    )


def _without_memory(policy: Any) -> Any:
    """The policy that acts for agents from outside: an object of a class, or a function.

    Raises
    ------
    ArgumentError
        If the policy has a memory: only an environment stores memories, for the agents of its configuration.
    """
    if is_policy(policy):
        policy = _OBJECTS.setdefault(policy, policy())
    if isinstance(policy, LocalPolicy) and policy.State._fields:
        raise ArgumentError(
            f"the policy {type(policy).__name__} has a memory, which only an environment can store: make it the "
            "policy of the agents in the configuration"
        )
    return policy


def _replaced(tree: Any, who: np.ndarray, new: Any) -> Any:
    """A tree of named arrays with the rows `who` of each taken from another."""
    if isinstance(tree, tuple):
        parts = [_replaced(old, who, part) for old, part in zip(tree, new, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    rows = np.array(tree)
    rows[who] = new
    return rows
