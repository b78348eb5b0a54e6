"""Compiled kernels read a forecast as they read NumPy's array of hours."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from numba import njit

from powergrid.engine.compiled.forecasts import forecast
from powergrid.engine.compiled.rows import MANY, ONE


def compiled(rows, expression: str, hours: int = 4):
    names = {"forecast": forecast, "put": rows.put, "LANES": rows.lanes}
    body = f"ahead = forecast(table, 1, LANES, {hours})\n{expression}\nput(out, 0, found)"
    exec("def run(table, out):\n" + textwrap.indent(body, "    "), names)
    run = njit(error_model="numpy")(names["run"])

    def read(table: np.ndarray) -> np.ndarray:
        out = np.full(rows.lanes, np.nan)
        run(table.ravel(), out)
        return out

    return read


@pytest.mark.parametrize("rows", [ONE, MANY], ids=["one", "many"])
@pytest.mark.parametrize(
    "expression",
    [
        "found = ahead[0]",
        "found = ahead[-1]",
        "found = ahead[2] * len(ahead)",
        "found = ahead[0] * 0.0\nfor price in ahead:\n    found = 2.0 * found + price",
        "found = ahead[0] * 0.0\nfor hour, price in enumerate(ahead):\n    found += hour * price",
        "found = ahead[0] * 0.0\nfor hour in range(1, len(ahead)):\n    found += ahead[hour] * ahead[-hour]",
    ],
)
def test_a_kernel_reads_the_same_hours(rows, expression: str):
    table = np.random.default_rng(0).normal(size=(6, rows.lanes))
    names = {"ahead": table[1:5]}
    exec(expression, names)
    assert np.array_equal(compiled(rows, expression)(table), names["found"])


def test_no_hours_are_an_empty_forecast():
    table = np.ones((6, 1))
    assert compiled(ONE, "found = 7.0\nfor price in ahead:\n    found += price", hours=0)(table) == [7.0]


def test_an_hour_beyond_the_forecast_is_refused():
    with pytest.raises(IndexError):
        compiled(ONE, "found = ahead[4]")(np.ones((6, 1)))
