"""Protocols of kind learning at work: parameters of the members' policies are mixed every few updates.

Only the weights of actors and the spread of their exploration are mixed. Each member keeps the statistics of its own
inputs, as in Li, Jiang, Zhang, Kamp and Dou, "FedBN: Federated learning on non-IID features via local batch
normalization", ICLR 2021 (arXiv:2102.07623), and so do optimisers and critics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.errors import ConfigError, Issue
from powergrid.learn.groups import ByGroup
from powergrid.learn.learner import FunctionalEnv

Actors = ByGroup[dict[str, Any]]


def mixings_of(env: FunctionalEnv) -> tuple[Any, ...]:
    """Mixings of the environment's protocols of kind learning; environments of other origin have none."""
    return tuple(getattr(getattr(env, "world", None), "mixings", ()))


def with_own_actors(env: FunctionalEnv, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with which each agent has an actor of its own where a protocol mixes their parameters.

    Raises
    ------
    ConfigError
        If `hyper` says otherwise.
    """
    mixings = mixings_of(env)
    if mixings and hyper.get("share_actors", False):
        message = f"protocol {mixings[0].name} has nothing to mix: agents of a group have one actor together"
        raise ConfigError([Issue("share_actors", message, "leave share_actors out, or the protocol")])
    return {**hyper, "share_actors": False} if mixings else dict(hyper)


class Federation:
    """The mixings of one environment.

    Parameters
    ----------
    env
        Functional environment.
    """

    def __init__(self, env: FunctionalEnv):
        self._mixings = [(mixing.interval, _Mixed(env.groups, mixing)) for mixing in mixings_of(env)]

    def __bool__(self) -> bool:
        return bool(self._mixings)

    def begun(self, actors: Actors) -> Actors:
        """Actors before the first update: all members of a protocol begin with the parameters of its first one."""
        for _, mixed in self._mixings:
            actors = mixed.equal(actors)
        return actors

    def mixed(self, actors: Actors, updates: int) -> tuple[Actors, dict[str, Any]]:
        """Actors after so many updates, and what the learning curve says of it.

        Returns
        -------
        actors, metrics
            ``mixings`` is the number of protocols that mixed in this update, ``parameter_distance`` how far apart their
            members were before: root mean square over members and parameters of the distance from their mean, mean
            over the protocols.
        """
        count, distances = 0, []
        for interval, mixed in self._mixings:
            distances.append(mixed.distance(actors))
            if updates % interval == 0:
                actors, count = mixed(actors), count + 1
        return actors, {"mixings": np.int32(count), "parameter_distance": jnp.mean(jnp.stack(distances))}


class _Mixed:
    """One mixing: where its members' parameters lie among those of all agents, and what becomes of them."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]], mixing: Any):
        place = {id: (group, row) for group, members in groups.items() for row, id in enumerate(members)}
        order = sorted(range(len(mixing.members)), key=lambda k: list(groups).index(place[mixing.members[k]][0]))
        rows: dict[str, list[int]] = {}
        for k in order:
            group, row = place[mixing.members[k]]
            rows.setdefault(group, []).append(row)
        self._rows = {group: np.array(own) for group, own in rows.items()}
        self._matrix = jnp.asarray(np.asarray(mixing.matrix)[np.ix_(order, order)], jnp.float32)
        self._first = order.index(0)
        self._apply = jax.jit(lambda actors, matrix: self._put(actors, self._gathered(actors), matrix))
        self.distance = jax.jit(lambda actors: _spread(self._gathered(actors)))

    def __call__(self, actors: Actors) -> Actors:
        """The mixing."""
        mixed: Actors = self._apply(actors, self._matrix)
        return mixed

    def equal(self, actors: Actors) -> Actors:
        """The first member's parameters for all."""
        first = np.zeros(self._matrix.shape, np.float32)
        first[:, self._first] = 1.0
        begun: Actors = self._apply(actors, jnp.asarray(first))
        return begun

    def _gathered(self, actors: Actors) -> Any:
        """Parameters of the members, ``(n, ...)`` each."""
        own = [jax.tree.map(lambda leaf, rows=rows: leaf[rows], actors[group]) for group, rows in self._rows.items()]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *own)

    def _put(self, actors: Actors, gathered: Any, matrix: Any) -> Actors:
        """The actors with the members' mixed parameters in their places."""
        mixed = jax.tree.map(
            lambda leaf: jnp.einsum("ij,j...->i...", matrix, leaf, precision="highest"),
            gathered,
        )
        parts, at = dict(actors.by_name()), 0
        for group, rows in self._rows.items():
            here = slice(at, at + len(rows))
            parts[group] = jax.tree.map(
                lambda leaf, new, rows=rows, here=here: leaf.at[rows].set(new[here]), parts[group], mixed
            )
            at += len(rows)
        return ByGroup.of(actors.names, parts)


def _spread(gathered: Any) -> Any:
    """Root mean square distance of the members' parameters from their mean."""
    leaves = jax.tree.leaves(gathered)
    total = sum(jnp.square(leaf - leaf.mean(0)).sum() for leaf in leaves)
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))
