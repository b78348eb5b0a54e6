"""A guest behind a transformer, an added bus, scaled loads: nothing is lost and the physics is that of the parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powergrid.core.errors import NetworkError
from powergrid.networks import Network, compose, network, scaled, with_bus
from powergrid.networks.to_pandapower import upstream_gain

UNIT = {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75}
HOST, GUEST = network("ieee34", load_scale=0.3, taps="neutral"), network("ieee13", taps="neutral")


def solve(net: Network):
    converted = net.to_pandapower()
    pp.runpp(
        converted,
        tolerance_mva=1e-9,
        init_vm_pu=net.source_v_pu * upstream_gain(net),
        init_va_degree="dc",
        numba=False,
    )
    return converted


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(HOST.buses.name), st.floats(0.0, 2.0))
def test_total_load_and_shunts_are_kept(at, load_scale):
    both = compose(HOST, GUEST, at, name="mg", transformer=UNIT, load_scale=load_scale)
    for table in ("loads", "shunts"):
        host, guest, sum_ = (getattr(net, table) for net in (HOST, GUEST, both))
        assert sum_.p_mw.sum() == pytest.approx(host.p_mw.sum() + load_scale * guest.p_mw.sum())
        assert sum_.q_mvar.sum() == pytest.approx(host.q_mvar.sum() + load_scale * guest.q_mvar.sum())
    assert len(both.buses.name) == len(HOST.buses.name) + len(GUEST.buses.name)
    assert both.branches.from_bus[both.branch("mg.pcc")] == HOST.bus(at)
    assert both.branches.to_bus[both.branch("mg.pcc")] == both.bus("mg.650")


def test_guest_carries_its_prefix_and_area_and_keeps_its_regulators():
    both = compose(HOST, GUEST, "830", name="mg1", transformer=UNIT)
    assert set(both.buses.area) == {"", "mg1"}
    assert both.buses.area[both.bus("mg1.671")] == "mg1"
    assert [both.branches.name[k] for k in both.regulators.branch] == ["814-RG10", "852-RG11", "mg1.650-RG60"]
    assert both.source_bus == HOST.source_bus
    assert both.loads.bus[both.loads.name.index("mg1.634")] == both.bus("mg1.634")
    assert both.shunts.bus[both.shunts.name.index("mg1.675")] == both.bus("mg1.675")


def test_power_through_the_pcc_is_the_guest_alone_at_the_same_head_voltage():
    both = compose(HOST, GUEST, "808", name="mg", transformer=UNIT, load_scale=0.2)
    converted = solve(both)
    head = both.bus("mg.650")
    alone = scaled(GUEST, load=0.2, shunt=0.2).to_pandapower()
    alone.ext_grid["vm_pu"] = converted.res_bus.vm_pu[head]
    pp.runpp(alone, tolerance_mva=1e-9, numba=False)
    pcc = converted.trafo.index[converted.trafo.name == "mg.pcc"][0]
    assert -converted.res_trafo.p_lv_mw[pcc] == pytest.approx(alone.res_ext_grid.p_mw[0], abs=1e-8)
    assert -converted.res_trafo.q_lv_mvar[pcc] == pytest.approx(alone.res_ext_grid.q_mvar[0], abs=1e-8)


def test_pcc_transformer_has_the_stated_losses():
    both = compose(HOST, GUEST, "800", name="mg", transformer=UNIT, load_scale=0.2)
    row = solve(both)
    pcc = row.trafo.index[row.trafo.name == "mg.pcc"][0]
    flow = row.res_trafo.loc[pcc]
    v_lv = row.res_bus.vm_pu[both.bus("mg.650")]
    s_pu = np.hypot(flow.p_lv_mw, flow.q_lv_mvar) / UNIT["sn_mva"]
    assert flow.pl_mw == pytest.approx(0.0075 * (s_pu / v_lv) ** 2 * UNIT["sn_mva"], rel=1e-6)


def test_substation_of_the_guest_is_removed():
    net = nw.create_kerber_landnetz_freileitung_1()
    guest = Network.from_pandapower(net, name="village")
    host = replace(network("case33bw"), f_hz=50.0)
    both = compose(host, guest, "17", name="village", transformer={**UNIT, "sn_mva": 0.16})
    assert len(both.buses.name) == len(host.buses.name) + len(guest.buses.name) - 1
    assert not [
        k for k, kind in enumerate(both.branches.kind) if kind == "transformer" and k != both.branch("village.pcc")
    ]
    assert both.loads.p_mw.sum() == pytest.approx(host.loads.p_mw.sum() + guest.loads.p_mw.sum())
    assert not np.isnan(solve(both).res_bus.vm_pu).any()


def test_three_guests_at_once_solve():
    grid = HOST
    for number, at in enumerate(("808", "830", "834"), start=1):
        grid = compose(grid, GUEST, at, name=f"mg{number}", transformer=UNIT, load_scale=0.2)
    solved = solve(grid)
    assert len(grid.regulators.branch) == 5
    assert solved.res_bus.vm_pu.between(0.8, 1.1).all()
    losses = solved.res_line.pl_mw.sum() + solved.res_trafo.pl_mw.sum()
    assert solved.res_ext_grid.p_mw[0] == pytest.approx(grid.loads.p_mw.sum() + losses, abs=1e-7)


def test_composition_survives_the_round_trip_through_pandapower():
    grid = compose(HOST, network("ieee13"), "830", name="mg", transformer=UNIT, load_scale=0.2)
    back = Network.from_pandapower(grid.to_pandapower())
    assert back.buses.area == grid.buses.area
    assert sorted(back.branches.name) == sorted(grid.branches.name)
    order = [back.branch(name) for name in grid.branches.name]
    for column in ("r_pu", "x_pu", "b_pu", "ratio", "rating", "closed", "from_bus", "to_bus"):
        ours, theirs = getattr(grid.branches, column), getattr(back.branches, column)[order]
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-12, equal_nan=True), column
    assert np.allclose(back.regulators.tap, grid.regulators.tap)
    assert np.allclose(solve(back).res_bus.vm_pu, solve(grid).res_bus.vm_pu, atol=1e-10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"at": "88"}, 'did you mean "888"|did you mean "808"'),
        ({"name": ""}, "empty or already taken"),
        ({"transformer": {"sn_mva": 1.0, "vk_percent": 5.0}}, "lacks vkr_percent"),
        ({"transformer": {**UNIT, "sn_kva": 1.0}}, 'did you mean "sn_mva"'),
        ({"transformer": {**UNIT, "vkr_percent": 6.0}}, "between 0 and vk_percent"),
        ({"guest": Network.from_pandapower(nw.create_cigre_network_lv())}, "50.0 Hz"),
    ],
)
def test_composition_errors_say_what_to_do(change, words):
    arguments = {"host": HOST, "guest": GUEST, "at": "808", "name": "mg", "transformer": UNIT} | change
    host, guest, at = (arguments.pop(key) for key in ("host", "guest", "at"))
    with pytest.raises(NetworkError, match=words):
        compose(host, guest, at, **arguments)


def test_a_name_can_be_used_once():
    both = compose(HOST, GUEST, "808", name="mg", transformer=UNIT)
    with pytest.raises(NetworkError, match="already taken"):
        compose(both, GUEST, "830", name="mg", transformer=UNIT)


def test_added_bus_at_the_same_voltage_is_a_closed_switch():
    grid = with_bus(HOST, "MG1_PCC", 24.9, "806")
    branch = grid.branch("806-MG1_PCC")
    assert grid.branches.kind[branch] == "switch"
    assert grid.branches.closed[branch]
    assert grid.buses.vn_kv[grid.bus("MG1_PCC")] == 24.9


def test_added_bus_at_another_voltage_gets_the_default_transformer():
    grid = with_bus(HOST, "MG1_PCC", 12.47, "800")
    branch, branches = grid.branch("800-MG1_PCC"), grid.branches
    assert branches.kind[branch] == "transformer"
    assert branches.rating[branch] == 2.5
    assert np.hypot(branches.r_pu[branch], branches.x_pu[branch]) == pytest.approx(0.0575 / 2.5)
    assert branches.x_pu[branch] / branches.r_pu[branch] == pytest.approx(8.0)
    assert solve(grid).res_bus.vm_pu[grid.bus("MG1_PCC")] == pytest.approx(HOST.source_v_pu)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("new", 4.16, "8000"), 'did you mean "800"'),
        (("800", 4.16, "802"), "already has a bus"),
        (("new", -4.16, "802"), "must be positive"),
    ],
)
def test_added_bus_errors(arguments, words):
    with pytest.raises(NetworkError, match=words):
        with_bus(HOST, *arguments)


def test_scaled_touches_loads_and_shunts_only():
    twice = scaled(GUEST, load=2.0, shunt=0.5)
    assert twice.loads.p_mw.sum() == pytest.approx(2 * GUEST.loads.p_mw.sum())
    assert twice.shunts.q_mvar.sum() == pytest.approx(0.5 * GUEST.shunts.q_mvar.sum())
    assert twice.branches is GUEST.branches
