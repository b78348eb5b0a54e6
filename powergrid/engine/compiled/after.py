"""The compiled step after the power flow: account, book, reward and observe.

Written once for any number of lanes; see :mod:`powergrid.engine.compiled.loops` for the tables.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from powergrid.engine import formulas
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.common import address, flat, inside, invoke, leaf, real, whole
from powergrid.engine.compiled.gather_observations import gather_observations
from powergrid.engine.compiled.kernels import compiled
from powergrid.engine.compiled.layers import make_layers
from powergrid.engine.compiled.rows import Rows
from powergrid.engine.compiled.topologies import make_topologies
from powergrid.powerflow.sequence import sequence_ratio

_magnitude, _voltage_price, _overload_price, _unserved_price, _unbalance_price, _reward = (
    compiled(getattr(formulas, name))
    for name in ("magnitude", "voltage_price", "overload_price", "unserved_price", "unbalance_price", "reward")
)
_sequence_ratio = compiled(sequence_ratio)


def make_finish(rows: Rows) -> Callable:
    """All that a tick does after its power flow, compiled for so many lanes."""
    lanes, get, put, fill, read, write = rows
    topologies = make_topologies(rows)
    spare, unserved = topologies.spare, topologies.unserved
    second_seams = make_layers(rows).after

    @leaf
    def sum_of(start, series, power_mw, now, which):
        """Power that follows series, such as the network's own load of an account [MW]."""
        found = fill(0.0)
        for term in range(start[which], start[which + 1]):
            found += get(now, series[term]) * power_mw[term]
        return found

    @leaf
    def measure(ints, floats, served, flow, delivered, measured_mw):
        """Metered branches, the source, devices with their own meter, and net readings; 0 where the flow diverged."""
        widths, unit_meter = whole(ints, at.WIDTHS), whole(ints, at.METERS.unit)
        width, branches = len(flow) // lanes, widths[at.WIDTH.branch_meters]
        begin = width - 4 - 2 * (branches + widths[at.WIDTH.references])
        for i in range(branches):
            put(measured_mw, i, xp.where(served, get(flow, begin + i), 0.0))
        put(measured_mw, branches, xp.where(served, get(flow, width - 3), 0.0))
        for i in range(len(unit_meter)):
            own = -get(delivered, widths[at.WIDTH.slots] + unit_meter[i])
            put(measured_mw, branches + 1 + i, xp.where(served, own, 0.0))
        start, of, sign = (
            whole(ints, at.METERS.net_start),
            whole(ints, at.METERS.net_of),
            real(ints, floats, at.METERS.net_sign),
        )
        for i in range(len(start) - 1):
            net = fill(0.0)
            for term in range(start[i], start[i + 1]):
                net += get(measured_mw, of[term]) * sign[term]
            put(measured_mw, branches + 1 + len(unit_meter) + i, net)

    @leaf
    def account(ints, floats, before, after, delivered, now, flow, work):
        """Every family's money, settlement, priced violations and readings, each into its columns of `work`."""
        widths, table = whole(ints, at.WIDTHS), whole(ints, at.CALLS.table)
        numbers, places = real(ints, floats, at.CALLS.numbers), whole(ints, at.CALLS.places)
        slots, units, m = widths[at.WIDTH.slots], widths[at.WIDTH.units], widths[at.WIDTH.buses]
        money = widths[at.WIDTH.measured]
        costs = money + widths[at.WIDTH.money]
        readings = costs + widths[at.WIDTH.costs]
        prices = widths[at.WIDTH.states] + slots + 2 * m
        for f in range(0, len(table), at.CALL_WIDTH):
            if table[f + at.CALL.account]:
                state, unit = table[f + at.CALL.state] * lanes, table[f + at.CALL.unit]
                invoke(
                    table[f + at.CALL.account],
                    (
                        table[f + at.CALL.units],
                        address(numbers, table[f + at.CALL.numbers]),
                        address(places, table[f + at.CALL.places]),
                        address(before, state),
                        address(after, state),
                        address(delivered, (slots + unit) * lanes),
                        address(delivered, (slots + units + unit) * lanes),
                        address(now, 0),
                        address(flow, 2 * m * lanes),
                        address(work, 0),
                        address(after, prices * lanes),
                        real(ints, floats, at.NUMBERS)[at.NUMBER.dt_h],
                        address(work, (money + table[f + at.CALL.money]) * lanes),
                        address(work, (money + table[f + at.CALL.settled]) * lanes),
                        address(work, (costs + table[f + at.CALL.violation]) * lanes),
                        address(work, (readings + table[f + at.CALL.reading]) * lanes),
                    ),
                )

    @leaf
    def unbalance(flow, m, a, b, c):
        """Negative over positive sequence voltage of a bus [1]."""
        return _sequence_ratio(
            xp, get(flow, a), get(flow, m + a), get(flow, b), get(flow, m + b), get(flow, c), get(flow, m + c)
        )

    @leaf
    def price(ints, floats, served, who, clock, converged, now, flow, work, first):
        """Price what the network suffered: voltage, overload, unserved load and unbalance; costs from `first` on."""
        numbers, widths = real(ints, floats, at.NUMBERS), whole(ints, at.WIDTHS)
        m, meters = widths[at.WIDTH.buses], widths[at.WIDTH.branch_meters] + widths[at.WIDTH.references]
        branches, block = len(flow) // lanes - 4 - 3 * m - 2 * meters, whole(ints, at.COSTS_AT)
        v_min_pu, v_max_pu = numbers[at.NUMBER.v_min_pu], numbers[at.NUMBER.v_max_pu]
        for bus in range(m):
            priced = _voltage_price(xp, get(flow, 2 * m + bus), v_min_pu, v_max_pu, numbers[at.NUMBER.voltage])
            put(work, first + block[at.COST.voltage] + bus, xp.where(served, priced, 0.0))
        spare(ints, who, clock, work, first + block[at.COST.voltage])
        for branch in range(branches):
            priced = _overload_price(xp, get(flow, 3 * m + branch), numbers[at.NUMBER.overload])
            put(work, first + block[at.COST.overload] + branch, xp.where(served, priced, 0.0))
        start, series = whole(ints, at.BOOKS.start), whole(ints, at.BOOKS.series)
        load_mw, nodes = real(ints, floats, at.BOOKS.load_p_mw), whole(ints, at.BOOKS.three_phase)
        for a in range(len(start) - 1):
            lost_mw = xp.where(served, 0.0, sum_of(start, series, load_mw, now, a))
            priced = _unserved_price(xp, lost_mw, numbers[at.NUMBER.unserved])
            put(work, first + block[at.COST.unserved] + a, priced)
        unserved(ints, floats, who, clock, converged, now, work, first + block[at.COST.unserved])
        for t in range(len(nodes) // 3):
            ratio = unbalance(flow, m, nodes[3 * t], nodes[3 * t + 1], nodes[3 * t + 2])
            limit, rate = numbers[at.NUMBER.unbalance_max_percent], numbers[at.NUMBER.unbalance]
            priced = _unbalance_price(xp, ratio, limit, rate)
            put(work, first + block[at.COST.unbalance] + t, xp.where(served, priced, 0.0))

    @leaf
    def charge(ints, floats, served, who, clock, converged, before, after, delivered, now, flow, work):
        """Fill measurements, money, costs and readings of a group."""
        widths = whole(ints, at.WIDTHS)
        money = widths[at.WIDTH.measured]
        costs = money + widths[at.WIDTH.money]
        measure(ints, floats, served, flow, delivered, work)
        for i in range(money * lanes, costs * lanes):
            work[i] = 0.0
        account(ints, floats, before, after, delivered, now, flow, work)
        price(ints, floats, served, who, clock, converged, now, flow, work, costs)

    @leaf
    def post(work, first, cell, table, accounts, names, sharing, target, who):
        """Sum columns into their cells, split the last row equally, and write one row an environment."""
        cells = (accounts + 1) * names
        for c in range(cells):
            put(table, c, 0.0)
        for c in range(len(cell)):
            if cell[c] >= 0:
                put(table, cell[c], get(table, cell[c]) + get(work, first + c))
        for name in range(names):
            share = get(table, accounts * names + name) / sharing[1]
            for a in range(sharing[0], sharing[0] + sharing[1]):
                put(table, a * names + name, get(table, a * names + name) + share)
        write(table, 0, cells, target, cells, who, 0)

    @leaf
    def post_all(ints, work, table, money, costs, who):
        widths, accounts = whole(ints, at.WIDTHS), money.shape[1] - 1
        first, sharing = widths[at.WIDTH.measured], widths[at.WIDTH.share_first : at.WIDTH.share_count + 1]
        second, names = first + widths[at.WIDTH.money], (money.shape[2], costs.shape[2])
        post(work, first, whole(ints, at.BOOKS.money_cell), table, accounts, names[0], sharing, flat(money), who)
        post(work, second, whole(ints, at.BOOKS.cost_cell), table, accounts, names[1], sharing, flat(costs), who)

    @leaf
    def total(work, first, account_of, sums, accounts, sharing):
        """Sum of the columns of each account, the shared ones split equally."""
        for a in range(accounts + 1):
            put(sums, a, 0.0)
        for c in range(len(account_of)):
            a = account_of[c]
            if a >= 0:
                put(sums, a, get(sums, a) + get(work, first + c))
        share = get(sums, accounts) / sharing[1]
        for a in range(sharing[0], sharing[0] + sharing[1]):
            put(sums, a, get(sums, a) + share)

    @leaf
    def reward_of(ints, floats, work, paid, suffered, earned, accounts, acting):
        """Reward, what each account paid, and its priced violations."""
        widths, numbers = whole(ints, at.WIDTHS), real(ints, floats, at.NUMBERS)
        first, sharing = widths[at.WIDTH.measured], widths[at.WIDTH.share_first : at.WIDTH.share_count + 1]
        total(work, first, whole(ints, at.BOOKS.money_account), paid, accounts, sharing)
        first += widths[at.WIDTH.money]
        total(work, first, whole(ints, at.BOOKS.cost_account), suffered, accounts, sharing)
        reward_scale, safety_scale = numbers[at.NUMBER.reward_scale], numbers[at.NUMBER.safety_scale]
        max_penalty = numbers[at.NUMBER.max_penalty]
        start, whose = whole(ints, at.BOOKS.objective_start), whole(ints, at.BOOKS.objective_account)
        for a in range(acting):
            money, cost = get(paid, a), get(suffered, a)
            if len(start):
                money, cost = get(paid, whose[start[a]]), get(suffered, whose[start[a]])
                for k in range(start[a] + 1, start[a + 1]):
                    money, cost = money + get(paid, whose[k]), cost + get(suffered, whose[k])
            put(earned, a, _reward(xp, money, cost, reward_scale, safety_scale, max_penalty))

    @leaf
    def copy(source, first, count, work, f):
        """Rows of one table behind each other in another."""
        for i in range(count):
            put(work, f + i, get(source, first + i))

    @leaf
    def sums(start, series, power_mw, count, now, work, f):
        """Sums of power that follows series."""
        for a in range(count):
            put(work, f + a, sum_of(start, series, power_mw, now, a))

    @leaf
    def feature(ints, floats, served, who, following, forecast, new, held, flow, readings, delivered, work, f):
        """Fill the feature vector, rows `f` of `work` on."""
        widths, block = whole(ints, at.WIDTHS), whole(ints, at.FEATURES_AT)
        m, first = widths[at.WIDTH.buses], widths[at.WIDTH.ahead_start]
        width, series, branches = len(flow) // lanes, len(following) // lanes, widths[at.WIDTH.branch_meters]
        copy(following, 0, first, work, f + block[at.FEATURE.series])
        for i in range(series - first):
            put(work, f + block[at.FEATURE.forecast] + i, get(following, first + i) * get(forecast, i))
        for bus in range(m):
            put(work, f + block[at.FEATURE.v_pu] + bus, _magnitude(xp, get(held, bus), get(held, m + bus)))
        copy(work, 0, widths[at.WIDTH.measured], work, f + block[at.FEATURE.measured_mw])
        reactive, begin = f + block[at.FEATURE.q_mvar], width - 4 - branches - widths[at.WIDTH.references]
        for i in range(branches):
            put(work, reactive + i, xp.where(served, get(flow, begin + i), 0.0))
        put(work, reactive + branches, xp.where(served, get(flow, width - 2), 0.0))
        start, of, net = whole(ints, at.SIGHT.start), whole(ints, at.SIGHT.series), whole(ints, at.SIGHT.net_start)
        load_mw, net_mw = real(ints, floats, at.SIGHT.load_p_mw), real(ints, floats, at.SIGHT.net_p_mw)
        sums(start, of, load_mw, len(start) - 2, following, work, f + block[at.FEATURE.load_mw])
        of = whole(ints, at.SIGHT.net_series)
        sums(net, of, net_mw, len(net) - 1, following, work, f + block[at.FEATURE.net_load_mw])
        lost, of = whole(ints, at.SERVICE.lost_column), whole(ints, at.SERVICE.lost_series)
        lost_mw, place = real(ints, floats, at.SERVICE.lost_mw), whole(ints, at.SERVICE.lost_feature)
        for i in range(len(lost)):
            if place[i] >= 0:
                at_, out = f + block[at.FEATURE.net_load_mw] + place[i], get(new, lost[i])
                put(work, at_, get(work, at_) + out * get(following, of[i]) * lost_mw[i])
        copy(held, 2 * m, widths[at.WIDTH.prices], work, f + block[at.FEATURE.settlement])
        copy(work, readings, widths[at.WIDTH.readings], work, f + block[at.FEATURE.device])
        copy(held, 2 * m + widths[at.WIDTH.prices], widths[at.WIDTH.signals], work, f + block[at.FEATURE.signals])
        forming, first = whole(ints, at.TOPOLOGIES.forming), widths[at.WIDTH.slots] + 2 * widths[at.WIDTH.units]
        for i in range(len(forming)):
            put(work, f + block[at.FEATURE.frequency_hz] + i, get(delivered, first + forming[i]))

    @leaf
    def rows_of(group, clock, ticks, table, who, row, following, tick):
        """Environments of a group, and their rows of the exogenous table and of the forecasts."""
        for lane in range(lanes):
            who[lane] = min(group * lanes + lane, len(clock) - 1)
            row[lane] = clock[who[lane], 1] % len(table)
            following[lane] = (clock[who[lane], 1] + 1) % len(table)
            tick[lane] = who[lane] * ticks + min(clock[who[lane], 0] + 1, ticks - 1)

    @leaf
    def told(ints, floats, work, f, clipped, alone, own, who, observation):
        """Everybody's observation of the features in rows `f` of `work` on, clipped to their bounds."""
        low, high = real(ints, floats, at.SIGHT.low), real(ints, floats, at.SIGHT.high)
        order, offsets, alike = (
            whole(ints, at.SIGHT.shown),
            whole(ints, at.SIGHT.offsets),
            whole(ints, at.SIGHT.alike),
        )
        width = len(low)
        for i in range(len(low)):
            put(clipped, i, xp.minimum(xp.maximum(get(work, f + i), low[i]), high[i]))
        write(clipped, 0, width, own, width, alone, 0)
        for lane in range(lanes):
            if lane == 0 or who[lane] != who[lane - 1]:
                mine = own[lane * width : (lane + 1) * width]
                gather_observations(order, offsets, alike, mine, observation[who[lane]])

    @inside
    def finish(p):
        ints, floats, table, clock, forecast, out, work = p.ints, p.floats, p.table, p.clock, p.forecast, p.out, p.work
        observation, reward, money, costs = p.observation, p.reward, p.money, p.costs
        widths, last = whole(ints, at.WIDTHS), out.shape[1] - 1
        m, held, acting = widths[at.WIDTH.buses], widths[at.WIDTH.states] + widths[at.WIDTH.slots], reward.shape[1]
        accounts = len(whole(ints, at.SIGHT.start)) - 2
        readings = widths[at.WIDTH.measured] + widths[at.WIDTH.money] + widths[at.WIDTH.costs]
        f, features = readings + widths[at.WIDTH.readings], widths[at.WIDTH.features]
        width, ticks, factors = table.shape[1], forecast.shape[1], forecast.shape[2]
        series, scales, ends, rewards, suffering = flat(table), flat(forecast), flat(out), flat(reward), flat(p.cost)
        now, next_, scale = np.empty(width * lanes), np.empty(width * lanes), np.empty(factors * lanes)
        flow, clipped = np.empty(out.shape[1] * lanes), np.empty(features * lanes)
        paid, suffered = np.empty((accounts + 1) * lanes), np.empty((accounts + 1) * lanes)
        earned = np.empty(acting * lanes)
        cells = max(money.shape[1] * money.shape[2], costs.shape[1] * costs.shape[2]) if len(money) else 0
        cell, alone = np.empty(cells * lanes), np.arange(lanes)
        own = np.empty(lanes * features, observation.dtype)
        who, row = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        following, tick = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        for group in range(len(p.before)):
            rows_of(group, clock, ticks, table, who, row, following, tick)
            old, new, made, into = p.before[group], p.after[group], p.delivered[group], work[group % len(work)]
            read(series, width, row, 0, width, now, 0)
            read(series, width, following, 0, width, next_, 0)
            read(scales, factors, tick, 0, factors, scale, 0)
            read(ends, out.shape[1], who, 0, out.shape[1], flow, 0)
            served = get(flow, last) < p.tol_pu
            for lane in range(lanes):
                p.converged[who[lane]] = flow[last * lanes + lane] < p.tol_pu
            for i in range(2 * m):
                put(new, held + i, xp.where(served, get(flow, i), get(old, held + i)))
            charge(ints, floats, served, who, p.clock, p.converged, old, new, made, now, flow, into)
            second_seams(ints, floats, p.tol_pu, who, clock, p.uniform, new, now, flow, made, into)
            if p.status.shape[1]:
                first = whole(ints, at.SERVICE.status)[0]
                read(flat(p.status), p.status.shape[1], who, 0, p.status.shape[1], new, first)
            reward_of(ints, floats, into, paid, suffered, earned, accounts, acting)
            write(earned, 0, acting, rewards, acting, who, 0)
            write(suffered, 0, acting, suffering, acting, who, 0)
            if len(money):
                post_all(ints, into, cell, money, costs, who)
            now_held = new[held * lanes :]
            feature(ints, floats, served, who, next_, scale, new, now_held, flow, readings, made, into, f)
            told(ints, floats, into, f, clipped, alone, own, who, observation)

    return finish
