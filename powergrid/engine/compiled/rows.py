"""Tables of lanes, and the way between them and tables with one row an environment.

A table of lanes is a flat float64 array; row ``k`` of it, numbers ``k * lanes`` to ``(k + 1) * lanes``, holds number
``k`` of each environment of a group. Tables by environment are copied in squares of eight by eight numbers, each a line
of memory of eight environments, turned over in vector registers (Eklundh, "A fast computer method for matrix
transposing", IEEE Trans. Computers C-21(7), 1972).
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from powergrid.core.machine_code import part
from powergrid.core.types import Array
from powergrid.engine.compiled.vector_types import LanesType
from powergrid.powerflow.columns import SIDE, turned

WIDE = SIDE
"""Environments side by side in a batch: a line of memory."""
FEW = 3
"""Up to so many environments are stepped one after the other."""
leaf = part(error_model="numpy", nogil=True, _nrt=False)


class Rows(NamedTuple):
    """Access to tables of a fixed number of lanes.

    Attributes
    ----------
    lanes
        Environments side by side.
    get, put
        ``(table, row)`` and ``(table, row, value)``; a table is an array or a C pointer.
    fill
        ``(number)``: the same number in every lane.
    read
        ``(rows, width, who, column, count, table, first)``: `count` numbers of each environment, from `column` on, to
        rows `first` on. Environment `lane` is row ``who[lane]`` of `width` numbers.
    write
        ``(table, first, count, rows, width, who, column)``: the way back; into float32 rows too.
    """

    lanes: int
    get: Any
    put: Any
    fill: Any
    read: Any
    write: Any


def pointer_to(context: Any, builder: Any, kind: Any, table: Any, number: Any) -> Any:
    """Pointer to a number of an array or of what a C pointer points at."""
    data = table if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, table).data
    return builder.gep(data, [number])


def _access(lanes: int) -> tuple[Any, Any, Any]:
    wide, vector = LanesType(lanes), ir.VectorType(ir.DoubleType(), lanes).as_pointer()

    def place(context: Any, builder: Any, kind: Any, table: Any, row: Any) -> Any:
        number = builder.mul(row, ir.Constant(row.type, lanes))
        return builder.bitcast(pointer_to(context, builder, kind, table, number), vector)

    @intrinsic
    def get(typingctx, table, row):
        def generate(context, builder, signature, arguments):
            return builder.load(place(context, builder, signature.args[0], *arguments), align=8)

        return wide(table, types.intp), generate

    @intrinsic
    def put(typingctx, table, row, value):
        def generate(context, builder, signature, arguments):
            builder.store(arguments[2], place(context, builder, signature.args[0], *arguments[:2]), align=8)
            return context.get_dummy_value()

        return types.void(table, types.intp, wide), generate

    @intrinsic
    def fill(typingctx, value):
        return wide(wide), lambda context, builder, signature, arguments: arguments[0]

    return get, put, fill


@intrinsic
def _turn_in(typingctx, rows, width, who, column, table, row):
    """Copy a square from eight environments to eight rows of lanes."""

    def generate(context, builder, signature, arguments):
        kinds, vector = signature.args, ir.VectorType(ir.DoubleType(), SIDE).as_pointer()
        lines = []
        for lane in range(SIDE):
            env = builder.load(pointer_to(context, builder, kinds[2], arguments[2], ir.IntType(64)(lane)))
            number = builder.add(builder.mul(env, arguments[1]), arguments[3])
            pointer = builder.bitcast(pointer_to(context, builder, kinds[0], arguments[0], number), vector)
            lines.append(builder.load(pointer, align=8))
        for k, line in enumerate(turned(builder, lines)):
            number = builder.mul(builder.add(arguments[5], ir.IntType(64)(k)), ir.IntType(64)(SIDE))
            pointer = builder.bitcast(pointer_to(context, builder, kinds[4], arguments[4], number), vector)
            builder.store(line, pointer, align=8)
        return context.get_dummy_value()

    return types.void(rows, types.intp, who, types.intp, table, types.intp), generate


@intrinsic
def _turn_out(typingctx, table, row, rows, width, who, column):
    """Copy a square from eight rows of lanes to eight environments."""

    def generate(context, builder, signature, arguments):
        kinds, vector = signature.args, ir.VectorType(ir.DoubleType(), SIDE)
        lines = []
        for k in range(SIDE):
            number = builder.mul(builder.add(arguments[1], ir.IntType(64)(k)), ir.IntType(64)(SIDE))
            pointer = builder.bitcast(pointer_to(context, builder, kinds[0], arguments[0], number), vector.as_pointer())
            lines.append(builder.load(pointer, align=8))
        single = kinds[2].dtype == types.float32
        target = ir.VectorType(ir.FloatType(), SIDE) if single else vector
        for lane, line in enumerate(turned(builder, lines)):
            env = builder.load(pointer_to(context, builder, kinds[4], arguments[4], ir.IntType(64)(lane)))
            number = builder.add(builder.mul(env, arguments[3]), arguments[5])
            pointer = pointer_to(context, builder, kinds[2], arguments[2], number)
            value = builder.fptrunc(line, target) if single else line
            builder.store(value, builder.bitcast(pointer, target.as_pointer()), align=4 if single else 8)
        return context.get_dummy_value()

    return types.void(table, types.intp, rows, types.intp, who, types.intp), generate


def make_rows(lanes: int) -> Rows:
    """Access to tables of so many lanes, for compiled code."""
    get, put, fill = _access(lanes)

    @leaf
    def read(rows, width, who, column, count, table, first):
        if lanes == SIDE and count >= SIDE:
            for k in range(0, count, SIDE):
                k = min(k, count - SIDE)  # the last square overlaps the one before
                _turn_in(rows, width, who, column + k, table, first + k)
            return
        for lane in range(lanes):
            start = who[lane] * width + column
            for k in range(count):
                table[(first + k) * lanes + lane] = rows[start + k]

    @leaf
    def write(table, first, count, rows, width, who, column):
        if lanes == SIDE and count >= SIDE:
            for k in range(0, count, SIDE):
                k = min(k, count - SIDE)
                _turn_out(table, first + k, rows, width, who, column + k)
            return
        for lane in range(lanes):
            start = who[lane] * width + column
            for k in range(count):
                rows[start + k] = table[(first + k) * lanes + lane]

    return Rows(lanes, get, put, fill, read, write)


ONE, MANY = make_rows(1), make_rows(WIDE)


def by_environment(table: Array, count: int, numbers: slice = slice(None)) -> Array:
    """Numbers of a table of lanes with one row an environment; a view where there is one lane."""
    groups = len(table)
    if groups == count:
        return table[:, numbers]
    return table.reshape(groups, -1, WIDE)[:, numbers].swapaxes(1, 2).reshape(groups * WIDE, -1)[:count]


def by_lanes(values: Array, lanes: int, table: Array | None = None, numbers: slice | Array = slice(None)) -> Array:
    """The way back, into a new table or into some numbers of one; a last group that is not full repeats its last."""
    groups = -(-len(values) // lanes)
    whole = values[np.minimum(np.arange(groups * lanes), len(values) - 1)]
    if table is None:
        table = np.empty((groups, values.shape[1] * lanes))
    table.reshape(groups, -1, lanes)[:, numbers] = whole.reshape(groups, lanes, -1).swapaxes(1, 2)
    return table


def picked(table: Array, lanes: int, who: Array) -> Array:
    """Numbers of some environments of a table of lanes, one row per environment."""
    found: Array = table.reshape(len(table), -1, lanes)[who // lanes, :, who % lanes]
    return found


def put_back(table: Array, lanes: int, who: Array, first: int, values: Array) -> None:
    """Put numbers ``(len(who), n)`` of some environments into a table of lanes, from number `first` on."""
    table.reshape(len(table), -1, lanes)[who // lanes, first : first + values.shape[1], who % lanes] = values


def repeat_last(table: Array, lanes: int, count: int) -> None:
    """Let the last of so many environments stand in every lane that is left of its group, as compiled code expects."""
    last = (count - 1) % lanes
    group = table.reshape(len(table), -1, lanes)[-1]
    group[:, last + 1 :] = group[:, last, None]
