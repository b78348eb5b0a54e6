"""Figure of a comparison: cost by part, what each arrangement saves, and what it sends."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.benchmarks.arrangements import NONE
from powergrid.benchmarks.comparison import Comparison, Played
from powergrid.core.statistics import mean_interval
from powergrid.report.plots.dots import dots_by_day
from powergrid.report.style import FAINT, INK, LIMIT, TECHNOLOGY, Picture, canvas, finish, thousands

_PARTS = {
    "utility": ("utility", TECHNOLOGY["grid"]),
    "devices": ("fuel and wear", TECHNOLOGY["generator"]),
    "stored": ("stored energy", TECHNOLOGY["storage"]),
    "violations": ("violations", LIMIT),
}
_SAVED = "#0072b2"


def draw(comparison: Comparison) -> Picture:
    """Three panels with one row for each arrangement, the cheapest first.

    Cost of a day by part, with negative parts left of zero; what it saves against none day by day, with the paired 95 %
    interval, and triangles for days beyond the axis; messages a day.
    """
    rows = sorted(comparison.played, key=lambda played: float(played.objective.mean()))
    with canvas(11.0, 1.6 + 0.42 * len(rows)) as figure:
        left, middle, right = figure.subplots(1, 3, sharey=True, gridspec_kw={"width_ratios": [1.1, 1.0, 0.55]})
        saved = [comparison[NONE].objective - played.objective for played in rows]
        low, high = _limits(saved)
        for y, played in enumerate(rows):
            _parts(left, y, played)
            if played.name != NONE:
                dots_by_day(middle, y, saved[y], _SAVED)
                _beyond(middle, y, saved[y], low, high)
            _messages(right, y, played)
        if comparison.bound is not None:
            left.axvline(float(comparison.bound.mean()), color=INK, linestyle=(0, (4, 2)), linewidth=1.3, zorder=4)
        left.set_yticks(range(len(rows)), [played.name for played in rows])
        left.set_ylim(len(rows) - 0.4, -0.75)
        left.set_xlim(right=1.16 * left.get_xlim()[1])
        left.set_title("Cost of a day")
        left.set_xlabel("$/day")
        middle.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
        middle.set_xlim(low, high)
        middle.set_title("Saved against none")
        middle.set_xlabel("$/day")
        right.set_xscale("symlog", linthresh=100.0)
        right.set_xlim(left=0.0, right=30.0 * max(100.0, *(played.messages for played in rows)))
        right.set_title("Messages")
        right.set_xlabel("messages a day")
        for axes in (left, middle, right):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        for axes in (left, middle):
            thousands(axes.xaxis)
        _legend(figure, comparison)
        return finish(figure, "protocols", _alt(comparison, rows))


def _parts(axes: Any, y: int, played: Played) -> None:
    """Parts of the cost as stacked bars, and their sum as a number."""
    parts = {name: float(played.parts[name].mean()) for name in ("utility", "devices", "stored")}
    parts["violations"] = float(np.sum([played.parts[name].mean() for name in ("voltage", "loading", "other")]))
    ends = {True: 0.0, False: 0.0}
    for name, value in parts.items():
        start = ends[value >= 0.0]
        axes.barh(y, value, left=start, height=0.62, color=_PARTS[name][1], zorder=2)
        ends[value >= 0.0] = start + value
    total = f"{played.objective.mean():,.0f}".replace("-", "\N{MINUS SIGN}")
    offset = {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate(total, (max(ends[True], 0.0), y), va="center", fontsize=9, weight="bold", **offset)


def _limits(saved: list[np.ndarray]) -> tuple[float, float]:
    """Range that holds every interval and nearly all days [$/day], so that one rare day does not squeeze the rest."""
    intervals = np.array([mean_interval(values) for values in saved])
    low, high = np.quantile(saved, (0.02, 0.98))
    low, high = min(low, intervals.min()), max(high, intervals.max())
    margin = 0.08 * max(high - low, 1.0)
    return float(low - margin), float(high + margin)


def _beyond(axes: Any, y: int, saved: np.ndarray, low: float, high: float) -> None:
    """Days beyond the range as triangles at its ends."""
    for mark, edge, count in (("<", low, (saved < low).sum()), (">", high, (saved > high).sum())):
        if count:
            inwards = 0.012 * (high - low) * (1.0 if mark == "<" else -1.0)
            axes.plot(edge + inwards, y + 0.25, mark, color=_SAVED, markersize=5.0, markeredgewidth=0, zorder=2)


def _messages(axes: Any, y: int, played: Played) -> None:
    axes.barh(y, played.messages, height=0.42, color=FAINT, zorder=2)
    offset = {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate(f"{played.messages:,.0f}", (played.messages, y), va="center", fontsize=9, **offset)


def _legend(figure: Any, comparison: Comparison) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=label) for label, colour in _PARTS.values()]
    if comparison.bound is not None:
        handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=1.3, label="lower bound"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4, handlelength=1.6)


def _alt(comparison: Comparison, rows: list[Played]) -> str:
    costs = ", ".join(f"{played.name} {played.objective.mean():,.0f}" for played in rows)
    return f"Mean cost of a day of {comparison.name} in dollars by protocol: {costs}."
