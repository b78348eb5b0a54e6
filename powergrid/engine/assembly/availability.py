"""Which devices may be out of service, and the columns of the signals that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from powergrid.coordination.channels import Channels, Column
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Entry
from powergrid.engine.availability import MAX_SPELLS, Availability, Rates, most_spells, rates_of
from powergrid.engine.layout import SHARED, Family, Settings

FAILED = Entry("failed", "1", 0.0, 1.0)
"""What a device that may be out of service observes: 1 while it is."""


def availability(
    devices: Sequence[Any], families: Sequence[Family], channels: Channels, settings: Settings, accounts: int
) -> Availability | None:
    """Devices that may be out of service, with new columns of the signals behind all others; ``None`` without any.

    Raises
    ------
    ConfigError
        If a device fails more often in an episode than can be drawn.
    """
    failing = {agent.id: agent for agent in devices if getattr(agent, "reliability", None) is not None}
    placed = [(i, row, id) for i, family in enumerate(families) for row, id in enumerate(family.ids) if id in failing]
    if not placed:
        return None
    rates = tuple(_rates(failing[id], settings) for *_, id in placed)
    column = len(channels.columns)
    channels.add([Column(id, FAILED, 0.0, False, "", False) for *_, id in placed])
    offered = [
        (column + k, *plant)
        for k, (i, row, _) in enumerate(placed)
        if (plant := _by_series(families[i], row, accounts)) is not None
    ]
    columns, series, p_mw, account = zip(*offered, strict=True) if offered else ((), (), (), ())
    return Availability(
        units=tuple(id for *_, id in placed),
        family=np.array([i for i, *_ in placed], dtype=int),
        row=np.array([row for _, row, _ in placed], dtype=int),
        column=column,
        rates=rates,
        ticks=settings.episode_length,
        families=tuple(family.size for family in families),
        offered_column=np.array(columns, dtype=int),
        offered_series=np.array(series, dtype=int),
        offered_mw=np.array(p_mw, dtype=float),
        offered_account=np.array(account, dtype=int),
        accounts=accounts,
    )


def _rates(agent: Any, settings: Settings) -> Rates:
    """Chances of a device from one tick to the next."""
    given = agent.reliability
    if given.mtbf_h is None:
        return Rates()
    rates = rates_of(given.mtbf_h, given.mttr_h, settings.dt_h)
    if most_spells(rates, settings.episode_length) > MAX_SPELLS:
        hours = settings.episode_length * settings.dt_h
        message = (
            f'device "{agent.id}" with mtbf_h {given.mtbf_h:g} and mttr_h {given.mttr_h:g} may fail more than '
            f"{MAX_SPELLS} times in an episode of {hours:g} h"
        )
        raise ConfigError([Issue("agents", message, "raise mtbf_h, or choose a shorter episode_length")])
    return rates


def _by_series(family: Family, row: int, accounts: int) -> tuple[int, float, int] | None:
    """Series, power at a series value of 1 [MW] and account of a plant that follows one; ``None`` for other units."""
    fields = family.kernel.Exogenous._fields
    if "available_pu" not in fields:
        return None
    owner = int(family.account[row])
    series = int(family.sources[fields.index("available_pu")].place[row])
    return series, float(family.params.p_max_mw[row]), accounts if owner == SHARED else owner
