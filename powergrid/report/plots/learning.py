"""The learning curve, with the cost of other policies on the same training days."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from powergrid.core.statistics import mean_interval
from powergrid.report.run import Run
from powergrid.report.style import INK, POLICY, Picture, canvas, darker, finish, policy_colours, readable, thousands

_SHOWN = 0.05
"""Share of the curve's height by which the first updates may exceed the plot."""


def draw(run: Run, levels: Mapping[str, np.ndarray]) -> Picture | None:
    """Mean cost of the episodes that ended in each update, and a line for each other policy.

    Parameters
    ----------
    levels
        Cost of other policies on the training days [$/day], by name.
    """
    rows = [row for row in run.metrics if "episode_money" in row and "episode_cost" in row]
    if len(rows) < 2:
        return None
    step = np.array([row["step"] for row in rows], dtype=float)
    cost = np.array([row["episode_money"] + row["episode_cost"] for row in rows]) * run.per_day
    colours = policy_colours([policy.name for policy in run.policies])
    unit, name = (1e6, "million environment steps") if step[-1] >= 1e6 else (1e3, "thousand environment steps")
    smooth = _smooth(cost)
    with canvas(11.0, 4.2) as figure:
        axes = figure.subplots()
        axes.plot(step / unit, cost, color=POLICY["learned"], alpha=0.28, linewidth=1.0)
        axes.plot(step / unit, smooth, color=POLICY["learned"], linewidth=2.4)
        ends = {"learning": (float(smooth[-1]), POLICY["learned"])}
        for policy, values in levels.items():
            level = mean_interval(values)[0]
            colour = colours.get(policy, INK)
            axes.axhline(level, color=colour, linewidth=1.6, linestyle=(0, (5, 2)))
            ends[readable(policy)] = (level, colour)
        axes.set_xlim(0.0, step[-1] / unit)
        _height(axes, cost, [level for level, _ in ends.values()])
        _end_labels(axes, ends)
        axes.set_xlabel(name)
        axes.set_ylabel("cost of a training day [$/day]")
        thousands(axes.yaxis)
        axes.set_title("Cost while learning")
        alt = f"Learning curve: the cost of a training day goes from {smooth[0]:,.0f} to {smooth[-1]:,.0f} dollars."
        return finish(figure, "learning", alt)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a twentieth of the curve, shorter at both ends."""
    half = max(len(values) // 40, 1)
    total = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def _height(axes: Any, cost: np.ndarray, levels: list[float]) -> None:
    """A scale that the first, extreme updates do not determine."""
    low, high = min([cost.min(), *levels]), max([float(np.quantile(cost, 1.0 - _SHOWN)), *levels])
    room = max(high - low, 1e-9)
    axes.set_ylim(low - 0.08 * room, high + 0.12 * room)


def _end_labels(axes: Any, ends: Mapping[str, tuple[float, str]]) -> None:
    """Names at the right edge instead of a legend, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.062 * (high - low)
    place = -np.inf
    for name, (level, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        place = max(level, place + gap)
        axes.annotate(
            f"{name} {level:,.0f}".replace("-", "\N{MINUS SIGN}"),
            (1.0, place),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=darker(colour),
            fontsize=9.5,
            weight="bold",
            annotation_clip=False,
        )
