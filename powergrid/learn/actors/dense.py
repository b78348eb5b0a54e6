"""A stack for each group of agents, or for each agent: nobody sees more than its own observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.learn.actors.network import Groups, statistics_of
from powergrid.learn.networks import Running, Stack, dense_stack, merge, normalise, running, stack


class Dense:
    """Dense stacks, by group.

    Weights are by group ``{"dense_0": {"kernel", "bias"}, ..., "log_std"}``, statistics :class:`Running`.

    Parameters
    ----------
    groups
        Agents by group.
    observation_size, action_size
        Length of one agent's vectors, by group.
    shared
        Whether agents of a group share a stack, told the agent by a one-hot number, and its statistics.
    """

    kind = "dense"
    hears = False
    remembers = False
    first_gain = 0.01

    def __init__(
        self, groups: Groups, observation_size: Mapping[str, int], action_size: Mapping[str, int], *, shared: bool
    ):
        self.groups, self.shared = groups, shared
        self.observation_size: Mapping[str, int] = dict(observation_size)
        self.input_size: Mapping[str, int] = self.observation_size
        self.action_size: Mapping[str, int] = dict(action_size)

    def init(self, rng: np.random.Generator, hidden: tuple[int, ...], log_std: float | None) -> Any:
        """First weights of all groups."""
        from powergrid.learn.groups import ByGroup

        def actor(group: str) -> dict[str, Any]:
            agents, size = len(self.groups[group]), self.action_size[group]
            widths = (self.input_size[group], *hidden, size)
            layers: dict[str, Any] = dict(
                stack(rng, widths, last_gain=self.first_gain, agents=agents, shared=self.shared)
            )
            if log_std is not None:
                layers["log_std"] = np.full((size,) if self.shared else (agents, size), log_std, np.float32)
            return layers

        return ByGroup.make(self.groups, actor)

    def statistics(self, counted: bool) -> Any:
        """Statistics of each group, or of each agent."""
        from powergrid.learn.groups import ByGroup

        def of_group(group: str) -> Running:
            size, members = self.input_size[group], len(self.groups[group])
            if self.shared:
                return running((size,))
            return running((members, size), (members, 1) if counted else ())

        return ByGroup.make(self.groups, of_group)

    def merged(self, xp: Namespace, norms: Any, obs: Mapping[str, Array], there: Mapping[str, Array | None]) -> Any:
        """Statistics with one roll-out."""
        parts = {group: merge(xp, norms[group], obs[group], where=there[group]) for group in self.groups}
        return type(norms).of(self.groups, parts)

    def inputs(self, xp: Namespace, norms: Any, obs: Mapping[str, Array]) -> dict[str, Array]:
        """Normalised observations."""
        return {group: normalise(xp, norms[group], rows) for group, rows in obs.items()}

    def means(self, xp: Namespace, actor: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Mean actions."""
        return {group: dense_stack(xp, _layers(actor[group]), rows) for group, rows in inputs.items()}

    def exploring(self, xp: Namespace, actor: Any, squares: Mapping[str, Array], least: float) -> Any:
        """Weights with other spreads of exploration."""
        parts = {}
        for group in self.groups:
            held, own = actor[group].get("log_std"), squares[group]
            parts[group] = dict(actor[group])
            if held is not None:
                mean = own if held.ndim == own.ndim else own.mean(0)
                parts[group]["log_std"] = 0.5 * xp.log(xp.maximum(mean, least**2)).astype(held.dtype)
        return type(actor).of(self.groups, parts)

    def begun(self, batch: tuple[int, ...]) -> dict[str, np.ndarray]:
        """No memories."""
        return {}

    def acted(
        self, xp: Namespace, actor: Any, inputs: Mapping[str, Array], memory: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Mean actions; there is no memory."""
        return self.means(xp, actor, inputs), dict(memory)

    def spreads(self, actor: Any) -> dict[str, Array]:
        """Spreads of exploration; none for weights without."""
        return {group: actor[group]["log_std"] for group in self.groups if "log_std" in actor[group]}

    def arrays(self) -> dict[str, np.ndarray]:
        """Nothing: the weights say it all."""
        return {}


def restored(arrays: Mapping[str, np.ndarray], groups: Groups) -> tuple[Dense, dict[str, Any], dict[str, Running]]:
    """Network, weights and statistics of a checkpoint; faults as :func:`powergrid.learn.actors.network.restored`."""
    norms = {group: statistics_of(arrays, group, len(members)) for group, members in groups.items()}
    actor: dict[str, Any] = {}
    for group, members in groups.items():
        actor[group] = dict(_group_layers(arrays, group, len(members), norms[group]))
        if f"actor/{group}/log_std" in arrays:
            actor[group]["log_std"] = arrays[f"actor/{group}/log_std"]
    sizes = {group: norm.mean.shape[-1] for group, norm in norms.items()}
    actions = {group: _last(layers)["bias"].shape[-1] for group, layers in actor.items()}
    shared = all(norm.mean.ndim == 1 for norm in norms.values())
    return Dense(groups, sizes, actions, shared=shared), actor, norms


def _layers(actor: dict[str, Any]) -> Stack:
    return {name: layer for name, layer in actor.items() if name != "log_std"}


def _last(actor: dict[str, Any]) -> dict[str, Array]:
    layers = _layers(actor)
    return layers[f"dense_{len(layers) - 1}"]


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
