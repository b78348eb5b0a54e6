"""Composition of networks: a guest behind a transformer, one more bus, other loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, overload

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.compose_phases import compose_phases, with_bus_in_phases
from powergrid.networks.compose_tables import (
    NEW_BUS_TRANSFORMER,
    joined,
    prefixed,
    same_voltage,
    scaled,
    selected,
    switch_branch,
    transformer_branch,
)
from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.layout import free_spot, guest_positions
from powergrid.networks.network import Network
from powergrid.networks.tables import Buses, Generators, Loads, Shunts, StaticGenerators
from powergrid.networks.terminals import bus_names
from powergrid.networks.unbalanced import UnbalancedNetwork

AtBuses = TypeVar("AtBuses", Loads, Shunts, Generators, StaticGenerators)


@overload
def compose(
    host: Network, guest: Network, at: str, *, name: str, transformer: Mapping[str, float], load_scale: float = ...
) -> Network: ...
@overload
def compose(
    host: UnbalancedNetwork,
    guest: UnbalancedNetwork,
    at: str,
    *,
    name: str,
    transformer: Mapping[str, float],
    load_scale: float = ...,
) -> UnbalancedNetwork: ...
@overload
def compose(
    host: AnyNetwork,
    guest: AnyNetwork,
    at: str,
    *,
    name: str,
    transformer: Mapping[str, float],
    load_scale: float = ...,
) -> AnyNetwork: ...
def compose(
    host: AnyNetwork,
    guest: AnyNetwork,
    at: str,
    *,
    name: str,
    transformer: Mapping[str, float],
    load_scale: float = 1.0,
) -> AnyNetwork:
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
    if host.is_three_phase and guest.is_three_phase:
        return compose_phases(host, guest, at, name=name, transformer=transformer, load_scale=load_scale)
    if host.is_three_phase or guest.is_three_phase:
        raise NetworkError(
            f'"{host.name}" and "{guest.name}" cannot be connected: only '
            f'"{(host if host.is_three_phase else guest).name}" has three phases; '
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


@overload
def with_bus(network: Network, name: str, vn_kv: float, at_bus: str) -> Network: ...
@overload
def with_bus(network: UnbalancedNetwork, name: str, vn_kv: float, at_bus: str) -> UnbalancedNetwork: ...
@overload
def with_bus(network: AnyNetwork, name: str, vn_kv: float, at_bus: str) -> AnyNetwork: ...
def with_bus(network: AnyNetwork, name: str, vn_kv: float, at_bus: str) -> AnyNetwork:
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
    if name in bus_names(network):
        raise NetworkError(f'network "{network.name}" already has a bus "{name}"')
    if not vn_kv > 0:
        raise NetworkError(f'bus "{name}": the nominal voltage must be positive, not {vn_kv} kV')
    if network.is_three_phase:
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
    kept = selected(branches, keep_branch)
    return replace(
        network,
        buses=selected(network.buses, keep_bus),
        branches=kept._replace(from_bus=place[kept.from_bus], to_bus=place[kept.to_bus]),
        regulators=network.regulators._replace(branch=branch_place[network.regulators.branch]),
        loads=network.loads._replace(bus=place[network.loads.bus]),
        shunts=network.shunts._replace(bus=place[network.shunts.bus]),
        generators=network.generators._replace(bus=place[network.generators.bus]),
        static_generators=network.static_generators._replace(bus=place[network.static_generators.bus]),
        source_bus=int(place[head]),
    ), int(place[head])


def _moved(name: str, table: AtBuses, offset: int) -> AtBuses:
    """A table of elements at buses with prefixed names and the buses' new places."""
    return table._replace(name=prefixed(name, table.name), bus=table.bus + offset)
