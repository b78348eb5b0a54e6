"""pandapower net -> Network, equal to ``runpp`` with its default options."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from powergrid.networks.network import BASE_MVA, Branches, Buses, Loads, Network, Regulators, Shunts
from powergrid.networks.pandapower_tables import CONSUMES, flag, refuse_unsupported, unique_names
from powergrid.networks.transformers import PiSection, pi_section

if TYPE_CHECKING:
    import pandas as pd

_SWITCH_R_OVER_X = 2.0  # pandapower's default ``switch_rx_ratio``


def from_pandapower(pp_net: Any, *, name: str | None = None) -> Network:
    """Convert a pandapower net; the net itself is never altered.

    Static generators, storages and asymmetric loads become loads (generation negative, phases summed, as
    ``runpp`` does). A line or transformer with an open switch at one end keeps its charging: it ends at an
    extra bus ``"<branch>@<bus>"`` beside an open switch. Closed line and transformer switches vanish, for the
    branch itself may be opened. Elements out of service are left out, except branches, which stay as open
    branches. Voltage angles count from the source.

    Transformers are fixed at their present tap. Those with a number in the column ``regulator_step_pu``
    become regulators (``regulator_tap`` and the other columns of :class:`~powergrid.networks.Regulators`),
    as :func:`to_pandapower` writes them.

    Parameters
    ----------
    pp_net
        A pandapower net (3.x), or the path of one saved with ``pandapower.to_json``.
    name
        Name of the network; by default the net's own.

    Returns
    -------
    Network
        Branches in the order lines, transformers, impedances, switches, cut ends.

    Raises
    ------
    NetworkError
        If something in service cannot be represented: voltage-controlled generators, three-winding
        transformers, DC lines, wards, voltage-dependent loads, tap tables, several external grids and the
        like; every element is named.
    """
    if isinstance(pp_net, str | os.PathLike):
        import pandapower

        pp_net = pandapower.from_json(os.fspath(pp_net))
    refuse_unsupported(pp_net)
    rows = _Rows(pp_net)
    _add_lines(rows, pp_net)
    _add_transformers(rows, pp_net)
    _add_impedances(rows, pp_net)
    _add_bus_switches(rows, pp_net)
    rows.add_cut_ends()
    source = pp_net.ext_grid[pp_net.ext_grid.in_service.astype(bool)].iloc[0]
    return Network(
        name=name or str(pp_net.name or "pandapower"),
        buses=rows.buses(pp_net),
        branches=rows.branches(),
        regulators=_regulators(pp_net, rows),
        loads=_loads(pp_net, rows.position),
        shunts=_shunts(pp_net, rows),
        source_bus=rows.position[source.bus],
        source_v_pu=float(source.vm_pu),
        f_hz=float(pp_net.f_hz),
        source_note="converted from a pandapower net",
    )


class _Branch(NamedTuple):
    name: str
    kind: str
    from_bus: int
    to_bus: int
    z: complex
    y: complex
    ratio: float
    shift_degree: float
    rating: float
    closed: bool
    row: int = -1  # position in its pandapower table


class _Rows:
    """Buses and branches while they are collected."""

    def __init__(self, pp_net: Any):
        active = pp_net.bus[pp_net.bus.in_service.astype(bool)]
        self.position = {index: k for k, index in enumerate(active.index)}
        self.names = unique_names(active, "")
        self.vn_kv = [float(v) for v in active.vn_kv]
        self.end_shunts: list[tuple[str, int, complex]] = []
        self.collected: list[_Branch] = []
        self._cut_ends: list[_Branch] = []
        self._taken: Counter[str] = Counter()

    def add(self, row: _Branch) -> None:
        """Append a branch; a name already used by another kind of element gets a number."""
        self._taken[row.name] += 1
        count = self._taken[row.name]
        self.collected.append(row if count == 1 else row._replace(name=f"{row.name} #{count}"))

    def dangling_bus(self, branch: str, bus: object, vn_kv: float) -> int:
        """Extra bus at the cut end of a branch, with an open switch to `bus` where that is in service."""
        here = self.position.get(bus)
        label = f"{branch}@{self.names[here] if here is not None else bus}"
        self.names.append(label)
        self.vn_kv.append(vn_kv)
        if here is not None:
            ends = len(self.names) - 1, here
            self._cut_ends.append(_Branch(label, "switch", *ends, 0j, 0j, 1.0, 0.0, np.nan, False))
        return len(self.names) - 1

    def buses(self, pp_net: Any) -> Buses:
        active = pp_net.bus[pp_net.bus.in_service.astype(bool)]
        extra = len(self.names) - len(active)
        xy = np.full((len(self.names), 2), np.nan)
        for k, geo in enumerate(active.get("geo", [])):
            if isinstance(geo, str) and geo:
                xy[k] = _coordinates(geo)
        area = [str(a) if isinstance(a, str) else "" for a in active.get("area", [""] * len(active))]
        return Buses(tuple(self.names), np.array(self.vn_kv), (*area, *[""] * extra), xy[:, 0].copy(), xy[:, 1].copy())

    def add_cut_ends(self) -> None:
        """Append the open switches of cut branches, after everything else."""
        for row in self._cut_ends:
            self.add(row)

    def branches(self) -> Branches:
        columns = list(zip(*self.collected, strict=True)) or [()] * len(_Branch._fields)
        name, kind, from_bus, to_bus, z, y, ratio, shift, rating, closed, _ = columns
        z_pu, y_pu = np.array(z, complex), np.array(y, complex)
        return Branches(
            name, kind, np.array(from_bus, int), np.array(to_bus, int), z_pu.real.copy(), z_pu.imag.copy(),
            y_pu.real.copy(), y_pu.imag.copy(), np.array(ratio, float), np.array(shift, float),
            np.array(rating, float), np.array(closed, bool),
        )  # fmt: skip


def _coordinates(geo: str) -> tuple[float, float]:
    import json

    x, y = json.loads(geo)["coordinates"][:2]
    return float(x), float(y)


def _add_sections(
    rows: _Rows,
    pp_net: Any,
    table: str,
    kinds: list[str],
    names: list[str],
    pi: PiSection,
    rating: np.ndarray,
) -> None:
    """Add the pi sections of one table, cutting the ends that a switch or a dead bus leaves open."""
    frame = pp_net[table]
    ends = frame[["hv_bus", "lv_bus"] if table == "trafo" else ["from_bus", "to_bus"]].to_numpy()
    switch = pp_net.switch
    letter = {"line": "l", "trafo": "t"}.get(table, "")
    mine = switch[(switch.et == letter) & ~switch.closed.astype(bool)]
    opened = set(zip(mine.element, mine.bus, strict=True))
    for k, (index, in_service) in enumerate(zip(frame.index, frame.in_service.astype(bool), strict=True)):
        dead = [bus not in rows.position for bus in ends[k]]
        cut = [gone or (index, bus) in opened for gone, bus in zip(dead, ends[k], strict=True)]
        live = in_service and not all(cut)
        # Only a line reaches into a dead bus and stays charged; pandapower drops anything else that does.
        if all(dead) or (any(dead) and not (live and table == "line")):
            continue
        at = [
            rows.dangling_bus(names[k], bus, float(pp_net.bus.vn_kv[bus])) if live and gone else rows.position[bus]
            for gone, bus in zip(cut, ends[k], strict=True)
        ]
        values = pi.ratio[k], pi.shift_degree[k], float(rating[k])
        rows.add(_Branch(names[k], kinds[k], at[0], at[1], pi.z[k], 2 * pi.y_from[k], *values, live, k))
        uneven = pi.y_to[k] - pi.y_from[k]
        if live and abs(uneven) > 1e-12 * abs(pi.y_from[k]):
            rows.end_shunts.append((f"{names[k]}.shunt", at[1], uneven))


def _add_lines(rows: _Rows, pp_net: Any) -> None:
    line = pp_net.line
    parallel, length_km = line.parallel.to_numpy(float), line.length_km.to_numpy(float)
    z_base_ohm = pp_net.bus.vn_kv.reindex(line.from_bus).to_numpy(float) ** 2 / BASE_MVA
    z_ohm = line.r_ohm_per_km.to_numpy(float) + 1j * line.x_ohm_per_km.to_numpy(float)
    b_s = 2 * np.pi * pp_net.f_hz * line.c_nf_per_km.to_numpy(float) * 1e-9
    half_y = (line.g_us_per_km.to_numpy(float) * 1e-6 + 1j * b_s) * length_km * parallel * z_base_ohm / 2
    z = z_ohm * length_km / parallel / z_base_ohm
    rating_ka = line.max_i_ka.to_numpy(float) * line.df.to_numpy(float) * parallel
    pi = PiSection(z, half_y, half_y, np.ones(len(line)), np.zeros(len(line)))
    _add_sections(rows, pp_net, "line", ["line"] * len(line), unique_names(line, "line_"), pi, rating_ka)


def _add_transformers(rows: _Rows, pp_net: Any) -> None:
    trafo = pp_net.trafo
    vn_kv = pp_net.bus.vn_kv
    pi = pi_section(trafo, vn_kv.reindex(trafo.hv_bus).to_numpy(float), vn_kv.reindex(trafo.lv_bus).to_numpy(float))
    rating_mva = trafo.sn_mva.to_numpy(float) * trafo.df.to_numpy(float) * trafo.parallel.to_numpy(float)
    rating_mva = np.where(flag(trafo, "unrated"), np.nan, rating_mva)
    kinds = ["regulator" if step == step else "transformer" for step in _regulator_column(trafo, "step_pu")]
    _add_sections(rows, pp_net, "trafo", kinds, unique_names(trafo, "trafo_"), pi, rating_mva)


def _add_impedances(rows: _Rows, pp_net: Any) -> None:
    frame = pp_net.impedance
    per_mva = BASE_MVA / frame.sn_mva.to_numpy(float)
    z = (frame.rft_pu.to_numpy(float) + 1j * frame.xft_pu.to_numpy(float)) * per_mva
    y_from, y_to = (
        (frame[f"g{end}_pu"].to_numpy(float) + 1j * frame[f"b{end}_pu"].to_numpy(float)) / per_mva for end in "ft"
    )
    pi = PiSection(z, y_from, y_to, np.ones(len(frame)), np.zeros(len(frame)))
    none = np.full(len(frame), np.nan)
    names = unique_names(frame, "impedance_")
    _add_sections(rows, pp_net, "impedance", ["impedance"] * len(frame), names, pi, none)


def _add_bus_switches(rows: _Rows, pp_net: Any) -> None:
    switch = pp_net.switch[pp_net.switch.et == "b"]
    tangent = 1 / _SWITCH_R_OVER_X
    unit = (1 + 1j * tangent) / abs(1 + 1j * tangent)
    found = []
    for name, row in zip(unique_names(switch, "switch_"), switch.itertuples(), strict=True):
        if row.bus in rows.position and row.element in rows.position:
            z = complex(row.z_ohm * unit * BASE_MVA / pp_net.bus.vn_kv[row.bus] ** 2)
            kind = "impedance" if z else "switch"
            ends = rows.position[row.bus], rows.position[row.element]
            found.append(_Branch(name, kind, *ends, z, 0j, 1.0, 0.0, np.nan, bool(row.closed)))
    for branch in sorted(found, key=lambda branch: branch.kind):
        rows.add(branch)


def _regulator_column(trafo: pd.DataFrame, what: str) -> np.ndarray:
    column = f"regulator_{what}"
    return trafo[column].to_numpy(float) if column in trafo.columns else np.full(len(trafo), np.nan)


def _regulators(pp_net: Any, rows: _Rows) -> Regulators:
    pairs = [(k, row.row) for k, row in enumerate(rows.collected) if row.kind == "regulator"]
    branch, row = np.array(pairs, int).reshape(-1, 2).T
    columns = (_regulator_column(pp_net.trafo, what)[row] for what in Regulators._fields[1:])
    return Regulators(branch.copy(), *columns)


def _loads(pp_net: Any, position: dict[object, int]) -> Loads:
    names: list[str] = []
    rows: list[tuple[int, float, float]] = []
    for table, sign in CONSUMES.items():
        frame = pp_net[table]
        phases = [""] if not table.startswith("asymmetric") else ["_a", "_b", "_c"]
        p_mw = sum(frame[f"p{phase}_mw"].to_numpy(float) for phase in phases) * frame.scaling.to_numpy(float) * sign
        q_mvar = sum(frame[f"q{phase}_mvar"].to_numpy(float) for phase in phases) * frame.scaling.to_numpy(float) * sign
        active = frame.in_service.astype(bool) & frame.bus.isin(position)
        own = unique_names(frame, f"{table}_")
        for k in np.flatnonzero(active):
            names.append(own[k])
            rows.append((position[frame.bus.iat[k]], float(p_mw[k]), float(q_mvar[k])))
    bus, p, q = zip(*rows, strict=True) if rows else ((), (), ())
    return Loads(_numbered(names), np.array(bus, int), np.array(p, float), np.array(q, float))


def _shunts(pp_net: Any, rows: _Rows) -> Shunts:
    frame = pp_net.shunt
    vn_kv = pp_net.bus.vn_kv.reindex(frame.bus).to_numpy(float)
    rated_kv = frame.vn_kv.astype(float).to_numpy()
    scale = frame.step.to_numpy(float) * np.where(np.isnan(rated_kv), 1.0, vn_kv / rated_kv) ** 2
    on = frame.in_service.astype(bool).to_numpy() & frame.bus.isin(rows.position).to_numpy()
    names = [name for name, keep in zip(unique_names(frame, "shunt_"), on, strict=True) if keep]
    ends = np.array([y for _, _, y in rows.end_shunts], complex) * BASE_MVA
    return Shunts(
        _numbered([*names, *(name for name, _, _ in rows.end_shunts)]),
        np.array([rows.position[bus] for bus in frame.bus[on]] + [bus for _, bus, _ in rows.end_shunts], int),
        np.concatenate([(frame.p_mw.to_numpy(float) * scale)[on], ends.real]),
        np.concatenate([(frame.q_mvar.to_numpy(float) * scale)[on], -ends.imag]),
        np.concatenate([flag(frame, "switchable").to_numpy(bool)[on], np.zeros(len(ends), bool)]),
    )


def _numbered(names: list[str]) -> tuple[str, ...]:
    """Names made unique across tables by a number."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return tuple(result)
