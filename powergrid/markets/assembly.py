"""The linear program of a clearing, from its plan, the network's equations and what participants offer."""

from __future__ import annotations

from typing import NamedTuple

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.markets.blocks import Blocks
from powergrid.markets.model import Linear, Plan
from powergrid.markets.program import Program


class Case(NamedTuple):
    """What one clearing is asked to clear, all fields ``(*batch, ...)``.

    Attributes
    ----------
    offers, bids, reserve
        Blocks in the order of the plan.
    load_mw, load_mvar
        Fixed demand at every bus [MW, Mvar], ``(*batch, m)``.
    reserve_mw
        Required reserve [MW], ``(*batch,)``.
    """

    offers: Blocks
    bids: Blocks
    reserve: Blocks
    load_mw: Array
    load_mvar: Array
    reserve_mw: Array


def batch_of(xp: Namespace, case: Case) -> Array:
    """Zeros in the batch shape of the case, ``(*batch, 1)``, in its type."""
    parts = (*case.offers, *case.bids, *case.reserve, case.load_mw, case.load_mvar, case.reserve_mw[..., None])
    zero: Array = 0.0
    for part in parts:
        if part.shape[-1]:
            zero = zero + 0.0 * part[..., :1]
    return zero


def program(xp: Namespace, plan: Plan, linear: Linear, case: Case) -> Program:
    """The linear program; its columns are offers, bids, unserved demand and reserve.

    Its rows are the balance, limited branches, limited voltages in units of power, and where reserve is planned the
    requirement and the capacity of each participant. Unserved demand lies between zero and the load, which for negative
    load makes it curtailed generation.
    """
    zero = batch_of(xp, case)
    load = case.load_mw[..., plan.load_bus] + zero
    none = xp.zeros_like(load)
    cost = [
        case.offers.price_per_mwh + zero,
        -case.bids.price_per_mwh + zero,
        xp.where(load > 0.0, plan.lost_load_per_mwh + none, -plan.curtailment_per_mwh),
        case.reserve.price_per_mwh + zero,
    ]
    low = [0.0 * cost[0], 0.0 * cost[1], xp.minimum(load, none), 0.0 * cost[3]]
    high = [
        case.offers.quantity_mw + zero,
        case.bids.quantity_mw + zero,
        xp.maximum(load, none),
        case.reserve.quantity_mw + zero,
    ]
    matrix = _matrix(xp, plan, linear, zero.dtype)
    row_low, row_high = _bounds(xp, plan, linear, case, zero)
    return Program(
        cost=xp.concatenate(cost, axis=-1),
        low=xp.concatenate(low, axis=-1),
        high=xp.concatenate(high, axis=-1),
        matrix=matrix,
        row_low=row_low,
        row_high=row_high,
        penalty=_penalty(xp, plan, zero.dtype),
    )


def _scaled_rows(xp: Namespace, plan: Plan, balance: Array, flow: Array, voltage: Array) -> Array:
    """Rows of the network's equations over the buses, voltages in units of power."""
    rows = [balance[..., None, :], flow]
    if len(plan.limited_bus):
        rows.append(voltage * plan.voltage_scale[:, None])
    return xp.concatenate(rows, axis=-2)


def bus_rows(xp: Namespace, plan: Plan, linear: Linear) -> Array:
    """Change of every network row with the injection at each bus, ``(*batch, 1 + f + w, m)``."""
    return _scaled_rows(xp, plan, linear.balance, linear.flow, linear.voltage)


def _matrix(xp: Namespace, plan: Plan, linear: Linear, dtype: object) -> Array:
    by_bus = bus_rows(xp, plan, linear)
    unserved = _scaled_rows(xp, plan, linear.unserved_balance, linear.unserved_flow, linear.unserved_voltage)
    parts = [by_bus[..., plan.offer_bus], -by_bus[..., plan.bid_bus], unserved[..., plan.load_bus]]
    if not plan.n_reserve:
        return xp.asarray(xp.concatenate(parts, axis=-1), dtype=dtype)
    parts.append(xp.zeros((*by_bus.shape[:-1], plan.n_reserve), dtype=by_bus.dtype))
    upper = xp.concatenate(parts, axis=-1)
    lower = xp.broadcast_to(xp.asarray(plan.reserve_rows), (*upper.shape[:-2], *plan.reserve_rows.shape))
    return xp.asarray(xp.concatenate((upper, lower), axis=-2), dtype=dtype)


def _bounds(xp: Namespace, plan: Plan, linear: Linear, case: Case, zero: Array) -> tuple[Array, Array]:
    """Bounds of the rows, with the fixed demand taken to their side."""
    load = (case.load_mw + zero)[..., None]
    rows = bus_rows(xp, plan, linear)
    served = (xp.asarray(rows, dtype=zero.dtype) @ load)[..., 0]
    f, w = len(plan.limited_branch), len(plan.limited_bus)
    constant = linear.balance_constant[..., None] + zero
    low, high = [constant], [constant]
    if f:
        low.append(-linear.flow_limit - linear.flow_constant + zero)
        high.append(linear.flow_limit - linear.flow_constant + zero)
    if w:
        low.append((plan.v_min_pu - linear.voltage_constant) * plan.voltage_scale + zero)
        high.append((plan.v_max_pu - linear.voltage_constant) * plan.voltage_scale + zero)
    bounds = [xp.concatenate(parts, axis=-1) + served for parts in (low, high)]
    if plan.n_reserve:
        required, missing = case.reserve_mw[..., None] + zero, xp.inf + zero
        held = ((case.offers.quantity_mw + zero)[..., None, :] @ plan.offers_of_reserve)[..., 0, :]
        bounds[0] = xp.concatenate((bounds[0], required, -xp.inf + 0.0 * held), axis=-1)
        bounds[1] = xp.concatenate((bounds[1], missing, held), axis=-1)
    return bounds[0], bounds[1]


def _penalty(xp: Namespace, plan: Plan, dtype: object) -> Array:
    """Price of exceeding each row."""
    limits = len(plan.limited_branch) + len(plan.limited_bus)
    penalty = [
        plan.balance_per_mwh * xp.ones(1, dtype=dtype),
        plan.limit_per_mwh * xp.ones(limits, dtype=dtype),
    ]
    if plan.n_reserve:
        penalty += [
            plan.reserve_shortage_per_mwh * xp.ones(1, dtype=dtype),
            plan.limit_per_mwh * xp.ones(plan.n_reserve, dtype=dtype),
        ]
    return xp.concatenate(penalty, axis=-1)
