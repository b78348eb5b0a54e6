"""Sparse LU factors with the nodes of whatever moves eliminated last: regulators, and what topologies open and close.

A tap changes only the rows and columns of its regulator's two nodes, an outage those of its line's ends. With these
ordered last, the factors of all other nodes are shared by every environment, and what differs is the LU of one small
trailing block, refactored exactly for each environment: no correction term, hence no
cancellation against stiff branches.

Nodes between what moves stay in the trailing block as well where that is cheaper: eliminating a fork beforehand ties
all that hangs below it to each other, and the block fills up with the square of what moves instead of growing with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import depth_first_order
from scipy.sparse.linalg import splu, spsolve_triangular

from powergrid.core.errors import NetworkError
from powergrid.powerflow.compiled import Compiled, Sparse


class Factors(NamedTuple):
    """LU program of the reduced Ybus; a *position* is a place in the elimination order.

    Attributes
    ----------
    position
        Position of each node, the source last, ``(n + n_source,)``.
    n_shared
        Positions before the trailing block.
    lower
        Rows of L left of the diagonal (unit diagonal); trailing rows reach only shared columns. ``(n, n)``, CSR.
    upper
        Shared rows of U right of the diagonal, divided by it. ``(n_shared, n)``, CSR.
    pivot
        Reciprocal of U's diagonal, ``(n_shared,)``.
    trailing
        Trailing block without what moves, with the places where elimination and moving elements will write. CSR.
    """

    position: np.ndarray
    n_shared: int
    lower: Sparse
    upper: Sparse
    pivot: np.ndarray
    trailing: Sparse


def factorise(compiled: Compiled) -> Factors:
    """Factor the network's Ybus without its source and, in the trailing block, without what moves.

    Raises
    ------
    NetworkError
        If the matrix is singular.
    """
    n = compiled.n_node
    y = compiled.ybus(regulators=False, moving=False)[:n, :n].tocsc()
    groups = [group[group < n] for group in _moving_nodes(compiled)]
    last = _trailing_nodes(y, groups)
    first = np.setdiff1d(np.arange(n), last)
    order, lower, upper, pivot = _shared_block(y[first][:, first])
    first = first[order]
    below, beside = _borders(y, first, last, lower, upper, pivot)
    schur = sp.csr_matrix(y[last][:, last] - below @ beside)
    sequence = np.concatenate([first, last])
    position = np.arange(n + compiled.n_source)
    position[sequence] = np.arange(n)
    pad = sp.csr_matrix((len(last), len(last)))
    return Factors(
        position=position,
        n_shared=len(first),
        lower=_csr(sp.bmat([[lower, None], [below, pad]]) if len(last) else lower),
        upper=_csr(sp.hstack([upper, sp.diags_array(pivot) @ beside])),
        pivot=pivot,
        trailing=_trailing_pattern(schur, [position[group] - len(first) for group in groups]),
    )


def _moving_nodes(compiled: Compiled) -> list[np.ndarray]:
    """Nodes of each element that moves."""
    live = compiled.regulator[compiled.live[compiled.regulator]]
    groups = list(np.stack([compiled.from_node[live], compiled.to_node[live]], axis=1))
    if len(compiled.moving.size):
        groups += np.split(compiled.node[compiled.moving.bus], np.cumsum(compiled.moving.size)[:-1])
    return groups


def _trailing_nodes(y: Sparse, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Nodes that stay in the trailing block, in order: those of what moves, and the forks between them.

    Which others stay is found by elimination in order of least degree, up to a degree; the cheapest of a few is taken.
    """
    moving = np.unique(np.concatenate([np.zeros(0, np.int64), *groups]))
    if not len(moving):
        return moving
    neighbours: list[set[int]] = [set() for _ in range(y.shape[0])]
    rows, columns = y.nonzero()
    _connect(neighbours, zip(rows.tolist(), columns.tolist(), strict=True))
    for group in groups:
        _connect(neighbours, ((a, b) for a in group.tolist() for b in group.tolist()))
    found = []
    for most in (2, 3, y.shape[0]):
        graph = [around.copy() for around in neighbours]
        shared = _eliminate(graph, set(range(y.shape[0])) - set(moving.tolist()), most)
        rest = _eliminate(graph, set(range(y.shape[0])) - {node for node, _ in shared}, y.shape[0])
        solving = sum(degree for _, degree in (*shared, *rest)) * _SOLVES
        found.append((solving + sum(degree**2 for _, degree in rest), [node for node, _ in rest]))
    return np.array(min(found)[1], np.int64)


_SOLVES = 8
"""Multiplications of an entry of the factors in a step, forwards and backwards in each iteration of the flow."""


def _connect(neighbours: list[set[int]], pairs: Iterable[tuple[int, int]]) -> None:
    for a, b in pairs:
        if a != b:
            neighbours[a].add(b)
            neighbours[b].add(a)


def _eliminate(graph: list[set[int]], nodes: set[int], most: int) -> list[tuple[int, int]]:
    """Eliminate `nodes` by least degree while it is at most `most`; each with its degree, in order. Alters `graph`."""
    waiting = [(len(graph[node]), node) for node in nodes]
    heapify(waiting)
    done: list[tuple[int, int]] = []
    while waiting:
        degree, node = heappop(waiting)
        if node not in nodes or degree != len(graph[node]):
            continue  # counted anew since
        if degree > most:
            break
        nodes.discard(node)
        done.append((node, degree))
        around = graph[node]
        for other in around:
            graph[other] |= around
            graph[other] -= {node, other}
            if other in nodes:
                heappush(waiting, (len(graph[other]), other))
    return done


def _borders(
    y: Sparse, first: np.ndarray, last: np.ndarray, lower: Sparse, upper: Sparse, pivot: np.ndarray
) -> tuple[Sparse, Sparse]:
    """Trailing rows of L and trailing columns of U at the shared positions, some at a time to save memory."""
    unit = sp.eye_array(len(first), format="csr")
    full_upper, full_lower = (sp.diags_array(1 / pivot) @ (upper + unit)).T.tocsr(), (lower + unit).tocsr()
    below, beside = [sp.csr_matrix((0, len(first)))], [sp.csr_matrix((len(first), 0))]
    for some in np.array_split(last, -(-len(last) // _AT_ONCE)) if len(last) and len(first) else ():
        rows = np.ascontiguousarray(y[some][:, first].toarray().T)
        below.append(sp.csr_matrix(spsolve_triangular(full_upper, rows, lower=True).T))
        columns = y[first][:, some].toarray()
        beside.append(sp.csr_matrix(spsolve_triangular(full_lower, columns, lower=True, unit_diagonal=True)))
    if len(first):
        return sp.csr_matrix(sp.vstack(below)), sp.csr_matrix(sp.hstack(beside))
    return sp.csr_matrix((len(last), 0)), sp.csr_matrix((0, len(last)))


_AT_ONCE = 256
"""Trailing rows and columns that are solved for together."""


def _shared_block(y: Sparse) -> tuple[np.ndarray, Sparse, Sparse, np.ndarray]:
    """Elimination order, strict L, strict U with scaled rows, and pivots."""
    if y.shape[0] == 0:
        empty = sp.csr_matrix(np.zeros((0, 0), complex))
        return np.zeros(0, np.int64), empty, empty, np.zeros(0, complex)
    try:
        lu = splu(y.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise NetworkError(f"the admittance matrix is singular ({error}); check impedances and shunts") from error
    if not np.array_equal(lu.perm_r, lu.perm_c):
        raise NetworkError("the admittance matrix has a zero on its diagonal; check impedances and shunts")
    order = np.argsort(lu.perm_c)
    after = _postorder(y[order][:, order])
    lower, upper, pivot = sp.tril(lu.L, -1).tocsr(), sp.triu(lu.U, 1).tocsr(), 1 / lu.U.diagonal()
    upper = sp.diags_array(pivot) @ upper
    return order[after], _csr(lower[after][:, after]), _csr(upper[after][:, after]), pivot[after]


def _postorder(y: Sparse) -> np.ndarray:
    """Order of the same fill in which a node follows right behind those it depends on, while they are in the cache.

    A depth-first walk of the elimination tree of `y`, whose rows are in an order of elimination already (J. W. H. Liu,
    "The role of elimination trees in sparse factorization", SIAM J. Matrix Anal. Appl. 11(1), 1990, algorithm 4.2).
    """
    pattern = sp.csr_matrix(abs(y) + abs(y.T))
    size, start, column = y.shape[0], pattern.indptr.tolist(), pattern.indices.tolist()
    parent, ancestor = [size] * size, [size] * size
    for row in range(size):
        for k in column[start[row] : start[row + 1]]:
            while k < row:
                above, ancestor[k] = ancestor[k], row
                if above == size:
                    parent[k] = row
                k = above
    tree = sp.csr_matrix((np.ones(size), (parent, np.arange(size))), shape=(size + 1, size + 1))
    return depth_first_order(tree, size, return_predecessors=False)[:0:-1]


def _trailing_pattern(schur: Sparse, groups: Sequence[np.ndarray]) -> Sparse:
    """CSR of the block, with explicit zeros where fill-in or moving elements, each between a group of rows, write."""
    size, schur = schur.shape[0], schur.tocoo()
    neighbours: list[set[int]] = [set() for _ in range(size)]
    _connect(
        neighbours, ((a, b) for a, b, y in zip(schur.row.tolist(), schur.col.tolist(), schur.data, strict=True) if y)
    )
    for group in groups:
        _connect(neighbours, ((a, b) for a in group.tolist() for b in group.tolist()))
    for k, around in enumerate(neighbours):
        later = {i for i in around if i > k}
        for i in later:
            neighbours[i] |= later
    rows = np.repeat(np.arange(size), [len(around | {k}) for k, around in enumerate(neighbours)])
    columns = [column for k, around in enumerate(neighbours) for column in sorted(around | {k})]
    zeros = np.zeros(len(rows), complex)
    together = [np.concatenate(pair) for pair in ((zeros, schur.data), (rows, schur.row), (columns, schur.col))]
    return sp.csr_matrix((together[0], (together[1], together[2])), shape=(size, size))


def _csr(matrix: Sparse) -> Sparse:
    csr = sp.csr_matrix(matrix)
    csr.eliminate_zeros()
    csr.sort_indices()
    return csr
