"""Who acts at this tick, and what everybody's command is."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.types import Array
from powergrid.engine.layout import Family, Layout, Params
from powergrid.engine.state import Exogenous, Noise, State


def choose(
    xp: Any, layout: Layout, params: Params, state: State, actions: Array, exogenous: Exogenous, noise: Noise
) -> tuple[Array, Array]:
    """Fill the slots: agents that are due act, the others hold, local policies decide for the rest.

    Parameters
    ----------
    actions
        ``(*batch, A, k_max)`` in [-1, 1]; clipped.

    Returns
    -------
    slots, due
        ``(*batch, K)`` and ``(*batch, A)``.
    """
    plan = layout.slots
    batch = state.tick.shape
    due = xp.ones((*batch, len(layout.actors)), dtype=bool)
    slots = state.slots
    if layout.actors:
        flat = xp.minimum(xp.maximum(actions, -1.0), 1.0).reshape((*batch, -1))
        slots = xp.where(plan.actor >= 0, flat[..., plan.given], slots)
        if (plan.interval > 1).any() or (plan.offset > 0).any():
            due = due_at(state.tick, plan.interval, plan.offset)
            slots = xp.where(due[..., plan.actor] | (plan.actor < 0), slots, state.slots)
    return decide_locally(xp, layout, params, state, slots, exogenous, noise), due


def decide_locally(
    xp: Any,
    layout: Layout,
    params: Params,
    state: State,
    slots: Array,
    exogenous: Exogenous,
    noise: Noise,
    *,
    plain: bool = True,
) -> Array:
    """The slots with what local policies decide, ``(*batch, K)``.

    They see what was chosen above them in this very tick, such as a parent's price. Without `plain` those of plain
    Python devices, which remember what they are given, stay as they are.
    """
    plan, python = layout.slots, None if layout.python is None else layout.python.act
    for _, mask, act in plan.local:
        if act == python and not plain:
            continue
        chosen = act(xp, layout, params, state._replace(slots=slots), exogenous, noise)
        due_slots = mask & due_at(state.tick, plan.slot_interval, plan.slot_offset) if plan.waits(mask) else mask
        slots = xp.where(due_slots, chosen, slots)
    return slots


def due_at(tick: Array, interval: np.ndarray, offset: np.ndarray) -> Array:
    """Whether each of several agents or slots is decided on at a tick, ``(*batch, n)``."""
    since = tick[..., None] - offset
    return (since >= 0) & (since % interval == 0)


def command(family: Family, physical: Array) -> Any:
    """Command of a family from all slots in physical units, ``(*batch, K)``."""
    fields = zip(family.idle, family.slot.T, strict=True)
    return family.kernel.Command(*(physical[..., slot] if idle is None else idle for idle, slot in fields))


def exogenous_of(family: Family, now: Array, v_pu: Array, measured_mw: Array | None = None) -> Any:
    """The family's ``Exogenous`` from the running row, its terminal voltage or its measurement."""
    values = {"series": now, "v_pu": v_pu, "p_branch_mw": measured_mw}
    return family.kernel.Exogenous(*(values[source.kind][..., source.place] for source in family.sources))
