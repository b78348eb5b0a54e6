"""The iterates of ``runpp``: Newton's method in polar coordinates from a DC start, on a compiled network.

v1's rewards hold what is left of the mismatch when ``runpp`` stops below 1e-8 MVA, a few 1e-9 MW on feeders with
regulators, and which flows do not converge within ten iterations. Both come out the same only if the iterates do:
Zimmerman, Murillo-Sanchez and Thomas, "MATPOWER", IEEE Trans. Power Syst. 26(1), 2011, on the network's own nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, NodeLoad
from powergrid.networks.network import Network
from powergrid.powerflow import method
from powergrid.powerflow.compile import Compiled

TOLERANCE_PU = 1e-8
"""Largest mismatch of a node at which ``runpp`` stops by default, per unit of the net's own base power [1]."""
MOST_ITERATIONS = 10
"""Iterations of ``runpp`` by default."""


@dataclass(frozen=True, eq=False)
class NewtonPlan:
    """What all solves of one network share.

    Attributes
    ----------
    compiled
        The network; its source is the last node.
    ybus
        Admittances by rows, all nodes [pu].
    y_row
        Row of each entry.
    inner
        Entries between nodes other than the source.
    diagonal
        Their diagonal entries.
    jacobian
        Matrix whose values are written anew in each iteration.
    order
        Where each of its values lies among the four blocks.
    dc
        Factors of the DC start, and the power that phase shifts inject there [pu].
    tolerance_mva
        Largest mismatch of a node at which the iterations stop [MVA].
    """

    compiled: Compiled
    ybus: sp.csr_matrix
    y_row: np.ndarray
    inner: np.ndarray
    diagonal: np.ndarray
    jacobian: sp.csc_matrix
    order: np.ndarray
    dc: tuple[Any, np.ndarray]
    tolerance_mva: float

    @classmethod
    def of(cls, compiled: Compiled, base_mva: float) -> NewtonPlan:
        """Prepare a compiled network.

        Parameters
        ----------
        compiled
            The network.
        base_mva
            The pandapower net's base power [MVA], 1 unless its author chose another.

        Raises
        ------
        NetworkError
            If no node is left beside the source, or the DC start has no solution.
        """
        n = compiled.n_node
        if n == 0:
            raise NetworkError("the net has no node beside its external grid")
        ybus = sp.csr_matrix(compiled.ybus())
        ybus.sort_indices()
        rows = np.repeat(np.arange(n + 1), np.diff(ybus.indptr))
        inner = np.flatnonzero((rows < n) & (ybus.indices < n))
        r, c = rows[inner], ybus.indices[inner]
        places = sp.csc_matrix(
            (
                np.arange(1.0, 4 * len(r) + 1),
                (np.concatenate([r, r, r + n, r + n]), np.concatenate([c, c + n, c, c + n])),
            ),
            shape=(2 * n, 2 * n),
        )
        places.sort_indices()
        order = places.data.astype(int) - 1
        diagonal, tolerance_mva = np.flatnonzero(r == c), TOLERANCE_PU * base_mva
        return cls(compiled, ybus, rows, inner, diagonal, places, order, _dc_start(compiled), tolerance_mva)

    def solve(self, loads: np.ndarray, v_source: float, v_start: float) -> np.ndarray | None:
        """Node voltages.

        Parameters
        ----------
        loads
            Power drawn at each bus [MW + j Mvar].
        v_source
            Voltage of the source [pu].
        v_start
            Magnitude that the other nodes start from [pu].

        Returns
        -------
        numpy.ndarray or None
            Complex voltages [pu], the source last and at angle 0; None where ten iterations are not enough.
        """
        n, ybus, drawn = self.compiled.n_node, self.ybus, at_nodes(self.compiled, loads)
        factors, shifted = self.dc
        va = np.zeros(n + 1)
        va[:n] = factors.solve((-drawn.real - self.compiled_shunt_p - shifted)[:n])
        vm = np.full(n + 1, v_start)
        vm[n] = v_source
        v = vm * np.exp(1j * va)
        r, c = self.y_row[self.inner], ybus.indices[self.inner]
        y = ybus.data[self.inner]
        for iteration in range(MOST_ITERATIONS + 1):
            current = ybus @ v
            mismatch = (v * np.conj(current) + drawn)[:n]
            if not np.isfinite(mismatch).all():
                return None
            if max(np.abs(mismatch.real).max(), np.abs(mismatch.imag).max()) < self.tolerance_mva:
                return np.asarray(v)
            if iteration == MOST_ITERATIONS:
                return None
            unit = v / np.abs(v)
            by_vm = v[r] * np.conj(y * unit[c])
            by_vm[self.diagonal] += np.conj(current[:n]) * unit[:n]
            by_va = -1j * v[r] * np.conj(y * v[c])
            by_va[self.diagonal] += 1j * v[:n] * np.conj(current[:n])
            blocks = np.concatenate([by_va.real, by_vm.real, by_va.imag, by_vm.imag])
            np.take(blocks, self.order, out=self.jacobian.data)
            try:
                change = splu(self.jacobian).solve(np.concatenate([mismatch.real, mismatch.imag]))
            except RuntimeError:  # a singular matrix is a flow that does not converge
                return None
            va[:n] -= change[:n]
            vm[:n] -= change[n:]
            v = vm * np.exp(1j * va)
            vm, va = np.abs(v), np.angle(v)
        return None

    @property
    def compiled_shunt_p(self) -> np.ndarray:
        """Active power drawn at 1 pu by the fixed shunts of each node [MW]."""
        size = self.compiled.n_node + 1
        return np.bincount(self.compiled.node, self.compiled.shunt.real, size)


def _dc_start(compiled: Compiled) -> tuple[Any, np.ndarray]:
    """``B theta = P``: reactances and tap ratios only, phase shifts as injections."""
    live, n = np.flatnonzero(compiled.live), compiled.n_node
    gain = compiled.gain[live]
    x = (1.0 / compiled.series[live]).imag
    if (x == 0).any():
        raise NetworkError("a branch without reactance has no DC start")
    b = np.abs(gain) / x
    f, t = compiled.from_node[live], compiled.to_node[live]
    shift = b * np.angle(gain)
    injected = np.bincount(f, shift, n + 1) - np.bincount(t, shift, n + 1)
    matrix = sp.csc_matrix(
        (np.concatenate([b, -b, -b, b]), (np.concatenate([f, f, t, t]), np.concatenate([f, t, f, t]))),
        shape=(n + 1, n + 1),
    )
    try:
        return splu(matrix[:n, :n].tocsc()), injected
    except RuntimeError as error:
        raise NetworkError(f"the DC start has no solution ({error})") from error


@dataclass(frozen=True, eq=False)
class FixedPointPlan:
    """The power flow of version 2, for nets on which ``runpp`` fails from its DC start, such as regulated feeders.

    Attributes
    ----------
    compiled, ybus
        As of :class:`NewtonPlan`.
    solver, plan
        The method, :mod:`powergrid.powerflow.sparse_lu` where it can be compiled, and its plan.
    """

    compiled: Compiled
    ybus: sp.csr_matrix
    solver: ModuleType
    plan: Any

    @classmethod
    def of(cls, network: Network) -> FixedPointPlan:
        """Compile a network.

        Raises
        ------
        NetworkError
            As :func:`powergrid.powerflow.sparse_lu.plan`.
        """
        solver = method("sparse_lu", network)
        plan = solver.plan(network, tol_pu=1e-11)
        return cls(plan.compiled, sp.csr_matrix(plan.compiled.ybus()), solver, plan)

    def solve(self, loads: np.ndarray, v_source: float, v_start: float) -> np.ndarray | None:
        """Node voltages, as :meth:`NewtonPlan.solve`; `v_start` is not used."""
        load = NodeLoad(loads.real.copy(), loads.imag.copy())
        flow = self.solver.solve(self.plan, load, Control(v_source_pu=v_source))
        if not flow.converged:
            return None
        nodes = np.empty(self.compiled.n_node + 1, complex)
        nodes[self.compiled.node] = flow.v_re + 1j * flow.v_im
        return nodes


def at_nodes(compiled: Compiled, loads: np.ndarray) -> np.ndarray:
    """Powers of buses summed by node, the source last."""
    size = compiled.n_node + 1
    summed: np.ndarray = np.bincount(compiled.node, loads.real, size) + 1j * np.bincount(
        compiled.node, loads.imag, size
    )
    return summed
