"""Money and violations of one tick, by account and by name.

The columns are always collected in the same order; ``money_columns`` and ``cost_columns`` say whose they are when the
layout is made, ``money`` and ``costs`` fill them during a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.coordination.layers import Layer
from powergrid.core.types import Array, Flow
from powergrid.engine import formulas
from powergrid.engine.gather import join
from powergrid.engine.layout import DROPPED, SHARED, UNBALANCE, Family, Layout, Params
from powergrid.engine.state import State
from powergrid.powerflow.sequence import unbalance


def money_columns(
    families: Sequence[Family], layers: Sequence[Layer], settling: Sequence[int]
) -> list[tuple[str, np.ndarray]]:
    """Name and accounts of each block of money columns, in the order of :func:`money`."""
    settled = [layer.accounts[:-1] for layer in layers if layer.protocol.settles_bills]
    members = np.concatenate([*settled, np.zeros(0, dtype=int)])
    blocks = []
    for family in families:
        replaced = np.isin(family.account, members) & (family.kernel.role == "meter")
        accounts = np.where(replaced, DROPPED, family.account)
        blocks += [(name, accounts) for name in family.kernel.money_names]
    blocks += [("settlement", families[i].account) for i in settling]
    return blocks + [(name, layer.accounts) for layer in layers for name in layer.added.money_names]


def transfer_names(families: Sequence[Family], layers: Sequence[Layer]) -> set[str]:
    """Names of the money that passes between accounts and the utility: bills at meters, and what protocols settle."""
    bills = {name for family in families if family.kernel.role == "meter" for name in family.kernel.money_names}
    return bills | {name for layer in layers for name in layer.added.money_names}


def settling_families(families: Sequence[Family]) -> list[int]:
    """Families that hold something of worth."""
    zeros = [np.zeros(family.size) for family in families]
    probe = [
        family.kernel.worth(np, family.params, family.kernel.reset(np, family.params, zero), zero)
        for family, zero in zip(families, zeros, strict=True)
    ]
    return [i for i, value in enumerate(probe) if value is not None]


def money(
    xp: Any,
    layout: Layout,
    params: Params,
    before: State,
    devices: tuple[Any, ...],
    family_money: Sequence[Array],
    settled: Sequence[Array],
) -> Array:
    """Costs [$] by account and name, ``(*batch, accounts, names)``.

    Parameters
    ----------
    before, devices
        State before the tick, and the families' states after it: what they hold is settled as it moves.
    family_money
        Money of every family and name, in order.
    settled
        What the members of each layer pay, by name, with the counterparty last.
    """
    blocks = list(family_money)
    for i, at in zip(layout.ledger.settling, layout.ledger.settle_at, strict=True):
        price = before.settlement_per_mwh[..., at]
        worth, columns = layout.families[i].kernel.worth, params.families[i]
        blocks.append(worth(xp, columns, before.devices[i], price) - worth(xp, columns, devices[i], price))
    blocks += settled
    names = len(layout.ledger.money_names)
    table = layout.ledger.money(xp, join(xp, blocks, before.tick.shape, before.settlement_per_mwh.dtype))
    return _shared_out(xp, layout, table, names)


def cost_columns(
    families: Sequence[Family],
    bus_account: np.ndarray,
    branch_account: np.ndarray,
    accounts: int,
    three_phase: np.ndarray,
    layers: Sequence[Layer],
) -> list[tuple[str, np.ndarray]]:
    """Name and accounts of each block of cost columns, in the order of :func:`costs`; what is shared stays so."""
    blocks = [
        ("voltage", bus_account),
        ("overload", branch_account),
        ("unserved", np.append(np.arange(accounts), SHARED)),
    ]
    if len(three_phase):
        blocks.append((UNBALANCE, bus_account[three_phase[:, 0]]))
    for family in families:
        blocks += [(name, family.account) for name in family.kernel.violation_names]
    return blocks + [(name, layer.accounts[:-1]) for layer in layers for name in layer.added.violation_names]


def costs(
    xp: Any,
    layout: Layout,
    params: Params,
    now: Array,
    flow: Flow,
    family_violations: Sequence[Array],
    topology: Array | None = None,
) -> Array:
    """Priced violations [$] by account and name, ``(*batch, accounts, names)``.

    Voltage outside the band, overload and voltage unbalance of what solved; unserved are the loads of dead islands, and
    all load where the flow diverged.
    """
    given = layout.settings
    solved = flow.converged[..., None]
    voltage = formulas.voltage_price(xp, flow.v_pu, given.v_min_pu, given.v_max_pu, given.voltage_price * given.dt_h)
    alive, dead_mw = solved, 0.0
    if topology is not None:
        alive = solved & flow.energised
        dead_mw = _dead_load(xp, layout, params, now, topology)
    voltage = xp.where(alive, voltage, 0.0)
    overload = formulas.overload_price(xp, flow.loading, given.overload_price * given.dt_h)
    overload = xp.where(solved, overload, 0.0)
    load_mw = now[..., layout.load_series] @ params.unserved_to_account
    unserved = formulas.unserved_price(xp, xp.where(solved, dead_mw, load_mw), given.unserved_price * given.dt_h)
    uneven = [unbalance_costs(xp, layout, flow)] if len(layout.three_phase) else []
    columns = join(xp, [voltage, overload, unserved, *uneven, *family_violations], flow.converged.shape, voltage.dtype)
    return _shared_out(xp, layout, layout.ledger.costs(xp, columns), len(layout.ledger.cost_names))


def _dead_load(xp: Any, layout: Layout, params: Params, now: Array, topology: Array) -> Array:
    """The network's own load in dead islands by account, the shared rest last [MW]."""
    switching = layout.switching
    assert switching is not None
    own = now[..., layout.load_series]
    load_mw = own @ params.load_p_mw + sum(own @ table for table in params.load_by_voltage[::2])
    dead = xp.logical_not(xp.asarray(switching.energised)[topology])
    return switching.to_account(xp, xp.where(dead, load_mw, 0.0))


def unbalance_costs(xp: Any, layout: Layout, flow: Flow) -> Array:
    """Price of voltage unbalance beyond its limit at every three-phase bus [$], ``(*batch, t)``."""
    given = layout.settings
    ratio = unbalance(xp, flow.v_re, flow.v_im, layout.three_phase)
    price = given.unbalance_price * given.dt_h
    priced = formulas.unbalance_price(xp, ratio, given.unbalance_max_percent, price)
    return xp.where(flow.converged[..., None], priced, 0.0)


def _shared_out(xp: Any, layout: Layout, sums: Array, names: int) -> Array:
    """Split the extra last row, what nobody owns, equally among the accounts that share it."""
    accounts, sharing = len(layout.accounts), layout.ledger.sharing
    table = sums.reshape((*sums.shape[:-1], accounts + 1, names))
    share = table[..., accounts:, :] / int(sharing.sum())
    return xp.where(sharing[:, None], table[..., :accounts, :] + share, table[..., :accounts, :])


def money_targets(blocks: Sequence[tuple[str, np.ndarray]], names: Sequence[str], accounts: int) -> np.ndarray:
    """Cell of each column in the flattened ``(accounts + 1, names)`` table; -1 drops it."""
    cells = [_cells(account, names.index(name), len(names), accounts) for name, account in blocks]
    return np.concatenate(cells) if cells else np.zeros(0, dtype=int)


def cost_targets(blocks: Sequence[tuple[str, np.ndarray]], names: Sequence[str], accounts: int) -> np.ndarray:
    """As :func:`money_targets`; what is shared of the core columns goes under its ``shared_`` name."""
    cells = []
    for name, account in blocks:
        shared = names.index(f"shared_{name}") if f"shared_{name}" in names else names.index(name)
        column = np.where(account == SHARED, shared, names.index(name))
        cells.append(_cells(account, column, len(names), accounts))
    return np.concatenate(cells)


def _cells(account: np.ndarray, column: Any, names: int, accounts: int) -> np.ndarray:
    row = np.where(account == SHARED, accounts, account)
    return np.where(account == DROPPED, -1, row * names + column)
