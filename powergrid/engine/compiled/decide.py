"""Local policies in the compiled step: the tables and rules of :mod:`powergrid.engine.local_policies` on lanes."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from powergrid.engine.choices import RANDOM, SHARE
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.common import address, inside, invoke, leaf, real, whole
from powergrid.engine.compiled.kernels import compiled
from powergrid.engine.compiled.rows import Rows
from powergrid.networks.regulation import relay_voltage

_relay_voltage = compiled(relay_voltage)


class Decide(NamedTuple):
    """Compiled functions over the environments of a group; slots of policies that are not due hold.

    Attributes
    ----------
    by_table
        Fill slots with shares and random numbers.
    by_rule
        Fill slots with the commands of rules and of kernels of policies.
    by_relay
        Fill slots of regulators with the steps of their relays.
    sense
        What compensated relays read.
    """

    by_table: Callable
    by_rule: Callable
    by_relay: Callable
    sense: Callable


def make_decide(rows: Rows) -> Decide:
    """What fills the slots of local policies, for so many lanes."""
    lanes, get, put, fill, _, _ = rows

    @leaf
    def decide_slot(ints, floats, k, now_due, value, after, first):
        """One slot, in the environments where its policy is due; what outside code has put there moves it."""
        reach = real(ints, floats, at.RULES.reach)[k]
        if reach > 0.0:
            moved = get(value, 0) + reach * get(after, first + k)
            put(value, 0, xp.minimum(xp.maximum(moved, -1.0), 1.0))
        for lane in range(lanes):
            if now_due[lane]:
                after[(first + k) * lanes + lane] = value[lane]

    @leaf
    def net_load(ints, floats, before, now, v_pu, net_mw):
        """Load of each account less what sun, wind and water offer its plants in service [MW]."""
        start, series = whole(ints, at.RULES.net_start), whole(ints, at.RULES.net_series)
        power_mw, table = real(ints, floats, at.RULES.net_p_mw), whole(ints, at.RULES.table)
        calls, numbers = whole(ints, at.CALLS.table), real(ints, floats, at.CALLS.numbers)
        places, asked = whole(ints, at.CALLS.places), whole(ints, at.RULES.asked)
        column = whole(ints, at.SERVICE.column)
        for a in range(len(start) - 1):
            total = fill(0.0)
            for term in range(start[a], start[a + 1]):
                total += get(now, series[term]) * power_mw[term]
            put(net_mw, a, total)
        lost, of = whole(ints, at.SERVICE.lost_column), whole(ints, at.SERVICE.lost_series)
        lost_mw, account = real(ints, floats, at.SERVICE.lost_mw), whole(ints, at.SERVICE.lost_account)
        for i in range(len(lost)):
            a = account[i]
            put(net_mw, a, get(net_mw, a) + get(before, lost[i]) * get(now, of[i]) * lost_mw[i])
        for r in range(0, len(table), at.RULE_WIDTH):
            if table[r + at.RULE_ROW.offer]:
                f = table[r + at.RULE_ROW.call] * at.CALL_WIDTH
                invoke(
                    table[r + at.RULE_ROW.offer],
                    (
                        calls[f + at.CALL.units],
                        address(numbers, calls[f + at.CALL.numbers]),
                        address(places, calls[f + at.CALL.places]),
                        address(asked, table[r + at.RULE_ROW.asked]),
                        address(now, 0),
                        address(v_pu, 0),
                        real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                        address(before, 0),
                        address(column, calls[f + at.CALL.unit]),
                        address(net_mw, 0),
                    ),
                )

    @leaf
    def command(ints, floats, before, prices, now, v_pu, net_mw, mean_price, chosen):
        """Commands of all rules."""
        table, asked, ahead = whole(ints, at.RULES.table), whole(ints, at.RULES.asked), whole(ints, at.RULES.ahead)
        calls, numbers = whole(ints, at.CALLS.table), real(ints, floats, at.CALLS.numbers)
        places, total = whole(ints, at.CALLS.places), fill(0.0)
        for hour in range(ahead[1]):
            total += get(now, ahead[0] + hour)
        put(mean_price, 0, total / max(ahead[1], 1))
        for r in range(0, len(table), at.RULE_WIDTH):
            if table[r + at.RULE_ROW.command]:
                f = table[r + at.RULE_ROW.call] * at.CALL_WIDTH
                invoke(
                    table[r + at.RULE_ROW.command],
                    (
                        calls[f + at.CALL.units],
                        address(numbers, calls[f + at.CALL.numbers]),
                        address(places, calls[f + at.CALL.places]),
                        address(asked, table[r + at.RULE_ROW.asked]),
                        address(before, calls[f + at.CALL.state] * lanes),
                        address(now, 0),
                        address(v_pu, 0),
                        address(before, prices * lanes),
                        address(net_mw, 0),
                        address(mean_price, 0),
                        ahead[0],
                        ahead[2],
                        real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                        address(chosen, table[r + at.RULE_ROW.chosen] * lanes),
                    ),
                )

    @leaf
    def act(ints, floats, who, clock, draws, before, after, prices, now, v_pu, net_mw, mean_price, held, noise, chosen):
        """Commands of all policies with a kernel, behind those of the rules; `held` are the commands so far."""
        table, asked, ahead = whole(ints, at.RULES.acting), whole(ints, at.RULES.asked), whole(ints, at.RULES.ahead)
        calls, numbers = whole(ints, at.CALLS.table), real(ints, floats, at.CALLS.numbers)
        places, params, drawn = (
            whole(ints, at.CALLS.places),
            real(ints, floats, at.RULES.params),
            whole(ints, at.RULES.noise),
        )
        for r in range(0, len(table), at.ACT_WIDTH):
            f = table[r + at.ACT.call] * at.CALL_WIDTH
            for u in range(calls[f + at.CALL.units]):
                for lane in range(lanes):
                    noise[u * lanes + lane] = 0.0
                    if table[r + at.ACT.noise] >= 0:
                        tick = min(clock[who[lane], 0] + 1, draws.shape[1] - 1)
                        noise[u * lanes + lane] = draws[who[lane], tick, drawn[table[r + at.ACT.noise] + u]]
            invoke(
                table[r + at.ACT.act],
                (
                    calls[f + at.CALL.units],
                    address(numbers, calls[f + at.CALL.numbers]),
                    address(places, calls[f + at.CALL.places]),
                    address(asked, table[r + at.ACT.asked]),
                    address(before, calls[f + at.CALL.state] * lanes),
                    address(now, 0),
                    address(v_pu, 0),
                    address(before, prices * lanes),
                    address(net_mw, 0),
                    address(mean_price, 0),
                    ahead[0],
                    ahead[2],
                    real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                    address(held, 0),
                    address(noise, 0),
                    address(chosen, table[r + at.ACT.ruled] * lanes),
                    address(params, table[r + at.ACT.params]),
                    address(before, table[r + at.ACT.memory] * lanes),
                    address(after, table[r + at.ACT.memory] * lanes),
                    address(chosen, table[r + at.ACT.chosen] * lanes),
                ),
            )

    @leaf
    def sense(ints, floats, row, m, ratio, lane, reading):
        """What compensated relays read [pu], ``(u,)``."""
        from_bus, to_bus = whole(ints, at.RELAY.from_bus), whole(ints, at.RELAY.to_bus)
        y_re, y_im = real(ints, floats, at.RELAY.y_re), real(ints, floats, at.RELAY.y_im)
        r_pu, x_pu = real(ints, floats, at.RELAY.r_pu), real(ints, floats, at.RELAY.x_pu)
        gain = real(ints, floats, at.RELAY.gain)
        for u in range(len(from_bus)):
            f, t = from_bus[u], to_bus[u]
            reading[u * lanes + lane] = _relay_voltage(
                xp, row[f], row[m + f], row[t], row[m + t], ratio[u * lanes + lane], y_re[u], y_im[u], gain[u],
                r_pu[u], x_pu[u],
            )  # fmt: skip

    @leaf
    def due_at(ints, floats, k, who, clock, acted, after, due):
        """Whether the policy of a slot is due and its agent there, by environment; `acted` says it of outside code."""
        if real(ints, floats, at.RULES.reach)[k] > 0.0:
            for lane in range(lanes):
                due[lane] = acted[who[lane], whole(ints, at.CHOICE.actor)[k]]
            return
        interval, offset = whole(ints, at.RULES.interval)[k], whole(ints, at.RULES.offset)[k]
        absent = whole(ints, at.SERVICE.slot_column)[k]
        for lane in range(lanes):
            since = clock[who[lane], 0] - offset
            due[lane] = since >= 0 and since % interval == 0
            if absent >= 0:
                due[lane] &= not after[absent * lanes + lane] > 0.5

    @inside
    def by_table(ints, floats, who, clock, acted, draws, after):
        """`draws` are random numbers of every tick, ``(B, ticks, K)``."""
        how, share = whole(ints, at.RULES.how), real(ints, floats, at.RULES.share)
        first, due, value = whole(ints, at.WIDTHS)[at.WIDTH.states], np.empty(lanes, np.bool_), np.empty(lanes)
        for k in range(len(how)):
            if how[k] != SHARE and how[k] != RANDOM:
                continue
            due_at(ints, floats, k, who, clock, acted, after, due)
            for lane in range(lanes):
                value[lane] = share[k]
                if how[k] == RANDOM:
                    tick = min(clock[who[lane], 0] + 1, draws.shape[1] - 1)
                    value[lane] = 2.0 * draws[who[lane], tick, k] - 1.0
            decide_slot(ints, floats, k, due, value, after, first)

    @inside
    def by_rule(ints, floats, who, clock, acted, draws, before, after, now, v_pu, held):
        """`now` holds the exogenous row and the signals behind it, `held` the commands so far in physical units."""
        slot, row, widths = whole(ints, at.RULES.slot), whole(ints, at.RULES.command), whole(ints, at.WIDTHS)
        if not len(slot):
            return
        noise = np.empty(widths[at.WIDTH.units] * lanes)
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        first, due, value = widths[at.WIDTH.states], np.empty(lanes, np.bool_), np.empty(lanes)
        chosen = np.empty((whole(ints, at.RULES.ahead)[3] + 1) * lanes)
        net_mw, mean_price = np.empty(len(whole(ints, at.RULES.net_start)) * lanes), np.empty(lanes)
        prices = first + widths[at.WIDTH.slots] + 2 * widths[at.WIDTH.buses]
        net_load(ints, floats, before, now, v_pu, net_mw)
        command(ints, floats, before, prices, now, v_pu, net_mw, mean_price, chosen)
        act(ints, floats, who, clock, draws, before, after, prices, now, v_pu, net_mw, mean_price, held, noise, chosen)
        for i in range(len(slot)):
            k = slot[i]
            span = half_span[k] if half_span[k] > 0.0 else 1.0
            put(value, 0, xp.minimum(xp.maximum((get(chosen, row[i]) - low[k]) / span - 1.0, -1.0), 1.0))
            due_at(ints, floats, k, who, clock, acted, after, due)
            decide_slot(ints, floats, k, due, value, after, first)

    @inside
    def by_relay(ints, floats, who, clock, acted, before, after, v_pu):
        """Regulators without local control make the steps that their relays would make, upstream first."""
        relay, slot, unit = whole(ints, at.RELAY.family), whole(ints, at.RELAY.slot), whole(ints, at.RELAY.unit)
        if not len(slot):
            return
        table, widths, f = whole(ints, at.CALLS.table), whole(ints, at.WIDTHS), relay[0] * at.CALL_WIDTH
        bus, upstream = whole(ints, at.RELAY.bus), real(ints, floats, at.RELAY.upstream)
        numbers, local = real(ints, floats, at.CALLS.numbers), real(ints, floats, at.RELAY.numbers)
        steps, moves = real(ints, floats, at.RELAY.steps), whole(ints, at.RELAY.moves)[0]
        n, m, held = len(bus), widths[at.WIDTH.buses], widths[at.WIDTH.states] + widths[at.WIDTH.slots]
        first, units = table[f + at.CALL.state] * lanes, np.arange(n)
        last = first + table[f + at.CALL.fields] * n * lanes
        own, wanted, ratio = before[first:last].copy(), np.zeros(n * lanes), np.empty(n * lanes)
        reading, row = np.empty(n * lanes), np.empty(2 * m)
        due, value = np.empty(lanes, np.bool_), np.empty(lanes)
        invoke(
            relay[1],
            (
                n,
                address(numbers, table[f + at.CALL.numbers]),
                address(own, 0),
                address(upstream, 0),
                address(wanted, 0),
                address(ratio, 0),
            ),
        )
        for i in range(moves * lanes, (moves + n) * lanes):
            own[i] = 0.0
        for u in range(n):
            put(reading, u, get(v_pu, bus[u]))
        for lane in range(lanes):
            for i in range(2 * m):
                row[i] = before[(held + i) * lanes + lane]
            sense(ints, floats, row, m, ratio, lane, reading)
        invoke(
            relay[2],
            (
                n,
                address(local, 0),
                address(own, 0),
                address(reading, 0),
                address(units, 0),
                address(steps, 0),
                address(wanted, 0),
            ),
        )
        for i in range(len(slot)):
            u, above = unit[i], fill(0.0)
            for other in range(n):
                above += xp.abs(get(wanted, other)) * upstream[other * n + u]
            put(value, 0, xp.where(above > 0.0, 0.0, get(wanted, u)) / steps[u])
            due_at(ints, floats, slot[i], who, clock, acted, after, due)
            decide_slot(ints, floats, slot[i], due, value, after, widths[at.WIDTH.states])

    return Decide(by_table, by_rule, by_relay, sense)
