"""Symmetrical components: C. L. Fortescue, Transactions of the AIEE 37(2), 1918, doi:10.1109/T-AIEE.1918.4765570."""

from __future__ import annotations

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.networks.tables import Nodes

_COSINE, _SINE = float(np.cos(2.0 * np.pi / 3.0)), float(np.sin(2.0 * np.pi / 3.0))


def three_phase_buses(buses: Nodes) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the buses that have all three phases, and their nodes, ``(n, 3)``."""
    found: dict[str, dict[str, int]] = {}
    for node, (bus, phase) in enumerate(zip(buses.bus, buses.phase, strict=True)):
        found.setdefault(bus, {})[phase] = node
    whole = {bus: [nodes[phase] for phase in "abc"] for bus, nodes in found.items() if len(nodes) == 3}
    return tuple(whole), np.array(list(whole.values()), dtype=int).reshape(-1, 3)


def unbalance(xp: Namespace, v_re: Array, v_im: Array, nodes: np.ndarray) -> Array:
    """Negative over positive sequence voltage of three-phase buses [1], ``(*batch, n)``.

    ``|v_a + h^2 v_b + h v_c| / |v_a + h v_b + h^2 v_c|`` with ``h = exp(120 degrees j)`` (IEC 61000-4-30).

    Parameters
    ----------
    v_re, v_im
        Node voltages [pu], ``(*batch, m)``.
    nodes
        Nodes of each bus in the order a, b, c, ``(n, 3)``.
    """
    phases = [(v_re[..., node], v_im[..., node]) for node in nodes.T]
    return sequence_ratio(xp, *phases[0], *phases[1], *phases[2])


def sequence_ratio(
    xp: Namespace, a_re: Array, a_im: Array, b_re: Array, b_im: Array, c_re: Array, c_im: Array
) -> Array:
    """Negative over positive sequence voltage of three phases' voltages [1]."""
    near_re, near_im = a_re + _COSINE * (b_re + c_re), a_im + _COSINE * (b_im + c_im)
    turn_re, turn_im = _SINE * (b_re - c_re), _SINE * (b_im - c_im)
    less_re, less_im = near_re + turn_im, near_im - turn_re
    more_re, more_im = near_re - turn_im, near_im + turn_re
    negative, positive = less_re * less_re + less_im * less_im, more_re * more_re + more_im * more_im
    negative = xp.maximum(negative, 1e-30)  # the root of 0 has no derivative
    return xp.sqrt(negative / xp.maximum(positive, 1e-12))
