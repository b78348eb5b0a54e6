"""The iteration of the method for JAX, and its derivative by the implicit function theorem.

The solution is the fixed point ``x = g(x, u)`` of what the network answers to the sources that the voltages `x` make of
the inputs `u`. A derivative does not follow the iterations: with the cotangent `c` of `x` it solves the adjoint
``w = c + (dg/dx)^T w``, whose iteration contracts as the flow's does, and returns ``(dg/du)^T w``; e.g. Blondel et al.,
"Efficient and modular implicit differentiation", NeurIPS 2022, arXiv:2105.15183.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.types import Array
from powergrid.powerflow.zbus_maps import Plan
from powergrid.powerflow.zbus_terms import (
    Loop,
    Scenario,
    at_places,
    load_current,
    moving_sources,
    product,
    standing_product,
    without_load,
)

_LIMIT_PU = 10.0
"""A voltage beyond this [pu] diverges: the environment keeps its last value and stops."""
_DIVERGED_PU = 1e3
_ADJOINT_TOL = 1e-7
"""Largest change of an adjoint in its last iteration over its largest value [1]; at least 100 eps of its type."""


class Equation:
    """The right side of ``x = g(x)`` for the inputs of a batch; `x` is the deviation from the no-load voltage.

    Attributes
    ----------
    given
        The inputs.
    base
        ``[V bus, V from, I regulator]`` without load [pu].
    """

    def __init__(self, plan: Plan, given: Scenario):
        self.plan, self.given = plan, given
        self.base = without_load(plan, given, plan.inner_source, plan.inner_held)
        self._power = at_places(plan, given)
        self._corrected = given.topology is not None and plan.inner_held is None
        gain = plan.compiled.gain[plan.compiled.regulator]
        gains = np.concatenate([gain, np.conj(gain)]).astype(given.s.dtype)
        self._shift = jnp.concatenate([given.tap, given.tap], axis=-1) * gains

    def drawn(self, x: Array) -> Array:
        """Currents that the loads draw, ``(*batch, a)``."""
        return load_current((self.base + x)[..., : len(self.plan.bus)], *self._power)

    def with_taps(self, drawn: Array, x: Array) -> Array:
        """``[i, e, g]`` in real form: loads that draw `drawn`, and what the taps add at `x`."""
        taps = self._shift * (self.base + x)[..., len(self.plan.bus) :]
        complex_form = jnp.concatenate([-drawn, taps], axis=-1)
        return jnp.concatenate([complex_form.real, complex_form.imag], axis=-1)

    def sources(self, x: Array) -> Array:
        """``[i, e, g]`` for the voltages and currents ``base + x``, in real form."""
        return self.with_taps(self.drawn(x), x)

    def respond_to(self, sources: Array, columns: np.ndarray | None = None) -> Array:
        """What the network answers to sources, or the `columns` of it."""
        plan, given = self.plan, self.given
        inner = plan.inner if columns is None else plan.inner[..., columns]
        found = standing_product(plan, given, sources, inner)
        if not self._corrected:
            return found
        moving = plan.inner_moving if columns is None else plan.inner_moving[:, columns]
        return found + product(moving_sources(plan, given, sources), moving)

    def __call__(self, x: Array) -> Array:
        """The next `x`."""
        return self.respond_to(self.sources(x))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def at_rest(plan: Plan, tol_pu: float, begin: Array, given: Scenario) -> Loop:
    """Iterate to the solution from `begin`.

    Its `x` carries derivatives by the inputs, none by `begin`; those of an environment that has not converged are zero.
    """
    equation = Equation(plan, given)
    judged = len(plan.bus) + len(plan.compiled.regulator)

    def iterate(loop: Loop) -> Loop:
        found = equation(loop.x)
        step = found - loop.x
        change = jnp.sqrt((step.real**2 + step.imag**2)[..., :judged].max(-1, initial=0.0))
        sound = change < _LIMIT_PU  # False for NaN as well
        moves = sound & ~loop.settled
        return Loop(
            x=jnp.where(moves[..., None], found, loop.x),
            residual=jnp.where(loop.settled, loop.residual, jnp.where(sound, change, _DIVERGED_PU)),
            iterations=loop.iterations + ~loop.settled,
            count=loop.count + 1,
            settled=loop.settled | ~sound | (change < tol_pu),
        )

    first = Loop(
        x=begin,
        residual=jnp.full(given.good.shape, _DIVERGED_PU, equation.base.real.dtype),
        iterations=jnp.zeros(given.good.shape, jnp.int32),
        count=jnp.zeros((), jnp.int32),
        settled=~given.good,
    )
    last: Loop = jax.lax.while_loop(lambda loop: (loop.count < plan.max_iter) & ~loop.settled.all(), iterate, first)
    return last


class _Kept(NamedTuple):
    """What the derivative needs of the solution: inputs, `x`, and where there is one."""

    given: Scenario
    x: Array
    solved: Array


class _Adjoint(NamedTuple):
    """The adjoint, iterations done, and the largest change over the largest value by environment."""

    w: Array
    count: Array
    change: Array


def _forward(plan: Plan, tol_pu: float, begin: Array, given: Scenario) -> tuple[Loop, _Kept]:
    last = at_rest(plan, tol_pu, begin, given)
    return last, _Kept(given, last.x, last.residual < tol_pu)


def _backward(plan: Plan, tol_pu: float, kept: _Kept, cotangent: Loop) -> tuple[None, Scenario]:
    given, x, solved = kept
    _, by_x = jax.vjp(Equation(plan, given), x)
    c = jnp.where(solved[..., None], cotangent.x, 0.0)
    tol = max(_ADJOINT_TOL, 100.0 * float(jnp.finfo(x.real.dtype).eps))

    def size(values: Array) -> Array:
        return (values.real**2 + values.imag**2).max(-1, initial=0.0)

    def iterate(at: _Adjoint) -> _Adjoint:
        w = c + by_x(at.w)[0]
        change = size(w - at.w) / jnp.maximum(size(w), jnp.finfo(x.real.dtype).tiny)
        return _Adjoint(w, at.count + 1, change)

    first = _Adjoint(c, jnp.zeros((), jnp.int32), jnp.ones(solved.shape, x.real.dtype))
    last = jax.lax.while_loop(lambda at: (at.count < plan.max_iter) & (at.change > tol**2).any(), iterate, first)
    w = jnp.where(jnp.isfinite(last.w), last.w, 0.0)
    inputs = given.s, given.s_i, given.s_z, given.tap, given.source

    def by_inputs(s: Array, s_i: Array | None, s_z: Array | None, tap: Array, source: Array) -> Array:
        return Equation(plan, Scenario(s, s_i, s_z, tap, source, given.good, given.topology))(x)

    _, pull = jax.vjp(by_inputs, *inputs)
    s, s_i, s_z, tap, source = pull(w)
    return None, Scenario(s, s_i, s_z, tap, source, good=None, topology=None)


at_rest.defvjp(_forward, _backward)
