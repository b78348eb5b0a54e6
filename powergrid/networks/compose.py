"""Putting networks together: a guest behind a transformer, one more bus, other loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from powergrid.core.errors import NetworkError, nearest
from powergrid.networks.layout import free_spot, guest_positions
from powergrid.networks.network import BASE_MVA, Branches, Buses, Network

Table = TypeVar("Table", bound="tuple[Any, ...]")

_TRANSFORMER_KEYS = ("sn_mva", "vk_percent", "vkr_percent")
NEW_BUS_TRANSFORMER = {"sn_mva": 2.5, "vk_percent": 5.75, "vkr_percent": 5.75 / np.hypot(1.0, 8.0)}  # X/R = 8


def compose(
    host: Any,
    guest: Any,
    at: str,
    *,
    name: str,
    transformer: Mapping[str, float],
    load_scale: float = 1.0,
) -> Any:
    """Connect `guest` to a bus of `host` through a transformer; both balanced, or both three-phase.

    The guest's source is removed: the bus that held it is fed from the host. A transformer that alone connects the
    guest's source bus is its substation and is removed with that bus. Everything of the guest carries the prefix
    ``"<name>."``; the new transformer is the branch ``"<name>.pcc"``, its from bus at the host.

    Parameters
    ----------
    host
        Keeps its source, names and frequency.
    guest
        The network to connect, such as a microgrid.
    at
        Host bus that feeds the guest.
    name
        Prefix and area of the guest.
    transformer
        ``sn_mva`` [MVA], ``vk_percent`` and ``vkr_percent``: short-circuit impedance and its real part [%].
    load_scale
        Factor on the guest's loads and shunts, not on its generation [1].

    Returns
    -------
    Network or UnbalancedNetwork
        Host rows first, then the guest's, then the transformer.

    Raises
    ------
    NetworkError
        If the bus does not exist (with the nearest match), the name is taken, the frequencies differ or the transformer
        is incomplete.
    """
    if not name or any(bus.startswith(f"{name}.") for bus in host.buses.name):
        raise NetworkError(f'network "{host.name}": the guest name "{name}" is empty or already taken')
    if host.f_hz != guest.f_hz:
        raise NetworkError(f'"{host.name}" runs at {host.f_hz} Hz, the guest "{guest.name}" at {guest.f_hz} Hz')
    if hasattr(host, "blocks") and hasattr(guest, "blocks"):
        from powergrid.networks.compose_phases import compose_phases

        return compose_phases(host, guest, at, name=name, transformer=transformer, load_scale=load_scale)
    for network in (host, guest):
        if hasattr(network, "blocks"):
            raise NetworkError(
                f'"{host.name}" and "{guest.name}" cannot be connected: only "{network.name}" has three phases; '
                "take both phase by phase, or both balanced"
            )
    at_bus = host.bus(at)
    if len(guest.sources.name):
        raise NetworkError(f'the guest "{guest.name}" has several sources; only the one at its head can be removed')
    guest, head = _without_substation(guest)
    guest = scaled(guest, load=load_scale, shunt=load_scale)
    offset, branch_offset = len(host.buses.name), len(host.branches.name)
    g_buses, g_branches, g_regulators = guest.buses, guest.branches, guest.regulators
    x, y = guest_positions(host, at_bus, g_buses, head)
    buses = Buses(prefixed(name, g_buses.name), g_buses.vn_kv, (name,) * len(g_buses.name), x, y)
    branches = g_branches._replace(
        name=prefixed(name, g_branches.name),
        from_bus=g_branches.from_bus + offset,
        to_bus=g_branches.to_bus + offset,
    )
    loads, shunts = _moved(name, guest.loads, offset), _moved(name, guest.shunts, offset)
    pcc = transformer_branch(f"{name}.pcc", at_bus, head + offset, transformer)
    return replace(
        host,
        buses=joined(host.buses, buses),
        branches=joined(joined(host.branches, branches), pcc),
        regulators=joined(host.regulators, g_regulators._replace(branch=g_regulators.branch + branch_offset)),
        loads=joined(host.loads, loads),
        shunts=joined(host.shunts, shunts),
        generators=joined(host.generators, _moved(name, guest.generators, offset)),
        static_generators=joined(host.static_generators, _moved(name, guest.static_generators, offset)),
    )


def with_bus(network: Any, name: str, vn_kv: float, at_bus: str) -> Any:
    """Add a bus beside `at_bus`: a closed switch at the same voltage, else a transformer of 2.5 MVA, 5.75 %, X/R 8.

    In a three-phase network the bus has the phases of `at_bus`; the transformer needs all three and is earthed on both
    sides.

    Parameters
    ----------
    network
        The network to extend, balanced or three-phase.
    name
        Name of the new bus; the new branch is ``"<at_bus>-<name>"``.
    vn_kv
        Nominal line-to-line voltage of the new bus [kV].
    at_bus
        Existing bus.

    Raises
    ------
    NetworkError
        If `at_bus` does not exist (with the nearest match) or lacks a phase that the transformer needs, `name` does
        exist, or the voltage is not positive.
    """
    if name in getattr(network.buses, "bus", network.buses.name):
        raise NetworkError(f'network "{network.name}" already has a bus "{name}"')
    if not vn_kv > 0:
        raise NetworkError(f'bus "{name}": the nominal voltage must be positive, not {vn_kv} kV')
    if hasattr(network, "blocks"):
        from powergrid.networks.compose_phases import with_bus_in_phases

        return with_bus_in_phases(network, name, vn_kv, at_bus)
    here = network.bus(at_bus)
    x, y = free_spot(network.buses, here)
    bus = Buses((name,), np.array([vn_kv]), (network.buses.area[here],), np.array([x]), np.array([y]))
    there, label = len(network.buses.name), f"{at_bus}-{name}"
    branch = (
        switch_branch(label, here, there)
        if same_voltage(vn_kv, network.buses.vn_kv[here])
        else transformer_branch(label, here, there, NEW_BUS_TRANSFORMER)
    )
    return replace(network, buses=joined(network.buses, bus), branches=joined(network.branches, branch))


def scaled(network: Any, *, load: float = 1.0, shunt: float = 1.0, static: float = 1.0) -> Any:
    """The same network with all loads multiplied by `load`, all shunts by `shunt`, static generators by `static` [1].

    Balanced or three-phase. A factor on the loads leaves generation and storage as they are.
    """
    loads, shunts, fed = network.loads, network.shunts, network.static_generators
    changed = replace(
        network,
        loads=loads._replace(p_mw=loads.p_mw * load, q_mvar=loads.q_mvar * load),
        shunts=shunts._replace(p_mw=shunts.p_mw * shunt, q_mvar=shunts.q_mvar * shunt),
    )
    if static == 1.0 or not len(fed.name):
        return changed
    return replace(changed, static_generators=fed._replace(p_mw=fed.p_mw * static, q_mvar=fed.q_mvar * static))


def transformer_branch(name: str, from_bus: int, to_bus: int, data: Mapping[str, float]) -> Branches:
    """One transformer without off-nominal ratio, as a table of one row.

    Raises
    ------
    NetworkError
        If a figure is missing, unknown, not positive, or the resistance exceeds the impedance.
    """
    for key in data:
        if key not in _TRANSFORMER_KEYS:
            hint = nearest(key, _TRANSFORMER_KEYS) or f"allowed: {', '.join(_TRANSFORMER_KEYS)}"
            raise NetworkError(f'transformer "{name}" has no figure "{key}"; {hint}')
    missing = [key for key in _TRANSFORMER_KEYS if key not in data]
    if missing:
        raise NetworkError(f'transformer "{name}" lacks {", ".join(missing)}')
    sn_mva, vk, vkr = (float(data[key]) for key in _TRANSFORMER_KEYS)
    if not (sn_mva > 0 and vk > 0 and 0 <= vkr <= vk):
        raise NetworkError(
            f'transformer "{name}": sn_mva {sn_mva} and vk_percent {vk} must be positive, '
            f"vkr_percent {vkr} between 0 and vk_percent"
        )
    z = complex(vkr, np.sqrt(vk**2 - vkr**2)) / 100 * BASE_MVA / sn_mva
    return _branch(name, "transformer", from_bus, to_bus, z, sn_mva)


def switch_branch(name: str, from_bus: int, to_bus: int) -> Branches:
    """One closed switch, as a table of one row."""
    return _branch(name, "switch", from_bus, to_bus, 0j, np.nan)


def same_voltage(first_kv: float, second_kv: float) -> bool:
    """Whether two nominal voltages [kV] need no transformer between them."""
    return bool(np.isclose(first_kv, second_kv, rtol=1e-3))


def _branch(name: str, kind: str, from_bus: int, to_bus: int, z: complex, rating: float) -> Branches:
    zero = np.zeros(1)
    return Branches(
        name=(name,),
        kind=(kind,),
        from_bus=np.array([from_bus]),
        to_bus=np.array([to_bus]),
        r_pu=np.array([z.real]),
        x_pu=np.array([z.imag]),
        g_pu=zero,
        b_pu=zero,
        ratio=np.ones(1),
        shift_degree=zero,
        rating=np.array([rating]),
        closed=np.ones(1, bool),
        rated_from_kv=np.full(1, np.nan),
        rated_to_kv=np.full(1, np.nan),
    )


def _without_substation(network: Network) -> tuple[Network, int]:
    """The network without the transformer that alone connects its source, and the index of its head bus."""
    source, branches = network.source_bus, network.branches
    at_source = np.flatnonzero((branches.from_bus == source) | (branches.to_bus == source))
    tables = network.loads, network.shunts, network.generators, network.static_generators
    loaded = any(source in table.bus for table in tables)
    if len(at_source) != 1 or branches.kind[at_source[0]] != "transformer" or loaded:
        return network, source
    head = int(branches.from_bus[at_source[0]] + branches.to_bus[at_source[0]] - source)
    keep_bus = np.arange(len(network.buses.name)) != source
    keep_branch = np.arange(len(branches.name)) != at_source[0]
    place = np.cumsum(keep_bus) - 1
    branch_place = np.cumsum(keep_branch) - 1
    kept = _selected(branches, keep_branch)
    return replace(
        network,
        buses=_selected(network.buses, keep_bus),
        branches=kept._replace(from_bus=place[kept.from_bus], to_bus=place[kept.to_bus]),
        regulators=network.regulators._replace(branch=branch_place[network.regulators.branch]),
        loads=network.loads._replace(bus=place[network.loads.bus]),
        shunts=network.shunts._replace(bus=place[network.shunts.bus]),
        generators=network.generators._replace(bus=place[network.generators.bus]),
        static_generators=network.static_generators._replace(bus=place[network.static_generators.bus]),
        source_bus=int(place[head]),
    ), int(place[head])


def _moved(name: str, table: Any, offset: int) -> Any:
    """A table of elements at buses with prefixed names and the buses' new places."""
    return table._replace(name=prefixed(name, table.name), bus=table.bus + offset)


def prefixed(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}.{own}" for own in names)


def joined(first: Table, second: Table) -> Table:
    """Rows of `first`, then rows of `second`."""
    columns = [(*a, *b) if isinstance(a, tuple) else np.concatenate([a, b]) for a, b in zip(first, second, strict=True)]
    return _like(first, columns)


def _selected(table: Table, keep: np.ndarray) -> Table:
    """Rows of `table` where `keep` is true."""
    columns = [
        tuple(v for v, kept in zip(column, keep, strict=True) if kept) if isinstance(column, tuple) else column[keep]
        for column in table
    ]
    return _like(table, columns)


def _like(table: Table, columns: list[Any]) -> Table:
    build: Any = type(table)
    result: Table = build(*columns)
    return result
