"""Rules, marginal costs and available power compile on plain numbers, as the other kernels do."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from test_devices import RICH

from powergrid.agents.device_agent import DeviceAgent
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.kernels import compiled
from powergrid.plugins.registries import DEVICES
from powergrid.testing.trial import BATCH, DT_H, UNITS, Trial, columns_of, drawn, make_trial

AT = (1, 0, 2)
"""One unit of the trial's batch."""
OWN = [name for name in DEVICES.names() if DEVICES.get(name).__module__.startswith("powergrid.")]
CASES = [(name, {}) for name in OWN] + [(name, row) for name, rows in RICH.items() for row in rows]


def having(kernel: str) -> pytest.MarkDecorator:
    """Every family that has a kernel of its own, in its default form and in its richest one."""
    cases = [case for case in CASES if getattr(DEVICES.get(case[0]), kernel) is not getattr(DeviceAgent, kernel)]
    return pytest.mark.parametrize(("name", "params"), cases)


def trial_of(name: str, params: dict[str, Any]) -> Trial:
    return drawn(make_trial(DEVICES.get(name), params))


def numbers(values: Any) -> Any:
    """One unit's fields as plain numbers, hourly ones as rows; a record without fields is the empty tuple."""
    return type(values)(*(one(value) for value in values)) if values else ()


def one(value: Any) -> Any:
    picked = value[(..., *AT)] if np.ndim(value) else value
    return picked.copy() if np.ndim(picked) else float(picked)


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, one(np.broadcast_to(wanted, (*BATCH, UNITS))), rtol=1e-12, atol=1e-12)


@having("rule")
def test_rule(name: str, params: dict) -> None:
    trial = trial_of(name, params)
    kernels, columns, row = trial.kernels, columns_of(trial.params), numbers(trial.params)
    if not kernels.Command._fields:
        assert kernels.rule(np, columns, (), trial.exogenous[0], trial.outlooks[0], DT_H) == ()
        return
    inner = compiled(kernels.rule)
    rule = numba.njit(lambda row, state, exogenous, outlook: inner(xp, row, state, exogenous, outlook, DT_H))
    state = kernels.reset(np, columns, trial.uniform)
    for command, exogenous, outlook in zip(trial.commands, trial.exogenous, trial.outlooks, strict=True):
        wanted = kernels.rule(np, columns, state, exogenous, outlook, DT_H)
        found = rule(row, numbers(state), numbers(exogenous), numbers(outlook))
        for a, b in zip(found, wanted, strict=True):
            same(a, b)
        state, _ = kernels.step(np, columns, state, command, exogenous, DT_H)


@having("marginal_cost")
def test_marginal_cost(name: str, params: dict) -> None:
    trial = trial_of(name, params)
    inner = compiled(trial.kernels.marginal_cost)
    marginal_cost = numba.njit(lambda row, p_mw: inner(xp, row, p_mw))
    for p_mw in np.linspace(0.0, 1.0, 5):
        wanted = trial.kernels.marginal_cost(np, columns_of(trial.params), np.full(UNITS, p_mw))
        same(marginal_cost(numbers(trial.params), float(p_mw)), wanted)


@having("available")
def test_available(name: str, params: dict) -> None:
    trial = trial_of(name, params)
    inner = compiled(trial.kernels.available)
    available = numba.njit(lambda row, exogenous: inner(xp, row, exogenous, DT_H))
    for exogenous in trial.exogenous:
        wanted = trial.kernels.available(np, columns_of(trial.params), exogenous, DT_H)
        same(available(numbers(trial.params), numbers(exogenous)), wanted)
