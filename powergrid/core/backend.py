"""Array namespaces and loops: the few places where NumPy and JAX differ. JAX is imported on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from powergrid.core.errors import MissingExtraError
from powergrid.core.types import Array

Carry = TypeVar("Carry")
DType = Any
"""Type of numbers: ``xp.float64`` or what ``np.dtype`` takes."""


class FloatInfo(Protocol):
    """Result of ``xp.finfo``."""

    @property
    def eps(self) -> Array: ...


class LinearAlgebra(Protocol):
    """``xp.linalg``."""

    def solve(self, a: Array, b: Array, /) -> Array: ...


class Namespace(Protocol):
    """An array namespace `xp`: the functions that kernels and steps call, alike in NumPy and ``jax.numpy``.

    A function that is missing here is added when both namespaces have it with the same meaning.
    """

    @property
    def bool_(self) -> DType: ...
    @property
    def float32(self) -> DType: ...
    @property
    def float64(self) -> DType: ...
    @property
    def int32(self) -> DType: ...
    @property
    def int64(self) -> DType: ...
    @property
    def uint32(self) -> DType: ...
    @property
    def nan(self) -> float: ...
    @property
    def inf(self) -> float: ...
    @property
    def pi(self) -> float: ...
    @property
    def linalg(self) -> LinearAlgebra: ...

    # by element
    def abs(self, x: Array, /) -> Array: ...
    def clip(self, x: Array, low: Array, high: Array, /) -> Array: ...
    def cos(self, x: Array, /) -> Array: ...
    def exp(self, x: Array, /) -> Array: ...
    def floor(self, x: Array, /) -> Array: ...
    def isfinite(self, x: Array, /) -> Array: ...
    def isnan(self, x: Array, /) -> Array: ...
    def log(self, x: Array, /) -> Array: ...
    def logical_not(self, x: Array, /) -> Array: ...
    def maximum(self, a: Array, b: Array, /) -> Array: ...
    def minimum(self, a: Array, b: Array, /) -> Array: ...
    def round(self, x: Array, /, decimals: int = ...) -> Array: ...
    def sign(self, x: Array, /) -> Array: ...
    def sin(self, x: Array, /) -> Array: ...
    def sqrt(self, x: Array, /) -> Array: ...
    def tanh(self, x: Array, /) -> Array: ...
    def where(self, condition: Array, a: Array, b: Array, /) -> Array: ...

    # along an axis
    def all(self, a: Array, /, axis: int | None = ...) -> Array: ...
    def any(self, a: Array, /, axis: int | None = ...) -> Array: ...
    def argsort(self, a: Array, /, axis: int = ..., *, stable: bool = ...) -> Array: ...
    def cumsum(self, a: Array, /, axis: int | None = ...) -> Array: ...
    def einsum(self, subscripts: str, /, *operands: Array) -> Array: ...
    def max(self, a: Array, /, axis: int | None = ..., *, keepdims: bool = ...) -> Array: ...
    def searchsorted(self, a: Array, v: Array, /, side: Literal["left", "right"] = ...) -> Array: ...
    def min(self, a: Array, /, axis: int | None = ..., *, keepdims: bool = ...) -> Array: ...
    def sort(self, a: Array, /, axis: int = ...) -> Array: ...
    def sum(self, a: Array, /, axis: int | None = ..., *, keepdims: bool = ...) -> Array: ...
    def take(self, a: Array, indices: Array, /, axis: int) -> Array: ...
    def take_along_axis(self, a: Array, indices: Array, /, axis: int) -> Array: ...

    # new arrays
    def arange(self, stop: int, /, *, dtype: DType = ...) -> Array: ...
    def asarray(self, a: Array, /, dtype: DType = ...) -> Array: ...
    def broadcast_to(self, a: Array, shape: tuple[int, ...], /) -> Array: ...
    def concatenate(self, arrays: Sequence[Array], /, axis: int = ...) -> Array: ...
    def eye(self, n: int, /, *, dtype: DType = ...) -> Array: ...
    def finfo(self, dtype: DType, /) -> FloatInfo: ...
    def moveaxis(self, a: Array, source: int, destination: int, /) -> Array: ...
    def ones(self, shape: int | tuple[int, ...], /, dtype: DType = ...) -> Array: ...
    def ones_like(self, a: Array, /, dtype: DType = ...) -> Array: ...
    def stack(self, arrays: Sequence[Array], /, axis: int = ...) -> Array: ...
    def zeros(self, shape: int | tuple[int, ...], /, dtype: DType = ...) -> Array: ...
    def zeros_like(self, a: Array, /, dtype: DType = ...) -> Array: ...


@cache
def jax_module() -> ModuleType:
    """The ``jax`` namespace with its transformations.

    Raises
    ------
    MissingExtraError
        If JAX is not installed.
    """
    try:
        import jax
    except ImportError as error:
        raise MissingExtraError("JAX", "rl", "a functional environment or training") from error
    module: ModuleType = jax
    return module


def jax_numpy() -> Namespace:
    """The ``jax.numpy`` namespace.

    Raises
    ------
    MissingExtraError
        If JAX is not installed.
    """
    jnp: Namespace = jax_module().numpy
    return jnp


def jax_float64() -> AbstractContextManager[object]:
    """Context in which JAX computes in float64; the global flag stays as it is."""
    jax = jax_module()
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    context: AbstractContextManager[object] = home.enable_x64(True)
    return context


def is_numpy(xp: Namespace) -> bool:
    """True for the NumPy namespace."""
    return xp is np


def while_loop(
    xp: Namespace, condition: Callable[[Carry], Array], body: Callable[[Carry], Carry], start: Carry
) -> Carry:
    """Repeat `body` while `condition` holds: a Python loop on NumPy, ``lax.while_loop`` on JAX.

    What it returns carries no derivatives on JAX, since a loop without a known end has none in reverse; whoever needs
    them takes the last pass again behind the loop, or the implicit function theorem.
    """
    if is_numpy(xp):
        carry = start
        while condition(carry):
            carry = body(carry)
        return carry
    import jax

    def loop() -> Carry:
        last: Carry = jax.lax.while_loop(condition, body, start)
        return last

    closed, inputs = jax.closure_convert(loop)  # what `body` reads from outside is held as well
    held: Carry = closed(*map(jax.lax.stop_gradient, inputs))
    return held


def root(xp: Namespace, x: Array) -> Array:
    """Square root whose derivative at zero is zero instead of infinite."""
    if is_numpy(xp):
        return xp.sqrt(x)
    zero = x == 0.0
    return xp.where(zero, 0.0, xp.sqrt(xp.where(zero, 1.0, x)))


def ties(xp: Namespace, ascending: Array) -> tuple[Array, Array]:
    """Positions of the first and the last of the equal values that each value of a sorted last axis stands among."""

    def running_maximum(values: Array) -> Array:
        if is_numpy(xp):
            return np.maximum.accumulate(values, axis=-1)
        import jax

        return jax.lax.cummax(values, axis=values.ndim - 1)

    last = ascending.shape[-1] - 1
    position = xp.arange(last + 1)
    change = ascending[..., 1:] != ascending[..., :-1]
    edge = ascending[..., :1] != ascending[..., :1]
    first = running_maximum(xp.concatenate((edge, change), axis=-1) * position)
    rest = running_maximum((xp.concatenate((change, edge), axis=-1) * (last - position))[..., ::-1])[..., ::-1]
    return first, last - rest


def tied_sums(xp: Namespace, groups: tuple[Array, Array], values: Array) -> tuple[Array, Array]:
    """Sums of values along the last axis before and through the ties that each stands among, of :func:`ties`."""
    first, last = groups
    through = xp.cumsum(values, axis=-1)
    before = xp.take_along_axis(through - values, first, axis=-1)
    return before, xp.take_along_axis(through, last, axis=-1)


def unsorted(xp: Namespace, values: Array, order: Array) -> Array:
    """Values of a last axis that ``argsort`` has put in `order`, at the places where they stood before."""
    return xp.take_along_axis(values, xp.argsort(order, axis=-1, stable=True), axis=-1)


def may_hold(xp: Namespace, condition: Array) -> bool:
    """False where a condition holds nowhere, so that what it is for can be left out; JAX always gets True."""
    return bool(condition.any()) if is_numpy(xp) else True


def sum_into(xp: Namespace, values: Array, target: Array, size: int) -> Array:
    """Sums of values along the last axis into `size` places, ``(*batch, size)``; `target` is the place of each."""
    if is_numpy(xp):
        batch = values.shape[:-1]
        if values.dtype == np.float64 and values.size:  # the same sums in the same order, without the cost of `at`
            count = prod(batch)
            places = np.arange(count)[:, None] * size + np.asarray(target, np.int64)
            return np.bincount(places.ravel(), values.ravel(), count * size).reshape(*batch, size)
        found = np.zeros((*batch, size), dtype=values.dtype)
        np.add.at(np.moveaxis(found, -1, 0), np.asarray(target), np.moveaxis(values, -1, 0))
        return found
    import jax.numpy as jnp

    return jnp.zeros((*values.shape[:-1], size), dtype=values.dtype).at[..., target].add(values)


def whole(xp: Namespace, values: Array) -> Array:
    """Numbers without a fraction as integers, for use as places."""
    return values.astype(xp.int64 if is_numpy(xp) else xp.int32)
