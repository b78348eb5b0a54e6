"""From rules of device families to C functions, as :mod:`powergrid.engine.compiled.kernels` does it for the rest.

A rule gives the command of a competent operator; what of it becomes a slot stands in the floor plan.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from powergrid.agents.device_agent import DeviceAgent
from powergrid.engine.compiled.kernels import address_of, module_of, outputs_of, record_of, store_of, tuple_of
from powergrid.engine.layout import Family

ASKED = ("price", "retail", "feed_in", "account")
"""Places of each unit that rules need besides those of the family: three columns of prices, and an account."""


class Rule(NamedTuple):
    """Addresses of a family's compiled functions, 0 where it has none.

    Attributes
    ----------
    command
        State and outlook to command.
    offer
        What nature offers, which is taken off the net load of each account.
    """

    command: int
    offer: int


_HEAD = '''"""Rules of {name}; written by powergrid.engine.compiled, safe to delete."""

from numba import types

from powergrid.agents.device_agent import Outlook
from powergrid.engine.compiled import vector_types as xp
from powergrid.engine.compiled.kernels import c_function, compiled
from powergrid.engine.compiled.rows import {rows}

Params, State, Exogenous = KERNEL.Params, KERNEL.State, KERNEL.Exogenous
get, put, fill = {rows}.get, {rows}.put, {rows}.fill
n_, f_ = types.int64, types.float64
r_, i_ = types.CPointer(types.float64), types.CPointer(types.int64)
'''

_COMMAND = """
kernel_rule = compiled(KERNEL.rule)


@c_function(types.void(n_, r_, i_, i_, r_, r_, r_, r_, r_, r_, n_, n_, f_, r_))
def command(n, numbers, places, asked, state, now, v_pu, prices, net_load, mean_price, ahead, hour, dt_h, chosen):
    for u in range(n):
        outlook = Outlook(
            get(now, asked[u]), get(now, asked[n + u]), get(now, asked[2 * n + u]), {ahead},
            get(mean_price, 0), get(net_load, asked[3 * n + u]), get(now, hour), {settled},
        )
        wanted = kernel_rule(xp, {params}, {state}, {exogenous}, outlook, dt_h)
{chosen}
"""

_OFFER = """
kernel_available = compiled(KERNEL.available)


@c_function(types.void(n_, r_, i_, i_, r_, r_, f_, r_))
def offer(n, numbers, places, asked, now, v_pu, dt_h, net_load):
    for u in range(n):
        account = asked[3 * n + u]
        offered = kernel_available(xp, {params}, {exogenous}, dt_h)
        put(net_load, account, get(net_load, account) - offered)
"""


def compile_rule(family: Family, lanes: int, hours: int, wanted: bool) -> Rule:
    """Compile a family's rule where it is `wanted`, and what nature offers it where the net load counts that.

    Raises
    ------
    NotCompilableError
        If a kernel uses what floats do not have.
    """
    counted = "available_pu" in family.kernel.Exogenous._fields  # power by a series, in the net load already
    offers = not counted and family.kernel.available is not DeviceAgent.available
    if not wanted and not offers:
        return Rule(0, 0)
    kinds, settles = tuple(source.kind for source in family.sources), outputs_of(family)[1]
    return _compiled(family.kernel, kinds, settles, lanes, hours, wanted, offers)


@cache
def _compiled(
    kernel: Any, kinds: tuple[str, ...], settles: bool, lanes: int, hours: int, wanted: bool, offers: bool
) -> Rule:
    text = _HEAD.format(name=kernel.__name__, rows="ONE" if lanes == 1 else "MANY")
    fields = len(kernel.Command._fields)
    params = tuple_of("Params", [f"numbers[{j} * n + u]" for j in range(len(kernel.Params._fields))])
    vector = {"series": "now", "v_pu": "v_pu"}
    exogenous = tuple_of(
        "Exogenous", [f"get({vector[kind]}, places[{fields + j} * n + u])" for j, kind in enumerate(kinds)]
    )
    if wanted:
        text += _COMMAND.format(
            params=params,
            state=record_of("State", kernel.State, "state"),
            exogenous=exogenous,
            ahead=tuple_of("", [f"get(now, ahead + {hour})" for hour in range(hours)]),
            settled=f"get(prices, places[{fields + len(kinds)} * n + u])" if settles else "fill(0.0)",
            chosen=store_of("wanted", fields, "chosen"),
        )
    if offers:
        text += _OFFER.format(params=params, exogenous=exogenous)
    module = module_of(kernel, text, ("rule", "available"))
    return Rule(address_of(module, "command"), address_of(module, "offer"))
