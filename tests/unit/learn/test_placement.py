"""Environments spread over several devices do what they do on one, and resume there."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from toy_battery import ToyBattery

from powergrid.learn import checkpoint
from powergrid.learn.algorithms.mappo import mappo

SMALL = {"num_envs": 6, "rollout": 24, "epochs": 1, "minibatches": 1, "hidden": (8,), "learning_rate": 1e-3}


def learner():
    return mappo(ToyBattery(), 3 * 6 * 24, SMALL)


def learn(folder):
    """Three updates, a checkpoint after the second and one after the last."""
    learning = learner()
    state = learning.init(0, compile_ahead=True)
    for number in range(3):
        state, _ = learning.update(state)
        if number:
            checkpoint.save(folder / str(number), state, groups=learning.env.groups, step=number)
    return state


def on_three_devices(folder):
    """What the other process does."""
    assert len(jax.devices()) == 4
    assert len(learn(folder).obs["battery"].devices()) == 3  # four do not divide six environments
    resumed = learner()
    state, _ = resumed.update(checkpoint.restore(folder / "1", resumed.init(1), resumed.env.groups)[0])
    checkpoint.save(folder / "resumed", state, groups=resumed.env.groups, step=2)


@pytest.mark.slow
def test_the_number_of_devices_changes_no_more_than_the_last_digits(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here / "1", here / "2", there / "1", there / "2", there / "resumed"):
        folder.mkdir(parents=True)
    learn(here)
    code = f"import pathlib, test_placement; test_placement.on_three_devices(pathlib.Path({str(there)!r}))"
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parent)
    one, three, resumed = (checkpoint.load(folder) for folder in (here / "2", there / "2", there / "resumed"))
    assert set(one) == set(three)
    for key, leaf in three.items():
        np.testing.assert_array_equal(resumed[key], leaf, err_msg=key)
        if leaf.dtype.kind == "f":
            np.testing.assert_allclose(leaf, one[key], rtol=1e-3, atol=1e-4, err_msg=key)
