"""Outages and switches that an environment could not make are findings, with line and sentence."""

from __future__ import annotations

import pandapower as pp
import pytest

import powergrid
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.powerflow import method, topology_issue

BATTERY = {"id": "bat", "type": "ESS", "bus": "Bus 10"}
OUTAGE = {"branch": "*", "start": 0, "duration": 900}


def findings(config):
    with pytest.raises(ConfigError) as error:
        powergrid.load_config(config)
    return error.value.issues


@pytest.mark.parametrize("base", ["mv_oberrhein", "case118"])
def test_an_outage_of_a_network_that_newton_solves_is_a_finding(base, tmp_path):
    path = tmp_path / "case.yaml"
    path.write_text(f"network:\n  base: {base}\n  outages: {{branch: '*', start: 0, duration: 900}}\nagents: []\n")
    (issue,) = [issue for issue in findings(path) if "topology" in issue.message]
    assert (issue.path, issue.line) == ("network.outages", 3)
    assert f'"{base}" is solved by newton' in issue.message
    assert issue.hint


def test_a_switch_of_such_a_network_is_one_at_its_bus():
    config = {"network": "mv_oberrhein", "agents": [BATTERY, {"id": "sw", "type": "Switch", "bus": "Line 3"}]}
    (issue,) = findings(config)
    assert issue.path == "agents[1].bus"
    assert "which solves one topology" in issue.message


def test_validation_and_power_flow_say_the_same():
    network = powergrid.network("mv_oberrhein")
    issue = topology_issue(network)
    (found,) = findings({"network": {"base": "mv_oberrhein", "outages": OUTAGE}, "agents": [BATTERY]})
    assert (found.message, found.hint) == (issue.message, issue.hint)
    for name in ("sparse_lu", "newton"):
        with pytest.raises(NetworkError) as error:
            method(name).plan(network, topologies=[("Line 3",)])
        assert issue.message in str(error.value)
        assert issue.hint in str(error.value)


def test_a_network_that_only_newton_converges_on_is_refused_too(tmp_path):
    net = pp.create_empty_network(name="steep")
    a, b = (pp.create_bus(net, 20.0, name=name) for name in "ab")
    pp.create_ext_grid(net, a)
    for name in ("one", "two"):
        pp.create_line_from_parameters(net, a, b, 1.0, 0.0, 40.0, 0.0, 1.0, name=name)
    pp.create_load(net, b, 9.9, 0.0)
    path = tmp_path / "steep.json"
    pp.to_json(net, str(path))
    network = powergrid.Network.from_pandapower(path)
    outages = {"branch": "one", "start": 0, "duration": 900}
    config = {"network": {"file": str(path), "outages": outages}, "agents": [{"id": "bat", "type": "ESS", "bus": "b"}]}
    assert topology_issue(network) is not None
    assert network.power_flow().method == "newton"
    assert "the fixed point does not converge" in findings(config)[0].message


def test_too_many_topologies_are_a_finding():
    outages = [{"branch": "*", "start": 0, "duration": 900}] * 3
    (issue,) = findings({"network": {"base": "ieee34", "outages": outages}, "agents": []})
    assert issue.path == "network.outages"
    assert "make 39,304 topologies" in issue.message
    assert "at most 4,096" in issue.hint


def test_a_switch_at_a_regulator_is_a_finding():
    network = powergrid.network("ieee34")
    regulator = network.branches.name[network.regulators.branch[0]]
    found = findings({"network": "ieee34", "agents": [{"id": "sw", "type": "Switch", "bus": regulator}]})
    assert [issue.path for issue in found] == ["agents[0].bus"]


def test_what_passes_is_made_and_runs():
    outages = {"branch": ["line_3", "line_7"], "start": 0, "duration": 900}
    config = {"network": {"base": "case33bw", "outages": outages}, "agents": [{**BATTERY, "bus": "10"}]}
    env = powergrid.make(powergrid.load_config(config), backend="numpy")
    env.reset(seed=0)
    for _ in range(3):
        env.step({"bat": env.action_space("bat").sample() * 0})
