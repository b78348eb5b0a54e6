"""Tables of the compiled inverters: their units as arrays, their memory, and the arguments of their entries."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from powergrid.agents.curves import Curve
from powergrid.core.errors import NotCompilableError
from powergrid.core.types import Array
from powergrid.engine.compiled import tables as at
from powergrid.engine.compiled.plan import first_units
from powergrid.engine.layout import Layout


class Places(NamedTuple):
    """Rows of ``Units.whole``.

    Attributes
    ----------
    q_slot, p_slot
        Slots that the curves fill; -1 where they do not.
    offered
        Column of the states that holds what nature offers; -1 where the command is no share of it.
    shift
        Column of the signals that is added to the volt-var curve; -1 for none.
    unit
        Number among all units.
    node_a, node_b, node_c
        Nodes of the terminal.
    """

    q_slot: Array
    p_slot: Array
    offered: Array
    shift: Array
    unit: Array
    node_a: Array
    node_b: Array
    node_c: Array


class Numbers(NamedTuple):
    """Rows of ``Units.real``, as in :class:`powergrid.engine.inverters.Inverters`."""

    curve: Curve
    gain: Array
    left: Array
    begin_pu: Array
    end_pu: Array
    rated_mw: Array
    low_mw: Array
    half_mw: Array
    share_a: Array
    share_b: Array
    share_c: Array


class Memory(NamedTuple):
    """Blocks of `n` rows of `memory`; behind them `largest`, `share` and `factor`."""

    w: Array
    wanted: Array
    base: Array
    p_mw: Array
    q_mvar: Array
    v_pu: Array
    step: Array
    rest: Array


PLACE, NUMBER, MEMORY = at.numbered(Places), at.numbered(Numbers), at.numbered(Memory)


class Units(NamedTuple):
    """The units as arrays.

    Attributes
    ----------
    whole, real
        One column a unit, see :class:`Places` and :class:`Numbers`.
    families
        First entries of their families' rows in ``Calls.table``.
    r_pu, x_pu
        As in :class:`powergrid.engine.inverters.Inverters`.
    forming_state, forming_unit
        Units of these families that form grids and follow no voltage: the columns of their states, and their numbers.
    """

    whole: Array
    real: Array
    families: Array
    r_pu: Array
    x_pu: Array
    forming_state: Array
    forming_unit: Array


def units_of(layout: Layout, fields: Any) -> Units:
    """The units of a layout, where `fields` says where each field of each family's state lies.

    Raises
    ------
    NotCompilableError
        If a family does not keep what nature offers in its state.
    """
    given = layout.policies.inverters
    offered = np.full(len(given.unit), -1)
    for k in np.flatnonzero(given.by_share).tolist():
        family = layout.families[given.family[k]]
        names = family.kernel.State._fields
        if "available_mw" not in names:
            raise NotCompilableError(f"the state of {family.kernel.__name__} does not hold available_mw")
        offered[k] = fields[given.family[k]][names.index("available_mw")].start + given.row[k]
    nodes, shares = given.node.T, given.share.T
    states, forming = _forming(layout, fields)
    places = Places(
        q_slot=given.q_slot, p_slot=given.p_slot, offered=offered, shift=given.shift, unit=given.unit,
        node_a=nodes[0], node_b=nodes[1], node_c=nodes[2],
    )  # fmt: skip
    numbers = Numbers(
        curve=given.curve, gain=given.q_gain, left=given.left, begin_pu=given.begin_pu, end_pu=given.end_pu,
        rated_mw=given.rated_mw, low_mw=given.low_mw, half_mw=given.half_mw,
        share_a=shares[0], share_b=shares[1], share_c=shares[2],
    )  # fmt: skip
    return Units(
        whole=np.ascontiguousarray(places, np.int64),
        real=np.ascontiguousarray([*numbers.curve, *numbers[1:]], float),
        families=np.unique(given.family).astype(np.int64) * at.CALL_WIDTH,
        r_pu=given.r_pu,
        x_pu=given.x_pu,
        forming_state=states,
        forming_unit=forming,
    )


def _forming(layout: Layout, fields: Any) -> tuple[Array, Array]:
    """Columns of the states, and numbers, of the units that form grids in families with followers."""
    given, islands = layout.policies.inverters, layout.grid.islands
    states: list[int] = []
    units: list[int] = []
    if islands is not None:
        first = first_units(layout)
        for i in np.unique(given.family).tolist():
            own = range(first[i], first[i] + layout.families[i].size)
            for unit in sorted(set(islands.unit.tolist()) - set(given.unit.tolist())):
                if unit in own:
                    states += [place.start + unit - first[i] for place in fields[i]]
                    units.append(unit)
    return np.array(states, np.int64), np.array(units, np.int64)


class FollowArguments(NamedTuple):
    """What both entries take.

    Attributes
    ----------
    ints, floats, table, clock, before, after, delivered, inputs, out
        As in :class:`powergrid.engine.compiled.arguments.TickArguments`.
    units, real, families, r_pu, x_pu, forming_state, forming_unit
        See :class:`Units`.
    tol_pu, rest_pu
        Tolerance of the flow, and largest difference at rest [pu].
    memory
        Table of lanes, see above.
    fresh
        Whether no flow has been solved at these taps.
    active, busy
        Environments to bring to rest, and those that are not yet, ``(B,)``.
    """

    ints: Array
    floats: Array
    units: Array
    real: Array
    families: Array
    r_pu: Array
    x_pu: Array
    forming_state: Array
    forming_unit: Array
    tol_pu: float
    rest_pu: float
    table: Array
    clock: Array
    before: Array
    after: Array
    delivered: Array
    inputs: Array
    out: Array
    memory: Array
    fresh: bool
    active: Array
    busy: Array
