"""Trained policies on NumPy: what a checkpoint has learned, acting without JAX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import overload

import numpy as np

from powergrid.core.errors import ArgumentError, RunError, nearest
from powergrid.learn import checkpoint
from powergrid.learn.networks import Running, Stack, dense_stack, normalise

PolicyState = dict[str, np.ndarray]
"""What a policy remembers between two ticks, by name, ``(*batch, ...)``; empty where it remembers nothing."""


class TrainedPolicy:
    """Policies of all agents of a run: normalised observation, dense stack, normal distribution, clipped to [-1, 1].

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
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], seed: int = 0):
        self.step = int(arrays["step"])
        self.groups = checkpoint.groups_of(arrays)
        self.agents = tuple(agent for members in self.groups.values() for agent in members)
        if not self.agents or len(set(self.agents)) != len(self.agents):
            raise ValueError("it lists no agents, or one of them twice")
        self._rng = np.random.default_rng(seed)
        self._norms = {
            group: Running(*(arrays[f"obs_norm/{group}/{name}"] for name in Running._fields)) for group in self.groups
        }
        self._layers: dict[str, Stack] = {
            group: _group_layers(arrays, group, len(members), self._norms[group])
            for group, members in self.groups.items()
        }
        self._log_std = {group: arrays.get(f"actor/{group}/log_std") for group in self.groups}

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
            Observations by agent, ``(*batch, d)``: one environment's without batch axes, or many days' at once.
        state
            What the policy remembers, from :meth:`initial_state` or the call before; the next state then follows the
            actions. Policies without memory may be called without one.
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
            If an agent is not of this run, or an observation has another length than in training.
        """
        found = self._checked(observations)
        actions = {}
        for group, members in self.groups.items():
            present = [agent for agent in members if agent in found]
            if not present:
                continue
            absent = np.zeros_like(found[present[0]])
            rows = np.stack([found.get(agent, absent) for agent in members], axis=-2)
            means = self._means(group, rows)
            if not deterministic:
                means = means + self._spread(group, rng or self._rng, means)
            held = np.clip(means, -1.0, 1.0)
            actions.update({agent: held[..., row, :] for row, agent in enumerate(members) if agent in found})
        in_order = {agent: actions[agent] for agent in found}
        return in_order if state is None else (in_order, state)

    def initial_state(self, *batch: int) -> PolicyState:
        """What the policy remembers before the first tick of ``batch`` environments: nothing, it has no memory."""
        return {}

    def group_actions(self, group: str, observations: np.ndarray) -> np.ndarray:
        """Mean actions ``(*batch, n, k)`` of a group's agents for ``(*batch, n, d)``."""
        return np.clip(self._means(group, np.asarray(observations, np.float32)), -1.0, 1.0)

    def sizes(self, agent: str) -> tuple[int, int]:
        """Lengths of an agent's observation and action."""
        group = self._group(agent)
        layers = self._layers[group]
        return self._norms[group].mean.shape[-1], layers[f"dense_{len(layers) - 1}"]["bias"].shape[-1]

    def agent_layers(self, agent: str) -> tuple[Running, list[tuple[np.ndarray, np.ndarray]]]:
        """One agent's own network for exporters: input statistics and ``(kernel, bias)`` a layer, tanh in between.

        The agent's one-hot number is folded into the first bias.
        """
        group = self._group(agent)
        row = self.groups[group].index(agent)
        norm = self._norms[group]
        width = norm.mean.shape[-1]
        layers = []
        for number in range(len(self._layers[group])):
            kernel, bias = (self._layers[group][f"dense_{number}"][name] for name in ("kernel", "bias"))
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

    def _means(self, group: str, rows: np.ndarray) -> np.ndarray:
        """Means of the actions before they are clipped, ``(*batch, n, k)``."""
        return dense_stack(np, self._layers[group], normalise(np, self._norms[group], rows))

    def _spread(self, group: str, rng: np.random.Generator, means: np.ndarray) -> np.ndarray:
        log_std = self._log_std[group]
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
        Folder of the run (its last checkpoint), or a checkpoint file, such as ``run / "best.npz"``.
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
    arrays = checkpoint.load(run)
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


def _group_layers(arrays: Mapping[str, np.ndarray], group: str, agents: int, norm: Running) -> Stack:
    """The layers of one group, each fitting the one before and the number of agents.

    Raises
    ------
    KeyError
        If a layer is missing.
    ValueError
        If a shape or type fits no stack.
    """
    layers: Stack = {}
    width = norm.mean.shape[-1:]
    fits = norm.mean.shape in (width, (agents, *width)) and norm.var.shape == norm.mean.shape
    if not fits or norm.count.shape not in ((), (agents, 1)):
        raise ValueError(f"obs_norm/{group} has shapes {norm.mean.shape}, {norm.var.shape} and {norm.count.shape}")
    if not (norm.var >= 0.0).all():
        raise ValueError(f"obs_norm/{group}/var is negative")
    count = len({key.split("/")[-2] for key in arrays if key.startswith(f"actor/{group}/dense_")}) or 1
    for number in range(count):
        kernel, bias = (arrays[f"actor/{group}/dense_{number}/{name}"] for name in ("kernel", "bias"))
        identity = (0, agents) if number == 0 and kernel.ndim == 2 else (0,)
        fits = kernel.ndim in (2, 3) and bias.shape == (*kernel.shape[:-2], kernel.shape[-1])
        fits = fits and kernel.shape[:-2] in ((), (agents,)) and kernel.dtype.kind == bias.dtype.kind == "f"
        if not fits or (kernel.shape[-2],) not in [tuple(n + extra for n in width) for extra in identity]:
            raise ValueError(
                f"actor/{group}/dense_{number} has {kernel.dtype}{list(kernel.shape)} and {bias.dtype}"
                f"{list(bias.shape)}, which fit no layer of {agents} agents behind {list(width)} inputs"
            )
        width = kernel.shape[-1:]
        layers[f"dense_{number}"] = {"kernel": kernel, "bias": bias}
    return layers
