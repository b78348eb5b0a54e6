"""Coordinates of buses: a tree for networks without any, a free place for added buses. Geometry only."""

from __future__ import annotations

import numpy as np

from powergrid.networks.kinds import AnyNetwork
from powergrid.networks.network import Network
from powergrid.networks.tables import Buses, Nodes

_GUEST_SIZE = 0.34  # diagonal of a guest over that of its host
_DISTANCES = (0.1, 0.15, 0.2, 0.26, 0.32)  # of a guest's first bus from the host's, over the host's diagonal
_CLEARANCE = 0.08  # as good as any larger one, over the host's diagonal


def tree_layout(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a tree that grows to the right from the source.

    Each bus stands one unit right of the bus that feeds it. The largest branch goes straight on, the others turn off to
    alternating sides, so that the trunk of a feeder is a straight line. Only closed branches feed.

    Returns
    -------
    tuple of numpy.ndarray
        ``x`` and ``y``, each ``(m,)``.
    """
    parent, order = _spanning_tree(network)
    children: dict[int, list[int]] = {bus: [] for bus in order}
    size = np.ones(len(parent))
    for bus in reversed(order):
        if parent[bus] >= 0:
            size[parent[bus]] += size[bus]
    for bus in order:
        if parent[bus] >= 0:
            children[parent[bus]].append(bus)
    x, y = np.zeros(len(parent)), np.zeros(len(parent))
    extent: dict[int, tuple[float, float]] = {}  # lowest and highest y of each subtree, relative to its root
    offset = np.zeros(len(parent))
    for bus in reversed(order):
        low = high = 0.0
        for rank, child in enumerate(sorted(children[bus], key=lambda c: -size[c])):
            child_low, child_high = extent[child]
            if rank == 0:
                low, high = min(low, child_low), max(high, child_high)
            elif high <= -low:
                offset[child] = high + 1 - child_low
                high += 1 - child_low + child_high
            else:
                offset[child] = low - 1 - child_high
                low -= 1 + child_high - child_low
        extent[bus] = low, high
    next_root = 0.0
    for bus in order:
        if parent[bus] >= 0:
            x[bus], y[bus] = x[parent[bus]] + 1, y[parent[bus]] + offset[bus]
        else:
            y[bus] = next_root - extent[bus][1]
            next_root = y[bus] + extent[bus][0] - 1
    return x, y


def radial_layout(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a tree that grows to all sides from the first fork behind the source, without crossings.

    Each bus stands in the middle of its sector, at a distance of its depth. Sectors are divided by the number of ends
    behind each bus, the largest in the middle, so that trunks run straight. Only closed branches feed.

    Returns
    -------
    tuple of numpy.ndarray
        ``x`` and ``y``, each ``(m,)``.
    """
    parent, order = _spanning_tree(network, _first_fork(network))
    ends, depth = np.zeros(len(parent)), np.zeros(len(parent))
    children: dict[int, list[int]] = {bus: [] for bus in (-1, *order)}
    for bus in reversed(order):
        ends[bus] = max(ends[bus], 1.0)
        if parent[bus] >= 0:
            ends[parent[bus]] += ends[bus]
    for bus in order:
        children[int(parent[bus])].append(bus)
    several = len(children[-1]) > 1  # then their common place is the centre
    inner = np.sqrt(len(order)) / 4  # what lies close to the centre is drawn further out, where there is more room
    start, angle = np.zeros(len(parent)), np.zeros(len(parent))
    total = sum(ends[bus] for bus in children[-1])
    for bus in (-1, *order):
        if bus >= 0:
            depth[bus] = depth[parent[bus]] + 1 if parent[bus] >= 0 else float(several)
            angle[bus] = start[bus] + np.pi * ends[bus] / total
        begin = 0.0 if bus < 0 else start[bus]
        for child in _largest_in_the_middle(children[bus], ends):
            start[child] = begin
            begin += 2 * np.pi * ends[child] / total
    radius = np.where(depth > 0, depth + inner, 0.0)
    return radius * np.cos(angle), radius * np.sin(angle)


def _largest_in_the_middle(buses: list[int], size: np.ndarray) -> list[int]:
    by_size = sorted(buses, key=lambda bus: -size[bus])
    return by_size[1::2][::-1] + by_size[::2]


def apart(network: Network, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in which buses published at one place stand apart: a third of the way to a neighbour, or beside."""
    branches, place = network.branches, x + 1j * y
    moved, taken = place.copy(), set()
    for bus, here in enumerate(place.tolist()):
        if here not in taken:
            taken.add(here)
            continue
        ends = np.concatenate([branches.to_bus[branches.from_bus == bus], branches.from_bus[branches.to_bus == bus]])
        others = place[ends][place[ends] != here]
        moved[bus] = here + ((others[0] - here) / 3 if len(others) else 0.03 * _diagonal(place))
    return moved.real.copy(), moved.imag.copy()


def guest_positions(host: AnyNetwork, at_bus: int, guest: Buses | Nodes, head: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a guest's buses: shrunk, turned and moved to a clear place around the host bus.

    A place is better the farther the guest's ground lies from all other buses, the nearer it is to `at_bus` and the
    fewer branches the connection crosses. NaN where the host or the guest has no coordinates.
    """
    buses, branches = host.buses, host.branches
    host_xy, guest_xy = buses.x + 1j * buses.y, guest.x + 1j * guest.y
    if not (np.isfinite(host_xy).all() and np.isfinite(guest_xy).all()):
        return np.full(len(guest.name), np.nan), np.full(len(guest.name), np.nan)
    span = _diagonal(host_xy[np.array([not area for area in buses.area])])
    shape = (guest_xy - guest_xy[head]) * (_GUEST_SIZE * span / max(_diagonal(guest_xy), 1e-9))
    here = host_xy[at_bus]
    # what lies beyond can neither hinder nor be crossed
    far = (_DISTANCES[-1] + _CLEARANCE) * span + np.abs(shape).max()
    starts, ends = host_xy[branches.from_bus] - here, host_xy[branches.to_bus] - here
    near = (np.minimum(np.abs(starts.real), np.abs(ends.real)) < far) | (starts.real * ends.real < 0)
    near &= (np.minimum(np.abs(starts.imag), np.abs(ends.imag)) < far) | (starts.imag * ends.imag < 0)
    starts, ends = starts[near] + here, ends[near] + here
    others = host_xy[np.maximum(np.abs((host_xy - here).real), np.abs((host_xy - here).imag)) < far]
    best, best_merit = shape + here, -np.inf
    for distance in _DISTANCES:
        for direction in np.exp(1j * np.deg2rad(np.arange(0, 360, 15))):
            start = here + distance * span * direction
            if _CLEARANCE - 0.1 * distance <= best_merit + 1e-9:
                continue
            crossed = crossings(here + 0.01 * span * direction, start, starts, ends)
            if _CLEARANCE - 0.1 * distance - 0.03 * crossed <= best_merit + 1e-9:
                continue
            for turn in (1, 1j, -1, -1j):
                candidate = start + shape * turn
                clearance = _distance_to_box(others, candidate) / span
                merit = min(clearance, _CLEARANCE) - 0.1 * distance - 0.03 * crossed
                if merit > best_merit + 1e-9:
                    best, best_merit = candidate, merit
    return best.real.copy(), best.imag.copy()


def _distance_to_box(points: np.ndarray, inside: np.ndarray) -> float:
    """Least distance of `points` to the bounding box of `inside`."""
    dx = np.maximum(np.maximum(inside.real.min() - points.real, points.real - inside.real.max()), 0)
    dy = np.maximum(np.maximum(inside.imag.min() - points.imag, points.imag - inside.imag.max()), 0)
    return float(np.hypot(dx, dy).min())


def crossings(a: complex, b: complex, starts: np.ndarray, ends: np.ndarray) -> int:
    """How many of the segments `starts` to `ends` the segment from `a` to `b` crosses."""

    def side(p: np.ndarray | complex, q: np.ndarray | complex, r: np.ndarray | complex) -> np.ndarray:
        return np.sign(np.imag(np.conj(np.asarray(q) - p) * (np.asarray(r) - p)))

    apart = side(a, b, starts) * side(a, b, ends) < 0
    return int(np.sum(apart & (side(starts, ends, a) * side(starts, ends, b) < 0)))


def free_spot(buses: Buses | Nodes, here: int) -> tuple[float, float]:
    """A place close to bus `here` and away from the others; NaN where the network has no coordinates."""
    xy = buses.x + 1j * buses.y
    if not np.isfinite(xy).all():
        return np.nan, np.nan
    radius = 0.05 * max(_diagonal(xy), 1.0)
    candidates = xy[here] + radius * np.exp(1j * np.deg2rad(np.arange(0, 360, 30)))
    clearance = np.abs(candidates[:, None] - xy[None, :]).min(axis=1)
    best = candidates[int(np.argmax(clearance))]
    return float(best.real), float(best.imag)


def _diagonal(xy: np.ndarray) -> float:
    return float(np.hypot(np.ptp(xy.real), np.ptp(xy.imag)))


def _first_fork(network: Network) -> int:
    """The bus nearest to the source from which more than one branch leads on."""
    parent, order = _spanning_tree(network)
    fed = np.bincount(parent[parent >= 0], minlength=len(parent))
    bus = order[0]
    for other in order[1:]:
        if fed[bus] != 1 or parent[other] != bus:
            break
        bus = other
    return bus


def _spanning_tree(network: Network, first: int | None = None) -> tuple[np.ndarray, list[int]]:
    """Feeding bus of each bus (-1 for roots) and the buses in an order that puts it first."""
    branches = network.branches
    neighbours: list[list[int]] = [[] for _ in network.buses.name]
    for k in np.flatnonzero(branches.closed):
        neighbours[branches.from_bus[k]].append(int(branches.to_bus[k]))
        neighbours[branches.to_bus[k]].append(int(branches.from_bus[k]))
    parent = np.full(len(neighbours), -1)
    met = np.zeros(len(neighbours), bool)
    order: list[int] = []
    for root in [network.source_bus if first is None else first, *range(len(neighbours))]:
        if met[root]:
            continue
        met[root] = True
        queue = [root]
        for bus in queue:
            for other in neighbours[bus]:
                if not met[other]:
                    met[other], parent[other] = True, bus
                    queue.append(other)
        order += queue
    return parent, order
