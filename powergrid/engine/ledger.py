"""Money and violations of one tick, by account and by name.

The columns are always collected in the same order; ``money_columns`` and ``cost_columns`` say whose they are when the
layout is made, ``money`` and ``costs`` fill them during a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.core.backend import when
from powergrid.core.types import Array, Flow
from powergrid.engine.gather import join
from powergrid.engine.layout import CORE_COSTS, SHARED, Family, Layout, Market, Params
from powergrid.engine.state import State

DROPPED = -2
"""Account index of a column that another one replaces: a market settles its members' meters."""


def money_columns(
    families: Sequence[Family], markets: Sequence[Market], settling: Sequence[int]
) -> list[tuple[str, np.ndarray]]:
    """Name and accounts of each block of money columns, in the order of :func:`money`."""
    members = np.concatenate([market.members for market in markets]) if markets else np.zeros(0, dtype=int)
    blocks = []
    for family in families:
        replaced = np.isin(family.account, members) & (family.kernel.role == "meter")
        accounts = np.where(replaced, DROPPED, family.account)
        blocks += [(name, accounts) for name in family.kernel.money_names]
    blocks += [("settlement", families[i].account) for i in settling]
    for market in markets:
        blocks += [("p2p", market.members), ("grid", market.members)]
    return blocks


def settling_families(families: Sequence[Family]) -> list[int]:
    """Families with something to settle at the end of an episode."""
    probe = [
        family.kernel.end_money(np, family.params, *(2 * [_zero_state(family)]), np.zeros(family.size))
        for family in families
    ]
    return [i for i, value in enumerate(probe) if value is not None]


def _zero_state(family: Family) -> Any:
    return family.kernel.reset(np, family.params, np.zeros(family.size))


def money(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    devices: tuple[Any, ...],
    family_money: Sequence[Array],
    received: Sequence[tuple[Array, Array]],
    last: Array,
) -> Array:
    """Costs [$] by account and name, ``(*batch, accounts, names)``.

    Parameters
    ----------
    family_money
        Money of every family and name, in order.
    received
        Money received by each market's members, from peers and from the utility.
    last
        Whether the episode's last tick is over: stored energy and unit status are settled then.
    """
    blocks = list(family_money)
    for i in layout.ledger.settling:
        blocks.append(settlement(xp, layout, params, state, devices, i, last))
    for trades, utility in received:
        blocks += [-trades, -utility]
    names = len(layout.ledger.money_names)
    return _shared_out(xp, layout, layout.ledger.money(xp, join(xp, blocks, last.shape, state.retail_sum.dtype)), names)


def settlement(
    xp: Any, layout: Layout, params: Params, state: State, devices: tuple[Any, ...], i: int, last: Array
) -> Array:
    """What the units of family `i` owe at the end of an episode [$], zero before; ``(*batch, n)``."""
    family = layout.families[i]

    def owed() -> Array:
        mean_retail = state.retail_sum[..., family.retail] / (state.tick[..., None] + 1.0)
        due = family.kernel.end_money(xp, params.families[i], state.start[i], devices[i], mean_retail)
        return xp.where(last[..., None], due, 0.0)

    def nothing() -> Array:
        return xp.zeros((*last.shape, family.size), dtype=state.retail_sum.dtype)

    return when(xp, last.any(), owed, nothing)


def cost_columns(
    families: Sequence[Family], bus_account: np.ndarray, branch_account: np.ndarray, accounts: int
) -> list[tuple[str, np.ndarray]]:
    """Name and accounts of each block of cost columns, in the order of :func:`costs`; what is shared stays so."""
    blocks = [
        ("voltage", bus_account),
        ("overload", branch_account),
        ("unserved", np.append(np.arange(accounts), SHARED)),
    ]
    for family in families:
        blocks += [(name, family.account) for name in family.kernel.violation_names]
    return blocks


def costs(xp: Any, layout: Layout, params: Params, now: Array, flow: Flow, family_violations: Sequence[Array]) -> Array:
    """Priced violations [$] by account and name, ``(*batch, accounts, names)``.

    Voltage outside the band and overload of what solved; all load unserved where the flow diverged.
    """
    given = layout.settings
    solved = flow.converged[..., None]
    above = xp.maximum(flow.v_pu - given.v_max_pu, 0.0)
    below = xp.maximum(given.v_min_pu - flow.v_pu, 0.0)
    voltage = xp.where(solved, (above + below) * (given.voltage_price * given.dt_h), 0.0)
    excess = xp.maximum(flow.loading - 100.0, 0.0)
    overload = xp.where(solved, excess * (given.overload_price * given.dt_h), 0.0)
    load_mw = now[..., layout.load_series] @ params.load_to_account
    unserved = xp.where(solved, 0.0, xp.maximum(load_mw, 0.0) * (given.unserved_price * given.dt_h))
    columns = join(xp, [voltage, overload, unserved, *family_violations], flow.converged.shape, voltage.dtype)
    return _shared_out(xp, layout, layout.ledger.costs(xp, columns), len(layout.ledger.cost_names))


def _shared_out(xp: Any, layout: Layout, sums: Array, names: int) -> Array:
    """Split the extra last row, what nobody owns, equally among the accounts."""
    accounts = len(layout.accounts)
    table = sums.reshape((*sums.shape[:-1], accounts + 1, names))
    return table[..., :accounts, :] + table[..., accounts:, :] / max(accounts, 1)


def money_targets(blocks: Sequence[tuple[str, np.ndarray]], names: Sequence[str], accounts: int) -> np.ndarray:
    """Cell of each column in the flattened ``(accounts + 1, names)`` table; -1 drops it."""
    cells = [_cells(account, names.index(name), len(names), accounts) for name, account in blocks]
    return np.concatenate(cells) if cells else np.zeros(0, dtype=int)


def cost_targets(blocks: Sequence[tuple[str, np.ndarray]], names: Sequence[str], accounts: int) -> np.ndarray:
    """As :func:`money_targets`; what is shared of the core columns goes under its ``shared_`` name."""
    cells = []
    for name, account in blocks:
        shared = names.index(f"shared_{name}") if name in CORE_COSTS else names.index(name)
        column = np.where(account == SHARED, shared, names.index(name))
        cells.append(_cells(account, column, len(names), accounts))
    return np.concatenate(cells)


def _cells(account: np.ndarray, column: Any, names: int, accounts: int) -> np.ndarray:
    row = np.where(account == SHARED, accounts, account)
    return np.where(account == DROPPED, -1, row * names + column)
