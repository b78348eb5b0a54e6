"""Made training years beside the training days that they come from, by both methods.

    python bench/made_years.py [DATASET] [--years 20] [--seed 0] [--out FOLDER]

Prints mean, standard deviation and autocorrelation of each first series of a quantity, the largest difference of a
correlation between two of them, how long the making took and how large the file is; draws one figure for each method.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from powergrid import datasets
from powergrid.cli.data import print_comparison
from powergrid.cli.show import save_figure
from powergrid.datasets.plots import comparison_figure
from powergrid.datasets.synthesis import compare
from powergrid.datasets.synthesis.make import METHODS

COLUMNS = ("load_p_pu:res_1", "pv_pu:south", "wind_pu:turbine", "price_per_mwh:lz_north", "ambient_temp_c:greensboro")
"""Series of the embedded years that the figures show."""
LAGS_H = (1, 3, 6, 12, 24, 48, 168)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="embedded_2022")
    parser.add_argument("--years", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/explanation/figures"))
    given = parser.parse_args()
    real = datasets.load(given.dataset)
    columns = COLUMNS if set(COLUMNS) <= set(real.columns) else None
    for method in METHODS:
        begun = time.perf_counter()
        made = datasets.synthesise(real, given.years, method, given.seed)
        took = time.perf_counter() - begun
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "made.npz"
            datasets.save(made, file)
            size_mb = file.stat().st_size / 1e6
        print(f"\n{method}: {given.years} years in {took:.1f} s, {size_mb:.1f} MB as a file")
        print_comparison(compare(made, columns))
        figure = comparison_figure(compare(made, columns, LAGS_H))
        save_figure(figure, given.out / f"made-years-{method}.png")


if __name__ == "__main__":
    main()
