"""The compiled step before the power flow: choose, run every device, and write the inputs of the flow.

Written once for any number of lanes; see :mod:`powergrid.engine.compiled.loops` for the tables.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from powergrid.engine import formulas
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.arguments import CHOOSE
from powergrid.engine.compiled.common import address, flat, inside, invoke, leaf, real, whole
from powergrid.engine.compiled.decide import make_decide
from powergrid.engine.compiled.kernels import compiled
from powergrid.engine.compiled.layers import make_layers
from powergrid.engine.compiled.rows import Rows
from powergrid.engine.compiled.topologies import make_topologies

_due, _physical, _magnitude = (compiled(getattr(formulas, name)) for name in ("due", "physical", "magnitude"))


class Before(NamedTuple):
    """Compiled functions over all groups of environments; the first three take ``TickArguments``.

    Attributes
    ----------
    begin
        All that a tick does before its power flow: what is chosen, and what comes of it.
    want
        Steps that regulators ask for at the voltages found; which environments are busy, and whether any is.
    again
        Move regulators and prepare the next flow of busy environments.
    members
        Environments of a group.
    deliver_family
        One family's devices, as they are after a tick.
    draw
        What the buses draw.
    """

    begin: Callable
    want: Callable
    again: Callable
    members: Callable
    deliver_family: Callable
    draw: Callable


def make_before(rows: Rows) -> Before:
    """The half of the step for so many lanes."""
    lanes, get, put, fill, read, write = rows
    topologies = make_topologies(rows)
    select, stop, release = topologies.select, topologies.stop, topologies.release
    decide, seams = make_decide(rows), make_layers(rows)
    by_table, by_rule, by_relay, sense = decide
    first_seams = seams.before

    @leaf
    def members(group, total, who):
        """Environments of a group; where there are too few the last one stands again, with equal results."""
        for lane in range(lanes):
            who[lane] = min(group * lanes + lane, total - 1)

    @leaf
    def count_outside(actions, acts, who, clipped):
        """How many numbers of each agent lie outside [-1, 1]; nearly always none does."""
        numbers, width = actions.shape[1] * actions.shape[2], actions.shape[2]
        most, extreme = fill(0.0), False
        for i in range(numbers):
            most = xp.maximum(most, xp.abs(get(acts, i)))
        put(acts, numbers, most)
        for lane in range(lanes):
            extreme |= not acts[numbers * lanes + lane] <= 1.0
        for lane in range(lanes):
            e = who[lane]
            for a in range(actions.shape[1]):
                clipped[e, a] = 0
            if extreme:
                for i in range(numbers):
                    clipped[e, i // width] += abs(acts[i * lanes + lane]) > 1.0

    @leaf
    def fill_slots(ints, who, clock, actions, acts, before, after, due, clipped):
        actor, position = whole(ints, at.CHOICE.actor), whole(ints, at.CHOICE.position)
        interval, offset = whole(ints, at.CHOICE.interval), whole(ints, at.CHOICE.offset)
        numbers, width, first = (
            actions.shape[1] * actions.shape[2],
            actions.shape[2],
            whole(ints, at.WIDTHS)[at.WIDTH.states],
        )
        read(flat(actions), numbers, who, 0, numbers, acts, 0)
        count_outside(actions, acts, who, clipped)
        for lane in range(lanes):
            e = who[lane]
            for a in range(len(interval)):
                always = interval[a] <= 1 and offset[a] <= 0
                due[e, a] = always or _due(clock[e, 0], interval[a], offset[a])
        silent, start = whole(ints, at.SERVICE.silent_column), whole(ints, at.SERVICE.silent_start)
        for a in range(len(start) - 1):
            if start[a] == start[a + 1]:
                continue
            for lane in range(lanes):
                works = False
                for i in range(start[a], start[a + 1]):
                    works |= not before[silent[i] * lanes + lane] > 0.5
                due[who[lane], a] &= works
        absent = whole(ints, at.SERVICE.actor_column)
        for a in range(len(interval)):
            if absent[a] >= 0:
                for lane in range(lanes):
                    due[who[lane], a] &= not before[absent[a] * lanes + lane] > 0.5
        for k in range(len(actor)):
            a = actor[k]
            if a < 0:
                put(after, first + k, get(before, first + k))
                continue
            put(after, first + k, xp.minimum(xp.maximum(get(acts, a * width + position[k]), -1.0), 1.0))
            silenced = absent[a] >= 0 or (len(start) > 1 and start[a] < start[a + 1])
            if interval[a] > 1 or offset[a] > 0 or silenced:
                for lane in range(lanes):
                    if not due[who[lane], a]:
                        after[(first + k) * lanes + lane] = before[(first + k) * lanes + lane]

    @leaf
    def deliver_family(ints, floats, f, before, after, now, v_pu, delivered):
        """One family's devices, whose row of ``Calls.table`` begins at `f`."""
        widths, table = whole(ints, at.WIDTHS), whole(ints, at.CALLS.table)
        numbers, places = real(ints, floats, at.CALLS.numbers), whole(ints, at.CALLS.places)
        slots, units = widths[at.WIDTH.slots], widths[at.WIDTH.units]
        state, unit = table[f + at.CALL.state] * lanes, table[f + at.CALL.unit]
        invoke(
            table[f + at.CALL.step],
            (
                table[f + at.CALL.units],
                address(numbers, table[f + at.CALL.numbers]),
                address(places, table[f + at.CALL.places]),
                address(before, state),
                address(delivered, 0),
                address(now, 0),
                address(v_pu, 0),
                real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                address(after, state),
                address(delivered, (slots + unit) * lanes),
                address(delivered, (slots + units + unit) * lanes),
            ),
        )
        if table[f + at.CALL.failed]:
            invoke(
                table[f + at.CALL.failed],
                (
                    table[f + at.CALL.units],
                    address(numbers, table[f + at.CALL.numbers]),
                    address(places, table[f + at.CALL.places]),
                    address(before, state),
                    address(now, 0),
                    address(v_pu, 0),
                    real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                    address(before, 0),
                    address(whole(ints, at.SERVICE.column), unit),
                    address(after, state),
                    address(delivered, (slots + unit) * lanes),
                    address(delivered, (slots + units + unit) * lanes),
                ),
            )

    @leaf
    def to_physical(ints, floats, after, delivered):
        """Slots in physical units."""
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        first = whole(ints, at.WIDTHS)[at.WIDTH.states]
        for k in range(len(low)):
            put(delivered, k, _physical(get(after, first + k), low[k], half_span[k]))

    @leaf
    def deliver(ints, floats, before, after, now, v_pu, delivered):
        """Every device."""
        widths, table = whole(ints, at.WIDTHS), whole(ints, at.CALLS.table)
        slots, units = widths[at.WIDTH.slots], widths[at.WIDTH.units]
        for i in range(slots, slots + 2 * units):
            put(delivered, i, 0.0)
        for f in range(0, len(table), at.CALL_WIDTH):
            if table[f + at.CALL.step]:
                deliver_family(ints, floats, f, before, after, now, v_pu, delivered)

    @leaf
    def draw(ints, floats, now, delivered, drawn):
        """What the buses draw: the network's own loads less what devices inject."""
        start, series = whole(ints, at.DELIVERY.start), whole(ints, at.DELIVERY.series)
        p_mw, q_mvar = real(ints, floats, at.DELIVERY.load_p_mw), real(ints, floats, at.DELIVERY.load_q_mvar)
        by_voltage, share = real(ints, floats, at.DELIVERY.by_voltage), real(ints, floats, at.DELIVERY.unit_share)
        unit_of, bus_of = whole(ints, at.DELIVERY.unit), whole(ints, at.DELIVERY.unit_bus)
        slots, units = whole(ints, at.WIDTHS)[at.WIDTH.slots], whole(ints, at.WIDTHS)[at.WIDTH.units]
        places, terms = len(start) - 1, len(p_mw)
        for bus in range(places):
            p = q = fill(0.0)
            for term in range(start[bus], start[bus + 1]):
                level = get(now, series[term])
                p += level * p_mw[term]
                q += level * q_mvar[term]
            put(drawn, bus, p)
            put(drawn, places + bus, q)
        for part in range(len(by_voltage) // max(terms, 1)):
            for bus in range(places):
                total = fill(0.0)
                for term in range(start[bus], start[bus + 1]):
                    total += get(now, series[term]) * by_voltage[part * terms + term]
                put(drawn, (2 + part) * places + bus, total)
        for i in range(len(unit_of)):
            bus, unit = bus_of[i], slots + unit_of[i]
            put(drawn, bus, get(drawn, bus) - get(delivered, unit) * share[i])
            put(drawn, places + bus, get(drawn, places + bus) - get(delivered, units + unit) * share[i])

    @leaf
    def control(ints, floats, who, after, wanted, ratio, inputs):
        """Regulators take the steps they want, unless one upstream wants any; gains and capacitors for the flow."""
        relay, columns = whole(ints, at.RELAY.family), whole(ints, at.NETWORK.at)
        tap_unit, cap_state = whole(ints, at.NETWORK.tap_unit), whole(ints, at.NETWORK.cap_state)
        if len(relay):
            call = relay[0] * at.CALL_WIDTH
            table, upstream = whole(ints, at.CALLS.table), real(ints, floats, at.RELAY.upstream)
            numbers = real(ints, floats, at.CALLS.numbers)
            invoke(
                relay[1],
                (
                    table[call + at.CALL.units],
                    address(numbers, table[call + at.CALL.numbers]),
                    address(after, table[call + at.CALL.state] * lanes),
                    address(upstream, 0),
                    address(wanted, 0),
                    address(ratio, 0),
                ),
            )
        for lane in range(lanes):
            e = who[lane]
            for k in range(len(tap_unit)):
                inputs[e, columns[at.INPUT.tap] + k] = ratio[tap_unit[k] * lanes + lane]
            for c in range(len(cap_state)):
                inputs[e, columns[at.INPUT.cap] + c] = after[cap_state[c] * lanes + lane]

    @inside
    def begin(p):
        ints, floats, table, clock, actions, inputs = p.ints, p.floats, p.table, p.clock, p.actions, p.inputs
        wanted, ratio = p.wanted, p.ratio
        widths, columns = whole(ints, at.WIDTHS), whole(ints, at.NETWORK.at)
        states, m, width = widths[at.WIDTH.states], widths[at.WIDTH.buses], table.shape[1]
        held, series, flows = states + widths[at.WIDTH.slots], flat(table), flat(inputs)
        parts = 2 + len(real(ints, floats, at.DELIVERY.by_voltage)) // max(
            len(real(ints, floats, at.DELIVERY.load_p_mw)), 1
        )
        v_pu, now = np.empty(m * lanes), np.empty((width + widths[at.WIDTH.signals]) * lanes)
        drawn = np.empty((len(whole(ints, at.DELIVERY.start)) - 1) * parts * lanes)
        acts = np.empty((actions.shape[1] * actions.shape[2] + 1) * lanes)
        who, row = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        for group in range(len(p.before)):
            old, new, made = p.before[group], p.after[group], p.delivered[group]
            members(group, len(clock), who)
            for lane in range(lanes):
                row[lane] = clock[who[lane], 1] % len(table)
            read(series, width, row, 0, width, now, 0)
            for bus in range(m):
                re, im = get(old, held + bus), get(old, held + m + bus)
                put(v_pu, bus, _magnitude(xp, re, im))
            if p.begin_with == CHOOSE:
                for i in range(states * lanes):
                    new[i] = old[i]
                for i in range((held + 2 * m) * lanes, len(old)):
                    new[i] = old[i]
                fill_slots(ints, who, clock, actions, acts, old, new, p.due, p.clipped)
                if len(whole(ints, at.RULES.acting)):
                    to_physical(ints, floats, new, made)
                by_table(ints, floats, who, clock, p.due, p.draws, new)
                first_seams(ints, floats, at.VERTICAL, who, clock, p.due, p.uniform, old, new, now, v_pu, made)
            for i in range(widths[at.WIDTH.signals]):
                put(now, width + i, get(new, widths[at.WIDTH.signals_from] + i))
            if p.begin_with == CHOOSE:
                by_rule(ints, floats, who, clock, p.due, p.draws, old, new, now, v_pu, made)
                by_relay(ints, floats, who, clock, p.due, old, new, v_pu)
            if p.end_with == CHOOSE:
                continue
            write(old, held, 2 * m, flows, inputs.shape[1], who, columns[at.INPUT.start_re])
            to_physical(ints, floats, new, made)
            first_seams(ints, floats, at.GOVERNING, who, clock, p.due, p.uniform, old, new, now, v_pu, made)
            deliver(ints, floats, old, new, now, v_pu, made)
            select(ints, who, clock, new, inputs)
            stop(ints, who, clock, old, new, made)
            first_seams(ints, floats, at.HORIZONTAL, who, clock, p.due, p.uniform, old, new, now, v_pu, made)
            draw(ints, floats, now, made, drawn)
            write(drawn, 0, len(drawn) // lanes, flows, inputs.shape[1], who, columns[at.INPUT.load_p])
            for i in range(wanted.shape[1]):
                wanted[group, i] = 0.0
            control(ints, floats, who, new, wanted[group], ratio[group], inputs)

    @inside
    def want(p):
        ints, floats, after, out, wanted, ratio = p.ints, p.floats, p.after, p.out, p.wanted, p.ratio
        relay, bus, table = whole(ints, at.RELAY.family), whole(ints, at.RELAY.bus), whole(ints, at.CALLS.table)
        numbers, allowed = real(ints, floats, at.CALLS.numbers), real(ints, floats, at.RELAY.allowed)
        m, call, last, count = whole(ints, at.WIDTHS)[at.WIDTH.buses], relay[0] * at.CALL_WIDTH, out.shape[1] - 1, 0
        units, v_pu, who = np.arange(len(bus)), np.empty(len(bus) * lanes), np.empty(lanes, np.int64)
        for group in range(len(after)):
            members(group, len(out), who)
            for lane in range(lanes):
                row = out[who[lane]]
                for u in range(len(units)):
                    v_pu[u * lanes + lane] = row[2 * m + bus[u]]
                sense(ints, floats, row, m, ratio[group], lane, v_pu)
            invoke(
                relay[2],
                (
                    len(units),
                    address(numbers, table[call + at.CALL.numbers]),
                    address(after[group], table[call + at.CALL.state] * lanes),
                    address(v_pu, 0),
                    address(units, 0),
                    address(allowed, 0),
                    address(wanted[group], 0),
                ),
            )
            release(ints, who, p.inputs, wanted[group])
            for lane in range(lanes):
                e, asks = who[lane], False
                for u in range(len(units)):
                    if not out[e, last] < p.tol_pu:
                        wanted[group, u * lanes + lane] = 0.0
                    asks |= wanted[group, u * lanes + lane] != 0.0
                p.busy[e] = asks
        for e in range(len(out)):
            count += p.busy[e]
        return count > 0

    @inside
    def again(p):
        start, who, done = whole(p.ints, at.NETWORK.at)[at.INPUT.start_re], np.empty(lanes, np.int64), -1
        for e in range(len(p.busy)):
            if not p.busy[e]:
                continue
            group = e // lanes
            if group != done:  # the others of the group want nothing, so nothing of theirs moves
                members(group, len(p.out), who)
                control(p.ints, p.floats, who, p.after[group], p.wanted[group], p.ratio[group], p.inputs)
                done = group
            for i in range(2 * whole(p.ints, at.WIDTHS)[at.WIDTH.buses]):
                p.inputs[e, start + i] = p.out[e, i]

    return Before(begin, want, again, members, deliver_family, draw)
