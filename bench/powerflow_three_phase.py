"""Three-phase power flow against power-grid-model's asymmetric batch, on the IEEE European low-voltage feeder.

    pip install -e .[bench]
    python bench/powerflow_three_phase.py [--count 512] [--core 0]

906 buses with three phases each behind a Dyn1 transformer, 55 houses on one phase. The load of every house lies between
50 and 120 % of its published one at 09:26, drawn house by house. Both engines get the same lines and the same
transformer, and take the loosest of their tolerances that keeps every voltage within 1e-8 pu of power-grid-model's
Newton method at 1e-11, the largest difference is printed. One process pinned to one core, in turns; figures are medians
over turns of CPU time. Ratios travel between machines, digits do not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from powerflow_engines import processor
from powerflow_libraries import TOLERANCES, WITHIN_PU, Way, print_batch, take_turns
from rich.console import Console

from powergrid.core.types import NodeLoad
from powergrid.networks import network
from powergrid.powerflow import method

CHECKED = 20
PHASES = "abc"


class Houses:
    """The feeder in pandapower's tables, and powers of every house in every scenario [MW, Mvar], ``(count, n, 3)``."""

    def __init__(self, count: int):
        import pandapower.networks

        self.net = pandapower.networks.ieee_european_lv_asymmetric("on_peak_566")
        loads, factor = self.net.asymmetric_load, np.random.default_rng(0).uniform(0.5, 1.2, (count, 55, 1))
        self.p_mw = factor * loads[[f"p_{phase}_mw" for phase in PHASES]].to_numpy()
        self.q_mvar = factor * loads[[f"q_{phase}_mvar" for phase in PHASES]].to_numpy()


class PowerGrid:
    """This package: results by bus and phase, as power-grid-model gives them."""

    def __init__(self, houses: Houses):
        self.grid, self.solver = network("ieee_european_lv", phases="three"), method("sparse_lu")
        number = {name: at for at, name in enumerate(self.grid.buses.name)}
        names = houses.net.bus.name.astype(str)
        self.node = np.array([[number[f"{bus}.{phase}"] for phase in PHASES] for bus in names])
        at = self.node[houses.net.asymmetric_load.bus]
        self.load = NodeLoad(*(np.zeros((len(houses.p_mw), len(self.grid.places))) for _ in range(2)))
        self.load.p_mw[:, at], self.load.q_mvar[:, at] = houses.p_mw, houses.q_mvar

    def run(self, tol: float) -> Callable[[], np.ndarray]:
        plan = self.solver.plan(self.grid, tol_pu=tol)
        return lambda: self.solver.solve(plan, self.load).v_pu

    def voltages(self, found: np.ndarray) -> np.ndarray:
        return found[:, self.node]


class PowerGridModel:
    """power-grid-model with the sequence data that the three-phase network is built from."""

    def __init__(self, houses: Houses):
        import power_grid_model as pgm

        self.pgm, net = pgm, houses.net
        rows: dict[str, np.ndarray] = {
            "node": self._rows("input", "node", len(net.bus), 0),
            "line": self._rows("input", "line", len(net.line), 10_000),
            "transformer": self._rows("input", "transformer", len(net.trafo), 20_000),
            "source": self._rows("input", "source", 1, 30_000),
            "asym_load": self._rows("input", "asym_load", len(net.asymmetric_load), 40_000),
        }
        rows["node"]["u_rated"] = 1e3 * net.bus.vn_kv
        self._lines(rows["line"], net.line)
        self._transformer(rows["transformer"], net.trafo)
        rows["source"]["node"], rows["source"]["status"] = net.ext_grid.bus, 1
        rows["source"]["u_ref"], rows["source"]["sk"] = net.ext_grid.vm_pu, 1e15
        load = rows["asym_load"]
        load["node"], load["status"], load["type"] = net.asymmetric_load.bus, 1, 0
        load["p_specified"] = load["q_specified"] = 0.0
        self.model = pgm.PowerGridModel(rows, system_frequency=float(net.f_hz))
        self.update = self._rows("update", "asym_load", houses.p_mw.shape[:2], 40_000)
        self.update["p_specified"], self.update["q_specified"] = 1e6 * houses.p_mw, 1e6 * houses.q_mvar

    def _rows(self, kind: str, component: str, shape: Any, first: int) -> np.ndarray:
        rows = self.pgm.initialize_array(kind, component, shape)
        rows["id"] = first + np.arange(rows.shape[-1])
        return rows

    def _lines(self, rows: np.ndarray, line: Any) -> None:
        rows["from_node"], rows["to_node"], rows["from_status"], rows["to_status"] = line.from_bus, line.to_bus, 1, 1
        for ours, theirs in (("r1", "r_ohm"), ("x1", "x_ohm"), ("r0", "r0_ohm"), ("x0", "x0_ohm")):
            rows[ours] = line[f"{theirs}_per_km"] * line.length_km / line.parallel
        rows["c1"] = rows["c0"] = rows["tan1"] = rows["tan0"] = 0.0
        rows["i_n"] = 1e3 * line.max_i_ka * line.parallel

    def _transformer(self, rows: np.ndarray, trafo: Any) -> None:
        rows["from_node"], rows["to_node"], rows["from_status"], rows["to_status"] = trafo.hv_bus, trafo.lv_bus, 1, 1
        rows["u1"], rows["u2"], rows["sn"] = 1e3 * trafo.vn_hv_kv, 1e3 * trafo.vn_lv_kv, 1e6 * trafo.sn_mva
        rows["uk"], rows["pk"] = trafo.vk_percent / 100, trafo.vkr_percent / 100 * 1e6 * trafo.sn_mva
        rows["i0"] = rows["p0"] = 0.0
        rows["winding_from"], rows["winding_to"] = self.pgm.WindingType.delta, self.pgm.WindingType.wye_n
        rows["clock"], rows["tap_side"], rows["tap_size"] = round(float(trafo.shift_degree.iloc[0]) / 30), 0, 0.0
        rows["tap_pos"] = rows["tap_min"] = rows["tap_max"] = 0

    def run(self, tol: float, way: str = "iterative_current", count: int | None = None) -> Callable[[], np.ndarray]:
        wanted = {"node": ["u_pu"], "line": ["loading"], "source": ["p"]}
        update = {"asym_load": self.update[:count]}
        return lambda: self.model.calculate_power_flow(
            symmetric=False, update_data=update, calculation_method=way, error_tolerance=tol, max_iterations=100,
            threading=-1, output_component_types=wanted,
        )["node"]["u_pu"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=512, help="scenarios in a batch")
    parser.add_argument("--turns", type=int, default=7, help="turns of which the median is taken")
    parser.add_argument("--core", type=int, default=0, help="core to run on")
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    houses = Houses(options.count)
    own = PowerGrid(houses)
    try:
        other = PowerGridModel(houses)
    except ImportError:
        print("power-grid-model is not installed and this benchmark needs it (pip install power-grid-model)")
        return
    reference = other.run(1e-11, "newton_raphson", CHECKED)()
    ways = []
    for name, label, make, read in (
        ("PowerGrid", "fixed point, sparse LU", own.run, own.voltages),
        ("power-grid-model", "iterative_current", other.run, np.asarray),
        ("power-grid-model", "newton_raphson", lambda tol: other.run(tol, "newton_raphson"), np.asarray),
    ):
        for tol in TOLERANCES:
            run = make(tol)
            error = float(np.abs(read(run())[:CHECKED] - reference).max())
            if error <= WITHIN_PU:
                ways.append(Way(name, f"{label}, {tol:.0e}", run, error, []))
                break
    take_turns(ways, options.count, options.turns)
    console = Console(width=130)
    console.print(processor())
    print_batch(f"IEEE European low-voltage feeder, three phases: {options.count} flows in a batch", ways, console)


if __name__ == "__main__":
    main()
