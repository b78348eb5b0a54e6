"""The method for JAX: a dense fixed point on the network's responses, all environments at once, on any device.

``V = w V_source + Z i(V) + ...`` with the nodes that draw nothing eliminated (Kron), taps by the sources of
:mod:`powergrid.powerflow.responses`. What is iterated is the deviation from the no-load voltage, so that float32
keeps its digits, and branch currents come from injected currents, not from differences of voltages. Everything is
traced: it works under ``jit``, ``scan`` and ``vmap``, and is batched natively over leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.powerflow.compile import Compiled, Terms, compile_network
from powergrid.powerflow.responses import real, respond

if TYPE_CHECKING:
    from powergrid.networks.network import Network

_LIMIT_PU = 10.0
"""A voltage beyond this [pu] is on its way to nowhere: the lane keeps its last value and counts as not converged."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What :func:`solve` needs, made once per network by :func:`plan`.

    Attributes
    ----------
    compiled
        The network as tables.
    tol_pu, max_iter
        Tolerance on the largest voltage change [pu] and limit of iterations.
    active
        Nodes that may draw current, ``(a,)``.
    inner, inner_source
        Map from ``[i, e, g]`` to ``[V active, V from, I regulator]``, in real form and with the reference loads
        taken to its left side, and the source's share.
    through
        Map from ``[i, e, g]`` to the currents through the regulators, in real form.
    slope
        Answer of the reference loads to the voltages of the active nodes, ``(2, 2, a)``.
    v, v_source
        The same to the voltage of every node.
    ends, ends_source
        The same to the current entering every branch at its from and to ends.
    terms
        Meters, and last the source, as sums of powers.
    """

    compiled: Compiled
    tol_pu: float
    max_iter: int
    active: np.ndarray
    inner: np.ndarray
    inner_source: np.ndarray
    slope: np.ndarray
    through: np.ndarray
    v: np.ndarray
    v_source: np.ndarray
    ends: np.ndarray
    ends_source: np.ndarray
    terms: Terms


def plan(
    network: Network,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 200,
    meters: Sequence[int] = (),
    topologies: Sequence[Any] = (),
    buses: Sequence[int] | None = None,
) -> Plan:
    """Compile a network into dense responses.

    Parameters
    ----------
    network
        The network.
    tol_pu
        Largest change of a voltage in the last iteration [pu].
    max_iter
        Iterations after which a flow counts as not converged.
    meters
        Branches whose power at their from bus is reported in ``p_meter_mw`` and ``q_meter_mvar``.
    topologies
        Reserved for outages declared beforehand; must be empty.
    buses
        Buses that may draw or inject power; all by default. The fewer, the smaller the matrices.

    Raises
    ------
    NetworkError
        If the network cannot be solved by any method: dead islands, branches without impedance, singular matrix.
    """
    if len(topologies):
        raise NetworkError("zbus solves one topology a plan; make a plan for each outage instead of topologies=")
    compiled = compile_network(network)
    chosen = range(compiled.n_bus) if buses is None else [*buses, *compiled.cap_bus]
    active = np.unique(compiled.node[np.array(list(chosen), dtype=int)])
    active = active[active < compiled.n_node]
    found = respond(compiled, active)
    from_node = compiled.from_node[compiled.regulator]
    inner = np.concatenate([found.v[active], found.v[from_node], found.i_regulator])
    slope = _reference_slope(network, compiled, active)
    ends = np.concatenate([found.i_from, found.i_to])
    return Plan(
        compiled=compiled,
        tol_pu=float(tol_pu),
        max_iter=int(max_iter),
        active=active,
        inner=_with_slope(real(inner[:, 1:]), slope),
        inner_source=_pair(inner[:, 0]),
        slope=slope,
        through=real(found.i_regulator[:, 1:]),
        v=real(found.v[:, 1:]),
        v_source=_pair(found.v[:, 0]),
        ends=real(ends[:, 1:]),
        ends_source=_pair(ends[:, 0]),
        terms=compiled.terms(meters),
    )


def _reference_slope(network: Network, compiled: Compiled, active: np.ndarray) -> np.ndarray:
    """How the currents at the active nodes answer to their voltages at a reference load, to first order at 1 pu.

    In real form, ``di = J dv`` with ``[[p, -q], [-q, -p]]`` for constant power and ``[[-p, -q], [q, -p]]`` for constant
    impedance. The reference is half of the network's own loads and half of its switchable shunts.

    Returns
    -------
    ndarray
        The four parts of `J`, each diagonal over the nodes, ``(2, 2, a)``.
    """
    power, shunt = np.zeros(compiled.n_node + 1, complex), np.zeros(compiled.n_node + 1, complex)
    own = np.asarray(network.loads.p_mw) + 1j * np.asarray(network.loads.q_mvar)
    np.add.at(power, compiled.node[network.loads.bus], 0.5 * own)
    np.add.at(shunt, compiled.node[compiled.cap_bus], 0.5 * compiled.cap)
    p, q, g, h = power.real[active], power.imag[active], shunt.real[active], shunt.imag[active]
    return np.array([[p - g, -q - h], [h - q, -p - g]])


def _with_slope(matrix: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The map whose fixed point has the reference slope on its left side.

    ``x = M s(x)`` becomes ``x = (1 - M J)^-1 M (s(x) - J x)``: the same solution in fewer iterations, for only the
    difference to the reference is left to iterate (a chord method).
    """
    a = slope.shape[-1]
    row, half = np.arange(a), (matrix.shape[0] // 2, matrix.shape[1] // 2)
    full = np.zeros(matrix.shape)
    for i in range(2):
        for j in range(2):
            full[i * half[0] + row, j * half[1] + row] = slope[i, j]
    return np.linalg.solve(np.eye(matrix.shape[1]) - matrix.T @ full, matrix.T).T


class _Loop(NamedTuple):
    """Deviations ``[V active, V from, I regulator]`` in real form, largest change, iterations, lanes at rest."""

    x: Array
    residual: Array
    iterations: Array
    settled: Array


class _Powers(NamedTuple):
    """Loads of the active nodes by their dependence on the voltage."""

    p: Array
    q: Array
    p_i: Array | None
    q_i: Array | None
    p_z: Array | None
    q_z: Array | None


def solve(plan: Plan, load: NodeLoad, control: Control = Control(), start: Any = None) -> Flow:  # noqa: B008
    """Solve the power flow of every environment of a batch.

    Parameters
    ----------
    plan
        From :func:`plan`.
    load
        What each bus draws, ``(*batch, m)``; buses left out of the plan must draw nothing.
    control
        Taps, switchable shunts and source voltage; ``None`` fields keep the network's own.
    start
        An earlier flow (anything with ``v_re`` and ``v_im``) to start from; no-load voltages by default.

    Returns
    -------
    Flow
        Finite in every case; ``converged`` is False where the iteration did not settle.
    """
    if control.topology is not None:
        raise NetworkError("zbus solves one topology a plan; leave Control.topology None")
    compiled = plan.compiled
    load_p = jnp.asarray(load.p_mw)
    batch, dtype = load_p.shape[:-1], load_p.dtype
    drawn = _with_shunts(compiled, load, control, dtype)
    powers = _Powers(*(None if value is None else _to_nodes(plan, value, dtype) for value in drawn))
    source = jnp.broadcast_to(
        jnp.asarray(compiled.source_v_pu if control.v_source_pu is None else control.v_source_pu, dtype), batch
    )[..., None]
    k, a = len(compiled.regulator), len(plan.active)
    own = np.abs(compiled.gain[compiled.regulator])
    tap = jnp.zeros((*batch, k), dtype) if control.tap_ratio is None else control.tap_ratio / own.astype(dtype) - 1.0
    delta = tap  # relative to the network's own gain, times that gain: V behind the ratio is gain (1 + tap) V_from
    gain = compiled.gain[compiled.regulator]
    base = source * plan.inner_source.astype(dtype)
    matrix = jnp.asarray(plan.inner, dtype)

    def sources(x: Array) -> Array:
        """``[i, e, g]`` in real form for the voltages and currents ``base + x``."""
        re, im = jnp.split(base + x, 2, axis=-1)
        i_re, i_im = _currents(powers, re[..., :a], im[..., :a])
        e_re, e_im = _scaled(delta, gain, re[..., a : a + k], im[..., a : a + k])
        g_re, g_im = _scaled(delta, np.conj(gain), re[..., a + k :], im[..., a + k :])
        return jnp.concatenate([i_re, e_re, g_re, i_im, e_im, g_im], axis=-1)

    def known(x: Array) -> Array:
        """What the reference loads alone answer to the deviations `x`."""
        re, im = (part[..., :a] for part in jnp.split(x, 2, axis=-1))
        (to_re, to_re_im), (to_im, to_im_im) = plan.slope.astype(dtype)
        none = jnp.zeros((*batch, 2 * k), dtype)
        return jnp.concatenate([to_re * re + to_re_im * im, none, to_im * re + to_im_im * im, none], axis=-1)

    def iterate(loop: _Loop) -> _Loop:
        found = jnp.matmul(sources(loop.x) - known(loop.x), matrix, precision="highest")
        sound = (jnp.abs(found) < _LIMIT_PU).all(-1, keepdims=True)  # False for NaN as well
        moves = sound & ~loop.settled[..., None]
        x = jnp.where(moves, found, loop.x)
        watched = [*range(a + k), *range(a + 2 * k, 2 * a + 3 * k)]
        change = jnp.abs(found - loop.x)[..., np.array(watched, dtype=int)].max(-1)
        residual = jnp.where(loop.settled, loop.residual, jnp.where(sound[..., 0], change, jnp.inf))
        return _Loop(x, residual, loop.iterations + ~loop.settled, loop.settled | (residual < plan.tol_pu))

    resting = jnp.zeros(batch, bool)
    begin = _start(plan, start, base, batch, dtype)
    if start is not None and k:
        begin = _with_currents(plan, begin, sources(begin))
    first = _Loop(begin, jnp.full(batch, jnp.inf, dtype), jnp.zeros(batch, jnp.int32), resting)
    last = jax.lax.while_loop(
        lambda loop: (~loop.settled).any() & (loop.iterations.max(initial=0) < plan.max_iter), iterate, first
    )
    return _flow(plan, last, sources(last.x), source, drawn, dtype)


def _pair(column: np.ndarray) -> np.ndarray:
    return np.concatenate([column.real, column.imag])


def _with_shunts(compiled: Compiled, load: NodeLoad, control: Control, dtype: Any) -> NodeLoad:
    """The loads with switchable shunts among the constant impedances."""
    if not len(compiled.cap_bus):
        return load
    p_z, q_z = (0.0 if value is None else value for value in (load.p_z_mw, load.q_z_mvar))
    on = jnp.ones(len(compiled.cap_bus), dtype) if control.cap_on is None else control.cap_on
    to_bus = np.zeros((len(compiled.cap_bus), compiled.n_bus))
    to_bus[np.arange(len(compiled.cap_bus)), compiled.cap_bus] = 1.0
    extra_p = on @ jnp.asarray(to_bus * compiled.cap.real[:, None], dtype)
    extra_q = on @ jnp.asarray(to_bus * compiled.cap.imag[:, None], dtype)
    shape = jnp.asarray(load.p_mw).shape
    return load._replace(p_z_mw=jnp.broadcast_to(p_z + extra_p, shape), q_z_mvar=jnp.broadcast_to(q_z + extra_q, shape))


def _to_nodes(plan: Plan, values: Array, dtype: Any) -> Array:
    """Sum of bus values at the active nodes."""
    node, active = plan.compiled.node, plan.active
    if len(np.unique(node)) == len(node):
        bus_of = np.empty(len(node), dtype=int)
        bus_of[node] = np.arange(len(node))
        return jnp.asarray(values, dtype)[..., bus_of[active]]
    member = (node[:, None] == active[None, :]).astype(float)
    return jnp.matmul(jnp.asarray(values, dtype), jnp.asarray(member, dtype), precision="highest")


def _currents(powers: _Powers, v_re: Array, v_im: Array) -> tuple[Array, Array]:
    """Injected current ``-conj(S(V) / V)``, real and imaginary part."""
    square = v_re * v_re + v_im * v_im
    p, q = powers.p, powers.q
    if powers.p_i is not None or powers.q_i is not None:
        magnitude = jnp.sqrt(jnp.maximum(square, 1e-12))
        p, q = (
            p + magnitude * (0.0 if powers.p_i is None else powers.p_i),
            q + magnitude * (0.0 if powers.q_i is None else powers.q_i),
        )
    if powers.p_z is not None or powers.q_z is not None:
        p = p + square * (0.0 if powers.p_z is None else powers.p_z)
        q = q + square * (0.0 if powers.q_z is None else powers.q_z)
    inverse = 1.0 / jnp.maximum(square, 1e-12)
    return -(p * v_re + q * v_im) * inverse, -(p * v_im - q * v_re) * inverse


def _scaled(delta: Array, gain: np.ndarray, re: Array, im: Array) -> tuple[Array, Array]:
    """``delta * gain * (re + j im)`` for a constant complex gain."""
    g_re, g_im = gain.real.astype(re.dtype), gain.imag.astype(re.dtype)
    return delta * (g_re * re - g_im * im), delta * (g_re * im + g_im * re)


def _start(plan: Plan, start: Any, base: Array, batch: tuple[int, ...], dtype: Any) -> Array:
    """Deviations of an earlier flow; regulator currents begin at their no-load values."""
    compiled = plan.compiled
    zero = jnp.zeros((*batch, base.shape[-1]), dtype)
    if start is None:
        return zero
    bus_of = np.empty(compiled.n_node + 1, dtype=int)
    bus_of[compiled.node] = np.arange(compiled.n_bus)
    at = bus_of[np.concatenate([plan.active, compiled.from_node[compiled.regulator]])]
    none = jnp.zeros((*batch, len(compiled.regulator)), dtype)
    v = [jnp.broadcast_to(jnp.asarray(part, dtype)[..., at], (*batch, len(at))) for part in (start.v_re, start.v_im)]
    re, im = jnp.split(base, 2, axis=-1)
    width = len(at)
    return jnp.concatenate([v[0] - re[..., :width], none, v[1] - im[..., :width], none], axis=-1)


def _with_currents(plan: Plan, x: Array, sources: Array) -> Array:
    """Put the regulators' currents that belong to the voltages of `x` beside them."""
    through = jnp.matmul(sources, jnp.asarray(plan.through, x.dtype), precision="highest")
    k = through.shape[-1] // 2
    half = x.shape[-1] // 2
    return jnp.concatenate([x[..., : half - k], through[..., :k], x[..., half:-k], through[..., k:]], axis=-1)


def _flow(plan: Plan, loop: _Loop, sources: Array, source: Array, drawn: NodeLoad, dtype: Any) -> Flow:
    """All buses, branches and meters from the currents of the last iteration."""
    compiled, terms = plan.compiled, plan.terms
    v = source * plan.v_source.astype(dtype) + jnp.matmul(sources, jnp.asarray(plan.v, dtype), precision="highest")
    node_re, node_im = jnp.split(v, 2, axis=-1)
    v_re, v_im = node_re[..., compiled.node], node_im[..., compiled.node]
    square = v_re * v_re + v_im * v_im
    ends = source * plan.ends_source.astype(dtype) + jnp.matmul(
        sources, jnp.asarray(plan.ends, dtype), precision="highest"
    )
    i_re, i_im = jnp.split(ends, 2, axis=-1)
    i_re, i_im = _with_own_draw(plan, sources, i_re, i_im)
    magnitude = jnp.sqrt(i_re * i_re + i_im * i_im)
    percent = np.concatenate([compiled.percent_from, compiled.percent_to]).astype(dtype)
    at_from, at_to = jnp.split(magnitude * percent, 2, axis=-1)

    # only the powers that some meter or the source counts
    ends_of_branches = 2 * compiled.n_branch
    counted = np.unique(terms.power[terms.power < ends_of_branches])
    bus = np.concatenate([compiled.from_bus, compiled.to_bus])[counted]
    w_re, w_im, j_re, j_im = v_re[..., bus], v_im[..., bus], i_re[..., counted], i_im[..., counted]
    p_bus, q_bus = _bus_draw(compiled, drawn, square, dtype)
    sums = _summing(terms, counted, ends_of_branches, compiled.n_bus).astype(dtype)
    p_sum = jnp.concatenate([w_re * j_re + w_im * j_im, p_bus], axis=-1) @ sums
    q_sum = jnp.concatenate([w_im * j_re - w_re * j_im, q_bus], axis=-1) @ sums
    converged = loop.settled & jnp.isfinite(loop.residual)
    return Flow(
        v_re=v_re,
        v_im=v_im,
        v_pu=jnp.sqrt(square),
        loading=jnp.maximum(at_from, at_to),
        loss_mw=p_sum[..., -1] - p_bus.sum(-1),
        p_slack_mw=p_sum[..., -1],
        q_slack_mvar=q_sum[..., -1],
        p_meter_mw=p_sum[..., :-1],
        q_meter_mvar=q_sum[..., :-1],
        residual_pu=loop.residual,
        iterations=loop.iterations,
        converged=converged,
        energised=jnp.ones(v_re.shape, bool),
    )


def _with_own_draw(plan: Plan, sources: Array, i_re: Array, i_im: Array) -> tuple[Array, Array]:
    """Add the current that a moved regulator draws at its from node beyond the network's own ratio."""
    compiled, a = plan.compiled, len(plan.active)
    k = len(compiled.regulator)
    if not k:
        return i_re, i_im
    half = a + 2 * k
    to_end = np.zeros((k, i_re.shape[-1]))
    to_end[np.arange(k), compiled.regulator] = 1.0
    spread = jnp.asarray(to_end, i_re.dtype)
    return i_re + sources[..., a + k : half] @ spread, i_im + sources[..., half + a + k :] @ spread


def _bus_draw(compiled: Compiled, drawn: NodeLoad, square: Array, dtype: Any) -> tuple[Array, Array]:
    """Power drawn by loads and shunts at every bus [MW, Mvar]."""
    p = jnp.asarray(drawn.p_mw, dtype) + square * compiled.shunt.real.astype(dtype)
    q = jnp.asarray(drawn.q_mvar, dtype) + square * compiled.shunt.imag.astype(dtype)
    magnitude = jnp.sqrt(square)
    p = p if drawn.p_i_mw is None else p + magnitude * drawn.p_i_mw
    q = q if drawn.q_i_mvar is None else q + magnitude * drawn.q_i_mvar
    p = p if drawn.p_z_mw is None else p + square * drawn.p_z_mw
    q = q if drawn.q_z_mvar is None else q + square * drawn.q_z_mvar
    return p, q


def _summing(terms: Terms, counted: np.ndarray, ends: int, buses: int) -> np.ndarray:
    """Matrix from ``[powers at the counted ends, bus draws]`` to one sum a meter and the source's last."""
    matrix = np.zeros((len(counted) + buses, len(terms.start) - 1))
    for row, (first, stop) in enumerate(zip(terms.start[:-1], terms.start[1:], strict=True)):
        for index, sign in zip(terms.power[first:stop], terms.sign[first:stop], strict=True):
            at = np.searchsorted(counted, index) if index < ends else len(counted) + index - ends
            matrix[at, row] += sign
    return matrix
