"""Observations of different lengths stand one after the other, without padding, in every form of environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.worlds.build import build
from tests.unit.engine import small_worlds
from tests.unit.engine.small_worlds import DG, ESS, METER

PRICE = {"type": "price_signal", "params": {"price_min_per_mwh": 0, "price_max_per_mwh": 200}}


def hierarchy(**sections: Any) -> dict[str, Any]:
    """An agent that sees everything between agents that see little, in changing order of length."""
    learned = {"policy": "learned"}
    twins = [{**ESS, **learned, "id": f"ess_{k}", "bus": bus} for k, bus in ((2, "675"), (3, "680"), (4, "671"))]
    coordinator = {"id": "area_1", "type": "GridCoordinator", "sub_agents": ["ess_2", "ess_3"], "protocol": PRICE}
    return small_worlds.config(
        {**ESS, **learned},
        {**coordinator, **learned},
        twins[0],
        {**DG, **learned, "observability": "full"},
        *twins[1:],
        METER,
        **sections,
    )


def test_lengths_differ_and_nothing_is_padded():
    layout = build(hierarchy()).layout
    view = layout.view
    assert len(set(view.sizes)) > 3
    assert len(view.index) == len(view.low) == sum(view.sizes)
    steps = np.sign(np.diff(view.sizes)).tolist()
    assert {1, -1} <= set(steps)  # a longer agent after a shorter one, and the other way


def test_memory_is_linear_in_what_is_seen():
    """One agent that sees everything adds its own numbers, and no number to the rows of the others."""
    learned = {"policy": "learned"}
    devices = [{**ESS, **learned, "id": f"ess_{k}"} for k in range(1, 41)]
    few = build(small_worlds.config(*devices)).layout.view
    one = {**devices[0], "observability": "full"}
    many = build(small_worlds.config(one, *devices[1:])).layout.view
    assert len(many.index) - len(few.index) == len(many.entries) - few.sizes[0]


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_numbers_of_an_agent_are_those_of_the_dictionaries(backend):
    one, two = (powergrid.make(hierarchy(), backend=backend) for _ in range(2))
    observations, _ = one.reset(seed=4)
    two.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(3):
        rows = rng.uniform(-1, 1, (len(one.agents), one.world.layout.action_size))
        sizes = [one.action_space(agent).shape[0] for agent in one.agents]
        observations, *_ = one.step({agent: rows[i, : sizes[i]] for i, agent in enumerate(one.agents)})
        step = two.step_array(rows)
        assert len(step.observation) == sum(map(len, observations.values()))
        for agent, seen in observations.items():
            assert np.array_equal(step.observation[two.observation_slices[agent]], seen)
            assert one.observation_space(agent).contains(seen)


def test_every_form_shows_the_same():
    """NumPy to 1e-6, float32, and compiled environments side by side to the bit, over the end of an episode."""
    shape = None
    found = {}
    for backend, count in (("numpy", 2), ("fused", 2), ("fused", 9)):
        env = powergrid.make_vec(hierarchy(), count, backend=backend, episode_length=3)
        first, _ = env.reset(seed=7)
        shape = (9, len(env.possible_agents), env.world.layout.action_size)
        rng, record = np.random.default_rng(2), [np.concatenate([rows[:2] for rows in first.values()], axis=1)]
        for _ in range(4):
            step = env.step_array(rng.uniform(-1, 1, shape)[:count])
            record += [step.observation[:2], step.final_observation[:2]]
        assert record[6].shape == record[5].shape  # the third tick is the last
        found[backend, count] = record
    for one, two, reference in zip(found["fused", 2], found["fused", 9], found["numpy", 2], strict=True):
        assert np.array_equal(one, two)
        assert np.allclose(one, reference, rtol=1e-6, atol=1e-6)


def test_dictionaries_of_a_batch_are_views_of_one_array():
    env = powergrid.make_vec(hierarchy(), 3, backend="numpy")
    observations, _ = env.reset(seed=0)
    assert {agent: rows.shape for agent, rows in observations.items()} == {
        agent: (3, len(labels))
        for agent, labels in ((agent, env.world.layout.view.labels(i)) for i, agent in enumerate(env.possible_agents))
    }
    assert all(np.shares_memory(rows, observations["ess_1"].base) for rows in observations.values())


def test_groups_stack_agents_wherever_they_stand():
    view = build(hierarchy()).layout.view
    numbers = np.arange(2 * len(view.index)).reshape(2, -1)
    alike = [i for i, size in enumerate(view.sizes) if size == view.sizes[-1]]
    for agents in (alike, alike[::-1], alike[:1]):
        expected = np.stack([numbers[:, view.slices[i]] for i in agents], axis=1)
        assert np.array_equal(view.stacked(numbers, agents), expected)
