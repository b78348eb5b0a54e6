"""The command of a device of version 1."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def _no_floats() -> np.ndarray:
    return np.zeros(0, np.float32)


def _no_ints() -> np.ndarray:
    return np.zeros(0, np.int32)


@dataclass
class Action:
    """A continuous and a discrete part; either may be empty.

    Attributes
    ----------
    c
        Continuous part in physical units, float32, ``(dim_c,)``.
    d
        Discrete part, int32, ``(dim_d,)``; at most one number.
    dim_c, dim_d
        Lengths of both.
    ncats
        Number of choices of the discrete part.
    range
        Lowest and highest continuous values, ``(2, dim_c)``.
    """

    c: np.ndarray = field(default_factory=_no_floats)
    d: np.ndarray = field(default_factory=_no_ints)
    dim_c: int = 0
    dim_d: int = 0
    ncats: int = 0
    range: np.ndarray | None = None

    def sample(self) -> None:
        """Draw both parts from NumPy's global generator, as v1 did; ``env.reset(seed=...)`` does not seed it."""
        if self.range is not None and self.dim_c > 0:
            low, high = self.range
            self.c = np.random.uniform(low, high).astype(np.float32)  # noqa: NPY002
        if min(self.dim_d, self.ncats) > 0:
            self.d = np.array([np.random.randint(self.ncats)], dtype=np.int32)  # noqa: NPY002
