"""Formulas mean what they say, and the same in NumPy, in JAX and in compiled code of any number of lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from powergrid.engine import formulas
from powergrid.engine.compiled import vector_types
from powergrid.engine.compiled.kernels import compiled
from powergrid.engine.compiled.rows import MANY, ONE
from powergrid.networks.regulation import relay_voltage, steps_taken
from powergrid.powerflow.sequence import sequence_ratio

GIVEN: dict[Callable[..., Any], tuple[float, ...]] = {
    formulas.magnitude: (0.3, -0.4),
    formulas.voltage_price: (0.93, 0.95, 1.05, 250.0),
    formulas.overload_price: (117.0, 2.5),
    formulas.unserved_price: (0.75, 2500.0),
    formulas.unbalance_price: (0.031, 2.0, 2.5),
    formulas.reward: (12.5, 3.0, 0.1, 0.5, 1.25),
    relay_voltage: (1.02, -0.01, 0.98, -0.03, 1.0125, 40.0, -120.0, 1.01, 0.002, 0.004),
    steps_taken: (2.0, 0.0),
    sequence_ratio: (1.0, 0.01, -0.49, -0.88, -0.51, 0.85),
}
EXPECTED = {
    formulas.magnitude: 0.5,
    formulas.voltage_price: 0.02 * 250.0,
    formulas.overload_price: 17.0 * 2.5,
    formulas.unserved_price: 0.75 * 2500.0,
    formulas.unbalance_price: 1.1 * 2.5,
    formulas.reward: -0.1 * 12.5 - 1.25,
    steps_taken: 2.0,
}


@pytest.mark.parametrize("formula", GIVEN, ids=lambda formula: formula.__name__)
@pytest.mark.parametrize("rows", [ONE, MANY], ids=["one", "many"])
def test_compiled_formulas_have_the_bits_of_numpy(formula: Any, rows: Any):
    numbers = GIVEN[formula]
    values = ", ".join(f"get(table, {k})" for k in range(len(numbers)))
    names = {"get": rows.get, "put": rows.put, "formula": compiled(formula), "xp": vector_types}
    exec(f"def run(table, out):\n    put(out, 0, formula(xp, {values}))", names)
    out = np.full(rows.lanes, np.nan)
    njit(error_model="numpy")(names["run"])(np.repeat(numbers, rows.lanes), out)
    assert np.array_equal(out, np.full(rows.lanes, formula(np, *map(np.float64, numbers))))


@pytest.mark.parametrize("formula", EXPECTED, ids=lambda formula: formula.__name__)
def test_formulas_by_hand(formula: Any):
    assert formula(np, *GIVEN[formula]) == pytest.approx(EXPECTED[formula], rel=1e-12)


def test_nothing_is_priced_within_limits():
    assert formulas.voltage_price(np, 1.0, 0.95, 1.05, 250.0) == 0.0
    assert formulas.voltage_price(np, 1.06, 0.95, 1.05, 250.0) == pytest.approx(2.5)
    assert formulas.overload_price(np, 99.0, 2.5) == 0.0
    assert formulas.unserved_price(np, -0.5, 2500.0) == 0.0
    assert formulas.unbalance_price(np, 0.019, 2.0, 2.5) == 0.0
    assert steps_taken(np, 2.0, 1.0) == 0.0


def test_balanced_voltages_have_no_negative_sequence():
    turn = np.exp(-2j * np.pi / 3.0 * np.arange(3))
    assert sequence_ratio(np, *(part for v in turn for part in (v.real, v.imag))) == pytest.approx(0.0, abs=1e-12)
    back = turn.conj()
    assert sequence_ratio(np, *(part for v in back for part in (v.real, v.imag))) > 1e3


def test_relays_without_a_compensator_read_their_bus():
    assert relay_voltage(np, 1.1, 0.2, 0.6, 0.8, 1.05, 3.0, -9.0, 1.02, 0.0, 0.0) == pytest.approx(1.02)


def test_decisions_are_due_from_their_first_tick_on():
    ticks = np.arange(8)
    assert np.flatnonzero(formulas.due(ticks, 3, 1)).tolist() == [1, 4, 7]
    assert formulas.due(ticks, 1, 0).all()
    assert formulas.physical(np.array([-1.0, 0.0, 1.0]), 2.0, 3.0).tolist() == [2.0, 5.0, 8.0]
