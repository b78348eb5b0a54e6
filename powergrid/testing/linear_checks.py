"""Checks of a device's linear model: it must allow the unit's own trajectory, and cost no more than it."""

from __future__ import annotations

import numpy as np

from powergrid.agents.device_agent import LinearDevice
from powergrid.testing.device_checks import TOLERANCE
from powergrid.testing.trial import DT_H, TICKS, Tick, Trial


def check_linear(trial: Trial, ticks: list[Tick]) -> None:
    """The linear model allows the unit's own trajectory and costs no more than it."""
    at = (0, 0, 0)
    series = (np.array([getattr(row, name)[at] for row in trial.exogenous]) for name in trial.kernels.Exogenous._fields)
    linear = trial.unit.linear(trial.kernels.Exogenous(*series))
    if linear is None:
        return
    p_mw = np.array([tick.injection.p_mw[at] for tick in ticks])
    lowest, highest = np.broadcast_to(linear.p_min_mw, TICKS), np.broadcast_to(linear.p_max_mw, TICKS)
    trial.claim(lowest <= highest, "linear() has p_min_mw above p_max_mw")
    trial.claim(
        (p_mw >= lowest - TOLERANCE) & (p_mw <= highest + TOLERANCE), "a run leaves the power limits of linear()"
    )
    changes = np.abs(np.diff(p_mw))
    trial.claim(changes <= linear.ramp_mw_per_h * DT_H + TOLERANCE, "a run leaves the ramp of linear()")
    _check_blocks(trial, linear, float(highest.max()))
    _check_stored(trial, linear, p_mw, np.array([tick.energy.stored[at] for tick in ticks]))
    paid = np.array([sum(column[at] for column in tick.money) for tick in ticks])
    asked = _linear_cost(linear, p_mw, lowest)
    trial.claim(asked <= paid + TOLERANCE, f"linear() asks {np.max(asked - paid):.3g} $ more than money in a tick")


def _check_blocks(trial: Trial, linear: LinearDevice, highest_mw: float) -> None:
    widths, costs = np.array(linear.cost_mw), np.array(linear.cost_per_mwh)
    trial.claim(widths.shape == costs.shape, "linear() needs one cost for each width")
    if len(widths):
        trial.claim((widths > 0).all() and (np.diff(costs) >= 0).all(), "cost blocks of linear() must rise in cost")
        trial.claim(widths.sum() >= highest_mw - TOLERANCE, "cost blocks of linear() do not reach p_max_mw")
    for name in ("eta_in", "eta_out"):
        trial.claim(0.0 < getattr(linear, name) <= 1.0, f"linear() has {name} outside (0, 1]")


def _check_stored(trial: Trial, linear: LinearDevice, p_mw: np.ndarray, stored_mwh: np.ndarray) -> None:
    """The linear energy recursion agrees with the stored energy of the kernels, and stays within its limits."""
    if linear.e_max_mwh <= linear.e_min_mwh:
        return
    e_mwh = linear.e_start_mwh
    for number, p in enumerate(p_mw):
        drawn_mw = max(p, 0.0) / linear.eta_out + min(p, 0.0) * linear.eta_in
        change = -e_mwh * linear.decay_per_h * DT_H - drawn_mw * DT_H
        gap = abs(change - stored_mwh[number])
        trial.claim(gap <= TOLERANCE, f"linear() stores {gap:.3g} MWh else than the kernels at tick {number}")
        e_mwh += change
        # self-discharge may take a resting store below its window, but no command may
        low = min(linear.e_min_mwh, e_mwh - change) * (1.0 - linear.decay_per_h * DT_H)
        inside = low - TOLERANCE <= e_mwh <= linear.e_max_mwh + TOLERANCE
        trial.claim(inside, f"stored energy {e_mwh:.6g} MWh leaves its window at tick {number}")


def _linear_cost(linear: LinearDevice, p_mw: np.ndarray, lowest_mw: np.ndarray) -> np.ndarray:
    """Cost of a trajectory in the linear model, without starts [$ per tick]."""
    ends = np.cumsum(linear.cost_mw)
    fill = np.clip(p_mw[:, None] - (ends - linear.cost_mw), 0.0, linear.cost_mw) if len(ends) else np.zeros((TICKS, 0))
    running = (p_mw > 0.0) | (not linear.commitment)
    per_h = fill @ np.array(linear.cost_per_mwh) + linear.no_load_cost_per_h * running
    per_h = per_h + linear.throughput_cost_per_mwh * np.abs(p_mw)
    per_h = per_h + linear.curtailment_cost_per_mwh * (p_mw - lowest_mw)
    cost: np.ndarray = per_h * DT_H
    return cost
