"""Reading pandapower's tables: names, flags, and which elements a Network cannot hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from powergrid.core.errors import NetworkError

if TYPE_CHECKING:
    import pandas as pd

CONSUMES = {"load": 1.0, "sgen": -1.0, "storage": 1.0, "asymmetric_load": 1.0, "asymmetric_sgen": -1.0}
"""Tables that become loads, with the sign of their power."""

_TABLES = {"bus", "line", "trafo", "impedance", "load", "sgen", "storage", "shunt", "ext_grid"}
_NO_PHYSICS = {"controller"}  # ``runpp`` ignores controllers unless asked


def refuse_unsupported(pp_net: Any) -> None:
    """Raise a NetworkError that names every element in service which a Network cannot hold."""
    found: list[str] = []
    for table, frame in pp_net.items():
        if table.startswith(("_", "res_")) or not hasattr(frame, "columns") or "in_service" not in frame.columns:
            continue
        if table not in _TABLES | CONSUMES.keys() | _NO_PHYSICS:
            found += _describe(table, frame)
    load, trafo, shunt, impedance = pp_net.load, pp_net.trafo, pp_net.shunt, pp_net.impedance
    dependent = [column for column in load.columns if column.startswith(("const_z", "const_i"))]
    found += _describe("load", load[(load[dependent].fillna(0.0) != 0).any(axis=1)], "voltage-dependent ")
    found += _describe("trafo", trafo[flag(trafo, "tap_dependency_table")], "tap table of ")
    found += _describe("trafo", trafo[flag(trafo, "tap_phase_shifter")], "phase shifter of an older pandapower ")
    found += _describe("shunt", shunt[flag(shunt, "step_dependency_table")], "step table of ")
    uneven = (impedance.rft_pu != impedance.rtf_pu) | (impedance.xft_pu != impedance.xtf_pu)
    found += _describe("impedance", impedance[uneven], "direction-dependent ")
    sources = _describe("ext_grid", pp_net.ext_grid)
    if len(sources) != 1:
        found += [f"{len(sources)} external grids instead of one", *sources]
    elif not pp_net.bus.in_service[pp_net.ext_grid.bus[pp_net.ext_grid.in_service.astype(bool)]].all():
        found += [f"{sources[0]} at a bus out of service"]
    if found:
        raise NetworkError(
            f'net "{pp_net.name}" holds what a Network cannot represent: {"; ".join(found)}. '
            "Replace these elements or take them out of service, then convert again."
        )


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
    """Name of each row: its own, with the index added where repeated, ``<prefix><index>`` where missing."""
    own = [None if is_empty(name) else str(name) for name in frame.get("name", [None] * len(frame))]
    count = Counter(own)
    return [
        f"{prefix}{index}" if name is None else name if count[name] == 1 else f"{name} ({index})"
        for index, name in zip(frame.index, own, strict=True)
    ]


def is_empty(value: object) -> bool:
    """True for None, NaN and the empty text."""
    return value is None or value != value or str(value) == ""
