"""pandapower net -> Network, equal to ``runpp`` with its default options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from powergrid.core.errors import NetworkError, PowerGridError
from powergrid.networks import pandapower_injections as injections
from powergrid.networks.columns import NetworkColumns
from powergrid.networks.pandapower_doubts import warn_of_doubts
from powergrid.networks.pandapower_file import read_net
from powergrid.networks.pandapower_options import PandapowerNet
from powergrid.networks.pandapower_rows import BranchRow, Rows
from powergrid.networks.pandapower_tables import fed_in, flag, refuse_unsupported, unique_names
from powergrid.networks.tables import BASE_MVA, Regulators, Sources
from powergrid.networks.three_winding import SIDES, star_arms, star_losses
from powergrid.networks.transformers import PiSection, pi_section

if TYPE_CHECKING:
    import pandas as pd

Own = TypeVar("Own", bound=NetworkColumns)

_ALPHA_PER_K = 0.004  # pandapower's temperature coefficient of resistance where the line table has none [1/K]


def from_pandapower(pp_net: PandapowerNet, network_type: type[Own], *, name: str | None = None) -> Own:
    """Convert a pandapower net; the net itself is never altered.

    - Static generators and storages, and whatever else feeds in a given power, become
      :class:`~powergrid.networks.tables.StaticGenerators`; what draws one becomes a load, motors and asymmetric loads
      included (phases summed, as ``runpp`` does), with its shares of constant current and impedance. ``runpp`` applies
      the mean of these shares to all power of a bus; a Network keeps each load's own, and a warning names the bus where
      that makes a difference.
    - Generators hold their voltage within their reactive limits. At the solution each either holds its voltage, or
      stands at a limit with its voltage on the side that the limit explains. ``runpp(enforce_q_lims=True)`` fixes a
      generator that passes a limit for good and may leave it there with its voltage on the other side. Slack
      generators and further external grids become :class:`~powergrid.networks.tables.Sources`.
    - A three-winding transformer becomes three branches ``"<name>.hv"``, ``.mv``, ``.lv`` that meet at the bus
      ``"<name>@star"``. An extended ward becomes a load, a shunt and a generator behind an impedance, at
      ``"<name>@inner"``; a ward a load and a shunt; a DC line a generator at either end.
    - A branch with an open switch at one end keeps its charging: it ends at an extra bus ``"<branch>@<bus>"`` beside
      an open switch. Closed branch switches vanish, for the branch itself may be opened.
    - Elements out of service are left out, except two-ended branches, which stay as open branches.
    - Voltage angles count from the first source.
    - Transformers are fixed at their present tap. Those with a number in the column ``regulator_step_pu`` become
      regulators (columns ``regulator_tap``, ``regulator_tap_min``, ``regulator_tap_max``), as :func:`to_pandapower`
      writes them.
    - ``user_pf_options`` is obeyed where it changes the solution. The reference page "Networks of pandapower" lists
      every option and column that ``runpp`` reads, and what becomes of it.
    - A :class:`~powergrid.core.errors.NetworkWarning` names transformers whose rated voltage is far from the nominal
      voltage of their bus.

    Parameters
    ----------
    pp_net
        A pandapower net (3.x), or the path of one saved with ``pandapower.to_json``, from which nothing is imported
        or run.
    network_type
        :class:`~powergrid.networks.Network`, or a class with more methods.
    name
        Name of the network; by default the net's own, else that of its file.

    Returns
    -------
    Network
        Branches in the order lines, transformers, three-winding transformers, impedances, extended wards, switches,
        cut ends.

    Raises
    ------
    NetworkError
        If something in service cannot be represented: tap and step tables, direction-dependent impedances, static var
        compensators and other power electronics, DC grids, no source, options of ``user_pf_options`` that select
        another model; every element and option is named.
    """
    if isinstance(pp_net, str | os.PathLike):
        return _from_file(Path(pp_net), network_type, name)
    return _from_net(pp_net, network_type, name)


def _from_file(file: Path, network_type: type[Own], name: str | None) -> Own:
    net = read_net(file)
    try:
        return _from_net(net, network_type, name or str(net.name or file.stem))
    except PowerGridError:
        raise
    except Exception as error:  # a table without a column, a bus that is not there
        raise NetworkError(
            f"{file}: a table of the net cannot be converted ({type(error).__name__}: {error!s:.200}); "
            "check that pandapower.runpp solves it, and save it again"
        ) from error


def _from_net(pp_net: PandapowerNet, network_type: type[Own], name: str | None) -> Own:
    options = refuse_unsupported(pp_net)
    rows = Rows(pp_net, options)
    _add_lines(rows, pp_net)
    _add_transformers(rows, pp_net)
    _add_three_winding(rows, pp_net)
    _add_impedances(rows, pp_net)
    _add_extended_wards(rows, pp_net)
    _add_bus_switches(rows, pp_net)
    rows.add_cut_ends()
    sources = injections.sources(pp_net, rows.position, options)
    demand = injections.demand(pp_net, rows.position, options)
    network = network_type(
        name=name or str(pp_net.name or "pandapower"),
        buses=rows.buses(pp_net),
        branches=rows.branches(),
        regulators=_regulators(pp_net, rows),
        loads=demand.loads,
        shunts=injections.shunts(pp_net, rows.position, rows.end_shunts),
        source_bus=int(sources.bus[0]),
        source_v_pu=float(sources.v_pu[0]),
        f_hz=float(pp_net.f_hz),
        source_note="converted from a pandapower net",
        generators=injections.generators(pp_net, rows.position, options),
        sources=Sources(sources.name[1:], sources.bus[1:], sources.v_pu[1:], sources.angle_degree[1:]),
        static_generators=demand.static_generators,
    )
    warn_of_doubts(network, pp_net)
    return network


class _Table(NamedTuple):
    """Rows of one pandapower table that are pi sections; `rated_kv` of either end where they are windings."""

    names: list[str]
    label: list[object]
    ends: Sequence[tuple[Any, Any]]
    in_service: list[bool]
    kinds: list[str]
    rated_kv: tuple[np.ndarray, np.ndarray] | None = None


def _table(pp_net: PandapowerNet, name: str, kinds: list[str]) -> _Table:
    frame = pp_net[name]
    ends = frame[["hv_bus", "lv_bus"] if name == "trafo" else ["from_bus", "to_bus"]].to_numpy()
    in_service = frame.in_service.astype(bool).tolist()
    return _Table(unique_names(frame, f"{name}_"), list(frame.index), [tuple(row) for row in ends], in_service, kinds)


def _add_sections(
    rows: Rows, pp_net: PandapowerNet, letter: str, table: _Table, pi: PiSection, rating: np.ndarray
) -> None:
    """Add the pi sections of one table, cutting the ends that a switch or a dead bus leaves open."""
    switch = pp_net.switch
    mine = switch[(switch.et == letter) & ~switch.closed.astype(bool)]
    opened = set(zip(mine.element, mine.bus, strict=True))
    for k, (index, in_service) in enumerate(zip(table.label, table.in_service, strict=True)):
        ends = table.ends[k]
        dead = [bus not in rows.position for bus in ends]
        cut = [gone or (index, bus) in opened for gone, bus in zip(dead, ends, strict=True)]
        live = in_service and not all(cut)
        if rows.options.neglect_open_switch_branches and any((index, bus) in opened for bus in ends):
            live = False
        # Only a line reaches into a dead bus and stays charged; pandapower drops anything else that does.
        if all(dead) or (any(dead) and not (live and letter == "l")):
            continue
        known = [rows.position.get(bus, -1) for bus in ends]
        at = [
            rows.dangling_bus(
                table.names[k],
                bus,
                known[e if dead[1 - e] else 1 - e],
                float(pp_net.bus.vn_kv[bus]),
                (letter, index, bus),
            )
            if live and cut[e]
            else known[e]
            for e, bus in enumerate(ends)
        ]
        shift = pi.shift_degree[k] if rows.options.calculate_voltage_angles else pi.tap_shift_degree[k]
        values = pi.ratio[k], shift, float(rating[k])
        rated_kv = (np.nan, np.nan) if table.rated_kv is None else (table.rated_kv[0][k], table.rated_kv[1][k])
        z, y = pi.z[k], 2 * pi.y_from[k]
        rows.add(
            BranchRow(table.names[k], table.kinds[k], at[0], at[1], z, y, *values, live, rated_kv[0], rated_kv[1], k)
        )
        uneven = pi.y_to[k] - pi.y_from[k]
        if live and not abs(uneven) <= 1e-12 * abs(pi.y_from[k]):  # also where it is not a number
            rows.end_shunts.append((f"{table.names[k]}.shunt", at[1], uneven))


def _add_lines(rows: Rows, pp_net: PandapowerNet) -> None:
    line = pp_net.line
    parallel, length_km = line.parallel.to_numpy(float), line.length_km.to_numpy(float)
    z_base_ohm = pp_net.bus.vn_kv.reindex(line.from_bus).to_numpy(float) ** 2 / BASE_MVA
    z_ohm = line.r_ohm_per_km.to_numpy(float) + 1j * line.x_ohm_per_km.to_numpy(float)
    b_s = 2 * np.pi * pp_net.f_hz * line.c_nf_per_km.to_numpy(float) * 1e-9
    half_y = (line.g_us_per_km.to_numpy(float) * 1e-6 + 1j * b_s) * length_km * parallel * z_base_ohm / 2
    if rows.options.consider_line_temperature:
        z_ohm = z_ohm + z_ohm.real * _warmed(line)
    z = z_ohm * length_km / parallel / z_base_ohm
    rating_ka = line.max_i_ka.to_numpy(float) * line.df.to_numpy(float) * parallel
    none = np.zeros(len(line))
    pi = PiSection(z, half_y, half_y, np.ones(len(line)), none, none)
    _add_sections(rows, pp_net, "l", _table(pp_net, "line", ["line"] * len(line)), pi, rating_ka)


def _warmed(line: pd.DataFrame) -> np.ndarray:
    """Increase of the resistance between 20 degrees Celsius and the line's temperature [1]."""
    alpha = line["alpha"].astype(float).fillna(0.0) if "alpha" in line else _ALPHA_PER_K
    warmed: np.ndarray = (alpha * (line["temperature_degree_celsius"].astype(float) - 20.0)).to_numpy()
    return warmed


def _add_transformers(rows: Rows, pp_net: PandapowerNet) -> None:
    trafo = pp_net.trafo
    vn_kv, model = pp_net.bus.vn_kv, rows.options.trafo_model
    from_kv, to_kv = (vn_kv.reindex(trafo[f"{end}_bus"]).to_numpy(float) for end in ("hv", "lv"))
    pi = pi_section(trafo, from_kv, to_kv, model)
    rating_mva = trafo.sn_mva.to_numpy(float) * trafo.df.to_numpy(float) * trafo.parallel.to_numpy(float)
    rating_mva = np.where(flag(trafo, "unrated"), np.nan, rating_mva)
    kinds = ["regulator" if step == step else "transformer" for step in _regulator_column(trafo, "step_pu")]
    table = _table(pp_net, "trafo", kinds)._replace(rated_kv=_rated_kv(trafo, kinds, rating_mva))
    _add_sections(rows, pp_net, "t", table, pi, rating_mva)


def _rated_kv(trafo: pd.DataFrame, kinds: list[str], rating_mva: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rated voltages of the windings [kV]; columns that :func:`to_pandapower` has written come first.

    A regulator's ratio moves, and an unrated transformer has no rated current: both keep the voltages of the buses.
    """
    if "rated_from_kv" in trafo and "rated_to_kv" in trafo:
        return trafo.rated_from_kv.to_numpy(float), trafo.rated_to_kv.to_numpy(float)
    none = np.array([kind == "regulator" for kind in kinds], bool) | np.isnan(rating_mva)
    hv, lv = (np.where(none, np.nan, trafo[f"vn_{end}_kv"].to_numpy(float)) for end in ("hv", "lv"))
    return hv, lv


def _add_three_winding(rows: Rows, pp_net: PandapowerNet) -> None:
    """Each three-winding transformer as a star of two-winding ones around an extra bus."""
    frame = pp_net.trafo3w
    buses = frame[[f"{side}_bus" for side in SIDES]].to_numpy()
    reached = np.array([any(bus in rows.position for bus in row) for row in buses], bool)
    kept = frame[frame.in_service.to_numpy(bool) & reached]
    if not len(kept):
        return
    losses, model = rows.options.trafo3w_losses.lower(), rows.options.trafo_model
    vn_kv, arms = pp_net.bus.vn_kv, star_arms(kept, losses)
    at_star = star_losses(kept, vn_kv.reindex(kept.hv_bus).to_numpy(float)) if losses == "star" else {}
    names, index, ends = [], [], []
    for name, (label, row) in zip(unique_names(kept, "trafo3w_"), kept.iterrows(), strict=True):
        near = [rows.position[row[f"{side}_bus"]] for side in SIDES if row[f"{side}_bus"] in rows.position]
        star = rows.extra_bus(f"{name}@star", float(vn_kv[row.hv_bus]), (near[-1], near[0]))
        rows.position["star", label] = star
        if label in at_star:
            rows.end_shunts.append((f"{name}.shunt", star, at_star[label]))
        for side in SIDES:
            names.append(f"{name}.{side}")
            index.append(label)
            ends.append((row.hv_bus, ("star", label)) if side == "hv" else (("star", label), row[f"{side}_bus"]))
    kv = [
        [float(vn_kv[kept.hv_bus[bus[1]]] if isinstance(bus, tuple) else vn_kv[bus]) for bus in pair] for pair in ends
    ]
    inner = arms.winding.to_numpy() == "hv"  # the end that is no winding has no rated current
    rated_kv = np.where(inner, arms.vn_hv_kv, 0.0), np.where(inner, 0.0, arms.vn_lv_kv)
    table = _Table(names, index, ends, [True] * len(names), ["transformer"] * len(names), rated_kv)
    from_kv, to_kv = np.array(kv, float).T
    pi = pi_section(arms, from_kv, to_kv, model)
    _add_sections(rows, pp_net, "t3", table, pi, arms.sn_mva.to_numpy(float))


def _add_impedances(rows: Rows, pp_net: PandapowerNet) -> None:
    frame = pp_net.impedance
    per_mva = BASE_MVA / frame.sn_mva.to_numpy(float)
    z = (frame.rft_pu.to_numpy(float) + 1j * frame.xft_pu.to_numpy(float)) * per_mva
    y_from, y_to = (
        (frame[f"g{end}_pu"].to_numpy(float) + 1j * frame[f"b{end}_pu"].to_numpy(float)) / per_mva for end in "ft"
    )
    none = np.zeros(len(frame))
    pi = PiSection(z, y_from, y_to, np.ones(len(frame)), none, none)
    table = _table(pp_net, "impedance", ["impedance"] * len(frame))
    _add_sections(rows, pp_net, "", table, pi, np.full(len(frame), np.nan))


def _add_extended_wards(rows: Rows, pp_net: PandapowerNet) -> None:
    """The impedance of each extended ward, which ends at an extra bus."""
    frame, vn_kv = pp_net.xward, pp_net.bus.vn_kv
    names = unique_names(frame, "xward_")
    for k in np.flatnonzero(fed_in(frame, rows.position)):
        row = frame.iloc[k]
        here, kv = rows.position[row.bus], float(vn_kv[row.bus])
        inner = rows.position["xward", frame.index[k]] = rows.extra_bus(f"{names[k]}@inner", kv, (here, here))
        z = complex(row.r_ohm, row.x_ohm) * BASE_MVA / kv**2
        rows.add(BranchRow(names[k], "impedance", here, inner, z, 0j, 1.0, 0.0, np.nan, True))


def _add_bus_switches(rows: Rows, pp_net: PandapowerNet) -> None:
    switch = pp_net.switch[pp_net.switch.et == "b"]
    tangent = 1 / rows.options.switch_rx_ratio
    unit = (1 + 1j * tangent) / abs(1 + 1j * tangent)
    found = []
    for name, row in zip(unique_names(switch, "switch_"), switch.itertuples(), strict=True):
        if row.bus in rows.position and row.element in rows.position:
            z = complex(row.z_ohm * unit * BASE_MVA / pp_net.bus.vn_kv[row.bus] ** 2) if row.z_ohm > 0 else 0j
            kind = "impedance" if z else "switch"
            ends = rows.position[row.bus], rows.position[row.element]
            found.append(BranchRow(name, kind, *ends, z, 0j, 1.0, 0.0, np.nan, bool(row.closed)))
    for branch in sorted(found, key=lambda branch: branch.kind):
        rows.add(branch)


def _regulator_column(trafo: pd.DataFrame, what: str) -> np.ndarray:
    column = f"regulator_{what}"
    return trafo[column].to_numpy(float) if column in trafo.columns else np.full(len(trafo), np.nan)


def _regulators(pp_net: PandapowerNet, rows: Rows) -> Regulators:
    pairs = [(k, row.row) for k, row in enumerate(rows.collected) if row.kind == "regulator"]
    branch, row = np.array(pairs, int).reshape(-1, 2).T
    columns = (_regulator_column(pp_net.trafo, what)[row] for what in Regulators._fields[1:])
    return Regulators(branch.copy(), *columns)
