"""What the compiled step knows of topologies: what selects one, and what is dead in each, as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.layout import Layout

TICK, ROW, TOPOLOGY, OUTAGES = range(4)
"""Columns of a clock: tick, exogenous row, and where topologies change their index, then first tick and branch of each
outage.
"""


class TopologyTables(NamedTuple):
    """Empty arrays where nothing switches or fails.

    What is dead in topology t are the entries ``start[t]`` to ``start[t + 1]`` of the table behind `start`.

    Attributes
    ----------
    switch, as_given
        Column of the states that holds each switch, and whether it is closed in the network as given.
    place_value
        As in :class:`powergrid.engine.switching.Switching`.
    outage_ticks
        How long each outage lasts.
    unit_start, unit
        Dead units, by their numbers among all units.
    state_start, state
        Columns of the states of each injecting unit.
    bus_start, bus, place_start, place, relay_start, relay
        Dead buses, places of loads, and units of the regulators' family whose relay has no voltage.
    place_account
        Row of the ledger that the load of each place belongs to.
    forming
        Units that form grids, which observe their frequency.
    """

    switch: Array
    as_given: Array
    place_value: Array
    outage_ticks: Array
    unit_start: Array
    unit: Array
    state_start: Array
    state: Array
    bus_start: Array
    bus: Array
    place_start: Array
    place: Array
    relay_start: Array
    relay: Array
    place_account: Array
    forming: Array


def topology_tables(layout: Layout, fields: Sequence[Sequence[slice]]) -> TopologyTables:
    """The tables of a layout, where `fields` says in which columns each field of each family's state lies."""
    given, none = layout.grid.switching, np.zeros(0, np.int64)
    if given is None:
        return TopologyTables(*[none] * len(TopologyTables._fields))
    closed = none
    if given.family is not None:
        kernel = layout.families[given.family].kernel
        place = fields[given.family][kernel.State._fields.index("closed")]
        closed = np.arange(place.start, place.stop)
    alive = [given.unit_alive[i] for i in layout.injecting]
    columns = [
        [part.start + unit for part in fields[i]] for i in layout.injecting for unit in range(layout.families[i].size)
    ]
    return TopologyTables(
        switch=closed,
        as_given=given.as_given.astype(np.int64),
        place_value=given.place_value.astype(np.int64),
        outage_ticks=np.array([outage.ticks for outage in given.outages], np.int64),
        **_dead("unit", np.concatenate([np.ones((len(given.energised), 0), bool), *alive], axis=1)),
        state_start=np.cumsum([0, *map(len, columns)]),
        state=np.concatenate([none, *columns]).astype(np.int64),
        **_dead("bus", given.energised_bus),
        **_dead("place", given.energised),
        **_dead("relay", given.alive_relay),
        place_account=given.to_account.target.astype(np.int64),
        forming=none if given.islands is None else given.islands.unit.astype(np.int64),
    )


def _dead(name: str, alive: Array) -> dict[str, Array]:
    """Row pointers and columns of what a table ``(T, n)`` says has no voltage."""
    topology, dead = np.nonzero(~alive)
    start = np.searchsorted(topology, np.arange(len(alive) + 1))
    return {f"{name}_start": start.astype(np.int64), name: dead.astype(np.int64)}
