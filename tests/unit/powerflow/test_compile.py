"""What the network compiler makes of columns, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from powergrid.core.errors import NetworkError, UnknownNameError
from powergrid.networks import Network, network
from powergrid.powerflow import METHODS, method, sparse_lu
from powergrid.powerflow.compile import compile_network, no_load_voltages
from powergrid.powerflow.factors import factorise

from .conftest import BUILDERS, odd_network, own_load


def with_branches(grid: Network, **columns: np.ndarray) -> Network:
    return replace(grid, branches=grid.branches._replace(**columns))


def test_closed_switches_fuse_buses_and_the_source_is_last() -> None:
    compiled = compile_network(odd_network())
    assert compiled.n_node == 6  # nine buses, two pairs fused, without the source
    assert compiled.node[0] == compiled.node[1] == compiled.n_node
    assert compiled.node[5] == compiled.node[6]
    assert len(set(compiled.node)) == 7


def test_ybus_is_the_pi_section_behind_an_ideal_ratio() -> None:
    grid = odd_network()
    compiled = compile_network(grid)
    row = 8  # the transformer 6-8, ratio 0.975, 30 degree
    y_series = 1 / (0.01 + 0.05j)
    y_half = (2e-3 - 8e-3j) / 2
    a = 0.975 * np.exp(1j * np.pi / 6)
    y = compiled.ybus().toarray()
    f, t = compiled.node[6], compiled.node[8]
    assert y[f, t] == pytest.approx(-y_series / np.conj(a))
    assert y[t, f] == pytest.approx(-y_series / a)
    assert y[t, t] == pytest.approx(y_series + y_half)
    others = compile_network(with_branches(grid, ratio=np.where(np.arange(11) == row, 1e9, grid.branches.ratio)))
    assert y[f, f] - others.ybus().toarray()[f, f] == pytest.approx((y_series + y_half) / abs(a) ** 2)


def test_taps_change_the_matrix_of_their_regulator_only() -> None:
    compiled = compile_network(odd_network())
    own, moved = compiled.ybus().toarray(), compiled.ybus(np.array([1.03, 1.05])).toarray()
    np.testing.assert_array_equal(compiled.ybus(compiled.tap_ratio).toarray(), own)
    changed = np.argwhere(np.abs(own - moved) > 1e-9)
    assert {int(node) for node in changed.flat} == {int(compiled.node[7]), int(compiled.node[3])}


@pytest.mark.parametrize("name", BUILDERS)
def test_factors_multiply_to_the_matrix(name: str) -> None:
    compiled = compile_network(BUILDERS[name]())
    factors, n = factorise(compiled), compiled.n_node
    shared = factors.n_shared
    upper = np.zeros((n, n), complex)
    upper[:shared] = (np.eye(n)[:shared] + factors.upper.toarray()) / factors.pivot[:, None]
    upper[shared:, shared:] = factors.trailing.toarray()
    product = (np.eye(n) + factors.lower.toarray()) @ upper
    order = np.argsort(factors.position[:n])
    expected = compiled.ybus(regulators=False).toarray()[np.ix_(order, order)]
    np.testing.assert_allclose(product, expected, atol=1e-9 * np.abs(expected).max())
    assert n - shared <= 4 * len(compiled.regulator)  # two nodes each, and a fork between any two of these


def test_no_load_voltages_follow_ratios_upstream() -> None:
    grid = network("ieee34")
    compiled = compile_network(grid)
    v = np.abs(no_load_voltages(compiled, np.array([1.1, 0.95])))[compiled.node]
    for regulator, gain in zip(grid.regulators.branch, (1.1, 0.95), strict=True):
        f, t = grid.branches.from_bus[regulator], grid.branches.to_bus[regulator]
        assert v[t] / v[f] == pytest.approx(gain, abs=2e-3)


def test_dead_islands_are_named() -> None:
    grid = network("case33bw")
    closed = grid.branches.closed.copy()
    gone = grid.branches.name[24]
    closed[24] = False
    buses = [grid.buses.name[k] for k in range(25, 33)]
    with pytest.raises(NetworkError, match="island of 8 buses without a path to the source") as caught:
        compile_network(with_branches(grid, closed=closed))
    assert all(bus in str(caught.value) for bus in buses), gone


def test_branch_without_impedance_is_named() -> None:
    grid = network("case33bw")
    r_pu, x_pu = grid.branches.r_pu.copy(), grid.branches.x_pu.copy()
    r_pu[3] = x_pu[3] = 0.0
    with pytest.raises(NetworkError, match=f'"{grid.branches.name[3]}".*no impedance'):
        compile_network(with_branches(grid, r_pu=r_pu, x_pu=x_pu))


def test_switches_in_a_loop_cannot_be_metered() -> None:
    grid = odd_network()
    f, t = grid.branches.from_bus.copy(), grid.branches.to_bus.copy()
    f[10], t[10] = 6, 5  # a second switch beside the one between 5 and 6
    looped = with_branches(grid, from_bus=f, to_bus=t, closed=np.arange(11) != 9)
    with pytest.raises(NetworkError, match="loop of closed switches"):
        sparse_lu.plan(looped, meters=(7,))
    assert sparse_lu.solve(sparse_lu.plan(looped), own_load(looped)).converged


def test_methods_are_found_by_name() -> None:
    assert method() is method("auto") is sparse_lu
    assert {method(name).__name__.rsplit(".", 1)[1] for name in METHODS} == set(METHODS)
    with pytest.raises(UnknownNameError, match='did you mean "sparse_lu"'):
        method("sparse-lu")
