"""From one vector of features to everybody's observation."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from powergrid.engine.compiled.common import leaf

_PIECE = 16


@intrinsic
def _copy_piece(typingctx, target, to, source, from_):
    """Copy `_PIECE` numbers between places of arrays of one type."""

    def generate(context, builder, signature, arguments):
        kind = context.get_data_type(signature.args[0].dtype)
        vector = ir.VectorType(kind, _PIECE).as_pointer()
        places = []
        for table, number in ((0, 1), (2, 3)):
            data = context.make_array(signature.args[table])(context, builder, arguments[table]).data
            places.append(builder.bitcast(builder.gep(data, [arguments[number]]), vector))
        builder.store(builder.load(places[1], align=4), places[0], align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), generate


@intrinsic
def _copy_shown(typingctx, target, number, source, order):
    """Number ``order[number]`` of one array to `number` of another; unlike an index it cannot count from the end."""

    def generate(context, builder, signature, arguments):
        at, places = arguments[1], []
        for k in (0, 2, 3):
            places.append(context.make_array(signature.args[k])(context, builder, arguments[k]).data)
        into, shown, numbers = places
        value = builder.load(builder.gep(shown, [builder.load(builder.gep(numbers, [at]))]))
        builder.store(value, builder.gep(into, [at]))
        return context.get_dummy_value()

    return types.void(target, types.intp, source, order), generate


@leaf
def gather_observations(order, offsets, alike, shown, observation):
    """Write what all agents see, one agent after the other.

    Number i of the observation shows feature ``order[i]``; agent a's numbers begin at ``offsets[a]``. The first
    ``alike[a]`` of them equal those of the agent before and are copied from there, a piece at a time.
    """
    before = 0
    for a in range(len(alike)):
        first, same = offsets[a], alike[a]
        if same >= _PIECE:
            for i in range(0, same, _PIECE):
                i = min(i, same - _PIECE)  # the last piece overlaps the one before
                _copy_piece(observation, first + i, observation, before + i)
        else:
            for i in range(same):
                observation[first + i] = observation[before + i]
        for i in range(first + same, offsets[a + 1]):
            _copy_shown(observation, i, shown, order)
        before = first
