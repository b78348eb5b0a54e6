"""Derivatives that JAX cannot find by itself: of solutions, of decisions, and of what has none. NumPy sees nothing.

Every function returns its first argument, to the bit; what it needs for the derivative alone, a compiler leaves out
where nobody differentiates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from powergrid.core.backend import Namespace, is_numpy
from powergrid.core.errors import PowerGridError
from powergrid.core.types import Array

Tree = TypeVar("Tree")
Columns = Any
"""Arrays in any nesting of tuples and mappings."""


class NotDifferentiableError(PowerGridError):
    """A derivative is asked for of something that has none here."""


def solution(xp: Namespace, found: Array, residual: Callable[[Array], Array]) -> Array:
    """The solution of ``residual(x, u) = 0`` with its derivative by what `residual` reads, ``-(dr/dx)^-1 dr/du``.

    The matrix is dense and made row by row, so this is for few unknowns; e.g. Blondel et al., "Efficient and modular
    implicit differentiation", NeurIPS 2022, arXiv:2105.15183.

    Parameters
    ----------
    found
        The solution, ``(*batch, n)``; it carries no derivative.
    residual
        Differentiable, ``(*batch, n)`` to the same; environments do not mix.
    """
    if is_numpy(xp):
        return found
    import jax
    import jax.numpy as jnp
    from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

    stop = jax.lax.stop_gradient
    traced = jax.make_jaxpr(residual)(stop(found))

    def first(x: Array, left: Array, inputs: Columns) -> Array:
        return x

    def forward(x: Array, left: Array, inputs: Columns) -> tuple[Array, Columns]:
        return x, (x, inputs)

    def backward(kept: Columns, cotangent: Array) -> tuple[None, Array, None]:
        x, inputs = kept
        _, pull = jax.vjp(lambda x: jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, inputs))(x)[0], x)
        unit = jnp.eye(x.shape[-1], dtype=x.dtype)
        rows = jax.vmap(lambda row: pull(jnp.broadcast_to(row, x.shape))[0], out_axes=-2)(unit)
        adjoint = jnp.linalg.solve(jnp.swapaxes(rows, -1, -2), -cotangent[..., None])[..., 0]
        return None, jnp.where(jnp.isfinite(adjoint), adjoint, 0.0), None

    joined: Any = jax.custom_vjp(first)
    joined.defvjp(forward, backward)
    with_derivative: Array = joined(stop(found), residual(stop(found)), [stop(value) for value in traced.consts])
    return with_derivative


def decided(xp: Namespace, outcome: Tree, choice: Array, on: Tree, off: Tree) -> Tree:
    """An outcome whose derivative by a choice between 0 and 1 is the difference of what 1 and 0 give.

    That is the slope of the line through both: a surrogate, for the outcome itself is a step. Where the choice changes
    nothing, for instance within a shortest time, it is zero.

    Parameters
    ----------
    outcome
        What the choice, rounded, gives.
    on, off
        What 1 and 0 give, in the form of `outcome`.
    """
    if is_numpy(xp):
        return outcome
    import jax

    def first(outcome: Tree, choice: Array, on: Tree, off: Tree) -> Tree:
        return outcome

    def forward(primals: Columns, tangents: Columns) -> tuple[Tree, Tree]:
        outcome, _, on, off = primals
        own, by_choice, *_ = tangents
        return outcome, jax.tree.map(lambda a, b, c: a + (b - c) * by_choice, own, on, off)

    joined: Any = jax.custom_jvp(first)
    joined.defjvp(forward)
    found: Tree = joined(outcome, choice, *jax.tree.map(jax.lax.stop_gradient, (on, off)))
    return found


def constant(xp: Namespace, values: Tree) -> Tree:
    """Values whose derivative by what they are made of is zero."""
    if is_numpy(xp):
        return values
    import jax

    found: Tree = jax.lax.stop_gradient(values)
    return found


def within(xp: Namespace, wish: Array) -> Array:
    """Shares within [-1, 1]; a wish outside keeps the part of its derivative by which a descent leads back."""
    inside: Array = xp.minimum(xp.maximum(wish, -1.0), 1.0)
    if is_numpy(xp):
        return inside
    import jax

    def first(wish: Array) -> Array:
        return xp.minimum(xp.maximum(wish, -1.0), 1.0)

    def forward(wish: Array) -> tuple[Array, Array]:
        return first(wish), wish

    def backward(wish: Array, slope: Array) -> tuple[Array]:
        outward = ((wish >= 1.0) & (slope < 0.0)) | ((wish <= -1.0) & (slope > 0.0))
        return (xp.where(outward, 0.0, slope),)

    joined: Any = jax.custom_vjp(first)
    joined.defvjp(forward, backward)
    found: Array = joined(wish)
    return found


def without_derivative(xp: Namespace, values: Tree, inputs: Columns, reason: str) -> Tree:
    """Values that a loop has made of `inputs`, and for which no derivative by these is known.

    Raises
    ------
    NotDifferentiableError
        With `reason`, as soon as a derivative passes in reverse.
    """
    if is_numpy(xp):
        return values
    import jax

    def first(values: Tree, inputs: Columns) -> Tree:
        return values

    def forward(values: Tree, inputs: Columns) -> tuple[Tree, None]:
        return values, None

    def backward(kept: None, cotangent: Columns) -> Columns:
        raise NotDifferentiableError(reason)

    joined: Any = jax.custom_vjp(first)
    joined.defvjp(forward, backward)
    kept: Tree = joined(values, [leaf for leaf in jax.tree.leaves(inputs) if isinstance(leaf, jax.Array)])
    return kept
