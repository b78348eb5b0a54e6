"""Every network that ships with pandapower, converted and solved here and by ``pandapower.runpp``.

    python bench/pandapower_networks.py [name ...] [--markdown]

A difference is the largest one of a complex voltage at any bus [pu]: first with generators that hold their voltage at
any cost, as ``runpp`` does by default, then within their reactive limits (``enforce_q_lims=True``). There ``runpp``
never lets a generator take its voltage up again, so that some nets have two answers. ``sorted_from_json`` and
``create_dickert_lv_feeders`` are left out, for they need a file and a net.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from powergrid.core.errors import PowerGridError
from powergrid.networks import Network
from powergrid.powerflow import choose, method

NEEDS_MORE = {"sorted_from_json", "create_dickert_lv_feeders"}
"""Functions that make no net of their own accord."""
TOL_MVA, TOL_PU = 1e-8, 1e-10
SAME_PU, LIMIT_MVAR = 1e-6, 1e-4


class Row(NamedTuple):
    """One line of the table: differences without and with reactive limits, NaN where there is none."""

    name: str
    buses: int
    method: str
    free_pu: float
    limited_pu: float
    note: str


def shipped() -> dict[str, Callable[[], Any]]:
    """The functions of ``pandapower.networks`` that make a net, by name."""
    import pandapower.networks

    found = {}
    for name, make in sorted(vars(pandapower.networks).items()):
        own = inspect.isfunction(make) and make.__module__.startswith("pandapower.networks")
        if own and not name.startswith("_") and name not in NEEDS_MORE:
            found[name] = make
    return found


def compare(name: str, make: Callable[[], Any]) -> Row:
    """Build, convert and solve one network both ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = make()
        if isinstance(net, list | tuple):
            net = net[0]
        before = copy.deepcopy(net)
        try:
            network = Network.from_pandapower(net, name=name)
            chosen = choose(network).name
        except PowerGridError as error:
            return Row(name, len(net.bus), "-", np.nan, np.nan, f"refused: {error}")
        assert_unaltered(before, net)
        free_pu, note = difference(network, net, chosen, limits=False)
        if not len(network.generators.name):
            return Row(name, len(net.bus), chosen, free_pu, np.nan, note)
        limited_pu, limited_note = difference(network, net, chosen, limits=True)
    notes = [part for part in (note, limited_note and f"with limits {limited_note}") if part]
    if limited_pu > SAME_PU:
        stuck = turned_back(net)
        notes.append(f"runpp leaves {stuck} at a limit they need no more" if stuck else "other generators at limits")
    return Row(name, len(net.bus), chosen, free_pu, limited_pu, "; ".join(notes))


def difference(network: Network, net: Any, chosen: str, *, limits: bool) -> tuple[float, str]:
    """Largest difference of a complex voltage [pu], or why there is none."""
    solver: Any = method(chosen)
    options = {"q_limits": limits} if chosen == "newton" else {}
    flow = solver.solve(solver.plan(network, tol_pu=TOL_PU, **options), network.node_load())
    theirs_converged = solve_by_pandapower(net, limits=limits)
    if not (flow.converged and theirs_converged):
        both = not (flow.converged or theirs_converged)
        alone = "runpp finds none" if flow.converged else "only runpp finds one"
        return np.nan, f"solution: {'neither finds one' if both else alone}"
    active = net.bus.in_service.to_numpy(bool)
    theirs = (net.res_bus.vm_pu * np.exp(1j * np.deg2rad(net.res_bus.va_degree))).to_numpy()[active]
    ours = (flow.v_re + 1j * flow.v_im)[: active.sum()]
    source = network.source_bus  # angles count from it
    turn = np.exp(1j * (np.angle(ours[source]) - np.angle(theirs[source])))
    return float(np.max(np.abs(theirs * turn - ours))), ""


def solve_by_pandapower(net: Any, *, limits: bool) -> bool:
    """Solve a net in place from the first start that converges; whether any does."""
    import pandapower

    options = {"calculate_voltage_angles": True, "tolerance_mva": TOL_MVA, "max_iteration": 50}
    for init in ("auto", "dc", "flat"):
        try:
            pandapower.runpp(net, init=init, enforce_q_lims=limits, **options)
        except pandapower.LoadflowNotConverged:
            continue
        return True
    return False


def turned_back(net: Any) -> int:
    """Generators that a solved net holds at a reactive limit although their voltage lies beyond the set point."""
    q, v, gen = net.res_gen.q_mvar, net.res_gen.vm_pu, net.gen
    above = (q > gen.max_q_mvar - LIMIT_MVAR) & (v > gen.vm_pu + SAME_PU)
    below = (q < gen.min_q_mvar + LIMIT_MVAR) & (v < gen.vm_pu - SAME_PU)
    return int((above | below).sum())


def assert_unaltered(before: Any, after: Any) -> None:
    """Raise where a table of a net differs from what it was."""
    for table, frame in before.items():
        if hasattr(frame, "columns") and not frame.equals(after[table]):
            raise AssertionError(f"the conversion altered net.{table}")


def rows(names: list[str]) -> Iterator[Row]:
    """The table's lines, of the networks named or of all."""
    for name, make in shipped().items():
        if not names or name in names:
            yield compare(name, make)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="functions of pandapower.networks; all by default")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    given = parser.parse_args()
    layout = "| {} | {} | {} | {} | {} | {} |" if given.markdown else "{:<44} {:>6} {:<10} {:>9} {:>9} {}"
    print(layout.format("network", "buses", "method", "dv [pu]", "limited", "").rstrip())
    if given.markdown:
        print("|---|---:|---|---:|---:|---|")
    for row in rows(given.names):
        shown = ["-" if np.isnan(value) else f"{value:.0e}" for value in (row.free_pu, row.limited_pu)]
        print(layout.format(row.name, row.buses, row.method, *shown, row.note).rstrip(), flush=True)


if __name__ == "__main__":
    main()
