"""Where the numbers of a command lie among the slots."""

from __future__ import annotations

from typing import Any

import numpy as np


def mask(layout: Any, *fields: str) -> np.ndarray:
    """Whether a slot holds one of these command fields of any device, ``(K,)``."""
    return _mask(layout, layout.families, fields)


def batteries(layout: Any) -> np.ndarray:
    """Whether a slot holds the active power of something with a state of charge, ``(K,)``."""
    return _mask(layout, [family for family in layout.families if "soc" in family.kernel.State._fields], ("p_mw",))


def _mask(layout: Any, families: Any, fields: tuple[str, ...]) -> np.ndarray:
    found = np.zeros(layout.slots.size, dtype=bool)
    for family in families:
        for j, name in enumerate(family.kernel.Command._fields):
            if name in fields:
                found[family.slot[family.free[:, j], j]] = True
    return found
