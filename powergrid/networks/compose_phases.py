"""Composition of three-phase networks: a guest behind a transformer, one more bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from powergrid.core.errors import NetworkError
from powergrid.networks.compose_tables import (
    NEW_BUS_TRANSFORMER,
    joined,
    prefixed,
    same_voltage,
    scaled,
    switch_branch,
    transformer_branch,
)
from powergrid.networks.layout import free_spot, guest_positions
from powergrid.networks.phase_elements import transformer_matrix
from powergrid.networks.tables import BASE_MVA, PHASES, Blocks, Branches, Nodes, Pairs
from powergrid.networks.unbalanced import UnbalancedNetwork

VECTOR_GROUP = "YNyn0"
"""Vector group of the transformer at the connection, earthed on both sides, so that unbalance passes through it."""


def compose_phases(
    host: UnbalancedNetwork,
    guest: UnbalancedNetwork,
    at: str,
    *,
    name: str,
    transformer: Mapping[str, float],
    load_scale: float = 1.0,
) -> UnbalancedNetwork:
    """Connect `guest` to a three-phase bus of `host`: see :func:`~powergrid.networks.compose.compose`.

    Raises
    ------
    NetworkError
        If the bus does not exist or lacks a phase, the name is taken, the frequencies differ or the transformer is
        incomplete.
    """
    here = host.phases_of(at)
    if here != PHASES:
        raise NetworkError(
            f'bus "{at}" of "{host.name}" has phase {" and ".join(here)} only; "{guest.name}" needs all three'
        )
    guest = scaled(guest, load=load_scale, shunt=load_scale)
    near = np.array([host.bus(f"{at}.{phase}") for phase in PHASES])
    offset, branch_offset = len(host.buses.name), len(host.branches.name)
    nodes, (own, theirs) = _nodes(host, guest, name, int(near[0])), _places(host, guest)
    branches = guest.branches._replace(
        name=prefixed(name, guest.branches.name),
        from_bus=guest.branches.from_bus + offset,
        to_bus=guest.branches.to_bus + offset,
    )
    link, block = _transformer(f"{name}.pcc", near, guest.source_nodes + offset, transformer)
    block = block._replace(row=block.row + branch_offset + len(branches.name))
    blocks = guest.blocks._replace(node=guest.blocks.node + offset, row=guest.blocks.row + branch_offset)
    loads = guest.loads._replace(name=prefixed(name, guest.loads.name), bus=theirs[guest.loads.bus])
    shunts = guest.shunts._replace(name=prefixed(name, guest.shunts.name), bus=guest.shunts.bus + offset)
    regulators = guest.regulators._replace(branch=guest.regulators.branch + branch_offset)
    return replace(
        host,
        buses=nodes,
        branches=joined(joined(host.branches, branches), link),
        blocks=joined(joined(host.blocks, blocks), block),
        pairs=joined(host.pairs, Pairs(guest.pairs.first + offset, guest.pairs.second + offset)),
        regulators=joined(host.regulators, regulators),
        loads=joined(host.loads._replace(bus=own[host.loads.bus]), loads),
        shunts=joined(host.shunts, shunts),
    )


def with_bus_in_phases(network: UnbalancedNetwork, name: str, vn_kv: float, at_bus: str) -> UnbalancedNetwork:
    """Add a bus with the phases of `at_bus` beside it: see :func:`~powergrid.networks.compose.with_bus`.

    Raises
    ------
    NetworkError
        If `at_bus` does not exist (with the nearest match), or lacks a phase and a transformer is needed.
    """
    phases, m = network.phases_of(at_bus), len(network.buses.name)
    near = np.array([network.bus(f"{at_bus}.{phase}") for phase in phases])
    far, own, count = m + np.arange(len(phases)), network.buses, len(phases)
    x, y = free_spot(own, int(near[0]))
    nodes = Nodes(
        tuple(f"{name}.{phase}" for phase in phases), np.full(count, vn_kv), (own.area[near[0]],) * count,
        np.full(count, x), np.full(count, y), (name,) * count, tuple(phases),
    )  # fmt: skip
    label, blocks, rows = f"{at_bus}-{name}", network.blocks, network.branches
    if same_voltage(vn_kv, float(own.vn_kv[near[0]])):
        for phase, here, there in zip(phases, near.tolist(), far.tolist(), strict=True):
            rows = joined(rows, switch_branch(f"{label}.{phase}", here, there))
    elif phases != PHASES:
        raise NetworkError(
            f'bus "{at_bus}" of "{network.name}" has phase {" and ".join(phases)} only; a transformer to "{name}" '
            "needs all three"
        )
    else:
        link, block = _transformer(label, near, far, NEW_BUS_TRANSFORMER)
        blocks, rows = joined(blocks, block._replace(row=block.row + len(rows.name))), joined(rows, link)
    at = network.loads.bus
    return replace(
        network,
        buses=joined(own, nodes),
        branches=rows,
        blocks=blocks,
        loads=network.loads._replace(bus=np.where(at < m, at, at + count)),  # pairs come behind all nodes
    )


def _nodes(host: UnbalancedNetwork, guest: UnbalancedNetwork, name: str, at_node: int) -> Nodes:
    """Nodes of both, the guest's renamed, moved to its area and drawn beside its connection."""
    x, y = guest_positions(host, at_node, guest.buses, guest.source_bus)
    own = guest.buses
    moved = own._replace(
        name=prefixed(name, own.name), bus=prefixed(name, own.bus), area=(name,) * len(own.name), x=x, y=y
    )
    return joined(host.buses, moved)


def _places(host: UnbalancedNetwork, guest: UnbalancedNetwork) -> tuple[np.ndarray, np.ndarray]:
    """New place of each of the host's and of the guest's: all nodes come before all pairs."""
    m, k = (np.array([len(network.buses.name), len(network.pairs.first)]) for network in (host, guest))
    own = np.concatenate([np.arange(m[0]), m[0] + k[0] + np.arange(m[1])])
    theirs = np.concatenate([m[0] + np.arange(k[0]), m[0] + k[0] + m[1] + np.arange(k[1])])
    return own, theirs


def _transformer(name: str, near: np.ndarray, far: np.ndarray, data: Mapping[str, float]) -> tuple[Branches, Blocks]:
    """Branch rows of the three phases, and the block behind them; the block's rows count from the first of these."""
    one = transformer_branch(name, 0, 0, data)
    sn_mva = float(data["sn_mva"])
    z_pu = complex(one.r_pu[0], one.x_pu[0]) * sn_mva / BASE_MVA
    numbers = {field: np.repeat(getattr(one, field), 3) for field in one._fields[4:]}
    rows = Branches(tuple(f"{name}.{phase}" for phase in PHASES), one.kind * 3, near, far, **numbers)
    rows = rows._replace(r_pu=np.zeros(3), x_pu=np.zeros(3))  # the impedance is the block's
    block = Blocks(
        size=np.array([6]),
        node=np.concatenate([near, far]),
        y_pu=transformer_matrix(VECTOR_GROUP, PHASES, z_pu, sn_mva).ravel(),
        row=np.tile(np.arange(3), 2),
        at_to=np.repeat([False, True], 3),
        rated_pu=np.full(6, sn_mva / 3 / BASE_MVA),
    )
    return rows, block
