"""The method for JAX: a dense fixed point on the network's responses, all environments at once, on any device.

``V = w V_source + Z i(V) + ...`` with the buses that draw nothing eliminated (Kron), taps by the sources of
:mod:`powergrid.powerflow.responses`. What is iterated is the deviation from the no-load voltage, so that float32
keeps its digits, and branch currents come from injected currents, not from differences of voltages. Everything is
traced: it works under ``jit``, ``scan`` and ``vmap``, and is batched natively over leading axes. Arithmetic by element
is complex, for that keeps the traced program short; the products with matrices are real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.powerflow.compile import Compiled, Terms, batch_shape, compile_network
from powergrid.powerflow.responses import Responses, across, corrections, real, respond, standing

if TYPE_CHECKING:
    from powergrid.networks.network import Network

MAX_TOPOLOGIES = 32
"""Every environment of a batch reads the table of its own topology; more would cost more than they tell."""
_LIMIT_PU = 10.0
"""A voltage beyond this [pu] is on its way to nowhere: the environment keeps its last value and stops."""
_DIVERGED_PU = 1e3
_CURRENT_PASSES = 3
"""Passes that find the regulators' currents at a start; each leaves a share of about the taps' deviation."""
_MIN_V2 = 1e-4
"""Floor of |V|^2 in S / V [pu^2], so that a collapsing iterate stays finite."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What :func:`solve` needs, made once per network by :func:`plan`.

    Attributes
    ----------
    compiled
        The network as tables.
    tol_pu, max_iter
        Tolerance on the largest voltage change [pu] and limit of iterations.
    bus
        Places that may draw current: buses, or buses + k for the k-th pair of nodes of a three-phase network, ``(a,)``.
    inner, inner_source
        Map from the sources ``[i (a), e (k), g (k)]`` to ``[V bus, V from, I regulator]``, in real form, and the share
        of the network's source; `V` of a pair is the voltage across it.
    outer, outer_source
        The same to ``[V of all buses, I at all to ends, I at the ends in "ends"]``.
    ends
        Further branch ends whose current is read: from ends by branch, to ends by branch + b.
    terms
        Meters, and last the source, as sums of powers.
    ports, ports_source
        The same to the ports of the elements that topologies move.
    topologies, held
        Those elements' sources from their ports in each topology, in real form, ``(T, 6s + 2r, 6s + 2r)``, and a
        constant that references add, ``(T, 6s + 2r)``.
    inner_moving, outer_moving
        Map from those sources to the results of `inner` and `outer`.

    In a three-phase network with topologies `inner`, `outer` and their sources have an axis of topologies in front, and
    nothing corrects them; `inner_held` and `outer_held` are what references add, ``(T, ...)``, and `outer` also gives
    the currents that references feed in.
    """

    compiled: Compiled
    tol_pu: float
    max_iter: int
    bus: np.ndarray
    inner: np.ndarray
    inner_source: np.ndarray
    outer: np.ndarray
    outer_source: np.ndarray
    ends: np.ndarray
    terms: Terms
    ports: np.ndarray
    ports_source: np.ndarray
    topologies: np.ndarray
    held: np.ndarray
    inner_moving: np.ndarray
    outer_moving: np.ndarray
    inner_held: np.ndarray | None = None
    outer_held: np.ndarray | None = None


def plan(
    network: Network,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 200,
    meters: Sequence[int] = (),
    topologies: Sequence[Any] = (),
    forming: Sequence[Any] = (),
    buses: Sequence[int] | None = None,
) -> Plan:
    """Compile a network into dense responses.

    Parameters
    ----------
    network
        The network.
    tol_pu
        Largest change of a voltage in the last iteration [pu]; float32 takes no less than 2.4e-7, two units in the last
        place of 1 pu.
    max_iter
        Iterations after which a flow counts as not converged.
    meters
        Branches whose power at their from bus is reported in ``p_meter_mw`` and ``q_meter_mvar``.
    topologies
        What ``Control.topology`` chooses from, each the branches (names or indices) that stand differently than in the
        network as given; up to :data:`MAX_TOPOLOGIES` with that one.
    forming
        For each topology, the buses that hold its islands at 1 pu; what they deliver is reported in ``p_form_mw`` and
        ``q_form_mvar``, one column for each bus named, in order. Islands without one are dead.
    buses
        Buses that may draw or inject power; all by default. The fewer, the smaller the matrices.

    Raises
    ------
    NetworkError
        If the network cannot be solved by any method: dead islands, branches without impedance, singular matrix; if a
        forming bus holds no island; or if there are too many topologies.
    """
    if len(topologies) >= MAX_TOPOLOGIES:
        raise NetworkError(
            f"zbus takes up to {MAX_TOPOLOGIES} topologies with the network as given, got {len(topologies) + 1}; "
            "declare fewer outages and switches, or take sparse_lu"
        )
    compiled = _rated(compile_network(network, topologies, forming))
    b = compiled.n_branch
    chosen = np.arange(compiled.n_place) if buses is None else np.union1d(buses, compiled.cap_bus).astype(int)
    moving = (compiled.place_nodes >= 0) & (compiled.place_nodes < compiled.n_node)  # not earth, not the source
    bus = chosen[moving[0, chosen] | moving[1, chosen]]
    terms = compiled.terms(meters)
    charged = np.flatnonzero(_from_ends(compiled) | (compiled.terminal_of[0] >= 0))
    ends = np.union1d(charged, terms.power[terms.power < 2 * b]).astype(int)
    nodes = compiled.place_nodes[:, bus]
    if compiled.phases is not None and len(compiled.moving.size):
        maps: dict[str, Any] = _maps_by_topology(compiled, nodes, ends)
    else:
        maps = _maps(compiled, nodes, ends)
    return Plan(
        compiled=compiled, tol_pu=float(tol_pu), max_iter=int(max_iter), bus=bus, ends=ends, terms=terms, **maps
    )


def _maps(compiled: Compiled, nodes: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """Responses of the network as given, and what corrects them in each topology."""
    found = respond(compiled, nodes)
    inner, outer = _inner_rows(compiled, nodes, found), _outer_rows(compiled, ends, found)
    own = slice(1, 1 + nodes.shape[1] + 2 * len(compiled.regulator))
    table, constant = corrections(compiled, found)
    return {
        "inner": real(inner[:, own]), "inner_source": inner[:, 0], "outer": real(outer[:, own]),
        "outer_source": outer[:, 0], "ports": real(found.ports[:, own]), "ports_source": found.ports[:, 0],
        "topologies": np.stack([real(one) for one in table]),
        "held": np.concatenate([constant.real, constant.imag], axis=1), "inner_moving": real(inner[:, own.stop :]),
        "outer_moving": real(outer[:, own.stop :]),
    }  # fmt: skip


def _maps_by_topology(compiled: Compiled, nodes: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """Responses of a three-phase network in each topology."""
    inner, outer = [], []
    for topology in range(compiled.n_topology):
        found, fed = standing(compiled, nodes, topology)
        inner.append(_inner_rows(compiled, nodes, found))
        outer.append(np.concatenate([_outer_rows(compiled, ends, found), fed]))
    maps = {
        f"{name}{part}": np.stack([read(one) for one in rows])
        for name, rows in (("inner", inner), ("outer", outer))
        for part, read in (
            ("", lambda rows: real(rows[:, 1:-1])), ("_source", lambda rows: rows[:, 0]),
            ("_held", lambda rows: rows[:, -1]),
        )
    }  # fmt: skip
    others = ("ports", "ports_source", "topologies", "held", "inner_moving", "outer_moving")
    return maps | dict.fromkeys(others, np.zeros((0, 0)))


def _inner_rows(compiled: Compiled, nodes: np.ndarray, found: Responses) -> np.ndarray:
    return np.concatenate([across(nodes, found.v), found.v[_from_node(compiled)], found.i_regulator])


def _outer_rows(compiled: Compiled, ends: np.ndarray, found: Responses) -> np.ndarray:
    return np.concatenate([found.v[compiled.node], found.i_to, _both_ends(found)[ends]])


def _rated(compiled: Compiled) -> Compiled:
    """The tables with the ratings of a three-phase network's terminals at the branch ends that show them."""
    if compiled.phases is None:
        return compiled
    ends = np.zeros((2, compiled.n_branch))
    ends[compiled.phases.at_to.astype(int), compiled.phases.row] = compiled.phases.percent
    return replace(compiled, percent_from=ends[0], percent_to=ends[1])


def _from_ends(compiled: Compiled) -> np.ndarray:
    """Branches that carry another current at their from end than at their to end, and are rated there."""
    differ = compiled.half_shunt != 0
    if compiled.phases is not None:
        differ = differ | (compiled.terminal_of[0] >= 0)
    return differ & (compiled.percent_from > 0)


def _from_node(compiled: Compiled) -> np.ndarray:
    return compiled.from_node[compiled.regulator]


def _both_ends(found: Responses) -> np.ndarray:
    return np.concatenate([found.i_from, found.i_to])


class _Scenario(NamedTuple):
    """Inputs of a batch: complex loads by bus (constant power, current, impedance), relative taps, source voltage,
    whether all are numbers, topology.
    """

    s: Array
    s_i: Array | None
    s_z: Array | None
    tap: Array
    source: Array
    good: Array
    topology: Array | None


class _Loop(NamedTuple):
    """Deviations ``[V bus, V from, I regulator]``, largest change, iterations by environment and of all, at rest."""

    x: Array
    residual: Array
    iterations: Array
    count: Array
    settled: Array


def solve(plan: Plan, load: NodeLoad, control: Control | None = None, start: Any = None) -> Flow:
    """Solve the power flow of every environment of a batch.

    Parameters
    ----------
    plan
        From :func:`plan`.
    load
        What each bus draws, ``(*batch, m)``; buses left out of the plan must draw nothing. The whole solution is in
        the type of `p_mw`, float32 or float64.
    control
        Taps, switchable shunts and source voltage; fields that are ``None`` keep the network's own.
    start
        Anything with ``v_re`` and ``v_im``, such as an earlier flow, to start from; no-load voltages by default.

    Returns
    -------
    Flow
        Finite in every case; ``converged`` is False where the iteration did not settle or the input was not a number.

    Raises
    ------
    NetworkError
        If an input has another width than the network, or asks for another topology.
    """
    compiled, a = plan.compiled, len(plan.bus)
    batch = batch_shape(compiled, load, control, start)
    given = _scenario(plan, batch, load, Control() if control is None else control)
    complex_type = given.s.dtype
    base = _at_no_load(plan, given, plan.inner_source, plan.inner_held)
    power, power_i, power_z = _at_places(plan, given)
    tol_pu = max(plan.tol_pu, 2.0 * float(jnp.finfo(base.real.dtype).eps))
    gain = compiled.gain[compiled.regulator]
    shift = jnp.concatenate([given.tap, given.tap], axis=-1) * np.concatenate([gain, np.conj(gain)]).astype(
        complex_type
    )

    def drawn(x: Array) -> Array:
        return _current((base + x)[..., :a], power, power_i, power_z)

    def with_taps(drawn: Array, x: Array) -> Array:
        complex_form = jnp.concatenate([-drawn, shift * (base + x)[..., a:]], axis=-1)
        return jnp.concatenate([complex_form.real, complex_form.imag], axis=-1)

    def sources(x: Array) -> Array:
        """``[i, e, g]`` for the voltages and currents ``base + x``, in real form."""
        return with_taps(drawn(x), x)

    def respond_to(sources: Array) -> Array:
        found = _standing(plan, given, sources, plan.inner)
        return found if not corrected else found + _product(_moving(plan, given, sources), plan.inner_moving)

    def iterate(loop: _Loop) -> _Loop:
        found = respond_to(sources(loop.x))
        step = found - loop.x
        change = jnp.sqrt((step.real**2 + step.imag**2)[..., : a + len(gain)].max(-1, initial=0.0))
        sound = change < _LIMIT_PU  # False for NaN as well
        moves = sound & ~loop.settled
        return _Loop(
            x=jnp.where(moves[..., None], found, loop.x),
            residual=jnp.where(loop.settled, loop.residual, jnp.where(sound, change, _DIVERGED_PU)),
            iterations=loop.iterations + ~loop.settled,
            count=loop.count + 1,
            settled=loop.settled | ~sound | (change < tol_pu),
        )

    corrected = given.topology is not None and plan.inner_held is None
    begin, k = _start(plan, start, base, given.good), len(gain)
    if start is not None and k:
        half = a + 2 * k
        currents = np.concatenate([np.arange(a + k, half), half + np.arange(a + k, half)])
        by_loads = drawn(begin)
        for _ in range(_CURRENT_PASSES):  # a start at the solution then stays there
            found = with_taps(by_loads, begin)
            through = _standing(plan, given, found, plan.inner[..., currents])
            if corrected:
                through += _product(_moving(plan, given, found), plan.inner_moving[:, currents])
            begin = jnp.concatenate([begin[..., : a + k], through], axis=-1)
    first = _Loop(
        x=begin,
        residual=jnp.full(batch, _DIVERGED_PU, base.real.dtype),
        iterations=jnp.zeros(batch, jnp.int32),
        count=jnp.zeros((), jnp.int32),
        settled=~given.good,
    )
    last = jax.lax.while_loop(lambda loop: (loop.count < plan.max_iter) & ~loop.settled.all(), iterate, first)
    return _flow(plan, given, last, sources(last.x), tol_pu)


def _scenario(plan: Plan, batch: tuple[int, ...], load: NodeLoad, control: Control) -> _Scenario:
    """Complex inputs with the batch's axes; an environment with an input that is no number gets no load."""
    compiled = plan.compiled
    dtype = jnp.promote_types(jnp.asarray(load.p_mw).dtype, jnp.float32)
    own = compiled.tap_ratio.astype(dtype)
    tap = jnp.zeros_like(own) if control.tap_ratio is None else jnp.asarray(control.tap_ratio, dtype) / own - 1.0
    source = compiled.source_v_pu if control.v_source_pu is None else control.v_source_pu
    source = jnp.broadcast_to(jnp.asarray(source, dtype), batch)[..., None]
    s = _complex(load.p_mw, load.q_mvar, dtype)
    s_i, s_z = _complex(load.p_i_mw, load.q_i_mvar, dtype), _complex(load.p_z_mw, load.q_z_mvar, dtype)
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

    return _Scenario(kept(s), kept(s_i), kept(s_z), kept(tap), kept(source, compiled.source_v_pu), good, topology)


def _energised_places(compiled: Compiled) -> np.ndarray:
    """Whether a load at each place has voltage in each topology, ``(T, w)``."""
    alive = compiled.moving.energised
    if compiled.phases is None:
        return alive
    return np.concatenate([alive, alive[:, compiled.phases.pair_a] & alive[:, compiled.phases.pair_b]], axis=1)


def _between(compiled: Compiled, given: _Scenario, v: Array, which: np.ndarray) -> Array:
    """Powers that loads between two nodes draw at the first of them and, numbered behind those, at the second."""
    assert compiled.phases is not None
    pairs = len(compiled.phases.pair_a)
    pair, at_second = which % pairs, which >= pairs
    a, b = compiled.phases.pair_a[pair], compiled.phases.pair_b[pair]
    voltage = v[..., a] - v[..., b]
    parts = [None if s is None else s[..., compiled.n_bus + pair] for s in given[:3]]
    own = _current(voltage, *_between_phases(parts, np.ones(len(pair), bool)))
    return jnp.where(at_second, -v[..., b], v[..., a]) * jnp.conj(own)


def _between_phases(parts: Sequence[Array], pair: np.ndarray) -> tuple[Array, ...]:
    """Loads whose 1 pu, where they lie between two phases, is ``sqrt(3)`` of that to earth."""
    scales = (1.0, np.where(pair, np.sqrt(1 / 3), 1.0), np.where(pair, 1 / 3, 1.0))
    kind = parts[0].real.dtype
    return tuple(None if s is None else s * jnp.asarray(c, kind) for s, c in zip(parts, scales, strict=True))


def _at_places(plan: Plan, given: _Scenario) -> tuple[Array, ...]:
    """Loads at the plan's places."""
    parts = tuple(None if s is None else s[..., plan.bus] for s in given[:3])
    if plan.compiled.phases is None:
        return parts
    return _between_phases(parts, plan.bus >= plan.compiled.n_bus)


def _complex(p: Array | None, q: Array | None, dtype: Any) -> Array:
    """``p + j q`` with a missing part zero; ``None`` where both are missing."""
    if p is None and q is None:
        return None
    re, im = (jnp.zeros((), dtype) if part is None else jnp.asarray(part, dtype) for part in (p, q))
    return jax.lax.complex(*jnp.broadcast_arrays(re, im))


def _moving(plan: Plan, given: _Scenario, sources: Array) -> Array:
    """Sources of the moving elements in each environment's topology, in real form, for the other `sources`."""
    ports = given.source * plan.ports_source.astype(given.s.dtype) + _product(sources, plan.ports)
    table = jnp.asarray(plan.topologies, sources.dtype)[given.topology]
    form = jnp.concatenate([ports.real, ports.imag], axis=-1)
    found = jnp.matmul(form[..., None, :], table, precision="highest")[..., 0, :]
    if plan.compiled.moving.n_reference == 0:
        return found
    return found + jnp.asarray(plan.held, sources.dtype)[given.topology]


def _current(v: Array, s: Array, s_i: Array | None, s_z: Array | None) -> Array:
    """Current drawn by loads, ``conj(S / V)`` with ``S = S_p + S_i |V| + S_z |V|^2``."""
    square = v.real**2 + v.imag**2
    if s_i is not None:
        s = s + s_i * jnp.sqrt(square)
    if s_z is not None:
        s = s + s_z * square
    toward, inverse = jnp.conj(s) * v, 1.0 / jnp.maximum(square, _MIN_V2)
    return jax.lax.complex(toward.real * inverse, toward.imag * inverse)  # complex / real would divide by a complex


def _product(sources: Array, matrix: np.ndarray) -> Array:
    """Complex rows ``M x`` from ``x`` in real form."""
    rows = jnp.matmul(sources, jnp.asarray(matrix, sources.dtype), precision="highest")
    half = matrix.shape[1] // 2
    return jax.lax.complex(rows[..., :half], rows[..., half:])


def _standing(plan: Plan, given: _Scenario, sources: Array, matrix: np.ndarray) -> Array:
    """The product in each environment's topology, where `matrix` has one for each."""
    if matrix.ndim == 2:
        return _product(sources, matrix)
    if given.topology is None:
        return _product(sources, matrix[0])
    count, height, width = matrix.shape  # all of them in one product: their number is small, memory is slow
    rows = jnp.matmul(
        sources, jnp.asarray(matrix.swapaxes(0, 1).reshape(height, -1), sources.dtype), precision="highest"
    )
    rows = rows.reshape(*rows.shape[:-1], count, width)
    rows = jnp.take_along_axis(rows, given.topology[..., None, None], axis=-2)[..., 0, :]
    return jax.lax.complex(rows[..., : width // 2], rows[..., width // 2 :])


def _at_no_load(plan: Plan, given: _Scenario, source: np.ndarray, held: np.ndarray | None) -> Array:
    """What the source causes and, in a three-phase network with topologies, what references do."""
    if held is None:
        return given.source * source.astype(given.s.dtype)
    topology = 0 if given.topology is None else given.topology
    by_source, by_references = (jnp.asarray(part, given.s.dtype)[topology] for part in (source, held))
    return given.source * by_source + by_references


def _start(plan: Plan, start: Any, base: Array, good: Array) -> Array:
    """Deviations of earlier voltages, with the regulator currents at their no-load values."""
    compiled = plan.compiled
    if start is None:
        return jnp.zeros_like(base)
    a_bus = np.empty(compiled.n_node + compiled.n_source, int)
    a_bus[compiled.node] = np.arange(compiled.n_bus)
    first, second = compiled.place_nodes[:, plan.bus]
    at = a_bus[np.concatenate([first, _from_node(compiled)])]
    v = _complex(start.v_re, start.v_im, base.real.dtype)
    found = v[..., at]
    pair = np.flatnonzero(second >= 0)
    if len(pair):
        found = found.at[..., pair].add(-v[..., a_bus[second[pair]]])
    x = found - base[..., : len(at)]
    plausible = (jnp.abs(x) < 1.0) & good[..., None]  # a start that is no plausible voltage would only do harm
    return jnp.concatenate([jnp.where(plausible, x, 0.0), jnp.zeros_like(base[..., len(at) :])], axis=-1)


def _flow(plan: Plan, given: _Scenario, loop: _Loop, sources: Array, tol_pu: float) -> Flow:
    """All buses, branches and meters from the currents of the last iteration."""
    compiled = plan.compiled
    m, b, total, dtype = compiled.n_bus, compiled.n_branch, plan.outer_source.shape[-1], sources.dtype
    corrected = given.topology is not None and plan.outer_held is None
    moving = _moving(plan, given, sources) if corrected else None

    def rows(first: int, stop: int) -> Array:
        columns = np.r_[first:stop, first + total : stop + total]
        held = None if plan.outer_held is None else plan.outer_held[:, first:stop]
        at_no_load = _at_no_load(plan, given, plan.outer_source[..., first:stop], held)
        found = at_no_load + _standing(plan, given, sources, plan.outer[..., columns])
        return found if moving is None else found + _product(moving, plan.outer_moving[:, columns])

    # one product each, so that the compiler leaves out what the caller does not read
    v, i_to, i_ends = rows(0, m), rows(m, m + b), rows(m + b, m + b + len(plan.ends))
    alive = None
    if given.topology is not None:  # what is left of rounding in dead islands would only confuse
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
        v_pu=jnp.sqrt(square),
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
    """Loading: a branch with a shunt is read at both ends, any other carries one current."""
    compiled, b = plan.compiled, plan.compiled.n_branch
    read = np.flatnonzero((plan.ends < b) & _from_ends(compiled)[plan.ends % b])
    if not len(read):
        return at_to
    branch = plan.ends[read]
    at_from = jnp.abs(i_ends[..., read]) * compiled.percent_from[branch].astype(at_to.dtype)
    return at_to.at[..., branch].max(at_from)


def _losses(plan: Plan, given: _Scenario, v: Array, square: Array, i_to: Array, i_ends: Array) -> Array:
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
        behind = behind.at[..., compiled.regulator].multiply((1.0 + given.tap) ** 2)
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


def _meters(plan: Plan, given: _Scenario, v: Array, square: Array, i_ends: Array) -> Array:
    """Signed sums of powers into branch ends and of powers drawn by buses, one a meter and the source's last."""
    compiled, terms, b = plan.compiled, plan.terms, plan.compiled.n_branch
    ends_bus = np.concatenate([compiled.from_bus, compiled.to_bus])[plan.ends]
    at_buses = np.unique(terms.power[terms.power >= 2 * b]) - 2 * b
    buses = at_buses[at_buses < compiled.n_bus]
    drawn = given.s[..., buses] + square[..., buses] * compiled.shunt[buses].astype(given.s.dtype)
    if given.s_i is not None:
        drawn = drawn + given.s_i[..., buses] * jnp.sqrt(square[..., buses])
    if given.s_z is not None:
        drawn = drawn + given.s_z[..., buses] * square[..., buses]
    powers = [v[..., ends_bus] * jnp.conj(i_ends), drawn]
    between = at_buses[at_buses >= compiled.n_bus] - compiled.n_bus
    if len(between):
        powers.append(_between(compiled, given, v, between))
    powers = jnp.concatenate(powers, axis=-1)
    place = np.concatenate([plan.ends, at_buses + 2 * b])
    member = np.zeros((len(place), len(terms.start) - 1))
    for meter, (first, stop) in enumerate(zip(terms.start[:-1], terms.start[1:], strict=True)):
        np.add.at(member[:, meter], np.searchsorted(place, terms.power[first:stop]), terms.sign[first:stop])
    return jnp.matmul(powers, jnp.asarray(member, powers.dtype), precision="highest")
