"""Markets on networks: energy and reserve, cleared at locational marginal prices.

:func:`plan` prepares a network, :func:`clear` clears offers and bids on it. A method is chosen by name, as for a power
flow; :func:`clear_arrays` is the one for kernels.
"""

from __future__ import annotations

from powergrid.markets.blocks import Blocks, quadratic_blocks
from powergrid.markets.clearing import (
    LIMIT_EXCEEDED,
    NOT_CONVERGED,
    SOLVED,
    UNSERVED,
    Clearing,
    Payments,
    payments,
    traded,
)
from powergrid.markets.methods import clear, clear_arrays
from powergrid.markets.model import Plan
from powergrid.markets.planning import METHODS, MODELS, plan

__all__ = [
    "LIMIT_EXCEEDED",
    "METHODS",
    "MODELS",
    "NOT_CONVERGED",
    "SOLVED",
    "UNSERVED",
    "Blocks",
    "Clearing",
    "Payments",
    "Plan",
    "clear",
    "clear_arrays",
    "payments",
    "plan",
    "quadratic_blocks",
    "traded",
]
