"""Our solver beside other users of HiGHS in one process."""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np

from powergrid.core import highs


def solved(solver: Any) -> bool:
    """Whether a solver finds the optimum of a program with one column."""
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = 1, 1
    program.col_cost_, program.col_lower_, program.col_upper_ = np.ones(1), np.zeros(1), np.full(1, 2.0)
    program.row_lower_, program.row_upper_ = np.ones(1), np.full(1, 2.0)
    matrix = program.a_matrix_
    matrix.start_, matrix.index_, matrix.value_ = np.array([0, 1]), np.zeros(1, np.int32), np.ones(1)
    solver.passModel(program)
    solver.run()
    return solver.getModelStatus() == highspy.HighsModelStatus.kOptimal


def test_another_users_number_of_threads_does_not_matter() -> None:
    highspy.Highs.resetGlobalScheduler(True)
    other = highspy.Highs()
    other.silent()
    other.setOptionValue("threads", 3)
    assert solved(other)
    assert solved(highs.solver())
    highspy.Highs.resetGlobalScheduler(True)
