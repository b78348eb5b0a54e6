"""Linear programs over the ticks of a horizon, solved by HiGHS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array

from powergrid.core import highs
from powergrid.core.errors import PowerGridError

_LINEAR = ({"presolve": "off", "solver": "simplex"}, {"solver": "simplex"}, {"solver": "ipm"})
"""Ways to solve a linear program, the fastest first."""


class NoOptimumError(PowerGridError):
    """A program without an optimum, or one that the solver has given up; says which."""


class Term(NamedTuple):
    """A factor on columns in rows, one row a tick.

    Attributes
    ----------
    factor
        A number, or one a tick.
    columns
        Columns, one a tick.
    lag
        Ticks by which the column lies before its row; rows without such a tick leave it out.
    """

    factor: Any
    columns: slice
    lag: int = 0


class Optimum(NamedTuple):
    """Optimum of a program.

    Attributes
    ----------
    cost
        Least cost, with the cost that nothing decides.
    values
        Value of each column.
    duals
        Rise of the least cost by the bound of each row, with whole numbers held at their optimum.
    """

    cost: float
    values: np.ndarray
    duals: np.ndarray


class LinearProgram:
    """Collects columns and rows of a linear program, one of each a tick.

    Parameters
    ----------
    ticks
        Length of the horizon.
    """

    def __init__(self, ticks: int):
        self.ticks = ticks
        self._offset = 0.0
        self._columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._whole: list[slice] = []
        self._rows: list[tuple[np.ndarray, np.ndarray]] = []
        self._entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def columns(self, low: Any, high: Any, cost: Any = 0.0, *, whole: bool = False) -> slice:
        """New columns with their bounds and cost, one a tick; `whole` ones take whole numbers only."""
        start = self.ticks * len(self._columns)
        self._columns.append((self._each(low), self._each(high), self._each(cost)))
        added = slice(start, start + self.ticks)
        if whole:
            self._whole.append(added)
        return added

    def add_cost(self, cost: Any) -> None:
        """Cost that nothing decides, one a tick."""
        self._offset += float(self._each(cost).sum())

    def rows(self, low: Any, high: Any, terms: Sequence[Term]) -> slice:
        """New rows ``low <= sum of factor * column <= high``, one a tick."""
        start = self.ticks * len(self._rows)
        self._rows.append((self._each(low), self._each(high)))
        here = np.arange(self.ticks)
        for factor, at, lag in terms:
            since = here[lag:]
            self._entries.append((start + since, at.start + since - lag, self._each(factor)[lag:]))
        return slice(start, start + self.ticks)

    def _each(self, value: Any) -> np.ndarray:
        each = np.empty(self.ticks)
        each[:] = value
        return each

    def minimise(self, *, gap: float = 1e-4, max_nodes: int = 1000) -> Optimum:
        """Least cost, the columns there, and the duals of the rows.

        The result follows from the program alone: the solver starts from nothing, and what limits it is counted, not
        timed.

        Parameters
        ----------
        gap
            Relative gap to the best bound at which whole numbers count as optimal [1].
        max_nodes
            Nodes of the search for whole numbers, after which its best answer is taken.

        Raises
        ------
        NoOptimumError
            If the program is infeasible or unbounded, or the solver fails.
        """
        import highspy

        low, high, cost = (np.concatenate(part) for part in zip(*self._columns, strict=True))
        model = self._model(highspy, low, high, cost)
        if self._whole:
            chosen = np.round(_run(highspy, self._searched(highspy, model), gap, max_nodes).col_value)
            for part in self._whole:
                low[part] = high[part] = chosen[part]
            model = self._model(highspy, low, high, cost)
        solution = _run(highspy, model)
        values, duals = np.array(solution.col_value), np.array(solution.row_dual)
        return Optimum(float(cost @ values) + self._offset, values, duals)

    def _model(self, highspy: Any, low: np.ndarray, high: np.ndarray, cost: np.ndarray) -> Any:
        """The program without whole numbers."""
        row_low, row_high = (np.concatenate(part) for part in zip(*self._rows, strict=True))
        rows, columns, values = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        matrix = coo_array((values, (rows, columns)), shape=(len(row_low), len(low))).tocsc()
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(low), len(row_low)
        model.col_lower_, model.col_upper_, model.col_cost_ = low, high, cost
        model.row_lower_, model.row_upper_ = row_low, row_high
        entries = model.a_matrix_
        entries.format_ = highspy.MatrixFormat.kColwise
        entries.start_, entries.index_, entries.value_ = matrix.indptr, matrix.indices, matrix.data
        return model

    def _searched(self, highspy: Any, model: Any) -> Any:
        """The program with its whole numbers."""
        kinds = [highspy.HighsVarType.kContinuous] * model.num_col_
        for part in self._whole:
            kinds[part] = [highspy.HighsVarType.kInteger] * self.ticks
        model.integrality_ = kinds
        return model


def _run(highspy: Any, model: Any, gap: float | None = None, max_nodes: int = 0) -> Any:
    """Solution of a model: without `gap` by the simplex method, which is fastest here without presolve.

    Where it gives up all the same (model status "unknown", for numerical reasons), presolve and the interior-point
    method follow.
    """
    ways: Sequence[dict[str, Any]] = _LINEAR if gap is None else ({"mip_rel_gap": gap, "mip_max_nodes": max_nodes},)
    kinds = highspy.HighsModelStatus
    for options in ways:
        solver = highs.solver(**options)
        solver.passModel(model)
        solver.run()
        status = solver.getModelStatus()
        feasible = solver.getInfo().primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible)
        if status == kinds.kOptimal or (feasible and status == kinds.kSolutionLimit and gap is not None):
            return solver.getSolution()
        if status != kinds.kUnknown:
            break
    raise NoOptimumError(f"the linear program has no optimum: {solver.modelStatusToString(status).lower()}")
