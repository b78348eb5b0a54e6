"""Learning curves of all algorithms on several presets: cost of validation days while training, and one figure.

    python bench/learning_curves.py [--preset NAME ...] [--algo NAME ...] [--steps 2e5] [--out FOLDER] [--figure FILE]

Every algorithm trains with its default settings. Every few updates the actors play a third of the validation days
without exploration, with the same forecasts and initial states for all; ``J`` is money and priced violations of
the learning agents [$/day]. Constrained algorithms get the limit ``--limit`` on the priced voltage violations of an
episode. The time is that of the training alone, compilation included, evaluations left out. Runs that are in
``--out`` are not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import powergrid
from powergrid.config.resolve import with_overrides
from powergrid.learn.callbacks import Evaluate
from powergrid.learn.train import train
from powergrid.plugins.registries import ALGORITHMS
from powergrid.report.style import canvas, finish

PRESETS = ("p2p_microgrids", "ieee34_multi", "voltage_control_34")
CONSTRAINED = ("cpo", "ppo_lagrangian")
RULE = "rule_based"
POINTS = 12
CURVES = "curve.json"


class Timed(Evaluate):
    """An evaluation that also notes the training's own time [s] at each point."""

    def __init__(self, days: list[int], every: int):
        super().__init__(days=days, every=every)
        self.begun, self.lost, self.points = time.monotonic(), 0.0, []

    def measure(self, run: Any, row: Mapping[str, float]) -> Mapping[str, float]:
        """What the evaluation measures; its own duration does not count."""
        start = time.monotonic()
        found = super().measure(run, row)
        if found:
            self.points.append((row["step"], *found.values(), start - self.begun - self.lost))
        self.lost += time.monotonic() - start
        return found


def curve(preset: str, algorithm: str, steps: int, limit: float, days: list[int], folder: Path) -> np.ndarray:
    """Steps, cost of a day and seconds, ``(points, 3)``, of a run in `folder`, which is trained if it is not there."""
    place = folder / CURVES
    if not place.exists():
        source: Any = preset
        if algorithm in CONSTRAINED:
            source = with_overrides(powergrid.load_config(preset), cost_limits={"voltage": limit})
        every = max(1, updates(source, algorithm, steps) // POINTS)
        timed = Timed(days, every)
        train(source, algo=algorithm, steps=steps, out=folder, residual="none", callbacks=[timed], progress=False)
        place.write_text(json.dumps([(step, objective, s) for step, objective, *_, s in timed.points]))
    return np.array(json.loads(place.read_text()))


def updates(source: Any, algorithm: str, steps: int) -> int:
    """Updates of a run."""
    from powergrid.envs.factory import for_training

    return -(-steps // ALGORITHMS.get(algorithm)(for_training(source, days="train"), steps, {}).steps_per_update)


def draw(curves: Mapping[str, Mapping[str, np.ndarray]], rules: Mapping[str, float], path: Path) -> None:
    """A panel for each preset."""
    with canvas(11.5, 4.2) as figure:
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (preset, found) in zip(panels, curves.items(), strict=True):
            for number, (algorithm, points) in enumerate(found.items()):
                axes.plot(points[:, 0] / 1e3, points[:, 1], color=f"C{number}", linewidth=2.0, label=algorithm)
            axes.axhline(rules[preset], color="black", linewidth=1.4, linestyle=(0, (5, 2)), label="rule based")
            low = min(rules[preset], *(points[:, 1].min() for points in found.values()))
            high = max(rules[preset], float(np.median(np.concatenate([points[:, 1] for points in found.values()]))))
            axes.set_ylim(low - 0.1 * (high - low), high + 1.0 * (high - low))
            axes.set_title(preset)
            axes.set_xlabel("thousand environment steps")
        panels[0].set_ylabel("cost of a validation day [$/day]")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
        alt = "Cost of validation days while each algorithm trains, on three presets, with the rule's cost as a line."
        picture = finish(figure, "learning_curves", alt)
    path.with_suffix(".png").write_bytes(picture.png)
    path.with_suffix(".svg").write_bytes(picture.svg)


def main() -> None:
    """Train, evaluate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", nargs="+", default=PRESETS)
    parser.add_argument("--algo", nargs="+", default=sorted(ALGORITHMS.names()))
    parser.add_argument("--steps", type=float, default=2e5)
    parser.add_argument("--limit", type=float, default=1.0, help="of priced voltage violations in an episode [$]")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("learning_curves"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    out = given.out or Path(tempfile.mkdtemp())
    console = Console(width=100)
    curves: dict[str, dict[str, np.ndarray]] = {preset: {} for preset in given.preset}
    rules = {}
    table = Table(
        "preset", "algorithm", "J [$/day]", "against the rule", "training [s]", title=f"{given.steps:,.0f} steps"
    )
    for preset, algorithm in track([(p, a) for p in given.preset for a in given.algo], console=console):
        days = [int(day) for day in powergrid.make(preset).world.days["validation"][::3]]
        if preset not in rules:
            result = powergrid.evaluate(preset, policy=RULE, days=days, show=False)
            rules[preset] = float(result.outcomes[0].objective.mean())
        points = curve(preset, algorithm, int(given.steps), given.limit, days, out / f"{preset}-{algorithm}")
        curves[preset][algorithm] = points
        last = points[-1]
        table.add_row(preset, algorithm, f"{last[1]:,.1f}", f"{rules[preset] - last[1]:+,.1f}", f"{last[2]:.0f}")
    console.print(table)
    console.print({preset: round(value, 1) for preset, value in rules.items()})
    draw(curves, rules, given.figure)


if __name__ == "__main__":
    main()
