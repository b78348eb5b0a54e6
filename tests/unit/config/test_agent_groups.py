"""Groups of agents: `count` and `buses` stand for single entries, and faults are placed where they are written."""

from __future__ import annotations

from typing import Any

import pytest

import powergrid
from powergrid.config.document import MAX_VALUES
from powergrid.core.errors import ConfigError

EV = {"id": "ev", "type": "EV", "count": 5, "buses": [671, "675"], "params": {"p_max_mw": 0.011}, "policy": "learned"}
BATTERY = {"id": "battery", "type": "ESS", "bus": "680", "params": {"capacity_mwh": 1.0}, "policy": "learned"}


def _config(*agents: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"network": "ieee13", "agents": list(agents), **keys}


def _issues(*agents: dict[str, Any], **keys: Any) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(_config(*agents, **keys))
    return [(issue.path, issue.message) for issue in caught.value.issues]


def test_a_group_is_the_same_as_its_agents_one_by_one():
    buses = ("671", "675", "671", "675", "671")
    rest = {key: value for key, value in EV.items() if key not in ("count", "buses")}
    single = [{**rest, "id": f"ev_{k + 1}", "bus": bus} for k, bus in enumerate(buses)]
    one_by_one = powergrid.load_config(_config(BATTERY, *single))
    assert powergrid.load_config(_config(BATTERY, EV)) == one_by_one


def test_without_count_there_is_one_agent_at_each_bus():
    group = {key: value for key, value in EV.items() if key != "count"}
    agents = powergrid.load_config(_config(group)).config.agents
    assert [(agent.id, agent.bus) for agent in agents] == [("ev_1", "671"), ("ev_2", "675")]


def test_without_buses_all_are_at_one_bus():
    agents = powergrid.load_config(_config({**BATTERY, "count": 3})).config.agents
    assert [(agent.id, agent.bus) for agent in agents] == [(f"battery_{k}", "680") for k in (1, 2, 3)]


def test_a_group_stands_for_its_agents_in_lists_of_ids():
    boss = {"id": "boss", "type": "GridCoordinator", "sub_agents": ["battery", "ev"]}
    linked = {"members": ["ev", "battery"]}
    config = powergrid.load_config(_config(EV, BATTERY, boss, messages=linked)).config
    ids = [f"ev_{k + 1}" for k in range(5)]
    assert config.agents[-1].sub_agents == ["battery", *ids]
    assert config.messages is not None
    assert config.messages.members == [*ids, "battery"]


def test_a_group_stands_for_its_agents_in_pairs_and_links():
    ids = ["ev_1", "ev_2"]
    messages = {
        "topology": [["battery", "ev"], ["ev", "ev"]],
        "links": [{"sender": "battery", "receiver": "ev", "loss": 0.5}, {"sender": "ev", "delay": 60}],
    }
    found = powergrid.load_config(_config({**EV, "count": 2}, BATTERY, messages=messages)).config.messages
    assert found is not None
    assert found.topology == [("battery", "ev_1"), ("battery", "ev_2"), ("ev_1", "ev_2"), ("ev_2", "ev_1")]
    assert [(link.sender, link.receiver, link.loss, link.delay.mean) for link in found.links] == [
        *(("battery", one, 0.5, 0.0) for one in ids),
        *((one, None, 0.0, 60.0) for one in ids),
    ]


def test_a_fault_of_a_link_of_a_group_is_found_once_where_it_is_written():
    issues = _issues(EV, BATTERY, messages={"topology": "star", "links": [{"sender": "ev", "loss": 2.0}]})
    assert [path for path, _ in issues] == ["messages.links[0].loss"]
    each_to_each = {"topology": "star", "links": [{"sender": "ev", "receiver": "ev"}]}
    ((path, message),) = _issues({**EV, "count": 3000}, messages=each_to_each)
    assert path == "messages.links[0]"
    assert f"{MAX_VALUES:,}" in message


def test_overrides_change_the_group():
    resolved = powergrid.load_config(_config(EV, BATTERY))
    changed = powergrid.make(resolved, backend="numpy", **{"agents.ev.count": 2, "agents.ev.params.p_max_mw": 0.022})
    assert changed.possible_agents == ["ev_1", "ev_2", "battery"]
    assert changed.world.resolved.config.agents[0].params["p_max_mw"] == 0.022


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"buses": ["671", "67"]}, [("agents[1].buses[1]", 'no bus "67"')]),
        ({"params": {"p_max": 1}}, [("agents[1].params.p_max", 'unknown key "p_max"')]),
        ({"bus": "671"}, [("agents[1].bus", "bus and buses are both given")]),
        ({"id": "battery"}, [("agents[1].id", "names a group and another agent")]),
    ],
)
def test_a_fault_of_a_group_is_found_once_and_at_its_entry(change, wanted):
    found = _issues(BATTERY, {**EV, **change})
    assert len(found) == len(wanted)
    for (path, message), (place, part) in zip(found, wanted, strict=True):
        assert path == place
        assert part in message


@pytest.mark.parametrize("change", [{"count": 0}, {"count": "many"}, {"buses": []}, {"buses": [None]}, {"buses": 671}])
def test_a_malformed_group_is_refused_by_the_schema(change):
    (key,) = change
    assert any(path.startswith(f"agents[1].{key}") for path, _ in _issues(BATTERY, {**EV, **change}))


def test_faults_after_a_group_keep_their_place():
    boss = {"id": "boss", "type": "GridCoordinator", "sub_agents": ["ev", "batery"]}
    assert [path for path, _ in _issues(EV, BATTERY, boss)] == ["agents[2].sub_agents[1]"]


def test_a_group_beyond_all_bounds_is_refused_at_once():
    ((path, message),) = _issues({**EV, "count": 10**9})
    assert path == "agents[0].count"
    assert f"{MAX_VALUES:,}" in message


def test_the_line_is_that_of_the_group(tmp_path):
    file = tmp_path / "case.yaml"
    file.write_text(
        "network: ieee13\nagents:\n  - id: ev\n    type: EV\n    count: 3\n    buses: [671, 675, 67]\n"
        "  - {id: battery, type: ESS, bus: 68}\n"
    )
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(file)
    assert [(issue.line, issue.path) for issue in caught.value.issues] == [
        (6, "agents[0].buses[2]"),
        (7, "agents[1].bus"),
    ]
