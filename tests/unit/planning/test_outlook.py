"""Hourly values at the ticks of a plan."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.planning.forecast import by_clock_hour, interpolated


def test_prices_hold_from_one_full_hour_to_the_next():
    hourly = np.array([30.0, 20.0, 10.0])  # at 7:45, 8:45 and 9:45
    assert by_clock_hour(hourly, 7, 0.25, 7.75).tolist() == [30.0, 20.0, 20.0, 20.0, 20.0, 10.0, 10.0]
    assert by_clock_hour(hourly, 5, 1.0, 23.0).tolist() == [30.0, 20.0, 10.0, 10.0, 10.0]  # the last one holds


def test_powers_run_straight_between_the_hours():
    assert interpolated(np.array([0.0, 1.0]), 6, 0.25) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    assert interpolated(np.array([0.4]), 3, 0.25) == pytest.approx([0.4, 0.4, 0.4])
