"""Sparse LU factors with the nodes of whatever moves eliminated last: regulators, and what topologies open and close.

A tap changes only the rows and columns of its regulator's two nodes, an outage those of its line's ends. With these
ordered last, the factors of all other nodes are shared by every environment, and what differs is the LU of one small
trailing block, refactored exactly for each environment: no correction term, hence no
cancellation against stiff branches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import depth_first_order
from scipy.sparse.linalg import splu, spsolve_triangular

from powergrid.core.errors import NetworkError
from powergrid.powerflow.compile import Compiled

Sparse = Any
"""A SciPy sparse matrix; its stubs tell more apart than the code does."""


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
    groups = _moving_nodes(compiled)
    ends = np.concatenate([np.zeros(0, np.int64), *groups])
    last = np.unique(ends[ends < n])
    first = np.setdiff1d(np.arange(n), last)
    order, lower, upper, pivot = _shared_block(y[first][:, first])
    first = first[order]

    below = y[last][:, first].toarray()  # few rows: dense is simplest
    beside = y[first][:, last].toarray()
    unit = sp.eye_array(len(first), format="csr")
    if len(last) and len(first):
        full_upper = sp.diags_array(1 / pivot) @ (upper + unit)
        below = spsolve_triangular(full_upper.T.tocsr(), np.ascontiguousarray(below.T), lower=True).T
        beside = spsolve_triangular((lower + unit).tocsr(), beside, lower=True, unit_diagonal=True)
    schur = y[last][:, last].toarray() - below @ beside
    sequence = np.concatenate([first, last])
    position = np.arange(n + compiled.n_source)
    position[sequence] = np.arange(n)
    pad = sp.csr_matrix((len(last), len(last)))
    return Factors(
        position=position,
        n_shared=len(first),
        lower=_csr(sp.bmat([[lower, None], [sp.csr_matrix(below), pad]]) if len(last) else lower),
        upper=_csr(sp.hstack([upper, sp.csr_matrix(pivot[:, None] * beside)])),
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
    """Order of the same fill in which a node follows right behind those it waits for, so that they are still at hand.

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


def _trailing_pattern(schur: np.ndarray, groups: list[np.ndarray]) -> Sparse:
    """CSR of the block, with explicit zeros where fill-in or moving elements, each between a group of rows, write."""
    size = len(schur)
    pattern = (schur != 0) | np.eye(size, dtype=bool)
    for group in groups:
        inside = group[group < size]
        pattern[np.ix_(inside, inside)] = True
    for k in range(size):
        pattern[k + 1 :, k + 1 :] |= np.outer(pattern[k + 1 :, k], pattern[k, k + 1 :])
    rows, columns = np.nonzero(pattern)
    start = np.concatenate([[0], np.cumsum(pattern.sum(1))])
    return sp.csr_matrix((schur[rows, columns], columns, start), shape=(size, size))


def _csr(matrix: Sparse) -> Sparse:
    csr = sp.csr_matrix(matrix)
    csr.eliminate_zeros()
    csr.sort_indices()
    return csr
