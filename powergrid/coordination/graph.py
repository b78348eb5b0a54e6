"""Who is linked with whom among the members of a protocol: topologies by name, from the feeder, or from a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx

from powergrid.core import graph
from powergrid.core.graph import Graph

Topology = str | Sequence[tuple[str, str]]
"""A topology by name, or pairs of ids."""

TOPOLOGIES = ("full", "neighbours", "star", "feeder")
"""Topologies by name; a list of pairs of ids is the fifth form."""


def graph_of(
    topology: Topology,
    ids: Sequence[str],
    nodes: Sequence[int],
    branches: Iterable[tuple[int, int]],
) -> Graph:
    """The graph of a topology.

    Parameters
    ----------
    topology
        ``full``; ``neighbours``: each with the next in order of listing, closed to a ring; ``star``: all with the
        first; ``feeder``: see :func:`feeder`; or pairs of ids.
    ids
        The members.
    nodes
        Node of the network at which each member is connected.
    branches
        Closed branches of the network as pairs of nodes.
    """
    size = len(ids)
    if not isinstance(topology, str):
        place = {id: k for k, id in enumerate(ids)}
        return graph.of_pairs(size, ((place[a], place[b]) for a, b in topology))
    if topology == "feeder":
        return feeder(nodes, branches)
    return {"full": graph.full, "star": graph.star, "neighbours": graph.ring}[topology](size)


def feeder(nodes: Sequence[int], branches: Iterable[tuple[int, int]]) -> Graph:
    """Members whose parts of the feeder touch: every node belongs to the nearest member.

    Members at one node form a chain, whose first meets the outside. Cost grows linearly with nodes and members.

    Parameters
    ----------
    nodes
        Node of each member.
    branches
        Pairs of nodes.
    """
    network = nx.Graph(list(branches))
    network.add_nodes_from(nodes)
    first: dict[int, int] = {}
    pairs = []
    for member, node in enumerate(nodes):
        if node in first:
            pairs.append((member - 1 if nodes[member - 1] == node else first[node], member))
        first.setdefault(node, member)
    nearest = nx.voronoi_cells(network, set(first)) if first else {}
    cell = {node: first[center] for center, cells in nearest.items() if center in first for node in cells}
    pairs += [(cell[a], cell[b]) for a, b in network.edges if a in cell and b in cell and cell[a] != cell[b]]
    return graph.of_pairs(len(nodes), pairs, "feeder")
