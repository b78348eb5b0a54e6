"""Training with agents that decide in Python: on the compiled step, beside the learners."""

from __future__ import annotations

import pytest

from powergrid.config import load_config
from powergrid.config.resolve import with_overrides
from powergrid.core.errors import ConfigError
from powergrid.core.machine_code import problem
from powergrid.learn.evaluate import evaluate
from powergrid.learn.train import train
from tests.unit.envs.test_hierarchical import EXAMPLE
from tests.unit.envs.test_python_agents import mixed, python

SMALL = {"num_envs": 2, "rollout": 4, "progress": False}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(problem()), reason="nothing compiles here")]


def test_learners_train_beside_python_agents_and_are_evaluated_with_them(tmp_path):
    run = train(mixed(python("Half")), steps=16, out=tmp_path / "run", **SMALL)
    result = evaluate(run, policy=("learned", "rule_based"), days=[3], show=False)
    assert [outcome.arrays["actions"].shape[2] for outcome in result.outcomes] == [1, 1]
    assert "ess_1" in result["learned"].other_accounts


def test_a_roll_out_on_jax_refuses_python_agents(tmp_path):
    with pytest.raises(ConfigError, match="JAX cannot call it within a step"):
        train(mixed(python("Half")), steps=16, out=tmp_path / "run", roll_out="jax", **SMALL)


def test_the_three_level_example_trains(tmp_path):
    source = with_overrides(load_config(EXAMPLE), episode_length=8)
    run = train(source, steps=16, out=tmp_path / "run", roll_out="compiled", **SMALL)
    assert (run / "checkpoint.npz").exists()
