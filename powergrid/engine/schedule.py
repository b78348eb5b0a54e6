"""Who acts at this tick, and what everybody's command is."""

from __future__ import annotations

from typing import Any

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
        if (plan.interval > 1).any():
            due = (state.tick[..., None] - plan.offset) % plan.interval == 0
            slots = xp.where(due[..., plan.actor] | (plan.actor < 0), slots, state.slots)
    for _, mask, act in plan.local:
        slots = xp.where(mask, act(xp, layout, params, state, exogenous, noise), slots)
    return slots, due


def command(family: Family, slots: Array) -> Any:
    """Physical command of a family from slots in [-1, 1]."""
    return family.kernel.Command(
        *(
            family.low[:, j] + (slots[..., family.slot[:, j]] + 1.0) * family.half_span[:, j]
            for j in range(family.slot.shape[1])
        )
    )


def exogenous_of(family: Family, now: Array, v_pu: Array, measured_mw: Array | None = None) -> Any:
    """The family's ``Exogenous`` from the running row, its terminal voltage or its measurement."""
    values = {"series": now, "v_pu": v_pu, "p_branch_mw": measured_mw}
    return family.kernel.Exogenous(*(values[source.kind][..., source.index] for source in family.sources))
