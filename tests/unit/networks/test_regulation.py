"""Regulators under their own relays: where they come to rest, read anew from the tables of the power flow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from powergrid.core.errors import NetworkError
from powergrid.networks import network, with_taps
from powergrid.networks.regulation import upstream
from powergrid.studies.power_flow import FlowResult

FEEDERS = ("ieee13", "ieee34", "ieee123")
STARTS = {"published": None, "neutral": 0.0, "top": 16.0, "low": -8.0}


def started(name: str, start: str, phases: str = "three"):
    grid = network(name, phases=phases)
    return grid if STARTS[start] is None else with_taps(grid, STARTS[start])


def readings_v(grid, found: FlowResult) -> np.ndarray:
    """What a meter on each relay would show [V], from voltage and power at the regulator's to end."""
    shown, table, three = [], found.bus, hasattr(grid, "pairs")
    for k, branch in enumerate(grid.regulators.branch):
        relay, node = grid.regulators, grid.branches.to_bus[branch]
        volts = 1000 * grid.buses.vn_kv[node] / np.sqrt(3) * table.v_pu[node]
        v = volts * np.exp(1j * np.deg2rad(table.va_degree[node]))
        row = found.branch.iloc[branch]
        s_va = -1e6 * complex(row.p_to_mw, row.q_to_mvar) / (1 if three else 3)
        i = np.conj(s_va / v)
        shown.append(abs(v / relay.pt_ratio[k] - complex(relay.r_v[k], relay.x_v[k]) * i / relay.ct_a[k]))
    return np.array(shown)


@pytest.mark.parametrize("name", FEEDERS)
def test_published_taps_are_within_a_step_of_rest(name: str) -> None:
    grid = network(name, phases="three")
    assert np.abs(grid.settled().regulators.tap - grid.regulators.tap).max() <= 1.0


@pytest.mark.parametrize("phases", ["three", "balanced"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", FEEDERS)
def test_every_relay_ends_inside_its_band_and_stays_there(name: str, start: str, phases: str) -> None:
    rest = started(name, start, phases).settled()
    relay, led = rest.regulators, np.ones(len(rest.regulators.branch), bool)
    if phases == "three":  # of a bank whose phases move together only the first is read
        led = (relay.gang == 0.0) | np.array([rest.branches.name[b].endswith(".a") for b in relay.branch])
    out = np.abs(readings_v(rest, rest.power_flow(tol_pu=1e-10)) - relay.v_set_v) - relay.bandwidth_v / 2
    assert out[led].max() < 2e-4
    np.testing.assert_array_equal(rest.settled().regulators.tap, relay.tap)


def test_a_bank_moves_together() -> None:
    rest = network("ieee123", phases="three").settled()
    bank = [rest.branches.name[b].startswith("150-RG1.") for b in rest.regulators.branch]
    assert sum(bank) == 3
    assert len(set(rest.regulators.tap[bank])) == 1
    together = network("ieee34", phases="three").settled(gang=True).regulators.tap.reshape(2, 3)
    assert (together == together[:, :1]).all()
    apart = network("ieee123", phases="three").settled(gang=False)
    assert len(set(apart.regulators.tap[bank])) > 1


def test_the_compensator_holds_the_voltage_down_the_line() -> None:
    grid = network("ieee13", phases="three")
    relay = grid.regulators
    plain = replace(grid, regulators=relay._replace(r_v=0.0 * relay.r_v, x_v=0.0 * relay.x_v))
    assert (grid.settled().regulators.tap > plain.settled().regulators.tap + 4).all()


def test_power_flow_with_local_control_is_that_of_the_settled_network() -> None:
    grid = network("ieee34", phases="three", taps="neutral")
    controlled = grid.power_flow(control="local")
    np.testing.assert_array_equal(controlled.bus.v_pu, grid.settled().power_flow().bus.v_pu)
    assert (grid.power_flow().bus.v_pu < controlled.bus.v_pu.min()).any()


def test_phases_of_a_bank_do_not_lie_upstream_of_each_other() -> None:
    above = upstream(network("ieee34", phases="three"))
    np.testing.assert_array_equal(above, np.kron([[0, 1], [0, 0]], np.ones((3, 3))))


def test_faults_are_named() -> None:
    grid = network("ieee13", phases="three")
    with pytest.raises(NetworkError, match='must be "fixed" or "local", not "relay"'):
        grid.power_flow(control="relay")
    with pytest.raises(NetworkError, match=r'"650-RG60\.a" of "ieee13": tap 17 is outside \[-16, 16\]'):
        with_taps(grid, 17)
    unknown = replace(grid, regulators=grid.regulators._replace(v_set_v=np.full(3, np.nan)))
    with pytest.raises(NetworkError, match=r'relay settings of regulator "650-RG60\.a" are not known'):
        unknown.settled()
    assert network("case33bw").settled().power_flow().converged
