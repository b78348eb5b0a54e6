"""Where the regulators of the published feeders come to rest under their own relays.

    python bench/regulators.py

Each feeder starts with its regulators at the published taps, at neutral, at the top and at -8, under its published
load. A relay's band spans several steps, so where a regulator rests depends on where it starts; every end is one at
which all relays read inside their bands. "Furthest" is the reading that lies furthest from its level, over half the
band: below 1 is inside.
"""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from powergrid.devices.regulator import Regulator
from powergrid.networks import network, with_taps
from powergrid.networks.regulation import regulator_units, relay_settings, relays_of

STARTS = {"published": None, "neutral": 0.0, "+16": 16.0, "-8": -8.0}


def furthest(grid) -> float:
    """Largest deviation of a relay from its level, over half its band [1]."""
    rows = [unit[0] for unit in regulator_units(grid)]
    units = [Regulator("relay", "", **relay_settings(grid, row)) for row in rows]
    relays = relays_of(grid, rows, [unit.settings for unit in units])
    table = grid.power_flow(tol_pu=1e-10).bus
    v = (table.v_pu * np.exp(1j * np.deg2rad(table.va_degree))).to_numpy()
    ratio = 1.0 / grid.branches.ratio[grid.regulators.branch[rows]]
    reading = relays.read(np, v.real, v.imag, ratio)
    level = np.array([unit.settings.v_set_pu for unit in units])
    half = np.array([unit.settings.bandwidth_pu for unit in units]) / 2
    return float((np.abs(reading - level) / half).max())


def main() -> None:
    """Print one table a form of the feeders."""
    for phases in ("three", "balanced"):
        table = Table(title=f"taps at rest, {phases}")
        for column in ("feeder", "from", "taps at rest", "furthest"):
            table.add_column(column)
        for name in ("ieee13", "ieee34", "ieee123"):
            grid = network(name, phases=phases)
            for start, taps in STARTS.items():
                rest = (grid if taps is None else with_taps(grid, taps)).settled()
                shown = " ".join(f"{tap:g}" for tap in np.round(rest.regulators.tap, 2))
                table.add_row(name, start, shown, f"{furthest(rest):.2f}")
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
