"""Prices of the dc model: published systems against independent programs."""

from __future__ import annotations

import warnings

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from powergrid import markets
from powergrid.core.errors import ArgumentError, NetworkError, NetworkWarning, UnknownNameError
from powergrid.markets import Blocks
from powergrid.networks import Network, network

from .conftest import angles_optimum, case30_generators, pjm_5_bus

PJM_MW = np.array([0.0, 300.0, 300.0, 400.0, 0.0])
"""Load of the 5-bus system; pandapower's file has one of its offers as a static generator, which is negative load."""
METHODS = pytest.mark.parametrize("method", markets.METHODS)


@METHODS
def test_pjm_5_bus(method: str) -> None:
    """The prices that Li and Bo publish, and those of an independent program."""
    system = pjm_5_bus()
    plan = markets.plan(network("case5"), offer_bus=system.buses)
    cleared = markets.clear(plan, system.blocks, load_mw=PJM_MW, method=method)
    independent = angles_optimum(nw.case5(), [int(b) for b in system.buses], system.blocks, PJM_MW)
    assert cleared.status == markets.SOLVED
    np.testing.assert_allclose(cleared.price_per_mwh, [16.98, 26.38, 30.00, 39.94, 10.00], atol=0.005)
    np.testing.assert_allclose(cleared.price_per_mwh, independent.price, atol=1e-4)
    np.testing.assert_allclose(cleared.offer_mw, independent.p_mw, atol=0.1)
    np.testing.assert_allclose(cleared.cost, independent.cost, rtol=1e-6)


def scale_with_binding_lines(plan: markets.Plan, blocks: Blocks, count: int) -> float:
    """Least factor on the load, in steps of 2 %, at which so many lines or more bind while all load is served."""
    scales = np.arange(1.0, 1.4, 0.02)
    cleared = markets.clear(plan, blocks, load_mw=scales[:, None] * plan.load_mw)
    bind = np.sum(cleared.limit_price_per_mwh > 1e-6, axis=-1) >= count
    return float(scales[np.argmax(bind & (cleared.status == markets.SOLVED))])


@METHODS
@pytest.mark.parametrize("binding", [0, 1, 2])
def test_case30_until_two_lines_bind(method: str, binding: int) -> None:
    system = case30_generators()
    plan = markets.plan(network("case30"), offer_bus=system.buses)
    scale = scale_with_binding_lines(plan, system.blocks, binding)
    cleared = markets.clear(plan, system.blocks, load_mw=scale * plan.load_mw, method=method)
    net = nw.case30()
    bus = [int(net.bus.index[net.bus.name.astype(str) == name][0]) for name in system.buses]
    independent = angles_optimum(net, bus, system.blocks, scale * plan.load_mw)
    assert cleared.status == markets.SOLVED
    assert np.sum(cleared.limit_price_per_mwh > 1e-3) >= binding
    assert (np.ptp(cleared.price_per_mwh) > 0.01) == (binding > 0)
    np.testing.assert_allclose(cleared.price_per_mwh, independent.price, atol=1e-4)
    np.testing.assert_allclose(cleared.cost, independent.cost, rtol=1e-6)
    at_generator = np.bincount(plan.offer_bus, cleared.offer_mw)
    np.testing.assert_allclose(at_generator, np.bincount(plan.offer_bus, independent.p_mw), atol=1e-4 * 189.2)


def test_prices_of_pandapowers_own_optimal_power_flow() -> None:
    """An interior-point method on quadratic costs; blocks follow them."""
    net = nw.case30()
    net.load.p_mw *= 1.2
    pp.rundcopp(net)
    system = case30_generators(200)
    plan = markets.plan(network("case30", load_scale=1.2), offer_bus=system.buses)
    cleared = markets.clear(plan, system.blocks)
    assert np.sum(cleared.limit_price_per_mwh > 1e-3) >= 1
    np.testing.assert_allclose(cleared.price_per_mwh, net.res_bus.lam_p, atol=0.02)
    np.testing.assert_allclose(cleared.cost, net.res_cost, rtol=1e-5)


@pytest.mark.parametrize("build", [nw.case118, nw.case300], ids=lambda build: build.__name__)
def test_flows_with_taps_shifts_and_shunts(build) -> None:
    """Every branch's flow at a given dispatch is that of pandapower's DC power flow."""
    net = build()
    if build is nw.case118:
        net.trafo.loc[net.trafo.index[:3], "shift_degree"] += 7.0
    pp.rundcpp(net)
    grid = Network.from_pandapower(net)
    plan = markets.plan(grid, offer_bus=[0], monitored=())
    lines = [i for i, kind in enumerate(grid.branches.kind) if kind == "line"]
    fed = np.zeros(len(net.bus))
    for table in ("gen", "ext_grid"):
        at = net.bus.index.get_indexer(net[table].bus)
        np.add.at(fed, at, net[f"res_{table}"].p_mw)
    factor, constant = plan.dc.factor, plan.dc.constant
    flow = factor @ (fed - plan.load_mw - plan.shunt_mw) + constant
    theirs = net.res_line.p_from_mw[net.line.in_service].to_numpy()
    np.testing.assert_allclose(flow[lines], theirs, atol=1e-6 * np.abs(theirs).max())


def test_a_resistive_feeder_warns_and_a_transmission_network_does_not() -> None:
    with pytest.warns(NetworkWarning, match=r"median R/X is 2\.01"):
        markets.plan(network("ieee34"), offer_bus=["800"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", NetworkWarning)
        markets.plan(network("case30"), offer_bus=["1"])


def test_a_copper_plate_has_one_price() -> None:
    system = pjm_5_bus()
    plan = markets.plan(network("case5"), model="copper_plate", offer_bus=system.buses)
    cleared = markets.clear(plan, system.blocks, load_mw=PJM_MW)
    np.testing.assert_allclose(cleared.price_per_mwh, 30.0, atol=1e-9)
    assert np.ptp(cleared.congestion_per_mwh) == 0


@METHODS
def test_load_above_all_offers_is_shed_at_its_price(method: str) -> None:
    system = pjm_5_bus()
    plan = markets.plan(network("case5"), model="copper_plate", offer_bus=system.buses)
    cleared = markets.clear(plan, system.blocks, load_mw=2.0 * PJM_MW, method=method)
    assert cleared.status == markets.UNSERVED
    np.testing.assert_allclose(cleared.unserved_mw.sum(), 2000.0 - 1530.0, rtol=1e-6)
    np.testing.assert_allclose(cleared.price_per_mwh, 10_000.0, rtol=1e-6)


@METHODS
def test_negative_load_without_a_taker_is_curtailed(method: str) -> None:
    plan = markets.plan(network("case5"), offer_bus=["0"], bid_bus=["1"], load_bus=["2", "3"])
    load = np.array([0.0, 0.0, -100.0, 20.0, 0.0])
    cleared = markets.clear(plan, Blocks([50.0], [20.0]), Blocks([30.0], [15.0]), load_mw=load, method=method)
    assert cleared.status == markets.SOLVED
    np.testing.assert_allclose(cleared.unserved_mw, [0, 0, -50.0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(cleared.bid_mw, 30.0, atol=1e-4)
    np.testing.assert_allclose(cleared.price_per_mwh, 0.0, atol=1e-4)


@METHODS
def test_a_limit_that_nothing_can_respect_is_exceeded_and_flagged(method: str) -> None:
    """A phase shifter drives more through a line than its rating, whatever is dispatched."""
    net = pp.create_empty_network(sn_mva=1.0)
    a, b = (pp.create_bus(net, 110.0) for _ in range(2))
    pp.create_ext_grid(net, a)
    pp.create_load(net, b, 1.0)
    pp.create_line_from_parameters(net, a, b, 10.0, 0.05, 0.4, 0.0, 0.05)
    pp.create_transformer_from_parameters(net, a, b, 100.0, 110.0, 110.0, 0.3, 10.0, 0.0, 0.0, shift_degree=30.0)
    grid = Network.from_pandapower(net)
    plan = markets.plan(grid, offer_bus=[0])
    cleared = markets.clear(plan, Blocks([10.0], [20.0]), method=method)
    assert cleared.status == markets.LIMIT_EXCEEDED
    assert np.abs(cleared.flow_mw[0]) > plan.limit_mva[0]
    assert all(np.isfinite(column).all() for column in cleared)


@METHODS
def test_reserve_takes_its_room_from_energy(method: str) -> None:
    """Two units at one bus: the cheap one keeps room for reserve, whose price is what that costs."""
    plan = markets.plan(
        network("case5"),
        offer_bus=["0", "0"],
        offer_participant=["cheap", "dear"],
        reserve_participant=["cheap"],
        load_bus=["0"],
        reserve_shortage_per_mwh=500.0,
    )
    load = np.array([100.0, 0, 0, 0, 0])
    offers, reserve = Blocks([100.0, 100.0], [10.0, 30.0]), Blocks([40.0], [2.0])
    cleared = markets.clear(plan, offers, load_mw=load, reserve=reserve, reserve_mw=15.0, method=method)
    np.testing.assert_allclose(cleared.offer_mw, [85.0, 15.0], atol=1e-4)
    np.testing.assert_allclose(cleared.reserve_mw, [15.0], atol=1e-4)
    np.testing.assert_allclose(cleared.reserve_price_per_mwh, 22.0, atol=1e-4)
    np.testing.assert_allclose(cleared.price_per_mwh, 30.0, atol=1e-4)
    paid = markets.payments(np, plan, cleared, load)
    np.testing.assert_allclose(paid.participants, [85.0 * 30.0 + 15.0 * 22.0, 15.0 * 30.0], atol=0.01)
    short = markets.clear(plan, offers, load_mw=load, reserve=reserve, reserve_mw=50.0, method=method)
    assert short.status == markets.UNSERVED
    np.testing.assert_allclose(short.reserve_shortage_mw, 10.0, atol=1e-4)
    np.testing.assert_allclose(short.reserve_price_per_mwh, 500.0, atol=1e-4)


def test_the_reference_moves_the_components_and_not_the_price() -> None:
    system = pjm_5_bus()
    found = {}
    for reference in ("load", "3", [1.0, 0, 0, 0, 1.0]):
        plan = markets.plan(network("case5"), offer_bus=system.buses, reference=reference)
        found[str(reference)] = markets.clear(plan, system.blocks, load_mw=PJM_MW)
    prices = [cleared.price_per_mwh for cleared in found.values()]
    np.testing.assert_allclose(prices[1:], prices[:1] * 2, atol=1e-9)
    assert found["3"].congestion_per_mwh[3] == 0
    np.testing.assert_allclose(found["3"].energy_per_mwh, prices[0][3])
    np.testing.assert_allclose(found["load"].energy_per_mwh, prices[0] @ [0, 0.3, 0.3, 0.4, 0])


def without_reactance() -> Network:
    net = pp.create_empty_network()
    a, b = (pp.create_bus(net, 110.0) for _ in range(2))
    pp.create_ext_grid(net, a)
    pp.create_load(net, b, 1.0)
    pp.create_line_from_parameters(net, a, b, 10.0, 0.05, 0.0, 0.0, 0.05)
    return Network.from_pandapower(net)


def test_what_cannot_be_planned_is_refused_by_name() -> None:
    five = network("case5")
    with pytest.raises(UnknownNameError, match='"lindistflow"'):
        markets.plan(five, model="lindistflo", offer_bus=["0"])
    with pytest.raises(UnknownNameError, match='"ipm"'):
        markets.plan(five, method="ipn", offer_bus=["0"])
    with pytest.raises(NetworkError, match='no bus "9"'):
        markets.plan(five, offer_bus=["9"])
    with pytest.raises(NetworkError, match=r"no bus 9; .* 0 to 4"):
        markets.plan(five, offer_bus=[9])
    with pytest.raises(NetworkError, match="three phases"):
        markets.plan(network("ieee34", phases="three"), offer_bus=["800"])
    with pytest.raises(NetworkError, match="no reactance"):
        markets.plan(without_reactance(), offer_bus=[0])
    with pytest.raises(ArgumentError, match="at least one block"):
        markets.plan(five, offer_bus=[])
    with pytest.raises(ArgumentError, match="voltage_bus"):
        markets.plan(five, offer_bus=["0"], voltage_bus=["1"])
    with pytest.raises(UnknownNameError, match='"a"'):
        markets.plan(five, offer_bus=["0"], offer_participant=["a"], reserve_participant=["aa"])
    with pytest.raises(ArgumentError, match="limit_percent = -1"):
        markets.plan(five, offer_bus=["0"], limit_percent=-1)
    with pytest.raises(ArgumentError, match="5 weights"):
        markets.plan(five, offer_bus=["0"], reference=[1.0])


def test_what_cannot_be_cleared_is_refused_by_place_and_value() -> None:
    plan = markets.plan(network("case5"), offer_bus=["0", "3"])
    good = Blocks([10.0, 10.0], [1.0, 2.0])
    with pytest.raises(ArgumentError, match=r"offers.quantity_mw has shape \(1,\)"):
        markets.clear(plan, Blocks([10.0], [1.0, 2.0]))
    with pytest.raises(ArgumentError, match=r"bids.price_per_mwh has shape \(2,\)"):
        markets.clear_arrays(np, plan, Blocks(*map(np.array, good)), Blocks(np.zeros(0), np.zeros(2)), np.zeros(5))
    with pytest.raises(ArgumentError, match=r"offers.price_per_mwh\[1\] = nan"):
        markets.clear(plan, Blocks([10.0, 10.0], [1.0, np.nan]))
    with pytest.raises(ArgumentError, match=r"offers.quantity_mw\[0\] = -1"):
        markets.clear(plan, Blocks([-1.0, 10.0], [1.0, 2.0]))
    with pytest.raises(ArgumentError, match=r"holds 1e\+07; give prices below 2e\+06"):
        markets.clear(plan, Blocks([1.0, 10.0], [1e7, 2.0]))
    with pytest.raises(ArgumentError, match='bus "4", which is not'):
        markets.clear(plan, good, load_mw=np.eye(5)[4])
    with pytest.raises(ArgumentError, match="reserve_participant"):
        markets.clear(plan, good, reserve_mw=1.0)
    with pytest.raises(ArgumentError, match=r"offers \(3,\), offer prices \(3,\), load_mw \(2,\)"):
        markets.clear(plan, Blocks(np.ones((3, 2)), np.ones((3, 2))), load_mw=np.zeros((2, 5)))
    with pytest.raises(ArgumentError, match="do not fall"):
        markets.quadratic_blocks([1.0], [-1.0], [10.0], 3)
