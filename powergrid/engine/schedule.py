"""Who acts at this tick, and what everybody's command is."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.types import Array
from powergrid.engine import formulas
from powergrid.engine.availability import Absences
from powergrid.engine.layout import Family, Layout
from powergrid.engine.state import State


def choose(xp: Namespace, layout: Layout, state: State, actions: Array) -> tuple[Array, Array]:
    """Fill the slots of agents that decide in this tick; all others hold.

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
    due = xp.ones((*batch, layout.acting), dtype=bool)
    slots = state.slots
    if layout.acting:
        if actions.shape[-1]:  # else those who act have nothing to set
            flat = xp.minimum(xp.maximum(actions, -1.0), 1.0).reshape((*batch, -1))
            slots = xp.where(plan.actor >= 0, flat[..., plan.given], slots)
        if (plan.interval > 1).any() or (plan.offset > 0).any() or layout.availability is not None:
            due = actors_due(xp, layout, state.tick, state.absences)
            slots = xp.where(due[..., plan.actor] | (plan.actor < 0), slots, state.slots)
    return slots, due


def due_at(tick: Array, interval: np.ndarray, offset: np.ndarray) -> Array:
    """Whether each of several agents or slots is decided on at a tick, ``(*batch, n)``."""
    return formulas.due(tick[..., None], interval, offset)


def actors_due(xp: Namespace, layout: Layout, tick: Array, absences: Absences) -> Array:
    """Whether each actor decides at a tick, ``(*batch, A)``: it is there and due, and moves something in service."""
    due = due_at(tick, layout.slots.interval, layout.slots.offset)
    if layout.availability is None:
        return due
    return due & layout.effective(xp, tick, absences)


def command(family: Family, physical: Array) -> Any:
    """Command of a family from all slots in physical units, ``(*batch, K)``."""
    fields = zip(family.idle, family.slot.T, strict=True)
    return family.kernel.Command(*(physical[..., slot] if idle is None else idle for idle, slot in fields))


def exogenous_of(family: Family, now: Array, v_pu: Array, measured_mw: Array | None = None) -> Any:
    """The family's ``Exogenous`` from the running row, its terminal voltage or its measurement."""
    values = {"series": now, "v_pu": v_pu, "p_branch_mw": measured_mw}
    return family.kernel.Exogenous(*(values[source.kind][..., source.place] for source in family.sources))
