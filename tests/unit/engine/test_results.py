"""Arrays that a step has handed out are never written again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid

TICKS = 5


def actions_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(3).uniform(-1.0, 1.0, (TICKS, *shape))


def arrays_in(found: Any) -> list[np.ndarray]:
    """All arrays inside dictionaries, tuples and views."""
    if isinstance(found, np.ndarray):
        return [found]
    if isinstance(found, dict):
        return [array for value in found.values() for array in arrays_in(value)]
    if isinstance(found, (tuple, list)):
        return [array for value in found for array in arrays_in(value)]
    return []


@pytest.mark.parametrize("preset", ["ieee13_single", "p2p_microgrids"])
def test_what_a_vector_environment_told_stays_as_it_was(preset: str):
    env = powergrid.make_vec(preset, 5)
    env.reset(seed=0)
    shape = (5, len(env.possible_agents), env.world.layout.action_size)
    kept, copies = [], []
    for actions in actions_of(shape):
        given = {
            agent: actions[:, i, : env.action_space[agent].shape[1]] for i, agent in enumerate(env.possible_agents)
        }
        *told, infos = env.step(given)
        arrays = arrays_in([*told, *(infos[name] for name in ("cost", "costs", "money", "due", "converged"))])
        kept += arrays
        copies += [array.copy() for array in arrays]
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_what_an_environment_told_stays_as_it_was(backend: str):
    env = powergrid.make("p2p_microgrids", backend=backend)
    env.reset(seed=0, options={"day": 180})
    kept, copies = [], []
    for actions in actions_of((len(env.possible_agents), env.world.layout.action_size)):
        told = env.step_array(actions)
        arrays = [told.observation, told.reward, told.output.money, told.output.flow.v_pu, env.state()]
        kept += arrays
        copies += [array.copy() for array in arrays]
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
