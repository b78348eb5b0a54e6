"""Seeds of episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powergrid.core.errors import ArgumentError

SEEDS = 2**64
"""Number of seeds: a seed is a whole number from 0 to one below this."""


def fresh_seed() -> int:
    """Draw a seed of 64 bits from the operating system's entropy."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])


def checked_seed(seed: object) -> int:
    """Return a seed as a whole number.

    Raises
    ------
    ArgumentError
        If `seed` is no whole number from 0 to 2**64 - 1.
    """
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and 0 <= seed < SEEDS:
        return int(seed)
    raise ArgumentError(
        f"seed {seed!r} is not a whole number from 0 to 2**64 - 1; without a seed the running stream "
        "continues, or a new one starts"
    )


def checked_seeds(seed: object, count: int) -> np.ndarray:
    """Seeds of `count` environments, uint64 ``(count,)``: ``seed + i`` for environment i, or one per environment.

    Raises
    ------
    ArgumentError
        If the number of seeds differs from `count`, or one is no whole number from 0 to 2**64 - 1.
    """
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str) and np.ndim(seed) == 1:
        if len(seed) != count:
            raise ArgumentError(f"{len(seed)} seeds for {count} environments; give one per environment")
        return np.array([checked_seed(one) for one in seed], dtype=np.uint64)
    return np.uint64(checked_seed(seed)) + np.arange(count, dtype=np.uint64)


def episode_seed(seed: int, day: int) -> int:
    """Seed of one day of an evaluation: ``env.reset(seed=episode_seed(seed, day), options={"day": day})`` plays it."""
    return (seed * 1_000_003 + day) % 2**63
