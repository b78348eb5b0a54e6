"""What an agent that decides in Python can say of the hours ahead: series, meters, and the worth of stored energy."""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np

from powergrid.core.types import CONSTANT_SERIES, Array
from powergrid.datasets.tariff import tariff
from powergrid.engine.layout import Layout
from powergrid.planning.forecast import by_clock_hour, interpolated
from powergrid.worlds.billing import MeterPlace, markets, meter_places
from powergrid.worlds.world import World


def forecast(
    world: World, hours_ahead: Mapping[str, Array], seen: Array, ticks: int, hour: float, row: int
) -> dict[str, np.ndarray]:
    """Series that an agent observes over the ticks ahead, by name, ``(ticks,)``.

    Prices hold from one full hour to the next; other values run straight between the hours of their forecast. The clock
    goes on, and tariffs follow the price; those of a file are known.

    Parameters
    ----------
    world
        Series, tariffs and the length of a tick.
    hours_ahead
        Positions in the observation of each series: now, and 1, 2, 3 ... hours ahead.
    seen
        The observation, ``(d,)``.
    ticks
        Length of the forecast.
    hour
        Hour of the day of its first tick [h].
    row
        Row of the table of its first tick.
    """
    columns, dt_h, tariffs = world.layout.columns, world.layout.settings.dt_h, world.table.tariffs
    price_name = columns.series[columns.price]
    found: dict[str, np.ndarray] = {}
    for name, places in hours_ahead.items():
        values = seen[places].astype(float)
        if name == price_name:
            found[name] = by_clock_hour(values, ticks, dt_h, hour)
        elif name.startswith("clock_day_"):
            phase = 2.0 * np.pi * (hour + np.arange(ticks) * dt_h) / 24.0
            found[name] = np.sin(phase) if name.endswith("_sin") else np.cos(phase)
        else:
            found[name] = interpolated(values, ticks, dt_h)
    for name in tariffs.keys() & hours_ahead.keys():
        feed_in, retail = tariff(np, found[price_name], *tariffs[name])
        found[name] = retail if name.startswith("retail") else feed_in
    for name in hours_ahead.keys() - tariffs.keys():
        if name.split(":")[0] in ("retail_per_mwh", "feed_in_per_mwh"):
            found[name] = world.table.series([columns.series.index(name)], row + np.arange(ticks))[:, 0]
    return found


def rows_of(layout: Layout, forecast: Mapping[str, np.ndarray]) -> np.ndarray:
    """A forecast as rows of all series, ``(ticks, series)``; NaN where it says nothing."""
    names = layout.columns.series
    rows = np.full((max((len(values) for values in forecast.values()), default=0), len(names)), np.nan)
    for name, values in forecast.items():
        if name in names:
            rows[:, names.index(name)] = values
    if CONSTANT_SERIES in names:
        rows[:, names.index(CONSTANT_SERIES)] = 1.0
    return rows


def own_meters(world: World, account: str, devices: Container[str]) -> tuple[MeterPlace, ...]:
    """Meters at which an account pays, and those of devices."""
    places = meter_places(world)
    return tuple(place for place in places if place.account == account or any(unit in devices for unit in place.units))


def whole_markets(world: World, account: str, devices: Container[str], slots: Array) -> frozenset[str]:
    """Markets whose meters are all :func:`own_meters` of an agent, and whose orders all lie on its `slots`."""
    own = {(place.name, place.account) for place in own_meters(world, account, devices)}
    others = {place.market for place in meter_places(world) if (place.name, place.account) not in own}
    return frozenset(
        market
        for market, layer in markets(world.layout).items()
        if market not in others and all(np.isin(orders, slots).all() for orders in layer.orders)
    )


def settlement_names(layout: Layout, devices: Container[str]) -> dict[str, str]:
    """Name of the price at which what each device holds is settled."""
    names = layout.ledger.settlement_names(layout.columns)
    return {
        unit: names[place]
        for i, places in zip(layout.ledger.settling, layout.ledger.settle_at, strict=True)
        for unit, place in zip(layout.families[i].ids, places.tolist(), strict=True)
        if unit in devices
    }


def trade_labels(layout: Layout, member: str) -> dict[str, str]:
    """Labels, without units, of what a member observes of its last trades: ``trade_price`` and ``traded_energy``."""
    return {
        channel.reports: f"{member}.{channel.name}"
        for layer in layout.coordination.layers
        for channel in layer.added.channels
        if channel.reports and member in layer.ids
    }


def meanings(layout: Layout, slots: Array) -> tuple[str, ...]:
    """What orders on slots mean to a plan, see :class:`powergrid.agents.protocol.Action`; ``""`` for commands."""
    of_slot = {
        slot: action.meaning
        for layer in layout.coordination.layers
        for action, orders in zip(layer.added.actions, layer.orders, strict=True)
        for slot in orders.tolist()
    }
    return tuple(of_slot.get(slot, "") for slot in slots.tolist())
