"""Evaluation in continuous time: events against a computation by hand, and the tick-based run without delays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core import random
from powergrid.core.errors import ConfigError
from powergrid.learn import evaluate as ticks
from powergrid.learn.realtime import IDEAL, Late, evaluate_realtime, load_delays, timing_of

pytest.importorskip("simpy")

_BATTERY = {"type": "ESS", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}, "policy": "learned"}


def _config(**keys: Any) -> dict[str, Any]:
    agents = [{"id": "battery_1", "bus": "671", **_BATTERY}, {"id": "battery_2", "bus": "675", **_BATTERY, **keys}]
    return {
        "network": "ieee13",
        "agents": agents,
        "simulation": {"episode_length": 24, "time_step": 3600},
        "messages": {"width": 1, "topology": "star", "delay": 3600, "loss": 0.1},
    }


def _keys(days: int) -> np.ndarray:
    return random.key_from_seed(np, np.arange(days))


@pytest.mark.parametrize("interval", [3600, 10_800])
def test_without_delay_it_is_the_tick_based_run_to_the_bit(interval):
    env = powergrid.make(_config(interval=interval), backend="numpy")
    days = np.array([3, 40])
    plain, timed = (
        ticks.play(env, "random", ticks.decider(env, "random", None), days, 0, timing)
        for timing in (None, Late(IDEAL, env.world))
    )
    if interval == 3600:  # of an agent that is not due the one holds the last choice, the other a new one
        assert plain.trajectory_hash == timed.trajectory_hash
    for name in ("obs", "money", "costs", "reward"):
        assert (plain.arrays[name] == timed.arrays[name]).all()
    assert np.abs(plain.arrays["actions"]).max() > 0.1


def test_actuators_hold_the_newest_that_has_arrived():
    due = np.ones((6, 1), bool)
    assert timing_of(load_delays({"action_delay": 900}), _keys(1), due, 900.0).held[0, :, 0].tolist() == [
        -1, 0, 1, 2, 3, 4,
    ]  # fmt: skip
    assert timing_of(load_delays({"action_delay": 901}), _keys(1), due, 900.0).held[0, :, 0].tolist() == [
        -1, -1, 0, 1, 2, 3,
    ]  # fmt: skip
    assert timing_of(load_delays({"action_loss": 1.0}), _keys(1), due, 900.0).held[0, :, 0].tolist() == [-1] * 6
    every_third = due & (np.arange(6) % 3 == 0)[:, None]
    held = timing_of(load_delays({"action_delay": 1000}), _keys(1), every_third, 900.0).held
    assert held[0, :, 0].tolist() == [-1, -1, 0, 0, 0, 3]


def test_a_late_clock_reads_the_newest_measurements():
    due = np.ones((5, 1), bool)
    held = timing_of(load_delays({"jitter": 900}), _keys(1), due, 900.0).held
    assert held[0, :, 0].tolist() == [-1, 1, 2, 3, 4]


def test_what_is_overtaken_is_dropped():
    delays = load_delays({"action_delay": {"dist": "normal", "mean": 1800, "std": 1500}, "action_loss": 0.2})
    held = timing_of(delays, _keys(20), np.ones((96, 3), bool), 900.0).held
    assert (np.diff(held, axis=1) >= 0).all()
    assert (held <= np.arange(96)[None, :, None]).all()
    again = timing_of(delays, _keys(20), np.ones((96, 3), bool), 900.0).held
    assert (held == again).all()


def test_each_cause_is_reported_with_what_it_costs(tmp_path):
    delays = {"action_delay": 7200, "messages": {"loss": 0.9}}
    config = {**_config(), "agents": [{**a, "policy": "learned"} for a in _config()["agents"]]}
    result = evaluate_realtime(config, delays, policy="rule_based", days=[3, 40, 80], out=tmp_path, show=False)
    assert list(result.objective) == ["none", "action delay", "message loss", "all"]
    assert np.abs(result.objective["action delay"] - result.objective["none"]).max() > 0.01
    # the rule reads no messages
    assert (result.objective["message loss"] == result.objective["none"]).all()
    assert (tmp_path / "realtime.json").exists()
    assert result.table().row_count == 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("action_delays: 3", "action_delays"),
        ("action_loss: 2", "action_loss"),
        ("jitter: -1", "jitter"),
        ("action_delay: {dist: gauss}", "action_delay.dist"),
        ("{}", "delay and lose nothing"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, wanted):
    file = tmp_path / "delays.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=wanted):
        evaluate_realtime("p2p_microgrids", file, policy="rule_based", days=[3], show=False)


def test_delays_of_messages_that_nobody_sends_are_refused():
    with pytest.raises(ConfigError, match="send none"):
        evaluate_realtime("p2p_microgrids", {"messages": {"delay": 60}}, policy="rule_based", days=[3], show=False)
