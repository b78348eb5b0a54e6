"""Inverters that follow their voltage, compiled: the twin of :mod:`powergrid.engine.inverters`.

Environments without such units never compile these entries. A table of lanes, `memory`, holds for each environment
``[w n, wanted n, base n, p n, q n, v n, step n, least, share, factor]``: voltages tried, active power commanded besides
the curves, and what :class:`powergrid.engine.inverters.Round` has by the same names.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents import curves
from powergrid.agents.curves import Curve
from powergrid.core.machine_code import cached
from powergrid.engine import formulas
from powergrid.engine import inverters as engine
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.arguments import ENTRY, TickArguments, entry
from powergrid.engine.compiled.before import make_before
from powergrid.engine.compiled.common import flat, inside, leaf, real, whole
from powergrid.engine.compiled.inverter_tables import MEMORY, NUMBER, PLACE, FollowArguments, Units
from powergrid.engine.compiled.kernels import compiled as twin
from powergrid.engine.compiled.rows import MANY, ONE, Rows
from powergrid.engine.compiled.topologies import make_topologies
from powergrid.engine.inverters import ROUNDS, UNKNOWN_PU

_reactive, _active = twin(curves.reactive_slot), twin(curves.active_slot)
_physical, _magnitude = twin(formulas.physical), twin(formulas.magnitude)
_NUDGE_PU = 4.0 * float(np.sqrt(np.finfo(float).eps))
_judged, _factor_of, _share_of = twin(engine.judged), twin(engine.factor_of), twin(engine.share_of)
_nudge_of, _slope_of = twin(engine.nudge_of), twin(engine.slope_of)


class Follow(NamedTuple):
    """Compiled functions over all groups of environments.

    Attributes
    ----------
    begin
        Note what is commanded besides the curves, and command what they give at the last voltages.
    follow
        After a flow: who is at rest, and what the others try next.
    """

    begin: Callable
    follow: Callable


def make_follow(rows: Rows) -> Follow:
    """The entries for so many lanes."""
    lanes, get, put, fill, read, write = rows
    before, topologies = make_before(rows), make_topologies(rows)
    stop, mark = topologies.stop, topologies.mark
    members, deliver_family, draw = before.members, before.deliver_family, before.draw

    @leaf
    def terminal(units, real_, u, table, first):
        """Mean voltage of a unit's phases in a table whose magnitudes begin at row `first`."""
        total = get(table, first + units[PLACE.node_a, u]) * real_[NUMBER.share_a, u]
        total += get(table, first + units[PLACE.node_b, u]) * real_[NUMBER.share_b, u]
        total += get(table, first + units[PLACE.node_c, u]) * real_[NUMBER.share_c, u]
        return total

    @leaf
    def command(ints, floats, units, real_, memory, nudge, after, delivered):
        """Slots of the curves in physical units at the voltages tried, a `nudge` beyond them."""
        n = units.shape[1]
        low, half_span = real(ints, floats, at.DELIVERY.low), real(ints, floats, at.DELIVERY.half_span)
        signals = whole(ints, at.WIDTHS)[at.WIDTH.signals_from]
        for u in range(n):
            w = get(memory, MEMORY.w * n + u) + get(nudge, u)
            if units[PLACE.q_slot, u] >= 0:
                k = units[PLACE.q_slot, u]
                curve = Curve(
                    real_[NUMBER.curve.full_low_pu, u],
                    real_[NUMBER.curve.low_pu, u],
                    real_[NUMBER.curve.high_pu, u],
                    real_[NUMBER.curve.full_high_pu, u],
                    real_[NUMBER.curve.full_share, u],
                )
                shift = fill(0.0)
                if units[PLACE.shift, u] >= 0:
                    shift = get(after, signals + units[PLACE.shift, u])
                slot = _reactive(xp, w, curve, real_[NUMBER.gain, u], shift)
                put(delivered, k, _physical(slot, low[k], half_span[k]))
            if units[PLACE.p_slot, u] >= 0:
                k, half_mw = units[PLACE.p_slot, u], fill(real_[NUMBER.half_mw, u])
                if units[PLACE.offered, u] >= 0:
                    half_mw = get(after, units[PLACE.offered, u]) * 0.5
                wanted = get(memory, MEMORY.wanted * n + u)
                slot = _active(
                    xp,
                    w,
                    wanted,
                    real_[NUMBER.left, u],
                    real_[NUMBER.begin_pu, u],
                    real_[NUMBER.end_pu, u],
                    real_[NUMBER.rated_mw, u],
                    real_[NUMBER.low_mw, u],
                    half_mw,
                )
                put(delivered, k, _physical(slot, low[k], half_span[k]))

    @leaf
    def keep_forming(p, after, delivered, spare, back):
        """Note what units that form grids do, or put it `back`: their families' kernels know of no island."""
        widths, n = whole(p.ints, at.WIDTHS), len(p.forming_state)
        for i in range(n):
            if back:
                put(after, p.forming_state[i], get(spare, i))
            else:
                put(spare, i, get(after, p.forming_state[i]))
        for i in range(len(p.forming_unit)):
            for k in range(2):
                row = widths[at.WIDTH.slots] + k * widths[at.WIDTH.units] + p.forming_unit[i]
                if back:
                    put(delivered, row, get(spare, n + 2 * i + k))
                else:
                    put(spare, n + 2 * i + k, get(delivered, row))

    @leaf
    def deliver(p, who, memory, nudge, old, now, v_pu, after, delivered, spare):
        command(p.ints, p.floats, p.units, p.real, memory, nudge, after, delivered)
        keep_forming(p, after, delivered, spare, False)
        for f in p.families:
            deliver_family(p.ints, p.floats, f, old, after, now, v_pu, delivered)
        keep_forming(p, after, delivered, spare, True)
        stop(p.ints, who, p.clock, old, after, delivered)

    @leaf
    def load(ints, floats, now, delivered, drawn, inputs, who):
        draw(ints, floats, now, delivered, drawn)
        columns = whole(ints, at.NETWORK.at)
        write(drawn, 0, len(drawn) // lanes, flat(inputs), inputs.shape[1], who, columns[at.INPUT.load_p])

    @leaf
    def readings(ints, table, when, who, row, old, now, v_pu):
        """Exogenous row and voltages that the kernels of a group read."""
        widths = whole(ints, at.WIDTHS)
        m, held = widths[at.WIDTH.buses], widths[at.WIDTH.states] + widths[at.WIDTH.slots]
        for lane in range(lanes):
            row[lane] = when[who[lane], 1]
        read(flat(table), table.shape[1], row, 0, table.shape[1], now, 0)
        for bus in range(m):
            put(v_pu, bus, _magnitude(xp, get(old, held + bus), get(old, held + m + bus)))

    @leaf
    def places_of(ints, floats):
        """Numbers that one environment's loads take."""
        parts = 2 + len(real(ints, floats, at.DELIVERY.by_voltage)) // max(
            len(real(ints, floats, at.DELIVERY.load_p_mw)), 1
        )
        return (len(whole(ints, at.DELIVERY.start)) - 1) * parts

    @inside
    def begin(p):
        ints, floats, units, real_ = p.ints, p.floats, p.units, p.real
        table, when, inputs = p.table, p.clock, p.inputs
        n, m = units.shape[1], whole(ints, at.WIDTHS)[at.WIDTH.buses]
        first = whole(ints, at.WIDTHS)[at.WIDTH.states]
        who, row = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        now, v_pu, nudge = np.empty(table.shape[1] * lanes), np.empty(m * lanes), np.zeros(n * lanes)
        drawn = np.empty(places_of(ints, floats) * lanes)
        spare = np.empty((len(p.forming_state) + 2 * len(p.forming_unit)) * lanes)
        for group in range(len(p.before)):
            members(group, len(when), who)
            old, new, made, own = p.before[group], p.after[group], p.delivered[group], p.memory[group]
            readings(ints, table, when, who, row, old, now, v_pu)
            for u in range(n):
                put(own, MEMORY.w * n + u, terminal(units, real_, u, v_pu, 0))
                put(own, MEMORY.wanted * n + u, get(new, first + max(units[PLACE.p_slot, u], 0)))
            deliver(p, who, own, nudge, old, now, v_pu, new, made, spare)
            load(ints, floats, now, made, drawn, inputs, who)

    @leaf
    def delivered_by(ints, units, u, delivered):
        """Active and reactive power of a unit."""
        widths = whole(ints, at.WIDTHS)
        p = widths[at.WIDTH.slots] + units[PLACE.unit, u]
        return get(delivered, p), get(delivered, p + widths[at.WIDTH.units])

    @leaf
    def answer(table_r, table_x, i, n, p, q):
        """Change of a unit's voltage for changes of power."""
        total = fill(0.0)
        for j in range(n):
            total += get(p, j) * table_r[i, j] + get(q, j) * table_x[i, j]
        return total

    @leaf
    def solve(matrix, r, step, n):
        """Solve ``matrix step = r`` by elimination; the matrix, close to one plus a positive one, needs no pivots."""
        for i in range(n):
            put(step, i, get(r, i))
        for k in range(n):
            inverse = 1.0 / get(matrix, k * n + k)
            for i in range(k + 1, n):
                ratio = get(matrix, i * n + k) * inverse
                for j in range(k + 1, n):
                    put(matrix, i * n + j, get(matrix, i * n + j) - ratio * get(matrix, k * n + j))
                put(step, i, get(step, i) - ratio * get(step, k))
        for back in range(n):
            k = n - 1 - back
            total = get(step, k)
            for j in range(k + 1, n):
                total -= get(matrix, k * n + j) * get(step, j)
            put(step, k, total / get(matrix, k * n + k))

    @inside
    def follow(p):
        """One round of the environments `active`, the first one at these taps if it is `fresh`; how many stay busy."""
        ints, floats, units, real_, r_pu, x_pu = p.ints, p.floats, p.units, p.real, p.r_pu, p.x_pu
        tol_pu, rest_pu, fresh, active, busy = p.tol_pu, p.rest_pu, p.fresh, p.active, p.busy
        table, when, inputs, out = p.table, p.clock, p.inputs, p.out
        n, widths = units.shape[1], whole(ints, at.WIDTHS)
        m, width, count, rest = widths[at.WIDTH.buses], out.shape[1], 0, MEMORY.rest * n
        starts = whole(ints, at.NETWORK.at)[at.INPUT.start_re]
        who, row = np.empty(lanes, np.int64), np.empty(lanes, np.int64)
        now, v_old, flow = np.empty(table.shape[1] * lanes), np.empty(m * lanes), np.empty(width * lanes)
        nudge, dp, dq, r, step, alive = np.empty((6, n * lanes))
        matrix, marks = np.empty(n * n * lanes), np.empty(3 * lanes)
        scratch, apart = np.empty(p.after.shape[1]), np.empty(p.delivered.shape[1])
        drawn = np.empty(places_of(ints, floats) * lanes)
        spare = np.empty((len(p.forming_state) + 2 * len(p.forming_unit)) * lanes)
        for group in range(len(p.before)):
            members(group, len(when), who)
            some = False
            for lane in range(lanes):
                some |= active[who[lane]]
                marks[lane] = active[who[lane]]
            if not some:
                continue
            old, new, made, own = p.before[group], p.after[group], p.delivered[group], p.memory[group]
            readings(ints, table, when, who, row, old, now, v_old)
            read(flat(out), width, who, 0, width, flow, 0)
            act, solved = get(marks, 0) > 0.5, get(flow, width - 1) < tol_pu
            least, share, factor = get(own, rest), get(own, rest + 1), get(own, rest + 2)
            if fresh:
                least = xp.where(act, fill(UNKNOWN_PU), least)
                share, factor = xp.where(act, fill(1.0), share), xp.where(act, fill(1.0), factor)
            mark(ints, who, when, units[PLACE.unit], alive)
            largest = fill(0.0)
            for u in range(n):
                v = terminal(units, real_, u, flow, 2 * m)
                put(r, u, (v - get(own, MEMORY.w * n + u)) * get(alive, u))
                largest = xp.maximum(largest, xp.abs(get(r, u)))
                p_mw, q_mvar = delivered_by(ints, units, u, made)
                put(dp, u, p_mw - get(own, MEMORY.p_mw * n + u))
                put(dq, u, q_mvar - get(own, MEMORY.q_mvar * n + u))
            takes, stays = _judged(xp, act, solved, largest, least, share, rest_pu)
            squares, explained = fill(0.0), fill(0.0)
            for u in range(n):
                expected = answer(r_pu, x_pu, u, n, dp, dq)
                moved = (terminal(units, real_, u, flow, 2 * m) - get(own, MEMORY.v_pu * n + u)) * get(alive, u)
                squares += expected * expected
                explained += expected * moved
            fit = _factor_of(xp, explained, squares, least, factor)
            # slopes of what is delivered, in the direction of the step
            for u in range(n):
                put(nudge, u, _nudge_of(xp, get(r, u), _NUDGE_PU))
            for i in range(len(scratch)):
                scratch[i] = new[i]
            for i in range(len(apart)):
                apart[i] = made[i]
            deliver(p, who, own, nudge, old, now, v_old, scratch, apart, spare)
            for u in range(n):
                here, there = delivered_by(ints, units, u, made), delivered_by(ints, units, u, apart)
                put(dp, u, _slope_of(xp, here[0], there[0], get(nudge, u)))
                put(dq, u, _slope_of(xp, here[1], there[1], get(nudge, u)))
            for i in range(n):
                for j in range(n):
                    gain = get(dp, j) * r_pu[i, j] + get(dq, j) * x_pu[i, j]
                    put(matrix, i * n + j, gain * fit + (1.0 if i == j else 0.0))
            solve(matrix, r, step, n)
            longest = fill(0.0)
            for u in range(n):
                longest = xp.maximum(longest, xp.abs(get(step, u)))
            share = xp.where(takes, _share_of(xp, longest), xp.where(act, share * 0.5, share))
            put(own, rest, xp.where(takes, largest, least))
            put(own, rest + 1, share)
            put(own, rest + 2, xp.where(takes, fit, factor))
            for u in range(n):
                p_mw, q_mvar = delivered_by(ints, units, u, made)
                w, v = get(own, MEMORY.w * n + u), terminal(units, real_, u, flow, 2 * m)
                put(own, MEMORY.base * n + u, xp.where(takes, w, get(own, MEMORY.base * n + u)))
                put(own, MEMORY.p_mw * n + u, xp.where(takes, p_mw, get(own, MEMORY.p_mw * n + u)))
                put(own, MEMORY.q_mvar * n + u, xp.where(takes, q_mvar, get(own, MEMORY.q_mvar * n + u)))
                put(own, MEMORY.v_pu * n + u, xp.where(takes, v, get(own, MEMORY.v_pu * n + u)))
                put(own, MEMORY.step * n + u, xp.where(takes, get(step, u), get(own, MEMORY.step * n + u)))
                again = get(own, MEMORY.base * n + u) + share * get(own, MEMORY.step * n + u)
                put(own, MEMORY.w * n + u, xp.where(stays, again, w))
                put(nudge, u, fill(0.0))
            put(marks, 1, xp.where(stays, fill(1.0), 0.0))
            put(marks, 2, xp.where(act & solved, fill(1.0), 0.0))
            some = False
            for lane in range(lanes):
                e = who[lane]
                busy[e] = marks[lanes + lane] > 0.5
                some |= busy[e]
                if marks[2 * lanes + lane] > 0.5:
                    for i in range(2 * m):
                        inputs[e, starts + i] = out[e, i]
            if some:
                deliver(p, who, own, nudge, old, now, v_old, new, made, spare)
                load(ints, floats, now, made, drawn, inputs, who)
        for e in range(len(busy)):
            if not active[e]:
                busy[e] = False
            count += busy[e]
        return count

    return Follow(begin, follow)


_MADE_OF = (Path(__file__).parent, Path(engine.__file__), Path(formulas.__file__), Path(curves.__file__))


@cache
def entries(lanes: int) -> Follow:
    """The entries for so many lanes, compiled when they are first called."""
    compiled = cached(*_MADE_OF, name=f"-{lanes}", **ENTRY)
    return Follow(*(entry(FollowArguments, body, compiled) for body in make_follow(ONE if lanes == 1 else MANY)))


class Followed:
    """Brings the inverters of a batch to rest between the compiled halves of a step.

    Parameters
    ----------
    units
        From :func:`units_of`.
    rest_pu, tol_pu
        Largest difference at rest, and the power flow's tolerance [pu].
    lanes, count
        Environments side by side, and in all.
    """

    def __init__(self, units: Units, rest_pu: float, tol_pu: float, lanes: int, count: int):
        n = units.whole.shape[1]
        self._entries, self._units, self._limits = entries(lanes), units, (tol_pu, rest_pu)
        self._memory = np.zeros((-(-count // lanes), (MEMORY.rest * n + 3) * lanes))
        self._busy = np.empty(count, bool)

    def begin(self, tick: TickArguments) -> None:
        """Command what the curves give at the last voltages."""
        self._entries.begin(*self._arguments(tick))

    def settle(self, tick: TickArguments, solve: Any) -> None:
        """Bring busy environments to rest at their taps, whose flows are solved.

        Parameters
        ----------
        tick
            The running tick.
        solve
            ``solve(inputs, out, iterations)`` of the flow.
        """
        inputs, out, iterations = tick.inputs, tick.out, tick.iterations
        arguments = self._arguments(tick)
        for left in reversed(range(ROUNDS)):
            count = self._entries.follow(*arguments)
            if not count:
                return
            some = np.flatnonzero(self._busy)
            arguments = arguments._replace(fresh=False, active=self._busy.copy())
            if not left:
                out[some, -1] = self._limits[0]  # inverters that do not come to rest are no solution
                return
            found, taken = np.empty((len(some), out.shape[1])), np.empty(len(some), np.int64)
            solve(inputs[some], found, taken)
            out[some], iterations[some] = found, taken

    def _arguments(self, tick: TickArguments) -> FollowArguments:
        units, (tol_pu, rest_pu) = self._units, self._limits
        return FollowArguments(
            ints=tick.ints, floats=tick.floats, units=units.whole, real=units.real, families=units.families,
            r_pu=units.r_pu, x_pu=units.x_pu, forming_state=units.forming_state, forming_unit=units.forming_unit,
            tol_pu=tol_pu, rest_pu=rest_pu, table=tick.table, clock=tick.clock, before=tick.before, after=tick.after,
            delivered=tick.delivered, inputs=tick.inputs, out=tick.out, memory=self._memory, fresh=True,
            active=tick.busy.copy(), busy=self._busy,
        )  # fmt: skip
