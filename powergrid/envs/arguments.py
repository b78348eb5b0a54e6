"""Options of `reset`, checked in the same way for every form of environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from powergrid.core.errors import ArgumentError, ConfigError, Issue, nearest

_IGNORED = ("options",)
"""Options without effect: PettingZoo's test of parallel environments passes ``{"options": 1}``."""


def checked_options(options: Mapping[str, Any] | None, allowed: Collection[str]) -> Mapping[str, Any]:
    """Return the options of `reset`.

    Raises
    ------
    ArgumentError
        If an option is unknown; the message names it and the nearest known one.
    """
    for name in options or ():
        if name not in allowed and name not in _IGNORED:
            hint = nearest(str(name), allowed)
            known = ", ".join(f'"{key}"' for key in allowed)
            raise ArgumentError(f'reset has no option "{name}"; {hint + " " if hint else ""}available: {known}')
    return options or {}


def checked_mask(mask: object, count: int) -> np.ndarray:
    """Return the environments that a reset begins anew, bool ``(count,)``; all of them for ``None``.

    Raises
    ------
    ArgumentError
        If the mask is no array of as many truth values, or chooses none.
    """
    if mask is None:
        return np.ones(count, dtype=bool)
    chosen = np.asarray(mask)
    if chosen.dtype != np.bool_ or chosen.shape != (count,) or not chosen.any():
        raise ArgumentError(
            f'reset option "reset_mask" must hold {count} truth values, at least one of them true, found {mask!r}'
        )
    return chosen


def checked_autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    """Return when the next episode begins, from Gymnasium's value or its name.

    Raises
    ------
    ConfigError
        If it is neither that of the same step nor that of the next one.
    """
    modes = {"same_step": AutoresetMode.SAME_STEP, "next_step": AutoresetMode.NEXT_STEP}
    if mode in modes.values():
        return AutoresetMode(mode)
    if mode in modes:
        return modes[str(mode)]
    hint = nearest(str(mode), modes) or 'one of "same_step", "next_step"'
    raise ConfigError([Issue("autoreset", f"{mode!r} is not available", hint)])
