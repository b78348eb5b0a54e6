"""From a protocol's kernels to C functions over the members of one environment, kept on disk like those of devices."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.protocol import Action, Context
from powergrid.coordination.layers import Layer
from powergrid.core.errors import NotCompilableError
from powergrid.engine.compiled import array_types
from powergrid.engine.compiled.kernels import address_of, module_of
from powergrid.engine.compiled.memberwise import Shape, compile_memberwise, treats_members_alone


class Seams(NamedTuple):
    """Addresses of a layer's compiled functions, 0 where it has none, and the channels that each fills.

    Attributes
    ----------
    before, after
        Addresses.
    rule, abstain
        Addresses of what gives orders, 0 where nobody orders by it.
    sent_before, sent_after
        Names of the channels, in order.
    memberwise
        Whether all but the second seam run for a group of environments at once.
    """

    before: int
    after: int
    rule: int
    abstain: int
    sent_before: tuple[str, ...]
    sent_after: tuple[str, ...]
    memberwise: bool = False


_HEAD = '''"""Seams of {name}; written by powergrid.engine.compiled, safe to delete."""

from numba import carray, types

from powergrid.agents.protocol import Context, Position
from powergrid.engine.compiled import array_types as xp
from powergrid.engine.compiled.kernels import c_function, compiled
from powergrid.engine.compiled.layer_kernels import store

# {fields}
Params, State, Orders = KERNEL.Params, KERNEL.State, ORDERS
n_, f_ = types.int64, types.float64
r_, i_ = types.CPointer(types.float64), types.CPointer(types.int64)
'''

_CONTEXT = """    few = carray(sizes, (2,))
    size, reals = carray(sizes, (few[0],)), carray(tables, (few[1],))
    own = carray(given, (p + 5 * m + 2 + size[2] + g + size[3],))
    ctx = Context(
        {params}, dt_h, own[p + 2 * m + 1 : p + 2 * m + 2], own[:p], own[p : p + m], own[p + m : p + 2 * m],
        own[p + 2 * m : p + 2 * m + 1], own[p + 2 * m + 2 : p + 3 * m + 2],
        own[p + 5 * m + 2 + size[2] : p + 5 * m + 2 + size[2] + g],
        carray(member, (g,)), {tables}, own[p + 5 * m + 2 : p + 5 * m + 2 + size[2]],
        own[p + 3 * m + 2 : p + 4 * m + 2], own[p + 4 * m + 2 : p + 5 * m + 2], own[p + 5 * m + 2 + size[2] + g :],
        None,
    )
    old = carray(state, (size[{last}] + 1,))
    here = {state}
"""

_BEFORE = """
kernel_before = compiled(KERNEL.before)


@c_function(types.void(n_, n_, n_, r_, f_, r_, i_, i_, r_, r_, r_, r_, r_, r_))
def before(m, p, g, params, dt_h, given, member, sizes, tables, state, orders, kept, sent, wanted):
{context}    asked = carray(orders, ({length} + 1,))
    after, told, changed = kernel_before(xp, ctx, here, {orders})
{stored}
    if g:
        store(changed, carray(wanted, (g,)))
"""

_AFTER = """
kernel_after = compiled(KERNEL.after)


@c_function(types.void(n_, n_, n_, r_, f_, r_, i_, i_, r_, r_, r_, r_, r_, r_, r_))
def after(m, p, g, params, dt_h, given, member, sizes, tables, state, metered, kept, sent, money, violations):
{context}    after, told, paid, priced = kernel_after(xp, ctx, here, carray(metered, (m + {more},)))
{stored}
"""

_ORDER = """
kernel_{name} = compiled(KERNEL.{name})


@c_function(types.void(n_, n_, n_, r_, f_, r_, i_, i_, r_, r_, r_, r_))
def {name}(m, p, g, params, dt_h, given, member, sizes, tables, state, position, chosen):
{context}    known, asked = carray(position, (2 * m,)), carray(chosen, ({length} + 1,))
    wanted = kernel_{name}(xp, ctx, here, {position})
{stored}
"""


def _store(values: Any, into: Any) -> None:
    """Copy values; one value stands for all."""
    if len(values) == len(into):
        for k in range(len(into)):
            into[k] = values[k]
    else:
        for k in range(len(into)):
            into[k] = values[0]


store = array_types.compiled_part(_store)


def compile_layer(layer: Layer, ways: tuple[str, ...] = (), lanes: int = 1, *, first: bool = True) -> Seams:
    """Compile both seams of a layer, and the kernels `ways` that give its orders, among ``rule`` and ``abstain``.

    Parameters
    ----------
    layer
        The layer.
    ways
        Kernels by which anybody gives orders.
    lanes
        Environments of a group.
    first
        Whether the first seam and the orders are compiled too; otherwise they run in NumPy.

    Raises
    ------
    NotCompilableError
        If a kernel uses what the vocabulary of protocols does not have.
    """
    m, speakers = layer.members, len(layer.interval)
    kind: Any = type(layer.protocol)
    lengths = tuple(_length(action, layer) for action in layer.added.actions)
    before, after = _trial(layer, m, speakers, first)
    names = tuple(channel.name for channel in layer.added.channels)
    tables = tuple((part.dtype.kind == "i", part.ndim) for part in layer.added.tables)
    tables_kind: Any = type(layer.added.tables) if tables else None
    known = layer.level == 0 or len(layer.governed) > 0
    orders, ways, more = layer.protocol.Orders, ways if first else (), layer.metered - m
    if first and treats_members_alone(layer, ways):
        addresses = compile_memberwise(kind, orders, Shape(lengths, before, names, ways, known), lanes)
        second = _compiled(kind, orders, lengths, None, after, names, tables_kind, tables, (), known, more)
        return second._replace(**addresses._asdict(), sent_before=before or (), memberwise=True)
    return _compiled(kind, orders, lengths, before, after, names, tables_kind, tables, ways, known, more)


def _length(action: Action, layer: Layer) -> str:
    """Expression of the number of orders of an action: of all members, of the speakers, or of some members."""
    if action.at is not None:
        return str(len(action.at))
    return "m" if action.each and layer.level > 0 else "p"


def sizes_of(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """What a layer's functions know of its sizes, with its integer tables behind, and its tables of real numbers.

    Sizes are the lengths of both, the numbers of random numbers and of units, the ends of the state's fields from 0 on,
    the lengths of the channels, and of each table its start and shape.
    """
    ends = np.cumsum([0, *layer.widths]).tolist()
    head = [layer.draws, len(layer.works), *ends, *(len(columns) for columns in layer.channels)]
    tables: list[np.ndarray] = list(layer.added.tables)
    at = {True: 2 + len(head) + sum(1 + part.ndim for part in tables), False: 0}
    for part in tables:
        whole = part.dtype.kind == "i"
        head += [at[whole], *part.shape]
        at[whole] += part.size
    whole_ones = [part.ravel() for part in tables if part.dtype.kind == "i"]
    real_ones = [part.ravel() for part in tables if part.dtype.kind != "i"]
    sizes = np.concatenate([np.array([at[True], at[False], *head]), *whole_ones]).astype(np.int64)
    return sizes, np.concatenate([np.zeros(0), *real_ones]).astype(float)


def _trial(layer: Layer, m: int, speakers: int, first: bool) -> tuple[tuple[str, ...] | None, tuple[Any, ...] | None]:
    """Names that the seams give: channels before; channels, money and violations after. ``None`` without a seam."""
    ones, g = np.ones(m), len(layer.governed)
    ctx = Context(
        params=layer.params,
        dt_h=1.0,
        tick=np.zeros(1),
        due=np.ones(speakers),
        retail_per_mwh=ones,
        feed_in_per_mwh=ones,
        price_per_mwh=np.ones(1),
        v_pu=ones,
        governed=np.ones(g),
        command_member=layer.governed_member,
        tables=layer.added.tables,
        uniform=0.5 * np.ones(layer.draws or m),
        frequency_hz=layer.f_hz * ones,
        island=-ones,
        works=np.ones(len(layer.works)),
    )
    state, sent_before, sent_after = layer.protocol.initial(np, (), layer.widths, float), None, None
    if first and layer.protocol.before is not None:
        orders = layer.protocol.Orders(*(np.ones(len(slots)) for slots in layer.orders))
        state, told, _ = layer.protocol.before(np, ctx, state, orders)
        sent_before = tuple(getattr(told, "_fields", ()))
    if layer.protocol.after is not None:
        _, told, money, violations = layer.protocol.after(np, ctx, state, 0.1 * np.ones(layer.metered))
        sent_after = (tuple(getattr(told, "_fields", ())), len(money), len(violations))
    return sent_before, sent_after


@cache
def _compiled(
    kind: Any,
    orders: Any,
    orders_of: tuple[str, ...],
    before: tuple[str, ...] | None,
    after: tuple[Any, ...] | None,
    channels: tuple[str, ...],
    tables_kind: Any,
    tables: tuple[tuple[bool, int], ...],
    ways: tuple[str, ...],
    known: bool,
    more: int,
) -> Seams:
    states = len(kind.State._fields)
    first = 5 + states  # of the channels' lengths
    lengths = {name: f"size[{first + k}]" for k, name in enumerate(channels)}
    params = ", ".join(f"params[{j}]" for j in range(len(kind.Params._fields)))
    fields = ", ".join(f"old[size[{4 + j}] : size[{5 + j}]]" for j in range(states))
    context = _CONTEXT.format(
        params=f"Params({params})" if params else "()",
        last=4 + states,
        tables=_tables(tables, first + len(channels)),
        state=f"State({fields})" if fields else "()",
    )
    named = (kind.Params._fields, kind.State._fields, orders._fields, getattr(tables_kind, "_fields", ()))
    text = _HEAD.format(name=kind.__name__, fields=named)
    kept = [f"    new = carray(kept, (size[{4 + states}] + 1,))"]
    kept += [f"    store(after[{j}], new[size[{4 + j}] : size[{5 + j}]])" for j in range(states)]
    asked, at = [], "0"
    for own in orders_of:
        end = f"{at} + {own}"
        asked.append(f"asked[{at} : {end}]")
        at = end
    for name in ways:
        stored = "\n".join(f"    store(wanted[{j}], {block})" for j, block in enumerate(asked))
        position = "Position(known[:m], known[m:])" if known else "None"
        text += _ORDER.format(name=name, context=context, length=at, position=position, stored=stored)
    if before is not None:
        stored = "\n".join([*kept, *_sent(before, lengths)])
        given = f"Orders({', '.join(asked)})" if asked else "()"
        text += _BEFORE.format(context=context, orders=given, length=at, stored=stored)
    if after is not None:
        told, money, violations = after
        lines = [*kept, *_sent(told, lengths)]
        parties, booked = f"(m + {more + 1})", f"(m + {more})"
        for name, kind_of, width, count in (
            ("paid", "money", parties, money),
            ("priced", "violations", booked, violations),
        ):
            whole = f"carray({kind_of}, ({count} * {width},))"
            lines += [f"    store({name}[{j}], {whole}[{j} * {width} : {j + 1} * {width}])" for j in range(count)]
        text += _AFTER.format(context=context, more=more, stored="\n".join(lines) or "    pass")
    try:
        also = {"ORDERS": orders, "TABLES": tables_kind}
        module = module_of(kind, text, ("before", "after", *ways), array_types, also)
    except NotCompilableError as error:
        raise NotCompilableError(f"protocol {kind.__name__}: {error}") from error
    told_after: tuple[str, ...] = after[0] if after is not None else ()
    first, second, rule, abstain = (address_of(module, name) for name in Seams._fields[:4])
    return Seams(first, second, rule, abstain, before or (), told_after)


def _tables(tables: tuple[tuple[bool, int], ...], at: int) -> str:
    """Expression of a protocol's tables, whose starts and shapes begin at `at`."""
    parts = []
    for whole, dimensions in tables:
        shape = [f"size[{at + 1 + k}]" for k in range(dimensions)]
        count = " * ".join(shape)
        part = f"{'size' if whole else 'reals'}[size[{at}] : size[{at}] + {count}]"
        parts.append(part if dimensions == 1 else f"{part}.reshape(({', '.join(shape)}))")
        at += 1 + dimensions
    return f"TABLES({', '.join(parts)})" if parts else "()"


def _sent(names: tuple[str, ...], lengths: dict[str, str]) -> list[str]:
    """Lines that store what is sent, channel after channel."""
    lines, at = [], "0"
    total = " + ".join(lengths[name] for name in names) or "1"
    for j, name in enumerate(names):
        end = f"{at} + {lengths[name]}"
        lines.append(f"    store(told[{j}], carray(sent, ({total},))[{at} : {end}])")
        at = end
    return lines
