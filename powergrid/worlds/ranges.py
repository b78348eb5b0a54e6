"""Ranges that observed numbers usually lie in, from data and ratings: what normalised observations are scaled by.

Bounds of observations hold for every episode and are therefore wide, such as 10,000 MW for a meter. A range is where a
number lies on a usual day: between the least and the greatest value of its series on training days, up to the rating of
a device, within the voltage band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from powergrid.core.types import Array, Entry
from powergrid.engine.assembly.metering import SOURCE, UNIT
from powergrid.networks.terminals import node_of_place
from powergrid.worlds.world import World

_UNRATED_MW = 1e3
"""Powers with a larger bound have none that a rating gives."""
_FREQUENCY_BAND = 0.02
"""Deviation of an island's frequency from the nominal one [1], the usual band of EN 50160 without a synchronous
connection."""


def usual_ranges(world: World) -> np.ndarray:
    """Least and greatest usual value of each feature, ``(F, 2)``, in its own unit.

    Parameters
    ----------
    world
        Network, agents, data and layout. Series count on the days of its training split, or on all days where that is
        empty.
    """
    layout, settings = world.layout, world.layout.settings
    view, blocks = layout.view, layout.view.blocks
    found = np.array([(entry.low, entry.high) for _, entry in view.entries], dtype=float).reshape(-1, 2)

    def fill(first: int, values: Sequence[Sequence[float]] | Array) -> None:
        if len(values):
            found[first : first + len(values)] = values

    days = world.days["train"] if len(world.days["train"]) else np.arange(len(world.table) // world.ticks_per_day)
    series = _series_ranges(world, days)
    columns = layout.columns
    ahead = np.tile(series[list(columns.ahead)], (columns.ahead_hours, 1))
    fill(blocks.first.series, [*series, *[series[columns.price]] * columns.price_hours])
    fill(blocks.first.forecast, ahead)
    fill(blocks.first.v_pu, [(settings.v_min_pu, settings.v_max_pu)] * blocks.count.v_pu)
    powers = _Powers(world, series)
    fill(blocks.first.measured_mw, powers.measured)
    fill(blocks.first.q_mvar, powers.reactive)
    fill(blocks.first.load_mw, powers.load)
    fill(blocks.first.net_load_mw, powers.net_load[layout.ledger.renewable_accounts])
    if blocks.count.settlement:
        settled = world.settlement(days * world.ticks_per_day)
        fill(blocks.first.settlement, np.column_stack([settled.min(0), settled.max(0)]))
    nominal = world.network.f_hz
    band = nominal * (1.0 - _FREQUENCY_BAND), nominal * (1.0 + _FREQUENCY_BAND)
    fill(blocks.first.frequency_hz, [band] * blocks.count.frequency_hz)
    priced = [i for i, name in enumerate(columns.series) if name.split(":")[0].endswith("_per_mwh")]
    dearest = float(np.abs(series[priced]).max())
    signals = slice(blocks.first.signals, blocks.first.signals + blocks.count.signals)
    fill(
        blocks.first.signals,
        [_of_signal(entry, dearest, powers.size_of(owner), settings.dt_h) for owner, entry in view.entries[signals]],
    )
    return found


def _series_ranges(world: World, days: np.ndarray) -> np.ndarray:
    """Least and greatest value of each series on some days, ``(series, 2)``; of the clock its bounds."""
    columns = world.layout.columns
    found = np.array(columns.bounds, dtype=float)
    read = [i for i, name in enumerate(columns.series) if not name.startswith("clock_")]
    rows = days[:, None] * world.ticks_per_day + np.arange(world.ticks_per_day)
    values = world.table.series(read, rows.ravel())
    found[read] = np.column_stack([values.min(0), values.max(0)])
    return found


def _of_signal(entry: Entry, dearest: float, size_mw: float, dt_h: float) -> tuple[float, float]:
    """Range of what a protocol sends: prices up to the dearest of the data, powers up to the size of the owner."""
    reach = {"$/MWh": dearest, "MW": size_mw, "Mvar": size_mw, "MWh": size_mw * dt_h}.get(entry.unit, np.inf)
    low, high = max(entry.low, -reach), min(entry.high, reach)
    return (low, high) if low < high else (entry.low, entry.high)


class _Powers:
    """Ranges of powers, from the network's own loads and the ratings of units [MW].

    Attributes
    ----------
    measured
        Of each measurement, consumption positive, ``(measurements, 2)``.
    reactive
        Of the reactive power of metered branches and of the source [Mvar], ``(k, 2)``: as large as the active one.
    load, net_load
        Of the network's own load behind each account's meter, and of the same less sun, wind and water,
        ``(accounts, 2)``.
    """

    def __init__(self, world: World, series: np.ndarray):
        self._layout = layout = world.layout
        grid, zones = layout.grid, layout.meters.zones
        self._series = series
        peak = grid.load_p_mw + sum(grid.load_by_voltage[::2])
        at_places = _sum_of_ranges(series[grid.load_series], peak)
        at_meters = zones.of_node[node_of_place(world.network)]
        rest = max(float(np.abs(at_places).max(-1).sum()), 1.0)
        self._units = _unit_ranges(layout.view.entries, layout.units, rest)
        drawn = {id: -reach[::-1] for id, reach in self._units.items()}
        everything = at_places.sum(0) + sum(drawn.values(), start=np.zeros(2))
        self._whole_mw = max(float(np.abs(everything).max()), 1e-3)
        own = np.zeros((len(zones.places), 2))  # by place, without what lies behind meters further inside
        np.add.at(own, at_meters[at_meters >= 0], at_places[at_meters >= 0])
        for id, place in zones.of_unit.items():
            if place >= 0:
                own[place] += drawn[id]
        index, nested = {place: i for i, place in enumerate(zones.places)}, zones.nested

        def whole(place: int) -> np.ndarray:
            return own[place] + sum((whole(inner) for inner in nested.get(place, ())), start=np.zeros(2))

        branches, net = layout.meters.branches, layout.meters.net.size
        names = layout.meters.names
        self.measured = np.array(
            [
                *(whole(index[name]) for name in names[:branches]),
                everything,
                *(whole(index[UNIT + name]) for name in names[branches + 1 : len(names) - net]),
                *(own[index[_place_of_net(name)]] for name in names[len(names) - net :]),
            ]
        )
        largest = np.abs(self.measured[: branches + 1]).max(-1)
        self.reactive = np.column_stack([-largest, largest])
        self.load, self.net_load = self._accounts()
        self._size = self._sizes()

    def _accounts(self) -> tuple[np.ndarray, np.ndarray]:
        """The network's own load behind the meter of each account, and the same less sun, wind and water."""
        layout, ledger = self._layout, self._layout.ledger
        load = _sum_of_ranges(self._series[layout.grid.load_series], ledger.load_to_account[:, :-1])
        if not len(ledger.renewable_series):
            return load, load
        return load, load + _sum_of_ranges(self._series[ledger.renewable_series], -ledger.renewable_to_account[:, :-1])

    def _sizes(self) -> dict[str, float]:
        """Largest power of the load and the units of each account together."""
        sizes = np.abs(self.load).max(-1)
        for family in self._layout.families:
            for id, account in zip(family.ids, family.account.tolist(), strict=True):
                if account >= 0 and id in self._units:
                    sizes[account] += np.abs(self._units[id]).max()
        return dict(zip(self._layout.accounts, sizes.tolist(), strict=True))

    def size_of(self, owner: str) -> float:
        """Largest power of an account's load and units together [MW]; that of the network where it has none."""
        return self._size.get(owner) or self._whole_mw


def _place_of_net(name: str) -> str:
    place = name.removesuffix(".net")
    return SOURCE if place == "source" else place


def _sum_of_ranges(ranges: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Range of weighted sums, ``(n, 2)``, of numbers in `ranges` ``(k, 2)`` with weights ``(k, n)``."""
    ends = weights[..., None] * ranges[:, None, :]
    total: np.ndarray = np.stack([ends.min(-1).sum(0), ends.max(-1).sum(0)], axis=-1)
    return total


def _unit_ranges(
    entries: Sequence[tuple[str, Entry]], units: Sequence[str], unrated_mw: float
) -> Mapping[str, np.ndarray]:
    """Range of what each unit feeds in [MW], from what is read of it; up to `unrated_mw` where it has no rating."""
    known = set(units)
    found = {id: np.zeros(2) for id in units}
    feeds: set[str] = set()
    for owner, entry in entries:
        if owner not in known or entry.unit != "MW" or entry.name in ("load", "net_load", "meter_p") or owner in feeds:
            continue
        largest = max(abs(entry.low), abs(entry.high))
        if largest >= _UNRATED_MW:
            found[owner] = np.array([-unrated_mw, unrated_mw])
        elif entry.name == "p":
            found[owner] = np.array([entry.low, entry.high])
            feeds.add(owner)
        else:
            largest = max(largest, float(found[owner].max()))
            found[owner] = np.array([-largest, largest])
    return found
