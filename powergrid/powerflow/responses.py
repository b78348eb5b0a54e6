"""Responses of a network to currents: dense linear maps in float64, made once, that keep their digits in float32.

With the taps of its regulators at rest a network is linear in the currents its loads inject. A regulator that moves by
``delta`` adds two sources to it: a voltage ``e = delta V_from`` in series with its impedance, and a current
``g = delta I`` drawn at its from node, `I` being the current through it. So node voltages and branch currents are a
fixed matrix times ``[V_source, i, e, g]``. All of its entries are of order one (impedances, not admittances), because
the stiff branches of regulators and short lines are eliminated here, in float64.

A topology adds three sources to each element that it opens or closes: a series voltage `o`, which stops the current of
an open branch, and currents `h`, `k` into its two nodes, which stand for a closed one or take back an open one's
charging. A reference adds the current `r` into its bus that brings the bus to the voltage it holds. They are linear in
what ports would show without them, see :func:`corrections`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from powergrid.core.errors import NetworkError
from powergrid.powerflow.compiled import Compiled, Sparse, connected_parts
from powergrid.powerflow.topology import HOLD_PU, SWITCH_PU, nothing_moves


@dataclass(frozen=True, eq=False)
class Responses:
    """Complex responses; columns are ``[source, i (a), e (k), g (k), o (s), h (s), k (s), r]``.

    Attributes
    ----------
    v
        Node voltages, the source's last, ``(n_node + n_source, 1 + a + 2k + 3s + r)``.
    i_from, i_to
        Currents entering each branch at its ends, a regulator's `g` included, ``(b, ...)``.
    i_regulator
        Current through each regulator, as its to side sees it, ``(k, ...)``.
    ports
        Series current and voltages of both nodes of each moving branch, voltages at references, ``(3s + r, ...)``.
    """

    v: np.ndarray
    i_from: np.ndarray
    i_to: np.ndarray
    i_regulator: np.ndarray
    ports: np.ndarray


def across(nodes: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rows of `v` at each of `nodes` ``(2, a)``, less those at the second one where that is not earth."""
    second = nodes[1]
    difference: np.ndarray = v[nodes[0]] - np.where((second >= 0)[:, None], v[np.maximum(second, 0)], 0.0)
    return difference


def respond(compiled: Compiled, active: np.ndarray, y: Sparse | None = None) -> Responses:
    """Responses to currents injected at `active` and to the sources of regulators and moving elements.

    `active` holds the node that each current enters and the one it is taken from, -1 for earth, ``(2, a)``; `y` is
    another admittance matrix than the network's own.

    Raises
    ------
    NetworkError
        If the admittance matrix is singular.
    """
    n, a, sources, regulators = compiled.n_node, active.shape[1], compiled.n_source, compiled.regulator
    moving = np.flatnonzero(compiled.moving.branch >= 0)
    k, s = len(regulators), len(moving)
    held = compiled.node[compiled.moving.held_bus]
    r = 1 + a + 2 * k + 3 * s + np.arange(len(held))
    e, g, o = 1 + a + np.arange(k), 1 + a + k + np.arange(k), 1 + a + 2 * k + np.arange(s)
    voltage, branch = np.concatenate([e, o]), np.concatenate([regulators, moving])  # series voltages and where they are
    live = compiled.live[branch]
    gain, series, half = compiled.gain[branch], compiled.series[branch] * live, compiled.half_shunt[branch] * live
    f, t = compiled.from_node[branch], compiled.to_node[branch]
    currents = np.zeros((n + sources, 1 + a + 2 * k + 3 * s + len(held)), complex)
    for sign, nodes in zip((1.0, -1.0), active, strict=True):
        np.add.at(currents, (nodes[nodes >= 0], 1 + np.flatnonzero(nodes >= 0)), sign)
    # the series voltage as the current source that stands for it behind the branch's admittances
    np.add.at(currents, (f, voltage), -np.conj(gain) * (series + half))
    np.add.at(currents, (t, voltage), series)
    np.add.at(currents, (f[:k], g), -1.0)
    np.add.at(currents, (f[k:], o + s), 1.0)
    np.add.at(currents, (t[k:], o + 2 * s), 1.0)
    np.add.at(currents, (held, r), 1.0)
    y = compiled.ybus() if y is None else y
    right = currents[:n].copy()
    right[:, 0] -= y[:n, n:] @ compiled.source_phasor
    try:
        inner = splu(y[:n, :n].tocsc()).solve(right) if n else right
    except RuntimeError as error:
        raise NetworkError("the network's admittance matrix is singular; check its impedances and shunts") from error
    v = np.concatenate([inner, np.zeros((sources, right.shape[1]))])
    v[n:, 0] = compiled.source_phasor

    behind = compiled.gain[:, None] * v[compiled.from_node]
    behind[branch, voltage] += 1.0
    through = (compiled.series * compiled.live)[:, None] * (behind - v[compiled.to_node])
    charging = (compiled.half_shunt * compiled.live)[:, None]
    into = through + charging * behind
    i_from, i_to = np.conj(compiled.gain)[:, None] * into, charging * v[compiled.to_node] - through
    i_from[regulators, g] += 1.0
    i_from[moving, o + s] -= 1.0
    i_to[moving, o + 2 * s] -= 1.0
    ports = np.concatenate([through[moving], v[f[k:]], v[t[k:]], v[held]])
    if compiled.phases is not None:
        at_to, row = compiled.phases.at_to, compiled.phases.row
        terminal = compiled.phases.currents(v[compiled.node])
        i_from[row[~at_to]], i_to[row[at_to]] = terminal[~at_to], terminal[at_to]
    return Responses(v=v, i_from=i_from, i_to=i_to, i_regulator=into[regulators], ports=ports)


def standing(compiled: Compiled, active: np.ndarray, topology: int) -> tuple[Responses, np.ndarray]:
    """Responses of a three-phase network as it stands in one topology; no element moves any more.

    Blocks of several conductors have no series voltage that would stop their currents: each topology has responses of
    its own instead of corrections.

    Returns
    -------
    responses, references
        Columns ``[source, i (a), e (k), g (k), 1]``, the last one what references add; and the currents that these
        feed in, ``(r, ...)``.
    """
    moving, closed = compiled.moving, compiled.moving.closed[topology]
    element, row, column = moving.entries
    node, keep, grounds = compiled.node[moving.bus], closed[element], compiled.node[moving.ground[topology]]
    data = np.concatenate([moving.y[keep], np.ones(len(grounds))])
    rows, columns = np.concatenate([node[row[keep]], grounds]), np.concatenate([node[column[keep]], grounds])
    y = compiled.ybus(moving=False)
    y = (y + sp.csc_matrix((data, (rows, columns)), shape=y.shape)).tocsc()
    held, holds = compiled.node[moving.held_bus], closed[moving.n_branch :]
    fixed = replace(compiled, moving=nothing_moves(compiled.n_bus, compiled.n_branch))
    found = respond(fixed, np.concatenate([active, np.stack([held, np.full(len(held), -1)])], axis=1), y)
    behind = holds * moving.held[moving.n_branch :] / HOLD_PU  # a reference as the current source that stands for it
    own = slice(1 + active.shape[1], 1 + active.shape[1] + len(held))

    def folded(rows: np.ndarray) -> np.ndarray:
        return np.column_stack([np.delete(rows, own, axis=1), rows[:, own] @ behind])

    v, i_from, i_to, i_regulator = (folded(part) for part in _parts_of(found))
    for branch in np.flatnonzero(moving.branch >= 0).tolist():
        if not closed[moving.branch[branch]]:
            i_from[branch] = i_to[branch] = 0.0
        elif compiled.terminal_of[0, branch] < 0:  # a switch
            through = (v[compiled.from_node[branch]] - v[compiled.to_node[branch]]) / SWITCH_PU
            i_from[branch], i_to[branch] = through, -through
    fed = -v[held] * (holds / HOLD_PU)[:, None]
    fed[:, -1] += behind
    return Responses(v, i_from, i_to, i_regulator, found.ports), fed


def _parts_of(found: Responses) -> tuple[np.ndarray, ...]:
    """Voltages and currents of branches and regulators."""
    return found.v, found.i_from, found.i_to, found.i_regulator


def corrections(compiled: Compiled, found: Responses) -> tuple[np.ndarray, np.ndarray]:
    """Sources ``[o, h, k, r]`` in each topology: a map from the ports without them, and a constant.

    An open branch carries no series current, or leaves a dead island at 0 V: one such branch an island, on the way to
    the source. What charges it is given back to its nodes. A branch that closes draws its pi section's currents. A
    reference in service holds its voltage behind its admittance.

    Returns
    -------
    table, constant
        ``(T, 3s + r, 3s + r)`` and ``(T, 3s + r)``.
    """
    moving = compiled.moving
    rows, s = np.flatnonzero(moving.branch >= 0), moving.n_branch
    size = 3 * s + len(moving.held_bus)
    response = found.ports[:, found.ports.shape[1] - size :]
    series, half, gain = compiled.series[rows], compiled.half_shunt[rows], compiled.gain[rows]
    f, t = compiled.from_bus[rows], compiled.to_bus[rows]
    table, constant = np.zeros((len(moving.closed), size, size), complex), np.zeros((len(moving.closed), size), complex)
    for topology, closed in enumerate(moving.closed):
        earthed = _earthing(compiled, topology)
        on_ports, own = np.zeros((size, size), complex), np.eye(size, dtype=complex)
        right = np.zeros(size, complex)  # own @ sources + on_ports @ ports = right
        holding = np.flatnonzero(closed[s:])
        own[3 * s + holding, 3 * s + holding], on_ports[3 * s + holding, 3 * s + holding] = HOLD_PU, 1.0
        right[3 * s + holding] = moving.held[s + holding]
        for j in np.flatnonzero(closed[:s] != moving.closed[0, :s]).tolist():
            if not closed[j]:
                port = {f[j]: s + j, t[j]: 2 * s + j}[earthed[j]] if j in earthed else j
                own[j, j], on_ports[j, port] = 0.0, 1.0
                own[s + j, j] = -np.conj(gain[j]) * half[j]
                on_ports[s + j, s + j] = -np.conj(gain[j]) * half[j] * gain[j]
                on_ports[2 * s + j, 2 * s + j] = -half[j]
            else:
                y = (series[j] + half[j]) * abs(gain[j]) ** 2, -series[j] * np.conj(gain[j])
                on_ports[s + j, [s + j, 2 * s + j]] = y
                on_ports[2 * s + j, [s + j, 2 * s + j]] = -series[j] * gain[j], series[j] + half[j]
        answer = np.linalg.solve(own + on_ports @ response, np.column_stack([-on_ports, right]))
        table[topology], constant[topology] = answer[:, :-1], answer[:, -1]
    return table, constant


def _earthing(compiled: Compiled, topology: int) -> dict[int, int]:
    """Open elements that hold a dead island at 0 V, one per island, and the bus at which they do.

    The islands hang together through the elements that this topology opens; walking over them from what the source and
    references hold, each is reached first by one.
    """
    moving = compiled.moving
    rows = np.flatnonzero(moving.branch >= 0)
    closed = compiled.live | compiled.switch
    closed[rows] = moving.closed[topology, : len(rows)]
    part = connected_parts(compiled.n_bus, compiled.from_bus[closed], compiled.to_bus[closed])
    opened = [j for j in range(len(rows)) if moving.closed[0, j] and not moving.closed[topology, j]]
    reached, found, grown = set(part[moving.energised[topology]].tolist()), {}, True
    while grown:
        grown = False
        for j in opened:
            ends = (int(compiled.from_bus[rows[j]]), int(compiled.to_bus[rows[j]]))
            for near, far in (ends, ends[::-1]):
                if part[near] in reached and part[far] not in reached:
                    reached.add(int(part[far]))
                    found[j], grown = far, True
    return found


def real(matrix: np.ndarray) -> np.ndarray:
    """Real form of a complex map for row vectors: ``[re, im] @ real(M)`` is ``[re, im]`` of ``M @ x``."""
    return np.block([[matrix.real.T, matrix.imag.T], [-matrix.imag.T, matrix.real.T]])
