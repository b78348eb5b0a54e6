"""The libraries that the power flow is measured against, behind one interface; see ``powerflow_libraries.py``.

An engine holds one case. ``batches()`` yields its methods as ``run(tolerance) -> |V| (count, m)``; ``step()`` returns a
function ``step(k) -> |V| (m,)`` that writes the loads of step k, solves from the step before and reads results.
"""

from __future__ import annotations

import contextlib
import io
import platform
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from powergrid.core.types import NodeLoad
from powergrid.networks import Network, network
from powergrid.powerflow import method
from powergrid.powerflow.compile import compile_network

Run = Callable[[float], np.ndarray]


class Missing(Exception):
    """An engine that is not installed or cannot hold the case; a sentence that says so."""


class Engine(Protocol):
    """One library with one case."""

    name: str

    def batches(self) -> Iterator[tuple[str, Run]]: ...

    def step(self) -> Callable[[int], np.ndarray] | None: ...


class Case(NamedTuple):
    """A network with loads of a batch ``(count, m)`` and of steps ``(steps, m)`` [MW, Mvar]."""

    name: str
    grid: Network
    p_mw: np.ndarray
    q_mvar: np.ndarray
    p_step_mw: np.ndarray
    q_step_mvar: np.ndarray

    @property
    def loaded(self) -> np.ndarray:
        """Buses that draw power in any scenario."""
        return np.flatnonzero(np.any(self.p_mw, axis=0) | np.any(self.q_mvar, axis=0))

    def reference(self, count: int, *, steps: bool = False) -> np.ndarray:
        """Voltages of the first scenarios or steps by pandapower's Newton method, ``(count, m)``."""
        import pandapower as pp

        p, q = (self.p_step_mw, self.q_step_mvar) if steps else (self.p_mw, self.q_mvar)
        net, found = self.grid.to_pandapower(bus_loads=True), []
        for p_mw, q_mvar in zip(p[:count], q[:count], strict=True):
            net.load["p_mw"], net.load["q_mvar"] = p_mw, q_mvar
            pp.runpp(net, tolerance_mva=1e-11, numba=True)
            found.append(net.res_bus.vm_pu.to_numpy())
        return np.array(found)


def radial_case(buses: int, count: int, steps: int = 200) -> Case:
    """The published 33-bus feeder, or a made-up radial feeder of another size."""
    grid = network("case33bw") if buses == 33 else network("radial", n=buses, seed=1, source_v_pu=1.0)
    rng, m = np.random.default_rng(0), len(grid.buses.name)
    own = (np.bincount(grid.loads.bus, power, m) for power in (grid.loads.p_mw, grid.loads.q_mvar))
    p, q = own
    level = 0.8 + 0.1 * np.sin(0.3 * np.arange(steps))[:, None]
    wander = level * (1 + 0.02 * rng.standard_normal((steps, m)))
    return Case(
        f"{buses} buses",
        grid,
        p * rng.uniform(0.5, 1.2, (count, m)),
        q * rng.uniform(0.5, 1.2, (count, m)),
        p * wander,
        q * wander,
    )


def processor() -> str:
    """Processor and day, for the heading of a table."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0].split(':')[1].strip() if names else platform.processor()}, {date.today()}"


def _imported(module: str, package: str) -> Any:
    try:
        return __import__(module, fromlist=["_"])
    except ImportError as error:
        raise Missing(f"{package} is not installed and is left out (pip install {package})") from error


class PowerGrid:
    """This package."""

    def __init__(self, case: Case):
        self.name, self.case, self.solver = "PowerGrid", case, method("sparse_lu")
        self._plan = lru_cache(lambda tol: self.solver.plan(case.grid, tol_pu=tol))

    def batches(self) -> Iterator[tuple[str, Run]]:
        load = NodeLoad(self.case.p_mw, self.case.q_mvar)
        yield "fixed point, sparse LU", lambda tol: self.solver.solve(self._plan(tol), load).v_pu

    def step(self) -> Callable[[int], np.ndarray]:
        plan = self._plan(1e-8)
        loads = [NodeLoad(p, q) for p, q in zip(self.case.p_step_mw, self.case.q_step_mvar, strict=True)]
        last = self.solver.solve(plan, loads[0])

        def step(k: int) -> np.ndarray:
            nonlocal last
            last = self.solver.solve(plan, loads[k], None, last)
            return last.v_pu

        return step


class PowerGridModel:
    """power-grid-model: the network as generic branches in per unit of 1 kV and 1 MVA, where 1 ohm is 1 pu."""

    def __init__(self, case: Case):
        self.pgm = _imported("power_grid_model", "power-grid-model")
        self.name, self.case = f"power-grid-model {version('power-grid-model')}", case
        self.loaded = case.loaded
        self.model = self.pgm.PowerGridModel(self._input())

    def _input(self) -> dict[str, np.ndarray]:
        grid, found = self.case.grid, compile_network(self.case.grid)
        live, m = np.flatnonzero(found.live), found.n_node + 1
        node = self._rows("input", "node", m, 0)
        node["u_rated"] = 1e3
        branch = self._rows("input", "generic_branch", len(live), 100_000)
        impedance, ratio = 1 / found.series[live], 1 / found.gain[live]
        branch["from_node"], branch["to_node"] = found.from_node[live], found.to_node[live]
        branch["from_status"] = branch["to_status"] = 1
        branch["r1"], branch["x1"] = impedance.real, impedance.imag
        branch["g1"], branch["b1"] = 2 * found.half_shunt[live].real, 2 * found.half_shunt[live].imag
        branch["k"], branch["theta"], branch["sn"] = np.abs(ratio), np.angle(ratio), 1e6
        source = self._rows("input", "source", 1, 400_000)
        source["node"], source["status"], source["u_ref"], source["sk"] = m - 1, 1, grid.source_v_pu, 1e18
        load = self._rows("input", "sym_load", len(self.loaded), 500_000)
        load["node"], load["status"], load["type"] = found.node[self.loaded], 1, 0
        load["p_specified"] = load["q_specified"] = 0.0
        return {"node": node, "generic_branch": branch, "source": source, "sym_load": load}

    def _rows(self, kind: str, component: str, shape: Any, first: int) -> np.ndarray:
        rows = self.pgm.initialize_array(kind, component, shape)
        rows["id"] = first + np.arange(rows.shape[-1])
        return rows

    def _update(self, p_mw: np.ndarray, q_mvar: np.ndarray) -> np.ndarray:
        rows = self._rows("update", "sym_load", p_mw[..., self.loaded].shape, 500_000)
        rows["p_specified"], rows["q_specified"] = 1e6 * p_mw[..., self.loaded], 1e6 * q_mvar[..., self.loaded]
        return rows

    def batches(self) -> Iterator[tuple[str, Run]]:
        update, node = self._update(self.case.p_mw, self.case.q_mvar), compile_network(self.case.grid).node
        wanted = {"node": ["u_pu"], "generic_branch": ["loading"], "source": ["p"]}

        def run(tol: float, way: Any) -> np.ndarray:
            found = self.model.calculate_power_flow(
                update_data={"sym_load": update}, calculation_method=way, error_tolerance=tol, max_iterations=100,
                threading=-1, output_component_types=wanted,
            )  # fmt: skip
            return found["node"]["u_pu"][:, node]

        for way in (self.pgm.CalculationMethod.iterative_current, self.pgm.CalculationMethod.newton_raphson):
            yield way.name, lambda tol, way=way: run(tol, way)

    def step(self) -> Callable[[int], np.ndarray]:
        steps = [self._update(p, q) for p, q in zip(self.case.p_step_mw, self.case.q_step_mvar, strict=True)]
        node, wanted = compile_network(self.case.grid).node, {"node": ["u_pu"], "generic_branch": ["loading"]}

        def step(k: int) -> np.ndarray:
            self.model.update(update_data={"sym_load": steps[k]})
            found = self.model.calculate_power_flow(
                calculation_method=self.pgm.CalculationMethod.iterative_current, error_tolerance=1e-8,
                max_iterations=100, output_component_types={**wanted, "source": ["p"]},
            )  # fmt: skip
            return found["node"]["u_pu"][node]

        return step


class LightSim2Grid:
    """lightsim2grid, read from the same pandapower net as the reference."""

    def __init__(self, case: Case):
        _imported("lightsim2grid", "lightsim2grid")
        from lightsim2grid.network import init_from_pandapower

        if np.any(np.array(case.grid.branches.kind) == "switch"):
            raise Missing("lightsim2grid knows no switches and is left out")
        self.name, self.case = f"lightsim2grid {version('lightsim2grid')}", case
        self.net = case.grid.to_pandapower(bus_loads=True)
        self.net.line = self.net.line[self.net.line.in_service]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self.grid = init_from_pandapower(self.net)
        self.buses = len(case.grid.buses.name)
        self.flat = np.full(self.grid.total_bus(), complex(case.grid.source_v_pu))

    def batches(self) -> Iterator[tuple[str, Run]]:
        from lightsim2grid.lightsim2grid_cpp import AlgorithmType, InjectionSweepCPP, TimeSeriesCPP

        count = len(self.case.p_mw)
        p, q = np.ascontiguousarray(self.case.p_mw), np.ascontiguousarray(self.case.q_mvar)
        generators = np.zeros((count, len(self.grid.get_generators())))
        none = np.zeros((count, len(self.grid.get_static_generators())))

        def run(tol: float, computer: Any) -> np.ndarray:
            computer.compute_Vs(generators, none, p, q, self.flat.copy(), 20, tol)
            computer.compute_flows()
            return np.abs(computer.get_voltages()[:, : self.buses])

        for kind in (TimeSeriesCPP, InjectionSweepCPP):
            for algorithm in (AlgorithmType.NRSing_KLU, AlgorithmType.NR_KLU):
                computer = kind(self.grid)
                computer.change_algorithm(algorithm)
                label = f"{kind.__name__.removesuffix('CPP')} {algorithm.name}"
                yield label, lambda tol, computer=computer: run(tol, computer)

    def step(self) -> Callable[[int], np.ndarray]:
        from lightsim2grid.lightsim2grid_cpp import AlgorithmType

        self.grid.change_algorithm(AlgorithmType.NRSing_KLU)
        v, every = self.grid.ac_pf(self.flat.copy(), 20, 1e-8), np.ones(self.buses, bool)
        p, q = self.case.p_step_mw.astype(np.float32), self.case.q_step_mvar.astype(np.float32)

        def step(k: int) -> np.ndarray:
            nonlocal v
            self.grid.update_loads_p(every, p[k])
            self.grid.update_loads_q(every, q[k])
            v = self.grid.ac_pf(v, 20, 1e-8)
            self.grid.get_line_res1()
            self.grid.get_gen_res()
            return self.grid.get_Vm()[: self.buses]

        return step


class TensorPowerFlow:
    """tensorpowerflow: lines without charging behind one source, the source as its first node."""

    def __init__(self, case: Case):
        GridTensor = _imported("tensorpowerflow", "tensorpowerflow").GridTensor
        import pandas as pd

        grid, branches = case.grid, case.grid.branches
        if np.any(branches.b_pu) or np.any(branches.ratio != 1) or grid.source_v_pu != 1.0:
            raise Missing("tensorpowerflow takes only lines without charging behind a source of 1 pu and is left out")
        self.name, self.case = f"tensorpowerflow {version('tensorpowerflow')}", case
        m = len(grid.buses.name)
        self.order = np.concatenate([[grid.source_bus], np.delete(np.arange(m), grid.source_bus)])
        number, closed = np.empty(m, int), np.flatnonzero(branches.closed)
        number[self.order] = np.arange(1, m + 1)
        lines = pd.DataFrame({
            "FROM": number[branches.from_bus[closed]], "TO": number[branches.to_bus[closed]],
            "R": branches.r_pu[closed], "X": branches.x_pu[closed], "B": 0.0, "STATUS": 1, "TAP": 1,
        })  # fmt: skip
        nodes = pd.DataFrame({
            "NODES": np.arange(1, m + 1), "Tb": np.arange(m) == 0, "PD": 1.0, "QD": 1.0, "Pct": 1.0, "Ict": 0.0,
            "Zct": 0.0,
        })  # fmt: skip
        nodes["Tb"] = nodes["Tb"].astype(int)
        self.grid = GridTensor(
            from_file=False, nodes_frame=nodes, lines_frame=lines, s_base=1000, v_base=1.0, node_file_path="",
            lines_file_path="", iterations=100,
        )  # fmt: skip

    def _solve(self, p: np.ndarray, q: np.ndarray, way: str, tol: float) -> np.ndarray:
        found = self.grid.run_pf(active_power=p, reactive_power=q, algorithm=way, tolerance=tol)
        v = np.ones((len(p), len(self.order)))
        v[:, self.order[1:]] = np.abs(found["v"])
        return v

    def batches(self) -> Iterator[tuple[str, Run]]:
        p, q = 1e3 * self.case.p_mw[:, self.order[1:]], 1e3 * self.case.q_mvar[:, self.order[1:]]
        for way in ("tensor", "hp-tensor"):
            yield way, lambda tol, way=way: self._solve(p, q, way, tol)

    def step(self) -> None:
        return None  # made for batches: a single flow takes longer than those of the others by far


ENGINES: tuple[Callable[[Case], Engine], ...] = (PowerGrid, PowerGridModel, LightSim2Grid, TensorPowerFlow)
