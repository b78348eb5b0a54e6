"""A year of 5-minute data in 12 columns: from CSV with cleaning, from the stored form, and aligned to 15 minutes.

    python bench/data_files.py

Prints the seconds of each.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from powergrid import datasets

ROWS, COLUMNS = 105_120, 12
STEPS = "[order, duplicates, year: 2023, gaps: hold]"


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Result of `work`, whose time is printed."""
    begun = time.perf_counter()
    result = work()
    print(f"{what}: {time.perf_counter() - begun:.3f} s")
    return result


def main() -> None:
    count = np.arange(ROWS)
    table = pd.DataFrame({f"c{k}": (500 + 400 * np.sin(count / (30 + k))).round(3) for k in range(COLUMNS)})
    table.insert(0, "time", pd.date_range("2023-01-01", periods=ROWS, freq="5min"))
    names = [f"load_p_pu:s{k}" for k in range(COLUMNS)]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        table.to_csv(folder / "year.csv", index=False)
        form = "path: year.csv, unit: kW, cleaning: " + STEPS
        lines = [f"  {name}: {{{form}, column: c{k}}}" for k, name in enumerate(names)]
        (folder / "year.yaml").write_text("\n".join(["name: year", "series:", *lines]) + "\n")
        dataset = timed("CSV, parsed and cleaned", lambda: datasets.load(str(folder / "year.yaml")))
        datasets.save(dataset, folder / "year.npz")
        stored = timed("stored, loaded", lambda: datasets.load(str(folder / "year.npz")))
        timed("aligned to 15 minutes", lambda: stored.table(900, names))


if __name__ == "__main__":
    main()
