"""The linear program that every clearing method solves."""

from __future__ import annotations

from typing import NamedTuple

from powergrid.core.types import Array


class Program(NamedTuple):
    """Least cost of blocks within limits that may be exceeded at a price.

    ::

        minimise    cost' x + penalty' (above + below)
        subject to  row_low <= matrix x + below - above <= row_high
                    low <= x <= high,   above, below >= 0

    A row whose bounds are equal is an equation. As every row may be exceeded, the program always has a solution.

    Attributes
    ----------
    cost
        Price of each column [$/MWh], ``(*batch, n)``.
    low, high
        Bounds of each column [MW], ``(*batch, n)``.
    matrix
        ``(*batch, r, n)``, or ``(r, n)`` where it is the same in every environment.
    row_low, row_high
        Bounds of each row, ``(*batch, r)``; infinite for none.
    penalty
        Price of exceeding each row, ``(r,)``.
    """

    cost: Array
    low: Array
    high: Array
    matrix: Array
    row_low: Array
    row_high: Array
    penalty: Array


class Solution(NamedTuple):
    """A solved program.

    Attributes
    ----------
    x
        Columns [MW], ``(*batch, n)``.
    row_price
        Change of the least cost with the bounds of each row, ``(*batch, r)``.
    converged
        Whether the solution is optimal to the method's tolerance, ``(*batch,)``.
    iterations
        Iterations taken, ``(*batch,)``.
    """

    x: Array
    row_price: Array
    converged: Array
    iterations: Array
