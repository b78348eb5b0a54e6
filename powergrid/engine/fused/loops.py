"""Compiled halves of the step, before and after the power flow: one environment after the other, row by row.

What the reference writes as gathers and matrix products over a batch is here a loop over what is really there, so that
the cost is linear in devices, buses and agents. Every environment is computed by itself, hence to the same bits in any
batch. Functions release the interpreter lock. Rows of an environment:

- carried from tick to tick: ``[device states, slots, v_re, v_im, settlement prices]``;
- delivered: ``[slots in physical units, p_mw of all units, q_mvar of all units]``;
- worked out after the flow: ``[measurements, money columns, cost columns, readings, features]``;
- inputs and outputs of the flow: see ``powergrid.engine.fused.flow``.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from powergrid.engine.fused import plan as at
from powergrid.engine.fused.plan import Books, Calls, Choice, Delivery, FloorPlan, Network, Relay, Sight

_COSINE, _SINE = np.cos(2.0 * np.pi / 3.0), np.sin(2.0 * np.pi / 3.0)
compiled = njit(cache=True, error_model="numpy", nogil=True)
_inside = njit(error_model="numpy", nogil=True)


@intrinsic
def _invoke(typingctx, address, arguments):
    """Call the C function at an address; pointers travel as integers, which every platform's C passes alike."""
    signature = types.void(address, arguments)

    def generate(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return signature, generate


@_inside
def _open(ints, floats):
    """The floor plan that ``plan.pack`` has laid into two arrays."""

    def whole(i):
        return ints[ints[2 * i] : ints[2 * i + 1]]

    def real(i):
        return floats[ints[2 * i] : ints[2 * i + 1]]

    calls, by_voltage, three_phase, terms = whole(4), real(13), whole(36), max(len(real(11)), 1)
    return FloorPlan(
        choice=Choice(whole(0), whole(1), whole(2), whole(3)),
        calls=Calls(calls.reshape(len(calls) // at.CALL_COLUMNS, at.CALL_COLUMNS), real(5), whole(6)),
        delivery=Delivery(
            real(7), real(8), whole(9), whole(10), real(11), real(12),
            by_voltage.reshape(len(by_voltage) // terms, terms), whole(14), whole(15), real(16),
        ),
        network=Network(whole(17), whole(18), whole(19)),
        relay=Relay(
            whole(20), real(21), whole(22), real(23), whole(24), whole(25), real(26), real(27), real(28), real(29),
            real(30),
        ),
        books=Books(
            whole(31), whole(32), real(33), whole(34), whole(35), three_phase.reshape(len(three_phase) // 3, 3),
        ),
        sight=Sight(
            whole(37), whole(38), real(39), whole(40), whole(41), real(42), whole(43), whole(44), real(45), real(46),
            whole(47),
        ),
        unit_meter=whole(48),
        widths=whole(49),
        numbers=real(50),
    )  # fmt: skip


@compiled
def unpacked(ints, floats):
    """What the loops see of a packed floor plan."""
    return _open(ints, floats)


# -- before the flow -----------------------------------------------------------------------------------------------


@compiled
def choose(ints, floats, clock, actions, before, after, due, clipped):
    """Fill the slots of acting agents that are due, hold the others; count numbers outside [-1, 1].

    `clock` ``(B, 2)`` holds tick and exogenous row, `actions` is ``(B, A, k)``, `before` and `after` are carried rows,
    `due` and `clipped` ``(B, A)``.
    """
    plan = _open(ints, floats)
    for e in range(len(before)):
        _choose(plan, clock[e, 0], actions[e], before[e], after[e], due[e], clipped[e])


@compiled
def begin(
    ints, floats, table, clock, actions, chosen, before, after, delivered, rows, wanted, ratio, due, clipped
):  # fmt: skip
    """Choose, run every device, move the regulators at rest and write the inputs of the flow.

    Arguments are as for :func:`choose`, whose part is left out where `chosen`; `table` holds the exogenous rows,
    `wanted` and `ratio` ``(B, u)`` are the regulators'.
    """
    plan = _open(ints, floats)
    widths = plan.widths
    states, m = widths[at.STATES], widths[at.BUSES]
    v_pu = np.empty(m)
    held = states + widths[at.SLOTS]
    for e in range(len(before)):
        now = table[clock[e, 1] % len(table)]
        if not chosen:
            _choose(plan, clock[e, 0], actions[e], before[e], after[e], due[e], clipped[e])
        for i in range(states):
            after[e, i] = before[e, i]
        for bus in range(m):
            re, im = before[e, held + bus], before[e, held + m + bus]
            rows[e, plan.network.at[at.START_RE] + bus] = re
            rows[e, plan.network.at[at.START_IM] + bus] = im
            v_pu[bus] = np.sqrt(re * re + im * im)
        for i in range(held + 2 * m, before.shape[1]):
            after[e, i] = before[e, i]
        _deliver(plan, before[e], after[e], now, v_pu, delivered[e])
        _draw(plan, now, delivered[e], rows[e])
        for i in range(wanted.shape[1]):
            wanted[e, i] = 0.0
        _control(plan, after[e], wanted[e], ratio[e], rows[e])


@_inside
def _choose(plan, tick, actions, before, after, due, clipped):
    choice, first = plan.choice, plan.widths[at.STATES]
    for a in range(len(actions)):
        since = tick - choice.offset[a]
        due[a] = choice.interval[a] <= 1 or (since >= 0 and since % choice.interval[a] == 0)
        outside = 0
        for k in range(actions.shape[1]):
            outside += abs(actions[a, k]) > 1.0
        clipped[a] = outside
    for k in range(len(choice.actor)):
        a = choice.actor[k]
        if a >= 0 and due[a]:
            after[first + k] = min(max(actions[a, choice.position[k]], -1.0), 1.0)
        else:
            after[first + k] = before[first + k]


@_inside
def _deliver(plan, before, after, now, v_pu, delivered):
    """Run every device."""
    calls, slots, units = plan.calls, plan.widths[at.SLOTS], plan.widths[at.UNITS_ALL]
    first = plan.widths[at.STATES]
    for k in range(slots):
        delivered[k] = plan.delivery.low[k] + (after[first + k] + 1.0) * plan.delivery.half_span[k]
    for i in range(slots, slots + 2 * units):
        delivered[i] = 0.0
    for f in range(len(calls.table)):
        call = calls.table[f]
        if call[at.STEP]:
            _invoke(
                call[at.STEP],
                (
                    call[at.UNITS],
                    calls.numbers[call[at.NUMBERS] :].ctypes.data,
                    calls.places[call[at.PLACES] :].ctypes.data,
                    before[call[at.STATE] :].ctypes.data,
                    delivered.ctypes.data,
                    now.ctypes.data,
                    v_pu.ctypes.data,
                    plan.numbers[at.DT_H],
                    after[call[at.STATE] :].ctypes.data,
                    delivered[slots + call[at.UNIT] :].ctypes.data,
                    delivered[slots + units + call[at.UNIT] :].ctypes.data,
                ),
            )


@_inside
def _draw(plan, now, delivered, row):
    """What the buses draw: the network's own loads less what devices inject."""
    given, slots, units = plan.delivery, plan.widths[at.SLOTS], plan.widths[at.UNITS_ALL]
    p_at, q_at, parts_at = plan.network.at[at.LOAD_P], plan.network.at[at.LOAD_Q], plan.network.at[at.BY_VOLTAGE]
    places = len(given.start) - 1
    for bus in range(places):
        p = q = 0.0
        for term in range(given.start[bus], given.start[bus + 1]):
            level = now[given.series[term]]
            p += level * given.load_p_mw[term]
            q += level * given.load_q_mvar[term]
        row[p_at + bus], row[q_at + bus] = p, q
        for part in range(len(given.by_voltage)):
            drawn = 0.0
            for term in range(given.start[bus], given.start[bus + 1]):
                drawn += now[given.series[term]] * given.by_voltage[part, term]
            row[parts_at + part * places + bus] = drawn
    for i in range(len(given.unit)):
        bus, unit, share = given.unit_bus[i], given.unit[i], given.unit_share[i]
        row[p_at + bus] -= share * delivered[slots + unit]
        row[q_at + bus] -= share * delivered[slots + units + unit]


@_inside
def _control(plan, after, wanted, ratio, row):
    """Regulators take the steps they want, unless one upstream wants any; gains and capacitors for the flow."""
    relay, network = plan.relay, plan.network
    if len(relay.family):
        call = plan.calls.table[relay.family[0]]
        _invoke(
            relay.family[1],
            (
                call[at.UNITS],
                plan.calls.numbers[call[at.NUMBERS] :].ctypes.data,
                after[call[at.STATE] :].ctypes.data,
                relay.upstream.ctypes.data,
                wanted.ctypes.data,
                ratio.ctypes.data,
            ),
        )
    for k in range(len(network.tap_unit)):
        row[network.at[at.TAP] + k] = ratio[network.tap_unit[k]]
    for c in range(len(network.cap_state)):
        row[network.at[at.CAP] + c] = after[network.cap_state[c]]


# -- between two flows of a tick -----------------------------------------------------------------------------------


@compiled
def want(ints, floats, tol_pu, after, out, wanted, ratio, busy):
    """Steps that regulators ask for at the voltages found; the number of environments, `busy`, where one asks."""
    plan = _open(ints, floats)
    relay, m, count = plan.relay, plan.widths[at.BUSES], 0
    call, v_pu = plan.calls.table[relay.family[0]], np.empty(len(relay.bus))
    units = np.arange(len(relay.bus))
    for e in range(len(after)):
        if len(relay.from_bus):
            _read(relay, out[e, :m], out[e, m : 2 * m], ratio[e], v_pu)
        else:
            for u in range(len(v_pu)):
                v_pu[u] = out[e, 2 * m + relay.bus[u]]
        _invoke(
            relay.family[2],
            (
                call[at.UNITS],
                plan.calls.numbers[call[at.NUMBERS] :].ctypes.data,
                after[e, call[at.STATE] :].ctypes.data,
                v_pu.ctypes.data,
                units.ctypes.data,
                relay.allowed.ctypes.data,
                wanted[e].ctypes.data,
            ),
        )
        busy[e] = False
        for k in range(wanted.shape[1]):
            if not out[e, out.shape[1] - 1] < tol_pu:
                wanted[e, k] = 0.0
            busy[e] |= wanted[e, k] != 0.0
        count += busy[e]
    return count


@_inside
def _read(relay, v_re, v_im, ratio, reading):
    """What compensated relays read [pu], ``(u,)``: see ``powergrid.networks.regulation.Relays.read``."""
    for u in range(len(ratio)):
        f, t, gain = relay.from_bus[u], relay.to_bus[u], relay.gain[u]
        drop_re, drop_im = ratio[u] * v_re[f] - v_re[t], ratio[u] * v_im[f] - v_im[t]
        i_re = relay.y_re[u] * drop_re - relay.y_im[u] * drop_im
        i_im = relay.y_re[u] * drop_im + relay.y_im[u] * drop_re
        re = gain * v_re[t] - relay.r_pu[u] * i_re + relay.x_pu[u] * i_im
        im = gain * v_im[t] - relay.r_pu[u] * i_im - relay.x_pu[u] * i_re
        reading[u] = np.sqrt(re * re + im * im)


@compiled
def again(ints, floats, who, after, wanted, ratio, rows, out):
    """Move the regulators of the environments `who` and prepare their next flow, from the voltages of the last."""
    plan = _open(ints, floats)
    start = plan.network.at[at.START_RE]
    for e in who:
        _control(plan, after[e], wanted[e], ratio[e], rows[e])
        for i in range(2 * plan.widths[at.BUSES]):
            rows[e, start + i] = out[e, i]


# -- after the flow ------------------------------------------------------------------------------------------------


@compiled
def finish(
    ints, floats, table, tol_pu, clock, forecast, before, after, delivered, out, received, seen, work,
    observation, reward, cost, money, costs, converged,
):  # fmt: skip
    """Account, book, reward and observe.

    `clock` is as before the step, `forecast` ``(B, ticks, factors)``; `received` holds the markets' money columns and
    `seen` what members see of them; `work` has one row an environment, or one for all of them where nobody looks at
    it afterwards. `observation` ``(B, A * d_max)``, `reward` and `cost` ``(B, A)``, `money` and `costs`
    ``(B, accounts + 1, names)``, whose last row is shared out and then meaningless, and `converged` ``(B,)`` are
    filled.
    """
    plan = _open(ints, floats)
    widths = plan.widths
    m, held = widths[at.BUSES], widths[at.STATES] + widths[at.SLOTS]
    charged = widths[at.MEASURED] + widths[at.MONEY_COLUMNS]
    read = charged + widths[at.COST_COLUMNS]
    shown = np.zeros(widths[at.FEATURES] + 1, observation.dtype)  # the last one is what padding shows
    for e in range(len(before)):
        now, following = table[clock[e, 1] % len(table)], table[(clock[e, 1] + 1) % len(table)]
        served = out[e, out.shape[1] - 1] < tol_pu
        converged[e] = served
        row = work[e % len(work)]
        measured, columns = row[: widths[at.MEASURED]], row[widths[at.MEASURED] : charged]
        priced, readings = row[charged:read], row[read : read + widths[at.READINGS]]
        features = row[read + widths[at.READINGS] :]
        for i in range(2 * m):
            after[e, held + i] = out[e, i] if served else before[e, held + i]
        _measure(plan, served, out[e], delivered[e], measured)
        for i in range(len(columns)):
            columns[i] = 0.0
        _account(plan, before[e], after[e], delivered[e], now, out[e], measured, columns, priced, readings)
        for i in range(received.shape[1]):
            columns[widths[at.DEVICE_MONEY] + i] = received[e, i]
        _price(plan, served, now, out[e], priced)
        _post(columns, plan.books.money_cell, money[e])
        _post(priced, plan.books.cost_cell, costs[e])
        _reward(plan, money[e], costs[e], reward[e], cost[e])
        ticks = min(clock[e, 0] + 1, forecast.shape[1] - 1)
        _feature(
            plan, served, following, forecast[e, ticks], after[e, held:], measured, out[e], readings, seen[e],
            delivered[e], features,
        )  # fmt: skip
        _show(plan.sight, features, shown, observation[e])


@_inside
def _measure(plan, served, out, delivered, measured_mw):
    """Metered branches, the source, and devices with a meter of their own; nothing where the flow diverged."""
    branches = len(measured_mw) - 1 - len(plan.unit_meter)
    first, slots = len(out) - 4 - 2 * branches, plan.widths[at.SLOTS]
    for i in range(branches):
        measured_mw[i] = out[first + i] if served else 0.0
    measured_mw[branches] = out[len(out) - 3] if served else 0.0
    for i in range(len(plan.unit_meter)):
        measured_mw[branches + 1 + i] = -delivered[slots + plan.unit_meter[i]] if served else 0.0


@_inside
def _account(plan, before, after, delivered, now, out, measured_mw, money, costs, readings):
    """Every family's money, settlement, priced violations and readings, each into its columns."""
    calls, widths = plan.calls, plan.widths
    slots, units, m = widths[at.SLOTS], widths[at.UNITS_ALL], widths[at.BUSES]
    v_pu, prices = out[2 * m :], after[widths[at.STATES] + slots + 2 * m :]
    for f in range(len(calls.table)):
        call = calls.table[f]
        if call[at.ACCOUNT]:
            _invoke(
                call[at.ACCOUNT],
                (
                    call[at.UNITS],
                    calls.numbers[call[at.NUMBERS] :].ctypes.data,
                    calls.places[call[at.PLACES] :].ctypes.data,
                    before[call[at.STATE] :].ctypes.data,
                    after[call[at.STATE] :].ctypes.data,
                    delivered[slots + call[at.UNIT] :].ctypes.data,
                    delivered[slots + units + call[at.UNIT] :].ctypes.data,
                    now.ctypes.data,
                    v_pu.ctypes.data,
                    measured_mw.ctypes.data,
                    prices.ctypes.data,
                    plan.numbers[at.DT_H],
                    money[call[at.MONEY] :].ctypes.data,
                    money[call[at.SETTLED] :].ctypes.data,
                    costs[call[at.VIOLATION] :].ctypes.data,
                    readings[call[at.READING] :].ctypes.data,
                ),
            )


@_inside
def _price(plan, served, now, out, costs):
    """Price what the network suffered: voltage, overload, unserved load and unbalance, the first cost columns."""
    books, prices, m = plan.books, plan.numbers, plan.widths[at.BUSES]
    branches = len(out) - 4 - 3 * m - 2 * (plan.widths[at.MEASURED] - 1 - len(plan.unit_meter))
    column = m + branches
    if served:
        for bus in range(m):
            v_pu = out[2 * m + bus]
            outside = max(v_pu - prices[at.V_MAX], 0.0) + max(prices[at.V_MIN] - v_pu, 0.0)
            costs[bus] = outside * prices[at.VOLTAGE]
        for branch in range(branches):
            costs[m + branch] = max(out[3 * m + branch] - 100.0, 0.0) * prices[at.OVERLOAD]
    else:
        for i in range(column):
            costs[i] = 0.0
    for a in range(len(books.start) - 1):
        lost = 0.0 if served else max(_sum(books.start, books.series, books.load_p_mw, now, a), 0.0)
        costs[column + a] = lost * prices[at.UNSERVED]
    column += len(books.start) - 1
    for t in range(len(books.three_phase)):
        unbalance_percent = 100.0 * _unbalance(out[:m], out[m : 2 * m], books.three_phase[t])
        excess = max(unbalance_percent - prices[at.UNBALANCE_MAX], 0.0)
        costs[column + t] = excess * prices[at.UNBALANCE] if served else 0.0


@_inside
def _sum(start, series, power_mw, now, which):
    """Power that follows series, such as the network's own load of an account [MW]."""
    found = 0.0
    for term in range(start[which], start[which + 1]):
        found += now[series[term]] * power_mw[term]
    return found


@_inside
def _unbalance(v_re, v_im, nodes):
    """Negative over positive sequence voltage of a bus [1]: see ``powergrid.powerflow.sequence.unbalance``."""
    a, b, c = nodes
    sum_re, sum_im = v_re[b] + v_re[c], v_im[b] + v_im[c]
    turn_re, turn_im = _SINE * (v_re[b] - v_re[c]), _SINE * (v_im[b] - v_im[c])
    near_re, near_im = v_re[a] + _COSINE * sum_re, v_im[a] + _COSINE * sum_im
    negative = (near_re + turn_im) ** 2 + (near_im - turn_re) ** 2
    positive = (near_re - turn_im) ** 2 + (near_im + turn_re) ** 2
    return np.sqrt(negative / max(positive, 1e-12))


@_inside
def _post(columns, cell, table):
    """Sum columns into their cells and split the last row equally."""
    accounts, names = table.shape[0] - 1, table.shape[1]
    flat = table.reshape(-1)
    flat[:] = 0.0
    for c in range(len(columns)):
        if cell[c] >= 0:
            flat[cell[c]] += columns[c]
    for name in range(names):
        share = table[accounts, name] / max(accounts, 1)
        if share != 0.0:
            for a in range(accounts):
                table[a, name] += share


@_inside
def _reward(plan, money, costs, reward, cost):
    """Reward and sum of priced violations of every acting agent, as ``RewardSettings.reward`` has them."""
    numbers = plan.numbers
    for a in range(len(reward)):
        paid = suffered = 0.0
        for name in range(money.shape[1]):
            paid += money[a, name]
        for name in range(costs.shape[1]):
            suffered += costs[a, name]
        penalty = min(numbers[at.SAFETY_SCALE] * suffered, numbers[at.MAX_PENALTY])
        reward[a], cost[a] = -numbers[at.REWARD_SCALE] * paid - penalty, suffered


@_inside
def _feature(plan, served, following, forecast, held, measured_mw, out, readings, seen, delivered, f):
    """Fill the feature vector in the order of ``observe.features``."""
    sight, m, start = plan.sight, plan.widths[at.BUSES], plan.widths[at.AHEAD_START]
    f[:start] = following[:start]
    end = len(following)
    for i in range(start, end):
        f[i] = following[i] * forecast[i - start]
    for bus in range(m):
        f[end + bus] = np.sqrt(held[bus] * held[bus] + held[m + bus] * held[m + bus])
    end = _put(f, end + m, measured_mw)
    branches = len(measured_mw) - 1 - len(plan.unit_meter)
    first = len(out) - 4 - branches
    for i in range(branches):
        f[end + i] = out[first + i] if served else 0.0
    end += branches
    f[end] = out[len(out) - 2] if served else 0.0
    end += 1
    accounts = len(sight.start) - 2
    for a in range(accounts):
        f[end + a] = _sum(sight.start, sight.series, sight.load_p_mw, following, a)
    end += accounts
    for i in range(len(sight.net_start) - 1):
        f[end + i] = _sum(sight.net_start, sight.net_series, sight.net_p_mw, following, i)
    end = _put(f, end + len(sight.net_start) - 1, held[2 * m :])
    end = _put(f, end, readings)
    end = _put(f, end, seen)
    for i in range(len(sight.signal)):
        f[end + i] = delivered[sight.signal[i]]


@_inside
def _show(sight, features, shown, observation):
    """All agents' entries, clipped; what a row shares with the one before is copied at one go."""
    for i in range(len(sight.low)):
        shown[i] = min(max(features[i], sight.low[i]), sight.high[i])
    agents = len(sight.alike)
    width = len(sight.shown) // max(agents, 1)
    for a in range(agents):
        first, alike = a * width, sight.alike[a]
        for i in range(alike):
            observation[first + i] = observation[first - width + i]
        for i in range(first + alike, first + width):
            observation[i] = shown[np.uint64(sight.shown[i])]


@_inside
def _put(features, first, values):
    """Copy values to their place; the place behind them."""
    for i in range(len(values)):
        features[first + i] = values[i]
    return first + len(values)
