"""The method for JAX: a dense fixed point on the network's responses, all environments at once, on any device.

``V = w V_source + Z i(V) + ...`` with the buses that draw nothing eliminated (Kron), taps by the sources of
:mod:`powergrid.powerflow.responses`. What is iterated is the deviation from the no-load voltage, so that float32
keeps its digits, and branch currents come from injected currents, not from differences of voltages. Everything is
traced: it works under ``jit``, ``scan``, ``vmap`` and ``grad``, and is batched natively over leading axes. Arithmetic
by element is complex, for that keeps the traced program short; the products with matrices are real.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.core.types import Array, Control, Flow, NodeLoad
from powergrid.powerflow.compile import batch_shape, compile_network
from powergrid.powerflow.inputs import Voltages
from powergrid.powerflow.topology import Elements, Place
from powergrid.powerflow.zbus_iteration import Equation, at_rest
from powergrid.powerflow.zbus_maps import Plan, from_ends, from_node, maps_as_given, maps_by_topology, rated
from powergrid.powerflow.zbus_results import flow
from powergrid.powerflow.zbus_terms import as_complex, scenario

if TYPE_CHECKING:
    from powergrid.networks.kinds import AnyNetwork

MAX_TOPOLOGIES = 32
"""Every environment of a batch reads the table of its own topology; more tables would cost more than they gain."""
_CURRENT_PASSES = 3
"""Passes that find the regulators' currents at a start; each leaves a share of about the taps' deviation."""

__all__ = ["MAX_TOPOLOGIES", "Plan", "plan", "solve"]


def plan(
    network: AnyNetwork,
    *,
    tol_pu: float = 1e-8,
    max_iter: int = 200,
    meters: Sequence[int] = (),
    topologies: Sequence[Elements] = (),
    forming: Sequence[Sequence[Place]] = (),
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
    compiled = rated(compile_network(network, topologies, forming))
    b = compiled.n_branch
    chosen = np.arange(compiled.n_place) if buses is None else np.union1d(buses, compiled.cap_bus).astype(int)
    moving = (compiled.place_nodes >= 0) & (compiled.place_nodes < compiled.n_node)  # not earth, not the source
    bus = chosen[moving[0, chosen] | moving[1, chosen]]
    terms = compiled.terms(meters)
    charged = np.flatnonzero(from_ends(compiled) | (compiled.terminal_of[0] >= 0))
    ends = np.union1d(charged, terms.power[terms.power < 2 * b]).astype(int)
    nodes = compiled.place_nodes[:, bus]
    if compiled.phases is not None and len(compiled.moving.size):
        maps: dict[str, Any] = maps_by_topology(compiled, nodes, ends)
    else:
        maps = maps_as_given(compiled, nodes, ends)
    return Plan(
        compiled=compiled, tol_pu=float(tol_pu), max_iter=int(max_iter), bus=bus, ends=ends, terms=terms, **maps
    )


def solve(plan: Plan, load: NodeLoad, control: Control | None = None, start: Voltages | None = None) -> Flow:
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
        It carries derivatives by `load`, taps and source voltage, none by `start`.

    Raises
    ------
    NetworkError
        If an input has another width than the network, or chooses a topology that the plan lacks.
    """
    compiled = plan.compiled
    batch = batch_shape(compiled, load, control, start)
    given = scenario(plan, batch, load, Control() if control is None else control)
    equation = Equation(plan, given)
    tol_pu = max(plan.tol_pu, 2.0 * float(jnp.finfo(equation.base.real.dtype).eps))
    begin = jax.lax.stop_gradient(_begin(plan, equation, start))
    last = at_rest(plan, tol_pu, begin, given)
    return flow(plan, given, last, equation.sources(last.x), tol_pu)


def _begin(plan: Plan, equation: Equation, start: Voltages | None) -> Array:
    """Where the iteration begins: no load, or earlier voltages with the regulators' currents that belong to them."""
    begin, a, k = _start(plan, start, equation.base, equation.given.good), len(plan.bus), len(plan.compiled.regulator)
    if start is None or not k:
        return begin
    half = a + 2 * k
    currents = np.concatenate([np.arange(a + k, half), half + np.arange(a + k, half)])
    by_loads = equation.drawn(begin)
    for _ in range(_CURRENT_PASSES):  # a start at the solution then stays there
        through = equation.respond_to(equation.with_taps(by_loads, begin), currents)
        begin = jnp.concatenate([begin[..., : a + k], through], axis=-1)
    return begin


def _start(plan: Plan, start: Voltages | None, base: Array, good: Array) -> Array:
    """Deviations of earlier voltages, with the regulator currents at their no-load values."""
    compiled = plan.compiled
    if start is None:
        return jnp.zeros_like(base)
    a_bus = np.empty(compiled.n_node + compiled.n_source, int)
    a_bus[compiled.node] = np.arange(compiled.n_bus)
    first, second = compiled.place_nodes[:, plan.bus]
    at = a_bus[np.concatenate([first, from_node(compiled)])]
    v = as_complex(start.v_re, start.v_im, base.real.dtype)
    found = v[..., at]
    pair = np.flatnonzero(second >= 0)
    if len(pair):
        found = found.at[..., pair].add(-v[..., a_bus[second[pair]]])
    x = found - base[..., : len(at)]
    plausible = (jnp.abs(x) < 1.0) & good[..., None]  # a start that is no plausible voltage does not help
    return jnp.concatenate([jnp.where(plausible, x, 0.0), jnp.zeros_like(base[..., len(at) :])], axis=-1)
