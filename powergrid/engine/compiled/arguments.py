"""Arguments of the compiled entries: named, typed and put in order in one place.

An entry takes one argument per field of a named tuple, since a named tuple itself costs some microseconds on its way
from Python, and gives them on as that tuple. What calls it makes the tuple by name, so a field that is added and not
filled is an error there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_type_hints

from numba import types

from powergrid.core.types import Array


def _table(kind: Any, dimensions: int) -> Any:
    return types.Array(kind, dimensions, "C")


_Int = Annotated[int, types.int64]
_Float = Annotated[float, types.float64]
_Flag = Annotated[bool, types.boolean]
_Ints = Annotated[Array, _table(types.int64, 1)]
_IntRows = Annotated[Array, _table(types.int64, 2)]
_Flags = Annotated[Array, _table(types.boolean, 1)]
_FlagRows = Annotated[Array, _table(types.boolean, 2)]
_Floats = Annotated[Array, _table(types.float64, 1)]
_Rows = Annotated[Array, _table(types.float64, 2)]
_SingleRows = Annotated[Array, _table(types.float32, 2)]
_Cube = Annotated[Array, _table(types.float64, 3)]


CHOOSE, BEGIN, FLOW, FINISH = range(4)
"""Parts of a tick: what is chosen, the rest before the flow, the flow with the regulators' moves, and after it."""


class TickArguments(NamedTuple):
    """What ``tick`` takes, of all environments or, within it, of some.

    Attributes
    ----------
    ints, floats
        The floor plan, see :func:`powergrid.engine.compiled.plan.pack`.
    code, flow_ints, flow_floats, has_zip, tol_pu, max_iter, space
        The power flow, see ``powergrid.engine.compiled.flow.RowFlow.compiled``; `code` is 0 where others solve.
    begin_with, end_with
        First and last part of the tick to run.
    piece
        Environments that go through the tick together.
    first, rounds
        First environment to run, and how many flows of its piece have been solved by whomever.
    retries
        Whether others can try flows that fail.
    table
        Exogenous rows, ``(rows, W)``.
    clock
        Tick, exogenous row and what selects the topology, see :mod:`powergrid.engine.compiled.topology_tables`.
    actions
        ``(B, A, k_max)``.
    forecast, draws, uniform
        Factors of forecasts, random numbers of policies and those of protocols at every tick, ``(B, ticks, n)``.
    status
        Which devices are out of service in the tick to come, ``(B, f)``: 1 for those, 0 for the others.
    before, after
        Tables of lanes that are carried from tick to tick.
    delivered
        Table of lanes; as long as a piece where nobody reads it afterwards, as are `inputs`, `out` and `iterations`.
    inputs, out, iterations
        Rows of the power flow.
    wanted, ratio
        Tables of lanes of the regulators.
    busy
        Environments whose flow is to be solved, ``(B,)``.
    work
        Table of lanes; of one group where nobody reads it afterwards.
    observation, reward, cost, money, costs, due, clipped, converged
        See :class:`powergrid.engine.results.Results`.
    """

    ints: _Ints
    floats: _Floats
    code: _Int
    flow_ints: _Ints
    flow_floats: _Floats
    has_zip: _Flag
    tol_pu: _Float
    max_iter: _Int
    space: _Floats
    begin_with: _Int
    end_with: _Int
    piece: _Int
    first: _Int
    rounds: _Int
    retries: _Flag
    table: _Rows
    clock: _IntRows
    actions: _Cube
    forecast: _Cube
    draws: _Cube
    uniform: _Cube
    status: _Rows
    before: _Rows
    after: _Rows
    delivered: _Rows
    inputs: _Rows
    out: _Rows
    iterations: _Ints
    wanted: _Rows
    ratio: _Rows
    busy: _Flags
    work: _Rows
    observation: _SingleRows
    reward: _Rows
    cost: _Rows
    money: _Cube
    costs: _Cube
    due: _FlagRows
    clipped: _IntRows
    converged: _Flags


ENTRY = {"error_model": "numpy", "nogil": True, "_nrt": False}
"""Options of numba for entries. Arrays of the caller, which keeps them alive, need no reference counting: without it
they cross at half the cost."""


def types_of(kind: Any) -> tuple[Any, ...]:
    """Numba's types of an entry's arguments, in order."""
    return tuple(hint.__metadata__[0] for hint in get_type_hints(kind, include_extras=True).values())


def entry(kind: Any, body: Callable[..., Any], compiled: Callable[[Any], Any]) -> Any:
    """A function of the fields of a named tuple that calls `body` with the tuple.

    Parameters
    ----------
    kind
        The class of the tuple.
    body
        A compiled function.
    compiled
        The decorator that compiles the entry.
    """
    name, fields = body.__name__, ", ".join(kind._fields)
    text = f"def {name}({fields}):\n    return body(kind({fields}))\n"
    names = {"__name__": __name__, "body": body, "kind": kind}
    exec(compile(text, __file__, "exec"), names)
    return compiled(names[name])
