"""One scenario of Newton's method, and the voltages from which it starts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.powerflow.compiled import Compiled, Sparse


class Problem(NamedTuple):
    """One scenario by nodes, the first source last; powers are drawn, in per unit."""

    y: Sparse
    constant: np.ndarray
    current: np.ndarray
    impedance: np.ndarray
    v_fixed: np.ndarray  # magnitude where it is set, NaN elsewhere
    angle_fixed: np.ndarray  # angle of the sources, NaN elsewhere

    def drawn(self, vm: np.ndarray) -> np.ndarray:
        """Power drawn at the nodes at voltage magnitudes `vm`."""
        power: np.ndarray = self.constant + self.current * vm + self.impedance * vm**2
        return power


def starts(compiled: Compiled, problem: Problem, tap: np.ndarray, given: np.ndarray | None) -> Iterator[np.ndarray]:
    """Where to begin: the voltages `given`, then with the angles of a DC power flow, then with those of no load."""
    if given is not None and np.isfinite(given).all():
        first = np.zeros(compiled.n_node + 1, complex)
        first[compiled.node] = given
        yield first
    for loaded in (True, False):
        yield _start(compiled, problem, tap, loaded)


def _start(compiled: Compiled, problem: Problem, tap: np.ndarray, loaded: bool) -> np.ndarray:
    """Angles of a DC power flow, `loaded` or not, magnitudes that change evenly between set ones along the ratios."""
    keep, size = compiled.live, compiled.n_node + 1
    weight, gain = np.abs(compiled.series[keep]), compiled.gains(tap)[keep]
    f, t = compiled.from_node[keep], compiled.to_node[keep]

    def spread(step: np.ndarray, extra: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Least squares of ``x_t - x_f = step``, driven by `extra`, with some values known."""
        right = extra.copy()
        np.add.at(right, t, weight * step)
        np.add.at(right, f, -weight * step)
        free = np.isnan(known)
        x = np.where(free, 0.0, known)
        if free.any():
            matrix, factors = _spreading(compiled, free.tobytes())
            x[free] = factors.solve((right - matrix @ x)[free])
        return x

    drawn = problem.drawn(np.ones(size)).real if loaded else np.zeros(size)
    angle = spread(np.angle(gain), -drawn, problem.angle_fixed)
    magnitude = np.exp(spread(np.log(np.abs(gain)), np.zeros(size), np.log(problem.v_fixed)))
    voltages: np.ndarray = magnitude * np.exp(1j * angle)
    return voltages


@lru_cache(maxsize=16)
def _spreading(compiled: Compiled, free: bytes) -> tuple[Sparse, Any]:
    """Matrix of :func:`_start`, and its factors in the nodes whose values are not known."""
    keep, size = compiled.live, compiled.n_node + 1
    weight, f, t = np.abs(compiled.series[keep]), compiled.from_node[keep], compiled.to_node[keep]
    matrix = sp.csc_matrix(
        (np.concatenate([weight, weight, -weight, -weight]), (np.r_[f, t, f, t], np.r_[f, t, t, f])), shape=(size, size)
    )
    chosen = np.frombuffer(free, bool)
    return matrix, splu(matrix[chosen][:, chosen].tocsc())
