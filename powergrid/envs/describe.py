"""Entries of observations and actions as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from powergrid.engine.state import Output
from powergrid.envs.shapes import Shapes
from powergrid.worlds.world import World


def describe(agents: Sequence[str], shapes: Shapes) -> str:
    """Every agent's observation and action entries with units and bounds; hours ahead share a line."""
    lines = []
    for i, agent in enumerate(agents):
        seen, acts = shapes.entries(i), shapes.action_entries(i)
        lines += [f"{agent}", f"  observation, size {len(seen)}", *_entry_lines(seen)]
        lines += [f"  action, size {len(acts)}", *_entry_lines(acts)]
    return "\n".join(lines)


def _entry_lines(entries: Sequence[tuple[str, Any]]) -> list[str]:
    """One line per entry; consecutive hours ahead of a series, ``name+1h`` to ``name+24h``, share one line."""
    lines = []
    for (owner, _, _, ahead), run in groupby(entries, key=_series_of):
        shown = [entry for _, entry in run]
        first, last = shown[0], shown[-1]
        if ahead and last is not first:
            shown = [first._replace(name=f"{first.name} ... +{last.name.rpartition('+')[2]}")]
        lines += [f"    {entry.label(owner):<44} {entry.low:>10g} ... {entry.high:g}" for entry in shown]
    return lines


def _series_of(item: tuple[str, Any]) -> tuple[str, str, str, bool]:
    """Owner, name without its hours ahead, unit, and whether it lies ahead."""
    owner, entry = item
    name, plus, _ = entry.name.rpartition("+")
    return owner, name if plus else entry.name, entry.unit, bool(plus)


def tick_line(world: World, tick: int, day: int, output: Output | None) -> str:
    """One tick as a line for ``render_mode="human"``: time, voltages, loading, power of the source and losses."""
    hour = tick * world.layout.settings.dt_h
    line = f"day {day} {int(hour % 24):02d}:{round(hour % 1 * 60):02d}"
    if output is None:
        return f"{line} | reset"
    flow, names = output.flow, world.network.buses.name
    if not flow.converged:
        return f"{line} | the power flow has no solution"
    served = np.flatnonzero(flow.energised)
    low, high = (int(served[find(flow.v_pu[served])]) for find in (np.argmin, np.argmax))
    line += f" | v {flow.v_pu[low]:.4f} pu at {names[low]} to {flow.v_pu[high]:.4f} pu at {names[high]}"
    line += f" | loading {flow.loading.max(initial=0.0):.0f} %"
    return f"{line} | source {flow.p_slack_mw:.3f} MW | losses {flow.loss_mw * 1000:.1f} kW"
