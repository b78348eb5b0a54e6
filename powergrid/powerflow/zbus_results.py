"""Results of the method for JAX from the currents of the last iteration."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.backend import root
from powergrid.core.types import Array, Flow
from powergrid.powerflow.compile import Compiled
from powergrid.powerflow.zbus_maps import Plan, from_ends
from powergrid.powerflow.zbus_terms import (
    Loop,
    Scenario,
    drawn_between,
    moving_sources,
    product,
    standing_product,
    without_load,
)


def flow(plan: Plan, given: Scenario, loop: Loop, sources: Array, tol_pu: float) -> Flow:
    """All buses, branches and meters from the currents of the last iteration."""
    compiled = plan.compiled
    m, b, total, dtype = compiled.n_bus, compiled.n_branch, plan.outer_source.shape[-1], sources.dtype
    corrected = given.topology is not None and plan.outer_held is None
    moving = moving_sources(plan, given, sources) if corrected else None

    def rows(first: int, stop: int) -> Array:
        columns = np.r_[first:stop, first + total : stop + total]
        held = None if plan.outer_held is None else plan.outer_held[:, first:stop]
        at_no_load = without_load(plan, given, plan.outer_source[..., first:stop], held)
        found = at_no_load + standing_product(plan, given, sources, plan.outer[..., columns])
        return found if moving is None else found + product(moving, plan.outer_moving[:, columns])

    # one product each, so that the compiler leaves out what the caller does not read
    v, i_to, i_ends = rows(0, m), rows(m, m + b), rows(m + b, m + b + len(plan.ends))
    alive = None
    if given.topology is not None:  # only rounding is left in dead islands
        alive = jnp.asarray(compiled.moving.energised)[given.topology]
        v = jnp.where(alive, v, 0.0)
    square = v.real**2 + v.imag**2
    at_to = jnp.abs(i_to) * compiled.percent_to.astype(dtype)
    meters, delivered = (
        _meters(plan, given, v, square, i_ends),
        _delivered(plan, v, _references(plan, moving, rows(m + b + len(plan.ends), total))),
    )
    return Flow(
        v_re=v.real,
        v_im=v.imag,
        v_pu=root(jnp, square),
        loading=_with_from_ends(plan, at_to, i_ends),
        loss_mw=_losses(plan, given, v, square, i_to, i_ends),
        p_slack_mw=meters.real[..., -1],
        q_slack_mvar=meters.imag[..., -1],
        p_meter_mw=meters.real[..., :-1],
        q_meter_mvar=meters.imag[..., :-1],
        residual_pu=loop.residual,
        iterations=loop.iterations,
        converged=loop.residual < tol_pu,
        energised=jnp.ones(square.shape, bool) if alive is None else alive,
        p_form_mw=delivered.real,
        q_form_mvar=delivered.imag,
    )


def _with_from_ends(plan: Plan, at_to: Array, i_ends: Array) -> Array:
    """Loading at the to end, and at the from end where that can be the larger one."""
    compiled, b = plan.compiled, plan.compiled.n_branch
    read = np.flatnonzero((plan.ends < b) & from_ends(compiled)[plan.ends % b])
    if not len(read):
        return at_to
    branch = plan.ends[read]
    at_from = jnp.abs(i_ends[..., read]) * compiled.percent_from[branch].astype(at_to.dtype)
    return at_to.at[..., branch].set(jnp.maximum(at_to[..., branch], at_from), unique_indices=True)


def _losses(plan: Plan, given: Scenario, v: Array, square: Array, i_to: Array, i_ends: Array) -> Array:
    """Sum of ``r |i|^2``, of what the conductances of the pi sections take, and of what enters blocks [MW]."""
    compiled = plan.compiled
    half, live = compiled.half_shunt, compiled.series != 0
    on = None if given.topology is None else _conducting(compiled, given.topology)
    resistance = np.where(live, (1 / np.where(live, compiled.series, 1.0)).real, 0.0)
    through = i_to
    if half.any():
        through = i_to - v[..., compiled.to_bus] * half.astype(v.dtype)
    squares = through.real**2 + through.imag**2
    loss = (squares if on is None else squares * on) @ resistance.astype(square.dtype)
    if half.real.any():
        behind = jnp.ones((*square.shape[:-1], compiled.n_branch), square.dtype) * np.abs(compiled.gain) ** 2
        behind = behind.at[..., compiled.regulator].multiply((1.0 + given.tap) ** 2, unique_indices=True)
        squares = behind * square[..., compiled.from_bus] + square[..., compiled.to_bus]
        loss = loss + (squares if on is None else squares * on) @ half.real.astype(square.dtype)
    if compiled.phases is not None:
        rows = np.unique(compiled.phases.row)
        at_from = np.flatnonzero(compiled.terminal_of[0] >= 0)
        ends = i_ends[..., np.searchsorted(plan.ends, at_from)]
        enters = v[..., compiled.from_bus[at_from]] * jnp.conj(ends)
        leaves = v[..., compiled.to_bus[rows]] * jnp.conj(i_to[..., rows])
        loss = loss + enters.real.sum(-1) + leaves.real.sum(-1)
    return loss


def _references(plan: Plan, moving: Array | None, fed: Array) -> Array | None:
    """Currents that references feed in: `fed` by topology, or held by the corrections `moving` in real form."""
    if plan.outer_held is not None:
        return fed
    if moving is None:
        return None
    count, half = len(plan.compiled.moving.held_bus), plan.topologies.shape[-1] // 2
    return jax.lax.complex(moving[..., half - count : half], moving[..., 2 * half - count :])


def _delivered(plan: Plan, v: Array, current: Array | None) -> Array:
    """Complex power of each reference."""
    elements = plan.compiled.moving
    if current is None:
        return jnp.zeros((*v.shape[:-1], elements.n_reference), v.dtype)
    member = elements.reference[elements.n_branch :, None] == np.arange(elements.n_reference)
    return jnp.matmul(v[..., elements.held_bus] * jnp.conj(current), jnp.asarray(member, v.dtype), precision="highest")


def _conducting(compiled: Compiled, topology: Array) -> Array:
    """Whether each branch conducts, ``(*batch, b)``, for those that have an impedance."""
    moving = compiled.moving
    on = np.ones((len(moving.closed), compiled.n_branch), bool)
    moved = moving.branch >= 0
    on[:, moved] = moving.closed[:, moving.branch[moved]]
    return jnp.asarray(on)[topology]


def _meters(plan: Plan, given: Scenario, v: Array, square: Array, i_ends: Array) -> Array:
    """Signed sums of powers into branch ends and of powers drawn by buses, one per meter, the source's last."""
    compiled, terms, b = plan.compiled, plan.terms, plan.compiled.n_branch
    ends_bus = np.concatenate([compiled.from_bus, compiled.to_bus])[plan.ends]
    at_buses = np.unique(terms.power[terms.power >= 2 * b]) - 2 * b
    buses = at_buses[at_buses < compiled.n_bus]
    drawn = given.s[..., buses] + square[..., buses] * compiled.shunt[buses].astype(given.s.dtype)
    if given.s_i is not None:
        drawn = drawn + given.s_i[..., buses] * root(jnp, square[..., buses])
    if given.s_z is not None:
        drawn = drawn + given.s_z[..., buses] * square[..., buses]
    powers = [v[..., ends_bus] * jnp.conj(i_ends), drawn]
    between = at_buses[at_buses >= compiled.n_bus] - compiled.n_bus
    if len(between):
        powers.append(drawn_between(compiled, given, v, between))
    powers = jnp.concatenate(powers, axis=-1)
    place = np.concatenate([plan.ends, at_buses + 2 * b])
    member = np.zeros((len(place), len(terms.start) - 1))
    for meter, (first, stop) in enumerate(zip(terms.start[:-1], terms.start[1:], strict=True)):
        np.add.at(member[:, meter], np.searchsorted(place, terms.power[first:stop]), terms.sign[first:stop])
    return jnp.matmul(powers, jnp.asarray(member, powers.dtype), precision="highest")
