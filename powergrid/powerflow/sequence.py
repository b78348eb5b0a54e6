"""Symmetrical components: C. L. Fortescue, Transactions of the AIEE 37(2), 1918, doi:10.1109/T-AIEE.1918.4765570."""

from __future__ import annotations

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.networks.tables import Nodes

_THIRD = 2.0 * np.pi / 3.0


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

    def size(sign: float) -> Array:
        cosine, sine = np.cos(_THIRD), sign * np.sin(_THIRD)
        a, b, c = (nodes[:, k] for k in range(3))
        re = v_re[..., a] + cosine * (v_re[..., b] + v_re[..., c]) - sine * (v_im[..., b] - v_im[..., c])
        im = v_im[..., a] + cosine * (v_im[..., b] + v_im[..., c]) + sine * (v_re[..., b] - v_re[..., c])
        return re * re + im * im

    return xp.sqrt(size(-1.0) / xp.maximum(size(1.0), 1e-12))
