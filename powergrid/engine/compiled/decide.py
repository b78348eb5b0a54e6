"""Local policies in the compiled step: the tables and rules of :mod:`powergrid.engine.local_policies` on lanes."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from powergrid.engine.compiled import plan as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.common import address, inside, invoke, leaf, real, whole
from powergrid.engine.compiled.rows import Rows
from powergrid.engine.local_policies import RANDOM, SHARE


class Decide(NamedTuple):
    """Compiled functions over the environments of a group; slots of policies that are not due hold.

    Attributes
    ----------
    by_table
        Fill slots with shares and random numbers.
    by_rule
        Fill slots with the commands of rules.
    """

    by_table: Callable
    by_rule: Callable


def make_decide(rows: Rows) -> Decide:
    """What fills the slots of local policies, for so many lanes."""
    lanes, get, put, fill, _, _ = rows

    @leaf
    def decide_slot(k, now_due, value, after, first):
        """One slot, in the environments where its policy is due."""
        for lane in range(lanes):
            if now_due[lane]:
                after[(first + k) * lanes + lane] = value[lane]

    @leaf
    def net_load(ints, floats, now, v_pu, net_mw):
        """Load of each account less what sun, wind and water offer it [MW]."""
        start, series = whole(ints, at.RULES.net_start), whole(ints, at.RULES.net_series)
        power_mw, table = real(ints, floats, at.RULES.net_p_mw), whole(ints, at.RULES.table)
        calls, numbers = whole(ints, at.CALLS.table), real(ints, floats, at.CALLS.numbers)
        places, asked = whole(ints, at.CALLS.places), whole(ints, at.RULES.asked)
        for a in range(len(start) - 1):
            total = fill(0.0)
            for term in range(start[a], start[a + 1]):
                total += get(now, series[term]) * power_mw[term]
            put(net_mw, a, total)
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
    def due_at(ints, k, who, clock, due):
        """Whether the policy of a slot is due, by environment."""
        interval, offset = whole(ints, at.RULES.interval)[k], whole(ints, at.RULES.offset)[k]
        for lane in range(lanes):
            since = clock[who[lane], 0] - offset
            due[lane] = since >= 0 and since % interval == 0

    @inside
    def by_table(ints, floats, who, clock, draws, after):
        """`draws` are random numbers of every tick, ``(B, ticks, K)``."""
        how, share = whole(ints, at.RULES.how), real(ints, floats, at.RULES.share)
        first, due, value = whole(ints, at.WIDTHS)[at.WIDTH.states], np.empty(lanes, np.bool_), np.empty(lanes)
        for k in range(len(how)):
            if how[k] != SHARE and how[k] != RANDOM:
                continue
            due_at(ints, k, who, clock, due)
            for lane in range(lanes):
                value[lane] = share[k]
                if how[k] == RANDOM:
                    tick = min(clock[who[lane], 0] + 1, draws.shape[1] - 1)
                    value[lane] = 2.0 * draws[who[lane], tick, k] - 1.0
            decide_slot(k, due, value, after, first)

    @inside
    def by_rule(ints, floats, who, clock, before, after, now, v_pu):
        """`now` holds the exogenous row and the signals behind it."""
        slot, row = whole(ints, at.RULES.slot), whole(ints, at.RULES.command)
        if not len(slot):
            return
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        widths = whole(ints, at.WIDTHS)
        first, due, value = widths[at.WIDTH.states], np.empty(lanes, np.bool_), np.empty(lanes)
        chosen = np.empty((whole(ints, at.RULES.ahead)[3] + 1) * lanes)
        net_mw, mean_price = np.empty(len(whole(ints, at.RULES.net_start)) * lanes), np.empty(lanes)
        prices = first + widths[at.WIDTH.slots] + 2 * widths[at.WIDTH.buses]
        net_load(ints, floats, now, v_pu, net_mw)
        command(ints, floats, before, prices, now, v_pu, net_mw, mean_price, chosen)
        for i in range(len(slot)):
            k = slot[i]
            span = half_span[k] if half_span[k] > 0.0 else 1.0
            put(value, 0, xp.minimum(xp.maximum((get(chosen, row[i]) - low[k]) / span - 1.0, -1.0), 1.0))
            due_at(ints, k, who, clock, due)
            decide_slot(k, due, value, after, first)

    return Decide(by_table, by_rule)
