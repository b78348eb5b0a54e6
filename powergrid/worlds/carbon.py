"""Marginal carbon: what the energy at an account's meters causes to be emitted, beside its money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.backend import Namespace
from powergrid.core.errors import ConfigError, Issue
from powergrid.core.types import Array
from powergrid.engine.layout import Layout

KG_PER_T = 1000.0


class Carbon(NamedTuple):
    """Marginal emissions of all accounts, from meters and one series.

    Attributes
    ----------
    series
        Column of the marginal emission rate in a row of the exogenous table [t/MWh].
    place
        Column of the measurements that each meter charges for, ``(m,)``.
    account
        Which account each of them belongs to, ``(m, accounts)``, 0 or 1.
    kg_per_t_h
        Length of a tick [h] times 1,000 kg/t.
    """

    series: int
    place: np.ndarray
    account: np.ndarray
    kg_per_t_h: float

    def kg(self, xp: Namespace, measured_mw: Array, row: Array) -> Array:
        r"""Marginal emissions of a tick by account [kg], ``(*batch, accounts)``.

        .. math:: m_a = \mu \sum_{k \in a} P_k \, \Delta t

        with the marginal emission rate :math:`\mu` and the net import :math:`P_k` of each meter of the account, as a
        meter is charged: what passes it and none behind it. Export counts as emissions avoided. This is the accounting
        of the Self-Generation Incentive Program of California (CPUC decision 19-08-001).

        Parameters
        ----------
        measured_mw
            Measurements of the tick [MW], import positive, ``(*batch, Q)``.
        row
            Row of the exogenous table of the tick, ``(*batch, W)``.
        """
        net_mwh = measured_mw[..., self.place] @ xp.asarray(self.account, dtype=measured_mw.dtype) * self.kg_per_t_h
        emitted: Array = net_mwh * row[..., self.series, None]
        return emitted


def carbon_of(layout: Layout, series: str | None, agents: Sequence[Any]) -> Carbon | None:
    """The accounts of carbon of an environment; ``None`` where its configuration names no series.

    Raises
    ------
    ConfigError
        If a device pays for its energy itself, so that no meter has it.
    """
    if series is None:
        return None
    for agent in agents:
        if getattr(agent, "own_bill", False):
            message = f'carbon is counted at meters, and device "{agent.id}" pays for its energy itself'
            raise ConfigError([Issue("carbon", message, "leave the section carbon out, or take electricity_price out")])
    places: list[int] = []
    accounts: list[int] = []
    for family in layout.families:
        if family.kernel.role == "meter":
            source = family.sources[family.kernel.Exogenous._fields.index("p_net_mw")]
            places += np.asarray(source.place).tolist()
            accounts += np.asarray(family.account).tolist()
    owned = (np.array(accounts, dtype=int)[:, None] == np.arange(len(layout.accounts))).astype(float)
    column = layout.columns.column(series)
    return Carbon(column, np.array(places, dtype=int), owned, layout.settings.dt_h * KG_PER_T)
