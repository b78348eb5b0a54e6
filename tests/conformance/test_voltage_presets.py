"""What makes the voltage-control presets worth playing: a droop holds every phase, carelessness does not."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.core import random
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

DAYS = np.array([1, 79, 106, 135, 180, 276, 326, 335, 356], np.int32)
"""Extremes of the year under one policy or another among them."""


@pytest.mark.parametrize("preset", ["voltage_control_13", "voltage_control_34", "voltage_control_123"])
def test_a_droop_holds_every_phase_and_carelessness_does_not(preset: str) -> None:
    world, costs, outside = build(preset), {}, {}
    names, given = world.layout.ledger.cost_names, world.layout.settings
    assert world.network.is_three_phase
    key = random.key_from_seed(np, np.arange(len(DAYS)))
    for policy in ("volt_var", "random"):
        simulation = Simulation(world)
        state, *_ = simulation.reset(random.fold_in(np, key, np.zeros(len(DAYS), np.int32)), DAYS)
        found = []
        for _ in range(given.episode_length):
            state, output = simulation.step(state, simulation.decide(state, POLICIES.get(policy)))
            found.append(output)
        assert all(output.flow.converged.all() for output in found)
        v_pu = np.stack([output.flow.v_pu for output in found])
        outside[policy] = ((v_pu < given.v_min_pu) | (v_pu > given.v_max_pu)).mean()
        costs[policy] = np.sum([output.costs.sum(axis=(0, 1)) for output in found], axis=0)
    assert outside["volt_var"] == 0.0
    assert costs["volt_var"].sum() == 0.0
    assert outside["random"] > 0.001
    assert costs["random"][names.index("shared_voltage")] > 0.0
