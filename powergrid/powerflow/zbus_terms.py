"""The terms of the equation that the method for JAX iterates: loads as currents, and products with the plan's maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.backend import DType, root
from powergrid.core.types import Array, Control, NodeLoad
from powergrid.powerflow.compile import Compiled
from powergrid.powerflow.zbus_maps import Plan

_MIN_V2 = 1e-4
"""Floor of |V|^2 in S / V [pu^2], so that a collapsing iterate stays finite."""


class Scenario(NamedTuple):
    """Inputs of a batch.

    Complex loads by bus (constant power, current, impedance), relative taps, source voltage, whether all are numbers,
    topology.
    """

    s: Array
    s_i: Array | None
    s_z: Array | None
    tap: Array
    source: Array
    good: Array
    topology: Array | None


class Loop(NamedTuple):
    """Deviations ``[V bus, V from, I regulator]``, largest change, iterations by environment and of all, at rest."""

    x: Array
    residual: Array
    iterations: Array
    count: Array
    settled: Array


def scenario(plan: Plan, batch: tuple[int, ...], load: NodeLoad, control: Control) -> Scenario:
    """Complex inputs with the batch's axes; an environment with an input that is no number gets no load."""
    compiled = plan.compiled
    dtype = jnp.promote_types(jnp.asarray(load.p_mw).dtype, jnp.float32)
    own = compiled.tap_ratio.astype(dtype)
    tap = jnp.zeros_like(own) if control.tap_ratio is None else jnp.asarray(control.tap_ratio, dtype) / own - 1.0
    source = compiled.source_v_pu if control.v_source_pu is None else control.v_source_pu
    source = jnp.broadcast_to(jnp.asarray(source, dtype), batch)[..., None]
    s = as_complex(load.p_mw, load.q_mvar, dtype)
    s_i, s_z = as_complex(load.p_i_mw, load.q_i_mvar, dtype), as_complex(load.p_z_mw, load.q_z_mvar, dtype)
    if len(compiled.cap_bus):
        to_bus = np.zeros((len(compiled.cap_bus), compiled.n_place), complex)
        to_bus[np.arange(len(compiled.cap_bus)), compiled.cap_bus] = compiled.cap
        on = jnp.ones(len(compiled.cap_bus), dtype) if control.cap_on is None else jnp.asarray(control.cap_on, dtype)
        switched = on @ jnp.asarray(to_bus, s.dtype)
        s_z = switched if s_z is None else s_z + switched
    topology = None
    if control.topology is not None and len(compiled.moving.size):
        topology = jnp.broadcast_to(jnp.asarray(control.topology, jnp.int32), batch)
        alive = jnp.asarray(_energised_places(compiled))[topology]
        s, s_i, s_z = (None if part is None else jnp.where(alive, part, 0.0) for part in (s, s_i, s_z))
    check = source[..., 0] + tap.sum(-1)
    for part in (s, s_i, s_z):
        check = check if part is None else check + part.sum(-1)
    good = jnp.isfinite(jnp.broadcast_to(check, batch))

    def kept(part: Array | None, instead: float = 0.0) -> Array | None:
        if part is None:
            return None
        part = jnp.broadcast_to(part, (*batch, part.shape[-1]))
        return jnp.where(good[..., None], part, jnp.asarray(instead, part.dtype))

    return Scenario(kept(s), kept(s_i), kept(s_z), kept(tap), kept(source, compiled.source_v_pu), good, topology)


def _energised_places(compiled: Compiled) -> np.ndarray:
    """Whether a load at each place has voltage in each topology, ``(T, w)``."""
    alive = compiled.moving.energised
    if compiled.phases is None:
        return alive
    return np.concatenate([alive, alive[:, compiled.phases.pair_a] & alive[:, compiled.phases.pair_b]], axis=1)


def drawn_between(compiled: Compiled, given: Scenario, v: Array, which: np.ndarray) -> Array:
    """Powers that loads between two nodes draw at the first of them and, numbered behind those, at the second."""
    assert compiled.phases is not None
    pairs = len(compiled.phases.pair_a)
    pair, at_second = which % pairs, which >= pairs
    a, b = compiled.phases.pair_a[pair], compiled.phases.pair_b[pair]
    voltage = v[..., a] - v[..., b]
    parts = [None if s is None else s[..., compiled.n_bus + pair] for s in given[:3]]
    own = load_current(voltage, *_between_phases(parts, np.ones(len(pair), bool)))
    return jnp.where(at_second, -v[..., b], v[..., a]) * jnp.conj(own)


def _between_phases(parts: Sequence[Array], pair: np.ndarray) -> tuple[Array, ...]:
    """Loads whose 1 pu, where they lie between two phases, is ``sqrt(3)`` of that to earth."""
    scales = (1.0, np.where(pair, np.sqrt(1 / 3), 1.0), np.where(pair, 1 / 3, 1.0))
    kind = parts[0].real.dtype
    return tuple(None if s is None else s * jnp.asarray(c, kind) for s, c in zip(parts, scales, strict=True))


def at_places(plan: Plan, given: Scenario) -> tuple[Array, ...]:
    """Loads at the plan's places."""
    parts = tuple(None if s is None else s[..., plan.bus] for s in given[:3])
    if plan.compiled.phases is None:
        return parts
    return _between_phases(parts, plan.bus >= plan.compiled.n_bus)


def as_complex(p: Array | None, q: Array | None, dtype: DType) -> Array:
    """``p + j q`` with a missing part zero; ``None`` where both are missing."""
    if p is None and q is None:
        return None
    re, im = (jnp.zeros((), dtype) if part is None else jnp.asarray(part, dtype) for part in (p, q))
    return jax.lax.complex(*jnp.broadcast_arrays(re, im))


def moving_sources(plan: Plan, given: Scenario, sources: Array) -> Array:
    """Sources of the moving elements in each environment's topology, in real form, for the other `sources`."""
    ports = given.source * plan.ports_source.astype(given.s.dtype) + product(sources, plan.ports)
    table = jnp.asarray(plan.topologies, sources.dtype)[given.topology]
    form = jnp.concatenate([ports.real, ports.imag], axis=-1)
    found = jnp.matmul(form[..., None, :], table, precision="highest")[..., 0, :]
    if plan.compiled.moving.n_reference == 0:
        return found
    return found + jnp.asarray(plan.held, sources.dtype)[given.topology]


def load_current(v: Array, s: Array, s_i: Array | None, s_z: Array | None) -> Array:
    """Current drawn by loads, ``conj(S / V)`` with ``S = S_p + S_i |V| + S_z |V|^2``."""
    square = v.real**2 + v.imag**2
    if s_i is not None:
        s = s + s_i * root(jnp, square)
    if s_z is not None:
        s = s + s_z * square
    toward, inverse = jnp.conj(s) * v, 1.0 / jnp.maximum(square, _MIN_V2)
    return jax.lax.complex(toward.real * inverse, toward.imag * inverse)  # complex / real would divide by a complex


def product(sources: Array, matrix: np.ndarray) -> Array:
    """Complex rows ``M x`` from ``x`` in real form."""
    rows = jnp.matmul(sources, jnp.asarray(matrix, sources.dtype), precision="highest")
    half = matrix.shape[1] // 2
    return jax.lax.complex(rows[..., :half], rows[..., half:])


def standing_product(plan: Plan, given: Scenario, sources: Array, matrix: np.ndarray) -> Array:
    """The product in each environment's topology, where `matrix` has one for each."""
    if matrix.ndim == 2:
        return product(sources, matrix)
    if given.topology is None:
        return product(sources, matrix[0])
    count, height, width = matrix.shape  # all of them in one product: their number is small, memory is slow
    rows = jnp.matmul(
        sources, jnp.asarray(matrix.swapaxes(0, 1).reshape(height, -1), sources.dtype), precision="highest"
    )
    rows = rows.reshape(*rows.shape[:-1], count, width)
    rows = jnp.take_along_axis(rows, given.topology[..., None, None], axis=-2)[..., 0, :]
    return jax.lax.complex(rows[..., : width // 2], rows[..., width // 2 :])


def without_load(plan: Plan, given: Scenario, source: np.ndarray, held: np.ndarray | None) -> Array:
    """What the source causes and, in a three-phase network with topologies, what references do."""
    if held is None:
        return given.source * source.astype(given.s.dtype)
    topology = 0 if given.topology is None else given.topology
    by_source, by_references = (jnp.asarray(part, given.s.dtype)[topology] for part in (source, held))
    return given.source * by_source + by_references
