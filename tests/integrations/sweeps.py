"""What a sweep on Ray and on Dask must do: repeat a run whose worker is killed, and leave a failing one alone."""

from __future__ import annotations

from pathlib import Path

from fragile_runs import begun, write

from powergrid.learn.sweep.sweep import sweep


def check_sweep_on(name: str, folder: Path) -> None:
    """Run the three runs of the grid, then what is left of them."""
    grid = write(folder)
    results = sweep(grid, on=name, workers=1, out=folder / "runs", progress=False)
    assert begun(folder) == ["killed", "killed", "raises", "well"]
    assert results.failed == {"small-fragile-ends=raises-seed0": "RuntimeError: there is no sun today"}
    assert set(results.objectives) == {f"small-fragile-ends={end}-seed0" for end in ("well", "killed")}
    grid.write_text(grid.read_text().replace(", raises", ""))
    assert not sweep(grid, on=name, workers=1, out=folder / "runs", progress=False).failed
    assert len(begun(folder)) == 4
