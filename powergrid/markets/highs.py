"""The simplex method of HiGHS, one environment after the other: the oracle.

Every clearing starts from the same basis, which belongs to the plan, so that results do not depend on what was cleared
before.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from powergrid.core import highs
from powergrid.markets.program import Program, Solution

TOLERANCE = 1e-9
"""Largest violation of a bound [MW] and of a reduced cost [$/MWh]."""


class Simplex:
    """A solver that starts every program of one form from one basis.

    Parameters
    ----------
    first
        The program whose optimal basis is the start of all others, a single environment.
    """

    def __init__(self, first: Program):
        import highspy

        self._highspy = highspy
        self._lock = Lock()  # threads that clear the same plan share its solver
        self._solver = highs.solver(
            presolve="off",
            solver="simplex",
            primal_feasibility_tolerance=TOLERANCE,
            dual_feasibility_tolerance=TOLERANCE,
        )
        self._matrix: np.ndarray | None = None
        self._pass(first)
        self._solver.run()
        self._basis = self._solver.getBasis()

    def solve(self, program: Program) -> Solution:
        """Solve one program ``(n,)`` after the other of a batch, and give the batch's solution."""
        batch = np.broadcast_shapes(*(np.shape(part)[:-1] for part in (program.cost, program.low, program.row_low)))
        cost, low, high, row_low, row_high = (
            np.broadcast_to(part, (*batch, np.shape(part)[-1])).reshape(-1, np.shape(part)[-1])
            for part in (program.cost, program.low, program.high, program.row_low, program.row_high)
        )
        matrix = np.broadcast_to(program.matrix, (*batch, *program.matrix.shape[-2:]))
        matrix = matrix.reshape(-1, *program.matrix.shape[-2:])
        n, r = matrix.shape[-1], matrix.shape[-2]
        with self._lock:
            x, price, converged, iterations = self._solve_each(
                cost, low, high, matrix, row_low, row_high, program.penalty
            )
        return Solution(
            x.reshape(*batch, n), price.reshape(*batch, r), converged.reshape(batch), iterations.reshape(batch)
        )

    def _solve_each(
        self,
        cost: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        matrix: np.ndarray,
        row_low: np.ndarray,
        row_high: np.ndarray,
        penalty: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Columns, row prices, success and iterations of each program, one a row."""
        n, r = matrix.shape[-1], matrix.shape[-2]
        x, price = np.zeros((len(cost), n)), np.zeros((len(cost), r))
        converged, iterations = np.zeros(len(cost), bool), np.zeros(len(cost), np.int64)
        for i in range(len(cost)):
            one = Program(cost[i], low[i], high[i], matrix[i], row_low[i], row_high[i], penalty)
            self._pass(one)
            self._solver.setBasis(self._basis)
            self._solver.run()
            found = self._solver.getSolution()
            converged[i] = self._solver.getModelStatus() == self._highspy.HighsModelStatus.kOptimal
            if converged[i]:
                x[i] = np.clip(np.array(found.col_value)[:n], low[i], high[i])
                price[i] = np.array(found.row_dual)
            iterations[i] = self._solver.getInfo().simplex_iteration_count
        return x, price, converged, iterations

    def _pass(self, program: Program) -> None:
        """Hand a program over: the whole of it, or only numbers where the matrix is that of the last one."""
        r, n = program.matrix.shape
        cost = np.concatenate([program.cost, program.penalty, program.penalty])
        low = np.concatenate([program.low, np.zeros(2 * r)])
        high = np.concatenate([program.high, np.full(2 * r, np.inf)])
        solver = self._solver
        if self._matrix is not None and np.array_equal(self._matrix, program.matrix):
            columns, rows = np.arange(n + 2 * r, dtype=np.int32), np.arange(r, dtype=np.int32)
            solver.changeColsCost(n + 2 * r, columns, cost)
            solver.changeColsBounds(n + 2 * r, columns, low, high)
            solver.changeRowsBounds(r, rows, program.row_low.astype(float), program.row_high.astype(float))
            solver.clearSolver()
            return
        self._matrix = np.array(program.matrix, float)
        model: Any = self._highspy.HighsLp()
        model.num_col_, model.num_row_ = n + 2 * r, r
        model.col_cost_, model.col_lower_, model.col_upper_ = cost, low, high
        model.row_lower_, model.row_upper_ = program.row_low.astype(float), program.row_high.astype(float)
        dense = np.concatenate([self._matrix, -np.eye(r), np.eye(r)], axis=1)  # above, then below
        rows_of_columns = [np.flatnonzero(column) for column in dense.T]
        model.a_matrix_.format_ = self._highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = np.cumsum([0, *(len(rows) for rows in rows_of_columns)])
        model.a_matrix_.index_ = np.concatenate(rows_of_columns)
        model.a_matrix_.value_ = np.concatenate([dense[rows, j] for j, rows in enumerate(rows_of_columns)])
        solver.passModel(model)
