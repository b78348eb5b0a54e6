"""Solve the IEEE European low-voltage feeder with pandapower's three-phase power flow, and write tests/golden/.

    python scripts/solve_european_lv_case.py

Two cases of the on-peak minute: pandapower's data as they are, and without the zero-sequence magnetising branch of the
transformer and with a stiff source, as the package and OpenDSS model them. Nothing of the package is used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandapower
import pandapower.networks

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden" / "ieee_european_lv_three_phase"
README = """Three-phase base case of the network "ieee_european_lv", scenario on_peak_566, at all houses.

three_phase.json  "stock" and "no_mag0_stiff_source": v_pu and va_degree (phases a, b, c) by bus, and source power

Computed by pandapower {version}, runpp_3ph with tolerance 1e-10 MVA, by scripts/solve_european_lv_case.py. pandapower's
data give the Dyn1 transformer a zero-sequence magnetising impedance equal to its leakage impedance (mag0_percent 100),
which the test feeder does not state, and the source a short-circuit power of 10 GVA. "no_mag0_stiff_source" is without
both.
"""


def main() -> None:
    """Solve both cases and write them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    cases = {"stock": solved({}, {}), "no_mag0_stiff_source": solved({"mag0_percent": 1e9}, {"s_sc_max_mva": 1e9})}
    (FOLDER / "three_phase.json").write_text(json.dumps(cases, indent=None) + "\n")
    (FOLDER / "README.txt").write_text(README.format(version=pandapower.__version__))


def solved(trafo: dict[str, float], source: dict[str, float]) -> dict[str, Any]:
    """Voltages and source power with changed columns of the transformer and the external grid."""
    net = pandapower.networks.ieee_european_lv_asymmetric("on_peak_566")
    for table, changes in ((net.trafo, trafo), (net.ext_grid, source)):
        for column, value in changes.items():
            table[column] = value
    pandapower.runpp_3ph(net, tolerance_mva=1e-10)
    kept = sorted({*net.trafo.lv_bus, *net.asymmetric_load.bus})
    found: dict[str, Any] = {"v_pu": {}, "va_degree": {}}
    for bus in kept:
        row, name = net.res_bus_3ph.loc[bus], str(net.bus.name[bus])
        found["v_pu"][name] = [round(float(row[f"vm_{phase}_pu"]), 8) for phase in "abc"]
        found["va_degree"][name] = [round(float(row[f"va_{phase}_degree"]), 6) for phase in "abc"]
    grid = net.res_ext_grid_3ph.iloc[0]
    found["source_mw"] = float(sum(grid[f"p_{phase}_mw"] for phase in "abc"))
    found["source_mvar"] = float(sum(grid[f"q_{phase}_mvar"] for phase in "abc"))
    return found


if __name__ == "__main__":
    main()
