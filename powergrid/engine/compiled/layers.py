"""Layers in the compiled step: both seams of every protocol.

What the kernels of a layer are given is filled for all environments of a group at once, as tables of lanes. Kernels
that treat every member by itself work on those tables, see :mod:`powergrid.engine.compiled.memberwise`. Other kernels
work on arrays of members and run for one environment after the other, each on its own row of a copy.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from powergrid.engine.choices import ABSTAIN, RULE
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.common import address, inside, invoke, leaf, real, whole
from powergrid.engine.compiled.rows import Rows


class Seams(NamedTuple):
    """Compiled functions over the environments of a group.

    Attributes
    ----------
    before
        ``(ints, floats, stage, who, clock, acted, draws, old, new, now, v_pu, delivered)``: first seams of one stage.
    after
        ``(ints, floats, tol_pu, who, clock, draws, new, now, flow, delivered, work)``: second seams, into `work`.
    """

    before: Callable
    after: Callable


def make_layers(rows: Rows) -> Seams:
    """Both seams for so many lanes."""
    lanes, get, put, fill, read, write = rows

    @leaf
    def room(ints):
        """Numbers that the longest tables of any layer take for a group.

        They are those of a context and of the widest table of lanes, states, orders, what is sent, governed commands
        and what is metered, with one to spare where a kernel gets an address.
        """
        most = whole(ints, at.LAYERS.most)
        m = max(most[at.LAYER.members], most[at.LAYER.metered])
        states, g = most[at.LAYER.states], most[at.LAYER.governed]
        asked, sends = most[at.LAYER.orders], max(most[at.LAYER.sent_before], most[at.LAYER.sent_after])
        context = most[at.LAYER.speakers] + 5 * m + 2 + most[at.LAYER.draws] + g + most[at.LAYER.works]
        wide = max(context, asked, sends)
        return (
            context * lanes,
            wide * lanes,
            (states + 1) * lanes,
            (asked + 1) * lanes,
            (sends + 1) * lanes,
            (g + 1) * lanes,
            m * lanes,
        )

    @leaf
    def context_size(table, r):
        """Numbers of the context of the layer at `r`."""
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        return p + 5 * m + 2 + table[r + at.LAYER.draws] + g + table[r + at.LAYER.works]

    @leaf
    def unless(new, flag, value):
        """A value for the lanes whose flag in a column of the state is not set, else 0; -1 for no such column."""
        return value if flag < 0 else xp.where(get(new, flag) > 0.5, 0.0, value)

    @leaf
    def find_due(clock, who, every, first, due, s):
        """1 where a decision with that interval and first tick is taken, else 0, into row `s` of `due`."""
        put(due, s, fill(1.0))
        if every > 1 or first > 0:
            for lane in range(lanes):
                since = clock[who[lane], 0] - first
                due[s * lanes + lane] = 1.0 if since >= 0 and since % every == 0 else 0.0

    @leaf
    def fill_context(ints, floats, r, who, clock, now, v_pu, first_v, delivered, new, wide):
        """What the kernels of the layer at `r` may use, all but random numbers."""
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        place, weight, heard = table[r + at.LAYER.places], table[r + at.LAYER.shares], table[r + at.LAYER.heard]
        retail, node, slot = place + 2 * p, place + 2 * p + 2 * m, place + 2 * p + 5 * m
        v, governed = p + 2 * m + 2, p + 5 * m + 2 + table[r + at.LAYER.draws]
        flags = slot + 2 * g + m  # who is absent, and which units are out
        for s in range(p):
            find_due(clock, who, places[place + s], places[place + p + s], wide, s)
            put(wide, s, unless(new, places[flags + s], get(wide, s)))
        for i in range(2 * m):
            put(wide, p + i, get(now, places[retail + i]))
        if heard >= 0:
            put(wide, p + 2 * m, get(new, widths[at.WIDTH.signals_from] + heard))
        else:
            put(wide, p + 2 * m, get(now, widths[at.WIDTH.price]))
        for lane in range(lanes):
            wide[(p + 2 * m + 1) * lanes + lane] = clock[who[lane], 0]
        for i in range(m):
            mean = fill(0.0)
            for k in range(3):
                mean += get(v_pu, first_v + places[node + 3 * i + k]) * numbers[weight + 3 * i + k]
            put(wide, v + i, mean)
        for i in range(2 * m):
            put(wide, v + m + i, fill(np.nan))
        for i in range(g):
            put(wide, governed + i, get(delivered, places[slot + i]))
        for i in range(table[r + at.LAYER.works]):
            put(wide, governed + g + i, unless(new, places[flags + p + i], fill(1.0)))

    @leaf
    def fill_measured(ints, floats, r, solved, delivered, wide):
        """The same after the flow: voltage 0 where it diverged, frequency and island of members that have a unit."""
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        unit, v = table[r + at.LAYER.places] + 2 * p + 5 * m + 2 * g, p + 2 * m + 2
        f_hz, first = numbers[table[r + at.LAYER.tables] - 1], widths[at.WIDTH.slots] + 2 * widths[at.WIDTH.units]
        for i in range(m):
            put(wide, v + i, xp.where(solved, get(wide, v + i), 0.0))
            own = places[unit + i]
            if own < 0:
                continue
            hertz, island = xp.where(get(wide, v + i) > 0.0, f_hz, fill(0.0)), fill(-1.0)
            if widths[at.WIDTH.references] > 0:
                hertz = xp.where(solved, get(delivered, first + own), 0.0)
                island = xp.where(solved, get(delivered, first + widths[at.WIDTH.units] + own), -1.0)
            put(wide, v + m + i, hertz)
            put(wide, v + 2 * m + i, island)

    @leaf
    def give_context(ints, r, who, alone, clock, draws, wide, given):
        """The context, a row of `given` an environment."""
        table = whole(ints, at.LAYERS.table)
        m, p = table[r + at.LAYER.members], table[r + at.LAYER.speakers]
        noise, d, drawn = table[r + at.LAYER.noise], table[r + at.LAYER.draws], p + 5 * m + 2
        width = context_size(table, r)
        write(wide, 0, drawn, given, width, alone, 0)
        write(wide, drawn + d, width - drawn - d, given, width, alone, drawn + d)
        for lane in range(lanes):
            e = who[lane]
            tick = min(clock[e, 0] + 1, draws.shape[1] - 1)
            for i in range(d):
                given[lane * width + drawn + i] = draws[e, tick, noise + i]

    @leaf
    def deliver_sent(ints, place, count, wide, new):
        """What was sent, into the columns of the signals."""
        places, first = whole(ints, at.LAYERS.places), whole(ints, at.WIDTHS)[at.WIDTH.signals_from]
        for i in range(count):
            put(new, first + places[place + i], get(wide, i))

    @leaf
    def marginal_costs(ints, floats, delivered, cost):
        """Marginal cost of every unit that runs and has one [$/MWh]; the others' rows are left alone."""
        rules, calls = whole(ints, at.RULES.table), whole(ints, at.CALLS.table)
        numbers, places = real(ints, floats, at.CALLS.numbers), whole(ints, at.CALLS.places)
        for r in range(0, len(rules), at.RULE_WIDTH):
            if rules[r + at.RULE_ROW.marginal]:
                f = rules[r + at.RULE_ROW.call] * at.CALL_WIDTH
                invoke(
                    rules[r + at.RULE_ROW.marginal],
                    (
                        calls[f + at.CALL.units],
                        address(numbers, calls[f + at.CALL.numbers]),
                        address(places, calls[f + at.CALL.places]),
                        address(delivered, 0),
                        address(cost, calls[f + at.CALL.unit] * lanes),
                    ),
                )

    @leaf
    def find_position(ints, floats, first, m, old, now, delivered, cost, position):
        """What the members of a layer, from number `first` on, know of themselves when they order by rule."""
        start, series = whole(ints, at.SIGHT.start), whole(ints, at.SIGHT.series)
        load_mw, load = real(ints, floats, at.SIGHT.load_p_mw), whole(ints, at.LAYERS.load)
        units, unit = whole(ints, at.LAYERS.unit_start), whole(ints, at.LAYERS.unit_of)
        weight, slots = real(ints, floats, at.LAYERS.unit_weight), whole(ints, at.WIDTHS)[at.WIDTH.slots]
        fuels, fuel = whole(ints, at.LAYERS.fuel_start), whole(ints, at.LAYERS.fuel_of)
        column = whole(ints, at.SERVICE.column)
        for i in range(m):
            k, dearest, imported = first + i, fill(0.0), fill(0.0)
            if load[k] >= 0:
                for term in range(start[load[k]], start[load[k] + 1]):
                    imported += get(now, series[term]) * load_mw[term]
            for term in range(units[k], units[k + 1]):
                imported -= get(delivered, slots + unit[term]) * weight[term]
            for term in range(fuels[k], fuels[k + 1]):
                with_it, out = xp.maximum(dearest, get(cost, fuel[term])), column[fuel[term]]
                dearest = xp.where(get(old, out) > 0.5, dearest, with_it) if out >= 0 else with_it
            put(position, i, dearest)
            put(position, m + i, imported)

    @leaf
    def give_orders(
        ints, floats, r, kernel, way, who, alone, clock, acted, position, given, held, chosen, wide, due, new
    ):
        """Orders that the layer at `r` gets by one of its kernels, where the policies that give them are due.

        Agents that are absent abstain. `held` is the address of the layer's state, of numbers of 8 bytes.
        """
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, how = real(ints, floats, at.LAYERS.numbers), whole(ints, at.RULES.how)
        interval, offset = whole(ints, at.RULES.interval), whole(ints, at.RULES.offset)
        reach, actor = real(ints, floats, at.RULES.reach), whole(ints, at.CHOICE.actor)
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        states, orders, absent = (
            table[r + at.LAYER.states],
            table[r + at.LAYER.orders],
            whole(ints, at.SERVICE.slot_column),
        )
        together = table[r + at.LAYER.memberwise]
        found = wide if together else chosen
        for lane in range(1 if together else lanes):
            invoke(
                kernel,
                (
                    m,
                    p,
                    g,
                    address(numbers, table[r + at.LAYER.numbers]),
                    real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                    address(given, lane * context_size(table, r)),
                    address(places, table[r + at.LAYER.places] + 2 * p + 5 * m + g),
                    address(places, table[r + at.LAYER.sizes]),
                    address(numbers, table[r + at.LAYER.tables]),
                    held + 8 * lane * (states + 1),
                    address(position, lane * 2 * m),
                    address(found, lane * (orders + 1)),
                ),
            )
        if not together:
            read(chosen, orders + 1, alone, 0, orders, wide, 0)
        for i in range(orders):
            k = places[table[r + at.LAYER.order] + i]
            leaves = absent[k] >= 0 and way == ABSTAIN
            if how[k] != way and not leaves:
                continue
            span, place = half_span[k] if half_span[k] > 0.0 else 1.0, whole(ints, at.WIDTHS)[at.WIDTH.states] + k
            share = xp.minimum(xp.maximum((get(wide, i) - low[k]) / span - 1.0, -1.0), 1.0)
            find_due(clock, who, interval[k], offset[k], due, 0)
            if reach[k] > 0.0 and how[k] == way:  # what outside code has put there moves the order
                share = xp.minimum(xp.maximum(share + reach[k] * get(new, place), -1.0), 1.0)
                for lane in range(lanes):
                    due[lane] = 1.0 if acted[who[lane], actor[k]] else 0.0
            put(due, 0, unless(new, absent[k], get(due, 0)) if how[k] == way else fill(0.0))
            if leaves:
                put(due, 0, xp.maximum(get(due, 0), fill(1.0) - unless(new, absent[k], fill(1.0))))
            put(new, place, xp.where(get(due, 0) > 0.0, share, get(new, place)))

    @leaf
    def runs(table, column, value):
        """Whether any layer has that value in a column of its row."""
        found = False
        for r in range(column, len(table), at.LAYER_WIDTH):
            found |= table[r] == value
        return found

    @inside
    def before(ints, floats, stage, who, clock, acted, draws, old, new, now, v_pu, delivered):
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        if not runs(table, at.LAYER.stage, stage):
            return
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        slots, alone, due = widths[at.WIDTH.states], np.arange(lanes), np.empty(lanes)
        width, widest, states, asked, sends, g, m = room(ints)
        wide, given, orders = np.empty(widest), np.empty(width), np.empty(asked)
        held, kept, sent, wanted = np.empty(states), np.empty(states), np.empty(sends), np.empty(g)
        position, chosen = np.empty(2 * m), np.empty(asked)
        for r in range(0, len(table), at.LAYER_WIDTH):
            seam, rule, abstain = table[r + at.LAYER.before], table[r + at.LAYER.rule], table[r + at.LAYER.abstain]
            if table[r + at.LAYER.stage] != stage or not (seam or rule or abstain):
                continue
            m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
            state, states = table[r + at.LAYER.state], table[r + at.LAYER.states]
            order, asked, sending = table[r + at.LAYER.order], table[r + at.LAYER.orders], table[r + at.LAYER.sending]
            width, sends = context_size(table, r), table[r + at.LAYER.sent_before]
            slot = table[r + at.LAYER.places] + 2 * p + 5 * m
            cost = np.empty(widths[at.WIDTH.units] * lanes if stage != at.VERTICAL and (rule or abstain) else 0)
            together = table[r + at.LAYER.memberwise]
            fill_context(ints, floats, r, who, clock, now, v_pu, 0, delivered, new, given if together else wide)
            if not together:
                give_context(ints, r, who, alone, clock, draws, wide, given)
                write(old, state, states, held, states + 1, alone, 0)
            begun = address(old, state * lanes) if together else address(held, 0)
            if len(cost):
                marginal_costs(ints, floats, delivered, cost)
                known = position if together else wide
                find_position(ints, floats, table[r + at.LAYER.member], m, old, now, delivered, cost, known)
                if not together:
                    write(wide, 0, 2 * m, position, 2 * m, alone, 0)
            for kernel, way in ((rule, RULE), (abstain, ABSTAIN)):
                if kernel:
                    give_orders(
                        ints, floats, r, kernel, way, who, alone, clock, acted, position, given, begun, chosen,
                        wide, due, new,
                    )  # fmt: skip
            if not seam:
                continue
            for i in range(asked):
                k = places[order + i]
                put(orders if together else wide, i, low[k] + (get(new, slots + k) + 1.0) * half_span[k])
            if not together:
                write(wide, 0, asked, orders, asked + 1, alone, 0)
            ends = address(new, state * lanes) if together else address(kept, 0)
            told = wide if together else sent
            for lane in range(1 if together else lanes):
                invoke(
                    seam,
                    (
                        m,
                        p,
                        g,
                        address(numbers, table[r + at.LAYER.numbers]),
                        real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                        address(given, lane * width),
                        address(places, slot + g),
                        address(places, table[r + at.LAYER.sizes]),
                        address(numbers, table[r + at.LAYER.tables]),
                        begun + 8 * lane * (states + 1),
                        address(orders, lane * (asked + 1)),
                        ends + 8 * lane * (states + 1),
                        address(told, lane * (sends + 1)),
                        address(wanted, lane * (g + 1)),
                    ),
                )
            if not together:
                read(kept, states + 1, alone, 0, states, new, state)
                read(sent, sends + 1, alone, 0, sends, wide, 0)
            deliver_sent(ints, sending, sends, wide, new)
            read(wanted, g + 1, alone, 0, g, wide, 0)
            for i in range(g):
                k = places[slot + i]
                put(delivered, k, xp.minimum(xp.maximum(get(wide, i), low[k]), low[k] + 2.0 * half_span[k]))

    @leaf
    def meter(ints, floats, first, m, alone, solved, delivered, work, wide, metered):
        """So many sums of metered energy of a layer, from number `first` on [MWh]; 0 where the flow diverged."""
        start, of = whole(ints, at.LAYERS.meter_start), whole(ints, at.LAYERS.meter_of)
        weight, dt_h = real(ints, floats, at.LAYERS.meter_weight), real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h]
        slots = whole(ints, at.WIDTHS)[at.WIDTH.slots]
        for i in range(m):
            total = fill(0.0)
            for term in range(start[first + i], start[first + i + 1]):
                source = of[term]
                if source >= 0:
                    total += get(work, source) * weight[term]
                else:
                    total += -get(delivered, slots - 1 - source) * weight[term]
            put(wide, i, xp.where(solved, total * dt_h, 0.0))
        write(wide, 0, m, metered, m, alone, 0)

    @inside
    def after(ints, floats, tol_pu, who, clock, draws, new, now, flow, delivered, work):
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        if whole(ints, at.LAYERS.most)[at.LAYER.after] == 0:  # no layer has a second seam
            return
        numbers, widths, alone = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS), np.arange(lanes)
        buses, solved = widths[at.WIDTH.buses], get(flow, len(flow) // lanes - 1) < tol_pu
        money_from = widths[at.WIDTH.measured] + whole(ints, at.MONEY_AT)[at.MONEY.protocol]
        violations_from = widths[at.WIDTH.measured] + widths[at.WIDTH.money]
        violations_from += whole(ints, at.COSTS_AT)[at.COST.protocol]
        width, widest, states, _, sends, _, m = room(ints)
        wide, given, metered, sent = np.empty(widest), np.empty(width), np.empty(m), np.empty(sends)
        held, kept = np.empty(states), np.empty(states)
        for r in range(0, len(table), at.LAYER_WIDTH):
            if table[r + at.LAYER.after] == 0:
                continue
            m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
            state, states, sends = table[r + at.LAYER.state], table[r + at.LAYER.states], table[r + at.LAYER.sent_after]
            parties, sums = table[r + at.LAYER.parties], table[r + at.LAYER.metered]
            money, paid_ = table[r + at.LAYER.money], table[r + at.LAYER.money_count] * parties
            violation, priced_ = table[r + at.LAYER.violation], table[r + at.LAYER.violation_count] * (parties - 1)
            width = context_size(table, r)
            paid, priced = np.empty((paid_ + 1) * lanes), np.empty((priced_ + 1) * lanes)
            sending = table[r + at.LAYER.sending] + table[r + at.LAYER.sent_before]
            slot = table[r + at.LAYER.places] + 2 * p + 5 * m
            fill_context(ints, floats, r, who, clock, now, flow, 2 * buses, delivered, new, wide)
            fill_measured(ints, floats, r, solved, delivered, wide)
            give_context(ints, r, who, alone, clock, draws, wide, given)
            meter(ints, floats, table[r + at.LAYER.meter], sums, alone, solved, delivered, work, wide, metered)
            write(new, state, states, held, states + 1, alone, 0)
            for lane in range(lanes):
                invoke(
                    table[r + at.LAYER.after],
                    (
                        m,
                        p,
                        g,
                        address(numbers, table[r + at.LAYER.numbers]),
                        real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                        address(given, lane * width),
                        address(places, slot + g),
                        address(places, table[r + at.LAYER.sizes]),
                        address(numbers, table[r + at.LAYER.tables]),
                        address(held, lane * (states + 1)),
                        address(metered, lane * sums),
                        address(kept, lane * (states + 1)),
                        address(sent, lane * (sends + 1)),
                        address(paid, lane * (paid_ + 1)),
                        address(priced, lane * (priced_ + 1)),
                    ),
                )
            read(kept, states + 1, alone, 0, states, new, state)
            read(sent, sends + 1, alone, 0, sends, wide, 0)
            deliver_sent(ints, sending, sends, wide, new)
            read(paid, paid_ + 1, alone, 0, paid_, work, money_from + money)
            read(priced, priced_ + 1, alone, 0, priced_, work, violations_from + violation)

    return Seams(before, after)
