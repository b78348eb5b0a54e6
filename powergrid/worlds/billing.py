"""What an optimiser must know of bills: the meters at which accounts pay, with their loads and tariffs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.coordination.layers import Layer
from powergrid.engine.layout import Family, Layout
from powergrid.networks.terminals import node_of_place
from powergrid.planning.dispatch import Meter
from powergrid.worlds.world import World


class MeterPlace(NamedTuple):
    """A meter at which an account pays for energy: whose energy it measures, and the columns of its tariff.

    Attributes
    ----------
    name, account, units, market
        As of a :class:`Meter`.
    load_mw
        Peak power of the network's own load that it is the first to measure, by series of loads [MW], ``(l,)``.
    load_series, retail, feed_in
        Columns of the series.
    """

    name: str
    account: str
    units: tuple[str, ...]
    market: str
    load_mw: np.ndarray
    load_series: np.ndarray
    retail: int
    feed_in: int

    def meter(self, rows: np.ndarray) -> Meter:
        """The meter over some ticks, from the series that concern it: `rows` are ``(ticks, series)``."""
        own = np.flatnonzero(self.load_mw)
        load_mw = rows[:, self.load_series[own]] @ self.load_mw[own]
        retail, feed_in = rows[:, self.retail], rows[:, self.feed_in]
        return Meter(self.name, self.account, self.units, load_mw, retail, feed_in, self.market)


def markets(layout: Layout) -> dict[str, Layer]:
    """The protocols that settle the bills of their members by tariffs and trades, by the name of their market.

    Members of a market on the network pay for energy as if at a tariff, which is the market price of the data.
    """
    layers = layout.coordination.layers
    settling = (layer for layer in layers if layer.protocol.settles_bills and layer.market is None)
    return {f"market_{m}": layer for m, layer in enumerate(settling)}


def meter_places(world: World) -> list[MeterPlace]:
    """Every meter at which accounts pay for energy; members of a market pay once for each of their places."""
    layout, metering = world.layout, world.layout.meters.zones
    trading = markets(layout)
    members = {int(account): market for market, layer in trading.items() for account in layer.accounts[:-1]}
    place_of = {agent.id: getattr(agent, "bus", "") for agent in world.agents}
    by_node, _ = load_tables(world)
    meters: dict[tuple[int, str], MeterPlace] = {}
    for family in (family for family in layout.families if family.kernel.role == "meter"):
        for i, unit in enumerate(family.ids):
            place, account = metering.places.index(place_of[unit]), int(family.account[i])
            market = members.get(account, "")
            retail, feed_in = _tariff(family, i, trading.get(market))
            meters[place, "" if market else unit] = MeterPlace(
                name=layout.meters.names[family.place[i]],
                account=layout.accounts[account],
                units=tuple(unit for unit, first in metering.of_unit.items() if first == place),
                market=market,
                load_mw=by_node[:, metering.of_node == place].sum(axis=1),
                load_series=layout.grid.load_series,
                retail=retail,
                feed_in=feed_in,
            )
    return list(meters.values())


def _tariff(family: Family, i: int, trade: Layer | None) -> tuple[int, int]:
    """Columns of the retail and the feed-in price at a meter: its own, or those of its market."""
    if trade is not None:
        member = int(np.flatnonzero(trade.accounts[:-1] == family.account[i])[0])
        return int(trade.retail[member]), int(trade.feed_in[member])
    fields = family.kernel.Exogenous._fields
    retail, feed_in = (family.sources[fields.index(name)] for name in ("retail_per_mwh", "feed_in_per_mwh"))
    return int(retail.place[i]), int(feed_in.place[i])


def load_tables(world: World) -> tuple[np.ndarray, np.ndarray]:
    """The network's own active and reactive loads by series and row of its buses.

    Loads that follow the voltage are taken at the lower end of its band, where they draw least, and loads between two
    phases at the first phase. A relaxation without voltages then never needs more power than an episode.
    """
    layout = world.layout
    v, parts = layout.settings.v_min_pu, (layout.grid.load_p_mw, layout.grid.load_q_mvar, *layout.grid.load_by_voltage)
    at = node_of_place(world.network)
    tables = []
    for kind in (0, 1):
        drawn = np.sum([part * v**power for power, part in enumerate(parts[kind::2])], axis=0)
        table = np.zeros((len(drawn), len(world.network.buses.name)))
        np.add.at(table.T, at, drawn.T)
        tables.append(table)
    return tables[0], tables[1]
