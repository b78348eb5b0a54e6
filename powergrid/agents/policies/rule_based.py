"""A competent operator: every device follows its family's rule, every trader asks for its marginal cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.agents.device_agent import DeviceAgent, Outlook
from powergrid.agents.policies._following import following
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("rule_based", aliases=("price_response",))
@following()
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """Every device follows its family's rule, every trader asks for its marginal cost.

    Slots ``(*batch, K)``.
    """
    now = exogenous.now
    plan = layout.slots
    prices = now
    if len(plan.signal):
        prices = xp.concatenate([now, plan.physical(state.slots)[..., plan.signal]], axis=-1)
    net_load_mw = _net_load(xp, layout, params, state, now)
    book = _SlotValues(state.slots.shape)
    commands: list[Any] = []
    for family, columns, device in zip(layout.families, params.families, state.devices, strict=True):
        if not family.free.any():
            commands.append(None)
            continue
        outlook = _outlook(xp, layout, family, now, prices, net_load_mw, settle(xp, layout, family, state))
        values = readings(xp, family, now, state)
        command = family.kernel.rule(xp, columns, device, values, outlook, layout.settings.dt_h)
        commands.append(command)
        for j, wanted in enumerate(command):
            book.put(xp, plan, family, j, wanted)
    if len(plan.signal):  # a parent that decides by rule passes the market price on
        sent = (now[..., layout.columns.price, None] - plan.low[plan.signal]) / plan.half_span[plan.signal] - 1.0
        book.write(xp.minimum(xp.maximum(sent, -1.0), 1.0), plan.signal)
    for market in layout.markets:
        share = _limit_share(xp, layout, params, market, commands, now)
        book.write(2.0 * share - 1.0, market.slot[:, 0])
    return book.slots(xp, state.slots)


class _SlotValues:
    """Collects values for slots, so that one gather writes them all."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.values: list[Array] = []
        self.index: list[np.ndarray] = []

    def write(self, values: Array, index: np.ndarray) -> None:
        """Values ``(*batch, n)`` for the slots `index` ``(n,)``."""
        self.values.append(values)
        self.index.append(index)

    def put(self, xp: Any, plan: Any, family: Any, field: int, wanted: Array) -> None:
        """Translate a physical command into its slots; fields nobody may choose have none."""
        units = np.flatnonzero(family.free[:, field])
        slot = family.slot[units, field]
        if len(units):
            wanted = xp.broadcast_to(wanted, (*self.shape[:-1], family.size))[..., units]
            share = (wanted - plan.low[slot]) / plan.half_span[slot] - 1.0
            self.write(xp.minimum(xp.maximum(share, -1.0), 1.0), slot)

    def slots(self, xp: Any, default: Array) -> Array:
        """All slots, those never written as in `default`."""
        written = np.concatenate([*self.index, np.zeros(0, dtype=int)]).astype(int)
        source = np.arange(default.shape[-1])
        source[written] = default.shape[-1] + np.arange(len(written))
        return xp.concatenate([default, *self.values], axis=-1)[..., source]


def readings(xp: Any, family: Any, now: Array, state: Any) -> Any:
    """The family's ``Exogenous`` of the running tick, with the voltages of the last one."""
    values = {"series": now, "v_pu": xp.sqrt(state.v_re**2 + state.v_im**2)}
    return family.kernel.Exogenous(*(values[source.kind][..., source.place] for source in family.sources))


def _net_load(xp: Any, layout: Any, params: Any, state: Any, now: Array) -> Array:
    """Load of each account minus all that sun, wind and water offer it [MW], ``(*batch, accounts + 1)``."""
    net_load_mw = layout.net_load(xp, params, now)
    for family, columns in zip(layout.families, params.families, strict=True):
        counted = "available_pu" in family.kernel.Exogenous._fields  # power by a series, in layout.net_load
        if counted or family.kernel.available is DeviceAgent.available:
            continue
        series = readings(xp, family, now, state)
        offered_mw = family.kernel.available(xp, columns, series, layout.settings.dt_h)
        owned = (family.account % net_load_mw.shape[-1])[:, None] == range(net_load_mw.shape[-1])
        net_load_mw = net_load_mw - offered_mw @ xp.asarray(owned, dtype=net_load_mw.dtype)
    return net_load_mw


def settle(xp: Any, layout: Any, family: Any, state: Any) -> Array:
    """Settlement price of each unit [$/MWh], ``(*batch, n)``; zero where it holds nothing of worth."""
    at = {id(layout.families[i]): at for i, at in zip(layout.ledger.settling, layout.ledger.settle_at, strict=True)}
    if id(family) not in at:
        return xp.zeros((*state.slots.shape[:-1], family.size), dtype=state.slots.dtype)
    return state.settlement_per_mwh[..., at[id(family)]]


def _outlook(
    xp: Any, layout: Any, family: Any, now: Array, prices: Array, net_load_mw: Array, settlement_per_mwh: Array
) -> Outlook:
    columns = layout.columns
    start = len(columns.series)
    ahead = now[..., start : start + columns.price_hours]
    hour = now[..., columns.column("hour")]
    price = prices[..., family.price]
    # a parent's price replaces the whole tariff: children respond to it both when they buy and when they sell
    told = family.price >= now.shape[-1]
    return Outlook(
        price_per_mwh=price,
        retail_per_mwh=xp.where(told, price, now[..., family.retail]),
        feed_in_per_mwh=xp.where(told, price, now[..., family.feed_in]),
        price_ahead_per_mwh=xp.moveaxis(ahead, -1, 0)[..., None],
        mean_price_per_mwh=ahead.mean(-1)[..., None],
        net_load_mw=net_load_mw[..., family.account],
        hour=hour[..., None],
        settlement_per_mwh=settlement_per_mwh,
    )


def _limit_share(xp: Any, layout: Any, params: Any, market: Any, commands: list[Any], now: Array) -> Array:
    """Limit price as a share of the band: the marginal cost of the member's dearest running generator."""
    retail, feed_in = now[..., market.retail], now[..., market.feed_in]
    cost = feed_in
    for family, columns, command in zip(layout.families, params.families, commands, strict=True):
        if command is None:
            continue
        marginal = family.kernel.marginal_cost(xp, columns, command.p_mw) if "p_mw" in command._fields else None
        if marginal is None:
            continue
        running = xp.where(command.p_mw > 0.0, marginal, 0.0)
        for member, account in enumerate(market.members):
            mine = family.account == account
            if mine.any():
                dearest = xp.max(running[..., mine], axis=-1)
                here = xp.asarray([float(m == member) for m in range(len(market.members))], dtype=cost.dtype)
                cost = xp.maximum(cost, dearest[..., None] * here)
    band = xp.maximum(retail - feed_in, 1e-9)
    return xp.minimum(xp.maximum((cost - feed_in) / band, 0.0), 1.0)
