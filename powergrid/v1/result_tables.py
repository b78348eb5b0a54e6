"""pandapower's result tables from bus voltages: one new frame a table and solve, as ``runpp`` leaves them.

New frames, because v1 programs keep what they read: an array taken from ``net.res_bus`` must not change at the next
step. A frame over an array that nobody else holds costs 9 us, its columns one by one would cost ten times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from powergrid.networks.network import Network

BUS = pd.Index(["vm_pu", "va_degree", "p_mw", "q_mvar"])
LINE = pd.Index(
    ["p_from_mw", "q_from_mvar", "p_to_mw", "q_to_mvar", "pl_mw", "ql_mvar", "i_from_ka", "i_to_ka", "i_ka",
     "vm_from_pu", "va_from_degree", "vm_to_pu", "va_to_degree", "loading_percent"]
)  # fmt: skip
TRAFO = pd.Index(
    ["p_hv_mw", "q_hv_mvar", "p_lv_mw", "q_lv_mvar", "pl_mw", "ql_mvar", "i_hv_ka", "i_lv_ka", "vm_hv_pu",
     "va_hv_degree", "vm_lv_pu", "va_lv_degree", "loading_percent"]
)  # fmt: skip
IMPEDANCE = pd.Index(["p_from_mw", "q_from_mvar", "p_to_mw", "q_to_mvar", "pl_mw", "ql_mvar", "i_from_ka", "i_to_ka"])
POWER = pd.Index(["p_mw", "q_mvar"])
SHUNT = pd.Index(["p_mw", "q_mvar", "vm_pu"])
ROOT3 = np.sqrt(3.0)


class Powers(NamedTuple):
    """Powers of one solved flow [MW + j Mvar].

    Attributes
    ----------
    into_from, into_to
        Entering each branch at its ends, ``(b,)``.
    tables
        Of the rows of ``load``, ``sgen`` and ``storage``, as their tables count.
    drawn
        By the loads of each bus, ``(m,)``.
    slack
        Fed in by the external grid.
    """

    into_from: np.ndarray
    into_to: np.ndarray
    tables: dict[str, np.ndarray]
    drawn: np.ndarray
    slack: complex


class _Switches(NamedTuple):
    """Data of switches from the tables of a plan, for their results.

    Attributes
    ----------
    ends
        Of each switch at a line or transformer: its place, the table, the row there, and whether it sits at the first
        end.
    opened
        Places of the open switches.
    impedances
        Places of closed switches between buses that have an impedance, the only ones whose power is known.
    """

    ends: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]
    opened: np.ndarray
    impedances: np.ndarray

    @classmethod
    def of(cls, net: Any, branch: np.ndarray) -> _Switches:
        """Look them up; `branch` as ``Rows.branch["switch"]``."""
        switch = net["switch"]
        et, at, closed = switch["et"].to_numpy(), switch["bus"].to_numpy(), switch["closed"].to_numpy(bool)
        ends = []
        for letter, table, first in (("l", "line", "from_bus"), ("t", "trafo", "hv_bus")):
            mine = np.flatnonzero(et == letter)
            if len(mine):
                row = net[table].index.get_indexer(switch["element"].to_numpy()[mine])
                ends.append((table, mine, row, net[table][first].to_numpy()[row] == at[mine]))
        known = (branch >= 0) & closed & (switch["z_ohm"].to_numpy(float) > 0)
        return cls(ends, np.flatnonzero(~closed & np.isin(et, ("l", "t", "b"))), np.flatnonzero(known))


@dataclass(frozen=True, eq=False)
class Rows:
    """Places of the rows of pandapower's tables in the converted network; NaN or zero for rows without a place.

    Attributes
    ----------
    bus
        Bus of each row of ``bus``, -1 for none.
    branch
        Branch of each row of ``line``, ``trafo``, ``impedance`` and ``switch``, -1 for none.
    ends
        Buses of the converted network at both ends of those branches.
    vn_kv
        Nominal voltages there [kV].
    rating
        What loads a line by 100 % [kA], a transformer [MVA].
    off_ends
        NaN at the ends that an open switch cuts off from branches out of service or open at both ends, else 0.
    winding_kv
        Rated voltages of the transformers [kV].
    bus_of, alive
        Bus of each row of ``load``, ``sgen`` and ``storage``, and 1 where it is in service.
    shunt_bus, shunt_power
        Bus and power drawn at 1 pu [MW + j Mvar] of each row of ``shunt``.
    shunt_drawn
        Power drawn at 1 pu by the shunts of each bus.
    source
        Row of ``ext_grid`` in service.
    source_bus
        Its bus.
    switches
        What the results of switches need.
    """

    bus: np.ndarray
    branch: dict[str, np.ndarray]
    ends: dict[str, tuple[np.ndarray, np.ndarray]]
    vn_kv: dict[str, tuple[np.ndarray, np.ndarray]]
    rating: dict[str, np.ndarray]
    off_ends: dict[str, tuple[np.ndarray, np.ndarray]]
    winding_kv: tuple[np.ndarray, np.ndarray]
    bus_of: dict[str, np.ndarray]
    alive: dict[str, np.ndarray]
    shunt_bus: np.ndarray
    shunt_power: np.ndarray
    shunt_drawn: np.ndarray
    source: int
    source_bus: int
    switches: _Switches

    @classmethod
    def of(cls, net: Any, network: Network) -> Rows:
        """Look up every row; `network` comes from `net` with its rows named ``"<table>:<place>"``."""
        bus = net["bus"]
        active = bus["in_service"].to_numpy(bool)
        position = np.where(active, np.cumsum(active) - 1, -1)
        at = pd.Series(position, index=bus.index)
        place = {name: k for k, name in enumerate(network.branches.name)}
        branch, ends, kv = {}, {}, {}
        for table in ("line", "trafo", "impedance", "switch"):
            found = np.array([place.get(f"{table}:{k}", -1) for k in range(len(net[table]))], int)
            branch[table] = found
            ends[table] = network.branches.from_bus[found], network.branches.to_bus[found]
            kv[table] = network.buses.vn_kv[ends[table][0]], network.buses.vn_kv[ends[table][1]]
        bus_of, alive = {}, {}
        for table in ("load", "sgen", "storage", "shunt"):
            own = at.reindex(net[table]["bus"]).fillna(-1).to_numpy(int)
            bus_of[table], alive[table] = np.maximum(own, 0), own >= 0
        shunt_power = _shunts(net) * alive["shunt"]
        drawn = np.zeros(len(network.buses.name), complex)
        np.add.at(drawn, bus_of["shunt"], shunt_power)
        line, trafo = net["line"], net["trafo"]
        of_line = line["max_i_ka"].to_numpy(float) * line["df"].to_numpy(float) * line["parallel"].to_numpy(float)
        of_trafo = trafo["sn_mva"].to_numpy(float) * trafo["df"].to_numpy(float) * trafo["parallel"].to_numpy(float)
        winding = trafo["vn_hv_kv"].to_numpy(float), trafo["vn_lv_kv"].to_numpy(float)
        source = int(np.flatnonzero(net["ext_grid"]["in_service"].to_numpy(bool))[0])
        return cls(
            bus=position,
            branch=branch,
            ends=ends,
            vn_kv=kv,
            rating={"line": of_line, "trafo": of_trafo},
            off_ends={table: _off_ends(net, table) for table in ("line", "trafo", "impedance")},
            winding_kv=winding,
            bus_of=bus_of,
            alive=alive,
            shunt_bus=bus_of["shunt"],
            shunt_power=shunt_power,
            shunt_drawn=drawn,
            source=source,
            source_bus=network.source_bus,
            switches=_Switches.of(net, branch["switch"]),
        )


def _off_ends(net: Any, table: str) -> tuple[np.ndarray, np.ndarray]:
    frame, switch = net[table], net["switch"]
    letter = {"line": "l", "trafo": "t"}.get(table, "")
    mine = switch[(switch["et"] == letter) & ~switch["closed"].astype(bool)]
    opened = set(zip(mine["element"], mine["bus"], strict=True))
    first, second = ("hv_bus", "lv_bus") if table == "trafo" else ("from_bus", "to_bus")

    def cut_at(end: str) -> np.ndarray:
        return np.array([(row, bus) in opened for row, bus in zip(frame.index, frame[end], strict=True)], bool)

    at_first, at_second = cut_at(first), cut_at(second)
    off = ~frame["in_service"].to_numpy(bool) | (at_first & at_second)
    return np.where(off & at_first, np.nan, 0.0), np.where(off & at_second, np.nan, 0.0)


def _shunts(net: Any) -> np.ndarray:
    """Power each shunt draws at 1 pu [MW + j Mvar]."""
    frame = net["shunt"]
    own_kv = frame["vn_kv"].to_numpy(float)
    bus_kv = net["bus"]["vn_kv"].reindex(frame["bus"]).to_numpy(float)
    scale = np.where(np.isnan(own_kv), 1.0, (bus_kv / own_kv) ** 2) * frame["step"].to_numpy(float)
    power = frame["p_mw"].to_numpy(float) + 1j * frame["q_mvar"].to_numpy(float)
    return power * scale * frame["in_service"].to_numpy(bool)


def write_results(net: Any, rows: Rows, v: np.ndarray, powers: Powers) -> None:
    """Write a solved flow into the net.

    Parameters
    ----------
    net
        pandapower net.
    rows
        Where its rows lie.
    v
        Complex bus voltages of the converted network [pu].
    powers
        The powers that flow.
    """
    vm, va = np.abs(v), np.rad2deg(np.angle(v))
    _write_buses(net, rows, vm, va, powers)
    for table, columns in (("line", LINE), ("trafo", TRAFO), ("impedance", IMPEDANCE)):
        if len(net[table]):
            values = _branch_values(rows, table, vm, va, powers)
            net[f"res_{table}"] = _frame(values[: len(columns)], net[table].index, columns)
    for table, power in powers.tables.items():
        net[f"res_{table}"] = _frame(np.stack([power.real, power.imag]), net[table].index, POWER)
    source = np.zeros((2, len(net["ext_grid"])))
    source[:, rows.source] = powers.slack.real, powers.slack.imag
    net["res_ext_grid"] = _frame(source, net["ext_grid"].index, POWER)
    if len(rows.shunt_bus):
        at = vm[rows.shunt_bus]
        power = rows.shunt_power * at**2
        net["res_shunt"] = _frame(np.stack([power.real, power.imag, at]), net["shunt"].index, SHUNT)
    if len(net["switch"]):
        _write_switches(net, rows, vm, powers)
    net["converged"] = True


def _frame(values: np.ndarray, index: pd.Index, columns: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(values.T, index=index, columns=columns, copy=False)


def _write_buses(net: Any, rows: Rows, vm: np.ndarray, va: np.ndarray, powers: Powers) -> None:
    drawn = powers.drawn + rows.shunt_drawn * vm**2
    drawn[rows.source_bus] -= powers.slack
    values = np.stack([vm, va, drawn.real, drawn.imag])[:, rows.bus]
    values[:, rows.bus < 0] = np.nan
    net["res_bus"] = _frame(values, net["bus"].index, BUS)


def _branch_values(rows: Rows, table: str, vm: np.ndarray, va: np.ndarray, powers: Powers) -> np.ndarray:
    """Values in the order of pandapower's columns; a transformer has no common current."""
    branch, (f, t), (kv_f, kv_t) = rows.branch[table], rows.ends[table], rows.vn_kv[table]
    s_from, s_to = powers.into_from[branch], powers.into_to[branch]
    off_from, off_to = rows.off_ends[table]
    vm_f, vm_t = vm[f] + off_from, vm[t] + off_to
    i_from, i_to = np.abs(s_from) / (ROOT3 * kv_f * vm_f), np.abs(s_to) / (ROOT3 * kv_t * vm_t)
    loss = s_from + s_to
    values = [s_from.real, s_from.imag, s_to.real, s_to.imag, loss.real, loss.imag, i_from, i_to]
    if table == "line":
        largest = np.maximum(i_from, i_to)
        values += [largest, vm_f, va[f] + off_from, vm_t, va[t] + off_to, 100.0 * largest / rows.rating["line"]]
    elif table == "trafo":
        hv_kv, lv_kv = rows.winding_kv
        largest = np.maximum(i_from * hv_kv, i_to * lv_kv) * ROOT3
        values += [vm_f, va[f] + off_from, vm_t, va[t] + off_to, 100.0 * largest / rows.rating["trafo"]]
    found = np.stack(values)
    found[:, branch < 0] = 0.0
    return found


def _write_switches(net: Any, rows: Rows, vm: np.ndarray, powers: Powers) -> None:
    """Results of switches as of ``runpp``: the current of their line or transformer, all results with an impedance."""
    switch, known = net["switch"], rows.switches
    values = np.full((6, len(switch)), np.nan)
    for table, mine, row, near in known.ends:
        result = net[f"res_{table}"]
        columns = ("i_ka", "i_ka") if table == "line" else ("i_hv_ka", "i_lv_ka")
        values[0, mine] = np.where(near, *(result[column].to_numpy()[row] for column in columns))
    if len(known.impedances):
        mine = known.impedances
        branch, first = rows.branch["switch"][mine], rows.ends["switch"][0][mine]
        s_from, s_to = powers.into_from[branch], powers.into_to[branch]
        values[0, mine] = np.abs(s_from) / (ROOT3 * rows.vn_kv["switch"][0][mine] * vm[first])
        values[2:, mine] = s_from.real, s_from.imag, s_to.real, s_to.imag
    values[0, known.opened] = 0.0
    values[1] = 100.0 * values[0] / switch["in_ka"].to_numpy(float)
    columns = net["_empty_res_switch"].columns
    net["res_switch"] = _frame(values[: len(columns)], switch.index, columns)
