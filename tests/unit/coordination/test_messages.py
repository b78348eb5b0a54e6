"""Messages between agents: timing, loss, order, topologies, and the same in every form of the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid.core import random
from powergrid.core.errors import ConfigError
from powergrid.testing.coordination import check_protocol
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

_IDS = ("battery_1", "battery_2", "battery_3")


def _config(messages: dict[str, Any] | None, **keys: Any) -> dict[str, Any]:
    agents = [
        {"id": id, "type": "ESS", "bus": bus, "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}, "policy": "learned"}
        for id, bus in zip(_IDS, ("671", "675", "680"), strict=True)
    ]
    given = {"time_step": 900, "episode_length": 12}
    config: dict[str, Any] = {"network": "ieee13", "agents": agents, "simulation": given, **keys}
    return config if messages is None else {**config, "messages": messages}


def _received(messages: dict[str, Any], said: np.ndarray, seed: int = 0, **keys: Any) -> list[dict[str, float]]:
    """What everybody has received after each tick, by label; `said` is ``(ticks, senders)``, one number each."""
    env = powergrid.make(_config({"width": 1, **messages}, **keys), backend="numpy")
    env.reset(seed=seed)
    rows = []
    for row in said:
        observations, *_ = env.step(
            {id: np.array([0.0, value], np.float32) for id, value in zip(_IDS, row, strict=True)}
        )
        rows.append(
            {
                label: float(value)
                for id in _IDS
                for label, value in zip(env.observation_labels(id), observations[id], strict=True)
                if "msg" in label
            }
        )
    env.close()
    return rows


def _said(ticks: int) -> np.ndarray:
    return np.round(np.random.default_rng(1).uniform(-1.0, 1.0, (ticks, 3)), 3)


@pytest.mark.parametrize(("delay_s", "ticks"), [(0, 0), (1, 1), (900, 1), (901, 2), (2700, 3)])
def test_a_message_arrives_in_the_first_tick_at_or_after_its_delay(delay_s, ticks):
    said = _said(8)
    rows = _received({"topology": "neighbours", "delay": delay_s}, said)
    for tick, row in enumerate(rows):
        value, age = row["battery_2.msg_0_from_battery_1 [1]"], row["battery_2.msg_age_from_battery_1 [s]"]
        if tick < ticks:
            assert (value, age) == (0.0, 86_400.0)
        else:
            assert value == pytest.approx(said[tick - ticks, 0], abs=1e-6)
            assert age == 900.0 * (ticks + 1)


def test_only_linked_agents_receive():
    rows = _received({"topology": [["battery_1", "battery_2"]]}, _said(1))
    assert sorted(label.split(" ")[0] for label in rows[0] if "age" not in label) == [
        "battery_1.msg_0_from_battery_2",
        "battery_2.msg_0_from_battery_1",
    ]
    star = _received({"topology": "star"}, _said(1))
    assert {label.split(".")[0] for label in star[0]} == set(_IDS)
    assert not any(label.startswith("battery_2") and "from_battery_3" in label for label in star[0])


def test_everybody_observes_the_mean_and_the_newest_of_the_others():
    said = _said(4)
    rows = _received({}, said)
    for row, values in zip(rows, said, strict=True):
        for k, id in enumerate(_IDS):
            others = np.delete(values, k)
            assert row[f"{id}.msg_mean_0 [1]"] == pytest.approx(others.mean(), abs=1e-6)
            assert row[f"{id}.msg_new_0 [1]"] == pytest.approx(others[0], abs=1e-6)


def test_what_is_lost_never_arrives():
    rows = _received({"topology": "neighbours", "loss": 1.0}, _said(12))
    assert all(value in (0.0, 86_400.0) for row in rows for value in row.values())


def test_the_share_lost_is_that_of_the_link():
    config = _config({"topology": "star", "loss": 0.0, "width": 1, "links": [{"sender": "battery_2", "loss": 0.4}]})
    labels = powergrid.make(config, backend="numpy").observation_labels
    env = powergrid.make_vec(config, 64, backend="numpy")
    env.reset(seed=0)
    arrived: dict[str, int] = {}
    sent = 0
    for tick in range(11):
        value = np.full((64, 2), 0.01 * (tick + 1), np.float32)
        observations, *_ = env.step(dict.fromkeys(_IDS, value))
        sent += 64
        for sender, receiver in (("battery_2", "battery_1"), ("battery_3", "battery_1")):
            at = labels(receiver).index(f"{receiver}.msg_0_from_{sender} [1]")
            fresh = np.isclose(observations[receiver][:, at], value[:, 0])
            arrived[sender] = arrived.get(sender, 0) + int(fresh.sum())
    assert arrived["battery_3"] == sent
    # four standard deviations of a binomial count
    assert abs(arrived["battery_2"] - 0.6 * sent) < 4.0 * np.sqrt(sent * 0.4 * 0.6)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    dist=st.sampled_from(["uniform", "normal"]),
    mean=st.integers(0, 2500),
    std=st.integers(1, 1200),
    loss=st.sampled_from([0.0, 0.4]),
)
def test_what_is_shown_was_said_at_its_age_and_never_gets_older_news(seed, dist, mean, std, loss):
    said = _said(10)
    delay = {"dist": dist, "mean": mean, "std": std}
    rows = _received({"topology": "neighbours", "delay": delay, "loss": loss}, said, seed)
    newest = dict.fromkeys(range(3), -1)
    for tick, row in enumerate(rows):
        for k, id in enumerate(_IDS):
            sender = (k + 1) % 3
            age = row[f"{id}.msg_age_from_{_IDS[sender]} [s]"]
            if age == 86_400.0:
                assert newest[k] == -1
                continue
            sent = tick + 1 - round(age / 900.0)
            assert newest[k] <= sent <= tick
            newest[k] = sent
            assert row[f"{id}.msg_0_from_{_IDS[sender]} [1]"] == pytest.approx(said[sent, sender], abs=1e-6)


def test_the_same_seed_gives_the_same_losses():
    messages = {"topology": "star", "loss": 0.5, "delay": {"dist": "uniform", "mean": 900, "std": 400}}
    first, again, other = (_received(messages, _said(10), seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_messages_change_no_other_result():
    rewards = []
    for messages in (None, {"width": 1}, {"width": 1, "topology": "star", "loss": 0.3, "delay": 1800}):
        env = powergrid.make(_config(messages), backend="numpy")
        env.reset(seed=0)
        total = []
        for tick in range(6):
            action = np.array([0.3 - 0.1 * tick, 0.5], np.float32)[: 1 if messages is None else 2]
            _, reward, *_ = env.step(dict.fromkeys(_IDS, action))
            total.append(reward)
        rewards.append(total)
    assert rewards[0] == rewards[1] == rewards[2]


def test_an_agent_that_is_not_due_sends_nothing():
    config = _config({"topology": "star", "width": 1})
    config["agents"][1]["interval"] = 2700
    env = powergrid.make(config, backend="numpy")
    env.reset(seed=0)
    ages = []
    for _ in range(6):
        observations, *_ = env.step(dict.fromkeys(_IDS, np.array([0.0, 0.5], np.float32)))
        at = env.observation_labels("battery_1").index("battery_1.msg_age_from_battery_2 [s]")
        ages.append(float(observations["battery_1"][at]))
    assert ages == [900.0, 1800.0, 2700.0] * 2


def test_the_feeder_links_members_whose_parts_touch():
    world = build(_config({"topology": "feeder", "width": 1}))
    (layer,) = world.layout.coordination.layers
    # 671 lies between 675 and 680
    assert {tuple(pair) for pair in layer.added.tables.sender.reshape(-1, 1)} == {(0,), (1,), (2,)}
    names = {column.entry.name for column in world.layout.coordination.signals if column.owner == "battery_2"}
    assert names == {"msg_0_from_battery_1", "msg_age_from_battery_1"}


@pytest.mark.parametrize(
    "params",
    [
        {"name": "messages", "width": 2, "dist": "normal", "mean_s": 5000.0, "std_s": 2000.0, "loss": 0.2},
        pytest.param({"name": "broadcast", "width": 2, "mean_s": 7200.0, "loss": 0.3}, marks=pytest.mark.slow),
    ],
)
def test_every_form_of_the_step_delivers_alike(params):
    name = params.pop("name")
    check_protocol(name, **params)


def test_a_large_broadcast_has_observations_of_one_size():
    sizes = []
    for count in (5, 50):
        agents = [
            {"id": f"battery_{k}", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 0.01, "max_p_mw": 0.002}}
            for k in range(count)
        ]
        world = build({"network": "ieee13", "agents": agents, "messages": {"width": 2}})
        sizes.append(len([e for owner, e in world.layout.view.entries if owner == "battery_0" and "msg" in e.name]))
        simulation = Simulation(world, "numpy")
        state = simulation.reset(random.key_from_seed(np, np.array(0)), np.array(0, np.int32)).state
        simulation.step(state, np.zeros((count, world.layout.action_size)))
    assert sizes == [5, 5]


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        ({"loss": 1.5}, "messages.loss"),
        ({"delay": -1}, "messages.delay"),
        ({"delay": {"dist": "fixed", "mean": 60, "std": 10}}, "use uniform or normal"),
        ({"delay": 90_000}, "an episode has 10800 s"),
        ({"topology": [["battery_1", "battery_9"]]}, 'there is no agent "battery_9"'),
        ({"topology": [["battery_1", "battery_1"]]}, "linked with itself"),
        ({"links": [{"sender": "battery_1", "receiver": "battery_2", "loss": 0.5}]}, "leave receiver out"),
        ({"topology": "star", "links": [{"sender": "batery_1"}]}, 'there is no agent "batery_1"'),
        (
            {"topology": [["battery_1", "battery_2"]], "links": [{"sender": "battery_1", "receiver": "battery_3"}]},
            "not linked",
        ),
        ({"members": ["battery_1", "battery_7"]}, 'there is no agent "battery_7"'),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(messages, wanted):
    with pytest.raises(ConfigError) as caught:
        powergrid.make(_config(messages))
    assert wanted in str(caught.value)
