"""Linear models of devices over a horizon, for optimisers."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from powergrid.agents.device_agent import DeviceAgent, LinearDevice
from powergrid.core.types import Injection
from powergrid.engine.layout import Family
from powergrid.worlds.world import World


def linear_models(
    world: World, family: Family, devices: Any, rows: np.ndarray, units: Container[str] | None = None
) -> dict[str, LinearDevice]:
    """Linear models of one family's units, with nominal measurements at the terminal.

    Parameters
    ----------
    world
        The devices and their layout.
    family
        The family.
    devices
        State of the family's units, columns ``(n,)``: the models start with the energy that they hold.
    rows
        Series over the horizon, ``(ticks, series)``.
    units
        Units that are wanted; all of the family if ``None``.
    """
    devices_by_id = {agent.id: agent for agent in world.agents if isinstance(agent, DeviceAgent)}
    fields = [
        rows[:, source.place].T if source.kind == "series" else np.ones((family.size, len(rows)))
        for source in family.sources
    ]
    usual = family.kernel.reset(np, family.params, np.full(family.size, 0.5))
    now = family.kernel.Exogenous(*(field[:, 0] for field in fields))
    nothing = Injection(np.zeros(family.size), np.zeros(family.size))
    # linear models start with the energy of the settings; the energy account gives the difference to this state
    dt_h = world.layout.settings.dt_h
    more_mwh = family.kernel.energy(np, family.params, usual, devices, nothing, now, dt_h).stored
    models = {}
    for i, unit in enumerate(family.ids):
        if units is not None and unit not in units:
            continue
        model = devices_by_id[unit].linear(family.kernel.Exogenous(*(field[i] for field in fields)))
        if model is not None:
            models[unit] = model._replace(e_start_mwh=model.e_start_mwh + float(more_mwh[i]))
    return models
