"""What both compiled halves of the step share: the floor plan, and calls of C functions by address."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

import powergrid.core.symbols  # noqa: F401  (names of what is compiled here)
from powergrid.core.machine_code import part

inside = part(error_model="numpy", nogil=True, _nrt=True)
"""For functions that allocate; numba would make them as what calls them is made."""
leaf = part(error_model="numpy", nogil=True, _nrt=False)
"""For functions that allocate nothing: without reference counting they compile sooner and run faster."""


@intrinsic
def invoke(typingctx, address, arguments):
    """Call the C function at an address; pointers travel as integers, which every platform's C passes alike."""
    signature = types.void(address, arguments)

    def generate(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def address(typingctx, array, number):
    """Where a number of an array lies, as an integer; the caller keeps the array alive."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(builder.gep(data, [arguments[1]]), ir.IntType(64))

    return types.int64(array, types.intp), generate


def _row(context: Any, builder: Any, kind: Any, source: Any, data: Any, count: Any) -> Any:
    """One row of numbers that belong to another array; unlike slices and ``reshape`` it checks nothing."""
    made = context.make_array(kind)(context, builder)
    parts = {"data": data, "meminfo": source.meminfo, "parent": source.parent}
    populate_array(made, shape=[count], strides=[source.itemsize], itemsize=source.itemsize, **parts)
    return impl_ret_borrowed(context, builder, kind, made._getvalue())


@intrinsic
def flat(typingctx, array):
    """A C-contiguous array as one row."""
    row = types.Array(array.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        return _row(context, builder, row, source, source.data, source.nitems)

    return row(array), generate


def _part(context: Any, builder: Any, signature: Any, ints: Any, array: Any, number: Any) -> Any:
    """The part of an array whose bounds are the integers ``2 number`` and ``2 number + 1``."""
    head = context.make_array(signature.args[0])(context, builder, ints).data
    source = context.make_array(signature.return_type)(context, builder, array)
    first = builder.mul(number, ir.Constant(number.type, 2))
    start, stop = (builder.load(builder.gep(head, [builder.add(first, ir.Constant(number.type, k))])) for k in range(2))
    data = builder.gep(source.data, [start])
    return _row(context, builder, signature.return_type, source, data, builder.sub(stop, start))


@intrinsic
def whole(typingctx, ints, number):
    """An array of integers of the floor plan that ``plan.pack`` has laid into two arrays."""

    def generate(context, builder, signature, arguments):
        return _part(context, builder, signature, arguments[0], arguments[0], arguments[1])

    return ints(ints, types.intp), generate


@intrinsic
def real(typingctx, ints, floats, number):
    """An array of floats of the floor plan."""

    def generate(context, builder, signature, arguments):
        return _part(context, builder, signature, *arguments)

    return floats(ints, floats, types.intp), generate
