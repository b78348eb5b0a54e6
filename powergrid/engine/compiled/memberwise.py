"""First seams and rules of protocols whose kernels treat every member by itself, for all environments of a group.

They are called like those of other protocols, see :mod:`powergrid.engine.compiled.layer_kernels`, but once for a group:
what they get and give are tables of lanes. A kernel then sees numbers where others see arrays of members, as devices'
kernels do, so that nothing is allocated.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from powergrid.agents.protocol import is_memberwise
from powergrid.coordination.layers import Layer
from powergrid.core.errors import NotCompilableError
from powergrid.engine.compiled.kernels import address_of, module_of, tuple_of


class Shape(NamedTuple):
    """What the functions of a protocol are written for.

    Attributes
    ----------
    orders
        Expressions of the numbers of its orders, action after action.
    sent
        Channels that its first seam fills; ``None`` without one.
    channels
        All its channels, in order.
    ways
        Kernels by which anybody gives orders.
    known
        Whether those who order know a position.
    """

    orders: tuple[str, ...]
    sent: tuple[str, ...] | None
    channels: tuple[str, ...]
    ways: tuple[str, ...]
    known: bool


class Addresses(NamedTuple):
    """Addresses of the first seam and of what gives orders, 0 where there is none."""

    before: int
    rule: int
    abstain: int


def treats_members_alone(layer: Layer, ways: tuple[str, ...]) -> bool:
    """Whether the first seam of a layer, and the kernels by which anybody gives its orders, take member by member."""
    kernels = [getattr(layer.protocol, name) for name in ("before", *ways)]
    used = [kernel for kernel in kernels if kernel is not None]
    filled = all(layer.widths) and all(map(len, layer.orders))
    return bool(used) and all(map(is_memberwise, used)) and filled and not len(layer.governed)


_HEAD = '''"""First seam of {name}, member by member; written by powergrid.engine.compiled, safe to delete."""

from numba import types

from powergrid.agents.protocol import Context, Position
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.kernels import c_function, compiled
from powergrid.engine.compiled.rows import {rows}

# {fields}
Params, State, Orders = KERNEL.Params, KERNEL.State, ORDERS
get, put = {rows}.get, {rows}.put
n_, f_ = types.int64, types.float64
r_, i_ = types.CPointer(types.float64), types.CPointer(types.int64)
'''

_MEMBER = """    for i in range(max({lengths}, 0)):
        ctx = Context(
            {params}, dt_h, get(given, p + 2 * m + 1), {due}, {retail}, {feed_in}, get(given, p + 2 * m), {v_pu}, None,
            None, None, None, {frequency_hz}, {island}, None, None,
        )
        here = {state}
"""

_BEFORE = """
kernel_before = compiled(KERNEL.before)


@c_function(types.void(n_, n_, n_, r_, f_, r_, i_, i_, r_, r_, r_, r_, r_, r_))
def before(m, p, g, params, dt_h, given, member, sizes, tables, state, orders, kept, sent, wanted):
{member}        after, told, _ = kernel_before(xp, ctx, here, {orders})
{stored}
"""

_ORDER = """
kernel_{name} = compiled(KERNEL.{name})


@c_function(types.void(n_, n_, n_, r_, f_, r_, i_, i_, r_, r_, r_, r_))
def {name}(m, p, g, params, dt_h, given, member, sizes, tables, state, position, chosen):
{member}        found = kernel_{name}(xp, ctx, here, {position})
{stored}
"""


@cache
def compile_memberwise(kind: Any, orders: Any, shape: Shape, lanes: int) -> Addresses:
    """Compile the first seam and the rules of a protocol of that kind.

    Raises
    ------
    NotCompilableError
        If a kernel does more than to compute numbers of a member from numbers of that member.
    """
    rows, fields = "ONE" if lanes == 1 else "MANY", (kind.Params._fields, kind.State._fields, orders._fields)
    text = _HEAD.format(name=kind.__name__, fields=fields, rows=rows)
    states = len(kind.State._fields)
    asked = _blocks(shape.orders)
    for name in shape.ways:
        position = f"Position({_number('position', '0', 'm')}, {_number('position', 'm', 'm')})"
        text += _ORDER.format(
            name=name,
            member=_member(kind, shape.orders),
            position=position if shape.known else "None",
            stored="\n".join(_stored(f"found[{j}]", "chosen", *block) for j, block in enumerate(asked)),
        )
    if shape.sent is not None:
        lengths = [f"sizes[{5 + states + shape.channels.index(name)}]" for name in shape.sent]
        kept = [(f"sizes[{4 + j}]", f"sizes[{5 + j}] - sizes[{4 + j}]") for j in range(states)]
        stored = [_stored(f"after[{j}]", "kept", *block) for j, block in enumerate(kept)]
        stored += [_stored(f"told[{j}]", "sent", *block) for j, block in enumerate(_blocks(tuple(lengths)))]
        text += _BEFORE.format(
            member=_member(kind, (*lengths, *(count for _, count in kept))),
            orders=tuple_of("Orders", [_number("orders", *block) for block in asked]),
            stored="\n".join(stored),
        )
    try:
        module = module_of(kind, text, ("before", *shape.ways), also={"ORDERS": orders})
    except NotCompilableError as error:
        raise NotCompilableError(f"protocol {kind.__name__}, whose kernels are marked memberwise: {error}") from error
    return Addresses(*(address_of(module, name) for name in Addresses._fields))


def _blocks(lengths: tuple[str, ...]) -> list[tuple[str, str]]:
    """First row and length of blocks that lie one after the other."""
    return [(" + ".join(lengths[:j]) or "0", length) for j, length in enumerate(lengths)]


def _number(table: str, first: str, count: str) -> str:
    """Expression of a member's number in a block; one number stands for all."""
    return f"get({table}, {first} + min(i, {count} - 1))"


def _stored(value: str, table: str, first: str, count: str) -> str:
    """Line that stores a member's number into a block."""
    return f"        if i < {count}:\n            put({table}, {first} + i, {value})"


def _member(kind: Any, lengths: tuple[str, ...]) -> str:
    """Lines that begin with the next member and what its kernels get."""
    state = [_number("state", f"sizes[{4 + j}]", f"(sizes[{5 + j}] - sizes[{4 + j}])") for j in _places(kind.State)]
    return _MEMBER.format(
        lengths=", ".join(lengths) or "0",
        params=tuple_of("Params", [f"params[{j}]" for j in _places(kind.Params)]),
        due=_number("given", "0", "p"),
        retail=_number("given", "p", "m"),
        feed_in=_number("given", "p + m", "m"),
        v_pu=_number("given", "p + 2 * m + 2", "m"),
        frequency_hz=_number("given", "p + 3 * m + 2", "m"),
        island=_number("given", "p + 4 * m + 2", "m"),
        state=tuple_of("State", state),
    )


def _places(kind: Any) -> range:
    return range(len(kind._fields))
