"""v1's helper functions: cost curves and safety terms."""

from powergrid.v1.utils.cost import (
    cost_from_curve,
    energy_cost,
    piecewise_linear_cost,
    polynomial_cost,
    quadratic_cost,
    ramping_cost,
    switching_cost,
    tap_change_cost,
)
from powergrid.v1.utils.safety import (
    SafetySpec,
    loading_over_pct,
    pf_penalty,
    rate_of_change_penalty,
    s_over_rating,
    soc_bounds_penalty,
    total_safety,
    voltage_deviation,
)

__all__ = [
    "SafetySpec",
    "cost_from_curve",
    "energy_cost",
    "loading_over_pct",
    "pf_penalty",
    "piecewise_linear_cost",
    "polynomial_cost",
    "quadratic_cost",
    "ramping_cost",
    "rate_of_change_penalty",
    "s_over_rating",
    "soc_bounds_penalty",
    "switching_cost",
    "tap_change_cost",
    "total_safety",
    "voltage_deviation",
]
