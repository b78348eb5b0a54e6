"""Losses, flows and voltages of a radial feeder as linear functions of injections, around an operating point.

The equations of a branch are M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems for loss
reduction and load balancing", IEEE Trans. Power Deliv. 4(2), 1989, with squared voltages `v` and currents `l`::

    P = P_behind + r l        Q = Q_behind + x l        l = (P^2 + Q^2) / u
    v_to = far (u - 2 (r P + x Q) + (r^2 + x^2) l)      u = near v_from

`near` and `far` are the squared gains of the branch's ideal ratio in front of and behind its impedance. A sweep solves
them; what is linear around the solution has the sensitivities of the AC power flow itself, which at an operating point
without load are those of the linear DistFlow. Rows are found by their adjoint, so that the effort grows with the
number of limits and not with that of buses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.core.backend import Namespace, while_loop
from powergrid.core.types import Array, Control
from powergrid.markets.model import Linear, Plan, RadialFlow

SWEEPS = 20
"""Sweeps that solve the operating point; the error falls by a factor of about the feeder's voltage drop in each."""
_LEAST_V2 = 0.2
"""Squared voltage [pu] below which a sweep does not follow a collapse."""
_MOST_CURRENT2 = 1e6
"""Squared current [pu] beyond which a sweep does not follow a collapse."""
_SETTLED = 1e-6
"""Largest change of a squared voltage in the last sweep [pu] at an operating point that exists."""
_LIGHT = 0.2
"""Share of the network's own load at which equations are linear where the given load has no operating point."""
_LEAST_LIMIT = 0.05
"""Share of a branch's limit that is left for active power, however much reactive power flows."""
_TAN_PHI = 2.0
"""Largest ratio of reactive to active power that unserved demand takes along."""


class Feeder(NamedTuple):
    """A feeder with its taps and capacitors, ``(*batch, k)`` each.

    Attributes
    ----------
    rho
        Squared voltage of each node without load, over the source's.
    sigma
        The same in front of each branch's impedance.
    g_pu, b_pu
        Shunt admittance at each node.
    source_v2
        Squared voltage of the source, ``(*batch, 1)``.
    """

    rho: Array
    sigma: Array
    g_pu: Array
    b_pu: Array
    source_v2: Array


class Point(NamedTuple):
    """A solved operating point, ``(*batch, k)`` each.

    Attributes
    ----------
    p, q
        Power entering each branch's impedance [MW, Mvar].
    current2
        Squared current of each branch.
    w
        Squared voltage of each node over `rho`.
    u
        Squared voltage in front of each branch's impedance.
    change
        Largest change of a squared voltage in the last sweep, ``(*batch, 1)``.
    """

    p: Array
    q: Array
    current2: Array
    w: Array
    u: Array
    change: Array


def _times(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]


def _cast(xp: Namespace, like: Array, *arrays: np.ndarray) -> list[Array]:
    """Constants of the plan in the type of a column."""
    return [xp.asarray(array, dtype=like.dtype) for array in arrays]


def feeder(xp: Namespace, radial: RadialFlow, control: Control, like: Array) -> Feeder:
    """The feeder at given taps, capacitors and source voltage; fields that are ``None`` keep the network's own."""
    k = len(radial.branch)
    gain, below, g, b = _cast(xp, like, radial.gain, radial.below, radial.g_pu[:-1], radial.b_pu[:-1])
    if control.tap_ratio is not None:
        place = np.zeros((len(radial.regulator), k))
        place[np.arange(len(radial.regulator)), radial.regulator] = 1.0
        (at,) = _cast(xp, like, place)
        gain = gain * (1.0 - at.sum(axis=0)) + (control.tap_ratio[..., None, :] @ at)[..., 0, :]
    near = xp.where(radial.forward, gain**2, 1.0)
    far = xp.where(radial.forward, 1.0, gain**-2.0)
    rho = xp.exp(_times(below.T, xp.log(near * far)))
    place = np.zeros((len(radial.cap_node), k))
    inner = radial.cap_node >= 0
    place[np.flatnonzero(inner), radial.cap_node[inner]] = 1.0
    if len(radial.cap_node):
        at, cap_g, cap_b = _cast(xp, like, place, radial.cap_g_pu, radial.cap_b_pu)
        on = xp.ones(len(radial.cap_node), dtype=like.dtype) if control.cap_on is None else control.cap_on
        g = g + ((on * cap_g)[..., None, :] @ at)[..., 0, :]
        b = b + ((on * cap_b)[..., None, :] @ at)[..., 0, :]
    source = radial.source_v_pu + 0.0 * like[..., :1] if control.v_source_pu is None else control.v_source_pu[..., None]
    return Feeder(rho, rho / far, g, b, source**2)


def sweep(xp: Namespace, radial: RadialFlow, at: Feeder, drawn_p: Array, drawn_q: Array) -> Point:
    """Solve the branch equations for what each node draws [MW, Mvar], ``(*batch, k)``."""
    below, parent, r, x = _cast(xp, drawn_p, radial.below, radial.parent, radial.r_pu, radial.x_pu)
    root = 1.0 - parent.sum(axis=-1)
    up = below.T
    zero = drawn_p * 0.0 + drawn_q * 0.0 + at.rho * 0.0 + at.g_pu * 0.0 + at.source_v2 * 0.0

    def branch(current2: Array, w: Array) -> tuple[Array, Array, Array]:
        v = at.rho * w
        p = _times(below, drawn_p + at.g_pu * v + r * current2)
        q = _times(below, drawn_q - at.b_pu * v + x * current2)
        return p, q, xp.maximum(at.sigma * (_times(parent, w) + root * at.source_v2), _LEAST_V2)

    def once(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        current2, before, _, count = carry
        p, q, _ = branch(current2, before)
        w = at.source_v2 + _times(up, (-2.0 * (r * p + x * q) + (r**2 + x**2) * current2) / at.sigma)
        w = xp.clip(w, _LEAST_V2, 1.0 / _LEAST_V2)
        p, q, u = branch(current2, w)
        change = xp.max(xp.abs(w - before), axis=-1, keepdims=True)
        return xp.minimum((p**2 + q**2) / u, _MOST_CURRENT2), w, change, count + 1

    start = (zero, at.source_v2 + zero, zero[..., :1], xp.asarray(0))
    current2, w, change, _ = while_loop(xp, lambda carry: carry[3] < SWEEPS, once, start)
    p, q, u = branch(current2, w)
    return Point(p, q, current2, w, u, change)


def linear(xp: Namespace, plan: Plan, load_mw: Array, load_mvar: Array, dispatch_mw: Array, control: Control) -> Linear:
    """The equations around the operating point at which participants inject `dispatch_mw` at each bus.

    Parameters
    ----------
    xp
        NumPy or ``jax.numpy``.
    plan
        The market.
    load_mw, load_mvar, dispatch_mw
        Fixed demand and injections of the participants at every bus [MW, Mvar], ``(*batch, m)``.
    control
        Taps, capacitors and source voltage.
    """
    radial = plan.radial
    assert radial is not None
    injected = dispatch_mw - load_mw
    at = feeder(xp, radial, control, injected)
    share, point = _operating_point(xp, plan, radial, at, -injected, load_mvar)
    active, reactive = _sensitivities(xp, plan, radial, at, point)
    none = 0.0 * active[..., :1]
    by_bus, by_bus_q = (xp.concatenate((part, none), axis=-1)[..., radial.node] for part in (active, reactive))
    ratio = xp.where(load_mw > 0.0, load_mvar / xp.where(load_mw > 0.0, load_mw, 1.0), 0.0)
    with_q = by_bus + by_bus_q * xp.clip(ratio, -_TAN_PHI, _TAN_PHI)[..., None, :]
    f, (r,) = len(plan.limited_branch), _cast(xp, injected, radial.r_pu)

    source_g = float(radial.g_pu[-1])
    loss = (r * point.current2 + at.g_pu * at.rho * point.w).sum(axis=-1) + source_g * at.source_v2[..., 0]
    flow, limit = _flows(xp, plan, radial, point)
    v_pu = xp.sqrt(at.rho * point.w)[..., radial.node[plan.limited_bus]]
    # the constants are what holds without injections and with the given reactive load
    change = _times(by_bus, share * injected) + _times(by_bus_q, (1.0 - share) * load_mvar)
    return Linear(
        balance=1.0 - by_bus[..., 0, :],
        balance_constant=loss - change[..., 0],
        flow=by_bus[..., 1 : 1 + f, :],
        flow_constant=flow - change[..., 1 : 1 + f],
        flow_limit=limit,
        voltage=by_bus[..., 1 + f :, :],
        voltage_constant=v_pu - change[..., 1 + f :],
        unserved_balance=1.0 - with_q[..., 0, :],
        unserved_flow=with_q[..., 1 : 1 + f, :],
        unserved_voltage=with_q[..., 1 + f :, :],
    )


def _operating_point(
    xp: Namespace, plan: Plan, radial: RadialFlow, at: Feeder, drawn_mw: Array, drawn_mvar: Array
) -> tuple[Array, Point]:
    """Share of the demand at which the equations are linear, 1 where it has an operating point, and that point."""
    (to_node,) = _cast(xp, drawn_mw, _nodes_of_buses(radial))
    p, q = _times(to_node, drawn_mw), _times(to_node, drawn_mvar)
    given = sweep(xp, radial, at, p, q)
    total = xp.sum(xp.abs(drawn_mw) + xp.abs(drawn_mvar), axis=-1, keepdims=True)
    own = float(np.abs(plan.load_mw).sum() + np.abs(plan.load_mvar).sum())
    light = _LIGHT * xp.minimum(own / xp.maximum(total, 1e-9), 1.0)
    exists = (given.change < _SETTLED) & (xp.min(at.rho * given.w, axis=-1, keepdims=True) > 1.5 * _LEAST_V2)
    share = xp.where(exists, 1.0 + 0.0 * light, light)
    lighter = sweep(xp, radial, at, share * p, share * q)
    parts = (xp.where(exists, a, b) for a, b in zip(given, lighter, strict=True))
    return share, Point(*parts)


def _nodes_of_buses(radial: RadialFlow) -> np.ndarray:
    """1 where a bus is part of a node, ``(k, m)``."""
    nodes: np.ndarray = radial.node == np.arange(len(radial.branch))[:, None]
    return nodes.astype(float)


def _limited(plan: Plan, radial: RadialFlow) -> tuple[np.ndarray, np.ndarray]:
    """Node that each limited branch feeds, and 1 or -1 for the direction from its from bus to its to bus."""
    number = np.zeros(len(plan.branches), np.int64)
    number[radial.branch] = np.arange(len(radial.branch))
    node = number[plan.limited_branch]
    return node, np.where(radial.forward[node], 1.0, -1.0)


def _flows(xp: Namespace, plan: Plan, radial: RadialFlow, point: Point) -> tuple[Array, Array]:
    """Flow of each limited branch, and the active power at which its current is at the limit, reactive power given."""
    node, sign = _limited(plan, radial)
    sign, most = _cast(xp, point.p, sign, plan.limit_mva)
    room = most**2 * point.u[..., node] - point.q[..., node] ** 2
    return sign * point.p[..., node], xp.sqrt(xp.maximum(room, (_LEAST_LIMIT * most) ** 2))


def _sensitivities(xp: Namespace, plan: Plan, radial: RadialFlow, at: Feeder, point: Point) -> tuple[Array, Array]:
    """Change of losses, limited flows and limited voltages with active and reactive injections at the nodes.

    With ``dl`` and ``dw`` the changes of squared currents and scaled voltages, the linear branch equations are
    ``K (dl, dw) = B_p dp + B_q dq`` for demands ``dp`` and ``dq``, and each row is ``C (dl, dw) + D_p dp + D_q dq``;
    the change with demand is ``C K^-1 B + D``. The row of a flow follows the limit of its current, that is
    ``dP + (Q dQ - I^2 du / 2) / P`` at the limit, in the direction of the flow.

    Returns
    -------
    active, reactive
        ``(*batch, 1 + f + w, k)`` each.
    """
    below, parent, r, x = _cast(xp, point.p, radial.below, radial.parent, radial.r_pu, radial.x_pu)
    up, k = below.T, len(radial.branch)
    eye = xp.eye(k, dtype=point.p.dtype)
    p, q = 2.0 * point.p[..., None], 2.0 * point.q[..., None]
    g, b = at.g_pu * at.rho, at.b_pu * at.rho
    drop_p, drop_q = ((up * (2.0 * part / at.sigma)[..., None, :]) @ below for part in (r, x))
    k_ll = point.u[..., None] * eye - p * (below * r) - q * (below * x)
    k_lw = q * (below * b[..., None, :]) - p * (below * g[..., None, :])
    k_lw = k_lw + (point.current2 * at.sigma)[..., None] * parent
    k_wl = drop_p * r + drop_q * x - up * ((r**2 + x**2) / at.sigma)[..., None, :]
    k_ww = eye + drop_p * g[..., None, :] - drop_q * b[..., None, :] + 0.0 * k_ll
    upper, lower = xp.concatenate((k_ll, k_lw), axis=-1), xp.concatenate((k_wl + 0.0 * k_ll, k_ww), axis=-1)
    whole = xp.concatenate((upper, lower), axis=-2)

    c_l, c_w, d_p, d_q = _outputs(xp, plan, radial, at, point)
    rows = xp.concatenate((c_l, c_w), axis=-1)
    adjoint = xp.moveaxis(xp.linalg.solve(xp.moveaxis(whole, -1, -2), xp.moveaxis(rows, -1, -2)), -1, -2)
    a_l, a_w = adjoint[..., :k], adjoint[..., k:]
    with_p = (a_l * p[..., None, :, 0]) @ below - a_w @ drop_p + d_p
    with_q = (a_l * q[..., None, :, 0]) @ below - a_w @ drop_q + d_q
    return -with_p, -with_q


def _outputs(
    xp: Namespace, plan: Plan, radial: RadialFlow, at: Feeder, point: Point
) -> tuple[Array, Array, Array, Array]:
    """Rows `C` by currents and by voltages, and `D` by active and by reactive demand, of :func:`_sensitivities`."""
    below, parent, r, x = _cast(xp, point.p, radial.below, radial.parent, radial.r_pu, radial.x_pu)
    node, sign = _limited(plan, radial)
    watched = radial.node[plan.limited_bus]
    k = len(radial.branch)
    one_row = 0.0 * point.p[..., None, :]
    g, b = (at.g_pu * at.rho)[..., None, :], (at.b_pu * at.rho)[..., None, :]

    flow, limit = _flows(xp, plan, radial, point)
    (sign,) = _cast(xp, point.p, sign)
    toward = xp.where(flow * sign < 0.0, -1.0 / limit, 1.0 / limit)
    most = xp.asarray(plan.limit_mva, dtype=point.p.dtype)
    by_p = below[node] + one_row
    by_q = (toward * point.q[..., node])[..., None] * below[node]
    by_u = (-0.5 * toward * most**2 * at.sigma[..., node])[..., None] * parent[node]
    flow_l = sign[:, None] * (by_p * r + by_q * x)
    flow_w = sign[:, None] * (by_p * g - by_q * b + by_u)

    v_pu = xp.sqrt(at.rho * point.w)
    volts = xp.asarray(np.eye(k)[watched], dtype=point.p.dtype) * (0.5 * at.rho / v_pu)[..., None, :]
    no_volts = 0.0 * volts
    return (
        xp.concatenate((r + one_row, flow_l, no_volts), axis=-2),
        xp.concatenate((g + one_row, flow_w, volts), axis=-2),
        xp.concatenate((one_row, sign[:, None] * by_p, no_volts), axis=-2),
        xp.concatenate((one_row, sign[:, None] * by_q, no_volts), axis=-2),
    )
