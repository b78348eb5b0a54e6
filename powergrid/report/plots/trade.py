"""Energy traded between peers over the day."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.report.records import DayRecord
from powergrid.report.style import INK, MICROGRID, Picture, canvas, finish, hours, readable

TRADED_MWH = 1e-6
"""Energy of a tick [MWh] above which it counts as trade."""


def trading_percent(record: DayRecord) -> float | None:
    """Share of ticks in which peers trade [%]; ``None`` without a peer-to-peer market."""
    members = np.isfinite(record.p2p_bought_mwh).all((0, 1))
    if not members.any():
        return None
    volume = np.maximum(record.p2p_bought_mwh[..., members], 0.0).sum(-1)
    return 100.0 * float((volume > TRADED_MWH)[record.alive].mean())


def draw(record: DayRecord) -> Picture | None:
    """Mean bought (up) and sold (down) power of each member over all days; ``None`` without a market."""
    members = np.flatnonzero(np.isfinite(record.p2p_bought_mwh).all((0, 1)))
    if not len(members):
        return None
    power_kw = 1000.0 * record.p2p_bought_mwh / float(record.dt_h)
    with canvas(11.0, 3.4) as figure:
        axes = figure.subplots()
        for sign in (1.0, -1.0):
            base = np.zeros(power_kw.shape[1])
            for place, member in enumerate(members):
                top = base + sign * np.maximum(sign * power_kw[..., member], 0.0).mean(0)
                style: dict[str, Any] = {"color": MICROGRID[place % len(MICROGRID)], "linewidth": 0}
                label = readable(record.names.accounts[member]) if sign > 0 else None
                axes.stairs(top, record.hours, baseline=base, fill=True, label=label, **style)
                base = top
        axes.axhline(0.0, color=INK, linewidth=0.8)
        axes.margins(y=0.08)
        hours(axes, record.hours[-1])
        axes.set_xlabel("hour of the day")
        axes.set_ylabel("mean power [kW]")
        axes.set_title("Bought from peers (above 0) and sold to them (below)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return finish(figure, "trade", "Mean power traded between peers over the day, by buyer and by seller.")
