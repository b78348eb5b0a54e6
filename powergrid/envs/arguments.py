"""What `reset` is given, checked: seeds, options and days, the same for every form of environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from powergrid.core.errors import ArgumentError, nearest

_IGNORED = ("options",)
"""Options without meaning: PettingZoo's examiner of parallel environments passes ``{"options": 1}`` to every one."""


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
