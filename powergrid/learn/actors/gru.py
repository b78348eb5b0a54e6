"""Actors with a memory: a gated recurrent unit for each group of agents, or for each agent.

An agent's normalised observation ``x`` becomes ``e = tanh(E x)``, its memory ``h`` follows, and it acts on both:

``z, r = sigmoid(W e + U h + b)``, ``n = tanh(W_n e + r (U_n h) + b_n)``, ``h <- (1 - z) n + z h``, ``mean = H (e, h)``

Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk and Bengio, "Learning phrase representations using RNN
encoder-decoder for statistical machine translation", EMNLP 2014, arXiv:1406.1078. The memory is 0 when an episode
begins. It passes from one roll-out to the next, while gradients pass back through one chunk of a roll-out at most, as
in Hausknecht and Stone, "Deep recurrent Q-learning for partially observable MDPs", 2015, arXiv:1507.06527.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.learn.actors.dense import Dense
from powergrid.learn.actors.network import Groups, statistics_of, tree_of
from powergrid.learn.networks import Running, Stack, dense_stack, stack

_KEEP = 1.0  # first bias of the gate that keeps the memory


class Gru(Dense):
    """Recurrent actors, by group; inputs, statistics and their sharing are those of dense ones.

    Weights are by group ``{"encoder", "input", "memory", "head": stacks, "log_std"}``; the three gates stand side by
    side in ``input`` and ``memory``: keep, read, new.

    Parameters
    ----------
    groups, observation_size, action_size, shared
        As for :class:`powergrid.learn.actors.dense.Dense`.
    width
        Length of an agent's memory.
    chunk
        Ticks that gradients pass back through; 0 for all of a roll-out.
    """

    kind = "gru"
    remembers = True

    def __init__(
        self,
        groups: Groups,
        observation_size: Mapping[str, int],
        action_size: Mapping[str, int],
        *,
        shared: bool,
        width: int,
        chunk: int = 0,
    ):
        super().__init__(groups, observation_size, action_size, shared=shared)
        self.width, self.chunk = width, chunk

    def init(self, rng: np.random.Generator, hidden: tuple[int, ...], log_std: float | None) -> Any:
        """First weights of all groups."""
        from powergrid.learn.groups import ByGroup

        def actor(group: str) -> dict[str, Any]:
            agents, size, width = len(self.groups[group]), self.action_size[group], self.width
            alone = 1 if self.shared else agents
            parts: dict[str, Any] = {
                "encoder": stack(
                    rng, (self.input_size[group], width), last_gain=np.sqrt(2.0), agents=agents, shared=self.shared
                ),
                "input": stack(rng, (width, 3 * width), last_gain=1.0, agents=alone, shared=self.shared),
                "memory": stack(rng, (width, 3 * width), last_gain=1.0, agents=alone, shared=self.shared),
                "head": stack(
                    rng, (2 * width, *hidden[1:], size), last_gain=self.first_gain, agents=alone, shared=self.shared
                ),
            }
            parts["input"]["dense_0"]["bias"][..., :width] = _KEEP
            if log_std is not None:
                parts["log_std"] = np.full((size,) if self.shared else (agents, size), log_std, np.float32)
            return parts

        return ByGroup.make(self.groups, actor)

    def begun(self, batch: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Memories at the beginning of an episode."""
        return {group: np.zeros((*batch, len(own), self.width), np.float32) for group, own in self.groups.items()}

    def means(self, xp: Namespace, actor: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Mean actions in the first tick of an episode."""
        first = {group: self.begun(rows.shape[:-2])[group] for group, rows in inputs.items()}
        return self.acted(xp, actor, inputs, first)[0]

    def acted(
        self, xp: Namespace, actor: Any, inputs: Mapping[str, Array], memory: Mapping[str, Array]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Mean actions of one tick, and the memories after it."""
        seen = self.seen(xp, actor, inputs)
        after = {**memory, **self.recalled(xp, actor, seen, memory)}
        return self.chosen(xp, actor, seen, after), after

    def seen(self, xp: Namespace, actor: Any, inputs: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
        """What needs no memory: encoded inputs, and their share in the gates."""
        found = {}
        for group, rows in inputs.items():
            encoded = xp.tanh(dense_stack(xp, actor[group]["encoder"], rows))
            found[group] = (encoded, dense_stack(xp, actor[group]["input"], encoded))
        return found

    def recalled(
        self, xp: Namespace, actor: Any, seen: Mapping[str, tuple[Array, Array]], memory: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Memories after one tick."""
        return {
            group: _cell(xp, actor[group]["memory"], share, memory[group], self.width)
            for group, (_, share) in seen.items()
        }

    def chosen(
        self, xp: Namespace, actor: Any, seen: Mapping[str, tuple[Array, Array]], memory: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Mean actions for what is seen and remembered."""
        return {
            group: dense_stack(xp, actor[group]["head"], xp.concatenate([encoded, memory[group]], -1))
            for group, (encoded, _) in seen.items()
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The kind; the weights say the rest."""
        return {"kind": np.array(self.kind)}


def _cell(xp: Namespace, weights: Stack, share: Array, memory: Array, width: int) -> Array:
    """The memory after one tick, for the share of the input in the gates."""
    own = dense_stack(xp, weights, memory)
    gates = 1.0 / (1.0 + xp.exp(-(share[..., : 2 * width] + own[..., : 2 * width])))
    keep, read = gates[..., :width], gates[..., width:]
    new = xp.tanh(share[..., 2 * width :] + read * own[..., 2 * width :])
    return (1.0 - keep) * new + keep * memory


def restored(arrays: Mapping[str, np.ndarray], groups: Groups) -> tuple[Gru, dict[str, Any], dict[str, Running]]:
    """Network, weights and statistics of a checkpoint; faults as :func:`powergrid.learn.actors.network.restored`."""
    norms = {group: statistics_of(arrays, group, len(members)) for group, members in groups.items()}
    actor = {group: tree_of(arrays, f"actor/{group}/") for group in groups}
    first = next(iter(actor.values()))["encoder"]["dense_0"]["bias"]
    width, sizes, actions = first.shape[-1], {}, {}
    for group, members in groups.items():
        own, agents = actor[group], len(members)
        sizes[group] = norms[group].mean.shape[-1]
        shared = own["encoder"]["dense_0"]["kernel"].ndim == 2
        lead, extra = ((), agents if agents > 1 else 0) if shared else ((agents,), 0)
        head = [own["head"][f"dense_{number}"] for number in range(len(own["head"]))]
        actions[group] = head[-1]["bias"].shape[-1]
        outs = [layer["bias"].shape[-1] for layer in head]
        expected = [
            ("encoder", own["encoder"]["dense_0"], sizes[group] + extra, width),
            ("input", own["input"]["dense_0"], width, 3 * width),
            ("memory", own["memory"]["dense_0"], width, 3 * width),
            *(("head", layer, rows, out) for layer, rows, out in zip(head, [2 * width, *outs[:-1]], outs, strict=True)),
        ]
        for name, layer, rows, columns in expected:
            kernel, bias = layer["kernel"], layer["bias"]
            if kernel.shape != (*lead, rows, columns) or bias.shape != (*lead, columns) or kernel.dtype.kind != "f":
                raise ValueError(
                    f"actor/{group}/{name} has {kernel.dtype}{list(kernel.shape)} and {bias.dtype}{list(bias.shape)}, "
                    f"expected float{[*lead, rows, columns]} and float{[*lead, columns]}"
                )
    shared = all(norm.mean.ndim == 1 for norm in norms.values())
    return Gru(groups, sizes, actions, shared=shared, width=width), actor, norms
