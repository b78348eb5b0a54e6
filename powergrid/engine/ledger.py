"""Money and violations of one tick, by account and by name.

``money_columns`` and ``cost_columns`` say whose the columns are when the layout is made, ``money`` and ``costs`` fill
them during a step; :mod:`powergrid.engine.blocks` has their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.coordination.layers import Layer
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Flow
from powergrid.engine import formulas
from powergrid.engine.blocks import Blocks, CostColumns, MoneyColumns
from powergrid.engine.layout import DROPPED, SHARED, UNBALANCE, Family, Layout
from powergrid.engine.tick import Tick
from powergrid.powerflow.sequence import unbalance


class Charge(NamedTuple):
    """Columns of money or of violations under one name, and the account of each."""

    name: str
    account: np.ndarray


def blocks_of(charges: Any) -> Blocks[Any]:
    """Where the blocks lie of the columns of :func:`money_columns` or :func:`cost_columns`."""
    return Blocks(type(charges)(*([len(charge.account) for charge in block] for block in charges)))


def money_columns(families: Sequence[Family], layers: Sequence[Layer], settling: Sequence[int]) -> MoneyColumns:
    """Every charge of money."""
    settled = [layer.accounts[:-1] for layer in layers if layer.protocol.settles_bills]
    members = np.concatenate([*settled, np.zeros(0, dtype=int)])
    device = []
    for family in families:
        replaced = np.isin(family.account, members) & (family.kernel.role == "meter")
        accounts = np.where(replaced, DROPPED, family.account)
        device += [Charge(name, accounts) for name in family.kernel.money_names]
    return MoneyColumns(
        device=device,
        settlement=[Charge("settlement", families[i].account) for i in settling],
        protocol=[Charge(name, layer.accounts) for layer in layers for name in layer.added.money_names],
    )


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


def money(tick: Tick, devices: tuple[Any, ...], family_money: Sequence[Array], settled: Sequence[Array]) -> Array:
    """Costs [$] by account and name, ``(*batch, accounts, names)``.

    Parameters
    ----------
    devices
        The families' states after the tick: what they hold is settled as it moves.
    family_money
        Money of every family and name, in order.
    settled
        What the members of each layer pay, by name, with the counterparty last.
    """
    xp, layout, before, stored = tick.xp, tick.layout, tick.state, []
    for i, at in zip(layout.ledger.settling, layout.ledger.settle_at, strict=True):
        price = before.settlement_per_mwh[..., at]
        worth, columns = layout.families[i].kernel.worth, tick.params.families[i]
        stored.append(worth(xp, columns, before.devices[i], price) - worth(xp, columns, devices[i], price))
    values = MoneyColumns(device=family_money, settlement=stored, protocol=settled)
    columns = layout.ledger.money_blocks.join(xp, values, before.tick.shape, before.settlement_per_mwh.dtype)
    return _shared_out(xp, layout, layout.ledger.money(xp, columns), len(layout.ledger.money_names))


def cost_columns(
    families: Sequence[Family],
    bus_account: np.ndarray,
    branch_account: np.ndarray,
    accounts: int,
    three_phase: np.ndarray,
    layers: Sequence[Layer],
) -> CostColumns:
    """Every charge of a violation; what is shared stays so."""
    return CostColumns(
        voltage=[Charge("voltage", bus_account)],
        overload=[Charge("overload", branch_account)],
        unserved=[Charge("unserved", np.append(np.arange(accounts), SHARED))],
        unbalance=[Charge(UNBALANCE, bus_account[three_phase[:, 0]])] if len(three_phase) else [],
        device=[Charge(name, family.account) for family in families for name in family.kernel.violation_names],
        protocol=[Charge(name, layer.accounts[:-1]) for layer in layers for name in layer.added.violation_names],
    )


def costs(
    tick: Tick,
    flow: Flow,
    family_violations: Sequence[Array],
    broken: Sequence[Array],
    topology: Array | None = None,
) -> Array:
    """Priced violations [$] by account and name, ``(*batch, accounts, names)``.

    Voltage outside the band, overload and voltage unbalance of what solved; unserved are the loads of dead islands, and
    all load where the flow diverged. Violations of families and of layers come by name, in order.
    """
    xp, layout, given = tick.xp, tick.layout, tick.layout.settings
    solved = flow.converged[..., None]
    voltage = formulas.voltage_price(xp, flow.v_pu, given.v_min_pu, given.v_max_pu, given.voltage_price * given.dt_h)
    alive, dead_mw = solved, 0.0
    if topology is not None:
        alive = solved & flow.energised
        dead_mw = _dead_load(tick, topology)
    voltage = xp.where(alive, voltage, 0.0)
    overload = formulas.overload_price(xp, flow.loading, given.overload_price * given.dt_h)
    overload = xp.where(solved, overload, 0.0)
    load_mw = tick.now[..., layout.grid.load_series] @ tick.params.unserved_to_account
    unserved = formulas.unserved_price(xp, xp.where(solved, dead_mw, load_mw), given.unserved_price * given.dt_h)
    values = CostColumns(
        voltage=[voltage],
        overload=[overload],
        unserved=[unserved],
        unbalance=[unbalance_costs(xp, layout, flow)] if len(layout.grid.three_phase) else [],
        device=family_violations,
        protocol=broken,
    )
    columns = layout.ledger.cost_blocks.join(xp, values, flow.converged.shape, voltage.dtype)
    return _shared_out(xp, layout, layout.ledger.costs(xp, columns), len(layout.ledger.cost_names))


def _dead_load(tick: Tick, topology: Array) -> Array:
    """The network's own load in dead islands by account, the shared rest last [MW]."""
    xp, grid, params = tick.xp, tick.layout.grid, tick.params
    switching, own = grid.switching, tick.now[..., grid.load_series]
    assert switching is not None
    load_mw = own @ params.load_p_mw + sum(own @ table for table in params.load_by_voltage[::2])
    dead = xp.logical_not(xp.asarray(switching.energised)[topology])
    return switching.to_account(xp, xp.where(dead, load_mw, 0.0))


def unbalance_costs(xp: Namespace, layout: Layout, flow: Flow) -> Array:
    """Price of voltage unbalance beyond its limit at every three-phase bus [$], ``(*batch, t)``."""
    given = layout.settings
    ratio = unbalance(xp, flow.v_re, flow.v_im, layout.grid.three_phase)
    price = given.unbalance_price * given.dt_h
    priced = formulas.unbalance_price(xp, ratio, given.unbalance_max_percent, price)
    return xp.where(flow.converged[..., None], priced, 0.0)


def _shared_out(xp: Namespace, layout: Layout, sums: Array, names: int) -> Array:
    """Split the extra last row, what nobody owns, equally among the accounts that share it."""
    accounts, sharing = len(layout.accounts), layout.ledger.sharing
    table = sums.reshape((*sums.shape[:-1], accounts + 1, names))
    share = table[..., accounts:, :] / int(sharing.sum())
    return xp.where(sharing[:, None], table[..., :accounts, :] + share, table[..., :accounts, :])


def money_targets(charges: MoneyColumns, names: Sequence[str], accounts: int) -> np.ndarray:
    """Cell of each column in the flattened ``(accounts + 1, names)`` table; -1 drops it."""
    flat = [charge for block in charges for charge in block]
    cells = [_cells(account, names.index(name), len(names), accounts) for name, account in flat]
    return np.concatenate(cells) if cells else np.zeros(0, dtype=int)


def cost_targets(charges: CostColumns, names: Sequence[str], accounts: int) -> np.ndarray:
    """As :func:`money_targets`; what is shared of the core columns goes under its ``shared_`` name."""
    cells = []
    for name, account in [charge for block in charges for charge in block]:
        shared = names.index(f"shared_{name}") if f"shared_{name}" in names else names.index(name)
        column = np.where(account == SHARED, shared, names.index(name))
        cells.append(_cells(account, column, len(names), accounts))
    return np.concatenate(cells)


def _cells(account: np.ndarray, column: Any, names: int, accounts: int) -> np.ndarray:
    row = np.where(account == SHARED, accounts, account)
    return np.where(account == DROPPED, -1, row * names + column)
