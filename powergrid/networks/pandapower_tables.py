"""Reading pandapower's tables: names, flags, and which elements a Network cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import NetworkError

if TYPE_CHECKING:
    import pandas as pd

CONSUMES = {"load": 1.0, "sgen": -1.0, "storage": 1.0, "asymmetric_load": 1.0, "asymmetric_sgen": -1.0}
"""Tables that become loads, with the sign of their power."""

WARDS = ("ward", "xward")
"""Tables of equivalents of neighbouring networks: each row is a load and a shunt, and in ``xward`` a generator."""

_BRANCHES = {"bus", "line", "trafo", "trafo3w", "impedance", "dcline"}
_AT_BUSES = {"motor", *WARDS, "shunt", "gen", "ext_grid"}
_NO_PHYSICS = {"controller"}  # ``runpp`` ignores controllers unless asked


def refuse_unsupported(pp_net: Any) -> None:
    """Raise a NetworkError that names every element in service which a Network cannot hold."""
    found: list[str] = []
    for table, frame in pp_net.items():
        if table.startswith(("_", "res_")) or not hasattr(frame, "columns") or "in_service" not in frame.columns:
            continue
        if table not in _BRANCHES | _AT_BUSES | CONSUMES.keys() | _NO_PHYSICS:
            found += _describe(table, frame)
    load, shunt, impedance = pp_net.load, pp_net.shunt, pp_net.impedance
    for table in ("trafo", "trafo3w"):
        frame = pp_net[table]
        found += _describe(table, frame[flag(frame, "tap_dependency_table")], "tap table of ")
        found += _describe(table, frame[flag(frame, "tap_phase_shifter")], "phase shifter of an older pandapower ")
    if "loss_side" in pp_net.trafo3w:
        found += _describe(
            "trafo3w", pp_net.trafo3w[pp_net.trafo3w.loss_side == "star"], "losses at the star point of "
        )
    found += _describe("load", load[_more_than_whole(load)], "shares of constant current and impedance above 100 % in ")
    found += _describe("shunt", shunt[flag(shunt, "step_dependency_table")], "step table of ")
    uneven = (impedance.rft_pu != impedance.rtf_pu) | (impedance.xft_pu != impedance.xtf_pu)
    found += _describe("impedance", impedance[uneven], "direction-dependent ")
    found += _source_faults(pp_net)
    if found:
        raise NetworkError(
            f'net "{pp_net.name}" holds what a Network cannot represent: {"; ".join(found)}. '
            "Replace these elements or take them out of service, then convert again."
        )


def _more_than_whole(load: pd.DataFrame) -> pd.Series:
    """True where the voltage-dependent shares of a load exceed the whole, which ``runpp`` refuses, too."""
    over = load.in_service.astype(bool) & False
    for axis in "pq":
        columns = [f"const_{letter}_{axis}_percent" for letter in "iz"]
        over |= load[[column for column in columns if column in load]].sum(axis=1) > 100 + 1e-9
    return over


def _source_faults(pp_net: Any) -> list[str]:
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
    return frame.in_service.to_numpy(bool) & np.array([bus in position for bus in frame.bus], bool)


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
