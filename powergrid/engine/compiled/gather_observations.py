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


@leaf
def gather_observations(order, alike, shown, observation):
    """Write all agents' rows, one after the other.

    Entry i of the observation shows feature ``order[i]``. The first ``alike[a]`` entries of agent a's row equal those
    of the agent before and are copied from there, a piece at a time.
    """
    agents = len(alike)
    width = len(order) // max(agents, 1)
    for a in range(agents):
        first, same = a * width, alike[a]
        if same >= _PIECE:
            for i in range(0, same, _PIECE):
                i = min(i, same - _PIECE)  # the last piece overlaps the one before
                _copy_piece(observation, first + i, observation, first - width + i)
        else:
            for i in range(first, first + same):
                observation[i] = observation[i - width]
        for i in range(first + same, first + width):
            observation[i] = shown[order[i]]
