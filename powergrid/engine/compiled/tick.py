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

from powergrid.engine.compiled.arguments import BEGIN, FINISH, FLOW, TickArguments
from powergrid.engine.compiled.before import Before
from powergrid.engine.compiled.common import inside, leaf
from powergrid.engine.compiled.rows import Rows
from powergrid.networks.regulation import ROUNDS
from powergrid.powerflow.lanes import SOLVER

PIECE = 32
"""Environments that go through a tick together: whole groups of the flow's lanes, few enough for the cache."""


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


def make_tick(lanes: Rows, before: Before, finish: Callable) -> Callable:
    """The whole tick for so many lanes, a function of :class:`TickArguments`."""
    wide = lanes.lanes
    begin, want, again = before.begin, before.want, before.again

    @leaf
    def solve(p, rows, out, iterations):
        call_solver(
            p.code, p.flow_ints, p.flow_floats, rows, p.has_zip, True, p.tol_pu, p.max_iter, p.space, out, iterations
        )

    @leaf
    def failed(out, tol_pu):
        count = 0
        for e in range(len(out)):
            count += not out[e, out.shape[1] - 1] < tol_pu
        return count > 0

    @inside
    def solve_busy(p):
        """Solve the environments that are busy and leave the others' flows as they are."""
        count = 0
        for e in range(len(p.busy)):
            count += p.busy[e]
        if count == len(p.busy):
            solve(p, p.inputs, p.out, p.iterations)
            return
        who, count = np.empty(count, np.int64), 0
        for e in range(len(p.busy)):
            if p.busy[e]:
                who[count] = e
                count += 1
        rows, found = np.empty((count, p.inputs.shape[1])), np.empty((count, p.out.shape[1]))
        taken = np.empty(count, np.int64)
        for i in range(count):
            for k in range(p.inputs.shape[1]):
                rows[i, k] = p.inputs[who[i], k]
        solve(p, rows, found, taken)
        for i in range(count):
            p.iterations[who[i]] = taken[i]
            for k in range(p.out.shape[1]):
                p.out[who[i], k] = found[i, k]

    @leaf
    def piece_of(t, first, last):
        """The arguments of some environments: whole groups, but for the last."""
        groups = slice(first // wide, (last + wide - 1) // wide)
        some, total = slice(first, last), len(t.clock)
        # tables that nobody looks at afterwards are only as long as a piece
        short, rows = slice(0, last - first), slice(0, (last - first + wide - 1) // wide)
        flows, made = (short, rows) if len(t.out) < total else (some, groups)
        given, worked = (short if len(t.inputs) < total else some), (groups if len(t.work) > 1 else slice(0, 1))
        return TickArguments(
            ints=t.ints, floats=t.floats, code=t.code, flow_ints=t.flow_ints, flow_floats=t.flow_floats,
            has_zip=t.has_zip, tol_pu=t.tol_pu, max_iter=t.max_iter, space=t.space, begin_with=t.begin_with,
            end_with=t.end_with, piece=t.piece, first=first, rounds=t.rounds, retries=t.retries,
            table=t.table, clock=t.clock[some], actions=t.actions[some], forecast=t.forecast[some],
            draws=t.draws[some], uniform=t.uniform[some], status=t.status[some],
            before=t.before[groups], after=t.after[groups], delivered=t.delivered[made],
            inputs=t.inputs[given], out=t.out[flows],
            iterations=t.iterations[flows], wanted=t.wanted[groups], ratio=t.ratio[groups],
            busy=t.busy[some], work=t.work[worked], observation=t.observation[some],
            reward=t.reward[some], cost=t.cost[some], money=t.money[some], costs=t.costs[some], due=t.due[some],
            clipped=t.clipped[some], converged=t.converged[some],
        )  # fmt: skip

    @leaf
    def flows(p, rounds):
        """Solve flows while regulators ask for another one; the number solved, negative where others must solve."""
        while rounds == 0 or (rounds < ROUNDS and p.wanted.shape[1] and want(p)):
            if rounds == 0:
                p.busy[:] = True
            else:
                again(p)
            rounds += 1
            if p.code == 0:
                return -rounds
            solve_busy(p)
            if p.retries and failed(p.out, p.tol_pu):
                return -rounds
        return rounds

    @leaf
    def tick(t):
        """Run parts of a tick for the environments from ``t.first`` on, piece by piece.

        Where others must solve the flows of a piece, or can try those that failed, stop and give its first environment
        and how many flows are then solved; at the end give the number of environments and 0.
        """
        first, rounds, total = t.first, t.rounds, len(t.clock)
        while first < total:
            last = min(first + t.piece, total)
            p = piece_of(t, first, last)
            if t.begin_with <= BEGIN and rounds == 0:
                begin(p)
            if t.begin_with <= FLOW <= t.end_with:
                rounds = flows(p, rounds)
                if rounds < 0:
                    return first, -rounds
            if t.end_with == FINISH:
                finish(p)
            first, rounds = last, 0
        return total, 0

    return tick
