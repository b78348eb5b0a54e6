"""v1's cost functions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def quadratic_cost(P: float, a: float, b: float, c: float) -> float:
    """``a P^2 + b P + c`` [$/h] for P in MW."""
    return a * (P**2) + b * P + c


def polynomial_cost(P: float, coeffs: Sequence[float]) -> float:
    """``sum_k coeffs[k] P^k``, coefficients in ascending order."""
    return sum(factor * P**power for power, factor in enumerate(coeffs))


def piecewise_linear_cost(P: float, coefs: Sequence[float]) -> float:
    """Line through the knots ``p0, f0, p1, f1, ...``; the outermost pieces go on beyond the last knots.

    Raises
    ------
    AssertionError
        If there are less than two knots or a number is left over.
    """
    assert len(coefs) >= 4, "a piecewise linear curve needs two knots: p0, f0, p1, f1"
    assert len(coefs) % 2 == 0, "knots come in pairs p, f"
    knots = sorted(zip(coefs[::2], coefs[1::2], strict=True), key=lambda knot: knot[0])
    pieces = list(pairwise(knots))
    (p0, f0), (p1, f1) = next((piece for piece in pieces if piece[1][0] >= P), pieces[-1])
    return f0 + (P - p0) * (f1 - f0) / ((p1 - p0) or 1e-9)


def cost_from_curve(P: float, coefs: Sequence[float]) -> float:
    """Three coefficients are :func:`quadratic_cost`, any other number :func:`piecewise_linear_cost`."""
    return quadratic_cost(P, *coefs) if len(coefs) == 3 else piecewise_linear_cost(P, coefs)


def ramping_cost(P_prev: float, P_curr: float, up_cost: float = 0.0, down_cost: float = 0.0) -> float:
    """``up_cost max(0, d) + down_cost max(0, -d)`` with ``d = P_curr - P_prev`` [MW]."""
    change = P_curr - P_prev
    return up_cost * max(0.0, change) + down_cost * max(0.0, -change)


def switching_cost(changed: bool, cost_per_change: float) -> float:
    """`cost_per_change` where something changed, else 0."""
    return float(cost_per_change) * bool(changed)


def tap_change_cost(delta_steps: int, cost_per_step: float) -> float:
    """Cost of every tap step moved."""
    return abs(int(delta_steps)) * float(cost_per_step)


def energy_cost(P_mw: float, price_per_mwh: float, discount: float) -> float:
    """Payment for an import (positive P) at the price, credit for an export at `discount` times the price [$/h]."""
    return P_mw * price_per_mwh if P_mw > 0 else P_mw * price_per_mwh * discount
