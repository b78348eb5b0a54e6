"""Reading pandapower's tables: names, flags, and which elements a Network cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.pandapower_options import Options, PandapowerNet, read_options

if TYPE_CHECKING:
    import pandas as pd

CONSUMES = {"load": 1.0, "sgen": -1.0, "storage": 1.0, "asymmetric_load": 1.0, "asymmetric_sgen": -1.0}
"""Tables of given power, with the sign of what they draw."""

GENERATES = {"sgen": "generator", "asymmetric_sgen": "generator", "storage": "storage"}
"""Those of them that become static generators, and of which kind."""

WARDS = ("ward", "xward")
"""Tables of equivalents of neighbouring networks: each row is a load and a shunt, and in ``xward`` a generator."""

_BRANCHES = {"bus", "line", "trafo", "trafo3w", "impedance", "dcline"}
_AT_BUSES = {"motor", *WARDS, "shunt", "gen", "ext_grid"}
_NO_PHYSICS = {"controller"}  # ``runpp`` ignores controllers by default


def refuse_unsupported(pp_net: PandapowerNet) -> Options:
    """Raise a NetworkError that names every element in service and every option which a Network cannot hold.

    Returns
    -------
    Options
        The options that the conversion obeys.
    """
    options, found = read_options(pp_net)
    for table, frame in pp_net.items():
        if table.startswith(("_", "res_")) or not hasattr(frame, "columns") or "in_service" not in frame.columns:
            continue
        if table not in _BRANCHES | _AT_BUSES | CONSUMES.keys() | _NO_PHYSICS:
            found += _describe(table, frame)
    load, shunt, impedance = pp_net.load, pp_net.shunt, pp_net.impedance
    for table in ("trafo", "trafo3w"):
        found += _tap_faults(table, pp_net[table])
    if "loss_side" in pp_net.trafo3w:
        found += _describe(
            "trafo3w", pp_net.trafo3w[pp_net.trafo3w.loss_side == "star"], "losses at the star point of "
        )
    found += _describe("load", load[_more_than_whole(load)], "shares of constant current and impedance above 100 % in ")
    found += _describe("shunt", shunt[flag(shunt, "step_dependency_table")], "step table of ")
    uneven = (impedance.rft_pu != impedance.rtf_pu) | (impedance.xft_pu != impedance.xtf_pu)
    found += _describe("impedance", impedance[uneven], "direction-dependent ")
    found += _curve_faults(pp_net, options)
    found += _fused_levels(pp_net)
    if options.consider_line_temperature and "temperature_degree_celsius" not in pp_net.line:
        found.append("consider_line_temperature without a column temperature_degree_celsius in line")
    found += _unknown_buses(pp_net)
    found += _source_faults(pp_net)
    if found:
        raise NetworkError(
            f'net "{pp_net.name}" holds what a Network cannot represent: {"; ".join(found)}. '
            "Replace these elements or take them out of service, change these options, then convert again."
        )
    return options


def _tap_faults(table: str, frame: pd.DataFrame) -> list[str]:
    """Tap changers of which more than a ratio and an angle depends on the position, or that contradict themselves."""
    found = _describe(table, frame[flag(frame, "tap_dependency_table")], "tap table of ")
    if "tap_dependency_table" not in frame:  # else runpp looks at that column alone
        found += _describe(table, frame[flag(frame, "tap_dependent_impedance")], "tap-dependent impedance of ")
    if "tap_phase_shifter" in frame and "tap_changer_type" not in frame and table == "trafo3w":
        found += _describe(table, frame, "tap changer in the form of an older pandapower of ")
    for changer in ("tap", "tap2"):
        kind = f"{changer}_changer_type"
        if kind in frame:
            steps = [frame.get(f"{changer}_step_{unit}", frame.in_service * 0.0) for unit in ("percent", "degree")]
            percent, degree = (step.astype(float).fillna(0.0) != 0 for step in steps)
            both = percent & degree
            what = "ideal phase shifter with both a step in percent and one in degrees of "
            found += _describe(table, frame[frame[kind].eq("Ideal") & both], what)
    return found


def _curve_faults(pp_net: PandapowerNet, options: Options) -> list[str]:
    """Reactive limits that follow the active power."""
    if "q_capability_characteristic" not in pp_net or options.enforce_q_lims is False:
        return []
    what = "reactive capability curve of "
    found = _describe("gen", pp_net.gen[flag(pp_net.gen, "reactive_capability_curve")], what)
    if options.enforce_q_lims:
        found += _describe("sgen", pp_net.sgen[flag(pp_net.sgen, "reactive_capability_curve")], what)
    return found


def _unknown_buses(pp_net: PandapowerNet) -> list[str]:
    """Elements in service at a bus that the net does not have."""
    known, found = pp_net.bus.index, []
    for table in (*_BRANCHES - {"bus"}, *_AT_BUSES, *CONSUMES):
        frame = pp_net[table]
        ends = frame[[column for column in frame if column == "bus" or str(column).endswith("_bus")]]
        lost = frame[~ends.isin(known).all(axis=1)]
        found += _describe(table, lost, "a bus that the net does not have at ")
    return sorted(found)


def _fused_levels(pp_net: PandapowerNet) -> list[str]:
    """Closed switches without impedance between buses of different nominal voltage, of which one would hold."""
    switch, vn_kv = pp_net.switch, pp_net.bus.vn_kv
    fused = switch[switch.closed.astype(bool) & (switch.et == "b") & ~(switch.z_ohm > 0)]
    ends = (vn_kv.reindex(fused[end]).to_numpy(float) for end in ("bus", "element"))
    return [
        f"switch {index} between buses of {first:g} and {second:g} kV"
        for index, first, second in zip(fused.index, *ends, strict=True)
        if abs(first - second) > 1e-9 * max(first, second)
    ]


def _more_than_whole(load: pd.DataFrame) -> pd.Series:
    """True where the voltage-dependent shares of a load exceed the whole, which ``runpp`` refuses, too."""
    over = load.in_service.astype(bool) & False
    for axis in "pq":
        columns = [f"const_{letter}_{axis}_percent" for letter in "iz"]
        over |= load[[column for column in columns if column in load]].sum(axis=1) > 100 + 1e-9
    return over


def _source_faults(pp_net: PandapowerNet) -> list[str]:
    """Why no external grid, nor a generator that acts as one, holds the net."""
    alive = {index: k for k, index in enumerate(pp_net.bus.index[pp_net.bus.in_service.astype(bool)])}
    grid, gen = pp_net.ext_grid, pp_net.gen
    slack = gen[gen.slack.eq(True)]
    if fed_in(grid, alive).any() or fed_in(slack, alive).any():
        return []
    idle = [*_describe("ext_grid", grid), *_describe("gen", slack)]
    return [f"{', '.join(idle)} at a bus out of service, and no other source"] if idle else ["no external grid"]


def fed_in(frame: pd.DataFrame, position: Mapping[object, int]) -> np.ndarray:
    """True for rows in service at a bus in service."""
    live: np.ndarray = frame.in_service.to_numpy(bool) & np.array([bus in position for bus in frame.bus], bool)
    return live


def _describe(table: str, frame: pd.DataFrame, what: str = "") -> list[str]:
    """``gen 3 "West"`` for each row in service."""
    names = frame["name"] if "name" in frame.columns else [None] * len(frame)
    active = frame.in_service.astype(bool)
    return [
        f"{what}{table} {index}" + ("" if is_empty(name) else f' "{name}"')
        for index, name, on in zip(frame.index, names, active, strict=True)
        if on
    ]


def flag(frame: pd.DataFrame, column: str) -> pd.Series:
    """Truth of an optional column, row by row."""
    missing = column not in frame.columns
    return frame.in_service.astype(bool) & False if missing else frame[column].eq(True)


def unique_names(frame: pd.DataFrame, prefix: str) -> list[str]:
    """Name of each row: its own, with the index added where repeated, ``<prefix><index>`` where missing.

    Where another row already has that name, a number follows.
    """
    own = [None if is_empty(name) else str(name) for name in frame.get("name", [None] * len(frame))]
    count = Counter(own)
    taken = {name for name in own if name is not None}
    found = []
    for index, name in zip(frame.index, own, strict=True):
        if name is None or count[name] > 1:
            name = free_name(f"{prefix}{index}" if name is None else f"{name} ({index})", taken)
            taken.add(name)
        found.append(name)
    return found


def free_name(name: str, taken: Container[str]) -> str:
    """The name, or ``"<name> #2"`` and so on where it is taken."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} #{number}"
    return found


def is_empty(value: object) -> bool:
    """True for None, NaN and the empty text."""
    return value is None or value != value or str(value) == ""
