"""v1's safety terms, all zero where nothing is violated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


def s_over_rating(P: float, Q: float, sn_mva: float | None) -> float:
    """``max(0, (S - sn) / sn)``; 0 without a positive rating."""
    if sn_mva is None or not float(sn_mva) > 0:
        return 0.0
    rating = float(sn_mva)
    return max(0.0, (math.hypot(P, Q) - rating) / rating)


def pf_penalty(P: float, Q: float, min_pf: float | None) -> float:
    """``max(0, min_pf - |P| / S)``; 0 without a limit or at standstill."""
    apparent = math.hypot(P, Q)
    if min_pf is None or apparent <= 1e-9:
        return 0.0
    return max(0.0, float(min_pf) - abs(P / apparent))


def voltage_deviation(V_pu: float, vmin_pu: float = 0.95, vmax_pu: float = 1.05) -> float:
    """``(vmin - V) / vmin`` below the band, ``(V - vmax) / (1.5 - vmax)`` above it."""
    if V_pu < vmin_pu:
        return (vmin_pu - V_pu) / max(1e-9, vmin_pu)
    if V_pu > vmax_pu:
        return (V_pu - vmax_pu) / max(1e-9, 1.5 - vmax_pu)
    return 0.0


def soc_bounds_penalty(soc: float, min_soc: float, max_soc: float) -> float:
    """Distance of a state of charge from its window."""
    if soc > max_soc:
        return soc - max_soc
    return min_soc - soc if soc < min_soc else 0.0


def loading_over_pct(loading_pct: float) -> float:
    """``max(0, loading - 100) / 100`` for a loading in percent."""
    return max(0.0, (loading_pct - 100.0) / 100.0)


def rate_of_change_penalty(prev: float, curr: float, limit: float) -> float:
    """``max(0, (|d| - limit) / limit)``; 0 without a positive limit."""
    return max(0.0, (abs(curr - prev) - limit) / limit) if limit > 0 else 0.0


@dataclass
class SafetySpec:
    """Weights of the terms in :func:`total_safety`."""

    s_over_rating_w: float = 1.0
    pf_w: float = 1.0
    voltage_w: float = 0.0
    soc_w: float = 1.0
    loading_w: float = 1.0
    roc_w: float = 0.0


def total_safety(
    *,
    spec: SafetySpec,
    P: float = 0.0,
    Q: float = 0.0,
    sn_mva: float | None = None,
    min_pf: float | None = None,
    V_pu: float | None = None,
    vmin_pu: float = 0.95,
    vmax_pu: float = 1.05,
    soc: float | None = None,
    min_soc: float = 0.0,
    max_soc: float = 1.0,
    loading_pct: float | None = None,
    prev: float | None = None,
    curr: float | None = None,
    limit: float = 0.0,
) -> float:
    """Weighted sum of the terms whose inputs are given."""
    terms: list[tuple[float, Any]] = [
        (spec.s_over_rating_w, lambda: s_over_rating(P, Q, sn_mva)),
        (spec.pf_w, lambda: pf_penalty(P, Q, min_pf)),
        (spec.voltage_w, lambda: 0.0 if V_pu is None else voltage_deviation(V_pu, vmin_pu, vmax_pu)),
        (spec.soc_w, lambda: 0.0 if soc is None else soc_bounds_penalty(soc, min_soc, max_soc)),
        (spec.loading_w, lambda: 0.0 if loading_pct is None else loading_over_pct(loading_pct)),
        (spec.roc_w, lambda: 0.0 if prev is None or curr is None else rate_of_change_penalty(prev, curr, limit)),
    ]
    return sum(weight * term() for weight, term in terms if weight)
