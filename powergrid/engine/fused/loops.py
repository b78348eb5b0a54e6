"""Compiled loops of the step: one environment after the other, each through its own row of every table.

What the reference writes as gathers and matrix products over a batch is here a loop over what is really there, so that
the cost is linear in devices, buses and agents. Every environment is computed by itself, hence to the same bits in any
batch. Functions release the interpreter lock.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from powergrid.engine.fused.plan import (
    ACCOUNT,
    MONEY,
    NUMBERS,
    PLACES,
    READING,
    SETTLED,
    STATE,
    STEP,
    UNIT,
    UNITS,
    VIOLATION,
)

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


@compiled
def choose(choice, actions, held, tick, slots, due, clipped):
    """Fill the slots of acting agents that are due, hold the others; count numbers outside [-1, 1].

    `actions` is ``(B, A, k)``, `held` and `slots` are ``(B, K)``, `due` and `clipped` ``(B, A)``, `tick` ``(B,)``.
    """
    agents, width = actions.shape[1], actions.shape[2]
    for e in range(len(actions)):
        for a in range(agents):
            since = tick[e] - choice.offset[a]
            due[e, a] = choice.interval[a] <= 1 or (since >= 0 and since % choice.interval[a] == 0)
            outside = 0
            for k in range(width):
                outside += abs(actions[e, a, k]) > 1.0
            clipped[e, a] = outside
        for k in range(len(choice.actor)):
            a = choice.actor[k]
            if a >= 0 and due[e, a]:
                slots[e, k] = min(max(actions[e, a, choice.position[k]], -1.0), 1.0)
            else:
                slots[e, k] = held[e, k]


@compiled
def deliver(
    calls, plan, rows, slots, now, v_re, v_im, dt_h, v_pu, physical, after, p_mw, q_mvar, load_p_mw, load_q_mvar,
    by_voltage,
):  # fmt: skip
    """Run every device and sum up what the buses draw; `by_voltage` ``(4, B, m)`` is as in the plan.

    `rows` holds the families' states, ``(B, W)``, and `after` receives them; `v_pu` and the loads ``(B, m)``,
    `physical` ``(B, K)``, `p_mw` and `q_mvar` ``(B, all units)`` are filled.
    """
    for e in range(len(rows)):
        after[e] = rows[e]
        p_mw[e], q_mvar[e] = 0.0, 0.0
        for k in range(len(plan.low)):
            physical[e, k] = plan.low[k] + (slots[e, k] + 1.0) * plan.half_span[k]
        for bus in range(v_pu.shape[1]):  # none where no device reads a voltage
            v_pu[e, bus] = np.sqrt(v_re[e, bus] * v_re[e, bus] + v_im[e, bus] * v_im[e, bus])
        for f in range(len(calls.table)):
            call = calls.table[f]
            if call[STEP]:
                _invoke(
                    call[STEP],
                    (
                        call[UNITS],
                        calls.numbers[call[NUMBERS] :].ctypes.data,
                        calls.places[call[PLACES] :].ctypes.data,
                        rows[e, call[STATE] :].ctypes.data,
                        physical[e].ctypes.data,
                        now[e].ctypes.data,
                        v_pu[e].ctypes.data,
                        dt_h,
                        after[e, call[STATE] :].ctypes.data,
                        p_mw[e, call[UNIT] :].ctypes.data,
                        q_mvar[e, call[UNIT] :].ctypes.data,
                    ),
                )
        for bus in range(load_p_mw.shape[1]):
            p = q = 0.0
            for term in range(plan.start[bus], plan.start[bus + 1]):
                level = now[e, plan.series[term]]
                p += level * plan.load_p_mw[term]
                q += level * plan.load_q_mvar[term]
            load_p_mw[e, bus], load_q_mvar[e, bus] = p, q
            for part in range(len(by_voltage)):
                drawn = 0.0
                for term in range(plan.start[bus], plan.start[bus + 1]):
                    drawn += now[e, plan.series[term]] * plan.by_voltage[part, term]
                by_voltage[part, e, bus] = drawn
        for i in range(len(plan.unit)):
            bus, unit, share = plan.unit_bus[i], plan.unit[i], plan.unit_share[i]
            load_p_mw[e, bus] -= share * p_mw[e, unit]
            load_q_mvar[e, bus] -= share * q_mvar[e, unit]


@compiled
def move(address, numbers, state, upstream, wanted, ratio):
    """Regulators take the steps they want, unless one upstream wants any; their gains, ``(B, k)``."""
    for e in range(len(state)):
        _invoke(
            address,
            (
                ratio.shape[1],
                numbers.ctypes.data,
                state[e].ctypes.data,
                upstream.ctypes.data,
                wanted[e].ctypes.data,
                ratio[e].ctypes.data,
            ),
        )


@compiled
def want(address, numbers, state, v_pu, converged, relay_bus, allowed, wanted, busy):
    """Steps that regulators ask for, ``(B, k)``, and the number of environments where one asks for any."""
    count = 0
    for e in range(len(state)):
        _invoke(
            address,
            (
                wanted.shape[1],
                numbers.ctypes.data,
                state[e].ctypes.data,
                v_pu[e].ctypes.data,
                relay_bus.ctypes.data,
                allowed.ctypes.data,
                wanted[e].ctypes.data,
            ),
        )
        busy[e] = False
        for k in range(wanted.shape[1]):
            if not converged[e]:
                wanted[e, k] = 0.0
            busy[e] |= wanted[e, k] != 0.0
        count += busy[e]
    return count


@compiled
def read(relays, v_re, v_im, ratio, reading):
    """What compensated relays read [pu], ``(B, u)``: see ``powergrid.networks.regulation.Relays.read``."""
    for e in range(len(ratio)):
        for u in range(ratio.shape[1]):
            f, t, gain = relays.from_bus[u], relays.to_bus[u], relays.gain[u]
            drop_re, drop_im = ratio[e, u] * v_re[e, f] - v_re[e, t], ratio[e, u] * v_im[e, f] - v_im[e, t]
            i_re = relays.y_re[u] * drop_re - relays.y_im[u] * drop_im
            i_im = relays.y_re[u] * drop_im + relays.y_im[u] * drop_re
            re = gain * v_re[e, t] - relays.r_pu[u] * i_re + relays.x_pu[u] * i_im
            im = gain * v_im[e, t] - relays.r_pu[u] * i_im - relays.x_pu[u] * i_re
            reading[e, u] = np.sqrt(re * re + im * im)


@compiled
def account(
    calls, unit_meter, before, after, p_mw, q_mvar, now, v_pu, p_meter_mw, p_slack_mw, converged, prices, dt_h,
    measured_mw, money, costs, readings,
):  # fmt: skip
    """Meters, then every family's money, settlement, priced violations and readings, each into its columns."""
    branches = p_meter_mw.shape[1]
    for e in range(len(after)):
        if converged[e]:
            measured_mw[e, :branches] = p_meter_mw[e]
            measured_mw[e, branches] = p_slack_mw[e]
            for i in range(len(unit_meter)):
                measured_mw[e, branches + 1 + i] = -p_mw[e, unit_meter[i]]
        else:
            measured_mw[e] = 0.0
        for f in range(len(calls.table)):
            call = calls.table[f]
            if call[ACCOUNT]:
                _invoke(
                    call[ACCOUNT],
                    (
                        call[UNITS],
                        calls.numbers[call[NUMBERS] :].ctypes.data,
                        calls.places[call[PLACES] :].ctypes.data,
                        before[e, call[STATE] :].ctypes.data,
                        after[e, call[STATE] :].ctypes.data,
                        p_mw[e, call[UNIT] :].ctypes.data,
                        q_mvar[e, call[UNIT] :].ctypes.data,
                        now[e].ctypes.data,
                        v_pu[e].ctypes.data,
                        measured_mw[e].ctypes.data,
                        prices[e].ctypes.data,
                        dt_h,
                        money[e, call[MONEY] :].ctypes.data,
                        money[e, call[SETTLED] :].ctypes.data,
                        costs[e, call[VIOLATION] :].ctypes.data,
                        readings[e, call[READING] :].ctypes.data,
                    ),
                )


@compiled
def book(books, prices, now, v_re, v_im, v_pu, loading, converged, money, costs, money_table, cost_table):
    """Price what the network suffered, then sum all columns up by account and name; what nobody owns is shared.

    `money` and `costs` hold one column a unit and name; of `costs` voltage, overload, unserved load and
    unbalance come first and are filled here. The tables are ``(B, accounts + 1, names)``; their last row is shared out
    and then meaningless.
    """
    m, b, accounts = v_pu.shape[1], loading.shape[1], money_table.shape[1] - 1
    for e in range(len(money)):
        served = converged[e]
        for bus in range(m):
            outside = max(v_pu[e, bus] - prices.v_max_pu, 0.0) + max(prices.v_min_pu - v_pu[e, bus], 0.0)
            costs[e, bus] = outside * prices.voltage if served else 0.0
        for branch in range(b):
            excess = max(loading[e, branch] - 100.0, 0.0)
            costs[e, m + branch] = excess * prices.overload if served else 0.0
        for a in range(accounts + 1):
            costs[e, m + b + a] = (
                0.0
                if served
                else max(_sum(books.start, books.series, books.load_p_mw, now[e], a), 0.0) * prices.unserved
            )
        for t in range(len(books.three_phase)):
            excess = 100.0 * _unbalance(v_re[e], v_im[e], books.three_phase[t]) - prices.unbalance_max_percent
            costs[e, m + b + accounts + 1 + t] = max(excess, 0.0) * prices.unbalance if served else 0.0
        _post(money[e], books.money_cell, money_table[e])
        _post(costs[e], books.cost_cell, cost_table[e])


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


@compiled
def observe(
    sight, following, ahead_start, forecast, v_re, v_im, measured_mw, q_meter_mvar, q_slack_mvar, converged, prices,
    readings, seen, physical, features, observation, central,
):  # fmt: skip
    """Fill the feature vector in the order of ``observe.features``, the central state, then all agents' entries."""
    accounts = len(sight.start) - 2
    shown = np.zeros(len(sight.low) + 1, observation.dtype)  # the last one is what padding shows
    for e in range(len(features)):
        f = features[e]
        f[:ahead_start] = following[e, :ahead_start]
        at = following.shape[1]
        for i in range(ahead_start, at):
            f[i] = following[e, i] * forecast[e, i - ahead_start]
        for bus in range(v_re.shape[1]):
            f[at + bus] = np.sqrt(v_re[e, bus] * v_re[e, bus] + v_im[e, bus] * v_im[e, bus])
        at = _put(f, at + v_re.shape[1], measured_mw[e])
        for i in range(q_meter_mvar.shape[1]):
            f[at + i] = q_meter_mvar[e, i] if converged[e] else 0.0
        at += q_meter_mvar.shape[1]
        f[at] = q_slack_mvar[e] if converged[e] else 0.0
        at += 1
        for a in range(accounts):
            f[at + a] = _sum(sight.start, sight.series, sight.load_p_mw, following[e], a)
        at += accounts
        for i in range(len(sight.net_start) - 1):
            f[at + i] = _sum(sight.net_start, sight.net_series, sight.net_p_mw, following[e], i)
        at = _put(f, at + len(sight.net_start) - 1, prices[e])
        at = _put(f, at, readings[e])
        at = _put(f, at, seen[e])
        for i in range(len(sight.signal)):
            f[at + i] = physical[e, sight.signal[i]]
        for i in range(len(sight.central)):
            central[e, i] = f[sight.central[i]]
        for i in range(len(sight.low)):
            shown[i] = min(max(f[i], sight.low[i]), sight.high[i])
        for i in range(len(sight.shown)):
            observation[e, i] = shown[sight.shown[i]]


@_inside
def _put(features, at, values):
    """Copy values to their place; the place behind them."""
    for i in range(len(values)):
        features[at + i] = values[i]
    return at + len(values)
