"""Who is linked with whom among the members of a protocol: static weights."""

from __future__ import annotations

import numpy as np


def full(members: int) -> np.ndarray:
    """Everybody with everybody else, ``(members, members)``."""
    return np.ones((members, members)) - np.eye(members)
