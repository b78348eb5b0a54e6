"""The operator's rule with limit prices that never meet: what trading is worth."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.agents.policies import rule_based
from powergrid.agents.policies._following import following
from powergrid.core.types import Array
from powergrid.plugins import register_policy


@register_policy("no_trade")
@following()
def act(xp: Any, layout: Any, params: Any, state: Any, exogenous: Any, noise: Any) -> Array:
    """As ``rule_based``, but importers bid feed-in and exporters ask retail.

    Who imports follows from loads and commands. A member in balance counts as an importer: it has losses to cover.
    """
    slots = rule_based.act.rule(xp, layout, params, state, exogenous, noise)
    imported_mw = _imported_mw(xp, layout, params, state, exogenous.now, slots)
    for market in layout.markets:
        place = np.eye(layout.slots.size)[market.slot[:, 0]]
        limit = xp.where(imported_mw[..., market.members] > -1e-6, -1.0, 1.0) @ xp.asarray(place, dtype=slots.dtype)
        slots = xp.where(place.any(0), limit, slots)
    return slots


def _imported_mw(xp: Any, layout: Any, params: Any, state: Any, now: Array, slots: Array) -> Array:
    """Load minus injection of each account in this tick [MW], ``(*batch, accounts + 1)``."""
    physical = layout.slots.physical(slots)
    imported = now[..., layout.load_series] @ params.load_to_account
    for family, columns, device in zip(layout.families, params.families, state.devices, strict=True):
        if family.kernel.role != "injection":
            continue
        fields = zip(family.idle, family.slot.T, strict=True)
        command = family.kernel.Command(*(physical[..., slot] if idle is None else idle for idle, slot in fields))
        values = rule_based.readings(xp, family, now, state)
        _, injection = family.kernel.step(xp, columns, device, command, values, layout.settings.dt_h)
        owned = (family.account % imported.shape[-1])[:, None] == range(imported.shape[-1])
        imported = imported - injection.p_mw @ xp.asarray(owned, dtype=imported.dtype)
    return imported
