"""From rules of device families to C functions, as :mod:`powergrid.engine.compiled.kernels` does it for the rest.

A rule gives the command of a competent operator; what of it becomes a slot stands in the floor plan.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.device_agent import DeviceAgent
from powergrid.engine.compiled.kernels import (
    address_of,
    commanded,
    module_of,
    outputs_of,
    record_of,
    store_of,
    tuple_of,
)
from powergrid.engine.layout import Family

ASKED = ("price", "retail", "feed_in", "account", "node", "base")
"""Places of each unit that rules and policies need besides those of the family: three columns of prices, an account,
the node of its terminal, and the column of the price that its tariff contains."""


class Rule(NamedTuple):
    """Addresses of a family's compiled functions, 0 where it has none.

    Attributes
    ----------
    command
        State and outlook to command.
    offer
        What nature offers to units in service, which is taken off the net load of each account.
    marginal
        Marginal cost of what is commanded, 0 where a unit does not run.
    """

    command: int
    offer: int
    marginal: int


class Wanted(NamedTuple):
    """Which functions of a family are wanted, in the order of :class:`Rule`."""

    command: bool
    offer: bool
    marginal: bool


_HEAD = '''"""Choices of {name}; written by powergrid.engine.compiled, safe to delete."""

from numba import types

from powergrid.agents.device_agent import Outlook
from powergrid.agents.policy import Unit
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.forecasts import forecast
from powergrid.engine.compiled.kernels import c_function, compiled
from powergrid.engine.compiled.rows import {rows}

Params, State, Command, Exogenous = {device}.Params, {device}.State, {device}.Command, {device}.Exogenous
get, put, fill, LANES = {rows}.get, {rows}.put, {rows}.fill, {rows}.lanes
n_, f_ = types.int64, types.float64
r_, i_ = types.CPointer(types.float64), types.CPointer(types.int64)
'''

_LOOP = """
@c_function(types.void(n_, r_, i_, i_, r_, r_, r_, r_, r_, r_, n_, n_, f_, {kinds}))
def {name}(
    n, numbers, places, asked, state, now, v_pu, prices, net_load, mean_price, ahead, hour, dt_h, {more}
):
    for u in range(n):
        price = get(now, asked[u])
        shift = price - get(now, asked[5 * n + u])
        outlook = Outlook(
            price, get(now, asked[n + u]) + shift, get(now, asked[2 * n + u]) + shift, {ahead},
            get(mean_price, 0), get(net_load, asked[3 * n + u]), get(now, hour), {settled},
        )
        params, here, exogenous = {params}, {state}, {exogenous}
{body}
"""

_COMMAND = """        wanted = kernel_rule(xp, params, here, exogenous, outlook, dt_h)
{chosen}"""

_ACT = """        unit = Unit(
            params, here, exogenous, outlook, get(v_pu, asked[4 * n + u]), get(uniform, u), {held}, {ruled}
        )
        after, wanted = kernel_act(xp, {own}, {memory}, unit, dt_h)
{kept}
{chosen}"""

_OFFER = """
kernel_available = compiled(KERNEL.available)


@c_function(types.void(n_, r_, i_, i_, r_, r_, f_, r_, i_, r_))
def offer(n, numbers, places, asked, now, v_pu, dt_h, carried, column, net_load):
    for u in range(n):
        account = asked[3 * n + u]
        offered = kernel_available(xp, {params}, {exogenous}, dt_h)
        if column[u] >= 0:
            out = get(carried, column[u]) > 0.5
            put(net_load, account, get(net_load, account) - xp.where(out, 0.0, offered))
        else:
            put(net_load, account, get(net_load, account) - offered)
"""

_MARGINAL = """
kernel_marginal = compiled(KERNEL.marginal_cost)


@c_function(types.void(n_, r_, i_, r_, r_))
def marginal(n, numbers, places, physical, cost):
    for u in range(n):
        p_mw = {p_mw}
        put(cost, u, xp.where(p_mw > 0.0, fill(kernel_marginal(xp, {params}, p_mw)), 0.0))
"""


def compile_rule(family: Family, lanes: int, hours: int, wanted: Wanted) -> Rule:
    """Compile what is `wanted` of a family and it has: its rule, what nature offers it, and its marginal cost.

    Raises
    ------
    NotCompilableError
        If a kernel uses what floats do not have.
    """
    counted = "available_pu" in family.kernel.Exogenous._fields  # power by a series, in the net load already
    offers = not counted and family.kernel.available is not DeviceAgent.available
    has = Wanted(wanted.command, wanted.offer and offers, wanted.marginal and burns(family))
    if not any(has):
        return Rule(0, 0, 0)
    kinds, settles = tuple(source.kind for source in family.sources), outputs_of(family)[1]
    return _compiled(family.kernel, kinds, settles, lanes, hours, has)


def burns(family: Family) -> bool:
    """Whether units of a family have a marginal cost that somebody decides about."""
    if "p_mw" not in family.kernel.Command._fields or not family.free.any():
        return False
    return family.kernel.marginal_cost(np, family.params, np.zeros(family.size)) is not None


@cache
def _compiled(kernel: Any, kinds: tuple[str, ...], settles: bool, lanes: int, hours: int, wanted: Wanted) -> Rule:
    text = _HEAD.format(name=kernel.__name__, device="KERNEL", rows="ONE" if lanes == 1 else "MANY")
    parts = _unit(kernel, kinds)
    params, exogenous = parts["params"], parts["exogenous"]
    if wanted.command:
        body = _COMMAND.format(chosen=store_of("wanted", len(kernel.Command._fields), "chosen"))
        text += "\nkernel_rule = compiled(KERNEL.rule)\n\n"
        text += _loop("command", ("chosen",), kernel, kinds, settles, hours, body)
    if wanted.offer:
        text += _OFFER.format(params=params, exogenous=exogenous)
    if wanted.marginal:
        p_mw = commanded(kernel.Command._fields.index("p_mw"), len(kernel.Params._fields))
        text += _MARGINAL.format(params=params, p_mw=p_mw)
    module = module_of(kernel, text, ("rule", "available", "marginal_cost"))
    return Rule(*(address_of(module, name) for name in Rule._fields))


def compile_act(policy: Any, family: Family, lanes: int, hours: int) -> int:
    """Compile a policy's kernel for a family; its address.

    Raises
    ------
    NotCompilableError
        If the kernel uses what floats do not have.
    """
    kinds, settles = tuple(source.kind for source in family.sources), outputs_of(family)[1]
    kind: Any = type(policy)
    return _compiled_act(kind, family.kernel, kinds, settles, lanes, hours)


@cache
def _compiled_act(policy: Any, device: Any, kinds: tuple[str, ...], settles: bool, lanes: int, hours: int) -> int:
    fields, numbers = len(device.Command._fields), len(device.Params._fields)
    body = _ACT.format(
        held=tuple_of("Command", [commanded(j, numbers) for j in range(fields)]),
        ruled=record_of("Command", device.Command, "ruled"),
        own=tuple_of("Own", [f"own[{j}]" for j in range(len(policy.Params._fields))]),
        memory=record_of("Memory", policy.State, "memory"),
        kept=store_of("after", len(policy.State._fields), "kept"),
        chosen=store_of("wanted", fields, "chosen"),
    )
    text = _HEAD.format(name=policy.__name__, device="DEVICE", rows="ONE" if lanes == 1 else "MANY")
    text += f"# {device.Params._fields, device.State._fields, device.Command._fields, device.Exogenous._fields}\n"
    text += "kernel_act, Own, Memory = compiled(KERNEL.act), KERNEL.Params, KERNEL.State\n\n"
    more = ("physical", "uniform", "ruled", "own", "memory", "kept", "chosen")
    text += _loop("act", more, device, kinds, settles, hours, body)
    return address_of(module_of(policy, text, ("act",), also={"DEVICE": device}), "act")


def _loop(
    name: str, more: tuple[str, ...], kernel: Any, kinds: tuple[str, ...], settles: bool, hours: int, body: str
) -> str:
    """Text of a loop over the units of a family, with what its operator knows."""
    place = len(kernel.Command._fields) + len(kinds)
    return _LOOP.format(
        name=name,
        kinds=", ".join("r_" for _ in more),
        more=", ".join(more),
        ahead=f"forecast(now, ahead, LANES, {hours})",
        settled=f"get(prices, places[{place} * n + u])" if settles else "fill(0.0)",
        body=body,
        **_unit(kernel, kinds),
    )


def _unit(kernel: Any, kinds: tuple[str, ...]) -> dict[str, str]:
    """Expressions of one unit's parameters, state and series."""
    fields, vector = len(kernel.Command._fields), {"series": "now", "v_pu": "v_pu"}
    series = [f"get({vector[kind]}, places[{fields + j} * n + u])" for j, kind in enumerate(kinds)]
    return {
        "params": tuple_of("Params", [f"numbers[{j} * n + u]" for j in range(len(kernel.Params._fields))]),
        "state": record_of("State", kernel.State, "state"),
        "exogenous": tuple_of("Exogenous", series),
    }
