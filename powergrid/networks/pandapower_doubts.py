"""Warnings of a conversion: a net that can be solved, but probably not as intended, or not quite as ``runpp`` does."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from powergrid.core.errors import NetworkWarning
from powergrid.networks.columns import NetworkColumns
from powergrid.networks.pandapower_options import PandapowerNet

FAR_FROM_NOMINAL = 1.25
"""A rated voltage beyond this factor of the nominal voltage of its bus, up or down, is probably a mistake [1]."""
SHOWN = 5
"""Findings of one kind that a warning lists."""


def warn_of_doubts(network: NetworkColumns, pp_net: PandapowerNet) -> None:
    """Warn once of every finding."""
    kinds = (
        [*_far_from_nominal(pp_net, "trafo", ("hv", "lv")), *_far_from_nominal(pp_net, "trafo3w", ("hv", "mv", "lv"))],
        _lines_between_levels(pp_net),
        _uneven_shares(network),
    )
    shown = [sentence for found in kinds for sentence in (*found[:SHOWN], *_more(len(found) - SHOWN))]
    if shown:
        warnings.warn(NetworkWarning("\n".join([f'network "{network.name}":', *shown])), stacklevel=3)


def _more(count: int) -> list[str]:
    return [f"  and {count} more like these"] if count > 0 else []


def _far(first_kv: float, second_kv: float) -> bool:
    return not 1 / FAR_FROM_NOMINAL <= first_kv / second_kv <= FAR_FROM_NOMINAL if second_kv > 0 else False


def _far_from_nominal(pp_net: PandapowerNet, table: str, sides: tuple[str, ...]) -> list[str]:
    """Windings whose rated voltage is far from that of their bus."""
    frame, vn_kv = pp_net[table], pp_net.bus.vn_kv
    found = []
    for index, row in frame[frame.in_service.astype(bool)].iterrows():
        for side in sides:
            rated, bus = float(row[f"vn_{side}_kv"]), row[f"{side}_bus"]
            nominal = float(vn_kv.get(bus, np.nan))
            if np.isfinite(rated) and np.isfinite(nominal) and _far(rated, nominal):
                name = f' "{row["name"]}"' if isinstance(row.get("name"), str) and row["name"] else ""
                found.append(
                    f"  {table} {index}{name} has vn_{side}_kv = {rated:g} kV at bus {bus} of vn_kv = {nominal:g} kV; "
                    f"check whether {' and '.join(f'{s}_bus' for s in sides)} are swapped, or correct one of the two"
                )
    return found


def _lines_between_levels(pp_net: PandapowerNet) -> list[str]:
    """Lines whose buses have different nominal voltages."""
    line, vn_kv = pp_net.line, pp_net.bus.vn_kv
    ends = (vn_kv.reindex(line[f"{end}_bus"]).to_numpy(float) for end in ("from", "to"))
    return [
        f"  line {index} joins buses of {first:g} and {second:g} kV; put a transformer between them, "
        "or correct their vn_kv"
        for index, on, first, second in zip(line.index, line.in_service.astype(bool), *ends, strict=True)
        if on and _far(first, second)
    ]


def _uneven_shares(network: NetworkColumns) -> list[str]:
    """Nodes at which ``runpp`` applies the mean of the loads' voltage-dependent shares to power that has others."""
    loads, static = network.loads, network.static_generators
    if not loads.by_voltage.any():
        return []
    shares, node = np.array(loads[4:]).T, _nodes(network)
    own, fed = node[loads.bus], node[static.bus[(static.p_mw != 0) | (static.q_mvar != 0)]]
    found = []
    for at in np.unique(own[loads.by_voltage]).tolist():
        here = np.flatnonzero(own == at)
        if np.ptp(shares[here], axis=0).max() > 1e-12 or at in fed:
            names = ", ".join(f'"{loads.name[k]}"' for k in here[:SHOWN])
            found.append(
                f'  at bus "{network.buses.name[loads.bus[here[0]]]}" runpp applies the mean of the shares of constant '
                f"current and impedance of all loads ({names}) to the whole power of the bus, generation included; "
                "here each load keeps its own, so results differ; to compare, give them equal shares or own buses"
            )
    return found


def _nodes(network: NetworkColumns) -> np.ndarray:
    """Node of each bus: buses joined by closed switches share one."""
    branches, count = network.branches, len(network.buses.name)
    joined = branches.closed & (np.array(branches.kind) == "switch")
    ends = branches.from_bus[joined], branches.to_bus[joined]
    graph = coo_array((np.ones(int(joined.sum())), ends), shape=(count, count))
    label: np.ndarray = connected_components(graph, directed=False)[1]
    return label
