"""Every column and option that ``pandapower.runpp`` reads, and what ``Network.from_pandapower`` makes of it.

    python bench/pandapower_columns.py [--markdown]

The columns are those that ``runpp`` itself reads while it solves a net with every element that a network can hold: its
tables are watched. Each column is then changed, and each option set. ``obeyed`` means that the solution of ``runpp``
moves and that ours moves with it, ``refused`` that the conversion names it, ``without effect`` that neither moves.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from powergrid.core.errors import PowerGridError
from powergrid.networks import Network

TABLES = (
    "bus", "line", "trafo", "trafo3w", "impedance", "switch", "ext_grid", "gen", "load", "sgen", "storage", "motor",
    "asymmetric_load", "asymmetric_sgen", "ward", "xward", "dcline", "shunt",
)  # fmt: skip
SAME_PU, SAME_PERCENT, MOVED_PU = 1e-7, 1e-4, 1e-9
OTHER = {  # what a column becomes, where a number a little larger would say nothing; row 0 unless it is a list
    **{("bus", column): "other" for column in ("name", "type", "zone", "geo", "area")},
    ("line", "from_bus"): 4, ("line", "to_bus"): 4, ("trafo", "hv_bus"): 5, ("trafo", "lv_bus"): 4,
    ("trafo3w", "mv_bus"): 4, ("trafo3w", "hv_bus"): 2, ("trafo3w", "lv_bus"): 11, ("impedance", "from_bus"): 3,
    ("impedance", "to_bus"): 5, ("switch", "bus"): 8, ("switch", "element"): 5, ("switch", "et"): "l",
    ("dcline", "from_bus"): 2, ("dcline", "to_bus"): 1, ("ext_grid", "bus"): 14, ("gen", "bus"): 5,
    **{(table, "bus"): 6 for table in ("sgen", "storage", "asymmetric_load", "asymmetric_sgen", "ward", "xward")},
    ("load", "bus"): 3, ("motor", "bus"): 12, ("shunt", "bus"): 12, ("gen", "min_q_mvar"): 40.0,
    ("gen", "max_q_mvar"): -40.0, ("dcline", "min_q_from_mvar"): 50.0, ("dcline", "max_q_from_mvar"): -50.0,
    ("dcline", "min_q_to_mvar"): 50.0, ("dcline", "max_q_to_mvar"): -50.0,
    ("trafo", "tap_side"): "lv", ("trafo", "tap_changer_type"): "Ideal", ("trafo3w", "tap_side"): "hv",
    ("trafo3w", "tap_changer_type"): "Ideal", ("trafo", "tap_dependency_table"): True,
    ("trafo3w", "tap_dependency_table"): True, ("shunt", "step_dependency_table"): True,
    ("trafo", "tap_phase_shifter"): True, ("trafo3w", "tap_phase_shifter"): True, ("trafo3w", "loss_side"): "mv",
    ("gen", "reactive_capability_curve"): True, ("sgen", "reactive_capability_curve"): True,
    ("trafo", "tap2_side"): "hv", ("trafo", "tap2_pos"): 2.0, ("trafo", "tap2_changer_type"): "Ratio",
    ("trafo", "tap2_step_percent"): 1.0, ("trafo", "tap2_neutral"): 0.0, ("trafo", "tap2_dependency_table"): True,
    ("load", "type"): "delta", ("trafo", "tap_dependent_impedance"): True, ("impedance", "rtf_pu"): 0.03,
    ("impedance", "xtf_pu"): 0.07, ("gen", "max_p_mw"): 8.0, ("gen", "min_p_mw"): 10.5, ("sgen", "max_p_mw"): 0.7,
    ("sgen", "min_p_mw"): 0.95, ("sgen", "max_q_mvar"): 0.02, ("sgen", "min_q_mvar"): 0.07,
}  # fmt: skip
ROW = {("bus", "in_service"): 8, ("line", "in_service"): 3, ("ext_grid", "bus"): 1}
"""Row that is changed, where the first would leave an island."""
VOLTAGES_ONLY = {("trafo", "leakage_resistance_ratio_hv"), ("trafo", "leakage_reactance_ratio_hv")}
"""Columns by which the no-load current is split unevenly; the difference is a shunt beside the branch here, so that the
branch's own current, and its loading, are without it."""
OPTIONS = {
    "algorithm": "iwamoto_nr", "calculate_voltage_angles": False, "check_connectivity": False,
    "consider_line_temperature": False, "delta": 1e-3, "delta_q": 1e-3, "distributed_slack": True,
    "enforce_p_lims": False, "enforce_q_lims": False, "init": "dc", "init_vm_pu": "flat", "init_va_degree": "dc",
    "init_results": False, "lightsim2grid": False, "max_iteration": 40, "mode": "dc", "neglect_open_switch_branches":
    True, "numba": False, "only_v_results": False, "permc_spec": "COLAMD", "recycle": None, "run_control": True,
    "switch_rx_ratio": 0.5, "tdpf": True, "tdpf_delay_s": 60.0, "tdpf_update_r_theta": False, "tolerance_mva": 1e-9,
    "trafo3w_losses": "star", "trafo_loading": "power", "trafo_model": "pi", "use_umfpack": False, "v_debug": True,
    "voltage_depend_loads": False, "ac": False, "copy_constraints_to_ppc": True, "no_such_option": 1,
}  # fmt: skip


class Finding(NamedTuple):
    """What becomes of one column or option: ``obeyed``, ``refused``, ``without effect``, or ``differs``."""

    table: str
    name: str
    verdict: str
    note: str = ""


def every_element() -> Any:
    """A net with every element and every kind of branch that a Network can hold, away from all nominal values."""
    import pandapower as pp

    net = pp.create_empty_network(f_hz=50.0, sn_mva=10.0)
    kv = (110, 110, 110, 20, 20, 20, 20, 20, 20, 0.4, 10, 10, 20, 110, 110)
    bus = [pp.create_bus(net, v, name=f"b{k}") for k, v in enumerate(kv)]
    line = {"r_ohm_per_km": 0.12, "x_ohm_per_km": 0.35, "c_nf_per_km": 150.0, "g_us_per_km": 1.5, "max_i_ka": 0.4}
    pp.create_ext_grid(net, bus[0], 1.02, va_degree=7.0)
    pp.create_ext_grid(net, bus[13], 1.015, va_degree=6.5)
    for ends, km in (((0, 1), 20.0), ((1, 2), 15.0), ((0, 2), 18.0), ((3, 4), 3.0), ((4, 5), 2.0), ((3, 5), 4.0),
                     ((5, 6), 1.0), ((6, 12), 2.0), ((3, 12), 2.5), ((10, 11), 1.0), ((6, 8), 3.0), ((0, 13), 25.0),
                     ((2, 14), 10.0)):  # fmt: skip
        pp.create_line_from_parameters(net, *(bus[k] for k in ends), km, df=0.9, **line)
    net.line["temperature_degree_celsius"], net.line["alpha"] = 65.0, 0.0039
    data = {"vk_percent": 11.0, "vkr_percent": 0.6, "pfe_kw": 30.0, "i0_percent": 0.3}
    pp.create_transformer_from_parameters(
        net, bus[1], bus[3], sn_mva=25.0, vn_hv_kv=112.0, vn_lv_kv=21.0, shift_degree=30.0, tap_side="hv",
        tap_neutral=0, tap_pos=2, tap_min=-9, tap_max=9, tap_step_percent=1.5, tap_changer_type="Ratio", df=0.95,
        **data,
    )  # fmt: skip
    pp.create_transformer_from_parameters(
        net, bus[6], bus[9], sn_mva=0.63, vn_hv_kv=20.0, vn_lv_kv=0.41, shift_degree=0.0, tap_side="lv",
        tap_neutral=0, tap_pos=-1, tap_min=-2, tap_max=2, tap_step_percent=2.5, tap_changer_type="Ratio",
        vk_percent=6.0, vkr_percent=1.2, pfe_kw=1.2, i0_percent=0.3,
    )  # fmt: skip
    pp.create_transformer_from_parameters(
        net, bus[12], bus[11], sn_mva=5.0, vn_hv_kv=20.0, vn_lv_kv=10.2, shift_degree=120.0, **data
    )
    net.trafo["leakage_resistance_ratio_hv"], net.trafo["leakage_reactance_ratio_hv"] = 0.5, 0.5
    pp.create_transformer3w_from_parameters(
        net, bus[1], bus[3], bus[10], vn_hv_kv=113.0, vn_mv_kv=20.6, vn_lv_kv=10.4, sn_hv_mva=40.0, sn_mv_mva=25.0,
        sn_lv_mva=15.0, vk_hv_percent=11.0, vk_mv_percent=12.0, vk_lv_percent=9.0, vkr_hv_percent=0.4,
        vkr_mv_percent=0.5, vkr_lv_percent=0.3, pfe_kw=60.0, i0_percent=0.4, shift_mv_degree=30.0,
        shift_lv_degree=150.0, tap_side="mv", tap_neutral=0, tap_pos=2, tap_min=-8, tap_max=8, tap_step_percent=1.2,
        tap_step_degree=0.0, tap_changer_type="Ratio",
    )  # fmt: skip
    pp.create_impedance(
        net, bus[4], bus[12], rft_pu=0.02, xft_pu=0.05, sn_mva=5.0, gf_pu=1e-4, bf_pu=2e-3, gt_pu=3e-4, bt_pu=1e-3
    )
    pp.create_switch(net, bus[5], bus[7], et="b", z_ohm=0.3, closed=True)
    pp.create_switch(net, bus[7], bus[8], et="b", closed=True)
    pp.create_switch(net, bus[3], 5, et="l", closed=False)
    pp.create_load(net, bus[4], 3.0, 1.0, const_z_p_percent=30.0, const_i_p_percent=20.0, const_z_q_percent=10.0,
                   const_i_q_percent=40.0, scaling=0.9)  # fmt: skip
    pp.create_load(net, bus[11], 4.0, 1.5)
    pp.create_load(net, bus[9], 0.3, 0.1)
    pp.create_sgen(net, bus[5], 0.9, 0.05, scaling=0.8, min_p_mw=0.0, max_p_mw=1.0, min_q_mvar=-0.1, max_q_mvar=0.1)
    pp.create_sgen(net, bus[5], 0.6, 0.2, min_p_mw=0.0, max_p_mw=0.5, min_q_mvar=-0.1, max_q_mvar=0.1)  # at limits
    pp.create_storage(net, bus[8], 0.4, max_e_mwh=1.0, q_mvar=0.1, scaling=0.9)
    pp.create_motor(net, bus[6], pn_mech_mw=0.2, cos_phi=0.86, efficiency_percent=95.0, loading_percent=80.0)
    pp.create_asymmetric_load(net, bus[9], 0.01, 0.02, 0.03, 0.004, 0.005, 0.006, scaling=0.9)
    pp.create_asymmetric_sgen(net, bus[9], 0.02, 0.01, 0.02, 0.001, 0.002, 0.003, scaling=0.9)
    pp.create_ward(net, bus[12], ps_mw=0.4, qs_mvar=0.1, pz_mw=0.3, qz_mvar=0.2)
    pp.create_xward(net, bus[12], ps_mw=1.0, qs_mvar=0.2, pz_mw=0.3, qz_mvar=0.1, r_ohm=6.0, x_ohm=40.0, vm_pu=1.01)
    pp.create_gen(net, bus[14], 10.0, vm_pu=1.015, min_q_mvar=-60.0, max_q_mvar=60.0, min_p_mw=0.0, max_p_mw=11.0,
                  scaling=0.95)  # fmt: skip
    pp.create_dcline(net, bus[1], bus[2], p_mw=3.0, loss_percent=1.5, loss_mw=0.1, vm_from_pu=1.02, vm_to_pu=1.02,
                     min_q_from_mvar=-90.0, max_q_from_mvar=90.0, min_q_to_mvar=-90.0, max_q_to_mvar=90.0)  # fmt: skip
    pp.create_shunt(net, bus[6], q_mvar=-0.3, p_mw=0.01, vn_kv=20.5, step=2, max_step=4)
    net["q_capability_characteristic"] = pd.DataFrame()
    pp.set_user_pf_options(net, enforce_q_lims=True, enforce_p_lims=True, consider_line_temperature=True)
    return net


def columns_read() -> set[tuple[str, str]]:
    """Columns of element tables that ``runpp`` asks for, whether or not they are there, with options that matter."""
    read: set[tuple[str, str]] = set()
    get, has, method = pd.DataFrame.__getitem__, pd.DataFrame.__contains__, pd.DataFrame.get
    for options in ({}, {"trafo3w_losses": "star"}):
        net = every_element()
        net.user_pf_options.update(options)
        names = {id(net[table]): table for table in TABLES}

        def note(frame: Any, key: Any, names: dict[int, str] = names) -> None:
            table = names.get(id(frame))
            for column in [key] if isinstance(key, str) else key if isinstance(key, list) else []:
                if table is not None and isinstance(column, str):
                    read.add((table, column))

        def getitem(frame: Any, key: Any, note: Any = note) -> Any:
            note(frame, key)
            return get(frame, key)

        def contains(frame: Any, key: Any, note: Any = note) -> bool:
            note(frame, key)
            return has(frame, key)

        def get_or(frame: Any, key: Any, default: Any = None, note: Any = note) -> Any:
            note(frame, key)
            return method(frame, key, default)

        pd.DataFrame.__getitem__, pd.DataFrame.__contains__, pd.DataFrame.get = getitem, contains, get_or
        try:
            solution(net)
        finally:
            pd.DataFrame.__getitem__, pd.DataFrame.__contains__, pd.DataFrame.get = get, has, method
    return read


def solution(net: Any) -> np.ndarray | None:
    """Voltages [pu] and loadings [%] that ``runpp`` finds, ``None`` where it refuses or finds none."""
    import pandapower as pp

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pp.runpp(net, numba=False, tolerance_mva=1e-9, max_iteration=40)
    except Exception:  # whatever a changed table leads to
        return None
    bus = net.res_bus[net.bus.in_service.astype(bool)]
    v = (bus.vm_pu * np.exp(1j * np.deg2rad(bus.va_degree - net.res_bus.va_degree[_source(net)]))).to_numpy()
    loading = [net[f"res_{table}"].loading_percent.fillna(0.0).to_numpy() for table in ("line", "trafo", "trafo3w")]
    return np.concatenate([v.real, v.imag, np.concatenate(loading) / SAME_PERCENT * SAME_PU])


def ours(net: Any) -> np.ndarray | None:
    """The same of the converted network; ``None`` where the power flow finds none.

    Raises
    ------
    PowerGridError
        If the conversion refuses the net.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = Network.from_pandapower(net)
        found = network.power_flow(method="newton", tol_pu=1e-11)
    if not found.converged:
        return None
    count = int(net.bus.in_service.sum())
    angle = found.bus.va_degree[network.source_bus]
    v = (found.bus.v_pu * np.exp(1j * np.deg2rad(found.bus.va_degree - angle))).to_numpy()[:count]
    percent, kind = found.branch.loading_percent.fillna(0.0).to_numpy(), np.array(network.branches.kind)
    wound = percent[kind == "transformer"]
    arms = [wound[len(net.trafo) :].max(initial=0.0)] * len(net.trafo3w)
    loading = np.concatenate([percent[kind == "line"], wound[: len(net.trafo)], arms])
    return np.concatenate([v.real, v.imag, loading / SAME_PERCENT * SAME_PU])


def _source(net: Any) -> Any:
    return net.ext_grid.bus[net.ext_grid.in_service.astype(bool)].iloc[0]


def verdict(table: str, name: str, changed: Any, before: np.ndarray) -> Finding:
    """Compare both solutions of a changed net with each other and with the one before the change."""
    theirs = solution(copy.deepcopy(changed))
    try:
        mine = ours(changed)
    except PowerGridError as error:
        return Finding(table, name, "refused", str(error))
    if theirs is None:
        return Finding(table, name, "runpp refuses")
    if mine is None or len(mine) != len(theirs):
        return Finding(table, name, "differs", "no solution, or one of other buses")
    apart = np.abs(mine - theirs)[: 2 * int(changed.bus.in_service.sum()) if (table, name) in VOLTAGES_ONLY else None]
    if apart.max() > SAME_PU:
        return Finding(table, name, "differs", f"{apart.max():.1e} at place {apart.argmax()}")
    moved = len(theirs) != len(before) or np.abs(theirs - before).max() > MOVED_PU
    return Finding(table, name, "obeyed" if moved else "without effect")


def change(net: Any, table: str, column: str) -> Any:
    """The net with another value in the first row of a column."""
    changed = copy.deepcopy(net)
    frame = changed[table]
    old = frame[column].iloc[ROW.get((table, column), 0)] if column in frame else None
    if (table, column) in OTHER:
        new = OTHER[table, column]
    elif isinstance(old, bool | np.bool_):
        new = not old
    elif isinstance(old, str):
        new = old + " changed"
    elif pd.isna(old):
        new = 1.0
    elif column.startswith("vm_"):
        new = old + 0.004
    else:
        new = old + 1 if isinstance(old, int | np.integer) else old * 1.07 + 0.013
    empty = False if isinstance(new, bool) else None if isinstance(new, str) else np.nan
    values = list(frame[column]) if column in frame else [empty] * len(frame)
    values[ROW.get((table, column), 0)] = new
    kept = frame[column].dtype if column in frame and frame[column].dtype.kind in "biuf" else None
    frame[column] = pd.Series(values, index=frame.index, dtype=kept)
    return changed


def columns() -> Iterator[Finding]:
    """Every column that is there, or that is read."""
    net = every_element()
    before = solution(copy.deepcopy(net))
    assert before is not None, "runpp solves the net"
    there = {(table, column) for table in TABLES for column in net[table].columns}
    for table, column in sorted(there | columns_read(), key=lambda item: (TABLES.index(item[0]), item[1])):
        yield verdict(table, column, change(net, table, column), before)


def options() -> Iterator[Finding]:
    """Every option of ``user_pf_options``."""
    net = every_element()
    before = solution(copy.deepcopy(net))
    assert before is not None, "runpp solves the net"
    for name, value in OPTIONS.items():
        changed = copy.deepcopy(net)
        changed.user_pf_options[name] = value
        yield verdict("user_pf_options", name, changed, before)


def markdown(found: list[Finding]) -> Iterator[str]:
    """A table with the columns of each table by what becomes of them."""
    yield from ("| table | columns | |", "|---|---|---|")
    for table in dict.fromkeys(finding.table for finding in found):
        here = [finding for finding in found if finding.table == table]
        for verdict_ in sorted({finding.verdict for finding in here}):
            names = ", ".join(f"`{finding.name}`" for finding in here if finding.verdict == verdict_)
            yield f"| {table} | {names} | {verdict_} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    given = parser.parse_args()
    found = []
    for finding in (item for part in (columns(), options()) for item in part):
        found.append(finding)
        if not given.markdown:
            print(finding, flush=True)
    if given.markdown:
        print(*markdown(found), sep="\n")


if __name__ == "__main__":
    main()
