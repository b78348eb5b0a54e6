"""What a resolved configuration is: presets, the example of the proposal, export, overrides, pickling."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import jsonschema
import pytest

import powergrid
from powergrid.config import json_schema, preset_names, with_overrides
from powergrid.config.sources import open_document
from powergrid.config.yaml_reader import read_yaml
from powergrid.core.errors import ConfigError

EXAMPLE = Path(__file__).resolve().parents[3] / "configs" / "ieee34_microgrid.yaml"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "1000" in name else ()) for name in preset_names()]
)
def test_presets_resolve_and_survive_export(name, tmp_path):
    resolved = powergrid.load_config(name)
    file = tmp_path / "copy.yaml"
    file.write_text(resolved.to_yaml(tmp_path))
    again = powergrid.load_config(file)
    assert again.config == resolved.config
    assert again.to_yaml(tmp_path) == resolved.to_yaml(tmp_path)


def test_the_presets_that_people_were_promised_exist():
    promised = {"two_microgrids", "p2p_microgrids", "ieee34_microgrid", "ieee13_single", "ieee34_multi"}
    promised |= {"voltage_control_13", "voltage_control_34", "voltage_control_123"}
    assert promised <= set(preset_names())


def test_the_example_is_the_proposal_word_for_word(shared):
    text = (shared / "design" / "proposal.md").read_text()
    found = re.search(r"```yaml\n(# configs/ieee34_microgrid.yaml\n.*?)```", text, re.DOTALL)
    assert found is not None
    assert EXAMPLE.read_text() == found.group(1)


def test_the_example_loads_with_its_own_data():
    config = powergrid.load_config(EXAMPLE).config
    by_id = {agent.id: agent for agent in config.agents}
    assert by_id["ess_1"].bus == "800"
    assert by_id["ess_1"].params["capacity_mwh"] == 1.0
    assert (by_id["dg_1"].params["p_min_mw"], by_id["dg_1"].params["p_max_mw"]) == (0.0, 0.5)
    assert by_id["dg_1"].params["marginal_cost_per_mwh"] == 50
    assert (by_id["solar_1"].params["kind"], by_id["solar_1"].params["p_max_mw"]) == ("solar", 0.3)
    assert by_id["mg_controller"].policy == "centralized"
    assert config.coordination.protocol == "price_signal"
    assert (config.training.safety_scale, config.training.max_penalty) == (10.0, 100.0)
    assert config.simulation.async_ is False


def test_p2p_microgrids_is_the_game_of_the_rules():
    resolved = powergrid.load_config("p2p_microgrids")
    config, network = resolved.config, resolved.network()
    areas = {m.attach.name: m.attach for m in config.network.modifications}
    assert {area.at_bus for area in areas.values()} == {"808", "830", "834"}
    assert len({area.load_series for area in areas.values()} | {config.network.load_series}) == 4
    assert len(network.regulators.branch) == 5
    for name in areas:
        at_guest = [network.buses.area[bus] == name for bus in network.loads.bus]
        assert network.loads.p_mw[at_guest].sum() == pytest.approx(0.69, abs=0.01)
    costs = [a.params["marginal_cost_per_mwh"] for a in config.agents if a.type == "DG"]
    assert costs == [45, 75, 105]
    (market,) = config.protocols
    assert market.type == "p2p_trading"
    assert market.members == ["microgrid_1", "microgrid_2", "microgrid_3"]


def test_resolved_is_idempotent_and_pickles():
    resolved = powergrid.load_config("ieee13_single")
    assert powergrid.load_config(resolved) is resolved
    again = pickle.loads(pickle.dumps(resolved))
    assert again == resolved
    assert again.to_yaml() == resolved.to_yaml()


def test_json_schema_is_valid_and_accepts_all_presets():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in preset_names():
        validator.validate(open_document(name).data)
    validator.validate(open_document(EXAMPLE).data)
    with pytest.raises(jsonschema.ValidationError, match="episode_lenght"):
        validator.validate({"network": "ieee13", "simulation": {"episode_lenght": 3}})
    assert "ESS" in schema["$defs"]["AgentConfig"]["properties"]["type"]["examples"]


def test_paths_move_with_the_file(tmp_path):
    resolved = powergrid.load_config(EXAMPLE)
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "copy.yaml"
    file.write_text(resolved.to_yaml(file.parent))
    again = powergrid.load_config(file)
    assert again.dataset().series("load_p_pu:user").values == pytest.approx(
        resolved.dataset().series("load_p_pu:user").values
    )


def test_own_times_are_seen():
    base = {"network": "ieee13", "agents": [{"id": "a", "type": "ESS", "bus": 671, "interval": 3600}]}
    assert powergrid.load_config(base).config.simulation.async_ is True
    assert powergrid.load_config({**base, "simulation": {"time_step": 3600}}).config.simulation.async_ is False
    by_level = {**base, "simulation": {"time_step": 3600, "intervals": {"grid": 7200}}}
    assert powergrid.load_config(by_level).config.simulation.async_ is True


@pytest.mark.parametrize(
    ("tick_s", "intervals_s"), [(60, (60, 900, 3600)), (300, (300, 900, 3600)), (640, (640, 1280, 3840))]
)
def test_async_alone_means_the_usual_rates_in_whole_ticks(tick_s, intervals_s):
    agents = [{"id": "a", "type": "ESS", "bus": 671}]
    timed = {"network": "ieee13", "agents": agents, "simulation": {"async": True, "time_step": tick_s}}
    resolved = powergrid.load_config(timed)
    assert tuple(resolved.config.simulation.intervals.model_dump().values()) == intervals_s
    agents[0]["interval"] = 10 * tick_s  # with an interval of its own, nobody else's changes
    assert powergrid.load_config(timed).config.simulation.intervals is None


def test_intervals_survive_the_export(tmp_path):
    timed = {"network": "ieee13", "simulation": {"async": True, "time_step": 300}}
    resolved = powergrid.load_config(timed)
    file = tmp_path / "copy.yaml"
    file.write_text(resolved.to_yaml(tmp_path))
    assert powergrid.load_config(file).config.simulation == resolved.config.simulation


class TestOverrides:
    """`with_overrides`, the keywords of powergrid.make."""

    base = powergrid.load_config("ieee34_microgrid")

    def test_short_names_sections_and_dotted_paths(self):
        changed = with_overrides(
            self.base,
            episode_length=24,
            simulation={"time_step": 3600},
            coordination={"params": {"update_freq": 3600}},
            **{"agents.ess_1.params.capacity_mwh": 2.0, "network.load_scale": 0.5},
        ).config
        assert (changed.simulation.episode_length, changed.simulation.time_step) == (24, 3600)
        assert changed.agents[0].params["capacity_mwh"] == 2.0
        assert changed.agents[0].params["max_p_mw"] == 0.5
        assert changed.network.load_scale == 0.5
        assert changed.network.base == "ieee34"
        assert changed.coordination.params == {"update_freq": 3600, "lmp_solver": "dcopf"}
        assert self.base.config.simulation.episode_length == 96

    def test_agents_by_id_or_all(self):
        changed = with_overrides(self.base, agents={"dg_1": {"policy": "random"}}).config
        assert [agent.policy for agent in changed.agents] == ["learned", "random", "mppt", "centralized"]
        alone = with_overrides(self.base, agents=[{"id": "x", "type": "ESS", "bus": 800}]).config
        assert [agent.id for agent in alone.agents] == ["x"]

    def test_none_is_a_value(self):
        assert with_overrides(self.base, max_penalty=None).config.training.max_penalty is None

    @pytest.mark.parametrize(
        ("overrides", "hint"),
        [
            ({"episode_lenght": 24}, 'did you mean "episode_length"'),
            ({"agents": {"ess_2": {"bus": 800}}}, 'did you mean "ess_1"'),
            ({"agents.ess_2.bus": 800}, 'did you mean "ess_1"'),
        ],
    )
    def test_unknown_names(self, overrides, hint):
        with pytest.raises(ConfigError) as caught:
            with_overrides(self.base, **overrides)
        assert hint in caught.value.issues[0].hint

    def test_all_unknown_names_at_once(self):
        with pytest.raises(ConfigError) as caught:
            with_overrides(self.base, aaa=1, bbb=2)
        assert [issue.path for issue in caught.value.issues] == ["aaa", "bbb"]

    @pytest.mark.parametrize("overrides", [{"agents": {"dg_1": 5}}, {"agents.dg_1": None}, {"agents.dg_1": [1]}])
    def test_an_agent_changes_by_a_mapping(self, overrides):
        with pytest.raises(ConfigError, match=r'agent "dg_1": .* must be a mapping'):
            with_overrides(self.base, **overrides)

    def test_bad_values_are_not_blamed_on_the_file(self):
        with pytest.raises(ConfigError) as caught:
            with_overrides(self.base, episode_length=0, **{"agents.dg_1.bus": "999"})
        assert {(i.path, i.file, i.line) for i in caught.value.issues} == {
            ("simulation.episode_length", "", None),
            ("agents[1].bus", "", None),
        }


def test_lines_of_merged_and_repeated_keys():
    text = "a: &x {p: 1}\nb:\n  <<: *x\n  q: 2\nc: [1, {d: 3}]\na: 5\n"
    document = read_yaml(text, "f.yaml", Path())
    assert document.data == {"a": {"p": 1}, "b": {"p": 1, "q": 2}, "c": [1, {"d": 3}]}
    assert document.line(("b", "q")) == 4
    assert document.line(("c", 1, "d")) == 5
    (issue,) = document.issues
    assert (issue.path, issue.line) == ("a", 6)


def test_a_network_may_come_from_a_pandapower_file(tmp_path):
    import pandapower
    import pandapower.networks

    pandapower.to_json(pandapower.networks.case33bw(), str(tmp_path / "net.json"))
    file = tmp_path / "case.yaml"
    file.write_text("network: {file: net.json}\nagents: [{id: ess_1, type: ESS, bus: 17}]\n")
    resolved = powergrid.load_config(file)
    assert resolved.network().loads.p_mw.sum() == pytest.approx(3.715)
    (tmp_path / "deep").mkdir()
    copy = tmp_path / "deep" / "copy.yaml"
    copy.write_text(resolved.to_yaml(copy.parent))
    assert powergrid.load_config(copy).config.network.file == "../net.json"


@pytest.mark.parametrize("content", ["{}", "[1]", "{", "words", '{"_class": "pandapowerNet"}'])
def test_a_file_that_is_no_network(tmp_path, content):
    (tmp_path / "net.json").write_text(content)
    (tmp_path / "case.yaml").write_text("network: {file: net.json}\nagents: [{id: ess_1, type: ESS, bus: 17}]\n")
    with pytest.raises(ConfigError) as caught:
        powergrid.load_config(tmp_path / "case.yaml")
    assert [issue.path for issue in caught.value.issues] == ["network.file", "agents[0].bus"]


def test_a_base_network_with_areas_of_its_own_serves():
    env = powergrid.make(
        {"network": "microgrid_park", "agents": [{"id": "b", "type": "ESS", "bus": "mg1.671"}]}, backend="numpy"
    )
    _, infos = env.reset(seed=0)
    assert infos["b"]["converged"]
