"""Faults that make a network unsolvable, found all at once before any power flow is tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from powergrid.core.errors import Issue, NetworkFaults
from powergrid.powerflow.compiled import connected_parts

if TYPE_CHECKING:
    from powergrid.networks.network import Network
    from powergrid.networks.unbalanced import UnbalancedNetwork

SHOWN = 10
"""Names of an island that are listed."""
SAME_PU = 1e-9
"""Set voltages closer than this are equal [pu]."""
TABLES = ("buses", "branches", "regulators", "loads", "static_generators", "shunts", "generators", "sources")
"""Tables whose numbers are checked."""

_OPTIONAL = {
    "buses": ("x", "y"),
    "branches": ("rating", "rated_from_kv", "rated_to_kv"),
    "regulators": ("pt_ratio", "ct_a", "r_v", "x_v", "v_set_v", "bandwidth_v", "delay_s", "gang"),
}
"""Columns in which a number may be missing."""
_UNBOUNDED = ("q_min_mvar", "q_max_mvar")
"""Columns that may be infinite."""


def check(network: Network, moves: np.ndarray | None = None) -> None:
    """Raise one error that names every fault of a balanced network by its table and row.

    Found are numbers that are missing or infinite, nominal voltages that are not positive, negative ratings, branches
    without impedance, islands and single buses without a source, sources that share a bus, generators that
    disagree about the voltage of one, and a network that nothing is connected to.

    Parameters
    ----------
    network
        The network.
    moves
        Branches that topologies open or close, ``(b,)``; none by default.

    Raises
    ------
    NetworkFaults
        If anything is found; its ``issues`` hold place, finding and remedy.
    """
    issues = find(network, moves)
    if issues:
        raise NetworkFaults(network.name, issues)


def find(network: Network, moves: np.ndarray | None = None) -> list[Issue]:
    """Every fault that :func:`check` raises, empty for a sound network."""
    moving = np.zeros(len(network.branches.name), bool) if moves is None else moves
    return [
        *numbers(network),
        *voltages(network),
        *_ratings(network),
        *_impedances(network, moving),
        *_islands(network),
        *_set_points(network, moving),
        *loads(network),
    ]


def fixed_topology(network: Network, reason: str) -> Issue:
    """Why the topology of a network that needs Newton's method, for that `reason`, cannot change while it runs."""
    return Issue(
        "",
        f'"{network.name}" is solved by newton ({reason}), which solves one topology: switches and outages cannot '
        "change it",
        "open the branches in the network itself, or let static generators stand for what holds a voltage",
    )


def numbers(network: Network | UnbalancedNetwork) -> Iterator[Issue]:
    """Missing and infinite numbers, one issue per row, since one mistake often spoils several of its columns."""
    for table in TABLES:
        columns: Any = getattr(network, table, None)
        if columns is None:
            continue  # three-phase networks have no generators
        wrong: dict[int, list[str]] = {}
        for column, values in columns._asdict().items():
            if column in _OPTIONAL.get(table, ()) or np.asarray(values).dtype.kind != "f":
                continue
            bad = np.isnan(values) if column in _UNBOUNDED else ~np.isfinite(values)
            for row in np.flatnonzero(bad).tolist():
                wrong.setdefault(row, []).append(column)
        for row, found in sorted(wrong.items()):
            shown = " and ".join(f"{column} = {getattr(columns, column)[row]}" for column in found)
            yield Issue(f"{table}[{row}].{found[0]}", f"{_name(network, table, row)} has {shown}", "give a number")
    if not np.isfinite(network.source_v_pu):
        yield Issue("source_v_pu", f"the source has {network.source_v_pu}", "give a voltage in pu")


def _name(network: Network | UnbalancedNetwork, table: str, row: int) -> str:
    """``branch "a-b"``; a regulator is called by its branch."""
    columns: Any = getattr(network, table)
    what = {"buses": "bus", "branches": "branch"}.get(table, table.removesuffix("s").replace("_", " "))
    names = network.branches.name if table == "regulators" else columns.name
    return f'{what} "{names[columns.branch[row] if table == "regulators" else row]}"'


def voltages(network: Network | UnbalancedNetwork) -> Iterator[Issue]:
    """Buses without a positive nominal voltage."""
    for row in np.flatnonzero(network.buses.vn_kv <= 0).tolist():
        yield Issue(
            f"buses[{row}].vn_kv",
            f'bus "{network.buses.name[row]}" has a nominal voltage of {network.buses.vn_kv[row]:g} kV',
            "give its line-to-line voltage, above 0",
        )


def _ratings(network: Network) -> Iterator[Issue]:
    for row in np.flatnonzero(network.branches.rating < 0).tolist():
        yield Issue(
            f"branches[{row}].rating",
            f"{_branch(network, row)} has a rating of {network.branches.rating[row]:g}",
            "give kA for a line and MVA for a transformer, above 0, or NaN for no limit",
        )


def _branch(network: Network, row: int) -> str:
    return f'branch "{network.branches.name[row]}" ({network.branches.kind[row]})'


def _impedances(network: Network, moving: np.ndarray) -> Iterator[Issue]:
    branches = network.branches
    conducts = (branches.closed | moving) & (np.array(branches.kind) != "switch")
    for row in np.flatnonzero(conducts & (branches.r_pu == 0) & (branches.x_pu == 0)).tolist():
        yield Issue(
            f"branches[{row}].r_pu",
            f"{_branch(network, row)} has no impedance",
            "give it one, or make it a switch, whose buses become one node",
        )


def _islands(network: Network) -> Iterator[Issue]:
    buses, branches = network.buses, network.branches
    part = connected_parts(len(buses.name), branches.from_bus[branches.closed], branches.to_bus[branches.closed])
    fed = part[np.append(network.sources.bus, network.source_bus)]
    return islands(buses.name, part, fed, f'the source at bus "{buses.name[network.source_bus]}"')


def islands(names: Sequence[str], part: np.ndarray, fed: np.ndarray, source: str) -> Iterator[Issue]:
    """Parts of a network that are none of those `fed`, each as one issue."""
    for label in np.unique(part[~np.isin(part, fed)]):
        members = np.flatnonzero(part == label).tolist()
        if len(members) == 1:
            yield Issue(
                f"buses[{members[0]}]",
                f'nothing feeds bus "{names[members[0]]}": it has no path to {source}',
                "connect it by a branch in service, or remove it",
            )
            continue
        rest = f" and {len(members) - SHOWN} more" if len(members) > SHOWN else ""
        yield Issue(
            f"buses[{members[0]}]",
            f"island of {len(members)} buses without a path to {source}: "
            f"{', '.join(names[bus] for bus in members[:SHOWN])}{rest}",
            "close a switch, put a branch in service, add a source or remove the buses",
        )


def _set_points(network: Network, moving: np.ndarray) -> Iterator[Issue]:
    """Sources and generators with different set points at one node."""
    branches, own, others = network.branches, network.generators, network.sources
    fused = branches.closed & (np.array(branches.kind) == "switch") & ~moving
    node = connected_parts(len(network.buses.name), branches.from_bus[fused], branches.to_bus[fused])
    at = network.buses.name
    seen = {int(node[network.source_bus]): (f'the source at bus "{at[network.source_bus]}"', network.source_v_pu)}
    for row, (name, bus, v) in enumerate(zip(others.name, others.bus.tolist(), others.v_pu.tolist(), strict=True)):
        other = seen.setdefault(int(node[bus]), (f'source "{name}"', v))
        if other[0] != f'source "{name}"':
            apart = f", at {other[1]:g} and {v:g} pu" if abs(other[1] - v) > SAME_PU else ""
            yield Issue(
                f"sources[{row}]",
                f'{other[0]} and source "{name}" are at one bus, "{at[bus]}"{apart}',
                "keep one of them, for nothing decides how they share their power",
            )
    for row, (name, bus, v) in enumerate(zip(own.name, own.bus.tolist(), own.v_set_pu.tolist(), strict=True)):
        other = seen.setdefault(int(node[bus]), (f'generator "{name}"', v))
        if abs(other[1] - v) > SAME_PU:
            yield Issue(
                f"generators[{row}].v_set_pu",
                f'{other[0]} and generator "{name}" hold one bus at {other[1]:g} and {v:g} pu',
                "give both the same set point",
            )


def loads(network: Network | UnbalancedNetwork) -> Sequence[Issue]:
    """Nothing drawn and nothing fed in; a load of 0 MW marks that as intended."""
    generators = getattr(network, "generators", None)
    if len(network.loads.name) or len(network.static_generators.name):
        return ()
    if generators is not None and len(generators.name):
        return ()
    hint = "add a load; one of 0 MW solves it at no load on purpose, or names where devices draw theirs"
    return (Issue("loads", "the network has no load and no generator", hint),)
