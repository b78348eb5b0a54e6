"""Cost of each policy, and saving of the first one relative to the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from powergrid.report.plots.dots import dot, dots_by_day
from powergrid.report.run import Played, Run
from powergrid.report.style import INK, Picture, canvas, finish, policy_colours, readable, thousands


def draw(run: Run) -> Picture:
    """Two panels with one row per policy: mean cost of a day, and the saving of the first policy day by day.

    Both with 95 % bootstrap intervals over the days; the second is paired.
    """
    rows = sorted(run.policies, key=lambda policy: policy.objective.mean())
    names = [readable(policy.name) for policy in rows] + (["lower bound"] if run.bound is not None else [])
    colours = policy_colours([policy.name for policy in run.policies])
    with canvas(11.0, 1.5 + 0.55 * len(names)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for y, policy in enumerate(rows):
            dot(left, y, policy.objective, colours[policy.name], "{:,.0f}")
            if policy is not run.main:
                dots_by_day(right, y, policy.objective - run.main.objective, colours[policy.name])
        if run.bound is not None:
            _bound(left, len(rows), run.bound)
        left.set_yticks(range(len(names)), names)
        left.set_ylim(len(names) - 0.4, -0.75)
        left.set_xlim(left.get_xlim()[0], left.get_xlim()[1] * 1.02)
        left.set_title("Cost of a day")
        left.set_xlabel("money and priced violations [$/day]")
        right.set_title(f"Saved by {readable(run.main.name)}")
        right.set_xlabel(f"cost of the other policy minus that of {readable(run.main.name)} [$/day]")
        right.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            thousands(axes.xaxis)
        return finish(figure, "comparison", _alt(rows))


def _bound(axes: Any, y: float, bound: np.ndarray) -> None:
    """The bound with its interval, in a separate row, and a line below which no policy can cost."""
    axes.axvline(float(bound.mean()), color=INK, linestyle=(0, (4, 2)), linewidth=1.3, zorder=1)
    dot(axes, y, bound, INK, "{:,.0f}", mark="D")


def _alt(rows: list[Played]) -> str:
    costs = ", ".join(f"{readable(policy.name)} {policy.objective.mean():,.0f}" for policy in rows)
    return f"Mean cost of a day in dollars by policy: {costs}."
