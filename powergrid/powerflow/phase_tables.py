"""Blocks, pairs and sources of a three-phase network as tables of a compiled network."""

from __future__ import annotations

import numpy as np

from powergrid.networks.unbalanced import UnbalancedNetwork
from powergrid.powerflow.compiled import PhaseTables


def phase_tables(network: UnbalancedNetwork) -> PhaseTables:
    """Blocks, pairs and source nodes of a network."""
    blocks = network.blocks
    return PhaseTables(
        blocks.size, blocks.node, blocks.y_pu, blocks.row, blocks.at_to,
        np.divide(100.0, blocks.rated_pu, out=np.zeros(len(blocks.node)), where=blocks.rated_pu > 0),
        network.pairs.first, network.pairs.second, network.source_nodes,
    )  # fmt: skip


def edges(network: UnbalancedNetwork, tables: PhaseTables, closed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between nodes with the branches `closed`: switches and regulators, and what blocks couple."""
    branches = network.branches
    (rows, columns), own = tables.entries, closed & np.isin(branches.kind, ("switch", "regulator"))
    couples = closed[tables.row[rows]] & (tables.y != 0)
    return (
        np.concatenate([np.asarray(branches.from_bus, np.int64)[own], tables.bus[rows[couples]]]),
        np.concatenate([np.asarray(branches.to_bus, np.int64)[own], tables.bus[columns[couples]]]),
    )
