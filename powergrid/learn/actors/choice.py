"""Networks of actors by their names, for learners and for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from powergrid.learn.actors import dense, graph, gru
from powergrid.learn.actors.network import ActorNetwork, Groups
from powergrid.learn.learner import FunctionalEnv
from powergrid.worlds.residual import corrected


def network_of(env: FunctionalEnv, settings: Any) -> ActorNetwork:
    """The network that the settings ask for; where actions correct a local policy, its actors begin with that policy.

    Raises
    ------
    ConfigError
        If it does not fit the environment or another setting.
    """
    network = _made(env, settings)
    if corrected(env) is not None:
        network.first_gain = 0.0
    return network


def _made(env: FunctionalEnv, settings: Any) -> ActorNetwork:
    if settings.network == "graph":
        return graph.graph_of(env, settings)
    if settings.network == "gru":
        return gru.Gru(
            env.groups,
            env.observation_size,
            env.action_size,
            shared=settings.share_actors,
            width=settings.hidden[0],
            chunk=settings.chunk,
        )
    return dense.Dense(env.groups, env.observation_size, env.action_size, shared=settings.share_actors)


def restored(arrays: Mapping[str, np.ndarray], groups: Groups) -> tuple[Any, Any, Any]:
    """Network, weights and statistics of a checkpoint.

    Raises
    ------
    KeyError
        If an array is missing.
    ValueError
        If shapes or types fit no network.
    """
    kind = str(arrays.get("network/kind", "dense"))
    if kind == "graph":
        return graph.restored(arrays, groups)
    if kind == "gru":
        return gru.restored(arrays, groups)
    if kind != "dense":
        raise ValueError(f'its network "{kind}" is not one of dense, graph and gru')
    return dense.restored(arrays, groups)
