"""The kernels' vocabulary on floats, for compiled loops: what NumPy does with arrays, one number at a time.

Device kernels receive this module as ``xp``. NaN travels as in NumPy: a minimum with NaN is NaN.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

import numpy as np
from numba import njit

_word = njit(error_model="numpy", nogil=True)


@_word
def minimum(a, b):
    """Smaller of two numbers, NaN if either is."""
    return a if a < b or a != a else b


@_word
def maximum(a, b):
    """Larger of two numbers, NaN if either is."""
    return a if a > b or a != a else b


@_word
def where(condition, a, b):
    """`a` if `condition` holds, else `b`."""
    return a if condition else b


@_word
def abs(a):
    """Magnitude."""
    return math.fabs(a)


@_word
def sqrt(a):
    """Square root, NaN below zero."""
    return np.sqrt(a)


@_word
def exp(a):
    """Exponential."""
    return np.exp(a)


@_word
def log(a):
    """Natural logarithm."""
    return np.log(a)


@_word
def floor(a):
    """Largest whole number not above `a`."""
    return np.floor(a)


@_word
def round(a, decimals=0):
    """Nearest multiple of ``10^-decimals``, halves to even, in NumPy's order of operations."""
    scale = 10.0**decimals
    return np.rint(a * scale) / scale


@_word
def logical_not(a):
    """Opposite."""
    return not a


@_word
def logical_and(a, b):
    """Whether both hold."""
    return bool(a) and bool(b)


@_word
def logical_or(a, b):
    """Whether one holds."""
    return bool(a) or bool(b)
