"""Random numbers: published answers, equal bits on both backends, independence of streams, and moments."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.core import random

# threefry2x32 with 20 rounds: counter, key, result, from kat_vectors of the Random123 distribution
# (Salmon, Moraes, Dror, Shaw, doi:10.1145/2063384.2063405)
KNOWN = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    words = random.threefry2x32(
        np, np.array(key, dtype=np.uint32), np.array([counter[0]], np.uint32), np.array([counter[1]], np.uint32)
    )
    assert tuple(int(word[0]) for word in words) == result


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31 + 5, 2**32 - 1])
def test_keys_are_those_of_jax(seed):
    jax = pytest.importorskip("jax")
    expected = np.asarray(jax.random.key_data(jax.random.key(seed)))
    assert (random.key_from_seed(np, np.array(seed)) == expected).all()


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_numpy_and_jax_give_the_same_numbers(draw):
    jax = pytest.importorskip("jax")
    from powergrid.core.backend import jax_float64

    xp = jax.numpy
    keys = random.key_from_seed(np, np.arange(3))
    ticks = np.array([0, 7, 95])
    with jax_float64():
        double = np.asarray(draw(xp, xp.asarray(keys), xp.asarray(ticks), 3, (4, 2), np.float64))
        folded = np.asarray(random.fold_in(xp, xp.asarray(keys), xp.asarray(ticks)))
    single = np.asarray(draw(xp, xp.asarray(keys), xp.asarray(ticks), 3, (4, 2), np.float32))
    assert (folded == random.fold_in(np, keys, ticks)).all()
    if draw is random.uniform:  # whole numbers scaled by powers of two: not a bit of difference
        assert (double == draw(np, keys, ticks, 3, (4, 2), np.float64)).all()
        assert (single == draw(np, keys, ticks, 3, (4, 2), np.float32)).all()
    else:  # log and cos of two libraries
        assert np.allclose(double, draw(np, keys, ticks, 3, (4, 2), np.float64), rtol=0.0, atol=1e-12)
        assert np.allclose(single, draw(np, keys, ticks, 3, (4, 2), np.float32), rtol=0.0, atol=1e-5)


def test_an_environment_draws_the_same_alone_and_in_a_batch():
    keys = random.key_from_seed(np, np.arange(5))
    together = random.uniform(np, keys, np.full(5, 3), 2, (6,))
    alone = [random.uniform(np, keys[i], np.array(3), 2, (6,)) for i in range(5)]
    assert (together == np.stack(alone)).all()


def test_key_tick_and_stream_all_matter():
    key = random.key_from_seed(np, np.array(1))
    base = random.uniform(np, key, np.array(5), 1, (8,))
    others = [
        random.uniform(np, random.key_from_seed(np, np.array(2)), np.array(5), 1, (8,)),
        random.uniform(np, key, np.array(6), 1, (8,)),
        random.uniform(np, key, np.array(5), 2, (8,)),
        random.uniform(np, random.fold_in(np, key, np.array(0)), np.array(5), 1, (8,)),
    ]
    for other in others:
        assert not np.isin(other, base).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_moments(dtype):
    key = random.key_from_seed(np, np.array(9))
    flat = random.uniform(np, key, np.array(0), 1, (100_000,), dtype)
    assert flat.dtype == dtype
    assert flat.min() >= 0.0
    assert flat.max() < 1.0
    assert flat.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 100_000))
    bell = random.normal(np, key, np.array(0), 1, (100_000,), dtype)
    assert np.isfinite(bell).all()
    assert bell.mean() == pytest.approx(0.0, abs=4 / np.sqrt(100_000))
    assert bell.std() == pytest.approx(1.0, abs=4 / np.sqrt(200_000))
    assert np.corrcoef(bell[:-1], bell[1:])[0, 1] == pytest.approx(0.0, abs=4 / np.sqrt(100_000))
