"""The result of a clearing, and what everybody pays."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.markets.assembly import Case, batch_of, bus_rows
from powergrid.markets.model import Linear, Plan
from powergrid.markets.program import Program, Solution

SOLVED, UNSERVED, LIMIT_EXCEEDED, NOT_CONVERGED = range(4)
"""Values of ``Clearing.status``, the gravest that holds: all is served within all limits; fixed demand is not served,
or required reserve not offered; a limit of the network is exceeded or the balance not met; no optimum was found."""
_SMALL, _SMALL_EPS = 1e-6, 200.0
"""Power below this share of all power is rounding; in float32, in units in the last place."""


class Clearing(NamedTuple):
    """A cleared market. A market that cannot be cleared within its limits is data: check ``status``.

    Attributes
    ----------
    offer_mw, bid_mw
        Cleared part of each block [MW], ``(*batch, o)`` and ``(*batch, d)``.
    price_per_mwh
        Locational marginal price of each bus, ``(*batch, m)``: the sum of the four components [$/MWh].
    energy_per_mwh
        Price at the reference [$/MWh], ``(*batch,)``.
    loss_per_mwh, congestion_per_mwh, voltage_per_mwh
        Components of marginal losses, branch limits and voltage limits, each against the reference [$/MWh],
        ``(*batch, m)``.
    flow_mw
        Flow of each limited branch from its from bus to its to bus [MW], ``(*batch, f)``.
    limit_price_per_mwh
        Fall of the cost with one more MW of each branch's limit [$/MWh], ``(*batch, f)``, not negative.
    v_pu
        Voltage of each limited bus as the market's linear model has it [pu], ``(*batch, w)``.
    voltage_price_per_pu
        Change of the cost with each voltage's binding limit [$/(pu h)], ``(*batch, w)``.
    reserve_mw
        Cleared reserve of each offer [MW], ``(*batch, s)``.
    reserve_price_per_mwh
        Price of reserve [$/MWh], ``(*batch,)``; 0 where none is planned.
    reserve_shortage_mw
        Required reserve that is not offered [MW], ``(*batch,)``.
    unserved_mw
        Fixed demand that is not served at each bus [MW], ``(*batch, m)``; negative for generation that is not taken.
    loss_mw
        Injections that do not reach anybody: losses and shunts [MW], ``(*batch,)``.
    congestion_surplus, loss_surplus, voltage_surplus
        What the operator keeps of the payments for energy, by price component [$/h], ``(*batch,)``. The component of
        losses includes the energy that losses take.
    cost
        Accepted offers less accepted bids, reserve and unserved demand included, each at its price [$/h],
        ``(*batch,)``.
    status
        :data:`SOLVED` and so on, ``(*batch,)``.
    iterations
        Of the method, ``(*batch,)``.
    """

    offer_mw: Array
    bid_mw: Array
    price_per_mwh: Array
    energy_per_mwh: Array
    loss_per_mwh: Array
    congestion_per_mwh: Array
    voltage_per_mwh: Array
    flow_mw: Array
    limit_price_per_mwh: Array
    v_pu: Array
    voltage_price_per_pu: Array
    reserve_mw: Array
    reserve_price_per_mwh: Array
    reserve_shortage_mw: Array
    unserved_mw: Array
    loss_mw: Array
    congestion_surplus: Array
    loss_surplus: Array
    voltage_surplus: Array
    cost: Array
    status: Array
    iterations: Array

    @property
    def surplus(self) -> Array:
        """What buyers pay for energy beyond what sellers receive [$/h], ``(*batch,)``; the operator keeps it."""
        return self.congestion_surplus + self.loss_surplus + self.voltage_surplus


class Payments(NamedTuple):
    """Who receives how much [$/h]; negative is paid. The three sum to zero.

    Attributes
    ----------
    participants
        For energy sold less energy bought, and for reserve, ``(*batch, participants)``.
    loads
        Of the fixed demand at each bus, ``(*batch, m)``.
    operator
        Surplus less what reserve costs, ``(*batch,)``.
    """

    participants: Array
    loads: Array
    operator: Array


def _sum(xp: Namespace, values: Array) -> Array:
    return xp.sum(values, axis=-1)


def _product(vector: Array, matrix: Array) -> Array:
    """``vector @ matrix`` for one vector per environment; its bits do not depend on the batch."""
    return (vector[..., None, :] @ matrix)[..., 0, :]


def read(xp: Namespace, plan: Plan, linear: Linear, case: Case, program: Program, solution: Solution) -> Clearing:
    """Dispatch, prices and their components from the columns and row prices of a solved program."""
    zero = batch_of(xp, case)
    o, d, f, w = plan.n_offer, plan.n_bid, len(plan.limited_branch), len(plan.limited_bus)
    x, y, load = solution.x + zero, solution.row_price + zero, case.load_mw + zero
    offer, bid, reserve = x[..., :o], x[..., o : o + d], x[..., o + d + plan.n_load :]
    net = _product(x, plan.incidence.T) - load
    unserved = _product(x, plan.unserved.T)
    rows = bus_rows(xp, plan, linear)

    ends = (0, 1, 1 + f, 1 + f + w)
    weight = _reference(xp, plan, load)
    at_bus = [_product(y[..., a:b], rows[..., a:b, :]) for a, b in pairwise(ends)]
    at_reference = [_sum(xp, weight * part)[..., None] for part in at_bus]
    energy = at_reference[0] + at_reference[1] + at_reference[2]
    loss, congestion, voltage = (part - mean for part, mean in zip(at_bus, at_reference, strict=True))

    activity = (program.matrix @ x[..., None])[..., : ends[-1], 0] - (rows @ load[..., None])[..., 0]
    flow = activity[..., 1 : 1 + f] + linear.flow_constant
    v_pu = activity[..., 1 + f :] / plan.voltage_scale + linear.voltage_constant
    none = 0.0 * zero[..., 0]
    short = xp.maximum(case.reserve_mw - _sum(xp, reserve), 0.0) if plan.n_reserve else none
    cost = (
        _sum(xp, offer * case.offers.price_per_mwh)
        - _sum(xp, bid * case.bids.price_per_mwh)
        + _sum(xp, reserve * case.reserve.price_per_mwh)
        + _sum(xp, xp.maximum(unserved, 0.0)) * plan.lost_load_per_mwh
        - _sum(xp, xp.minimum(unserved, 0.0)) * plan.curtailment_per_mwh
        + short * plan.reserve_shortage_per_mwh
    )
    excess = (
        xp.abs(activity[..., :1] - linear.balance_constant[..., None]),
        xp.abs(flow) - linear.flow_limit,
        xp.maximum(v_pu - plan.v_max_pu, plan.v_min_pu - v_pu) * plan.voltage_scale,
    )
    return Clearing(
        offer_mw=offer,
        bid_mw=bid,
        price_per_mwh=energy + loss + congestion + voltage,
        energy_per_mwh=energy[..., 0],
        loss_per_mwh=loss,
        congestion_per_mwh=congestion,
        voltage_per_mwh=voltage,
        flow_mw=flow,
        limit_price_per_mwh=xp.abs(y[..., 1 : 1 + f]),
        v_pu=v_pu,
        voltage_price_per_pu=xp.abs(y[..., 1 + f : 1 + f + w]) * plan.voltage_scale,
        reserve_mw=reserve,
        reserve_price_per_mwh=y[..., 1 + f + w] if plan.n_reserve else none,
        reserve_shortage_mw=short + none,
        unserved_mw=unserved,
        loss_mw=_sum(xp, net),
        congestion_surplus=-_sum(xp, net * congestion),
        loss_surplus=-_sum(xp, net * (energy + loss)),
        voltage_surplus=-_sum(xp, net * voltage),
        cost=cost,
        status=_status(xp, load, unserved, short, xp.concatenate(excess, axis=-1), solution.converged),
        iterations=solution.iterations,
    )


def traded(xp: Namespace, plan: Plan, clearing: Clearing) -> Array:
    """Injection of the participants at every bus [MW], ``(*batch, m)``: cleared offers less cleared bids."""
    blocks = xp.concatenate((clearing.offer_mw, clearing.bid_mw), axis=-1)
    at_bus = plan.incidence[:, : plan.n_offer + plan.n_bid].T
    return _product(blocks, xp.asarray(at_bus, dtype=blocks.dtype))


def _reference(xp: Namespace, plan: Plan, load: Array) -> Array:
    """Weight of each bus in the reference, summing to 1: of the load, or of all buses alike where there is none."""
    if plan.reference is not None:
        return xp.asarray(plan.reference, dtype=load.dtype)
    drawn = xp.maximum(load, 0.0)
    total = xp.sum(drawn, axis=-1, keepdims=True)
    alike = xp.ones_like(load) / plan.n_bus
    return xp.where(total > 0.0, drawn / xp.where(total > 0.0, total, 1.0), alike)


def _status(xp: Namespace, load: Array, unserved: Array, short: Array, excess: Array, converged: Array) -> Array:
    """The gravest of what is to be said of a clearing."""
    small = max(_SMALL, _SMALL_EPS * float(xp.finfo(load.dtype).eps)) * (_sum(xp, xp.abs(load)) + 1e-3)
    missing = (_sum(xp, xp.maximum(unserved, 0.0)) > small) | (short > small)
    exceeded = xp.max(excess, axis=-1) > small
    status = xp.where(missing, UNSERVED, SOLVED)
    status = xp.where(exceeded, LIMIT_EXCEEDED, status)
    return xp.where(converged, status, NOT_CONVERGED)


def payments(xp: Namespace, plan: Plan, clearing: Clearing, load_mw: Array) -> Payments:
    """Who receives how much for an hour of a clearing: energy at the price of its bus, reserve at its price.

    Parameters
    ----------
    xp
        NumPy or ``jax.numpy``.
    plan, clearing
        The market and its result.
    load_mw
        Fixed demand that was cleared [MW], ``(*batch, m)``; what is not served pays nothing.
    """
    at = clearing.price_per_mwh
    sold = clearing.offer_mw * at[..., plan.offer_bus]
    bought = clearing.bid_mw * at[..., plan.bid_bus]
    reserve = clearing.reserve_mw * clearing.reserve_price_per_mwh[..., None]
    members = (
        _product(sold, xp.asarray(plan.owner_of_offer, dtype=at.dtype))
        - _product(bought, xp.asarray(plan.owner_of_bid, dtype=at.dtype))
        + _product(reserve, xp.asarray(plan.owner_of_reserve, dtype=at.dtype))
    )
    loads = -(load_mw - clearing.unserved_mw) * at
    return Payments(members, loads, clearing.surplus - _sum(xp, reserve))
