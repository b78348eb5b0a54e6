"""A whole tick of a few environments after the other, so that what they work on stays in the processor's cache.

The power flow is called as the machine code it was compiled to; see :func:`call_solver`.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from powergrid.engine.compiled.before import Before
from powergrid.engine.compiled.common import inside, leaf
from powergrid.engine.compiled.rows import Rows
from powergrid.engine.regulation import ROUNDS
from powergrid.powerflow.lanes import SOLVER

PIECE = 32
"""Environments that go through a tick together: whole groups of the flow's lanes, few enough for the cache."""
BEGIN, FLOW, FINISH = range(3)
"""Parts of a tick: before the power flow, the flow with the regulators' moves, and after it."""


@intrinsic
def call_solver(typingctx, code, ints, floats, rows, has_zip, has_start, tol_pu, max_iter, space, out, iterations):
    """Call :func:`powergrid.powerflow.lanes.solve_rows` at the address of its machine code."""
    kinds = (ints, floats, rows, has_zip, has_start, tol_pu, max_iter, space, out, iterations)
    if tuple(map(types.unliteral, kinds)) != SOLVER:
        return None

    def generate(context, builder, signature, arguments):
        pairs = zip(arguments[1:], signature.args[1:], SOLVER, strict=True)
        values = [context.cast(builder, value, given, wanted) for value, given, wanted in pairs]
        kind = context.call_conv.get_function_type(types.none, SOLVER)
        function = builder.inttoptr(arguments[0], ir.PointerType(kind))
        context.call_conv.call_function(builder, function, types.none, SOLVER, values)
        return context.get_dummy_value()

    return types.void(code, *kinds), generate


def make_tick(lanes: Rows, before: Before, finish: Callable, compiled: Callable) -> Callable:
    """The whole tick for so many lanes, to be called from Python: `compiled` is the decorator that makes it so."""
    wide = lanes.lanes
    begin, want, again = before.begin, before.want, before.again

    @leaf
    def solve(solver, rows, out, iterations):
        code, ints, floats, has_zip, tol_pu, max_iter, space = solver
        call_solver(code, ints, floats, rows, has_zip, True, tol_pu, max_iter, space, out, iterations)

    @leaf
    def failed(out, tol_pu):
        count = 0
        for e in range(len(out)):
            count += not out[e, out.shape[1] - 1] < tol_pu
        return count > 0

    @inside
    def regulate(ints, floats, solver, new, inputs, out, iterations, moves):
        """Move regulators that ask for it and solve those environments anew; whether any did."""
        wanted, ratio, busy = moves
        if not want(ints, floats, solver[4], new, out, wanted, ratio, busy):
            return False
        who, count = np.empty(len(busy), np.int64), 0
        for e in range(len(busy)):
            if busy[e]:
                who[count] = e
                count += 1
        who = who[:count]
        again(ints, floats, who, new, wanted, ratio, inputs, out)
        rows, found = np.empty((count, inputs.shape[1])), np.empty((count, out.shape[1]))
        taken = np.empty(count, np.int64)
        for i in range(count):
            for k in range(inputs.shape[1]):
                rows[i, k] = inputs[who[i], k]
        solve(solver, rows, found, taken)
        for i in range(count):
            iterations[who[i]] = taken[i]
            for k in range(out.shape[1]):
                out[who[i], k] = found[i, k]
        return True

    @compiled
    def tick(
        ints, floats, solver, parts, first, rounds, may_fail, table, clock, actions, chosen, forecast, old, new, made,
        inputs, out, iterations, wanted, ratio, busy, received, seen, work, observation, reward, cost, money, costs,
        due, clipped, converged,
    ):  # fmt: skip
        """Run `parts` ``(from, to)`` of a tick for the environments from `first` on.

        Where a flow fails and `may_fail` says that somebody else can try, stop and say where, else give the end.
        `rounds` is 0, or how many flows of the first environments have been solved by whomever.
        """
        total, tol_pu = len(clock), solver[4]
        while first < total:
            last = min(first + PIECE, total)
            groups = slice(first // wide, (last + wide - 1) // wide)
            some, here = slice(first, last), slice(0, last - first)
            # tables that nobody looks at afterwards are only as long as a piece
            rows, apart = inputs[here if len(inputs) < total else some], len(out) < total
            ends, taken = out[here if apart else some], iterations[here if apart else some]
            power = made[slice(0, (last - first + wide - 1) // wide) if apart else groups]
            if parts[0] == BEGIN and rounds == 0:
                begin(
                    ints, floats, table, clock[some], actions[some], chosen, old[groups], new[groups], power, rows,
                    wanted[groups], ratio[groups], due[some], clipped[some],
                )  # fmt: skip
            if parts[0] <= FLOW <= parts[1]:
                if rounds == 0:
                    solve(solver, rows, ends, taken)
                    rounds = 1
                    if may_fail and failed(ends, tol_pu):
                        return first, rounds
                while wanted.shape[1] and rounds < ROUNDS:
                    moves = wanted[groups], ratio[groups], busy[some]
                    if not regulate(ints, floats, solver, new[groups], rows, ends, taken, moves):
                        break
                    rounds += 1
                    if may_fail and failed(ends, tol_pu):
                        return first, rounds
            if parts[1] == FINISH:
                finish(
                    ints, floats, table, tol_pu, clock[some], forecast[some], old[groups], new[groups], power, ends,
                    received[some], seen[some], work[groups if len(work) > 1 else slice(0, 1)], observation[some],
                    reward[some], cost[some], money[some], costs[some], converged[some],
                )  # fmt: skip
            first, rounds = last, 0
        return total, 0

    return tick
