"""Actors that imitate a local policy before they learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ruamel.yaml import YAML
from toy_battery import ToyBattery

import powergrid
from powergrid.core.errors import ConfigError, RunError, UnknownNameError
from powergrid.learn import checkpoint, imitation
from powergrid.learn.callbacks import Callback

SMALL = {"num_envs": 4, "rollout": 24, "epochs": 1, "minibatches": 1, "hidden": (32, 32)}
UPDATE = 4 * 24
PRESET = "p2p_microgrids"


def quickly(monkeypatch, days, steps):
    """Fewer days and steps than in earnest."""
    for name, value in {"DAYS": days, "ROUNDS": 2, "STEPS": steps, "ROWS": 128}.items():
        monkeypatch.setattr(imitation, name, value)


def learn(out, updates=1, **given):
    return powergrid.train(PRESET, steps=UPDATE * updates, out=out, progress=False, **{**SMALL, **given})


def played(run):
    """Actions of the actors and of the rule on two validation days."""
    days = powergrid.make(PRESET).world.days["validation"][:2]
    result = powergrid.evaluate(run, policy=("learned", "rule_based"), days=days, show=False)
    return [outcome.arrays["actions"] for outcome in result.outcomes]


def test_actors_begin_where_the_rule_stands(monkeypatch, tmp_path):
    """The first update only measures, so that its weights are those of the imitation."""
    quickly(monkeypatch, days=16, steps=800)
    learned, rule = played(learn(tmp_path / "imitates", imitate="rule_based"))
    untrained, _ = played(learn(tmp_path / "fresh"))
    assert np.abs(learned - rule).mean() < 0.5 * np.abs(untrained - rule).mean()
    assert json.loads((tmp_path / "imitates" / "meta.json").read_text())["imitate"] == "rule_based"
    spread = checkpoint.load(tmp_path / "imitates")
    assert all((np.exp(spread[key]) >= imitation.LEAST_SPREAD - 1e-6).all() for key in spread if "log_std" in key)


def test_a_resumed_run_does_not_imitate_again(monkeypatch, tmp_path):
    quickly(monkeypatch, days=1, steps=20)
    whole = learn(tmp_path / "whole", updates=3, imitate="rule_based")
    learn(tmp_path / "parts", updates=3, imitate="rule_based", callbacks=[_Stop()])
    monkeypatch.setattr(imitation, "imitated", None)
    parts = learn(tmp_path / "parts", updates=3, resume=True)
    one, other = checkpoint.load(whole), checkpoint.load(parts)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)
    with pytest.raises(RunError, match=r"imitate is rule_based in this run, not idle"):
        learn(tmp_path / "parts", updates=4, resume=True, imitate="idle")


class _Stop(Callback):
    """Stops a run after its first update."""

    def log(self, run, row):
        run.stop("for the test")


def test_the_configuration_names_whom_to_imitate(monkeypatch, tmp_path):
    quickly(monkeypatch, days=1, steps=20)
    config = YAML(typ="safe").load(powergrid.make(PRESET).world.resolved.to_yaml(tmp_path))
    config["training"]["imitate"] = "rule_based"
    given = {**SMALL, "steps": UPDATE, "progress": False}
    powergrid.train(config, out=tmp_path / "one", **given)
    powergrid.train(config, out=tmp_path / "two", imitate="none", **given)
    names = [json.loads((tmp_path / name / "meta.json").read_text())["imitate"] for name in ("one", "two")]
    assert names == ["rule_based", None]
    powergrid.train(config, out=tmp_path / "two", imitate="none", resume=True, **{**given, "steps": 2 * UPDATE})
    config["training"]["imitate"] = "rule_base"
    with pytest.raises(ConfigError, match=r'training.imitate: unknown policy "rule_base"(?s:.*)"rule_based"'):
        powergrid.load_config(config)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"imitate": "rule_base"}, UnknownNameError, "rule_based"),
        ({"imitate": "rule_based", "init_from": "somewhere"}, ConfigError, "not both"),
    ],
)
def test_what_cannot_be_imitated_is_refused_before_a_run_begins(tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        learn(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_policy_that_cannot_be_played_leaves_no_folder(tmp_path, monkeypatch):
    def refuse(*given):
        raise RunError("it has a memory")

    monkeypatch.setattr(imitation, "_played", refuse)
    with pytest.raises(RunError, match="memory"):
        learn(tmp_path / "run", imitate="rule_based")
    assert not (tmp_path / "run").exists()


def test_an_environment_of_other_origin_has_nobody_to_imitate(tmp_path):
    with pytest.raises(ConfigError, match="no local policies"):
        powergrid.train(ToyBattery({"big": 1}), steps=96, out=tmp_path / "run", imitate="rule_based", progress=False)
