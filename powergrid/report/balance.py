"""Sources and uses of an account's power, tick by tick."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from powergrid.report.records import DayRecord
from powergrid.report.style import TECHNOLOGY

CONSUMING = ("load", "heatpump", "electricvehicle", "hvac")
"""Technologies that belong to the load."""


class Balance(NamedTuple):
    """Power of one account [MW], ``(T,)`` each; sources and uses are not negative.

    Attributes
    ----------
    sources
        Sources by technology: its devices, ``"p2p"`` for peers and ``"grid"`` for the utility.
    uses
        Uses besides the load: charging, sales to peers, export.
    load_mw
        Load of its buses and of its load devices.
    """

    sources: dict[str, np.ndarray]
    uses: dict[str, np.ndarray]
    load_mw: np.ndarray

    def unexplained_mw(self) -> np.ndarray:
        """Sources minus uses and load: the losses between its meter and its devices."""
        return np.asarray(sum(self.sources.values()) - sum(self.uses.values()) - self.load_mw)


def balance(record: DayRecord, account: str) -> Balance:
    """Sources, uses and load of one account on one day."""
    column = int(np.flatnonzero(record.names.accounts == account)[0])
    sources: dict[str, np.ndarray] = {}
    uses: dict[str, np.ndarray] = {}
    load_mw = record.load_mw[:, column].copy()
    for kind in dict.fromkeys(record.names.unit_kind.tolist()):
        mine = (record.names.unit_kind == kind) & (record.names.unit_account == account)
        if not mine.any():
            continue
        p_mw = record.p_mw[:, mine]
        if kind in CONSUMING:
            load_mw -= p_mw.sum(1)
        else:
            sources[kind] = np.maximum(p_mw, 0.0).sum(1)
            uses[kind] = np.maximum(-p_mw, 0.0).sum(1)
    bought_mw = np.nan_to_num(record.p2p_bought_mwh[:, column]) / float(record.dt_h)
    utility_mw = np.nan_to_num(record.metered_mw[:, column]) - bought_mw
    for kind, imported in (("p2p", bought_mw), ("grid", utility_mw)):
        sources[kind] = np.maximum(imported, 0.0)
        uses[kind] = np.maximum(-imported, 0.0)
    return Balance(_ordered(sources), _ordered(uses), load_mw)


def _ordered(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Own devices first, then peers and utility; sources that never occur are left out."""
    rank = {kind: place for place, kind in enumerate(reversed(TECHNOLOGY))}
    happens = [kind for kind, values in parts.items() if values.max(initial=0.0) > 1e-9]
    return {kind: parts[kind] for kind in sorted(happens, key=lambda kind: rank.get(kind, 3.5))}
