"""Elements at the buses of a pandapower net: loads, generation and storage, shunts, generators and sources.

A ward is a load and a shunt; an extended ward has a generator without active power behind an impedance besides; a DC
line is one generator at either end, as ``runpp`` takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from powergrid.networks.pandapower_options import Options, PandapowerNet
from powergrid.networks.pandapower_tables import CONSUMES, GENERATES, WARDS, fed_in, flag, free_name, unique_names
from powergrid.networks.tables import BASE_MVA, Generators, Loads, Shunts, Sources, StaticGenerators

if TYPE_CHECKING:
    import pandas as pd

Position = Mapping[object, int]
"""Index of each bus in service, by its pandapower index."""


class Demand(NamedTuple):
    """Elements that draw, and elements that feed in, a given power."""

    loads: Loads
    static_generators: StaticGenerators


class _Row(NamedTuple):
    """One element that draws a given power; `kind` is that of a static generator, ``""`` for a load."""

    name: str
    kind: str
    bus: int
    p_mw: float
    q_mvar: float
    shares: tuple[float, ...]


def numbered(names: list[str]) -> tuple[str, ...]:
    """Names made unique across tables by a number."""
    taken: set[str] = set()
    for k, name in enumerate(names):
        names[k] = free_name(name, taken)
        taken.add(names[k])
    return tuple(names)


def demand(pp_net: PandapowerNet, position: Position, options: Options) -> Demand:
    """Elements of given power: loads, generation and storage.

    Static generators and storages are what they are whatever the sign of their power. Of all other tables, what feeds
    in and does not follow its voltage is generation, too.
    """
    rows: list[_Row] = []
    for table in (*CONSUMES, "motor", *WARDS):
        frame = pp_net[table]
        p_mw, q_mvar = _powers(table, frame, options)
        shares = [
            _share(frame, letter, axis) * options.voltage_depend_loads if table == "load" else np.zeros(len(frame))
            for letter in "iz"
            for axis in "pq"
        ]
        own = unique_names(frame, f"{table}_")
        for k in np.flatnonzero(fed_in(frame, position)):
            row_shares = tuple(float(share[k]) for share in shares)
            kind = GENERATES.get(table, "generator" if p_mw[k] < 0 and not any(row_shares) else "")
            rows.append(_Row(own[k], kind, position[frame.bus.iat[k]], p_mw[k], q_mvar[k], row_shares))
    drawing, feeding = [row for row in rows if not row.kind], [row for row in rows if row.kind]
    bus, *columns = np.array([row[2:5] + row.shares for row in drawing], float).reshape(-1, 7).T.copy()
    place, p_mw, q_mvar = np.array([row[2:5] for row in feeding], float).reshape(-1, 3).T.copy()
    names = numbered([row.name for row in feeding])
    return Demand(
        Loads(numbered([row.name for row in drawing]), bus.astype(int), *columns),
        StaticGenerators(names, tuple(row.kind for row in feeding), place.astype(int), -p_mw, -q_mvar),
    )


def _powers(table: str, frame: pd.DataFrame, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Power drawn by each row of a table at 1 pu [MW, Mvar]."""
    if table in WARDS:
        return frame["ps_mw"].to_numpy(float), frame["qs_mvar"].to_numpy(float)
    if table == "motor":
        scale = frame["loading_percent"].to_numpy(float) / 100 * frame["scaling"].to_numpy(float)
        p_mw = frame["pn_mech_mw"].to_numpy(float) / frame["efficiency_percent"].to_numpy(float) * 100 * scale
        return p_mw, np.sqrt((p_mw / frame["cos_phi"].to_numpy(float)) ** 2 - p_mw**2)
    scale = frame["scaling"].to_numpy(float) * CONSUMES[table]
    if table == "sgen":
        return tuple(power * scale for power in _clipped(frame, options))  # type: ignore[return-value]
    phases = [""] if not table.startswith("asymmetric") else ["_a", "_b", "_c"]
    p, q = (
        sum((frame[f"{axis}{phase}_{unit}"].to_numpy(float) for phase in phases), np.zeros(len(frame))) * scale
        for axis, unit in (("p", "mw"), ("q", "mvar"))
    )
    return p, q


def _clipped(frame: pd.DataFrame, options: Options) -> list[np.ndarray]:
    """Active and reactive power of generation before its scaling, within their limits where these are enforced."""
    return [
        np.fmin(np.fmax(frame[name].to_numpy(float), _column(frame, f"min_{name}")), _column(frame, f"max_{name}"))
        if enforced
        else frame[name].to_numpy(float)
        for name, enforced in (("p_mw", options.enforce_p_lims), ("q_mvar", bool(options.enforce_q_lims)))
    ]


def _share(frame: pd.DataFrame, letter: str, axis: str) -> np.ndarray:
    """Voltage-dependent share of a power [1]; older pandapower had one column for both axes."""
    for column in (f"const_{letter}_{axis}_percent", f"const_{letter}_percent"):
        if column in frame:
            return frame[column].astype(float).fillna(0.0).to_numpy() / 100
    return np.zeros(len(frame))


def shunts(pp_net: PandapowerNet, position: Position, beside: list[tuple[str, int, complex]]) -> Shunts:
    """Shunts, the admittances of wards, and those that branches leave `beside` them (name, bus, admittance in pu)."""
    names: list[str] = []
    rows: list[tuple[float, ...]] = []
    for table in ("shunt", *WARDS):
        frame = pp_net[table]
        own, scale, column = unique_names(frame, f"{table}_"), np.ones(len(frame)), ("pz_mw", "qz_mvar")
        if table == "shunt":
            vn_kv = pp_net.bus.vn_kv.reindex(frame.bus).to_numpy(float)
            rated_kv = frame.vn_kv.astype(float).to_numpy()
            scale = frame.step.to_numpy(float) * np.where(np.isnan(rated_kv), 1.0, vn_kv / rated_kv) ** 2
            column = "p_mw", "q_mvar"
        p, q = (frame[name].to_numpy(float) * scale for name in column)
        switchable = flag(frame, "switchable").to_numpy(bool)
        for k in np.flatnonzero(fed_in(frame, position)):
            if table == "shunt" or p[k] or q[k]:
                names.append(own[k])
                rows.append((position[frame.bus.iat[k]], p[k], q[k], switchable[k]))
    for name, bus, y in beside:
        names.append(name)
        rows.append((bus, y.real * BASE_MVA, -y.imag * BASE_MVA, False))
    bus_column, p_mw, q_mvar, may_switch = np.array(rows, float).reshape(-1, 4).T.copy()
    return Shunts(numbered(names), bus_column.astype(int), p_mw, q_mvar, may_switch.astype(bool))


class _Generator(NamedTuple):
    name: str
    bus: int
    p_mw: float
    v_set_pu: float
    q_min_mvar: float
    q_max_mvar: float


def generators(pp_net: PandapowerNet, position: Position, options: Options) -> Generators:
    """Generators, both ends of DC lines, and the voltage behind each extended ward."""
    gen = pp_net.gen
    p_mw = gen.p_mw.to_numpy(float)
    if options.enforce_p_lims:
        p_mw = np.fmin(np.fmax(p_mw, _column(gen, "min_p_mw")), _column(gen, "max_p_mw"))
    p_mw = p_mw * gen.scaling.to_numpy(float)
    rows = [
        _Generator(name, position[bus], p, v, *_limits(low, high))
        for name, bus, p, v, low, high, on in zip(
            unique_names(gen, "gen_"), gen.bus, p_mw, gen.vm_pu, _column(gen, "min_q_mvar"),
            _column(gen, "max_q_mvar"), fed_in(gen, position) & ~gen.slack.eq(True), strict=True,
        )
        if on
    ]  # fmt: skip
    rows += _dc_line_ends(pp_net.dcline, position, options)
    for name, index, v in zip(
        unique_names(pp_net.xward, "xward_"), pp_net.xward.index, pp_net.xward.vm_pu, strict=True
    ):
        if ("xward", index) in position:
            rows.append(_Generator(name, position["xward", index], 0.0, float(v), -np.inf, np.inf))
    if options.enforce_q_lims is False:
        rows = [row._replace(q_min_mvar=-np.inf, q_max_mvar=np.inf) for row in rows]
    names, *columns = zip(*rows, strict=True) if rows else ((), *[()] * 5)
    bus, *others = (np.array(column, float) for column in columns)
    return Generators(numbered(list(names)), bus.astype(int), *others)


def _dc_line_ends(dcline: pd.DataFrame, position: Position, options: Options) -> list[_Generator]:
    """A generator at either end; with limits of active power neither carries more than ``max_p_mw``, nor backwards."""
    found = []
    for name, (_, row) in zip(unique_names(dcline, "dcline_"), dcline.iterrows(), strict=True):
        sent = abs(row.p_mw)
        received = sent * (1 - row.loss_percent / 100) - row.loss_mw
        fed = {"from": -sent, "to": received} if row.p_mw > 0 else {"from": received, "to": -sent}
        if options.enforce_p_lims:
            forward = row.p_mw > 0
            most = np.inf if np.isnan(row.max_p_mw) else float(row.max_p_mw)
            fed = {
                end: min(max(p_mw, 0.0), most) if forward == (end == "to") else max(min(p_mw, 0.0), -most)
                for end, p_mw in fed.items()
            }
        for end, p_mw in fed.items():
            if row.in_service and row[f"{end}_bus"] in position:
                limits = _limits(row[f"min_q_{end}_mvar"], row[f"max_q_{end}_mvar"])
                bus = position[row[f"{end}_bus"]]
                found.append(_Generator(f"{name}.{end}", bus, float(p_mw), float(row[f"vm_{end}_pu"]), *limits))
    return found


def _limits(low: float, high: float) -> tuple[float, float]:
    """Reactive limits, infinite where the table holds none."""
    return (-np.inf if low != low else float(low)), (np.inf if high != high else float(high))


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(float) if name in frame else np.full(len(frame), np.nan)


def sources(pp_net: PandapowerNet, position: Position, options: Options) -> Sources:
    """External grids and slack generators, angles against the first.

    A slack generator stands at angle 0. Those that repeat the voltage of another at the same bus are left out, for
    together they are one; those that contradict it stay, and are a fault of the network when it is compiled.
    """
    grid, gen = pp_net.ext_grid, pp_net.gen
    rows: list[tuple[str, int, float, float]] = []
    for name, bus, v, angle, on in zip(
        unique_names(grid, "ext_grid_"), grid.bus, grid.vm_pu, grid.va_degree, fed_in(grid, position), strict=True
    ):
        if on:
            rows.append((name, position[bus], float(v), float(angle)))
    slack = fed_in(gen, position) & gen.slack.eq(True)
    for name, bus, v, on in zip(unique_names(gen, "gen_"), gen.bus, gen.vm_pu, slack, strict=True):
        if on:
            rows.append((name, position[bus], float(v), 0.0))
    first_at = {bus: row for row in reversed(rows) for bus in [row[1]]}
    kept = [row for row in rows if first_at[row[1]] is row or first_at[row[1]][2:] != row[2:]]
    names, buses, v_pu, degree = zip(*kept, strict=True)
    angle = np.array(degree, float) * options.calculate_voltage_angles
    return Sources(numbered(list(names)), np.array(buses, int), np.array(v_pu, float), angle - angle[0])
