"""The vocabulary of protocols for compiled loops: arrays of one environment's members, ``(members,)``.

Kernels of layers receive this module as ``xp``. Reductions and sorts run along the only axis; reductions keep it, as
``keepdims=True`` says on NumPy. Order and operations are NumPy's; sums run from first to last.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from powergrid.core.backend import running_maximum
from powergrid.core.machine_code import part
from powergrid.engine.compiled.kernels import INSTEAD

compiled_part = _plain = part(error_model="numpy", nogil=True)
"""Decorator of functions that compiled kernels call."""

abs, minimum, maximum, sqrt, exp, log, floor = np.abs, np.minimum, np.maximum, np.sqrt, np.exp, np.log, np.floor
sin, cos, logical_and, logical_or, logical_not = np.sin, np.cos, np.logical_and, np.logical_or, np.logical_not
zeros_like, finfo = np.zeros_like, np.finfo
_FEW = 24
"""Up to so many values are sorted by insertion."""


def where(condition, a, b):
    """`a` where `condition` holds, else `b`; either may be one number or an array of one."""
    raise NotImplementedError("compiled code only")


@overload(where, jit_options={"error_model": "numpy"})
def _where(condition, a, b):
    first, second = isinstance(a, types.Array), isinstance(b, types.Array)

    def arrays(condition, a, b):
        count = len(condition) if len(condition) > 1 else len(a) if len(a) > 1 else len(b)
        found = np.empty(count)
        for i in range(count):
            held = condition[i] if len(condition) > 1 else condition[0]
            if held:
                found[i] = a[i] if len(a) > 1 else a[0]
            else:
                found[i] = b[i] if len(b) > 1 else b[0]
        return found

    def left(condition, a, b):
        count = len(condition) if len(condition) > 1 else len(a)
        found = np.empty(count)
        for i in range(count):
            held = condition[i] if len(condition) > 1 else condition[0]
            if held:
                found[i] = a[i] if len(a) > 1 else a[0]
            else:
                found[i] = b
        return found

    def right(condition, a, b):
        count = len(condition) if len(condition) > 1 else len(b)
        found = np.empty(count)
        for i in range(count):
            held = condition[i] if len(condition) > 1 else condition[0]
            if held:
                found[i] = a
            else:
                found[i] = b[i] if len(b) > 1 else b[0]
        return found

    def numbers(condition, a, b):
        found = np.empty(len(condition))
        for i in range(len(condition)):
            found[i] = a if condition[i] else b
        return found

    if first and second:
        return arrays
    return left if first else right if second else numbers


@_plain
def round(values, decimals=0):
    """Nearest multiple of ``10^-decimals``, halves to even, in NumPy's order of operations."""
    scale, found = 10.0**decimals, np.empty(len(values))
    for i in range(len(values)):
        found[i] = np.rint(values[i] * scale) / scale
    return found


@_plain
def argsort(values, axis=-1, stable=True):
    """Positions in ascending order; equal ones stay in their order."""
    if len(values) > _FEW:
        return np.argsort(values, kind="mergesort")
    order = np.arange(len(values))
    for i in range(1, len(values)):
        k = i
        while k > 0 and values[order[k - 1]] > values[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i
    return order


@_plain
def sort(values, axis=-1):
    """Ascending."""
    return values[argsort(values)]


@_plain
def take_along_axis(values, order, axis=-1):
    """Values in the given order."""
    return values[order]


@_plain
def cumsum(values, axis=-1):
    """Running sum."""
    found, total = np.empty(len(values)), 0.0
    for i in range(len(values)):
        total += values[i]
        found[i] = total
    return found


@_plain
def sum(values, axis=-1, keepdims=True):
    """Sum as an array of one."""
    found = np.zeros(1)
    for value in values:
        found[0] += value
    return found


@_plain
def max(values, axis=-1, keepdims=True):
    """Largest as an array of one."""
    found = np.empty(1)
    found[0] = values[0]
    for value in values:
        found[0] = np.maximum(found[0], value)
    return found


@_plain
def min(values, axis=-1, keepdims=True):
    """Smallest as an array of one."""
    found = np.empty(1)
    found[0] = values[0]
    for value in values:
        found[0] = np.minimum(found[0], value)
    return found


@_plain
def concatenate(parts, axis=-1):
    """One after the other."""
    length = 0
    for values in parts:
        length += len(values)
    found, at = np.empty(length, parts[0].dtype), 0
    for values in parts:
        for value in values:
            found[at] = value
            at += 1
    return found


@_plain
def _running_maximum(xp, values):
    """Largest so far."""
    found = np.empty(len(values))
    for i in range(len(values)):
        found[i] = values[i] if i == 0 else np.maximum(found[i - 1], values[i])
    return found


INSTEAD[running_maximum] = _running_maximum
