"""One preset through every way to step it on the CPU: NumPy, compiled alone, compiled in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid

PRESET, DAY, TICKS, SEED = "ieee13_single", 180, 6, 7


def actions_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(SEED).uniform(-1.0, 1.0, (TICKS, *shape))


@pytest.fixture(scope="module")
def reference() -> list[Any]:
    return stepped("numpy")


def stepped(backend: str) -> list[Any]:
    env = powergrid.make(PRESET, backend=backend)
    assert env.backend == backend
    env.reset(seed=SEED, options={"day": DAY})
    shape = (len(env.possible_agents), env.world.layout.action_size)
    return [env.step_array(actions) for actions in actions_of(shape)]


def test_compiled(reference):
    for ours, theirs in zip(stepped("fused"), reference, strict=True):
        np.testing.assert_allclose(ours.reward, theirs.reward, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(ours.output.flow.v_pu, theirs.output.flow.v_pu, rtol=1e-9)


@pytest.mark.parametrize("count", [2, 9])
def test_compiled_in_a_batch(reference, count: int):
    env = powergrid.make_vec(PRESET, count)
    env.reset(seed=[SEED] * count, options={"day": DAY})
    shape = (len(env.possible_agents), env.world.layout.action_size)
    for actions, theirs in zip(actions_of(shape), reference, strict=True):
        found = env.step_array(np.broadcast_to(actions, (count, *shape)))
        np.testing.assert_allclose(found.reward, np.broadcast_to(theirs.reward, found.reward.shape), rtol=1e-9)
