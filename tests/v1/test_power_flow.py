"""Whatever a program edits in its net, the result tables are those of ``runpp``."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pandapower as pp
import pytest
from pandapower.networks import (
    case33bw,
    create_cigre_network_lv,
    create_cigre_network_mv,
    create_kerber_dorfnetz,
    four_loads_with_branches_out,
)
from powergrid.networks.ieee34 import IEEE34Bus
from powergrid.networks.ieee123 import IEEE123Bus

from powergrid.v1.power_flow import TablePowerFlow

RESULTS = (
    "res_bus", "res_line", "res_trafo", "res_ext_grid", "res_load", "res_sgen", "res_storage", "res_shunt",
    "res_switch", "res_gen",
)  # fmt: skip


def same_as_runpp(flow, *, expect=True):
    net = flow.net
    reference = copy.deepcopy(net)
    assert flow.solve() is expect
    assert net.converged is expect
    try:
        pp.runpp(reference, numba=False)
    except pp.LoadflowNotConverged:
        assert not expect
    for table in RESULTS:
        found, wanted = net[table], reference[table]
        if len(net[table.removeprefix("res_")]):
            assert found.index.equals(wanted.index), table
            assert list(found.columns) == list(wanted.columns), table
            np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8, err_msg=table)


@pytest.fixture
def cigre():
    return create_cigre_network_mv(with_der="all")


def edits(net):
    """Edits of every kind, one after the other."""
    yield "as it is"
    net.load.loc[3, "scaling"] = 0.3
    net.load.loc[5, "in_service"] = False
    yield "loads"
    net.sgen.loc[2, ["p_mw", "q_mvar"]] = 0.4, -0.1
    net.storage.loc[0, "p_mw"] = -0.5
    net.sgen.loc[4, "in_service"] = False
    yield "generators and storages"
    net.switch.loc[1, "closed"] = True
    yield "a switch closed: a loop"
    net.line.loc[2, "in_service"] = False
    yield "a line out of service"
    net.line.loc[2, "in_service"] = True
    net.line.loc[13, "in_service"] = False
    yield "a line out of service with an open switch"
    net.line.loc[13, "in_service"] = True
    net.switch.loc[3, "closed"] = False
    yield "a line open at both ends"
    net.switch.loc[3, "closed"] = True
    net.line.loc[13, "in_service"] = False
    net.switch.loc[1, "closed"] = False
    net.trafo.loc[1, ["tap_neutral", "tap_pos", "tap_step_percent"]] = 0, 2, 2.5
    net.trafo["tap_side"] = [None, "lv"]
    net.trafo["tap_changer_type"] = [None, "Ratio"]
    yield "a tap changer"
    net.trafo.loc[1, "tap_pos"] = -1
    yield "its tap"
    net.ext_grid.loc[0, ["vm_pu", "va_degree"]] = 1.01, 5.0
    yield "the external grid"
    pp.create_shunt(net, 5, q_mvar=-0.3, p_mw=0.01)
    yield "a new shunt"
    pp.create_load(net, 6, p_mw=0.1, q_mvar=0.02)
    yield "a new load"
    net.line.loc[0, ["length_km", "max_i_ka"]] = 4.0, 0.2
    yield "a line's data"


def test_every_edit_shows_at_the_next_solve(cigre):
    flow = TablePowerFlow(cigre)
    for what in edits(cigre):
        same_as_runpp(flow)
        assert flow.fallback == "", what


@pytest.mark.parametrize("build", [IEEE34Bus, IEEE123Bus])
def test_random_loads_and_taps(build):
    net = build("")
    flow, rng = TablePowerFlow(net), np.random.default_rng(3)
    for _ in range(6):
        net.load["scaling"] = rng.uniform(0.1, 0.9, len(net.load))
        net.trafo.loc[1, "tap_pos"] = int(rng.integers(-8, 9))
        net.shunt["step"] = rng.integers(0, 2, len(net.shunt)).astype(net.shunt["step"].dtype)
        same_as_runpp(flow)
    assert flow.fallback == ""
    if len(net.switch):
        net.switch.loc[2, "closed"] = False  # 54-94, one of the loops
        net.switch["in_ka"] = 0.4
        same_as_runpp(flow)


@pytest.mark.parametrize(
    "build", [case33bw, create_cigre_network_lv, create_kerber_dorfnetz, four_loads_with_branches_out]
)
def test_other_nets(build):
    """A base power of 10 MVA, ideal switches, shifting transformers, many equal feeders."""
    net = build()
    flow = TablePowerFlow(net)
    for scaling in (1.0, 0.4):
        net.load["scaling"] = scaling
        same_as_runpp(flow)
    net.trafo["shift_degree"] += 30.0
    net.sn_mva = 3.0
    same_as_runpp(flow)
    assert flow.fallback == ""


def test_a_collapse_is_runpp_s_too_and_leaves_no_trace(cigre):
    flow = TablePowerFlow(cigre)
    cigre.load.loc[3, "p_mw"] = 500.0
    same_as_runpp(flow, expect=False)
    cigre.load.loc[3, "p_mw"] = 0.3
    same_as_runpp(flow)


def test_what_was_read_does_not_change_at_the_next_solve(cigre):
    flow = TablePowerFlow(cigre)
    flow.solve()
    vm = cigre.res_bus.vm_pu.values
    before = vm.copy()
    cigre.load["scaling"] = 0.2
    flow.solve()
    assert (vm == before).all()
    assert (cigre.res_bus.vm_pu.values != before).any()


def with_generator(net):
    pp.create_gen(net, 4, p_mw=0.1, vm_pu=1.0)


def with_a_generator_out_of_service(net):
    pp.create_gen(net, 4, p_mw=0.1, vm_pu=1.0, in_service=False)


def with_a_bus_out_of_service(net):
    net.switch.loc[0, "closed"] = False
    net.bus.loc[6, "in_service"] = False


def with_voltage_dependent_load(net):
    net.load.loc[3, "const_z_p_percent"] = 50.0


def with_an_island(net):
    net.line.loc[9, "in_service"] = False
    net.line.loc[7, "in_service"] = False
    net.line.loc[8, "in_service"] = False


def with_two_grids(net):
    pp.create_ext_grid(net, 6, vm_pu=1.0)


@pytest.mark.parametrize(
    "change",
    [
        with_generator,
        with_a_generator_out_of_service,
        with_a_bus_out_of_service,
        with_voltage_dependent_load,
        with_an_island,
        with_two_grids,
    ],
)
def test_what_is_not_covered_goes_to_runpp_and_is_said_once(cigre, change):
    flow = TablePowerFlow(cigre)
    flow.solve()
    change(cigre)
    with pytest.warns(RuntimeWarning, match="runpp solves it"):
        same_as_runpp(flow)
    assert flow.fallback
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_as_runpp(flow)
