"""Compiled entries of the step, before and after the power flow, for one environment and for many side by side.

What the reference writes as gathers and matrix products over a batch is here a loop over what is really there, so that
the cost is linear in devices, buses and agents. The loops run over groups of ``lanes`` environments, as many as their
name says: each number is one vector, see :mod:`powergrid.engine.compiled.vector_types`. Every environment is computed
by itself, hence to the same bits in any batch. Functions release the interpreter lock.

Tables of lanes, ``(groups, numbers * lanes)``, hold for each environment:

- carried from tick to tick: ``[device states, slots, v_re, v_im, settlement prices]``;
- delivered: ``[slots in physical units, p_mw of all units, q_mvar of all units]``;
- worked out after the flow: ``[measurements, money columns, cost columns, readings, features]``;
- `wanted` and `ratio` of regulators.

Tables with one row an environment, ``(B, numbers)``, are inputs and outputs of the flow, see
:mod:`powergrid.engine.compiled.flow`, ``clock`` with tick and exogenous row, and what agents are told.

Only these entries are kept on disk, with all that they call inside, as long as no file changes that they are made of.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace

from numba import types

from powergrid.core.machine_code import cached
from powergrid.engine import regulation
from powergrid.engine.compiled.after import make_finish
from powergrid.engine.compiled.before import make_before
from powergrid.engine.compiled.rows import MANY, ONE
from powergrid.engine.compiled.tick import make_tick
from powergrid.powerflow import columns

_MADE_OF = (Path(__file__).parent, Path(regulation.__file__), Path(columns.__file__).parent)


@cache
def entries(lanes: int) -> SimpleNamespace:
    """The entries for so many lanes; see :mod:`powergrid.engine.compiled.before` and ``tick`` for what they do."""
    rows = ONE if lanes == 1 else MANY
    compiled = cached(*_MADE_OF, name=f"-{lanes}", error_model="numpy", nogil=True)
    before = make_before(rows)
    choose_, want_, again_ = before.choose, before.want, before.again

    @compiled
    def choose(ints, floats, clock, actions, old, new, due, clipped):
        choose_(ints, clock, actions, old, new, due, clipped)

    @compiled
    def want(ints, floats, tol_pu, new, out, wanted, ratio, busy):
        return want_(ints, floats, tol_pu, new, out, wanted, ratio, busy)

    @compiled
    def again(ints, floats, chosen, new, wanted, ratio, inputs, out):
        again_(ints, floats, chosen, new, wanted, ratio, inputs, out)

    return SimpleNamespace(
        choose=choose, want=want, again=again, tick=make_tick(rows, before, make_finish(rows), compiled)
    )


def _table(kind, dimensions):
    return types.Array(kind, dimensions, "C")


_N, _F, _YES = types.int64, types.float64, types.boolean
_INTS, _FLOATS, _ROWS, _CUBE = _table(_N, 1), _table(_F, 1), _table(_F, 2), _table(_F, 3)
_CLOCK, _DUE, _CLIPPED, _EACH = _table(_N, 2), _table(_YES, 2), _table(_N, 2), _table(_YES, 1)
CHOOSE = (_INTS, _FLOATS, _CLOCK, _CUBE, _ROWS, _ROWS, _DUE, _CLIPPED)
"""Types of the arguments of ``choose``."""
TICK = (
    _INTS, _FLOATS, types.Tuple((_N, _INTS, _FLOATS, _YES, _F, _N, _FLOATS)), types.UniTuple(_N, 2), _N, _N, _YES,
    _ROWS, _CLOCK, _CUBE, _YES, _CUBE, _ROWS, _ROWS, _ROWS, _ROWS, _ROWS, _INTS, _ROWS, _ROWS, _EACH, _ROWS, _ROWS,
    _ROWS, _table(types.float32, 2), _ROWS, _ROWS, _CUBE, _CUBE, _DUE, _CLIPPED, _EACH,
)  # fmt: skip
"""Types of the arguments of ``tick`` with observations in single precision."""
