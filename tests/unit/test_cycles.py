"""Rainflow counting against the example of the standard, a library, and its own properties."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import powergrid

STANDARD = [-2, 1, -3, 5, -1, 3, -4, 4, -2]
"""The example series of ASTM E1049-85 for rainflow counting."""


def counted(series: Any) -> dict[float, float]:
    """Cycles by depth."""
    found: dict[float, float] = defaultdict(float)
    for depth, _, count in zip(*powergrid.rainflow(series), strict=True):
        found[round(float(depth), 9)] += float(count)
    return dict(found)


def test_series_of_the_standard() -> None:
    assert counted(STANDARD) == {3.0: 0.5, 4.0: 1.5, 6.0: 0.5, 8.0: 1.0, 9.0: 0.5}
    closed = [(d, m) for d, m, n in zip(*powergrid.rainflow(STANDARD), strict=True) if n == 1.0]
    assert closed == [(4.0, 1.0)]


@pytest.mark.parametrize(
    ("series", "cycles"),
    [([], {}), ([0.5], {}), ([0.5, 0.5], {}), ([0.1, 0.9], {0.8: 0.5}), ([0.1, 0.5, 0.5, 0.9, 0.1], {0.8: 1.0})],
)
def test_short_and_level_series(series: list[float], cycles: dict[float, float]) -> None:
    assert counted(series) == cycles


@pytest.mark.parametrize("wrong", [[0.1, np.nan], [[0.1, 0.2]], [np.inf]])
def test_what_is_no_series_is_refused(wrong: list) -> None:
    with pytest.raises(ValueError, match="one row of finite numbers"):
        powergrid.rainflow(wrong)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60))
def test_cycles_hold_all_that_the_series_moves(series: list[float]) -> None:
    cycles = powergrid.rainflow(series)
    assert np.sum(2.0 * cycles.weight * cycles.depth) == pytest.approx(np.abs(np.diff(series)).sum(), abs=1e-9)
    assert cycles.depth.max(initial=0.0) == pytest.approx(np.ptp(series))


def test_equal_to_the_library() -> None:
    library = pytest.importorskip("rainflow")
    walk = np.cumsum(np.random.default_rng(0).normal(size=2000))
    theirs: dict[float, float] = defaultdict(float)
    for depth, _, count, _, _ in library.extract_cycles(walk):
        theirs[round(float(depth), 9)] += count
    assert counted(walk) == dict(theirs)
