"""What makes the presets of many agents and of three levels worth playing: a competent operator beats carelessness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core import random
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.build import build
from powergrid.worlds.seeds import episode_seed
from powergrid.worlds.simulation import Simulation


def _cost(world: Any, policy: str, days: np.ndarray) -> tuple[np.ndarray, float, Any]:
    """Money and violations of each day [$], share of bus-steps outside the band, and the last state."""
    settings, simulation = world.layout.settings, Simulation(world, "numpy")
    seeds = np.array([episode_seed(0, int(day)) for day in days])
    key = random.fold_in(np, random.key_from_seed(np, seeds), np.zeros(len(days), np.int32))
    state, *_ = simulation.reset(key, days)
    total, outside = np.zeros(len(days)), 0.0
    for _ in range(settings.episode_length):
        state, output = simulation.step(state, simulation.decide(state, POLICIES.get(policy)))
        assert output.flow.converged.all()
        total = total + output.money.sum((-1, -2)) + output.costs.sum((-1, -2))
        v_pu = output.flow.v_pu
        outside += float(((v_pu < settings.v_min_pu) | (v_pu > settings.v_max_pu)).mean()) / settings.episode_length
    return total, outside, state


@pytest.mark.parametrize("preset", ["feeder_100_agents", "iso_three_level"])
def test_the_rule_is_better_than_carelessness_and_keeps_the_band(preset):
    world = build(preset)
    days = world.days["test"][::30]
    rule, outside, state = _cost(world, "rule_based", days)
    assert outside <= 0.005
    for careless in ("idle", "drain", "random"):
        assert _cost(world, careless, days)[0].mean() > rule.mean()
    if preset == "iso_three_level":
        (queue,) = (layer for layer in state.layers if hasattr(layer, "delivered"))
        # microgrids decide every third tick; each message has one direction of a link, and a tenth is lost
        sent = world.layout.settings.episode_length / 3 * queue.sent_at.shape[-1]
        assert (0.7 * sent < queue.delivered).all()
        assert (queue.delivered < sent).all()


@pytest.mark.parametrize(("preset", "count"), [("feeder_100_agents", 100), ("feeder_1000_agents", 1000)])
def test_many_learned_agents_of_two_kinds(preset, count):
    agents = powergrid.load_config(preset).config.agents
    assert len(agents) == count
    assert {agent.policy for agent in agents} == {"learned"}
    assert {agent.type for agent in agents} == {"EV", "ESS"}


def test_the_three_levels_decide_at_three_rates():
    env = powergrid.make("iso_three_level", backend="numpy")
    env.reset(seed=0)
    due = []
    for _ in range(12):
        due.append(len(env.due_agents))
        env.step({agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents})
    # three microgrids in each third tick of 5 min, the operator once an hour; devices respond by rule in every tick
    assert due == [4, 0, 0, 3, 0, 0, 3, 0, 0, 3, 0, 0]
