"""The vocabulary of protocols for compiled loops: arrays of one environment's members, ``(members,)``.

Kernels of layers receive this module as ``xp``. Reductions and sorts run along the only axis; reductions keep it, as
``keepdims=True`` says on NumPy. Order and operations are NumPy's; sums run from first to last.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from numba import literal_unroll, types
from numba.extending import overload

from powergrid.core.backend import may_hold, sum_into, tied_sums, ties, unsorted, whole
from powergrid.core.machine_code import part
from powergrid.engine.compiled.kernels import INSTEAD

compiled_part = _plain = part(error_model="numpy", nogil=True)
"""Decorator of functions that compiled kernels call."""

abs, minimum, maximum, sqrt, exp, log, floor = np.abs, np.minimum, np.maximum, np.sqrt, np.exp, np.log, np.floor
sin, cos, logical_and, logical_or, logical_not = np.sin, np.cos, np.logical_and, np.logical_or, np.logical_not
zeros_like, finfo = np.zeros_like, np.finfo
_FEW = 24
"""Up to so many values are sorted by insertion."""


def _item(values: Any, i: int) -> Any:
    """Value at a position of an array; one number, or an array of one, stands at every position."""
    raise NotImplementedError("compiled code only")


def _width(values: Any) -> int:
    """Number of values."""
    raise NotImplementedError("compiled code only")


@overload(_item, jit_options={"error_model": "numpy"})
def _item_of(values, i):
    if isinstance(values, types.Array):
        return lambda values, i: values[i if len(values) > 1 else 0]
    return lambda values, i: values


@overload(_width)
def _width_of(values):
    return (lambda values: len(values)) if isinstance(values, types.Array) else lambda values: 1


@_plain
def where(condition, a, b):
    """`a` where `condition` holds, else `b`; each may be one number or an array of one."""
    found = np.empty(builtins.max(_width(condition), _width(a), _width(b)))
    for i in range(len(found)):
        found[i] = _item(a, i) if _item(condition, i) else _item(b, i)
    return found


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
    if len(values) > _FEW:
        return np.sort(values)
    found = np.empty(len(values))
    for i in range(len(values)):
        k = i
        while k > 0 and found[k - 1] > values[i]:
            found[k] = found[k - 1]
            k -= 1
        found[k] = values[i]
    return found


@_plain
def take_along_axis(values, order, axis=-1):
    """Values in the given order."""
    found = np.empty(len(order), values.dtype)
    for i in range(len(order)):
        found[i] = values[order[i]]
    return found


@_plain
def take(values, index, axis=-1):
    """Values at the given places."""
    found = np.empty(len(index), values.dtype)
    for i in range(len(index)):
        found[i] = values[index[i]]
    return found


@_plain
def cumsum(values, axis=-1):
    """Running sum."""
    return np.cumsum(values)


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
    for values in literal_unroll(parts):
        length += len(values)
    found, at = np.empty(length, parts[0].dtype), 0
    for values in literal_unroll(parts):
        for value in values:
            found[at] = value
            at += 1
    return found


@_plain
def _ties(xp, ascending):
    """Positions of the first and the last value equal to each."""
    count = len(ascending)
    first, last = np.zeros(count, np.int64), np.full(count, count - 1)
    for i in range(1, count):
        first[i] = first[i - 1] if ascending[i] == ascending[i - 1] else i
    for i in range(count - 2, -1, -1):
        last[i] = last[i + 1] if ascending[i] == ascending[i + 1] else i
    return first, last


@_plain
def _tied_sums(xp, groups, values):
    """Sums before and through each value's ties."""
    first, last = groups
    count, total = len(values), 0.0
    before, through = np.empty(count), np.empty(count)
    for i in range(count):
        total += values[i]
        through[i] = total
    for i in range(count):
        before[i] = through[first[i]] - values[first[i]]
    for i in range(count):
        through[i] = through[last[i]]  # the last of the ties comes no earlier
    return before, through


@_plain
def _unsorted(xp, values, order):
    """Values at the places where they stood before the sort."""
    found = np.empty(len(order), values.dtype)
    for i in range(len(order)):
        found[order[i]] = values[i]
    return found


@_plain
def _may_hold(xp, condition):
    """Whether it holds for any member."""
    holds = False
    for value in condition:
        holds |= value
    return holds


@_plain
def _sum_into(xp, values, target, size):
    """Sums of values by target."""
    found = np.zeros(size)
    for i in range(len(values)):
        found[target[i]] += values[i]
    return found


@_plain
def _whole(xp, values):
    """As integers."""
    found = np.empty(len(values), np.int64)
    for i in range(len(values)):
        found[i] = int(values[i])
    return found


INSTEAD.update(
    {
        ties: _ties,
        tied_sums: _tied_sums,
        unsorted: _unsorted,
        may_hold: _may_hold,
        sum_into: _sum_into,
        whole: _whole,
    }
)
