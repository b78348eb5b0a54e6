"""What the method for JAX reads from a network: dense maps from sources to voltages and currents, made once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from powergrid.powerflow.compile import Compiled, Terms
from powergrid.powerflow.responses import Responses, across, corrections, real, respond, standing


@dataclass(frozen=True, eq=False)
class Plan:
    """What :func:`solve` needs, made once per network by :func:`plan`.

    Attributes
    ----------
    compiled
        The network as tables.
    tol_pu, max_iter
        Tolerance on the largest voltage change [pu] and limit of iterations.
    bus
        Places that may draw current: buses, or buses + k for the k-th pair of nodes of a three-phase network, ``(a,)``.
    inner, inner_source
        Map from the sources ``[i (a), e (k), g (k)]`` to ``[V bus, V from, I regulator]``, in real form, and the share
        of the network's source; `V` of a pair is the voltage across it.
    outer, outer_source
        The same to ``[V of all buses, I at all to ends, I at the ends in "ends"]``.
    ends
        Further branch ends whose current is read: from ends by branch, to ends by branch + b.
    terms
        Meters, and last the source, as sums of powers.
    ports, ports_source
        The same to the ports of the elements that topologies move.
    topologies, held
        Those elements' sources from their ports in each topology, in real form, ``(T, 6s + 2r, 6s + 2r)``, and a
        constant that references add, ``(T, 6s + 2r)``.
    inner_moving, outer_moving
        Map from those sources to the results of `inner` and `outer`.

    In a three-phase network with topologies `inner`, `outer` and their sources have an axis of topologies in front, and
    nothing corrects them; `inner_held` and `outer_held` are what references add, ``(T, ...)``, and `outer` also gives
    the currents that references feed in.
    """

    compiled: Compiled
    tol_pu: float
    max_iter: int
    bus: np.ndarray
    inner: np.ndarray
    inner_source: np.ndarray
    outer: np.ndarray
    outer_source: np.ndarray
    ends: np.ndarray
    terms: Terms
    ports: np.ndarray
    ports_source: np.ndarray
    topologies: np.ndarray
    held: np.ndarray
    inner_moving: np.ndarray
    outer_moving: np.ndarray
    inner_held: np.ndarray | None = None
    outer_held: np.ndarray | None = None


def maps_as_given(compiled: Compiled, nodes: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """Responses of the network as given, and what corrects them in each topology."""
    found = respond(compiled, nodes)
    inner, outer = _inner_rows(compiled, nodes, found), _outer_rows(compiled, ends, found)
    own = slice(1, 1 + nodes.shape[1] + 2 * len(compiled.regulator))
    table, constant = corrections(compiled, found)
    return {
        "inner": real(inner[:, own]), "inner_source": inner[:, 0], "outer": real(outer[:, own]),
        "outer_source": outer[:, 0], "ports": real(found.ports[:, own]), "ports_source": found.ports[:, 0],
        "topologies": np.stack([real(one) for one in table]),
        "held": np.concatenate([constant.real, constant.imag], axis=1), "inner_moving": real(inner[:, own.stop :]),
        "outer_moving": real(outer[:, own.stop :]),
    }  # fmt: skip


def maps_by_topology(compiled: Compiled, nodes: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """Responses of a three-phase network in each topology."""
    inner, outer = [], []
    for topology in range(compiled.n_topology):
        found, fed = standing(compiled, nodes, topology)
        inner.append(_inner_rows(compiled, nodes, found))
        outer.append(np.concatenate([_outer_rows(compiled, ends, found), fed]))
    maps = {
        f"{name}{part}": np.stack([read(one) for one in rows])
        for name, rows in (("inner", inner), ("outer", outer))
        for part, read in (
            ("", lambda rows: real(rows[:, 1:-1])), ("_source", lambda rows: rows[:, 0]),
            ("_held", lambda rows: rows[:, -1]),
        )
    }  # fmt: skip
    others = ("ports", "ports_source", "topologies", "held", "inner_moving", "outer_moving")
    return maps | dict.fromkeys(others, np.zeros((0, 0)))


def _inner_rows(compiled: Compiled, nodes: np.ndarray, found: Responses) -> np.ndarray:
    return np.concatenate([across(nodes, found.v), found.v[from_node(compiled)], found.i_regulator])


def _outer_rows(compiled: Compiled, ends: np.ndarray, found: Responses) -> np.ndarray:
    return np.concatenate([found.v[compiled.node], found.i_to, _both_ends(found)[ends]])


def rated(compiled: Compiled) -> Compiled:
    """The tables with the ratings of a three-phase network's terminals at the branch ends that show them."""
    if compiled.phases is None:
        return compiled
    ends = np.zeros((2, compiled.n_branch))
    ends[compiled.phases.at_to.astype(int), compiled.phases.row] = compiled.phases.percent
    return replace(compiled, percent_from=ends[0], percent_to=ends[1])


def from_ends(compiled: Compiled) -> np.ndarray:
    """Branches whose loading is read at their from end, too.

    Their shunt makes ``|i_from|`` another current than ``|gain| |i_to|``, or that end is the narrower one: at a
    transformer whose tap is not in the middle, and at the high-voltage winding of a three-winding one.
    """
    narrower = compiled.percent_from * np.abs(compiled.gain) > compiled.percent_to * (1 + 1e-9)
    differ = (compiled.half_shunt != 0) | narrower
    if compiled.phases is not None:
        differ = differ | (compiled.terminal_of[0] >= 0)
    read_there: np.ndarray = differ & (compiled.percent_from > 0)
    return read_there


def from_node(compiled: Compiled) -> np.ndarray:
    """Node at the from end of each regulator, ``(k,)``."""
    nodes: np.ndarray = compiled.from_node[compiled.regulator]
    return nodes


def _both_ends(found: Responses) -> np.ndarray:
    return np.concatenate([found.i_from, found.i_to])
