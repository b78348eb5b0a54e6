"""Network <-> pandapower: the converted network solves the equations that runpp solves."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest
from network_equations import columns_equal, mismatch_mva

from powergrid.core.errors import NetworkError, NetworkWarning
from powergrid.networks.network import Network

TIGHT = {"tolerance_mva": 1e-10, "numba": False}


def awkward_net():
    """A small net with every element and every corner that a Network can hold."""
    net = pp.create_empty_network(name="awkward", f_hz=50.0, sn_mva=100.0)
    source, high, mid, low, tail, dead, side, shore, far = (
        pp.create_bus(net, vn_kv=kv, name=name)
        for kv, name in [
            (110, "source"), (110, "high"), (20, "mid"), (0.4, "low"), (20, "tail"), (20, "dead"),
            (20, "side"), (20, "shore"), (20, "far"),
        ]
    )  # fmt: skip
    net.bus.loc[dead, "in_service"] = False
    net.bus.loc[source, "geo"] = '{"type": "Point", "coordinates": [1.5, -2.0]}'
    pp.create_ext_grid(net, source, vm_pu=1.02, va_degree=0.0)
    line = {
        "r_ohm_per_km": 0.12,
        "x_ohm_per_km": 0.39,
        "c_nf_per_km": 200.0,
        "max_i_ka": 0.4,
        "g_us_per_km": 2.0,
    }
    pp.create_line_from_parameters(net, source, high, 12.0, parallel=2, df=0.9, **line)
    pp.create_line_from_parameters(net, mid, tail, 3.0, name="twin", **line)
    pp.create_line_from_parameters(net, tail, side, 2.0, name="twin", **line)
    cut_from = pp.create_line_from_parameters(net, mid, side, 8.0, name="cut_from", **line)
    cut_to = pp.create_line_from_parameters(net, tail, far, 8.0, name="cut_to", **line)
    cut_both = pp.create_line_from_parameters(net, mid, far, 8.0, name="cut_both", **line)
    pp.create_line_from_parameters(net, tail, dead, 5.0, name="into_dead", **line)
    pp.create_line_from_parameters(net, mid, far, 5.0, name="spare", in_service=False, **line)
    trafo = {"shift_degree": 150.0, "pfe_kw": 30.0, "i0_percent": 0.4, "vk_percent": 11.0, "vkr_percent": 0.5}
    pp.create_transformer_from_parameters(
        net, high, mid, sn_mva=25.0, vn_hv_kv=115.0, vn_lv_kv=21.0, parallel=2, name="T1", tap_side="hv",
        tap_neutral=0, tap_min=-9, tap_max=9, tap_pos=3, tap_step_percent=1.5, tap_step_degree=10.0,
        tap_changer_type="Symmetrical", **trafo,
    )  # fmt: skip
    pp.create_transformer_from_parameters(
        net, tail, low, sn_mva=0.4, vn_hv_kv=20.0, vn_lv_kv=0.41, name="T2", tap_side="lv", tap_neutral=0,
        tap_min=-2, tap_max=2, tap_pos=-1, tap_step_percent=2.5, tap_changer_type="Ratio",
        vk_percent=6.0, vkr_percent=1.4, pfe_kw=1.4, i0_percent=0.3, shift_degree=0.0,
    )  # fmt: skip
    pp.create_transformer_from_parameters(
        net, mid, shore, sn_mva=4.0, vn_hv_kv=20.0, vn_lv_kv=20.0, name="shifter", tap_side="hv",
        tap_neutral=0, tap_pos=2, tap_step_degree=1.5, tap_changer_type="Ideal", vk_percent=6.0,
        vkr_percent=1.0, pfe_kw=3.0, i0_percent=0.3, shift_degree=0.0,
    )  # fmt: skip
    net.trafo["leakage_resistance_ratio_hv"] = [0.5, 0.3, 0.5]
    net.trafo["leakage_reactance_ratio_hv"] = [0.5, 0.6, 0.5]
    charged = pp.create_transformer_from_parameters(
        net, mid, side, sn_mva=4.0, vn_hv_kv=20.0, vn_lv_kv=20.0, name="charged", vk_percent=6.0,
        vkr_percent=1.0, pfe_kw=6.0, i0_percent=0.5, shift_degree=0.0,
    )  # fmt: skip
    net.trafo[["leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"]] = net.trafo[
        ["leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv"]
    ].fillna(0.5)
    pp.create_impedance(net, shore, far, rft_pu=0.01, xft_pu=0.03, sn_mva=5.0, gf_pu=1e-4, bf_pu=2e-3, gt_pu=3e-4)
    pp.create_switch(net, mid, cut_from, et="l", closed=False)
    pp.create_switch(net, far, cut_to, et="l", closed=False)
    pp.create_switch(net, mid, cut_both, et="l", closed=False)
    pp.create_switch(net, far, cut_both, et="l", closed=False)
    pp.create_switch(net, side, charged, et="t", closed=False)
    beside, behind = (pp.create_bus(net, vn_kv=20, name=name) for name in ("beside", "behind"))
    pp.create_switch(net, side, beside, et="b", closed=True, name="coupler")
    pp.create_switch(net, beside, behind, et="b", closed=True, z_ohm=0.3, name="fuse")
    pp.create_switch(net, far, side, et="b", closed=False, name="tie")
    for bus, p_mw in [(mid, 4.0), (low, 0.2), (side, 1.5), (beside, 0.4), (behind, 0.6), (far, 0.9)]:
        pp.create_load(net, bus, p_mw=p_mw, q_mvar=0.3 * p_mw, scaling=0.9)
    pp.create_load(net, tail, p_mw=9.0, in_service=False)
    pp.create_sgen(net, side, p_mw=0.7, q_mvar=-0.1, scaling=0.8, name="pv")
    pp.create_storage(net, far, p_mw=0.2, max_e_mwh=1.0, name="battery")
    pp.create_asymmetric_load(net, low, p_a_mw=0.01, p_b_mw=0.02, q_c_mvar=0.005, name="uneven")
    pp.create_shunt(net, tail, q_mvar=-0.3, p_mw=0.002, vn_kv=21.0, step=2, name="bank")
    pp.create_shunt(net, mid, q_mvar=-5.0, in_service=False)
    return net


CASES = {
    "case33bw": nw.case33bw,
    "cigre_mv": nw.create_cigre_network_mv,
    "cigre_mv_der": lambda: nw.create_cigre_network_mv(with_der="all"),
    "cigre_lv": nw.create_cigre_network_lv,
    "open_ring": nw.simple_mv_open_ring_net,
    "kerber": nw.create_kerber_dorfnetz,
    "awkward": awkward_net,
}


def voltages(net, buses) -> np.ndarray:
    result = net.res_bus.loc[buses]
    return (result.vm_pu * np.exp(1j * np.deg2rad(result.va_degree))).to_numpy()


@pytest.fixture(params=CASES, scope="module")
def case(request):
    net = CASES[request.param]()
    network = Network.from_pandapower(net)
    pp.runpp(net, **TIGHT)
    return net, network


def test_user_net_is_not_altered():
    net = awkward_net()
    before = copy.deepcopy(net)
    Network.from_pandapower(net)
    assert pp.toolbox.nets_equal(before, net)


def test_runpp_of_the_round_trip_equals_runpp_of_the_original(case):
    net, network = case
    back = network.to_pandapower()
    pp.runpp(back, **TIGHT)
    active = net.bus.index[net.bus.in_service]
    assert np.abs(voltages(net, active) - voltages(back, back.bus.index[: len(active)])).max() < 1e-8
    assert back.res_ext_grid.p_mw.sum() == pytest.approx(net.res_ext_grid.p_mw.sum(), abs=1e-8)
    assert back.res_ext_grid.q_mvar.sum() == pytest.approx(net.res_ext_grid.q_mvar.sum(), abs=1e-8)


def test_columns_satisfy_the_network_equations_at_the_voltages_of_runpp(case):
    net, network = case
    back = network.to_pandapower()
    pp.runpp(back, **TIGHT)
    active = net.bus.index[net.bus.in_service]
    v = voltages(back, back.bus.index)
    v[: len(active)] = voltages(net, active)
    assert mismatch_mva(network, v) < 1e-7


def test_second_conversion_gives_the_same_columns(case):
    _, network = case
    assert columns_equal(network, Network.from_pandapower(network.to_pandapower())) == []


def test_line_ratings_reproduce_the_loading_of_runpp(case):
    net, network = case
    back = network.to_pandapower()
    pp.runpp(back, **TIGHT)
    theirs = net.res_line.loading_percent.fillna(0.0).to_numpy()  # NaN on a line that is open at both ends
    assert np.allclose(back.res_line.loading_percent, theirs, atol=1e-6)


def test_open_ends_keep_their_charging_beside_an_open_switch():
    network = Network.from_pandapower(awkward_net())
    ends = [name for name in network.buses.name if "@" in name]
    assert ends == ["cut_from@mid", "cut_to@far", "into_dead@5", "charged@side"]
    assert not network.branches.closed[network.branch("cut_to@far")]
    assert not network.branches.closed[network.branch("cut_both")]
    assert not network.branches.closed[network.branch("spare")]
    assert network.branches.closed[network.branch("cut_to")]
    assert "dead" not in network.buses.name


def test_names_missing_or_repeated_are_made_unique():
    network = Network.from_pandapower(awkward_net())
    assert {"line_0", "twin (1)", "twin (2)", "impedance_0", "tie"} <= set(network.branches.name)
    assert network.buses.x[network.bus("source")] == 1.5
    assert network.buses.y[network.bus("source")] == -2.0


def test_generation_and_storage_are_no_load():
    network = Network.from_pandapower(awkward_net())
    static = network.static_generators
    assert dict(zip(static.name, static.kind, strict=True)) == {"pv": "generator", "battery": "storage"}
    assert static.p_mw.tolist() == pytest.approx([0.56, -0.2])
    assert static.q_mvar.tolist() == pytest.approx([-0.08, 0.0])
    assert not {"pv", "battery"} & set(network.loads.name)
    uneven = network.loads.name.index("uneven")
    assert network.loads.p_mw[uneven] == pytest.approx(0.03)


def refused(change) -> str:
    net = awkward_net()
    change(net)
    with pytest.raises(NetworkError) as error:
        Network.from_pandapower(net)
    return str(error.value)


def test_everything_unsupported_is_named_at_once():
    def change(net):
        pp.create_svc(net, 2, 1.0, -10.0, 1.0, 90.0, name="compensator")
        pp.create_tcsc(net, 2, 4, 1.0, -10.0, 5.0, 140.0, name="series")
        net.load.loc[0, ["const_z_p_percent", "const_i_p_percent"]] = 60.0
        net.trafo.loc[1, "tap_dependency_table"] = True

    message = refused(change)
    for words in (
        'svc 0 "compensator"',
        'tcsc 0 "series"',
        "above 100 % in load 0",
        'tap table of trafo 1 "T2"',
    ):
        assert words in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda net: net.ext_grid.drop(0, inplace=True), "no external grid"),
        (
            lambda net: net.trafo.loc.__setitem__((0, "tap_dependency_table"), True),
            'tap table of trafo 0 "T1"',
        ),
        (lambda net: net.impedance.__setitem__("xtf_pu", 0.9), "direction-dependent impedance 0"),
        (lambda net: net.bus.loc.__setitem__((0, "in_service"), False), "at a bus out of service"),
    ],
)
def test_each_refusal_says_what_and_where(change, words):
    assert words in refused(change)


def test_unsupported_elements_out_of_service_do_not_matter():
    net = awkward_net()
    pp.create_svc(net, 2, 1.0, -10.0, 1.0, 90.0, in_service=False)
    pp.create_gen(net, 2, p_mw=1.0, in_service=False)
    assert not Network.from_pandapower(net).generators.name
    Network.from_pandapower(net)


def test_a_saved_net_is_read_from_its_path(tmp_path):
    path = tmp_path / "net.json"
    pp.to_json(nw.case33bw(), str(path))
    saved = Network.from_pandapower(path, name="saved")
    assert saved.name == "saved"
    assert columns_equal(saved, Network.from_pandapower(nw.case33bw())) == []


def test_bus_loads_can_be_written_in_one_assignment():
    network = Network.from_pandapower(nw.case33bw())
    net = network.to_pandapower(bus_loads=True)
    assert net.load.bus.tolist() == list(range(33))
    assert net.load.p_mw.sum() == pytest.approx(network.loads.p_mw.sum())
    pp.runpp(net, **TIGHT)
    other = nw.case33bw()
    pp.runpp(other, **TIGHT)
    assert np.allclose(net.res_bus.vm_pu, other.res_bus.vm_pu, atol=1e-10)


def test_unknown_bus_and_branch_names_suggest_the_nearest():
    network = Network.from_pandapower(awkward_net())
    with pytest.raises(NetworkError, match='did you mean "shore"'):
        network.bus("shorre")
    with pytest.raises(NetworkError, match='did you mean "cut_both"'):
        network.branch("cut_boht")


def test_several_shunts_at_one_bus_come_back() -> None:
    net = pp.create_empty_network()
    buses = [pp.create_bus(net, 20.0) for _ in range(2)]
    pp.create_ext_grid(net, buses[0])
    pp.create_line_from_parameters(net, *buses, 5.0, 0.3, 0.3, 10.0, 0.4)
    pp.create_load(net, buses[1], 2.0, 1.0)
    for q_mvar in (-0.3, -0.4):
        pp.create_shunt(net, buses[1], q_mvar)
    pp.create_ward(net, buses[1], 0.1, 0.05, 0.2, 0.1)
    back = Network.from_pandapower(net).to_pandapower()
    assert len(back.shunt) == 3
    for solved in (net, back):
        pp.runpp(solved, tolerance_mva=1e-10)
    np.testing.assert_allclose(back.res_bus.vm_pu, net.res_bus.vm_pu, atol=1e-10)


def two_windings(**columns):
    """A 25 MVA transformer of 110/21 kV whose low side is at a bus of 20 kV."""
    net = pp.create_empty_network(f_hz=50)
    hv, lv = pp.create_bus(net, 110), pp.create_bus(net, 20)
    pp.create_ext_grid(net, hv, 1.0)
    pp.create_transformer_from_parameters(
        net, hv, lv, sn_mva=25, vn_hv_kv=110, vn_lv_kv=21, vkr_percent=0.4, vk_percent=12, pfe_kw=14, i0_percent=0.07,
        **columns,
    )  # fmt: skip
    pp.create_load(net, lv, 24.8, 3)
    return net


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"parallel": 2, "df": 0.8},
        {"tap_side": "lv", "tap_neutral": 0, "tap_pos": 3, "tap_step_percent": 2.0, "tap_changer_type": "Ratio"},
        {"tap_side": "hv", "tap_neutral": 0, "tap_pos": -2, "tap_step_percent": 1.5, "tap_changer_type": "Ratio"},
    ],
)
def test_the_loading_of_a_transformer_is_that_of_its_windings(columns):
    net = two_windings(**columns)
    network = Network.from_pandapower(net)
    pp.runpp(net, **TIGHT)
    found = network.power_flow(tol_pu=1e-11).branch.iloc[0]
    assert found.loading_percent == pytest.approx(net.res_trafo.loading_percent[0], abs=1e-6)
    if not columns:
        assert found.loading_percent == pytest.approx(102.69, abs=0.01)
    back = network.to_pandapower()
    pp.runpp(back, **TIGHT)
    assert back.res_trafo.loading_percent[0] == pytest.approx(net.res_trafo.loading_percent[0], abs=1e-6)
    assert columns_equal(network, Network.from_pandapower(back)) == []


@pytest.mark.parametrize("method", ["sparse_lu", "newton", "zbus", "pandapower"])
@pytest.mark.parametrize("loss", [0.0, 60.0])
@pytest.mark.parametrize(("loads", "fullest"), [((8.0, 8.0), "lv"), ((24.0, 1.0), "mv"), ((22.0, 13.0), "hv")])
def test_every_winding_is_rated_on_every_method(method, loss, loads, fullest):
    """The end of an arm that is no winding sets no limit, and a tap beside the middle makes one end fuller."""
    net = pp.create_empty_network()
    bus = [pp.create_bus(net, kv) for kv in (110.0, 20.0, 10.0, 0.4)]
    pp.create_ext_grid(net, bus[0], 1.02)
    pp.create_transformer3w_from_parameters(
        net, *bus[:3], vn_hv_kv=113.0, vn_mv_kv=20.6, vn_lv_kv=10.4, sn_hv_mva=30.0, sn_mv_mva=25.0, sn_lv_mva=15.0,
        vk_hv_percent=11.0, vk_mv_percent=12.0, vk_lv_percent=9.0, vkr_hv_percent=0.4, vkr_mv_percent=0.5,
        vkr_lv_percent=0.3, pfe_kw=loss, i0_percent=loss / 150,
    )  # fmt: skip
    pp.create_transformer_from_parameters(
        net, bus[2], bus[3], sn_mva=1.0, vn_hv_kv=10.0, vn_lv_kv=0.4, vkr_percent=1.0, vk_percent=6.0, pfe_kw=0.0,
        i0_percent=0.0, tap_side="hv", tap_neutral=0, tap_min=-2, tap_max=2, tap_step_percent=2.5, tap_pos=2,
        tap_changer_type="Ratio",
    )  # fmt: skip
    for at, p_mw in zip(bus[1:], (*loads, 0.7), strict=True):
        pp.create_load(net, at, p_mw, 0.2 * p_mw)
    pp.runpp(net, tolerance_mva=1e-9)
    branch = Network.from_pandapower(net).power_flow(method=method, tol_pu=1e-6 if method == "zbus" else 1e-10).branch
    arms = branch.loading_percent[branch.index.str.startswith("trafo3w")]
    tolerance = 1e-3 if method == "zbus" else 1e-5  # float32 on JAX
    assert arms.idxmax().endswith(fullest)
    assert arms.max() == pytest.approx(net.res_trafo3w.loading_percent[0], rel=tolerance)
    two = branch.loading_percent[~branch.index.str.startswith("trafo3w")]
    assert two.max() == pytest.approx(net.res_trafo.loading_percent[0], rel=tolerance)


def test_a_bus_without_a_name_takes_a_free_one():
    net = nw.case14()  # names "1" to "14", index 0 to 13
    new = pp.create_bus(net, vn_kv=net.bus.vn_kv[1])
    pp.create_line_from_parameters(net, 1, new, 1.0, 0.1, 0.3, 10.0, 1.0)
    network = Network.from_pandapower(net)
    assert network.buses.name[14] == "14 #2"
    assert len(set(network.buses.name)) == 15


def test_open_switches_keep_their_names():
    net = awkward_net()
    net.switch.loc[net.switch.et == "l", "name"] = [f"Q{k}" for k in range((net.switch.et == "l").sum())]
    network = Network.from_pandapower(net)
    kinds = dict(zip(network.branches.name, network.branches.kind, strict=True))
    assert {name for name in kinds if name.startswith("Q")} == {"Q0", "Q1"}  # at the ends that stay charged
    assert kinds["Q0"] == kinds["tie"] == "switch"


@pytest.mark.parametrize(("hv", "lv"), [("lv", "hv"), ("hv", "lv")])
def test_a_rated_voltage_far_from_that_of_its_bus_is_told(hv, lv):
    net = pp.create_empty_network(f_hz=50)
    at = {"hv": pp.create_bus(net, 110), "lv": pp.create_bus(net, 20)}
    pp.create_ext_grid(net, at["hv"], 1.0)
    pp.create_transformer(net, at[hv], at[lv], "25 MVA 110/20 kV", name="T")
    pp.create_load(net, at["lv"], 3, 1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Network.from_pandapower(net)
    said = [str(warning.message) for warning in told if warning.category is NetworkWarning]
    if hv == "hv":
        assert not said
    else:
        assert 'trafo 0 "T" has vn_hv_kv = 110 kV at bus 1 of vn_kv = 20 kV' in said[0]
        assert "swapped" in said[0]


def test_shares_that_runpp_spreads_over_a_bus_are_told():
    net = two_windings()
    pp.create_sgen(net, 1, 2.0)
    assert not Network.from_pandapower(net).loads.by_voltage.any()
    net.load["const_z_p_percent"] = 40.0
    with pytest.warns(NetworkWarning, match="runpp applies the mean of the shares"):
        Network.from_pandapower(net)


def test_tap_dependent_impedance_of_older_nets_is_refused_by_name():
    net = two_windings()
    net.trafo = net.trafo.drop(columns=["tap_dependency_table", "id_characteristic_table"])
    net.trafo["tap_dependent_impedance"] = True
    with pytest.raises(NetworkError, match="tap-dependent impedance of trafo 0"):
        Network.from_pandapower(net)


@pytest.mark.parametrize("losses", ["hv", "mv", "lv", "star"])
@pytest.mark.parametrize("model", ["t", "pi"])
def test_user_options_are_obeyed(losses, model):
    net = pp.create_empty_network(f_hz=50)
    bus = [pp.create_bus(net, kv) for kv in (110, 20, 10)]
    pp.create_ext_grid(net, bus[0], 1.02)
    pp.create_transformer3w_from_parameters(
        net, *bus, vn_hv_kv=110, vn_mv_kv=20, vn_lv_kv=10, sn_hv_mva=40, sn_mv_mva=25, sn_lv_mva=15, vk_hv_percent=10,
        vk_mv_percent=11, vk_lv_percent=9, vkr_hv_percent=0.3, vkr_mv_percent=0.3, vkr_lv_percent=0.3, pfe_kw=300,
        i0_percent=5,
    )  # fmt: skip
    for at in (1, 2):
        pp.create_load(net, bus[at], 8, 3)
    pp.set_user_pf_options(net, trafo3w_losses=losses, trafo_model=model)
    found = Network.from_pandapower(net).power_flow(tol_pu=1e-11)
    pp.runpp(net, **TIGHT)
    assert np.abs(found.bus.v_pu[:3] - net.res_bus.vm_pu).max() < 1e-8
    assert found.branch.loading_percent.max() == pytest.approx(net.res_trafo3w.loading_percent[0], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distributed_slack": True}, "option distributed_slack = True"),
        ({"trafo_loading": "power"}, "only 'current' is represented"),
        ({"trafo_modl": "pi"}, 'did you mean "trafo_model"'),
        ({"calculate_voltage_angles": "auto"}, "choose True or False"),
    ],
)
def test_options_that_ask_for_another_model_are_refused(options, words):
    net = two_windings()
    pp.set_user_pf_options(net, **options)
    with pytest.raises(NetworkError) as error:
        Network.from_pandapower(net)
    assert words in str(error.value)


def test_elements_at_a_bus_that_is_not_there_are_refused():
    net = two_windings()
    net.load.loc[0, "bus"] = 99
    with pytest.raises(NetworkError, match="a bus that the net does not have at load 0"):
        Network.from_pandapower(net)
