"""``pandapower.runpp`` on a compiled network: the same tables in, the same result tables out.

A v1 program owns a pandapower net and may edit any table at any time. So every solve first compares the columns that
enter the plan with those the plan was made from; what is left, the powers of loads, static generators and storages, is
read anew each time. Plans are kept by the columns they came from, so that a tap or a switch that comes back costs
nothing. What a compiled network cannot represent is left to ``runpp``, and said once.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from powergrid.core.errors import NetworkError, unknown_name
from powergrid.networks.network import Network
from powergrid.powerflow.compile import compile_network, injected_powers
from powergrid.v1.newton import FixedPointPlan, NewtonPlan, at_nodes
from powergrid.v1.result_tables import Powers, Rows, write_results

METHODS = ("auto", "sparse_lu", "runpp")
MOST_PLANS = 128
"""Number of stored plans; an agent that moves a tap changer uses the same few repeatedly."""
ZIP = ("const_z_percent", "const_i_percent", "const_z_p_percent", "const_i_p_percent", "const_z_q_percent",
       "const_i_q_percent")  # fmt: skip

PLAN_COLUMNS: dict[str, tuple[str, ...]] = {
    "bus": ("vn_kv", "in_service"),
    "line": (
        "from_bus", "to_bus", "length_km", "r_ohm_per_km", "x_ohm_per_km", "c_nf_per_km", "g_us_per_km", "max_i_ka",
        "df", "parallel", "in_service",
    ),
    "trafo": (
        "hv_bus", "lv_bus", "sn_mva", "vn_hv_kv", "vn_lv_kv", "vk_percent", "vkr_percent", "pfe_kw", "i0_percent",
        "shift_degree", "tap_side", "tap_neutral", "tap_pos", "tap_step_percent", "tap_step_degree",
        "tap_changer_type", "tap_phase_shifter", "tap_dependency_table", "id_characteristic_table", "tap2_side",
        "tap2_neutral", "tap2_pos", "tap2_step_percent", "tap2_step_degree", "tap2_changer_type",
        "leakage_resistance_ratio_hv", "leakage_reactance_ratio_hv", "parallel", "df", "in_service",
    ),
    "impedance": (
        "from_bus", "to_bus", "rft_pu", "xft_pu", "rtf_pu", "xtf_pu", "gf_pu", "bf_pu", "gt_pu", "bt_pu", "sn_mva",
        "in_service",
    ),
    "switch": ("bus", "element", "et", "closed", "z_ohm"),
    "shunt": ("bus", "p_mw", "q_mvar", "vn_kv", "step", "step_dependency_table", "in_service"),
    "ext_grid": ("bus", "in_service"),
    "load": ("bus", *ZIP),
    "sgen": ("bus",),
    "storage": ("bus",),
}  # fmt: skip
"""Columns whose change needs another plan."""
DRAWS = {"load": 1.0, "sgen": -1.0, "storage": 1.0}
"""Tables whose power is read at every solve, with the sign of consumption."""


class _Plan(NamedTuple):
    """A compiled network, and the places of pandapower's rows in it."""

    solver: NewtonPlan | FixedPointPlan
    rows: Rows


class _Tables(dict):
    """Tables of a net under other names; stands in for the net while it is converted."""

    __getattr__ = dict.__getitem__


class TablePowerFlow:
    """Solves one pandapower net repeatedly.

    Parameters
    ----------
    net
        The net; its result tables are replaced at every solve, as ``runpp`` does.
    method
        ``"auto"`` for ``runpp``'s iterates on a compiled network where it can represent the net; ``"sparse_lu"`` for
        version 2's power flow there; ``"runpp"`` for pandapower alone.

    Raises
    ------
    UnknownNameError
        If there is no such method.

    Attributes
    ----------
    fallback
        Why the last solve was left to ``runpp``, empty where it was not.
    """

    def __init__(self, net: Any, method: str = "auto"):
        if method not in METHODS:
            raise unknown_name("power_flow", method, METHODS)
        self.net = net
        self.method = method
        self.fallback = "power_flow is set to runpp" if method == "runpp" else ""
        self._plans: dict[tuple, _Plan | str] = {}
        self._key: tuple = ()
        self._plan: _Plan | str = ""
        self._said = False
        self._others = [
            table
            for table, frame in net.items()
            if not table.startswith(("_", "res_"))
            and getattr(frame, "columns", None) is not None
            and "in_service" in frame.columns
            and table not in PLAN_COLUMNS
            and table != "controller"  # ``runpp`` ignores controllers unless asked
        ]

    def __getstate__(self) -> dict[str, Any]:
        """State without plans: their factors can be neither copied nor pickled, and are quickly computed again."""
        return {**self.__dict__, "_plans": {}, "_key": (), "_plan": ""}

    def solve(self) -> bool:
        """Solve and fill the result tables; False where the flow did not converge."""
        if self.method == "runpp":
            return self._runpp()
        key = plan_key(self.net)
        if key != self._key:
            self._plan = self._plan_of(key)
            self._key = key
        reason = self._elsewhere() or (self._plan if isinstance(self._plan, str) else "")
        self.fallback = reason
        if isinstance(self._plan, str) or reason:
            self._say(reason)
            return self._runpp()
        # Where the flow does not converge, ``runpp`` says so itself: its tables hold NaN, as v1's did.
        return self._compiled(self._plan) or self._runpp()

    def _plan_of(self, key: tuple) -> _Plan | str:
        found = self._plans.get(key)
        if found is None:
            try:
                found = _make_plan(self.net, self.method)
            except NetworkError as error:
                found = str(error)
            if len(self._plans) >= MOST_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = found
        return found

    def _elsewhere(self) -> str:
        """Reason why the compiled power flow cannot solve this net, apart from reasons of its plan."""
        for table in self._others:
            if len(self.net[table]):  # rows out of service have results too
                return f'the net has rows in "{table}"'
        return "the net has user_pf_options" if self.net.get("user_pf_options") else ""

    def _say(self, reason: str) -> None:
        if not self._said:
            self._said = True
            warnings.warn(
                f"the compiled power flow does not cover this net, pandapower.runpp solves it: {reason}",
                RuntimeWarning,
                stacklevel=4,
            )

    def _runpp(self) -> bool:
        import pandapower

        try:
            pandapower.runpp(self.net, numba=False)
        except Exception:  # v1 took any failure of the solver for a flow that did not converge
            self.net["converged"] = False
        return bool(self.net["converged"])

    def _compiled(self, plan: _Plan) -> bool:
        net, rows = self.net, plan.rows
        m = plan.solver.compiled.n_bus
        drawn = np.zeros(m, complex)
        table_powers: dict[str, np.ndarray] = {}
        for table, sign in DRAWS.items():
            frame = net[table]
            if not len(frame):
                continue
            share = frame["scaling"].to_numpy(float) * frame["in_service"].to_numpy(bool) * rows.alive[table]
            power = (frame["p_mw"].to_numpy(float) + 1j * frame["q_mvar"].to_numpy(float)) * share
            table_powers[table] = power
            at = rows.bus_of[table]
            drawn += sign * (np.bincount(at, power.real, m) + 1j * np.bincount(at, power.imag, m))
        source = net["ext_grid"]
        vm = source["vm_pu"].to_numpy(float)
        compiled = plan.solver.compiled
        nodes = plan.solver.solve(drawn, float(vm[rows.source]), float(vm.mean()))
        if nodes is None:
            return False
        own = at_nodes(compiled, drawn)[-1]
        slack = complex(nodes[-1] * np.conj(plan.solver.ybus[-1] @ nodes)[0] + own)
        angle = source["va_degree"].to_numpy(float)[rows.source]
        v = nodes[compiled.node] * np.exp(1j * np.deg2rad(angle))
        both = injected_powers(compiled, v, drawn, compiled.gain)
        b = compiled.n_branch
        write_results(net, rows, v, Powers(both[:b], both[b : 2 * b], table_powers, drawn, slack))
        return True


def plan_key(net: Any) -> tuple:
    """The values of all columns that enter a plan, as a hashable key."""
    parts: list[Any] = [net["f_hz"], net["sn_mva"]]
    for table, columns in PLAN_COLUMNS.items():
        frame = net[table]
        if not len(frame):
            parts.append(table)
            continue
        parts.append(frame.index.to_numpy().tobytes())
        known = frame.columns
        for column in columns:
            if column in known:
                values = frame[column].to_numpy()
                parts.append(tuple(values) if values.dtype == object else values.tobytes())
    return tuple(parts)


def _no_load(net: Any) -> pd.DataFrame:
    """One load of 0 MW at the external grid: a network without any load is refused."""
    columns = {"p_mw": 0.0, "q_mvar": 0.0, "scaling": 1.0, "in_service": True, "name": "none"}
    return pd.DataFrame([{**columns, "bus": net["ext_grid"]["bus"].iloc[0]}])


def _refuse_dead_ends(net: Any) -> None:
    """Leave branches and shunts at a bus out of service to ``runpp``, whose results there depend on the switches too.

    Raises
    ------
    NetworkError
        If there is one.
    """
    bus = net["bus"]
    dead = bus.index[~bus["in_service"].to_numpy(bool)]
    ends = {"line": ("from_bus", "to_bus"), "trafo": ("hv_bus", "lv_bus"), "impedance": ("from_bus", "to_bus")}
    for table, columns in {**ends, "shunt": ("bus",)}.items():
        if len(dead) and net[table][list(columns)].isin(dead).to_numpy().any():
            raise NetworkError(f'the net has rows in "{table}" at a bus out of service')


def _make_plan(net: Any, method: str) -> _Plan:
    """Convert and compile the net without its loads.

    Raises
    ------
    NetworkError
        If the compiled power flow cannot represent it.
    """
    load = net["load"]
    dependent = [column for column in ZIP if column in load.columns]
    if len(load) and (load[dependent].fillna(0.0).to_numpy(float) != 0).any():
        raise NetworkError("voltage-dependent loads")
    sources = int(net["ext_grid"]["in_service"].to_numpy(bool).sum())
    if sources != 1:
        raise NetworkError(f"{sources} external grids in service instead of one")
    _refuse_dead_ends(net)
    tables = _Tables(net)
    tables["name"] = str(net.get("name") or "net")
    for table in DRAWS:
        tables[table] = net[table].iloc[:0]
    tables["load"] = _no_load(net)
    for table in ("line", "trafo", "impedance", "switch", "shunt"):
        frame = net[table]
        if len(frame):
            tables[table] = frame.assign(name=[f"{table}:{k}" for k in range(len(frame))])
    network = Network.from_pandapower(tables)
    fixed_point = method == "sparse_lu"
    solver = (
        FixedPointPlan.of(network) if fixed_point else NewtonPlan.of(compile_network(network), float(net["sn_mva"]))
    )
    return _Plan(solver, Rows.of(net, network))
