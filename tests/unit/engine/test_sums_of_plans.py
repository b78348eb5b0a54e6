"""Sums that the compiled step takes over from index arrays."""

from __future__ import annotations

import numpy as np

from powergrid.engine.compiled.plan import _by_target
from powergrid.engine.gather import SumTo


def test_each_sum_has_the_terms_that_point_at_it_and_no_others():
    sums = SumTo(np.array([-1, 2, 0, -1, 2, -1]), 4, weight=np.array([9.0, 1.0, 2.0, 9.0, 3.0, 9.0]))
    values = np.array([100.0, 10.0, 20.0, 100.0, 30.0, 100.0])
    terms = _by_target(sums, 4)
    assert [source.tolist() for source, _ in terms] == [[2], [], [1, 4], []]
    assert [float(values[source] @ weight) for source, weight in terms] == sums(np, values).tolist()
