"""What has voltage, compiled: the twin of what the reference does where switches and outages change the topology.

Every environment has a topology of its own, so the loops here go lane by lane, over what is dead in it only.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from powergrid.engine import formulas
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.common import leaf, real, whole
from powergrid.engine.compiled.kernels import compiled
from powergrid.engine.compiled.rows import Rows
from powergrid.engine.compiled.topology_tables import OUTAGES, TICK, TOPOLOGY

_unserved_price = compiled(formulas.unserved_price)


class Topologies(NamedTuple):
    """Compiled functions over a group of environments, which do nothing where nothing switches or fails.

    Attributes
    ----------
    select
        Note the topology that holds in the clock and in the inputs of the flow.
    stop
        Units without voltage inject nothing and stay as they were.
    release
        Relays without voltage want no step.
    spare
        No price of voltage at buses without it.
    unserved
        Price the load of dead islands.
    mark
        1 for units with voltage and 0 for the others.
    """

    select: Callable
    stop: Callable
    release: Callable
    spare: Callable
    unserved: Callable
    mark: Callable


def make_topologies(rows: Rows) -> Topologies:
    """The functions for so many lanes."""
    lanes = rows.lanes

    @leaf
    def select(ints, who, clock, after, inputs):
        """As ``Switching.topology``."""
        value, ticks = whole(ints, at.TOPOLOGIES.place_value), whole(ints, at.TOPOLOGIES.outage_ticks)
        switch, as_given = whole(ints, at.TOPOLOGIES.switch), whole(ints, at.TOPOLOGIES.as_given)
        if len(value) == 0:
            return
        column = whole(ints, at.NETWORK.at)[at.INPUT.load_p] - 1
        for lane in range(lanes):
            e, index = who[lane], 0
            for w in range(len(switch)):
                if (after[switch[w] * lanes + lane] > 0.5) != (as_given[w] > 0):
                    index += value[w]
            for o in range(len(ticks)):
                since = clock[e, TICK] - clock[e, OUTAGES + 2 * o]
                if 0 <= since < ticks[o]:
                    index += (clock[e, OUTAGES + 2 * o + 1] + 1) * value[len(switch) + o]
            clock[e, TOPOLOGY], inputs[e, column] = index, index

    @leaf
    def stop(ints, who, clock, before, after, delivered):
        start, unit = whole(ints, at.TOPOLOGIES.unit_start), whole(ints, at.TOPOLOGIES.unit)
        first, state = whole(ints, at.TOPOLOGIES.state_start), whole(ints, at.TOPOLOGIES.state)
        slots, units = whole(ints, at.WIDTHS)[at.WIDTH.slots], whole(ints, at.WIDTHS)[at.WIDTH.units]
        if len(unit) == 0:
            return
        for lane in range(lanes):
            topology = clock[who[lane], TOPOLOGY]
            for i in range(start[topology], start[topology + 1]):
                u = unit[i]
                delivered[(slots + u) * lanes + lane] = 0.0
                delivered[(slots + units + u) * lanes + lane] = 0.0
                for k in range(first[u], first[u + 1]):
                    after[state[k] * lanes + lane] = before[state[k] * lanes + lane]

    @leaf
    def release(ints, who, inputs, wanted):
        start, relay = whole(ints, at.TOPOLOGIES.relay_start), whole(ints, at.TOPOLOGIES.relay)
        if len(relay) == 0:
            return
        column = whole(ints, at.NETWORK.at)[at.INPUT.load_p] - 1
        for lane in range(lanes):
            topology = int(inputs[who[lane], column])
            for i in range(start[topology], start[topology + 1]):
                wanted[relay[i] * lanes + lane] = 0.0

    @leaf
    def spare(ints, who, clock, work, first):
        start, bus = whole(ints, at.TOPOLOGIES.bus_start), whole(ints, at.TOPOLOGIES.bus)
        if len(bus) == 0:
            return
        for lane in range(lanes):
            topology = clock[who[lane], TOPOLOGY]
            for i in range(start[topology], start[topology + 1]):
                work[(first + bus[i]) * lanes + lane] = 0.0

    @leaf
    def unserved(ints, floats, who, clock, converged, now, work, first):
        """Add the load of dead places to its accounts, rows `first` of `work` on, where the flow was solved."""
        start, place = whole(ints, at.TOPOLOGIES.place_start), whole(ints, at.TOPOLOGIES.place)
        if len(place) == 0:
            return
        account = whole(ints, at.TOPOLOGIES.place_account)
        begin, series = whole(ints, at.DELIVERY.start), whole(ints, at.DELIVERY.series)
        load_mw, by_voltage = real(ints, floats, at.DELIVERY.load_p_mw), real(ints, floats, at.DELIVERY.by_voltage)
        price, terms = real(ints, floats, at.NUMBERS)[at.NUMBER.unserved], len(series)
        rows_ = len(whole(ints, at.BOOKS.start)) - 1
        for lane in range(lanes):
            topology = clock[who[lane], TOPOLOGY]
            if start[topology] == start[topology + 1] or not converged[who[lane]]:
                continue
            for i in range(start[topology], start[topology + 1]):
                own_mw = 0.0
                for term in range(begin[place[i]], begin[place[i] + 1]):
                    peak_mw = load_mw[term]
                    if len(by_voltage):
                        peak_mw += by_voltage[term] + by_voltage[2 * terms + term]
                    own_mw += now[series[term] * lanes + lane] * peak_mw
                work[(first + account[place[i]]) * lanes + lane] += own_mw
            for a in range(first, first + rows_):
                work[a * lanes + lane] = _unserved_price(xp, work[a * lanes + lane], price)

    @leaf
    def mark(ints, who, clock, units, marks):
        """Rows of `marks` for `units`, by their numbers among all units."""
        start, unit = whole(ints, at.TOPOLOGIES.unit_start), whole(ints, at.TOPOLOGIES.unit)
        for i in range(len(units) * lanes):
            marks[i] = 1.0
        if len(unit) == 0:
            return
        for lane in range(lanes):
            topology = clock[who[lane], TOPOLOGY]
            for i in range(start[topology], start[topology + 1]):
                for u in range(len(units)):
                    if units[u] == unit[i]:
                        marks[u * lanes + lane] = 0.0

    return Topologies(select, stop, release, spare, unserved, mark)
