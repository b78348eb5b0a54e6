"""The lindistflow model: its equations against the AC power flow, its prices against an AC optimum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from powergrid import markets
from powergrid.core.errors import NetworkError
from powergrid.core.types import Control, NodeLoad
from powergrid.markets import Blocks, lindistflow
from powergrid.networks import Network, network
from powergrid.powerflow import sparse_lu

METHODS = pytest.mark.parametrize("method", markets.METHODS)
STEP_MW = 1e-4


def equations(grid: Network, dispatch_mw: np.ndarray, control: Control | None = None, **options):
    """A plan and its linear equations around a dispatch, at the network's own load."""
    plan = markets.plan(grid, model="lindistflow", offer_bus=[grid.source_bus], **options)
    return plan, lindistflow.linear(np, plan, plan.load_mw, plan.load_mvar, dispatch_mw, control or Control())


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee123", "case33bw", "microgrid_park"])
def test_the_equations_are_those_of_the_power_flow(name: str) -> None:
    """Losses, flows and voltages at the operating point, and their change with every bus's injection."""
    grid = network(name)
    m = len(grid.buses.name)
    load = grid.node_load()
    rng = np.random.default_rng(0)
    dispatch = np.where(rng.uniform(size=m) < 0.3, rng.uniform(0, 0.3, m), 0.0) * load.p_mw.sum() / 3
    plan, found = equations(grid, dispatch)
    inner = np.setdiff1d(np.arange(m), [grid.source_bus])
    flow = sparse_lu.plan(grid, tol_pu=1e-13, meters=plan.limited_branch.tolist())

    def solve(injection: np.ndarray):
        drawn = NodeLoad(plan.load_mw - injection, np.broadcast_to(plan.load_mvar, injection.shape))
        return sparse_lu.solve(flow, drawn)

    at = solve(dispatch)
    net = dispatch - plan.load_mw
    np.testing.assert_allclose(found.balance_constant + (1 - found.balance) @ net, at.loss_mw, atol=1e-7)
    np.testing.assert_allclose(found.voltage_constant + found.voltage @ net, at.v_pu[plan.limited_bus], atol=1e-7)
    np.testing.assert_allclose(found.flow_constant + found.flow @ net, at.p_meter_mw, atol=1e-6)

    step = STEP_MW * np.eye(m)[inner]
    more, less = solve(dispatch + step), solve(dispatch - step)
    rise = (more.loss_mw - less.loss_mw) / (2 * STEP_MW)
    np.testing.assert_allclose((1 - found.balance)[inner], rise, atol=1e-5 * max(1.0, np.abs(rise).max()))
    change = (more.v_pu - less.v_pu) / (2 * STEP_MW)
    np.testing.assert_allclose(found.voltage[:, inner], change[:, plan.limited_bus].T, atol=1e-5 * np.abs(change).max())


def test_unserved_demand_takes_its_reactive_power_along() -> None:
    grid = network("ieee34")
    plan, found = equations(grid, np.zeros(36))
    flow = sparse_lu.plan(grid, tol_pu=1e-13)
    loaded = np.flatnonzero(plan.load_mw > 0)
    share = STEP_MW / plan.load_mw[loaded]
    less = np.eye(36)[loaded] * share[:, None]
    shed = sparse_lu.solve(flow, NodeLoad(plan.load_mw * (1 - less), plan.load_mvar * (1 - less)))
    more = sparse_lu.solve(flow, NodeLoad(plan.load_mw * (1 + less), plan.load_mvar * (1 + less)))
    change = (shed.v_pu - more.v_pu)[:, plan.limited_bus] / (2 * STEP_MW)
    np.testing.assert_allclose(found.unserved_voltage[:, loaded], change.T, atol=1e-5)
    rise = (shed.loss_mw - more.loss_mw) / (2 * STEP_MW)
    np.testing.assert_allclose((1 - found.unserved_balance)[loaded], rise, atol=1e-5)


def test_taps_capacitors_and_the_source_follow_the_control() -> None:
    grid = network("ieee34")
    control = Control(
        tap_ratio=np.array([[1.0, 1.0], [1.05, 0.98]]),
        cap_on=np.array([[0.0, 1.0], [0.5, 0.0]]),
        v_source_pu=np.array([1.0, 1.03]),
    )
    plan = markets.plan(grid, model="lindistflow", offer_bus=["800"])
    load, reactive, none = (np.tile(0.4 * a, (2, 1)) for a in (plan.load_mw, plan.load_mvar, 0 * plan.load_mw))
    found = lindistflow.linear(np, plan, load, reactive, none, control)
    at = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-13), NodeLoad(load, reactive), control)
    v_pu = found.voltage_constant - (found.voltage @ load[..., None])[..., 0]
    np.testing.assert_allclose(v_pu, at.v_pu[:, plan.limited_bus], atol=1e-7)


class AcOptimum:
    """Least cost of generators on the AC power flow, found by sequential quadratic programming.

    The source, which is the first offer, supplies the rest and takes nothing back. Limits are those of voltages and of
    currents.
    """

    def __init__(self, grid: Network, plan: markets.Plan, offers: Blocks, v_pu: tuple[float, float]):
        self.plan, self.offers, self.v_pu = plan, offers, v_pu
        self.flow = sparse_lu.plan(grid, tol_pu=1e-13)

    def at(self, p_mw: np.ndarray, load_mw: np.ndarray):
        drawn = load_mw - np.bincount(self.plan.offer_bus[1:], p_mw, self.plan.n_bus)
        return sparse_lu.solve(self.flow, NodeLoad(drawn, self.plan.load_mvar))

    def cost(self, load_mw: np.ndarray) -> float:
        """Least cost [$/h]; from some starts the search wanders until its iterations end, so another one follows."""
        price, most = self.offers.price_per_mwh, self.offers.quantity_mw[1:]

        def money(p_mw: np.ndarray) -> float:
            return price[0] * float(self.at(p_mw, load_mw).p_slack_mw) + price[1:] @ p_mw

        def room(p_mw: np.ndarray) -> np.ndarray:
            at = self.at(p_mw, load_mw)
            v_pu = at.v_pu[self.plan.limited_bus]
            loading = at.loading[self.plan.limited_branch] / 100.0
            return 10 * np.concatenate([self.v_pu[1] - v_pu, v_pu - self.v_pu[0], 1.0 - loading, [at.p_slack_mw]])

        bounds = [(0.0, u) for u in most]
        limits = {"type": "ineq", "fun": room}
        options = {"ftol": 1e-12, "eps": 1e-6, "maxiter": 200}
        for share in (0.3, 0.5, 0.1, 0.7):
            found = minimize(money, share * most, bounds=bounds, constraints=[limits], method="SLSQP", options=options)
            if found.nit < options["maxiter"] and room(found.x).min() > -1e-5:
                return float(found.fun)
        raise AssertionError(f"no optimum from any start: {found}")


OFFERS = Blocks(np.array([5.0, 1.2, 0.5, 0.3, 0.3]), np.array([50.0, 30.0, 42.0, 45.0, 20.0]))
OFFER_BUS = ["800", "848", "890", "822", "848"]
BUSES = ["802", "812", "830", "834", "848", "890", "822"]


@METHODS
@pytest.mark.parametrize("limit", ["voltage", "line", "none"])
def test_prices_are_those_of_an_ac_optimum(limit: str, method: str) -> None:
    """Prices equal the rise of the AC optimum's cost with the load of each bus, to 1 % of the price of energy.

    Cheap generation at the end of the feeder meets the upper voltage limit, or the rating of a line if that is small.
    """
    grid = network("ieee34", load_scale=0.9).settled()
    v_pu = (0.90, 1.05) if limit == "voltage" else (0.7, 1.4)
    row = grid.branch("834-842")
    rating = grid.branches.rating.copy()
    if limit == "line":
        rating[row] = 0.02
    branches = grid.branches._replace(rating=rating)
    grid = Network(**{**vars(grid), "branches": branches})
    plan = markets.plan(
        grid, model="lindistflow", offer_bus=OFFER_BUS, v_min_pu=v_pu[0], v_max_pu=v_pu[1], monitored=["834-842"]
    )
    cleared = markets.clear(plan, OFFERS, method=method)
    assert cleared.status == markets.SOLVED
    assert (cleared.voltage_price_per_pu.max() > 1) == (limit == "voltage")
    assert (cleared.limit_price_per_mwh.max() > 1) == (limit == "line")
    optimum = AcOptimum(grid, plan, OFFERS, v_pu)
    step = 0.005
    for bus in BUSES:
        more = np.eye(36)[grid.bus(bus)] * step
        higher, lower = optimum.cost(plan.load_mw + more), optimum.cost(plan.load_mw - more)
        price = cleared.price_per_mwh[grid.bus(bus)]
        assert abs(price - (higher - lower) / (2 * step)) < 0.01 * 50.0, bus


def test_one_round_around_the_last_dispatch_is_the_fixed_point() -> None:
    grid = network("ieee34", load_scale=0.9).settled()
    plan = markets.plan(grid, model="lindistflow", offer_bus=OFFER_BUS, v_min_pu=0.9)
    settled = markets.clear(plan, OFFERS, rounds=6)
    again = markets.clear(plan, OFFERS, dispatch_mw=markets.traded(np, plan, settled))
    np.testing.assert_allclose(again.price_per_mwh, settled.price_per_mwh, atol=1e-6)
    first = markets.clear(plan, OFFERS, rounds=1)
    assert 1e-4 < np.abs(first.price_per_mwh - settled.price_per_mwh).max() < 0.03 * settled.energy_per_mwh


@METHODS
def test_components_add_up_and_the_losses_are_paid(method: str) -> None:
    grid = network("ieee34", load_scale=0.9).settled()
    plan = markets.plan(grid, model="lindistflow", offer_bus=OFFER_BUS, v_min_pu=0.9)
    cleared = markets.clear(plan, OFFERS, method=method)
    parts = cleared.energy_per_mwh + cleared.loss_per_mwh + cleared.congestion_per_mwh + cleared.voltage_per_mwh
    np.testing.assert_allclose(parts, cleared.price_per_mwh, atol=1e-9)
    weight = plan.load_mw / plan.load_mw.sum()
    for part in (cleared.loss_per_mwh, cleared.congestion_per_mwh, cleared.voltage_per_mwh):
        np.testing.assert_allclose(weight @ part, 0.0, atol=1e-8)
    assert cleared.loss_mw > 0.01
    assert cleared.loss_surplus > 0.5 * cleared.loss_mw * cleared.energy_per_mwh  # marginal losses are twice the mean


def test_what_has_no_tree_is_refused_by_name() -> None:
    with pytest.raises(NetworkError, match='generators "gen_0"'):
        markets.plan(network("case30"), model="lindistflow", offer_bus=["1"])
    closed = network("case33bw")
    branches = closed.branches._replace(closed=np.ones(len(closed.branches.name), bool))
    meshed = Network(**{**vars(closed), "branches": branches})
    with pytest.raises(NetworkError, match=r"5 branches close loops \("):
        markets.plan(meshed, model="lindistflow", offer_bus=[0])
