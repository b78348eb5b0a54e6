"""Forecasts as device kernels receive them: rows of a table of lanes, read where a kernel goes through them.

A tuple of all hours would be copied to the stack for every unit, and numba finds an entry of it by a switch.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import RefType, iternext_impl
from numba.extending import intrinsic, lower_builtin, models, overload, register_model

from powergrid.engine.compiled.rows import pointer_to
from powergrid.engine.compiled.vector_types import LanesType

_index = ir.IntType(64)


class ForecastType(types.SimpleIterableType):
    """So many rows of numbers of `lanes` environments."""

    def __init__(self, lanes: int, count: int):
        self.lanes, self.count = lanes, count
        self.row = types.float64 if lanes == 1 else LanesType(lanes)
        super().__init__(f"Forecast({lanes}, {count})", _IteratorType(self))


class _IteratorType(types.SimpleIteratorType):
    def __init__(self, rows: ForecastType):
        self.rows = rows
        super().__init__(f"iter(Forecast({rows.lanes}, {rows.count}))", rows.row)


def _row_pointer(row: Any) -> Any:
    kind = ir.DoubleType() if row is types.float64 else ir.VectorType(ir.DoubleType(), row.count)
    return kind.as_pointer()


@register_model(ForecastType)
class _ForecastModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: ForecastType):
        super().__init__(manager, kind, _row_pointer(kind.row))


@register_model(_IteratorType)
class _IteratorModel(models.StructModel):
    def __init__(self, manager: Any, kind: _IteratorType):
        super().__init__(manager, kind, [("rows", kind.rows), ("next", types.EphemeralPointer(types.intp))])


@intrinsic(prefer_literal=True)
def forecast(typingctx, table, first, lanes, count):
    """Rows `first` and following of a table of lanes; the last two are written as numbers."""
    if not (isinstance(lanes, types.IntegerLiteral) and isinstance(count, types.IntegerLiteral)):
        return None
    kind = ForecastType(lanes.literal_value, count.literal_value)

    def generate(context, builder, signature, arguments):
        number = builder.mul(arguments[1], _index(kind.lanes))
        return builder.bitcast(pointer_to(context, builder, table, arguments[0], number), _row_pointer(kind.row))

    return kind(table, types.intp, lanes, count), generate


@intrinsic
def _row(typingctx, rows, i):
    def generate(context, builder, signature, arguments):
        return builder.load(builder.gep(arguments[0], [arguments[1]]), align=8)

    return rows.row(rows, types.intp), generate


@overload(len)
def _length(rows):
    if isinstance(rows, ForecastType):
        count = rows.count
        return lambda rows: count
    return None


@overload(operator.getitem)
def _entry(rows, i):
    if not (isinstance(rows, ForecastType) and isinstance(i, types.Integer)):
        return None
    count = rows.count

    def entry(rows, i):
        if not -count <= i < count:
            raise IndexError("a kernel reads an hour beyond its forecast")
        return _row(rows, i + count if i < 0 else i)

    return entry


@lower_builtin("getiter", ForecastType)
def _begin(context, builder, signature, arguments):
    iterator = context.make_helper(builder, signature.return_type)
    iterator.rows, iterator.next = arguments[0], cgutils.alloca_once_value(builder, _index(0))
    return iterator._getvalue()


@lower_builtin("iternext", _IteratorType)
@iternext_impl(RefType.UNTRACKED)
def _advance(context, builder, signature, arguments, result):
    kind = signature.args[0]
    iterator = context.make_helper(builder, kind, arguments[0])
    at = builder.load(iterator.next)
    valid = builder.icmp_signed("<", at, _index(kind.rows.count))
    result.set_valid(valid)
    with builder.if_then(valid):
        result.yield_(builder.load(builder.gep(iterator.rows, [at]), align=8))
        builder.store(builder.add(at, _index(1)), iterator.next)
