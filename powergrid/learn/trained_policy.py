"""Trained policies on NumPy: what a checkpoint has learned, acting without JAX."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import numpy as np

from powergrid.core.errors import ArgumentError, RunError, nearest
from powergrid.learn import checkpoint
from powergrid.learn.actors.choice import restored
from powergrid.learn.actors.dense import Dense
from powergrid.learn.actors.graph import Graph
from powergrid.learn.actors.network import ActorNetwork
from powergrid.learn.networks import Running

PolicyState = dict[str, np.ndarray]
"""What a policy remembers between two ticks, by name, ``(*batch, ...)``; empty where it remembers nothing."""


class TrainedPolicy:
    """Policies of all agents of a run: normalised observation, network, normal distribution, clipped to [-1, 1].

    Parameters
    ----------
    arrays
        Contents of a checkpoint.
    seed
        Seed of the random numbers that :meth:`act` draws.

    Attributes
    ----------
    step
        Environment steps behind it.
    groups
        Agents by group.
    agents
        All agents, group after group.
    network
        What the actors choose with.
    residual
        Local policy that the actions correct, in an environment made with it; ``None`` where they are commands.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], seed: int = 0):
        self.step = int(arrays["step"])
        self.groups = checkpoint.groups_of(arrays)
        self.agents = tuple(agent for members in self.groups.values() for agent in members)
        if not self.agents or len(set(self.agents)) != len(self.agents):
            raise ValueError("it lists no agents, or one of them twice")
        self.residual = str(arrays["network/residual"]) if "network/residual" in arrays else None
        self._rng = np.random.default_rng(seed)
        self._memory: PolicyState | None = None
        self.network: ActorNetwork
        self.network, self._actor, self._norms = restored(arrays, self.groups)
        self._sizes = self._lengths()

    @overload
    def act(
        self,
        observations: Mapping[str, np.ndarray],
        state: None = ...,
        *,
        deterministic: bool = ...,
        rng: np.random.Generator | None = ...,
    ) -> dict[str, np.ndarray]: ...

    @overload
    def act(
        self,
        observations: Mapping[str, np.ndarray],
        state: PolicyState,
        *,
        deterministic: bool = ...,
        rng: np.random.Generator | None = ...,
    ) -> tuple[dict[str, np.ndarray], PolicyState]: ...

    def act(
        self,
        observations: Mapping[str, np.ndarray],
        state: PolicyState | None = None,
        *,
        deterministic: bool = False,
        rng: np.random.Generator | None = None,
    ) -> dict[str, np.ndarray] | tuple[dict[str, np.ndarray], PolicyState]:
        """Actions of the agents that have an observation.

        Parameters
        ----------
        observations
            Observations by agent, ``(*batch, d)``: one environment's without batch axes, or many days' at once. Agents
            of a graph policy hear each other: give it those of all agents that are there.
        state
            What the policy remembers, from :meth:`initial_state` or the call before; the next state then follows the
            actions. Called without one, a policy with a memory keeps it itself from one call to the next;
            :meth:`reset` begins an episode anew.
        deterministic
            The mean of each action, as :func:`powergrid.evaluate` plays it; else actions are drawn around it as in
            training, ``mean + exp(log_std) z``.
        rng
            Where the numbers ``z`` are drawn from; the policy's own generator, seeded by :func:`load_policy`, if
            ``None``.

        Returns
        -------
        dict or tuple
            Actions by agent in [-1, 1], float32, ``(*batch, k)``; with `state` also the next state.

        Raises
        ------
        ArgumentError
            If an agent is not of this run, an observation has another length than in training, or batch axes differ
            from those of what is remembered.
        """
        found = self._checked(observations)
        actions = {}
        batch = next(iter(found.values())).shape[:-1] if found else ()
        memory = self._memory if state is None else state
        memory = self._fitting(self.initial_state(*batch) if memory is None else memory, batch)
        chosen, memory = self._acted(self._stacked(found), memory)
        if state is None:
            self._memory = memory
        for group, means in chosen.items():
            if not deterministic:
                means = means + self._spread(group, rng or self._rng, means)
            held = np.clip(means, -1.0, 1.0)
            members = enumerate(self.groups[group])
            actions.update({agent: held[..., row, :] for row, agent in members if agent in found})
        in_order = {agent: actions[agent] for agent in found}
        return in_order if state is None else (in_order, memory)

    def initial_state(self, *batch: int) -> PolicyState:
        """What the policy remembers before the first tick of ``batch`` environments; nothing if it has no memory."""
        return self.network.begun(batch)

    def reset(self) -> None:
        """Forget what was seen; call it when an episode begins. Policies without memory need it not."""
        self._memory = None

    def actions(
        self, observations: Mapping[str, np.ndarray], state: PolicyState
    ) -> tuple[dict[str, np.ndarray], PolicyState]:
        """Mean actions ``(*batch, n, k)`` by group for observations ``(*batch, n, d)`` of all groups; next state."""
        rows = {group: np.asarray(seen, np.float32) for group, seen in observations.items()}
        chosen, state = self._acted(rows, state)
        return {group: np.clip(means, -1.0, 1.0) for group, means in chosen.items()}, state

    def on(self, env: Any, *, others: str | None = None) -> TrainedPolicy:
        """The same policy for the agents of another environment; only graph policies act on any feeder.

        Parameters
        ----------
        env
            Environment of :func:`powergrid.make`, or the world of one.
        others
            Whether agents whose role was not trained are left out, and the local policy that plays them, for messages.

        Raises
        ------
        RunError
            If the network is bound to the agents of its run, or an agent has a role that was not trained.
        """
        from powergrid.learn.actors.feeder import roles_of, taken

        if not isinstance(self.network, Graph):
            raise RunError(
                f"the actors of network {self.network.kind} belong to the agents of their run, "
                f"{', '.join(self.agents)}; train with network=graph for a policy that acts on other feeders"
            )
        world, agents, issues = getattr(env, "world", env), [], []
        for agent, role in roles_of(world).items():
            try:
                taken(role, self.network.feeder.roles)
            except LookupError as error:
                issues.append(f'agent "{agent}" {error.args[0]}')
                continue
            agents.append(agent)
        if issues and (others is None or not agents):
            more = f" (and {len(issues) - 1} more agents)" if len(issues) > 1 else ""
            raise RunError(
                f"the policy does not fit {world.resolved.config.name}: {issues[0]}{more}. Train it with such agents, "
                'or name a local policy that plays them: others="rule_based", --others rule_based'
            )
        moved = copy.copy(self)
        moved._memory = None
        moved.network = self.network.on(world, agents)
        moved.groups = dict(moved.network.groups)
        moved.agents = tuple(agent for members in moved.groups.values() for agent in members)
        moved._sizes = moved._lengths()
        return moved

    def sizes(self, agent: str) -> tuple[int, int]:
        """Lengths of an agent's observation and action."""
        return self._sizes[self._group(agent)]

    def agent_layers(self, agent: str) -> tuple[Running, list[tuple[np.ndarray, np.ndarray]]]:
        """One agent's own network for exporters: input statistics and ``(kernel, bias)`` a layer, tanh in between.

        The agent's one-hot number is folded into the first bias.

        Raises
        ------
        ArgumentError
            If the agent's network is no stack of layers.
        """
        if not isinstance(self.network, Dense):
            raise ArgumentError(
                f"actors of network {self.network.kind} are no stacks of layers; train with network=dense to export "
                "them"
            )
        group = self._group(agent)
        row = self.groups[group].index(agent)
        norm = self._norms[group]
        width = norm.mean.shape[-1]
        layers = []
        own = {name: layer for name, layer in self._actor[group].items() if name != "log_std"}
        for number in range(len(own)):
            kernel, bias = (own[f"dense_{number}"][name] for name in ("kernel", "bias"))
            if kernel.ndim == 3:
                kernel, bias = kernel[row], bias[row]
            elif number == 0 and len(kernel) > width:
                kernel, bias = kernel[:width], bias + kernel[width + row]
            layers.append((kernel, bias))
        if norm.mean.ndim == 2:
            norm = Running(norm.mean[row], norm.var[row], norm.count[row, 0] if norm.count.ndim else norm.count)
        return norm, layers

    def _group(self, agent: str) -> str:
        return next(group for group, members in self.groups.items() if agent in members)

    def _lengths(self) -> dict[str, tuple[int, int]]:
        """Lengths of one agent's observation and action, by group."""
        return {group: (self.network.observation_size[group], self.network.action_size[group]) for group in self.groups}

    def _stacked(self, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Observations by group, zero for agents that are not there; groups without any are left out if they can be."""
        batch = next(iter(found.values())).shape[:-1] if found else ()
        rows = {}
        for group, members in self.groups.items():
            if self.network.hears or any(agent in found for agent in members):
                absent = np.zeros((*batch, self._sizes[group][0]), np.float32)
                rows[group] = np.stack([found.get(agent, absent) for agent in members], axis=-2)
        return rows if found else {}

    def _acted(self, rows: Mapping[str, np.ndarray], memory: PolicyState) -> tuple[dict[str, np.ndarray], PolicyState]:
        """Means of the actions before they are clipped, ``(*batch, n, k)`` by group, and the memory after them."""
        if not rows:
            return {}, memory
        return self.network.acted(np, self._actor, self.network.inputs(np, self._norms, rows), memory)

    def _fitting(self, memory: PolicyState, batch: tuple[int, ...]) -> PolicyState:
        """The memory, if it is one of `batch` environments."""
        wanted = {group: part.shape for group, part in self.initial_state(*batch).items()}
        held = {group: np.shape(part) for group, part in memory.items()}
        if wanted != held:
            raise ArgumentError(
                f"the memory has shapes {held}, these observations need {wanted}; begin with reset(), or with the "
                f"state of initial_state{batch}"
            )
        return memory

    def _spread(self, group: str, rng: np.random.Generator, means: np.ndarray) -> np.ndarray:
        log_std = self.network.spreads(self._actor).get(group)
        if log_std is None:
            raise ArgumentError(
                f"the actors of group {group} have no log_std to draw actions with; call act with deterministic=True"
            )
        drawn: np.ndarray = np.exp(log_std) * rng.standard_normal(means.shape, np.float32)
        return drawn

    def _checked(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {}
        for agent, seen in observations.items():
            if agent not in self.agents:
                hint = nearest(str(agent), self.agents) or f"the run has trained {', '.join(self.agents)}"
                raise ArgumentError(f'there is no policy for agent "{agent}"; {hint}')
            row, size = np.asarray(seen, np.float32), self.sizes(agent)[0]
            if row.shape[-1:] != (size,):
                raise ArgumentError(
                    f'the observation of agent "{agent}" has shape {row.shape}, its policy takes (*batch, {size}); use '
                    "the environment of the run's config.yaml"
                )
            found[agent] = row
        batches = {agent: row.shape[:-1] for agent, row in found.items()}
        if len(set(batches.values())) > 1:
            raise ArgumentError(f"observations have different batch axes: {batches}")
        return found


def load_policy(run: str | Path, *, seed: int = 0) -> TrainedPolicy:
    """The trained policies of a run; needs NumPy only.

    Parameters
    ----------
    run
        Folder of the run (its last checkpoint, or the best one of a run that keeps it), or a checkpoint file, such as
        ``run / "best.npz"``.
    seed
        Seed of the actions that :meth:`TrainedPolicy.act` draws.

    Raises
    ------
    RunError
        If the checkpoint is missing, damaged or holds no actor.

    Examples
    --------
    >>> policy = powergrid.load_policy("runs/p2p_microgrids-mappo-seed0")  # doctest: +SKIP
    >>> actions = policy.act(observations, deterministic=True)  # doctest: +SKIP
    """
    arrays = checkpoint.load(checkpoint.policy_file(run))
    try:
        return TrainedPolicy(arrays, seed)
    except KeyError as error:
        raise RunError(
            f"{checkpoint.file_of(run)}: the checkpoint lacks {error}; choose the checkpoint of a run"
        ) from error
    except ValueError as error:
        raise RunError(
            f"{checkpoint.file_of(run)}: the checkpoint holds no usable actors: {error}; choose the checkpoint of a run"
        ) from error
