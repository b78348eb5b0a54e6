"""Generation and storage that come with an imported network follow series of their own, never that of the loads."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest

import powergrid
from powergrid.config.build_network import static_series
from powergrid.core.errors import ConfigError

P_LOAD, P_PV, P_STORED = 1.0, 0.8, 0.15
DAY = {"day": 180}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    net = pp.create_empty_network(name="feeder")
    a, b = (pp.create_bus(net, 20.0, name=name) for name in "ab")
    pp.create_ext_grid(net, a)
    pp.create_line(net, a, b, 1.0, "NA2XS2Y 1x95 RM/25 12/20 kV", name="l")
    pp.create_load(net, b, P_LOAD, 0.2, name="L")
    pp.create_sgen(net, b, P_PV, 0.1, name="PV")
    pp.create_sgen(net, b, 0.0, name="idle")
    pp.create_storage(net, b, P_STORED, max_e_mwh=1.0, name="battery")
    path = tmp_path_factory.mktemp("static") / "net.json"
    pp.to_json(net, str(path))
    return str(path)


def world(file, **network):
    return {
        "network": {"file": file, "load_series": "load_p_pu:res_1", **network},
        "agents": [{"id": "bat", "type": "ESS", "bus": "b", "params": {"soc_init": 0.5}}],
    }


def flows(config, backend):
    """What the source delivers less losses [MW], tick by tick, and the series of the day."""
    env = powergrid.make(config, backend=backend)
    env.reset(seed=0, options=DAY)
    table, columns = env.world.table, env.world.layout.columns
    rows = table[DAY["day"] * 96 + np.arange(96)]
    delivered = []
    for _ in range(96):
        env.step({"bat": np.zeros(1)})
        flow = env.output.flow
        delivered.append(float(np.sum(flow.p_slack_mw)) - float(np.sum(flow.loss_mw)))
    series = {name: rows[:, columns.column(name)] for name in columns.series}
    return np.array(delivered), series


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_generation_is_constant_where_nothing_is_said(file, backend):
    delivered, series = flows(world(file, load_scale=0.5), backend)
    expected = 0.5 * P_LOAD * series["load_p_pu:res_1"] - P_PV + P_STORED
    np.testing.assert_allclose(delivered, expected, atol=1e-8)
    assert np.ptp(series["load_p_pu:res_1"]) > 0.1


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_generation_follows_its_own_series_and_storage_stays(file, backend):
    delivered, series = flows(world(file, sgen_series="pv_pu", sgen_scale=0.5), backend)
    sun = next(values for name, values in series.items() if name.startswith("pv_pu"))
    np.testing.assert_allclose(delivered, P_LOAD * series["load_p_pu:res_1"] - 0.5 * (P_PV * sun - P_STORED), atol=1e-8)
    assert sun[0] == 0.0
    assert sun.max() > 0.1


def test_patterns_give_series_and_the_first_match_wins(file):
    rules = {"bat*": "load_p_pu:com_1", "PV": "pv_pu:south", "*": "wind_pu"}
    resolved = powergrid.load_config(world(file, sgen_series=rules))
    network = resolved.network()
    found = dict(zip(network.static_generators.name, static_series(resolved.config.network, network), strict=True))
    assert found == {"PV": "pv_pu:south", "idle": "wind_pu", "battery": "load_p_pu:com_1"}


def test_units_of_the_network_are_nobodys_and_have_no_meter(file):
    env = powergrid.make(world(file), backend="numpy")
    units = [agent for agent in env.world.agents if agent.of_network]
    assert [unit.id for unit in units] == ["sgen_PV", "storage_battery"]  # what is idle is no unit
    assert all(unit.parent is None and not unit.subordinates for unit in units)
    assert env.world.layout.accounts == ("bat",)
    assert not any("PV" in label or "battery" in label for label in env.observation_labels("bat"))


def test_an_agent_sees_the_series_of_its_areas_generation(file):
    config = world(file, sgen_series="pv_pu:south")
    config["agents"] += [
        {"id": "town", "type": "GridCoordinator", "sub_agents": ["bat", "meter"], "policy": "centralized"},
        {"id": "meter", "type": "Grid"},
    ]
    env = powergrid.make(config, backend="numpy")
    assert any(label.startswith("pv_pu:south") for label in env.observation_labels("town"))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"sgen_series": {"PW": "pv_pu"}}, ["network.sgen_series.PW", "matches none", "PV"]),
        ({"sgen_series": "pvpu"}, ["network.sgen_series", 'no series "pvpu"', 'did you mean "pv_pu"']),
        ({"sgen_series": {"PV": "pvpu"}}, ["network.sgen_series.PV", 'did you mean "pv_pu"']),
    ],
)
def test_rules_that_name_nothing_are_refused(file, network, words):
    with pytest.raises(ConfigError) as error:
        powergrid.load_config(world(file, **network))
    for word in words:
        assert word in str(error.value)


def test_rules_for_a_network_without_generation_are_refused():
    with pytest.raises(ConfigError, match=r"network\.sgen_series: the network has no static generators"):
        powergrid.load_config({"network": {"base": "ieee13", "sgen_series": "pv_pu"}})


def test_show_says_what_generation_follows(file, tmp_path):
    from typer.testing import CliRunner

    from powergrid.cli.app import app

    path = tmp_path / "case.yaml"
    path.write_text(
        f'network: {{file: "{file}", sgen_series: pv_pu}}\nagents: [{{id: bat, type: ESS, bus: b}}]\n', encoding="utf-8"
    )
    shown = CliRunner().invoke(app, ["show", "--no-spaces", str(path)]).output
    assert "2 static generators, 1 storage: 0.650 MW" in shown
    assert "0.800 MW of the network's own follow pv_pu" in shown
    assert "-0.150 MW of the network's own stay constant (network.sgen_series gives them another)" in shown


def test_generators_hold_their_voltage_without_feeding_in():
    agents = [{"id": "dg", "type": "DG", "bus": "2", "params": {"p_max_mw": 5.0}}]
    env = powergrid.make({"network": {"base": "case30", "gen_scale": 0}, "agents": agents}, backend="numpy")
    env.reset(seed=0, options=DAY)
    env.step({"dg": np.full(1, -1.0)})
    flow, network = env.output.flow, env.world.network
    np.testing.assert_allclose(flow.v_pu[network.generators.bus], network.generators.v_set_pu, atol=1e-6)
    row = env.world.table[DAY["day"] * 96 + np.arange(1)][0]
    load_mw = row[env.world.layout.grid.load_series] @ env.world.layout.grid.load_p_mw.sum(-1)
    np.testing.assert_allclose(flow.p_slack_mw - flow.loss_mw, load_mw, atol=1e-6)
    with pytest.raises(ConfigError, match="no generators that hold a voltage"):
        powergrid.load_config(world("none.json") | {"network": {"base": "ieee13", "gen_scale": 0.5}})
