"""What a person sees while a run learns: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from powergrid.core.terminal import console

_LINE_EVERY_S = 10.0


class Reporter:
    """Shows speed, reward, money and violation cost of the episodes that ended last, evaluations, and the time left.

    Parameters
    ----------
    total
        Environment steps of the run.
    start
        Environment steps already done.
    enabled
        ``False`` for silence.
    """

    def __init__(self, total: int, start: int = 0, enabled: bool = True):
        self._console = console(stderr=True)
        self._total, self._enabled = total, enabled
        self._live = enabled and self._console.is_terminal
        self._seen: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("compiling", total=total, completed=start, text="")

    def __enter__(self) -> Reporter:
        self._bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, row: Mapping[str, Any]) -> None:
        """Show one row of the learning curve."""
        names = ("episode_reward", "episode_money", "episode_cost")
        self._seen.update({name: row[name] for name in names if row.get("episodes")})
        labels = ("reward", "money $", "violation $")
        parts = [f"{row['steps_per_s']:,.0f} steps/s"]
        parts += [
            f"{label} {self._seen[name]:,.2f}" for name, label in zip(names, labels, strict=True) if name in self._seen
        ]
        self._measured.update({name: row[name] for name in row if name.endswith("_objective")})
        parts += [f"{name.removesuffix('_objective')} J {value:,.2f}" for name, value in self._measured.items()]
        text = "  ".join(parts)
        self._bar.update(self._task, completed=min(row["step"], self._total), text=text, description="training")
        now = time.monotonic()
        done = row["step"] >= self._total
        if self._enabled and not self._live and (done or now - self._last_line > _LINE_EVERY_S):
            self._last_line = now
            left_s = max(self._total - row["step"], 0) / row["steps_per_s"]
            self._console.print(
                f"{row['step']:>12,} / {self._total:,} steps  {text}  {left_s:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )

    def say(self, text: str) -> None:
        """Print a sentence."""
        if self._enabled:
            self._console.print(text, highlight=False, soft_wrap=True)
