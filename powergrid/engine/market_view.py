"""What a protocol with a market finds when it clears: the demand of the tick, and what each unit can do in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from powergrid.agents.market import MarketView
from powergrid.coordination.layers import Layer
from powergrid.core.backend import Namespace, is_numpy, sum_into
from powergrid.core.derivatives import without_derivative
from powergrid.core.types import Array, Control, Injection
from powergrid.engine import schedule
from powergrid.engine.gather import SumTo, join
from powergrid.engine.tick import Tick


def market_view(tick: Tick, layer: Layer, physical: Array) -> MarketView | None:
    """The view of a layer's market; ``None`` where it has none.

    Device kernels are pure, so that what a unit would inject at an end of its range is what its kernel gives there.
    Each environment's sums are its own, to the same bits in any batch.

    Parameters
    ----------
    physical
        All commands in physical units, ``(*batch, K)``.
    """
    market = layer.market
    if market is None:
        return None
    xp, grid, columns = tick.xp, tick.layout.grid, tick.layout.columns
    now, low, high = _delivered(tick, layer, physical)
    kept = xp.where(market.dispatched > 0.0, 0.0, now.p_mw)
    buses, members = len(market.generation_mw), layer.members
    series = tick.now[..., grid.load_series]
    own_mw, own_mvar = (
        _by_series(xp, series, tables)
        for tables in (
            (tick.params.load_p_mw, *tick.params.load_by_voltage[::2]),
            (tick.params.load_q_mvar, *tick.params.load_by_voltage[1::2]),
        )
    )
    stranger = market.member_of_unit < 0
    behind = market.member_of_bus >= 0
    own_load = sum_into(xp, own_mw, np.where(behind, market.member_of_bus, members), members + 1)
    own_units = sum_into(xp, kept, np.where(stranger, members, market.member_of_unit), members + 1)
    return MarketView(
        clear=market.clear if is_numpy(xp) else partial(_cleared, market.clear, layer.protocol.no_derivative),
        load_mw=own_mw - market.generation_mw - _at_buses(xp, grid.inject, kept, buses),
        load_mvar=own_mvar - _at_buses(xp, grid.inject, now.q_mvar, buses),
        others_mw=xp.where(behind, 0.0, own_mw)
        - market.generation_mw
        - _at_buses(xp, grid.inject, xp.where(stranger, kept, 0.0), buses),
        fixed_mw=(own_load - own_units)[..., :members],
        at_low_mw=low,
        at_high_mw=high,
        price_ahead_per_mwh=tick.now[..., len(columns.series) : len(columns.series) + columns.price_hours],
        control=_control(tick),
    )


def _delivered(tick: Tick, layer: Layer, physical: Array) -> tuple[Injection, Array, Array]:
    """What units inject as they are commanded, and [MW] what those on the market do at both ends of their range.

    A kernel runs once on the commands of all three cases, ``(3, *batch, n)``.

    Returns
    -------
    now, low, high
        Of all units that inject, ``(*batch, n)``, and of those on the market, ``(*batch, units)``.
    """
    xp, plan, market, families = tick.xp, tick.layout.slots, layer.market, tick.layout.families
    assert market is not None
    governed = np.zeros(plan.size, dtype=bool)
    governed[layer.governed] = True
    ends = [xp.where(governed, plan.low + end * plan.half_span, physical) for end in (0.0, 2.0)]
    cases, batch = xp.stack([physical, *ends]), tick.now.shape[:-1]

    def powers(i: int) -> list[Array]:
        on_market = i in market.families
        asked = cases if on_market else physical[None]
        _, injection = tick.delivered(i, schedule.command(families[i], asked))
        # powers that do not follow a command have no axis of cases
        return [xp.broadcast_to(power, (len(asked), *batch, power.shape[-1])) for power in injection]

    found = {i: powers(i) for i in {*tick.layout.injecting, *market.families}}

    def joined(case: int, which: tuple[int, ...]) -> Injection:
        columns = zip(*([power[case] for power in found[i]] for i in which), strict=True)
        return Injection(*(join(xp, list(part), batch, tick.now.dtype) for part in columns))

    low, high = (joined(case, market.families).p_mw[..., market.unit] for case in (1, 2))
    return joined(0, tick.layout.injecting), low, high


def _by_series(xp: Namespace, series: Array, tables: tuple[Array, ...]) -> Array:
    """Power at each bus of tables ``(l, m)`` that follow series ``(*batch, l)``."""
    return sum(xp.sum(series[..., None] * table, axis=-2) for table in tables)


def _at_buses(xp: Namespace, inject: SumTo, powers: Array, buses: int) -> Array:
    """Sum of the units' powers at each bus."""
    shares = powers[..., inject.source] * xp.asarray(inject.weights, dtype=powers.dtype)
    return sum_into(xp, shares, inject.target, buses)


def _control(tick: Tick) -> Control:
    """Taps and capacitors as they are before the tick."""
    layout, devices = tick.layout, tick.state.devices
    cap_on = None if layout.caps is None else devices[layout.caps].on
    if layout.taps is None:
        return Control(cap_on=cap_on)
    ratio = layout.families[layout.taps].kernel.ratio(tick.params.families[layout.taps], devices[layout.taps])
    ratio = ratio if layout.regulators.tap_of is None else ratio[..., layout.regulators.tap_of]
    return Control(tap_ratio=ratio, cap_on=cap_on)


def _cleared(clear: Callable[..., Any], reason: str, xp: Namespace, **given: Any) -> Any:
    """What is cleared, without a derivative."""
    return without_derivative(xp, clear(xp, **given), given, reason)
