"""Sensitivities of voltages and losses against central differences of the power flow."""

from __future__ import annotations

import numpy as np
import pytest

from powergrid.core.errors import NetworkError
from powergrid.networks import network, scaled
from powergrid.powerflow import sparse_lu
from powergrid.powerflow.compile import compile_network
from powergrid.powerflow.sensitivity import flow_sensitivity

STEP_MW = 1e-4


def differences(grid, load, bus: int, part: str):
    """Change of voltages and losses for one more MW or Mvar injected at a bus."""
    ends = []
    for sign in (1.0, -1.0):
        moved = getattr(load, part).copy()
        moved[bus] -= sign * STEP_MW
        flow = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-13), load._replace(**{part: moved}))
        ends.append((np.asarray(flow.v_pu), float(flow.loss_mw)))
    return [(a - b) / (2 * STEP_MW) for a, b in zip(*ends, strict=True)]


@pytest.mark.parametrize(
    ("name", "phases"),
    [("case33bw", "balanced"), ("ieee34", "balanced"), ("ieee13", "three"), ("ieee123", "three")],
)
def test_equal_to_central_differences(name: str, phases: str) -> None:
    """Regulators, shunts, phase shifts, loads of all three models, to earth and between phases."""
    grid = network(name) if phases == "balanced" else network(name, phases=phases)
    found, load = grid.sensitivities(tol_pu=1e-12), grid.node_load()
    assert list(found.v_by_p.index) == list(grid.buses.name)
    for bus in np.random.default_rng(0).choice(len(grid.buses.name), 6, replace=False):
        at = grid.buses.name[bus]
        for part, by_v, by_loss in (
            ("p_mw", found.v_by_p, found.loss_by_p),
            ("q_mvar", found.v_by_q, found.loss_by_q),
        ):
            v, loss = differences(grid, load, bus, part)
            np.testing.assert_allclose(by_v[at].to_numpy(), v, rtol=1e-5, atol=2e-8)
            assert by_loss[at] == pytest.approx(loss, rel=1e-5, abs=2e-8)
    assert np.abs(found.v_by_q.to_numpy()).max() > 1e-3


def test_loads_of_current_and_impedance_count() -> None:
    grid = network("case33bw")
    load = grid.node_load()
    half = load._replace(
        p_mw=0.2 * load.p_mw, q_mvar=0.2 * load.q_mvar, p_i_mw=0.4 * load.p_mw, q_i_mvar=0.4 * load.q_mvar,
        p_z_mw=0.4 * load.p_mw, q_z_mvar=0.4 * load.q_mvar,
    )  # fmt: skip
    flow = sparse_lu.solve(sparse_lu.plan(grid, tol_pu=1e-13), half)
    found = flow_sensitivity(compile_network(grid), half, flow.v_re + 1j * flow.v_im)
    v, loss = differences(grid, half, 17, "p_mw")
    np.testing.assert_allclose(found.v_by_p[:, 17], v, rtol=1e-5, atol=1e-9)
    assert found.loss_by_p[17] == pytest.approx(loss, rel=1e-5)


def test_what_has_no_point_to_linearise_around_is_refused() -> None:
    with pytest.raises(NetworkError, match="hold voltages as well"):
        network("case30").sensitivities()
    with pytest.raises(NetworkError, match="does not converge"):
        scaled(network("case33bw"), load=20.0).sensitivities()
