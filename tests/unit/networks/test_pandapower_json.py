"""Files of saved nets: nothing that they name is imported or run, and size is bounded before anything is built."""

from __future__ import annotations

import copy
import json
import sys
import tracemalloc

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pandas as pd
import pytest
from network_equations import columns_equal

import powergrid
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.networks import pandapower_json
from powergrid.networks.network import Network

PLANTED = {"_module": "strange_module", "_class": "X", "_object": "1"}


@pytest.fixture(scope="module")
def saved() -> dict:
    net = nw.case33bw()
    net["profiles"] = {"load": pd.DataFrame({"p": [0.5, 1.0]})}
    net["note"] = "{no JSON"
    return json.loads(pp.to_json(net))


@pytest.fixture
def strange_module(tmp_path, monkeypatch):
    """A module that leaves a file behind where it is imported."""
    (tmp_path / "strange_module.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "ran"
    sys.modules.pop("strange_module", None)


def write(tmp_path, held):
    path = tmp_path / "net.json"
    path.write_text(held if isinstance(held, str) else json.dumps(held), encoding="utf-8")
    return path


def in_a_cell(held):
    table = json.loads(held["_object"]["bus"]["_object"])
    table["data"][3][table["columns"].index("name")] = PLANTED
    held["_object"]["bus"]["_object"] = json.dumps(table)


def in_a_text_of_a_cell(held):
    table = json.loads(held["_object"]["bus"]["_object"])
    table["data"][3][table["columns"].index("name")] = json.dumps({"deeper": [json.dumps(PLANTED)]})
    held["_object"]["bus"]["_object"] = json.dumps(table)


def escaped(held):
    held["_object"]["note"] = json.dumps(PLANTED).replace("_module", "\\u005fmodule")


def under_a_second_key(held):
    return json.dumps(held).replace(
        '"_object": {', '"_object": {"more": ' + json.dumps(PLANTED) + ', "more": ' + json.dumps(PLANTED) + ", ", 1
    )


PLACES = {
    "top": lambda held: held["_object"].update(more=PLANTED),
    "function": lambda held: held["_object"].update(
        more={"_module": "strange_module", "_class": "function", "_object": "f"}
    ),
    "list": lambda held: held["_object"].update(more=[[{"a": PLANTED}]]),
    "text": lambda held: held["_object"].update(more=json.dumps(PLANTED)),
    "text in text": lambda held: held["_object"].update(more=json.dumps([json.dumps(PLANTED)])),
    "cell": in_a_cell,
    "text of a cell": in_a_text_of_a_cell,
    "escaped": escaped,
    "twice": under_a_second_key,
    "net in net": lambda held: held["_object"].update(more=copy.deepcopy(held)),
    "older net": lambda held: held.update(_object=json.dumps({"more": PLANTED})),
    "beside": lambda held: held.update(more=PLANTED),
    "standard types": lambda held: held["_object"]["std_types"].update(more=PLANTED),
    "class alone": lambda held: held["_object"].update(more={"_class": "X", "_object": "1"}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_class_is_refused_wherever_it_stands_and_nothing_runs(saved, tmp_path, strange_module, place):
    held = copy.deepcopy(saved)
    path = write(tmp_path, PLACES[place](held) or held)
    for read in (
        lambda: Network.from_pandapower(path),
        lambda: powergrid.load_config({"network": {"file": str(path)}}),
    ):
        with pytest.raises((NetworkError, ConfigError)) as error:
            read()
        assert str(path) in str(error.value)
    assert not strange_module.exists()


def test_a_controller_is_left_out_unread(tmp_path, saved, strange_module):
    held = copy.deepcopy(saved)
    held["_object"]["controller"] = PLANTED
    network = Network.from_pandapower(write(tmp_path, held))
    assert columns_equal(network, Network.from_pandapower(nw.case33bw())) == []
    assert not strange_module.exists()


def test_tables_and_texts_pass_unchanged(tmp_path, saved):
    text = pandapower_json.read_json(write(tmp_path, saved))
    assert json.loads(text)["_object"]["note"] == "{no JSON"
    net = pp.from_json_string(text)
    assert net.pop("profiles")["load"].p.tolist() == [0.5, 1.0]
    assert net.pop("note") == "{no JSON"
    assert pp.toolbox.nets_equal(net, nw.case33bw())


def table_of(held, change):
    table = json.loads(held["_object"]["load"]["_object"])
    change(table)
    held["_object"]["load"]["_object"] = json.dumps(table)


MALFORMED = {
    "ragged": lambda held: table_of(held, lambda table: table["data"][0].pop()),
    "wide": lambda held: table_of(held, lambda table: table.update(columns=list(range(10**5)))),
    "no index": lambda held: table_of(held, lambda table: table.pop("index")),
    "levels": lambda held: table_of(held, lambda table: table["index"].__setitem__(0, [0, 1])),
    "dtype": lambda held: held["_object"]["load"]["dtype"].update(name="S2000000000"),
    "orient": lambda held: held["_object"]["load"].update(orient="columns"),
    "not finite": lambda held: table_of(held, lambda table: table["data"][0].__setitem__(2, float("inf"))),
    "path": lambda held: held["_object"]["load"].update(_object="/etc/passwd.json"),
    "keyword": lambda held: held["_object"]["load"].update(compression="zip"),
    "multiindex": lambda held: held["_object"]["load"].update(is_multiindex=True, index_names=["a"]),
    "no table": lambda held: held["_object"].update(line=3),
    "no column": lambda held: table_of(held, lambda table: table["columns"].__setitem__(1, "bas")),
    "no bus": lambda held: table_of(held, lambda table: [row.__setitem__(1, "x") for row in table["data"]]),
    "deep": lambda held: held["_object"].update(more=json.loads("[" * 90 + "]" * 90)),
    "very deep": lambda held: json.dumps(held).replace('"note":', '"more": ' + "[" * 10**5 + "]" * 10**5 + ', "note":'),
    "deep text": lambda held: held["_object"].update(more="[" * 10**5 + "]" * 10**5),
}


def in_geo(held, text):
    table = json.loads(held["_object"]["bus"]["_object"])
    table["data"][3][table["columns"].index("geo")] = text
    held["_object"]["bus"]["_object"] = json.dumps(table)


@pytest.mark.parametrize("text", ["{", '{"type": "Point", "coordinates": 3}', "no place", "[1, 2]"])
def test_a_place_that_cannot_be_read_is_none(saved, tmp_path, text):
    held = copy.deepcopy(saved)
    in_geo(held, text)
    network = Network.from_pandapower(write(tmp_path, held))
    assert np.isnan(network.buses.x[3])
    assert np.isfinite(network.buses.x[2])


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_damaged_table_is_a_sentence(saved, tmp_path, kind):
    held = copy.deepcopy(saved)
    path = write(tmp_path, MALFORMED[kind](held) or held)
    with pytest.raises(NetworkError) as error:
        Network.from_pandapower(path)
    message = str(error.value)
    assert str(path) in message or 'net "case33bw"' in message
    assert "; " in message or "Replace" in message  # what to do


def test_size_is_bounded_before_anything_is_built(tmp_path):
    large = write(tmp_path, "[" + "1," * (pandapower_json.MAX_BYTES // 2) + "1]")
    many = tmp_path / "many.json"
    many.write_text("[" + "[]," * pandapower_json.MAX_VALUES + "[]]")
    tracemalloc.start()
    for path, words in ((large, "bytes are more than"), (many, "objects and lists")):
        with pytest.raises(NetworkError, match=words):
            Network.from_pandapower(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * pandapower_json.MAX_BYTES


def test_no_file_and_no_regular_file_are_sentences(tmp_path):
    for path, words in ((tmp_path / "none.json", "does not exist"), (tmp_path, "no regular file")):
        with pytest.raises(NetworkError, match=words):
            Network.from_pandapower(path)


def test_a_net_of_an_older_pandapower_is_brought_up_to_date(tmp_path):
    net = nw.create_cigre_network_mv()
    net.trafo[["tap_pos", "tap_step_percent", "tap_side", "tap_neutral"]] = [2, 2.5, "hv", 0]
    net.trafo["tap_changer_type"] = "Ratio"
    new = Network.from_pandapower(net)
    net.trafo = net.trafo.drop(columns=["tap_changer_type", "tap_dependency_table", "id_characteristic_table"])
    net.trafo["tap_phase_shifter"] = False
    net["format_version"], net["version"] = "2.14.0", "2.14.0"
    path = tmp_path / "old.json"
    pp.to_json(net, str(path))
    old = Network.from_pandapower(path)
    np.testing.assert_allclose(old.branches.ratio, new.branches.ratio)
    assert not np.all(new.branches.ratio == 1.0)
