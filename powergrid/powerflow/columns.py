"""Between rows by scenario, as callers see them, and rows of lanes, as the power flow works on them.

Both are tables of float64, one the transpose of the other but for the order of nodes. They are copied in squares of
eight by eight numbers, each a line of memory of eight scenarios, turned over in vector registers (Eklundh, "A fast
computer method for matrix transposing", IEEE Trans. Computers C-21(7), 1972).
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from powergrid.powerflow.slots import leaf

SIDE = 8
"""Numbers along the side of a square: a line of memory."""


@intrinsic
def _turn(typingctx, source, row, first_row, row_width, column, target, place, first_place, place_width, offset):
    """Copy a square with rows and columns exchanged.

    The square at rows ``row[first_row:]`` and `column` goes to rows ``place[first_place:]``, there from number `offset`
    on; rows begin at multiples of their width.
    """
    signature = types.void(source, row, first_row, row_width, column, target, place, first_place, place_width, offset)

    def generate(context, builder, signature, arguments):
        def data(k: int) -> Any:
            return context.make_array(signature.args[k])(context, builder, arguments[k]).data

        vector = ir.VectorType(ir.DoubleType(), SIDE).as_pointer()

        def pointers(table: int, index: int) -> list[Any]:
            found = []
            for k in range(SIDE):
                at = builder.add(arguments[index + 1], ir.Constant(ir.IntType(64), k))
                start = builder.mul(builder.load(builder.gep(data(index), [at])), arguments[index + 2])
                found.append(builder.gep(data(table), [builder.add(start, arguments[index + 3])]))
            return [builder.bitcast(pointer, vector) for pointer in found]

        lines = [builder.load(pointer, align=8) for pointer in pointers(0, 1)]
        for pointer, line in zip(pointers(5, 6), turned(builder, lines), strict=True):
            builder.store(line, pointer, align=8)
        return context.get_dummy_value()

    return signature, generate


def turned(builder: Any, lines: list[Any]) -> list[Any]:
    """Lines of the transposed square: exchange of quarters, then of quarters of those, and once more."""
    reach = SIDE // 2
    while reach:
        for i in range(SIDE):
            if i & reach:
                continue
            upper, lower = lines[i], lines[i + reach]
            masks = (
                [SIDE + k - reach if k & reach else k for k in range(SIDE)],
                [SIDE + k if k & reach else k + reach for k in range(SIDE)],
            )
            for at, mask in zip((i, i + reach), masks, strict=True):
                order = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), mask)
                lines[at] = builder.shuffle_vector(upper, lower, order)
        reach //= 2
    return lines


@leaf
def into_lanes(rows, row_width, who, column, work, at, into, lanes):
    """Copy ``len(at)`` numbers of every scenario from `column` on into the lanes of rows `at` behind `into`."""
    count, lane_width, whole = len(at), 2 * lanes, 0
    if count >= SIDE and len(who) >= SIDE:
        whole = len(who) // SIDE * SIDE
        for first in range(0, count + SIDE - 1, SIDE):
            k = min(first, count - SIDE)  # the last square overlaps the one before
            for lane in range(0, whole, SIDE):
                _turn(rows, who, lane, row_width, column + k, work, at, k, lane_width, into + lane)
    for lane in range(whole, len(who)):
        first = who[lane] * row_width + column
        for k in range(count):
            work[into + at[k] * lane_width + lane] = rows[first + k]


@leaf
def out_of_lanes(work, at, source, lanes, rows, row_width, who, column):
    """The way back: lanes of rows `at` behind `source` into `column` and the following of every scenario."""
    count, lane_width, whole = len(at), 2 * lanes, 0
    if count >= SIDE and len(who) >= SIDE:
        whole = len(who) // SIDE * SIDE
        for first in range(0, count + SIDE - 1, SIDE):
            k = min(first, count - SIDE)
            for lane in range(0, whole, SIDE):
                _turn(work, at, k, lane_width, source + lane, rows, who, lane, row_width, column + k)
    for lane in range(whole, len(who)):
        first = who[lane] * row_width + column
        for k in range(count):
            rows[first + k] = work[source + at[k] * lane_width + lane]
