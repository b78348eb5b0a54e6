"""Options of `reset`, checked in the same way for every form of environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from powergrid.core.errors import ArgumentError, nearest

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
