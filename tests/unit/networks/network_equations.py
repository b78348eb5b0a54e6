"""The network equations written down once more, straight from the columns, to check results against."""

from __future__ import annotations

import numpy as np

from powergrid.networks.network import Network
from powergrid.networks.tables import BASE_MVA


def admittance(network: Network) -> np.ndarray:
    """Bus admittance matrix [pu]; closed switches are left to the caller."""
    branches, n = network.branches, len(network.buses.name)
    matrix = np.zeros((n, n), complex)
    for k in range(len(branches.name)):
        if not branches.closed[k] or branches.kind[k] == "switch":
            continue
        f, t = branches.from_bus[k], branches.to_bus[k]
        series = 1 / (branches.r_pu[k] + 1j * branches.x_pu[k])
        shunt = (branches.g_pu[k] + 1j * branches.b_pu[k]) / 2
        ratio = branches.ratio[k] * np.exp(1j * np.deg2rad(branches.shift_degree[k]))
        matrix[f, f] += (series + shunt) / abs(ratio) ** 2
        matrix[f, t] -= series / np.conj(ratio)
        matrix[t, f] -= series / ratio
        matrix[t, t] += series + shunt
    for bus, p_mw, q_mvar in zip(network.shunts.bus, network.shunts.p_mw, network.shunts.q_mvar, strict=True):
        matrix[bus, bus] += (p_mw - 1j * q_mvar) / BASE_MVA
    return matrix


def nodes(network: Network) -> np.ndarray:
    """Node of each bus, ``(m,)``: buses joined by closed switches share one."""
    label = np.arange(len(network.buses.name))
    branches = network.branches
    for k, kind in enumerate(branches.kind):
        if kind == "switch" and branches.closed[k]:
            first, second = label[branches.from_bus[k]], label[branches.to_bus[k]]
            label[label == second] = first
    return np.unique(label, return_inverse=True)[1]


def mismatch_mva(network: Network, v: np.ndarray) -> float:
    """Largest power mismatch over all nodes but the sources', for bus voltages `v` [pu, complex].

    Where a generator holds the voltage, only active power is balanced.
    """
    s = v * np.conj(admittance(network) @ v) * BASE_MVA
    loads, generators, vm = network.loads, network.generators, np.abs(v[network.loads.bus])
    p = loads.p_mw * (1 - loads.i_share_p - loads.z_share_p + loads.i_share_p * vm + loads.z_share_p * vm**2)
    q = loads.q_mvar * (1 - loads.i_share_q - loads.z_share_q + loads.i_share_q * vm + loads.z_share_q * vm**2)
    np.add.at(s, loads.bus, p + 1j * q)
    np.add.at(s, generators.bus, -generators.p_mw)
    static = network.static_generators
    np.add.at(s, static.bus, -(static.p_mw + 1j * static.q_mvar))
    node = nodes(network)
    total = np.bincount(node, s.real) + 1j * np.bincount(node, s.imag)
    total[node[generators.bus]] = total[node[generators.bus]].real
    return float(np.abs(np.delete(total, node[np.append(network.sources.bus, network.source_bus)])).max())


def columns_equal(first: Network, second: Network) -> list[str]:
    """Names of the columns in which two networks differ."""
    different = []
    for table in ("buses", "branches", "regulators", "loads", "shunts", "generators", "sources", "static_generators"):
        for field, a, b in zip(
            getattr(first, table)._fields, getattr(first, table), getattr(second, table), strict=True
        ):
            same = a == b if isinstance(a, tuple) else _close(a, b)
            if not same:
                different.append(f"{table}.{field}")
    scalars = ("source_bus", "source_v_pu", "f_hz")
    return different + [field for field in scalars if getattr(first, field) != getattr(second, field)]


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return len(a) == len(b) and bool(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True))
