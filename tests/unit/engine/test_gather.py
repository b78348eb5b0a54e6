"""Group sums: the dense product, the padded gather and a plain loop agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from powergrid.engine import gather
from powergrid.engine.gather import SumTo, join

weights = st.lists(st.tuples(st.integers(-1, 5), st.floats(-3.0, 3.0)), max_size=40)


def by_hand(values, target, size, weight):
    out = np.zeros((*values.shape[:-1], size))
    for i, t in enumerate(target):
        if t >= 0:
            out[..., t] += weight[i] * values[..., i]
    return out


@given(weights, st.sampled_from([(), (3,), (2, 3)]))
def test_dense_and_padded_sums_agree(pairs, batch):
    target = np.array([t for t, _ in pairs], dtype=int)
    weight = np.array([w for _, w in pairs])
    values = np.random.default_rng(0).normal(size=(*batch, len(pairs)))
    dense = SumTo(target, 6, weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "_DENSE_LIMIT", -1)
        padded = SumTo(target, 6, weight)
    assert padded.matrix is None
    expected = by_hand(values, target, 6, weight)
    assert dense(np, values) == pytest.approx(expected, abs=1e-12)
    assert padded(np, values) == pytest.approx(expected, abs=1e-12)


def test_large_sums_are_padded_by_themselves():
    rng = np.random.default_rng(1)
    target = rng.integers(-1, 700, 900)
    values = rng.normal(size=(2, 900))
    total = SumTo(target, 700)
    assert total.matrix is None
    assert total(np, values) == pytest.approx(by_hand(values, target, 700, np.ones(900)), abs=1e-12)


def test_a_target_that_takes_from_all_does_not_widen_the_others():
    values = np.random.default_rng(2).normal(size=(2, 900))
    source = np.concatenate([np.arange(900), np.arange(900)])
    target = np.concatenate([np.full(900, 650), np.arange(900) % 600])  # targets 600 to 699 but one take nothing
    total = SumTo(target, 700, source=source)
    assert sum(index.size for index, _ in total.groups) <= 2 * len(target)
    expected = by_hand(values[:, source], target, 700, np.ones(1800))
    assert total(np, values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("target", "size"), [([], 3), ([-1, -1], 3), ([], 0)])
def test_nothing_to_sum_gives_zeros(target, size):
    total = SumTo(np.array(target, dtype=int), size)
    assert total(np, np.ones((4, len(target)))).shape == (4, size)
    assert not total(np, np.ones((4, len(target)))).any()


def test_precision_of_the_values_is_kept():
    total = SumTo(np.array([0, 1, 1]), 2)
    assert total(np, np.ones(3, dtype=np.float32)).dtype == np.float32


def test_join_broadcasts_parts_without_the_batch():
    joined = join(np, [np.ones((4, 2)), np.zeros(3)], (4,), float)
    assert joined.shape == (4, 5)
    assert join(np, [], (4,), float).shape == (4, 0)
