"""Voltage of all buses over the day: one day, and all days together."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.report.records import DayRecord
from powergrid.report.style import LIMIT, MICROGRID, Picture, canvas, finish, hours

_COLOUR = MICROGRID[0]


def outside_percent(record: DayRecord, v_min_pu: float, v_max_pu: float) -> float:
    """Share of bus-ticks outside the band [%] over all ticks."""
    outside = (record.v_pu < v_min_pu) | (record.v_pu > v_max_pu)
    return 100.0 * float(outside[record.alive].mean())


def draw(record: DayRecord, row: int, v_min_pu: float, v_max_pu: float, date: str) -> Picture:
    """Two panels on one scale.

    Parameters
    ----------
    record
        All days.
    row
        The day in the left panel.
    v_min_pu, v_max_pu
        Limits [pu].
    date
        The day's date.
    """
    one, every = record.v_pu[row], record.v_pu
    low, high = min(v_min_pu, float(every.min())), max(v_max_pu, float(every.max()))
    room = 0.08 * (high - low)
    with canvas(11.0, 4.0) as figure:
        panels = figure.subplots(1, 2, sharex=True, sharey=True, gridspec_kw={"wspace": 0.05})
        _band(panels[0], record.hours, one.min(1), np.median(one, axis=1), one.max(1), "lowest to highest bus")
        panels[0].set_title(date)
        wide = every.min((0, 2)), np.median(every, axis=(0, 2)), every.max((0, 2))
        _band(panels[1], record.hours, *wide, "all values", alpha=0.16)
        inner = np.quantile(every, (0.05, 0.95), axis=(0, 2))
        panels[1].stairs(
            inner[1], record.hours, baseline=inner[0], fill=True, color=_COLOUR, alpha=0.3, label="9 of 10 values"
        )
        panels[1].set_title("All days together")
        for axes in panels:
            _limits(axes, v_min_pu, v_max_pu, low - room, high + room)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, columnspacing=1.2, handlelength=1.5)
            axes.set_xlabel("hour of the day")
            hours(axes, record.hours[-1])
        panels[0].set_ylabel("voltage [pu]")
        alt = f"Voltages over the day lie between {every.min():.3f} and {every.max():.3f} per unit."
        return finish(figure, "voltage", alt)


def _band(
    axes: Any,
    edges: np.ndarray,
    lowest: np.ndarray,
    middle: np.ndarray,
    highest: np.ndarray,
    label: str,
    alpha: float = 0.3,
) -> None:
    axes.stairs(highest, edges, baseline=lowest, fill=True, color=_COLOUR, alpha=alpha, linewidth=0, label=label)
    axes.stairs(middle, edges, color=_COLOUR, linewidth=2.0, baseline=None, label="median")


def _limits(axes: Any, v_min_pu: float, v_max_pu: float, low: float, high: float) -> None:
    """The range outside the band, shaded, with the limits as lines."""
    for edge, far in ((v_min_pu, low), (v_max_pu, high)):
        axes.axhspan(edge, far, color=LIMIT, alpha=0.10, linewidth=0)
        axes.axhline(edge, color=LIMIT, linewidth=1.3, label="limits" if edge == v_min_pu else None)
    axes.set_ylim(low, high)
