"""Layers in the compiled step: both seams of every protocol, one environment of a group after the other."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from powergrid.engine.choices import ABSTAIN, RULE
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled.common import address, inside, invoke, leaf, real, whole
from powergrid.engine.compiled.rows import Rows


class Seams(NamedTuple):
    """Compiled functions over the environments of a group.

    Attributes
    ----------
    before
        ``(ints, floats, stage, who, clock, draws, old, new, now, v_pu, delivered)``: first seams of one stage.
    after
        ``(ints, floats, tol_pu, who, clock, draws, new, now, flow, delivered, work)``: second seams, into `work`.
    """

    before: Callable
    after: Callable


def make_layers(rows: Rows) -> Seams:
    """Both seams for so many lanes."""
    lanes = rows.lanes

    @leaf
    def fill_context(ints, floats, r, lane, tick, draws, now, v_pu, first_v, delivered, new, given):
        """What the kernels of the layer at `r` may use in one environment."""
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        place, weight, noise = table[r + at.LAYER.places], table[r + at.LAYER.shares], table[r + at.LAYER.noise]
        d = table[r + at.LAYER.draws]
        retail, node, slot = place + 2 * p, place + 2 * p + 2 * m, place + 2 * p + 5 * m
        for s in range(p):
            since = tick - places[place + p + s]
            every = places[place + s]
            given[s] = 1.0 if since >= 0 and (every == 1 or since % every == 0) else 0.0
        for i in range(2 * m):
            given[p + i] = now[places[retail + i] * lanes + lane]
        heard = table[r + at.LAYER.heard]
        if heard >= 0:
            given[p + 2 * m] = new[(widths[at.WIDTH.signals_from] + heard) * lanes + lane]
        else:
            given[p + 2 * m] = now[widths[at.WIDTH.price] * lanes + lane]
        given[p + 2 * m + 1] = tick
        for i in range(m):
            mean = 0.0
            for k in range(3):
                mean += v_pu[(first_v + places[node + 3 * i + k]) * lanes + lane] * numbers[weight + 3 * i + k]
            given[p + 2 * m + 2 + i] = mean
        for i in range(2 * m):
            given[p + 3 * m + 2 + i] = np.nan
        for i in range(d):
            given[p + 5 * m + 2 + i] = draws[noise + i]
        for i in range(g):
            given[p + 5 * m + 2 + d + i] = delivered[places[slot + i] * lanes + lane]

    @leaf
    def fill_frequency(ints, floats, r, lane, solved, delivered, given):
        """Frequency and island of the members that have a unit, after the flow."""
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        unit = table[r + at.LAYER.places] + 2 * p + 5 * m + 2 * g
        f_hz, first = numbers[table[r + at.LAYER.tables] - 1], widths[at.WIDTH.slots] + 2 * widths[at.WIDTH.units]
        for i in range(m):
            own = places[unit + i]
            if own < 0:
                continue
            hertz, island = f_hz if given[p + 2 * m + 2 + i] > 0.0 else 0.0, -1.0
            if widths[at.WIDTH.references] > 0:
                hertz = delivered[(first + own) * lanes + lane] if solved else 0.0
                if solved:
                    island = delivered[(first + widths[at.WIDTH.units] + own) * lanes + lane]
            given[p + 3 * m + 2 + i], given[p + 4 * m + 2 + i] = hertz, island

    @leaf
    def move(table, first, count, lane, row, inward):
        """Numbers of one environment out of a table of lanes, or back into it."""
        for i in range(count):
            if inward:
                table[(first + i) * lanes + lane] = row[i]
            else:
                row[i] = table[(first + i) * lanes + lane]

    @leaf
    def deliver_sent(ints, place, count, lane, new, sent):
        """What was sent, into the columns of the signals."""
        places, first = whole(ints, at.LAYERS.places), whole(ints, at.WIDTHS)[at.WIDTH.signals_from]
        for i in range(count):
            new[(first + places[place + i]) * lanes + lane] = sent[i]

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
    def find_position(ints, floats, first, m, lane, old, now, delivered, cost, position):
        """What the members of a layer, from number `first` on, know of themselves when they order by rule."""
        start, series = whole(ints, at.SIGHT.start), whole(ints, at.SIGHT.series)
        load_mw, load = real(ints, floats, at.SIGHT.load_p_mw), whole(ints, at.LAYERS.load)
        units, unit = whole(ints, at.LAYERS.unit_start), whole(ints, at.LAYERS.unit_of)
        weight, slots = real(ints, floats, at.LAYERS.unit_weight), whole(ints, at.WIDTHS)[at.WIDTH.slots]
        fuels, fuel = whole(ints, at.LAYERS.fuel_start), whole(ints, at.LAYERS.fuel_of)
        column = whole(ints, at.SERVICE.column)
        for i in range(m):
            k, dearest, imported = first + i, 0.0, 0.0
            if load[k] >= 0:
                for term in range(start[load[k]], start[load[k] + 1]):
                    imported += now[series[term] * lanes + lane] * load_mw[term]
            for term in range(units[k], units[k + 1]):
                imported -= delivered[(slots + unit[term]) * lanes + lane] * weight[term]
            for term in range(fuels[k], fuels[k + 1]):
                out = column[fuel[term]]
                if out < 0 or not old[out * lanes + lane] > 0.5:
                    dearest = max(dearest, cost[fuel[term] * lanes + lane])
            position[i], position[m + i] = dearest, imported

    @leaf
    def give_orders(ints, floats, r, kernel, way, tick, lane, position, given, held, chosen, new):
        """Orders that the layer at `r` gets by one of its kernels, where the policies that give them are due."""
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, how = real(ints, floats, at.LAYERS.numbers), whole(ints, at.RULES.how)
        interval, offset = whole(ints, at.RULES.interval), whole(ints, at.RULES.offset)
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
        invoke(
            kernel,
            (
                m,
                p,
                g,
                address(numbers, table[r + at.LAYER.numbers]),
                real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                address(given, 0),
                address(places, table[r + at.LAYER.places] + 2 * p + 5 * m + g),
                address(places, table[r + at.LAYER.sizes]),
                address(numbers, table[r + at.LAYER.tables]),
                address(held, 0),
                address(position, 0),
                address(chosen, 0),
            ),
        )
        for i in range(table[r + at.LAYER.orders]):
            k = places[table[r + at.LAYER.order] + i]
            since, span = tick - offset[k], half_span[k] if half_span[k] > 0.0 else 1.0
            if how[k] == way and since >= 0 and (interval[k] == 1 or since % interval[k] == 0):
                share = min(max((chosen[i] - low[k]) / span - 1.0, -1.0), 1.0)
                new[(whole(ints, at.WIDTHS)[at.WIDTH.states] + k) * lanes + lane] = share

    @inside
    def before(ints, floats, stage, who, clock, draws, old, new, now, v_pu, delivered):
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        slots = widths[at.WIDTH.states]
        for r in range(0, len(table), at.LAYER_WIDTH):
            seam, rule, abstain = table[r + at.LAYER.before], table[r + at.LAYER.rule], table[r + at.LAYER.abstain]
            if table[r + at.LAYER.stage] != stage or not (seam or rule or abstain):
                continue
            m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
            state, states = table[r + at.LAYER.state], table[r + at.LAYER.states]
            order, asked, sending = table[r + at.LAYER.order], table[r + at.LAYER.orders], table[r + at.LAYER.sending]
            given, orders = np.empty(p + 5 * m + 2 + table[r + at.LAYER.draws] + g), np.empty(asked + 1)
            held, kept = np.empty(states + 1), np.zeros(states + 1)
            sent, wanted = np.empty(table[r + at.LAYER.sent_before] + 1), np.empty(g + 1)
            slot = table[r + at.LAYER.places] + 2 * p + 5 * m
            position, chosen = np.empty(2 * m), np.empty(asked + 1)
            cost = np.empty(widths[at.WIDTH.units] * lanes if stage != at.VERTICAL and (rule or abstain) else 0)
            if len(cost):
                marginal_costs(ints, floats, delivered, cost)
            for lane in range(lanes):
                e = who[lane]
                tick = min(clock[e, 0] + 1, draws.shape[1] - 1)
                fill_context(ints, floats, r, lane, clock[e, 0], draws[e, tick], now, v_pu, 0, delivered, new, given)
                move(old, state, states, lane, held, False)
                if len(cost):
                    find_position(ints, floats, table[r + at.LAYER.meter], m, lane, old, now, delivered, cost, position)
                if rule:
                    give_orders(ints, floats, r, rule, RULE, clock[e, 0], lane, position, given, held, chosen, new)
                if abstain:
                    give_orders(
                        ints, floats, r, abstain, ABSTAIN, clock[e, 0], lane, position, given, held, chosen, new
                    )
                if not seam:
                    continue
                for i in range(asked):
                    k = places[order + i]
                    orders[i] = low[k] + (new[(slots + k) * lanes + lane] + 1.0) * half_span[k]
                invoke(
                    seam,
                    (
                        m,
                        p,
                        g,
                        address(numbers, table[r + at.LAYER.numbers]),
                        real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                        address(given, 0),
                        address(places, slot + g),
                        address(places, table[r + at.LAYER.sizes]),
                        address(numbers, table[r + at.LAYER.tables]),
                        address(held, 0),
                        address(orders, 0),
                        address(kept, 0),
                        address(sent, 0),
                        address(wanted, 0),
                    ),
                )
                move(new, state, states, lane, kept, True)
                deliver_sent(ints, sending, table[r + at.LAYER.sent_before], lane, new, sent)
                for i in range(g):
                    k = places[slot + i]
                    within = min(max(wanted[i], low[k]), low[k] + 2.0 * half_span[k])
                    delivered[k * lanes + lane] = within

    @inside
    def after(ints, floats, tol_pu, who, clock, draws, new, now, flow, delivered, work):
        table, places = whole(ints, at.LAYERS.table), whole(ints, at.LAYERS.places)
        numbers, widths = real(ints, floats, at.LAYERS.numbers), whole(ints, at.WIDTHS)
        start, of = whole(ints, at.LAYERS.meter_start), whole(ints, at.LAYERS.meter_of)
        weight, m_buses, dt_h = (
            real(ints, floats, at.LAYERS.meter_weight),
            widths[at.WIDTH.buses],
            real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
        )
        money_from = widths[at.WIDTH.measured] + whole(ints, at.MONEY_AT)[at.MONEY.protocol]
        violations_from = widths[at.WIDTH.measured] + widths[at.WIDTH.money]
        violations_from += whole(ints, at.COSTS_AT)[at.COST.protocol]
        for r in range(0, len(table), at.LAYER_WIDTH):
            if table[r + at.LAYER.after] == 0:
                continue
            m, p, g = table[r + at.LAYER.members], table[r + at.LAYER.speakers], table[r + at.LAYER.governed]
            state, states, meter = table[r + at.LAYER.state], table[r + at.LAYER.states], table[r + at.LAYER.meter]
            money, paid_ = table[r + at.LAYER.money], table[r + at.LAYER.money_count] * (m + 1)
            violation, priced_ = table[r + at.LAYER.violation], table[r + at.LAYER.violation_count] * m
            given, metered = np.empty(p + 5 * m + 2 + table[r + at.LAYER.draws] + g), np.empty(m)
            held, kept = np.empty(states + 1), np.zeros(states + 1)
            sent = np.empty(table[r + at.LAYER.sent_after] + 1)
            paid, priced = np.empty(paid_ + 1), np.empty(priced_ + 1)
            sending = table[r + at.LAYER.sending] + table[r + at.LAYER.sent_before]
            slot = table[r + at.LAYER.places] + 2 * p + 5 * m
            for lane in range(lanes):
                e, solved = who[lane], flow[(len(flow) // lanes - 1) * lanes + lane] < tol_pu
                tick = min(clock[e, 0] + 1, draws.shape[1] - 1)
                fill_context(
                    ints, floats, r, lane, clock[e, 0], draws[e, tick], now, flow, 2 * m_buses, delivered, new, given
                )
                for i in range(m):
                    total = 0.0
                    for term in range(start[meter + i], start[meter + i + 1]):
                        source = of[term]
                        reading = (
                            work[source * lanes + lane]
                            if source >= 0
                            else -delivered[(widths[at.WIDTH.slots] - 1 - source) * lanes + lane]
                        )
                        total += reading * weight[term]
                    metered[i] = total * dt_h if solved else 0.0
                    if not solved:
                        given[p + 2 * m + 2 + i] = 0.0
                fill_frequency(ints, floats, r, lane, solved, delivered, given)
                move(new, state, states, lane, held, False)
                invoke(
                    table[r + at.LAYER.after],
                    (
                        m,
                        p,
                        g,
                        address(numbers, table[r + at.LAYER.numbers]),
                        dt_h,
                        address(given, 0),
                        address(places, slot + g),
                        address(places, table[r + at.LAYER.sizes]),
                        address(numbers, table[r + at.LAYER.tables]),
                        address(held, 0),
                        address(metered, 0),
                        address(kept, 0),
                        address(sent, 0),
                        address(paid, 0),
                        address(priced, 0),
                    ),
                )
                move(new, state, states, lane, kept, True)
                deliver_sent(ints, sending, table[r + at.LAYER.sent_after], lane, new, sent)
                move(work, money_from + money, paid_, lane, paid, True)
                move(work, violations_from + violation, priced_, lane, priced, True)

    return Seams(before, after)
