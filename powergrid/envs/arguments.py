"""What `reset` is given, checked: seeds, options and days, the same for every form of environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from powergrid.core.errors import ArgumentError, nearest

SEEDS = 2**64
"""Seeds are whole numbers from 0 to one below this."""

_IGNORED = ("options",)
"""Options without meaning: PettingZoo's examiner of parallel environments passes ``{"options": 1}`` to every one."""


def fresh_seed() -> int:
    """A seed from the operating system's entropy, of 64 bits."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])


def checked_seed(seed: Any) -> int:
    """A seed as a whole number.

    Raises
    ------
    ArgumentError
        If it is no whole number from 0 to 2**64 - 1.
    """
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and 0 <= seed < SEEDS:
        return int(seed)
    raise ArgumentError(
        f"seed {seed!r} is not a whole number from 0 to 2**64 - 1; without a seed, the running stream goes on, or a "
        "fresh one begins"
    )


def checked_seeds(seed: Any, count: int) -> np.ndarray:
    """Seeds of `count` environments, uint64 ``(count,)``: counted up from one, or one for each.

    Raises
    ------
    ArgumentError
        If there is not one for each, or one is no whole number from 0 to 2**64 - 1.
    """
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str) and np.ndim(seed) == 1:
        if len(seed) != count:
            raise ArgumentError(f"{len(seed)} seeds were given for {count} environments; give one for each")
        return np.array([checked_seed(one) for one in seed], dtype=np.uint64)
    return np.uint64(checked_seed(seed)) + np.arange(count, dtype=np.uint64)


def checked_options(options: Mapping[str, Any] | None, allowed: Collection[str]) -> Mapping[str, Any]:
    """Options of `reset`.

    Raises
    ------
    ArgumentError
        If one is not known; names it and the nearest that is.
    """
    for name in options or ():
        if name not in allowed and name not in _IGNORED:
            hint = nearest(str(name), allowed)
            known = ", ".join(f'"{key}"' for key in allowed)
            raise ArgumentError(f'reset has no option "{name}"; {hint + " " if hint else ""}available: {known}')
    return options or {}


def checked_days(day: Any, count: int, days: int) -> np.ndarray:
    """Days of `count` environments, int32 ``(count,)``, from one for all or one for each.

    Raises
    ------
    ArgumentError
        If they are no whole numbers from 0 to ``days - 1``, or neither one nor `count`.
    """
    try:
        given = np.asarray(day)
    except ValueError:
        given = np.zeros(0, dtype=object)
    whole = given.dtype.kind in "iu" and bool(((given >= 0) & (given < days)).all())
    if not whole or given.shape not in ((), (count,)):
        each = "" if count == 1 else f", or {count} of them"
        raise ArgumentError(f"day {day!r} is not a whole number from 0 to {days - 1}{each}")
    return np.broadcast_to(given.astype(np.int32), (count,))
