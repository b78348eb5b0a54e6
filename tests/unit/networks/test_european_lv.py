"""The European low-voltage feeder against pandapower's three-phase power flow, recorded in tests/golden/."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from powergrid.core.errors import NetworkError
from powergrid.networks import network

pytest.importorskip("pandapower")
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "ieee_european_lv_three_phase" / "three_phase.json"
TURN = np.exp(2j * np.pi / 3)
SEQUENCES = np.array([[1, 1, 1], [1, TURN, TURN**2], [1, TURN**2, TURN]]) / 3
"""From phase voltages to zero, positive and negative sequence."""


@pytest.fixture(scope="module")
def grid():
    return network("ieee_european_lv", phases="three")


@pytest.fixture(scope="module")
def flow(grid):
    return grid.power_flow(tol_pu=1e-11)


def phasors(flow, golden) -> tuple[np.ndarray, np.ndarray]:
    """Ours and pandapower's voltages at the recorded buses, ``(n, 3)``."""
    table = flow.bus.set_index(["bus", "phase"])
    v = table.v_pu * np.exp(1j * np.deg2rad(table.va_degree))
    ours = np.array([[v[bus, phase] for phase in "abc"] for bus in golden["v_pu"]])
    size, angle = (np.array(list(golden[key].values())) for key in ("v_pu", "va_degree"))
    return ours, size * np.exp(1j * np.deg2rad(angle))


def test_it_is_the_feeder(grid, flow) -> None:
    assert len(set(grid.buses.bus)) == 907
    assert grid.loads.p_mw.sum() == pytest.approx(0.0573582, abs=1e-6)
    assert {name.split(".")[1] for name in grid.loads.name} == {"a", "b", "c"}
    assert flow.converged
    assert flow.losses_mw == pytest.approx(flow.slack.p_mw - grid.loads.p_mw.sum(), abs=1e-9)
    assert grid.f_hz == 50.0


def test_every_voltage_is_pandapower_s_but_for_the_zero_sequence_of_its_transformer(flow) -> None:
    golden = json.loads(GOLDEN.read_text())
    ours, same = phasors(flow, golden["no_mag0_stiff_source"])
    np.testing.assert_allclose(ours, same, atol=3e-6)
    assert flow.slack.p_mw == pytest.approx(golden["no_mag0_stiff_source"]["source_mw"], abs=5e-7)
    assert flow.slack.q_mvar == pytest.approx(golden["no_mag0_stiff_source"]["source_mvar"], abs=2e-6)
    ours, stock = phasors(flow, golden["stock"])
    apart = np.abs((ours - stock) @ SEQUENCES.T).max(axis=0)
    assert 5e-4 < apart[0] < 7e-4  # the magnetising branch that its data add
    assert apart[1:].max() < 2e-5


def test_the_balanced_form_carries_the_same_load(grid) -> None:
    balanced = network("ieee_european_lv")
    assert balanced.loads.p_mw.sum() == pytest.approx(grid.loads.p_mw.sum(), abs=1e-9)
    found = balanced.power_flow()
    assert found.converged
    assert found.bus.v_pu.min() > 1.02  # a house's power shared by three phases hides most of its drop


def test_options() -> None:
    night = network("ieee_european_lv", phases="three", scenario="off_peak_1", load_scale=2.0, source_v_pu=1.0)
    assert night.source_v_pu == 1.0
    assert night.loads.p_mw.sum() == pytest.approx(0.0055940, abs=1e-6)
    with pytest.raises(NetworkError, match='one of on_peak_566, off_peak_1, off_peak_1440, not "noon"'):
        network("ieee_european_lv", scenario="noon")
