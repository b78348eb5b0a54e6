"""Random keys of a learner: streams of numbers that follow from the run's key and the update."""

from __future__ import annotations

import numpy as np

from powergrid.core import random
from powergrid.core.backend import Namespace
from powergrid.core.types import Array

_RESET_KEYS = 3  # a stream of random numbers


def reset_keys(xp: Namespace, key: Array, num_envs: int) -> Array:
    """Raw keys ``(num_envs, 2)`` that the environments' streams of episodes begin with."""
    return stream_keys(xp, key, xp.zeros((), np.int32), _RESET_KEYS, (num_envs,))


def stream_keys(xp: Namespace, key: Array, update: Array, stream: int, shape: tuple[int, ...]) -> Array:
    """Raw keys ``(*shape, 2)``, a pure function of the run's key and the update."""
    where = (xp.asarray(update).astype(xp.uint32) << xp.uint32(8)) | xp.uint32(stream)
    position = xp.arange(int(np.prod(shape)), dtype=xp.uint32).reshape(shape)
    return xp.stack(random.threefry2x32(xp, xp.asarray(key), where, position), -1)
