"""Faults that make a three-phase network unsolvable, found all at once before any power flow is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from powergrid.core.errors import Issue, NetworkFaults
from powergrid.powerflow.compiled import connected_parts
from powergrid.powerflow.faults import islands, loads, numbers, voltages
from powergrid.powerflow.phase_tables import edges, phase_tables

if TYPE_CHECKING:
    from powergrid.networks.unbalanced import UnbalancedNetwork


def check_phases(network: UnbalancedNetwork) -> None:
    """Raise one error that names every fault of a three-phase network by its table and row.

    Raises
    ------
    NetworkFaults
        If anything is found; its ``issues`` hold place, finding and remedy.
    """
    issues = find_in_phases(network)
    if issues:
        raise NetworkFaults(network.name, issues)


def find_in_phases(network: UnbalancedNetwork) -> list[Issue]:
    """Every fault of a three-phase network: see :func:`powergrid.powerflow.faults.check`; a bus is a node there."""
    return [
        *numbers(network),
        *_matrices(network),
        *voltages(network),
        *_ratings(network),
        *_impedances(network),
        *_islands(network),
        *loads(network),
    ]


def _matrices(network: UnbalancedNetwork) -> Iterator[Issue]:
    """Elements whose admittances are no numbers, such as a line with a NaN in its impedance matrix."""
    blocks = network.blocks
    block_of = np.repeat(np.arange(len(blocks.size)), blocks.size**2)
    first = np.cumsum(blocks.size) - blocks.size
    for block in np.unique(block_of[~np.isfinite(blocks.y_pu)]).tolist():
        yield Issue(
            f"blocks[{block}].y_pu",
            f"{_element(network, int(blocks.row[first[block]]))} has an admittance that is no number",
            "look at its impedances, susceptances and ratings",
        )


def _element(network: UnbalancedNetwork, row: int) -> str:
    """``line "632-671"``: the element of a branch row."""
    return f'{network.branches.kind[row]} "{network.branches.name[row][:-2]}"'


def _ratings(network: UnbalancedNetwork) -> Iterator[Issue]:
    rating, blocks = network.branches.rating, network.blocks
    rows = np.append(np.flatnonzero(rating < 0), blocks.row[blocks.rated_pu < 0])
    first = {_element(network, row): row for row in np.unique(rows)[::-1].tolist()}
    for element, row in sorted(first.items(), key=lambda item: item[1]):
        value = rating[row] if rating[row] < 0 else blocks.rated_pu[blocks.row == row].min()
        yield Issue(
            f"branches[{row}].rating",
            f"{element} has a rating of {value:g}",
            "give kA for a line and MVA for a transformer, above 0, or NaN for no limit",
        )


def _impedances(network: UnbalancedNetwork) -> Iterator[Issue]:
    """Regulators without impedance; that of everything else is in the blocks, which cannot be made without one."""
    branches = network.branches
    regulator = np.array(branches.kind) == "regulator"
    for row in np.flatnonzero(regulator & branches.closed & (branches.r_pu == 0) & (branches.x_pu == 0)).tolist():
        yield Issue(f"branches[{row}].x_pu", f'branch "{branches.name[row]}" has no impedance', "give it one")


def _islands(network: UnbalancedNetwork) -> Iterator[Issue]:
    names, closed = network.buses.name, np.asarray(network.branches.closed, bool)
    part = connected_parts(len(names), *edges(network, phase_tables(network), closed))
    source = network.buses.bus[network.source_bus]
    return islands(names, part, part[network.source_nodes], f'the source at bus "{source}"')
