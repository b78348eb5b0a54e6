"""Running statistics and dense stacks."""

import jax.numpy as jnp
import numpy as np
import pytest

from powergrid.learn.networks import CLIP, dense_stack, merge, normalise, running, stack


def test_merging_chunks_gives_the_statistics_of_all_samples():
    rng = np.random.default_rng(0)
    samples = (rng.standard_normal((90, 4, 3)) * [0.01, 1.0, 100.0] + [1.0, -5.0, 3000.0]).astype(np.float32)
    stats = running((3,))
    for chunk in np.split(samples, [7, 30, 31]):
        stats = merge(np, stats, chunk)
    assert stats.count == 360
    np.testing.assert_allclose(stats.mean, samples.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(stats.var, samples.var((0, 1)), rtol=1e-3)


def test_statistics_may_be_kept_for_each_agent():
    samples = np.stack([np.zeros(50), np.arange(50.0)], -1)[..., None].astype(np.float32)
    stats = merge(np, running((2, 1)), samples)
    np.testing.assert_allclose(stats.mean[:, 0], [0.0, 24.5])
    np.testing.assert_allclose(stats.var[:, 0], [0.0, np.arange(50.0).var()], rtol=1e-6)


def test_a_limited_memory_follows_a_change():
    old = merge(np, running((1,)), np.zeros((10_000, 1), np.float32))
    late = np.ones((100, 1), np.float32)
    assert merge(np, old, late).mean[0] == pytest.approx(100 / 10_100)
    assert merge(np, old, late, memory=100).mean[0] == pytest.approx(0.5)


def test_normalised_entries_are_centred_scaled_and_clipped():
    samples = np.random.default_rng(1).normal(400.0, 20.0, (5000, 1)).astype(np.float32)
    stats = merge(np, running((1,)), samples)
    scaled = normalise(np, stats, samples)
    assert scaled.mean() == pytest.approx(0.0, abs=1e-3)
    assert scaled.std() == pytest.approx(1.0, rel=1e-3)
    assert normalise(np, stats, np.array([1e9], np.float32)) == CLIP


def test_a_feature_that_never_moved_stays_near_zero():
    value = np.full((1000, 1), 0.3, np.float32)
    assert abs(normalise(np, merge(np, running((1,)), value), value)).max() < 1e-2


def test_shared_stack_equals_one_hot_agent_numbers_appended():
    rng = np.random.default_rng(2)
    layers = stack(rng, (5, 8, 2), last_gain=1.0, agents=3)
    layers["dense_0"]["bias"] += rng.standard_normal(8).astype(np.float32)
    obs = rng.standard_normal((7, 3, 5)).astype(np.float32)
    one_hot = np.broadcast_to(np.eye(3, dtype=np.float32), (7, 3, 3))
    hidden = np.tanh(np.concatenate([obs, one_hot], -1) @ layers["dense_0"]["kernel"] + layers["dense_0"]["bias"])
    expected = hidden @ layers["dense_1"]["kernel"] + layers["dense_1"]["bias"]
    np.testing.assert_allclose(dense_stack(np, layers, obs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_numpy_and_jax_agree_for_any_batch(shared, batch):
    layers = stack(np.random.default_rng(3), (6, 16, 16, 2), last_gain=1.0, agents=3, shared=shared)
    obs = np.random.default_rng(4).standard_normal((*batch, 3, 6)).astype(np.float32)
    found = dense_stack(np, layers, obs)
    assert found.shape == (*batch, 3, 2)
    np.testing.assert_allclose(found, dense_stack(jnp, layers, jnp.asarray(obs)), rtol=1e-4, atol=1e-5)


def test_separate_stacks_are_one_network_an_agent():
    layers = stack(np.random.default_rng(5), (4, 8, 1), last_gain=1.0, agents=2, shared=False)
    obs = np.ones((2, 4), np.float32)
    both = dense_stack(np, layers, obs)
    assert both[0] != both[1]
    alone = {name: {part: values[1] for part, values in layer.items()} for name, layer in layers.items()}
    np.testing.assert_allclose(both[1:], dense_stack(np, alone, obs[1:]), rtol=1e-5)


def test_kernels_are_orthogonal():
    kernel = stack(np.random.default_rng(6), (64, 32), last_gain=0.5)["dense_0"]["kernel"]
    np.testing.assert_allclose(kernel.T @ kernel, 0.25 * np.eye(32), atol=1e-6)
