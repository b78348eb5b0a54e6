"""A picture of every phase's voltage, hour by hour, in a preset with all its phases under a policy.

    python bench/phase_voltages.py [PRESET ...] [--policy volt_var] [--days 61] [--out voltages.png]

One row per preset and one column per phase. The line is the median over all buses that have the phase and all days; the
dark area holds nine of ten values, the light one all of them. The script prints the extremes, the share of phase-ticks
outside the band and how often regulators moved.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from powergrid.core import random
from powergrid.plugins.registries import POLICIES
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation
from powergrid.worlds.world import World

PRESETS = ("voltage_control_13", "voltage_control_34", "voltage_control_123")
COLOURS = {"a": "#b3541e", "b": "#1f6f8b", "c": "#5a7a2c"}


def played(world: World, policy: str, days: np.ndarray) -> tuple[np.ndarray, float]:
    """Voltages ``(ticks, days, nodes)`` [pu] of whole episodes side by side, and tap moves per day."""
    simulation, act, layout = Simulation(world), POLICIES.get(policy), world.layout
    key = random.key_from_seed(np, np.arange(len(days)))
    state, *_ = simulation.reset(random.fold_in(np, key, np.zeros(len(days), np.int32)), days)
    voltages, moves = [], 0.0
    for _ in range(layout.settings.episode_length):
        state, output = simulation.step(state, simulation.decide(state, act))
        voltages.append(output.flow.v_pu)
        moves += float(state.devices[layout.taps].moves.sum())
    return np.array(voltages), moves / len(days)


def panel(axes: Any, v_pu: np.ndarray, tick_h: float, phase: str, limits: tuple[float, float]) -> None:
    """Bands of one phase, ``(ticks, values)``."""
    per_hour = round(1 / tick_h)
    hourly = v_pu.reshape(len(v_pu) // per_hour, -1)
    hours, colour = np.arange(len(hourly) + 1), COLOURS[phase]
    for inside, alpha in ((1.0, 0.18), (0.9, 0.35)):
        low, high = np.quantile(hourly, ((1 - inside) / 2, (1 + inside) / 2), axis=1)
        axes.stairs(high, hours, baseline=low, fill=True, color=colour, alpha=alpha)
    axes.stairs(np.median(hourly, axis=1), hours, baseline=None, color=colour, linewidth=2)
    for limit in limits:
        axes.axhline(limit, color="#c62828", linewidth=1.2)
    axes.set_xlim(0, 24)
    axes.set_xticks([0, 6, 12, 18, 24])


def main() -> None:
    """Play, print and draw."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser()
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--policy", default="volt_var")
    parser.add_argument("--days", type=int, default=61)
    parser.add_argument("--out", default="voltages.png")
    given = parser.parse_args()
    days = np.linspace(0, 364, given.days).astype(np.int32)
    size = (11, 2.8 * len(given.presets) + 0.6)
    figure, grid = pyplot.subplots(len(given.presets), 3, figsize=size, sharex=True, sharey=True, squeeze=False)
    for row, preset in zip(grid, given.presets, strict=True):
        world = build(preset, phases="three")
        settings, phases = world.layout.settings, np.array(world.network.buses.phase)
        v_pu, moves = played(world, given.policy, days)
        outside = 100 * ((v_pu < settings.v_min_pu) | (v_pu > settings.v_max_pu)).mean()
        print(
            f"{preset:20} {given.policy}: {v_pu.min():.4f} to {v_pu.max():.4f} pu, {outside:.3f} % of phase-ticks "
            f"outside, {moves:.0f} tap moves per day"
        )
        for axes, phase in zip(row, "abc", strict=True):
            own = v_pu[:, :, phases == phase].reshape(len(v_pu), -1)
            panel(axes, own, settings.dt_h, phase, (settings.v_min_pu, settings.v_max_pu))
            axes.set_title(f"{preset}, phase {phase}", fontsize=9)
        row[0].set_ylabel("voltage [pu]")
    for axes in grid[-1]:
        axes.set_xlabel("hour of the day")
    figure.tight_layout()
    figure.savefig(given.out, dpi=110)
    print(f"picture: {given.out}")


if __name__ == "__main__":
    main()
