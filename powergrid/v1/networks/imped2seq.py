"""v1's helper from phase matrices to symmetrical components."""

from __future__ import annotations

from typing import Any

import numpy as np

_A = np.exp(2j * np.pi / 3)
FORTESCUE = np.array([[1, 1, 1], [1, _A**2, _A], [1, _A, _A**2]])
"""Phase quantities from zero, positive and negative sequence ones."""


def imped2seq(Z_abc: Any) -> np.ndarray:
    """Symmetrical components of a phase matrix: ``A^-1 Z A``.

    Parameters
    ----------
    Z_abc
        Impedances or admittances of the phases a, b, c, any unit, ``(3, 3)``.

    Returns
    -------
    numpy.ndarray
        The same in the order zero, positive, negative sequence, complex, ``(3, 3)``.

    References
    ----------
    C. L. Fortescue, "Method of symmetrical co-ordinates applied to the solution of polyphase networks", Transactions
    of the AIEE 37, 1918.
    """
    return np.asarray(np.linalg.solve(FORTESCUE, np.asarray(Z_abc) @ FORTESCUE))
