"""Which namespace, which loop: the few places where NumPy and JAX differ. JAX is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from powergrid.core.errors import MissingExtraError
from powergrid.core.types import Array

Carry = TypeVar("Carry")


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
    return jax


def jax_numpy() -> ModuleType:
    """The ``jax.numpy`` namespace.

    Raises
    ------
    MissingExtraError
        If JAX is not installed.
    """
    jnp: ModuleType = jax_module().numpy
    return jnp


def jax_float64() -> AbstractContextManager[Any]:
    """Context in which JAX computes in float64; the global flag stays as it is."""
    jax = jax_module()
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64(True)


def is_numpy(xp: Any) -> bool:
    """True for the NumPy namespace."""
    return xp is np


def while_loop(xp: Any, condition: Callable[[Carry], Array], body: Callable[[Carry], Carry], start: Carry) -> Carry:
    """Repeat `body` while `condition` holds: a Python loop on NumPy, ``lax.while_loop`` on JAX."""
    if is_numpy(xp):
        carry = start
        while condition(carry):
            carry = body(carry)
        return carry
    import jax

    return jax.lax.while_loop(condition, body, start)


def running_maximum(xp: Any, values: Array) -> Array:
    """Cumulative maximum along the last axis."""
    if is_numpy(xp):
        return np.maximum.accumulate(values, axis=-1)
    import jax

    return jax.lax.cummax(values, axis=values.ndim - 1)
