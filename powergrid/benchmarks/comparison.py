"""The result of a comparison: costs by part and day, messages and time of each arrangement, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from powergrid.benchmarks.arrangements import NONE
from powergrid.core.statistics import INTERVAL, mean_interval

PARTS = ("utility", "devices", "stored", "voltage", "loading", "other")
"""Parts of the cost: see :class:`Played`."""
_SAME_USD = 1e-9
"""Difference of a day's cost up to which two arrangements count as the same [$]."""


@dataclass(frozen=True)
class Played:
    """What one arrangement did, one number a day.

    Attributes
    ----------
    name, about
        The arrangement, and who decides in it.
    parts
        Cost by part [$/day], ``(days,)`` each: ``utility`` is what all accounts together pay the utility for energy,
        ``devices`` fuel, wear, starts and switching, ``stored`` the settlement of stored energy, ``voltage``,
        ``loading`` and ``other`` are priced violations. Payments between accounts sum to zero.
    messages
        Messages that agents send each other [1/day].
    step_s
        Processor time of a step of one environment with all decisions in it, on NumPy [s].
    """

    name: str
    about: str
    parts: Mapping[str, np.ndarray]
    messages: float
    step_s: float

    @property
    def objective(self) -> np.ndarray:
        """J, all parts together [$/day], ``(days,)``; less is better."""
        return np.sum(list(self.parts.values()), axis=0)

    @property
    def money(self) -> np.ndarray:
        """J without violations [$/day], ``(days,)``."""
        return np.sum([self.parts[name] for name in ("utility", "devices", "stored")], axis=0)


@dataclass(frozen=True)
class Comparison:
    """Arrangements side by side; the first is the one without coordination.

    Attributes
    ----------
    name
        The configuration's name.
    days, seed
        What was played.
    played
        One for each arrangement.
    unfit
        Reason by name why a protocol does not fit.
    bound
        Money of the perfect-foresight optimum of the community behind one meter, without a network [$/day],
        ``(days,)``: no arrangement pays less. ``None`` where a device has no linear model.
    """

    name: str
    days: tuple[int, ...]
    seed: int
    played: tuple[Played, ...]
    unfit: Mapping[str, str]
    bound: np.ndarray | None = None

    def __getitem__(self, name: str) -> Played:
        return next(played for played in self.played if played.name == name)

    def saving(self, name: str) -> tuple[float, float, float]:
        """Mean of what an arrangement saves against none, day by day, and its 95 % interval [$/day]."""
        return mean_interval(self[NONE].objective - self[name].objective)

    def same_as_none(self, name: str) -> bool:
        """Whether an arrangement costs what none does, in every part and on every day."""
        none, parts = self[NONE].parts, self[name].parts
        return all(np.allclose(parts[part], none[part], rtol=0.0, atol=_SAME_USD) for part in PARTS)

    def table(self) -> Any:
        """A table to print with rich, 80 columns wide: one row for each arrangement, the cheapest first."""
        from rich.table import Table

        title = f"{self.name}: {len(self.days)} days, seed {self.seed}"
        about = "J and its parts [$/day], ms a step; below what is saved its 95 % interval"
        table = Table(title=f"{title}\n{about}", box=None, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("\nprotocol", width=15, overflow="fold")
        heads = (
            "\nJ",
            "\nsaved",
            "uti-\nlity",
            "de-\nvices",
            "\nstored",
            "vol-\ntage",
            "load-\ning",
            "mes-\nsages",
            "\nms",
        )
        for head, width in zip(heads, (7, 10, 5, 5, 6, 5, 5, 7, 4), strict=True):
            table.add_column(head, justify="right", min_width=width, overflow="fold")
        for played in sorted(self.played, key=lambda played: float(played.objective.mean())):
            mean, low, high = self.saving(played.name)
            saved = "" if played.name == NONE else f"{mean:,.1f}\n{low:,.0f}..{high:,.0f}"
            parts = [f"{played.parts[name].mean():,.0f}" for name in ("utility", "devices", "stored")]
            priced = [f"{played.parts[name].mean():,.1f}" for name in ("voltage", "loading")]
            cells = f"{played.messages:,.0f}", f"{1e3 * played.step_s:.1f}"
            table.add_row(played.name, f"{played.objective.mean():,.1f}", saved, *parts, *priced, *cells)
        if self.bound is not None:
            table.add_row("lower bound", f"{self.bound.mean():,.1f}")
        return table

    def notes(self) -> list[str]:
        """Sentences below the table."""
        same = [played.name for played in self.played if played.name != NONE and self.same_as_none(played.name)]
        found = [f"costs as without coordination on every day: {', '.join(same)}"] if same else []
        return [*found, *(f"does not fit: {name}: {reason}" for name, reason in self.unfit.items())]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each arrangement, as in ``protocols.csv``; costs in $/day."""
        found = []
        for played in self.played:
            mean, low, high = mean_interval(played.objective)
            saved, saved_low, saved_high = self.saving(played.name)
            found.append(
                {
                    "protocol": played.name,
                    "decides": played.about,
                    "objective": mean,
                    "objective_low_95": low,
                    "objective_high_95": high,
                    "saved": saved,
                    "saved_low_95": saved_low,
                    "saved_high_95": saved_high,
                    **{name: float(played.parts[name].mean()) for name in PARTS},
                    "messages_per_day": played.messages,
                    "step_s": played.step_s,
                    "same_as_none": self.same_as_none(played.name),
                }
            )
        return found

    def rows_by_day(self) -> list[dict[str, Any]]:
        """One row for each arrangement and day, as in ``protocols-by-day.csv``; costs in $/day."""
        return [
            {"protocol": played.name, "day": day, "objective": float(played.objective[k])}
            | {name: float(played.parts[name][k]) for name in PARTS}
            for played in self.played
            for k, day in enumerate(self.days)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain content of ``protocols.json``."""
        bound = None if self.bound is None else {"mean": float(self.bound.mean()), "by_day": self.bound.tolist()}
        return {
            "name": self.name,
            "days": list(self.days),
            "seed": self.seed,
            "interval": INTERVAL,
            "protocols": self.rows(),
            "by_day": self.rows_by_day(),
            "lower_bound": bound,
            "unfit": dict(self.unfit),
        }
