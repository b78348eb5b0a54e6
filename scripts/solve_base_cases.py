"""Solve the base case of every shipped network with pandapower and write tests/golden/<network>/.

    python scripts/solve_base_cases.py

The results are a record, not a proof: the feeders' figures are checked against the publication by other tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandapower as pp

from powergrid.networks import NETWORKS, Network, network
from powergrid.networks.to_pandapower import upstream_gain

TARGET = Path(__file__).resolve().parents[1] / "tests" / "golden"
TOLERANCE_MVA = 1e-9

README = """Base case of the network "{name}" with its default options (published load and taps, balanced equivalent).

base_case.json  v_pu and va_degree by bus, losses and source power; powers in MW and Mvar

Computed by pandapower {version}: runpp(tolerance_mva={tolerance}, enforce_q_lims=True) on
network("{name}").to_pandapower(), started from the source voltage times the ratios upstream.
Written by scripts/solve_base_cases.py.
Source of the network: {source}
"""


def main() -> None:
    for name in NETWORKS.names():
        grid = network(name)
        folder = TARGET / name
        folder.mkdir(parents=True, exist_ok=True)
        text = README.format(name=name, version=pp.__version__, tolerance=TOLERANCE_MVA, source=grid.source_note)
        write(folder / "README.txt", text)
        write(folder / "base_case.json", json.dumps(solve(grid), indent=1) + "\n")


def solve(grid: Network) -> dict[str, object]:
    """Voltages, losses and source power of the network's base case."""
    net = grid.to_pandapower()
    start = grid.source_v_pu * upstream_gain(grid)
    options = {"init_vm_pu": start, "init_va_degree": "dc", "calculate_voltage_angles": True, "numba": False}
    pp.runpp(net, tolerance_mva=TOLERANCE_MVA, enforce_q_lims=True, **options)
    tables = (net.res_line, net.res_trafo, net.res_impedance)
    losses = sum(table[["pl_mw", "ql_mvar"]].sum() for table in tables)
    return {
        "load_mw": round(float(grid.loads.p_mw.sum()), 9),
        "load_mvar": round(float(grid.loads.q_mvar.sum()), 9),
        "loss_mw": round(float(losses.pl_mw), 10),
        "loss_mvar": round(float(losses.ql_mvar), 10),
        "source_mw": round(float(net.res_ext_grid.p_mw.sum()), 9),
        "source_mvar": round(float(net.res_ext_grid.q_mvar.sum()), 9),
        "v_pu": dict(zip(grid.buses.name, net.res_bus.vm_pu.round(10).tolist(), strict=True)),
        "va_degree": dict(zip(grid.buses.name, net.res_bus.va_degree.round(8).tolist(), strict=True)),
    }


def write(path: Path, text: str) -> None:
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


if __name__ == "__main__":
    main()
