"""Generators, several sources, three-winding transformers, wards, DC lines and ZIP loads, against runpp."""

from __future__ import annotations

import copy

import numpy as np
import pandapower as pp
import pytest
from network_equations import columns_equal, mismatch_mva

from powergrid.core.errors import NetworkError
from powergrid.networks.network import Network
from powergrid.powerflow import newton

TIGHT = {"tolerance_mva": 1e-9, "numba": False, "enforce_q_lims": True}
LINE = {"r_ohm_per_km": 0.06, "x_ohm_per_km": 0.4, "c_nf_per_km": 9.0, "max_i_ka": 0.6}


def everything() -> pp.pandapowerNet:
    """A meshed 110 kV net with everything that a distribution feeder has not."""
    net = pp.create_empty_network(name="everything", f_hz=50.0)
    west, mid, east, far, mv, lv, remote = (
        pp.create_bus(net, kv, name=name)
        for kv, name in [
            (110, "west"), (110, "mid"), (110, "east"), (110, "far"), (20, "mv"), (10, "lv"), (110, "remote"),
        ]
    )  # fmt: skip
    pp.create_ext_grid(net, west, vm_pu=1.02, va_degree=12.0)
    pp.create_ext_grid(net, far, vm_pu=1.01, va_degree=9.0, name="second")
    for ends in [(west, mid), (mid, east), (east, far), (west, east)]:
        pp.create_line_from_parameters(net, *ends, 30.0, **LINE)
    pp.create_transformer3w_from_parameters(
        net, mid, mv, lv, vn_hv_kv=112.0, vn_mv_kv=20.5, vn_lv_kv=10.4, sn_hv_mva=40.0, sn_mv_mva=25.0, sn_lv_mva=15.0,
        vk_hv_percent=11.0, vk_mv_percent=12.0, vk_lv_percent=9.0, vkr_hv_percent=0.4, vkr_mv_percent=0.5,
        vkr_lv_percent=0.3, pfe_kw=30.0, i0_percent=0.2, shift_mv_degree=30.0, shift_lv_degree=150.0, tap_side="mv",
        tap_neutral=0, tap_min=-8, tap_max=8, tap_pos=2, tap_step_percent=1.2, tap_changer_type="Ratio", name="T3",
    )  # fmt: skip
    pp.create_load(net, mv, 12.0, 4.0, const_z_p_percent=30.0, const_i_q_percent=20.0, const_z_q_percent=10.0)
    pp.create_load(net, lv, 6.0, 2.0, const_i_p_percent=45.0)
    pp.create_gen(net, east, p_mw=25.0, vm_pu=1.03, min_q_mvar=-20.0, max_q_mvar=6.0, scaling=0.9, name="small")
    pp.create_gen(net, mv, p_mw=3.0, vm_pu=1.0, min_q_mvar=-30.0, max_q_mvar=30.0, name="large")
    pp.create_ward(net, mid, ps_mw=2.0, qs_mvar=0.7, pz_mw=1.1, qz_mvar=-0.4, name="W")
    pp.create_xward(
        net, east, ps_mw=1.0, qs_mvar=0.2, pz_mw=0.3, qz_mvar=0.1, r_ohm=4.0, x_ohm=25.0, vm_pu=1.01, name="X"
    )
    pp.create_dcline(
        net, west, remote, p_mw=8.0, loss_percent=1.5, loss_mw=0.1, vm_from_pu=1.02, vm_to_pu=1.0, name="D"
    )
    pp.create_line_from_parameters(net, remote, east, 60.0, **LINE)
    pp.create_motor(net, mid, pn_mech_mw=0.8, cos_phi=0.86, efficiency_percent=95.0, loading_percent=80.0)
    return net


def star_tap(net: pp.pandapowerNet) -> None:
    net.trafo3w["tap_at_star_point"] = True
    net.trafo3w["tap_step_degree"] = 20.0


def lv_tap_and_losses(net: pp.pandapowerNet) -> None:
    net.trafo3w["tap_side"] = "hv"
    net.trafo3w["loss_side"] = "lv"


def open_arm(net: pp.pandapowerNet) -> None:
    pp.create_switch(net, 5, 0, et="t3", closed=False)
    pp.create_transformer_from_parameters(
        net,
        4,
        5,
        sn_mva=20.0,
        vn_hv_kv=20.0,
        vn_lv_kv=10.0,
        vk_percent=8.0,
        vkr_percent=0.5,
        pfe_kw=9.0,
        i0_percent=0.1,
    )


VARIANTS = {
    "plain": lambda net: None,
    "tap at the star point": star_tap,
    "tap and losses elsewhere": lv_tap_and_losses,
    "arm open": open_arm,
    "bus dead": lambda net: net.bus.loc.__setitem__((5, "in_service"), False),
    "line back": lambda net: net.dcline.loc.__setitem__((0, "p_mw"), -5.0),
    "slack generator": lambda net: net.gen.loc.__setitem__((0, "slack"), True),
}


def voltages(net: pp.pandapowerNet) -> np.ndarray:
    """Voltages of the buses in service, turned so that the first source is at angle 0."""
    result = net.res_bus[net.bus.in_service]
    degree = result.va_degree - net.ext_grid.va_degree.iloc[0]
    return (result.vm_pu * np.exp(1j * np.deg2rad(degree))).to_numpy()


@pytest.fixture(params=VARIANTS, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[pp.pandapowerNet, Network]:
    net = everything()
    VARIANTS[request.param](net)
    network = Network.from_pandapower(net)
    pp.runpp(net, **TIGHT)
    return net, network


def test_newton_equals_runpp(case) -> None:
    net, network = case
    result = network.power_flow("newton", tol_pu=1e-10)
    assert result.converged
    v = (result.bus["v_pu"] * np.exp(1j * np.deg2rad(result.bus["va_degree"]))).to_numpy()
    theirs = voltages(net)
    assert np.abs(v[: len(theirs)] - theirs).max() < 1e-8
    slack = net.res_ext_grid.p_mw.sum() + net.res_gen.p_mw[net.gen.slack].sum()
    assert result.slack.p_mw == pytest.approx(slack, abs=1e-6)
    names = [name for name, slack in zip(net.gen.name, net.gen.slack, strict=True) if not slack]
    for name in names:
        assert result.generators.loc[name, "q_mvar"] == pytest.approx(
            net.res_gen.q_mvar[net.gen.name == name].item(), abs=1e-5
        )


def test_round_trip_gives_the_same_columns_and_flow(case) -> None:
    net, network = case
    back = network.to_pandapower()
    assert columns_equal(network, Network.from_pandapower(back)) == []
    pp.runpp(back, **TIGHT)
    theirs = voltages(net)
    assert np.abs(voltages(back)[: len(theirs)] - theirs).max() < 1e-8


def test_user_net_is_not_altered() -> None:
    net = everything()
    before = copy.deepcopy(net)
    Network.from_pandapower(net)
    assert pp.toolbox.nets_equal(before, net)


def test_elements_become_what_the_docstring_says() -> None:
    network = Network.from_pandapower(everything())
    assert [name for name in network.branches.name if name.startswith("T3")] == ["T3.hv", "T3.mv", "T3.lv"]
    assert {"T3@star", "X@inner"} <= set(network.buses.name)
    assert network.generators.name == ("small", "large", "D.from", "D.to", "X")
    assert network.generators.p_mw == pytest.approx([22.5, 3.0, -8.0, 8.0 * 0.985 - 0.1, 0.0])
    assert network.generators.q_max_mvar[0] == 6.0
    assert np.isinf(network.generators.q_min_mvar[-1])
    assert network.sources.name == ("second",)
    assert network.sources.angle_degree == pytest.approx([-3.0])
    assert network.loads.by_voltage.tolist() == [True, True, False, False, False]


def test_the_unlimited_flow_equals_runpp_without_limits() -> None:
    net = everything()
    network = Network.from_pandapower(net)
    pp.runpp(net, tolerance_mva=1e-9, numba=False)
    flow = newton.solve(newton.plan(network, tol_pu=1e-10, q_limits=False), network.node_load())
    v, theirs = flow.v_re + 1j * flow.v_im, voltages(net)
    assert np.abs(v[: len(theirs)] - theirs).max() < 1e-8
    back = Network.from_pandapower(net)
    assert mismatch_mva(back, v) < 1e-7


def test_loads_of_one_bus_that_differ_need_bus_loads() -> None:
    net = everything()
    pp.create_load(net, 4, 1.0, 0.5, name="constant")
    network = Network.from_pandapower(net)
    with pytest.raises(NetworkError, match=r"load_0.*constant.*bus_loads=True"):
        network.to_pandapower()
    back = network.to_pandapower(bus_loads=True)
    pp.runpp(back, **TIGHT)
    result = network.power_flow("newton", tol_pu=1e-10)
    assert np.abs(result.bus["v_pu"].to_numpy() - back.res_bus.vm_pu.to_numpy()).max() < 1e-8
