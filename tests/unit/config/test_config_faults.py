"""Every kind of fault is found, at its file, line and path, with its value and what to do; all of them at once."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import powergrid
from powergrid.config.sources import open_document
from powergrid.core.errors import ConfigError

GOOD = """\
name: small
network:
  base: ieee34
  modifications:
    - add_bus: {name: PCC, vn_kv: 24.9, at_bus: 800}
    - attach: {network: ieee13, name: mg1, at_bus: 808}
agents:
  - id: boss
    type: GridCoordinator
    area: mg1
    protocol: setpoint
    sub_agents: [ess_1, dg_1]
  - {id: ess_1, type: ESS, bus: mg1.671, params: {capacity: 1.0}}
  - {id: dg_1, type: DG, bus: PCC, params: {p_range: [0, 0.4]}}
  - {id: pv_1, type: RES, bus: 806, params: {p_max: 0.3}}
protocols:
  - {type: p2p_trading, members: [boss]}
datasets: embedded_2022
simulation:
  episode_length: 96
  time_step: 900
"""


def issues_of(tmp_path: Path, text: str) -> list:
    file = tmp_path / "case.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(str(file))
    assert all(issue.file == str(file) for issue in caught.value.issues)
    return list(caught.value.issues)


def test_the_sound_file_is_accepted(tmp_path):
    file = tmp_path / "case.yaml"
    file.write_text(GOOD)
    config = powergrid.load_config(file).config
    assert [agent.id for agent in config.agents] == ["boss", "ess_1", "dg_1", "pv_1"]
    assert config.agents[1].params["capacity_mwh"] == 1.0


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message", "hint"),
    [
        (
            "episode_length: 96",
            "episode_length: many",
            20,
            "simulation.episode_length",
            '"many"',
            "ticks of an episode",
        ),
        ("name: small", "nam: small", 1, "nam", 'unknown key "nam" (value "small")', 'did you mean "name"?'),
        (
            "  time_step: 900",
            "  time_step: 900\n  time_step: 300",
            22,
            "simulation.time_step",
            "line 21 already",
            "keep one",
        ),
        ("bus: PCC", "bus: PC", 14, "agents[2].bus", 'no bus "PC"', 'did you mean "PCC"?'),
        ("bus: mg1.671", "bus: mg1.6344", 13, "agents[1].bus", '"mg1.6344"', 'did you mean "mg1.634"?'),
        ("id: pv_1", "id: dg_1", 15, "agents[3].id", "agents[2] (line 14)", "an id of its own"),
        ("capacity: 1.0", "capacity: -1.0", 13, "agents[1].params.capacity", "-1.0 must be greater than 0", "[MWh]"),
        ("capacity: 1.0", "capcity: 1.0", 13, "agents[1].params.capcity", "unknown key", 'did you mean "capacity"?'),
        ("p_range: [0, 0.4]", "p_range: [0.5, 0.4]", 14, "agents[2].params", "p_min_mw 0.5", ""),
        ("type: DG", "type: DGG", 14, "agents[2].type", 'unknown device type "DGG"', 'did you mean "DG"?'),
        ("sub_agents: [ess_1, dg_1]", "sub_agents: [ess_1, dg_2]", 12, "agents[0].sub_agents[1]", '"dg_2"', '"dg_1"'),
        ("sub_agents: [ess_1, dg_1]", "sub_agents: [boss]", 12, "agents[0].sub_agents", "boss -> boss", ""),
        ("area: mg1", "area: mg2", 10, "agents[0].area", 'no area "mg2"', 'did you mean "mg1"?'),
        ("protocol: setpoint", "protocol: setpoints", 11, "agents[0].protocol", '"setpoints"', '"setpoint"'),
        ("protocol: setpoint", "protocol: p2p", 11, "agents[0].protocol", "is horizontal", "on the list `protocols`"),
        ("type: p2p_trading", "type: setpoint", 17, "protocols[0].type", "is vertical", "of a coordinator"),
        ("members: [boss]", "members: [bos]", 17, "protocols[0].members[0]", '"bos"', 'did you mean "boss"?'),
        ("base: ieee34", "base: ieee43", 3, "network.base", 'unknown network "ieee43"', 'did you mean "ieee34"?'),
        ("base: ieee34", "file: net.json", 3, "network.file", "does not exist", ""),
        ("at_bus: 808", "at_bus: 880", 6, "network.modifications[1].attach.at_bus", 'no bus "880"', "did you mean"),
        ("embedded_2022", "embeded_2022", 18, "datasets", "unknown dataset", 'did you mean "embedded_2022"?'),
        ("embedded_2022", "{load: no.csv}", 18, "datasets.load", "no.csv does not exist", "give a CSV file"),
        (
            "time_step: 900",
            "time_step: 1001",
            21,
            "simulation.time_step",
            "1001 s does not divide a day",
            "960 and 1080",
        ),
        ("id: boss", "id: boss\n    policy: lerned", 9, "agents[0].policy", '"lerned"', 'did you mean "learned"?'),
        ("id: boss", "id: boss\n    interval: 1000", 9, "agents[0].interval", "not a multiple", "use 900 or 1800"),
        (
            "id: dg_1,",
            "id: dg_1, policy: centralized,",
            14,
            "agents[2].policy",
            "for coordinators",
            "coordinator above",
        ),
        ("id: dg_1,", "id: dg_1, sub_agents: [pv_1],", 14, "agents[2].sub_agents[0]", "has no sub_agents", "GridCoord"),
        ("name: small", "tariff: {retail_adder: -5}", 1, "tariff.retail_adder", "the retail price", "adder >= 0"),
        (
            "name: small",
            "tariff: {feed_in_share: 1.5}",
            1,
            "tariff.feed_in_share",
            "the retail price",
            "share <= 1",
        ),
        ("name: small", "messages: {delay: 90000}", 1, "messages.delay", "an episode has 86400 s", "use less"),
        ("name: small", "messages: {delay: {std: 5}}", 1, "messages.delay.std", "has none", "use uniform or normal"),
        ("name: small", "plugins: [nowhere]", 1, "plugins[0]", "no such folder", ""),
        ("name: small", "schema_version: 9", 1, "schema_version", "9 must be 1", ""),
        (
            "base: ieee34",
            "base: ieee34\n  load_series: 'load_p_pu:res_9'",
            4,
            "network.load_series",
            "res_9",
            "load_p_pu:res_1",
        ),
        (
            "base: ieee34",
            "base: ieee34\n  load_series: -1",
            4,
            "network.load_series",
            'no series "-1"',
            "load_p_pu:res_1",
        ),
        (
            "base: ieee34",
            "base: ieee34\n  regulators: {match: 'x*'}",
            4,
            "network.regulators.match",
            '"x*"',
            "814-RG10",
        ),
        ("p_max: 0.3", "p_max: 0.3, series: 'pv_pu:west'", 15, "agents[3].params.series", "pv_pu:west", "pv_pu:south"),
    ],
)
def test_one_fault(tmp_path, old, new, line, path, message, hint):
    assert GOOD.count(old) == 1
    issues = issues_of(tmp_path, GOOD.replace(old, new))
    found = [issue for issue in issues if issue.path == path]
    assert len(found) == 1, [str(issue) for issue in issues]
    assert found[0].line == line
    assert message in found[0].message
    assert hint in found[0].hint


def test_all_faults_at_once(tmp_path):
    changes = [
        ("name: small", "nam: small"),
        ("vn_kv: 24.9, at_bus: 800", "vn_kv: 24.9, at_bus: 801"),
        ("sub_agents: [ess_1, dg_1]", "sub_agents: [ess_1, ring]"),
        ("type: ESS, bus: mg1.671, params: {capacity: 1.0}", "type: EES, bus: mg1.671, params: {capacity: 1.0}"),
        ("bus: PCC", "bus: PCC, params: {p_max_mw: -1}"),
        ("id: pv_1, type: RES, bus: 806", "id: ess_1, type: RES, bus: 896"),
        ("episode_length: 96", "episode_length: many\n  episode_length: 96"),
        ("protocols:", "  - {id: ring, type: GridCoordinator, sub_agents: [boss]}\nprotocols:"),
    ]
    text = GOOD.replace(", params: {p_range: [0, 0.4]}", "")
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    issues = issues_of(tmp_path, text)
    paths = {issue.path: issue for issue in issues}
    assert set(paths) == {
        "nam",
        "network.modifications[0].add_bus.at_bus",
        "agents[0].sub_agents",
        "agents[1].type",
        "agents[1].params.capacity",
        "agents[2].bus",
        "agents[2].params.p_max_mw",
        "agents[3].id",
        "agents[3].bus",
        "simulation.episode_length",
    }
    assert len(issues) == 11  # the episode length is of a wrong type and given twice
    assert [issue.line for issue in issues] == sorted(issue.line for issue in issues)
    assert "boss -> ring -> boss" in paths["agents[0].sub_agents"].message
    for path, value in (("agents[2].bus", '"PCC"'), ("agents[1].params.capacity", "1.0")):
        assert f"{value} could not be checked" in paths[path].message


def test_names_that_depend_on_an_unknown_network_are_listed_with_their_values(tmp_path):
    issues = issues_of(tmp_path, GOOD.replace("base: ieee34", "base: nothing_like_it"))
    unchecked = {issue.path: issue.message for issue in issues if "could not be checked" in issue.message}
    assert '"PCC"' in unchecked["agents[2].bus"]
    assert '"806"' in unchecked["agents[3].bus"]
    assert '"mg1"' in unchecked["agents[0].area"]
    assert "808" in unchecked["network.modifications[1].attach.at_bus"]


def test_two_parents(tmp_path):
    text = GOOD.replace("protocols:", "  - {id: other, type: GridCoordinator, sub_agents: [dg_1]}\nprotocols:")
    (issue,) = issues_of(tmp_path, text)
    assert (issue.path, issue.line) == ("agents[4].sub_agents[0]", 16)
    assert '"dg_1" already belongs to "boss"' in issue.message


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1,\nb: }", 2), ("name: x\n\tbase: y", 2), ("a: *nobody", 1), ("a: &x [*x]", 1)]
)
def test_text_that_is_no_yaml(tmp_path, text, line):
    (issue,) = issues_of(tmp_path, text)
    assert "not valid YAML" in issue.message
    assert issue.line == line


@pytest.mark.parametrize("text", ["", "- 1\n- 2", "just words"])
def test_text_that_is_no_mapping(tmp_path, text):
    (issue,) = issues_of(tmp_path, text)
    assert "a configuration is a mapping" in issue.message


def test_unknown_preset_or_file_names_the_nearest():
    with pytest.raises(ConfigError, match='did you mean "p2p_microgrids"') as caught:
        powergrid.load_config("p2p_microgrid")
    assert len(caught.value.issues) == 1


def test_a_mapping_has_no_lines():
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config({"network": "ieee13", "agents": [{"id": 1, "type": "ESS", "bus": 99}]})
    (issue,) = caught.value.issues
    assert (issue.file, issue.line, issue.path) == ("", None, "agents[0].bus")


@pytest.mark.parametrize("junk", [None, "x", -1, [], {}, True, 1.5, [1], {"a": 1}, [{"a": 1}], "", [[None]]], ids=repr)
def test_nothing_that_a_file_may_hold_escapes_as_another_error(junk):
    """Every value of a preset in turn is replaced; the answer is a configuration or a ConfigError."""
    sound = open_document("ieee34_microgrid").data
    refused = 0
    for path in _paths(sound):
        data = copy.deepcopy(sound)
        here = data
        for part in path[:-1]:
            here = here[part]
        here[path[-1]] = junk
        try:
            powergrid.load_config(data)
        except ConfigError:
            refused += 1
    assert refused > 20


def _paths(data, at=()):
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from _paths(value, (*at, key))


GUEST = "network: {base: ieee13, modifications: [{attach: {network: ieee34, name: m, at_bus: 671, options: {tap: 1}}}]}"


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("agents: [{id: b, type: ESS, bus: ~}]", "agents[0].bus", '"bus" is missing'),
        ("agents: [{id: b, type: ESS}]", "agents[0]", '"bus" is missing'),
        ("agents: [{id: b, type: ESS, bus: 671, params: {capacity: true}}]", "agents[0].params.capacity", "not true"),
        ("agents: [{id: b, type: ESS, bus: 671, params: {max_p_mw: 1.0e20}}]", "agents[0].params.max_p_mw", "0,000 MW"),
        (
            "agents: [{id: b, type: ESS, bus: 671, params: {eta_charge: 0.05}}]",
            "agents[0].params.eta_charge",
            "0.1 and",
        ),
        (
            "agents: [{id: b, type: ESS, bus: 671, params: {capacity: 1, capacity_mwh: 1}}]",
            "agents[0].params.capacity",
            "another name of",
        ),
        ("simulation: {episode_length: true}", "simulation.episode_length", "not true"),
        ("tariff: {retail_adder: 1.0e20}", "tariff.retail_adder", "1,000,000,000"),
        ("training: {reward_scale: 1.0e300}", "training.reward_scale", "1,000,000"),
        ("network: {base: ieee13, options: {load_sclae: 2}}", "network.options.load_sclae", "unknown key"),
        ("network: {base: ieee13, options: {load_scale: true}}", "network.options.load_scale", "not true"),
        (GUEST, "network.modifications[0].attach.options.tap", "unknown key"),
    ],
)
def test_values_that_mean_something_else(tmp_path, text, path, said):
    found = {
        issue.path: issue for issue in issues_of(tmp_path, text if "network" in text else f"network: ieee13\n{text}")
    }
    assert path in found
    assert said in found[path].message
    assert found[path].line is not None


@pytest.mark.parametrize(
    ("rules", "path", "said"),
    [
        ("regulators: {bandwidth_v: 0.5}", "network.regulators.bandwidth_v", '"650-RG60": bandwidth_pu 0.00416667'),
        ("regulators: [{match: '6*'}, {r_v: 3, x_v: 7}]", "network.regulators[1].r_v", "needs ct_a"),
        ("capacitors: {load_off_pu: 1.0}", "network.capacitors.load_off_pu", '"675" and 1 more: load_off_pu 1.0 must'),
        ("capacitors: [{match: '611', load_on_pu: 0.4}]", "network.capacitors[0].load_on_pu", '"611": load_off_pu 0.5'),
    ],
)
def test_rules_that_no_controller_can_follow(tmp_path, rules, path, said):
    (issue,) = issues_of(tmp_path, f"network:\n  base: ieee13\n  {rules}\n")
    assert (issue.path, issue.line) == (path, 3)
    assert said in issue.message
    assert issue.hint


def test_rules_for_what_an_agent_stands_for_are_not_tried():
    network = {"base": "ieee13", "regulators": {"bandwidth_v": 0.5}}
    powergrid.load_config({"network": network, "agents": [{"id": "r", "type": "Regulator", "bus": "650-RG60"}]})


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("simulation: {time_step: 900000000.0}", "simulation.time_step", "does not divide a day"),
        ("simulation: {time_step: '7'}", "simulation.time_step", "does not divide a day"),
        ("messages: {delay: {mean: '90000'}}", "messages.delay", "an episode has 86400 s"),
        ("agents: [{id: b, type: ESS, bus: 671, interval: '1000'}]", "agents[0].interval", "not a multiple"),
    ],
)
def test_numbers_count_however_they_are_written(tmp_path, text, path, said):
    (issue,) = issues_of(tmp_path, f"network: ieee13\n{text}\n")
    assert (issue.path, issue.line) == (path, 2)
    assert said in issue.message


def test_a_device_behind_the_meter_of_one_phase_is_a_finding(tmp_path):
    agents = "agents:\n  - {id: m, type: Grid, bus: 650-RG60.b}\n  - {id: b, type: ESS, bus: 671}\n"
    issues = issues_of(tmp_path, "network: {base: ieee13, phases: three}\n" + agents)
    assert [(issue.path, issue.line) for issue in issues] == [("agents[1].bus", 4)]
    assert 'the phases of device "b" lie behind different meters' in issues[0].message


@pytest.mark.parametrize(
    ("path", "said"), [("a" * 5000, "too long"), ("a\0b", "null character"), ("~nobody_here/x", "home folder")]
)
def test_texts_that_are_no_path(path, said):
    given = {"network": {"file": path}, "plugins": [path], "datasets": {"load": path}}
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(given)
    assert {issue.path for issue in caught.value.issues} >= {"network.file", "plugins[0]", "datasets.load"}
    assert all(said in issue.message for issue in caught.value.issues if issue.path in ("network.file", "plugins[0]"))


@pytest.mark.parametrize("source", [None, 3, ["ieee13"], "a" * 5000, "a\0b"])
def test_what_is_no_source_of_a_configuration(source):
    with pytest.raises(ConfigError):
        powergrid.load_config(source)


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("{id: x, type: Regulator, bus: 650-RG60, phases: ab}", "reads one phase"),
        ("{id: x, type: Regulator, bus: 650-RG60.b, phases: a}", "reads one phase"),
        ("{id: x, type: Capacitor, bus: 675.a, phases: a}", "has those of its place"),
        ("{id: x, type: Switch, bus: 671-692, phases: abc}", "has those of its place"),
        ("{id: x, type: ESS, bus: 671, phases: aa}", "names a phase twice"),
    ],
)
def test_phases_that_mean_nothing(tmp_path, agent, said):
    (issue,) = issues_of(tmp_path, f"network: {{base: ieee13, phases: three}}\nagents:\n  - {agent}\n")
    assert (issue.path, issue.line) == ("agents[0].phases", 3)
    assert said in issue.message


@pytest.mark.parametrize(
    ("phases", "one", "other"),
    [
        ("balanced", "Regulator, bus: 650-RG60", "Regulator, bus: 650-RG60"),
        ("three", "Regulator, bus: 650-RG60", "Regulator, bus: 650-RG60.b"),
        ("balanced", "Capacitor, bus: 675", "Capacitor, bus: 675"),
        ("balanced", "Switch, bus: 671-692", "Switch, bus: 671-692"),
    ],
)
def test_two_agents_that_move_the_same(tmp_path, phases, one, other):
    agents = f"agents:\n  - {{id: x, type: {one}}}\n  - {{id: y, type: {other}}}\n"
    (issue,) = issues_of(tmp_path, f"network: {{base: ieee13, phases: {phases}}}\n{agents}")
    assert (issue.path, issue.line) == ("agents[1].bus", 4)
    assert 'is moved by "x" already' in issue.message


def test_own_times_where_all_act_in_every_tick(tmp_path):
    agents = "agents: [{id: b, type: ESS, bus: 671, interval: 1800}]\n"
    (issue,) = issues_of(tmp_path, f"network: ieee13\nsimulation: {{async: false}}\n{agents}")
    assert (issue.path, issue.line) == ("agents[0].interval", 3)
    assert "simulation.async is false" in issue.message


def test_all_faults_of_times_are_noted_at_once(tmp_path):
    """Of levels and agents: no multiple of the tick, zero, negative, an offset beyond the first interval."""
    text = """network: ieee13
simulation:
  time_step: 300
  intervals:
    device: 60
    grid: 0
    systems: 3600
agents:
  - {id: a, type: ESS, bus: 671, interval: -300}
  - {id: b, type: ESS, bus: 671, interval: 900, offset: 1200}
  - {id: c, type: ESS, bus: 671, offset: 300}
  - {id: d, type: ESS, bus: 671, interval: 600, offset: -300}
  - {id: e, type: ESS, bus: 671, interval: 600, offset: 100}
"""
    found = {issue.path: f"{issue.line}: {issue.message}; {issue.hint}" for issue in issues_of(tmp_path, text)}
    wanted = {
        "simulation.intervals.device": ("5: 60 s is not a multiple of the time step of 300 s", "use 300"),
        "simulation.intervals.grid": ("6: 0 must be greater than 0", ""),
        "simulation.intervals.systems": ('7: unknown key "systems" (value 3600)', 'did you mean "system"?'),
        "agents[0].interval": ("9: -300 must be greater than 0", ""),
        "agents[1].offset": ("10: offset 1200: ", "use 300, or give it an interval above 1200"),
        "agents[2].offset": ("11: offset 300: ", "within its interval of 60 s", "leave it out"),
        "agents[3].offset": ("12: -300 must be greater than or equal to 0", ""),
        "agents[4].offset": ("13: 100 s is not a multiple of the time step of 300 s", "use 300"),
    }
    assert set(found) == set(wanted)
    for path, parts in wanted.items():
        assert all(part in found[path] for part in parts), found[path]


@pytest.mark.parametrize(
    ("agent", "intervals", "interval_s"),
    [
        ("type: ESS, bus: 671", "{}", 900),
        ("type: ESS, bus: 671", "{device: 1800, grid: 7200}", 1800),
        ("type: GridCoordinator, protocol: price_signal", "{device: 1800, system: 7200}", 900),
        ("type: GridCoordinator, protocol: {type: price_signal, params: {update_freq: 2700}}", "{grid: 7200}", 2700),
    ],
)
def test_the_first_decision_is_within_the_interval(tmp_path, agent, intervals, interval_s):
    """The interval is that of the agent, of its protocol, of its level or one tick, in this order."""
    battery = "{id: b, type: ESS, bus: 671, policy: learned}"
    children = ", sub_agents: [b]" if "Coordinator" in agent else ""
    head = f"network: ieee13\nsimulation: {{intervals: {intervals}}}\n"
    text = f"{head}agents: [{{id: a, {agent}{children}, policy: learned, offset: %d}}, {battery}]\n"
    (issue,) = issues_of(tmp_path, text % (2 * interval_s))
    assert (issue.path, issue.line) == ("agents[0].offset", 3)
    assert f"within its interval of {interval_s} s" in issue.message
    sound = tmp_path / "sound.yaml"
    sound.write_text(text % (interval_s - 900))
    assert powergrid.load_config(sound).config.agents[0].offset == interval_s - 900


def test_intervals_of_levels_where_all_act_in_every_tick(tmp_path):
    (issue,) = issues_of(tmp_path, "network: ieee13\nsimulation: {async: false, intervals: {grid: 1800}}\n")
    assert issue.path == "simulation.intervals.grid"
    assert "simulation.async is false" in issue.message


@pytest.mark.parametrize("protocol", ["p2p_trading", "setpoint", "federated"])
def test_coordination_without_a_coordinator(tmp_path, protocol):
    (issue,) = issues_of(tmp_path, f"network: ieee13\ncoordination: {{protocol: {protocol}}}\n")
    assert issue.path == "coordination"
    assert f'"{protocol}" needs a coordinator' in issue.message
