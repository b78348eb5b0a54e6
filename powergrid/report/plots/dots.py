"""Means with their intervals, and the days behind them, as rows of dots."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.core.statistics import mean_interval


def dot(axes: Any, y: float, values: np.ndarray, colour: str, form: str, mark: str = "o") -> None:
    """Mean of `values`, ``(days,)``, with its interval, and its number above."""
    from matplotlib.patheffects import withStroke

    mean, low, high = mean_interval(values)
    axes.plot([low, high], [y, y], color=colour, linewidth=4.0, alpha=0.45, solid_capstyle="round", zorder=3)
    axes.plot(mean, y, mark, color=colour, markersize=9, markeredgecolor="white", zorder=4)
    axes.annotate(
        form.format(mean).replace("-", "\N{MINUS SIGN}"),
        (mean, y),
        (0, 8),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        weight="bold",
        zorder=5,
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )


def dots_by_day(axes: Any, y: float, values: np.ndarray, colour: str) -> None:
    """Each day's value as a faint dot below their mean."""
    spread = (np.arange(len(values)) * 0.618) % 1.0  # evenly spread and never the same picture twice
    axes.plot(
        values, y + 0.14 + 0.22 * spread, ".", color=colour, markersize=4.5, alpha=0.55, markeredgewidth=0, zorder=2
    )
    dot(axes, y, values, colour, "{:+,.0f}")
