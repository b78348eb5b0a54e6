"""Network -> pandapower net with exactly the same electrical model, and the start that its solver needs."""

from __future__ import annotations

from collections import deque
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.pandapower_options import PandapowerNet
from powergrid.networks.tables import BASE_MVA
from powergrid.networks.transformers import pi_to_t

if TYPE_CHECKING:
    from powergrid.networks.columns import NetworkColumns

_NOMINAL_MVA = 10.0  # rating written for a transformer that has none; its loading then means nothing


def to_pandapower(network: NetworkColumns, *, bus_loads: bool = False) -> PandapowerNet:
    """Build a pandapower net whose ``runpp`` (default options) solves the very equations of `network`.

    Regulators and networks with large ratios need the start values of :func:`upstream_gain`::

        net = network.to_pandapower(bus_loads=True)
        pp.runpp(net, init_vm_pu=network.source_v_pu * upstream_gain(network), init_va_degree="dc")

    Parameters
    ----------
    network
        The network.
    bus_loads
        False: one ``load`` row per load, and one ``sgen`` or ``storage`` row per static generator, with their names.
        True: one ``load`` row per bus, row k at bus k, holding the sum of that bus's loads less what its static
        generators feed in, so that a power per bus can be written in one assignment.

    Returns
    -------
    pandapowerNet
        Every table keeps the order and names of the columns it came from:

        - bus k is bus index k; ``net.bus["area"]`` is the area;
        - ``line``, ``trafo``, ``impedance`` and ``switch`` carry ``branch``, the row in ``network.branches``;
        - ``trafo`` carries ``rated_from_kv`` and ``rated_to_kv``, too, by which a star point comes back;
        - the tap of regulator k is written with :func:`write_gains`;
        - shunt k is ``net.shunt`` row k, whose ``p_mw`` and ``q_mvar`` are power drawn at 1 pu; write
          ``in_service`` to switch it or scale both to connect a part;
        - generator k is ``net.gen`` row k, the first source ``net.ext_grid`` row 0, the others follow;
        - ``net.load[["p_mw", "q_mvar"]]``, ``net.ext_grid["vm_pu"]`` and ``net.switch["closed"]`` are plain
          values.

    Raises
    ------
    NetworkError
        If a transformer's shunt admittance is capacitive or negative, or loads of one bus depend on its voltage in
        different ways, neither of which pandapower can hold.
    """
    import pandapower as pp

    net = pp.create_empty_network(name=network.name, f_hz=network.f_hz, sn_mva=BASE_MVA)
    buses = network.buses
    located = np.isfinite(buses.x)
    pp.create_buses(net, len(buses.name), buses.vn_kv, name=list(buses.name))
    net.bus["area"] = list(buses.area)
    net.bus["geo"] = [
        f'{{"type": "Point", "coordinates": [{x!r}, {y!r}]}}' if here else None
        for x, y, here in zip(buses.x.tolist(), buses.y.tolist(), located, strict=True)
    ]
    _create_sources(pp, net, network)
    _create_lines(pp, net, network)
    _create_transformers(pp, net, network)
    _create_impedances(pp, net, network)
    _create_switches(pp, net, network)
    _create_loads(pp, net, network, bus_loads)
    if not bus_loads:
        _create_static_generators(pp, net, network)
    shunts = network.shunts
    if len(shunts.name):
        pp.create_shunts(
        net, shunts.bus, q_mvar=shunts.q_mvar, p_mw=shunts.p_mw, vn_kv=network.buses.vn_kv[shunts.bus],
        name=list(shunts.name),
    )  # fmt: skip
    net.shunt["switchable"] = shunts.switchable
    return net


def write_gains(net: PandapowerNet, network: NetworkColumns, gain: np.ndarray) -> None:
    """Set the voltage gain of every regulator of a converted net, ``(k,)`` as ``network.regulators``."""
    row = {branch: k for k, branch in enumerate(net.trafo.branch)}
    rows = [row[branch] for branch in network.regulators.branch]
    from_kv = network.buses.vn_kv[network.branches.from_bus[network.regulators.branch]]
    net.trafo.iloc[rows, net.trafo.columns.get_loc("vn_hv_kv")] = from_kv / np.asarray(gain, float)


def upstream_gain(network: NetworkColumns, gain: np.ndarray | None = None) -> np.ndarray:
    """No-load voltage of each bus over the source voltage: the product of all ratios on the way.

    ``runpp`` diverges from flat and from DC starts where regulators boost by several steps, for 0.1 % on 10
    MVA turns a few percent of voltage into hundreds of MVA; from ``source_v_pu * upstream_gain(network)`` it
    converges.

    Parameters
    ----------
    network
        The network.
    gain
        Voltage gain of each regulator, ``(k,)`` as in ``Control.tap_ratio``; ``None`` takes the network's own
        taps.

    Returns
    -------
    numpy.ndarray
        ``(m,)``; 1 at buses that no closed branch connects to the source.
    """
    branches = network.branches
    no_load = 1 / branches.ratio
    if gain is not None:
        no_load[network.regulators.branch] = gain
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for k in np.flatnonzero(branches.closed):
        a, b = int(branches.from_bus[k]), int(branches.to_bus[k])
        neighbours.setdefault(a, []).append((b, no_load[k]))
        neighbours.setdefault(b, []).append((a, 1 / no_load[k]))
    result = np.full(len(network.buses.name), np.nan)
    result[network.source_bus] = 1.0
    queue = deque([network.source_bus])
    while queue:
        here = queue.popleft()
        for there, factor in neighbours.get(here, ()):
            if np.isnan(result[there]):
                result[there] = result[here] * factor
                queue.append(there)
    return np.where(np.isnan(result), 1.0, result)


def _of_kind(network: NetworkColumns, *kinds: str) -> np.ndarray:
    return np.array([k for k, kind in enumerate(network.branches.kind) if kind in kinds], int)


def _create_lines(pp: ModuleType, net: PandapowerNet, network: NetworkColumns) -> None:
    rows, branches = _of_kind(network, "line"), network.branches
    if len(rows):
        z_base_ohm = network.buses.vn_kv[branches.from_bus[rows]] ** 2 / BASE_MVA
        pp.create_lines_from_parameters(
            net, branches.from_bus[rows], branches.to_bus[rows], length_km=1.0,
            r_ohm_per_km=branches.r_pu[rows] * z_base_ohm, x_ohm_per_km=branches.x_pu[rows] * z_base_ohm,
            c_nf_per_km=branches.b_pu[rows] / z_base_ohm / (2 * np.pi * network.f_hz) * 1e9,
            g_us_per_km=branches.g_pu[rows] / z_base_ohm * 1e6, max_i_ka=branches.rating[rows],
            name=[branches.name[k] for k in rows], in_service=branches.closed[rows],
        )  # fmt: skip
    net.line["branch"] = rows


def _create_transformers(pp: ModuleType, net: PandapowerNet, network: NetworkColumns) -> None:
    rows, branches, regulators = (
        _of_kind(network, "transformer", "regulator"),
        network.branches,
        network.regulators,
    )
    z, y = pi_to_t(branches.r_pu[rows] + 1j * branches.x_pu[rows], branches.g_pu[rows] + 1j * branches.b_pu[rows])
    odd = [branches.name[k] for k, value in zip(rows, y, strict=True) if value.imag > 1e-15 or value.real < -1e-15]
    if odd:
        raise NetworkError(f"pandapower cannot hold the capacitive or negative shunt of transformers {', '.join(odd)}")
    rating = branches.rating[rows]
    sn_mva = np.where(np.isnan(rating), _NOMINAL_MVA, rating)
    vn_hv_kv, vn_lv_kv, step = _rated_voltages(network, rows)
    if len(rows):
        referred = (vn_lv_kv / network.buses.vn_kv[branches.to_bus[rows]]) ** 2  # its data refer to its own voltage
        z, y = z / referred, y * referred
        tapped = step != 0
        pp.create_transformers_from_parameters(
            net, branches.from_bus[rows], branches.to_bus[rows], sn_mva=sn_mva, vn_hv_kv=vn_hv_kv, vn_lv_kv=vn_lv_kv,
            vk_percent=np.where(z.imag < 0, -1, 1) * np.abs(z) * sn_mva / BASE_MVA * 100,
            vkr_percent=z.real * sn_mva / BASE_MVA * 100, pfe_kw=y.real * BASE_MVA * 1000,
            i0_percent=np.abs(y) * BASE_MVA / sn_mva * 100, shift_degree=branches.shift_degree[rows],
            name=[branches.name[k] for k in rows], in_service=branches.closed[rows],
            tap_side=["hv" if tap else None for tap in tapped], tap_neutral=np.where(tapped, 0.0, np.nan),
            tap_pos=np.where(tapped, 1.0, np.nan), tap_step_percent=np.where(tapped, 100.0 * step, np.nan),
            tap_changer_type=["Ratio" if tap else None for tap in tapped],
        )  # fmt: skip
    net.trafo["branch"] = rows
    net.trafo["unrated"] = np.isnan(rating)
    net.trafo["rated_from_kv"], net.trafo["rated_to_kv"] = branches.rated_from_kv[rows], branches.rated_to_kv[rows]
    place = np.searchsorted(rows, regulators.branch)
    for column in regulators._fields[1:]:
        values = np.full(len(rows), np.nan)
        values[place] = getattr(regulators, column)
        net.trafo[f"regulator_{column}"] = values


def _rated_voltages(network: NetworkColumns, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rated voltages of the windings of transformers [kV], and the step that brings the first to the ratio [1].

    Where a transformer has none of its own, they are those of its buses, the first times the ratio.
    """
    branches, vn_kv = network.branches, network.buses.vn_kv
    from_kv, to_kv = vn_kv[branches.from_bus[rows]], vn_kv[branches.to_bus[rows]]
    own_from, own_to = branches.rated_from_kv[rows], branches.rated_to_kv[rows]
    known = (own_from > 0) & (own_to > 0)
    lv_kv = np.where(known, own_to, to_kv)
    hv_kv = from_kv * branches.ratio[rows] * lv_kv / to_kv
    gain = np.where(known, hv_kv / np.where(known, own_from, 1.0), 1.0)
    tapped = known & (np.abs(gain - 1) > 1e-12)
    return np.where(tapped, own_from, hv_kv), lv_kv, np.where(tapped, gain - 1, 0.0)


def _create_impedances(pp: ModuleType, net: PandapowerNet, network: NetworkColumns) -> None:
    rows, branches = _of_kind(network, "impedance"), network.branches
    for k in rows:
        half = {"gf_pu": branches.g_pu[k] / 2, "bf_pu": branches.b_pu[k] / 2}
        pp.create_impedance(
            net, branches.from_bus[k], branches.to_bus[k], rft_pu=branches.r_pu[k], xft_pu=branches.x_pu[k],
            sn_mva=BASE_MVA, name=branches.name[k], in_service=bool(branches.closed[k]), **half,
        )  # fmt: skip
    net.impedance["branch"] = rows


def _create_switches(pp: ModuleType, net: PandapowerNet, network: NetworkColumns) -> None:
    rows, branches = _of_kind(network, "switch"), network.branches
    for k in rows:
        ends = branches.from_bus[k], branches.to_bus[k]
        pp.create_switch(net, *ends, et="b", closed=bool(branches.closed[k]), name=branches.name[k])
    net.switch["branch"] = rows


def _create_sources(pp: ModuleType, net: PandapowerNet, network: NetworkColumns) -> None:
    sources, generators = network.sources, network.generators
    pp.create_ext_grid(net, network.source_bus, vm_pu=network.source_v_pu, name="source")
    for name, bus, v_pu, angle in zip(*sources, strict=True):
        pp.create_ext_grid(net, bus, vm_pu=v_pu, va_degree=angle, name=name)
    for name, bus, p_mw, v_set_pu, low, high in zip(*generators, strict=True):
        limits = {"min_q_mvar": low, "max_q_mvar": high}
        known = {key: value for key, value in limits.items() if np.isfinite(value)}
        pp.create_gen(net, bus, p_mw=p_mw, vm_pu=v_set_pu, name=name, **known)


def _create_loads(pp: ModuleType, net: PandapowerNet, network: NetworkColumns, bus_loads: bool) -> None:
    loads, buses = network.loads, len(network.buses.name)
    if bus_loads:
        own = network.node_load()
        parts = [np.zeros(buses) if part is None else part for part in own]
        p_mw, q_mvar = parts[0] + parts[2] + parts[4], parts[1] + parts[3] + parts[5]
        pp.create_loads(net, np.arange(buses), p_mw=p_mw, q_mvar=q_mvar, name=list(network.buses.name))
        totals = {"p": p_mw, "q": q_mvar}
        shares = {}
        for (letter, axis), part in zip((("i", "p"), ("i", "q"), ("z", "p"), ("z", "q")), parts[2:], strict=True):
            total = totals[axis]
            shares[f"const_{letter}_{axis}_percent"] = np.divide(part, total, out=np.zeros(buses), where=total != 0)
    elif len(loads.name):
        _check_shares(network)
        pp.create_loads(net, loads.bus, p_mw=loads.p_mw, q_mvar=loads.q_mvar, name=list(loads.name))
        keys = (f"const_{letter}_{axis}_percent" for letter in "iz" for axis in "pq")
        shares = dict(zip(keys, loads[4:], strict=True))
    else:
        return
    for column, share in shares.items():
        net.load[column] = 100.0 * share


def _create_static_generators(pp: ModuleType, net: PandapowerNet, network: NetworkColumns) -> None:
    static = network.static_generators
    for name, kind, bus, p_mw, q_mvar in zip(*static, strict=True):
        if kind == "storage":  # consumption positive; its energy is unknown
            pp.create_storage(net, bus, p_mw=-p_mw, q_mvar=-q_mvar, max_e_mwh=np.nan, name=name)
        else:
            pp.create_sgen(net, bus, p_mw=p_mw, q_mvar=q_mvar, name=name)


def _check_shares(network: NetworkColumns) -> None:
    """Refuse loads of one bus with different shares, for pandapower averages them whatever the loads' powers."""
    loads, shares = network.loads, np.array(network.loads[4:]).T
    first: dict[int, int] = {}
    for k, bus in enumerate(loads.bus.tolist()):
        if not np.allclose(shares[k], shares[first.setdefault(bus, k)], rtol=0, atol=1e-12):
            raise NetworkError(
                f'pandapower cannot hold loads "{loads.name[first[bus]]}" and "{loads.name[k]}", whose powers '
                "follow the voltage of one bus in different ways; convert with bus_loads=True"
            )
