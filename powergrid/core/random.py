"""Counter-based random numbers: the same bits on NumPy and JAX, in any order, for any batch.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011,
doi:10.1145/2063384.2063405). A number is a pure function of the key, the tick, the stream and its position, so an
environment draws the same numbers alone or in a batch of ten thousand.
"""

from __future__ import annotations

import math

from powergrid.core.backend import DType, Namespace
from powergrid.core.types import Array

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_TO_UNIT = 2.0**-32


def key_from_seed(xp: Namespace, seed: Array) -> Array:
    """Key ``(*batch, 2)`` of uint32 for integer seeds ``(*batch,)``, equal to JAX's own key data for the seed.

    All 64 bits of a seed count: the upper half is the first word. JAX's own keys drop it outside its 64-bit mode.
    """
    seed = xp.asarray(seed)
    low = seed.astype(xp.uint32)
    high = (seed >> 32).astype(xp.uint32) if seed.dtype.itemsize == 8 else xp.zeros_like(low)
    return xp.stack([high, low], axis=-1)


def threefry2x32(xp: Namespace, key: Array, counter_0: Array, counter_1: Array) -> tuple[Array, Array]:
    """Two random uint32 words for a key ``(*batch, 2)`` and two uint32 counters that broadcast with ``(*batch,)``."""
    key_0, key_1 = key[..., 0], key[..., 1]
    schedule = (key_0, key_1, key_0 ^ key_1 ^ xp.uint32(_PARITY))
    x_0, x_1 = counter_0 + schedule[0], counter_1 + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x_0 = x_0 + x_1
            x_1 = (x_1 << xp.uint32(rotation)) | (x_1 >> xp.uint32(32 - rotation))
            x_1 = x_1 ^ x_0
        x_0 = x_0 + schedule[(group + 1) % 3]
        x_1 = x_1 + schedule[(group + 2) % 3] + xp.uint32(group + 1)
    return x_0, x_1


def fold_in(xp: Namespace, key: Array, number: Array) -> Array:
    """A new key ``(*batch, 2)`` for each number ``(*batch,)``, such as an episode's own key."""
    number = xp.asarray(number).astype(xp.uint32)[..., None]  # never zero-dimensional: NumPy scalars warn at overflow
    words = threefry2x32(xp, key[..., None, :], xp.zeros_like(number), number)
    return xp.concatenate(words, axis=-1)


def uniform(
    xp: Namespace, key: Array, tick: Array, stream: int, shape: tuple[int, ...], dtype: DType | None = None
) -> Array:
    """Uniform numbers in [0, 1).

    Parameters
    ----------
    key
        uint32, ``(*batch, 2)``.
    tick
        Integer tick, ``(*batch,)``.
    stream
        Number of the purpose (forecast error, day draw ...), below 256; streams are independent.
    shape
        Shape of the draw per environment.

    Returns
    -------
    Array
        ``(*batch, *shape)``.
    """
    dtype = dtype or xp.float64
    word_0, word_1 = _words(xp, key, tick, stream, shape)
    if dtype == xp.float64:
        high, low = (word_0 >> xp.uint32(5)).astype(dtype), (word_1 >> xp.uint32(6)).astype(dtype)
        value = (high * 67108864.0 + low) / 9007199254740992.0
    else:
        value = (word_0 >> xp.uint32(8)).astype(dtype) * 5.9604644775390625e-08
    return value.reshape((*value.shape[:-1], *shape))


def normal(
    xp: Namespace, key: Array, tick: Array, stream: int, shape: tuple[int, ...], dtype: DType | None = None
) -> Array:
    """Standard normal numbers (Box-Muller, one pair of words per number) with the arguments of :func:`uniform`."""
    dtype = dtype or xp.float64
    word_0, word_1 = _words(xp, key, tick, stream, shape)
    radius = xp.sqrt(-2.0 * xp.log((word_0.astype(dtype) + 0.5) * _TO_UNIT))
    value = radius * xp.cos(6.283185307179586 * _TO_UNIT * word_1.astype(dtype))
    return value.reshape((*value.shape[:-1], *shape))


def _words(xp: Namespace, key: Array, tick: Array, stream: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    position = xp.arange(math.prod(shape), dtype=xp.uint32)
    where = (xp.asarray(tick).astype(xp.uint32) << xp.uint32(8)) | xp.uint32(stream)
    return threefry2x32(xp, key[..., None, :], where[..., None], position)
