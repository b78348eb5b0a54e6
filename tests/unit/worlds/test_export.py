"""An exported episode is the episode that the environment plays."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid


def test_series_loads_and_tariffs_are_those_of_the_episode():
    env = powergrid.make("p2p_microgrids", episode_length=12)
    data = env.export_episode(362, seed=4)
    env.reset(seed=4, options={"day": 362})
    world = env.world
    assert data.dt_h == 0.25
    assert data.network.load_p_mw.shape == (12, len(world.network.buses.name))
    meters = {meter.name: meter for meter in data.prices.meters}
    assert set(meters) == {"mg1.pcc", "mg2.pcc", "mg3.pcc"}
    areas = np.array(world.network.buses.area)
    tick = 0
    while env.agents:
        row = world.table[int(env._state.row)]
        for name, series in data.exogenous.items():
            assert series[tick] == row[world.layout.columns.series.index(name)]
        env.step(env.policy_actions("rule_based"))
        output = env.output
        losses = output.flow.p_slack_mw + output.p_mw.sum() - data.network.load_p_mw[tick].sum()
        assert losses == pytest.approx(float(output.flow.loss_mw), abs=1e-6)
        for k, meter in enumerate(("mg1.pcc", "mg2.pcc", "mg3.pcc")):
            lossless = meters[meter].load_mw[tick] - sum(
                p for unit, p in zip(world.layout.units, output.p_mw, strict=True) if unit in meters[meter].units
            )
            assert 0.0 < output.measured_mw[k] - lossless < 0.02  # the transformer and the microgrid's own losses
            own = data.network.load_p_mw[tick, areas == f"mg{k + 1}"].sum()
            assert meters[meter].load_mw[tick] == pytest.approx(own)
        price = max(row[world.layout.columns.price], 0.0)
        assert meters["mg1.pcc"].retail_per_mwh[tick] == pytest.approx(price + 45.0)
        assert meters["mg1.pcc"].feed_in_per_mwh[tick] == pytest.approx(0.9 * price)
        tick += 1
    assert tick == 12


def test_devices_carry_their_state_place_and_model():
    env = powergrid.make(
        "p2p_microgrids", **{"agents.ess_1.params.soc_init_spread": 0.4, "agents.ess_2.params.soc_init_spread": 0.4}
    )
    data = env.export_episode(20, seed=9)
    env.reset(seed=9, options={"day": 20})
    soc = next(state.soc for state in env._state.devices if hasattr(state, "soc"))
    assert soc[0] != soc[1] != 0.5
    for k in range(3):
        assert data.initial_state[f"ess_{k + 1}"].soc == soc[k]
        assert data.linear[f"ess_{k + 1}"].e_start_mwh == pytest.approx(soc[k] * 1.0)
    assert data.network.unit_bus["dg_2"] == "mg2.675"
    assert data.linear["pv_1"].p_max_mw == pytest.approx(0.6 * data.exogenous["pv_pu:south"])
    retail = env.world.layout.columns.series.index("retail_per_mwh:45")
    hourly = env.world.table.series([retail], 21 * 96 + np.arange(96)).reshape(24, 4).mean(axis=1)
    refill = np.sort(hourly)[:4].mean() / 0.95  # 0.8 MWh at 0.25 MW take 3.4 hours
    assert data.prices.settlement_per_mwh["ess_1"] == pytest.approx(refill)
    assert data.prices.settlement_per_mwh["pv_1"] == 0.0
    assert {meter.market for meter in data.prices.meters} == {"market_0"}
    assert (data.weights.voltage_per_pu_h, data.weights.v_max_pu) == (1000.0, 1.05)


def test_a_device_with_its_own_meter_stands_alone_behind_it():
    data = powergrid.make("ieee34_multi").export_episode(10)
    assert [(meter.name, meter.units, meter.market) for meter in data.prices.meters] == [
        (unit, (unit,), "") for unit in ("ess_1", "ess_2", "dg_1", "dg_2", "pv_1")
    ]
    assert not any(meter.load_mw.any() for meter in data.prices.meters)


def test_the_meter_at_the_source_reads_everything():
    data = powergrid.make("ieee13_single").export_episode(10)
    (meter,) = data.prices.meters
    assert set(meter.units) == set(data.linear)
    assert meter.load_mw == pytest.approx(data.network.load_p_mw.sum(axis=1))


def test_each_device_and_load_is_behind_one_meter():
    config = {
        "network": {"base": "ieee13", "load_scale": 0.5},
        "agents": [
            {"id": "ess_1", "type": "ESS", "bus": "671"},
            {"id": "ess_2", "type": "ESS", "bus": "680"},
            {"id": "grid_1", "type": "Grid"},
            {"id": "grid_2", "type": "Grid", "bus": "671-680"},
            {"id": "op_1", "type": "GridCoordinator", "policy": "centralized", "sub_agents": ["ess_2", "grid_2"]},
        ],
    }
    env = powergrid.make(config, episode_length=2)
    data = env.export_episode(10)
    behind = {meter.name: (meter.account, meter.units) for meter in data.prices.meters}
    assert behind == {
        "671-680": ("op_1", ("ess_2",)),
        "source": ("grid_1", ()),
        "ess_1": ("ess_1", ("ess_1",)),
    }
    assert sum(meter.load_mw for meter in data.prices.meters) == pytest.approx(data.network.load_p_mw.sum(axis=1))


def test_the_day_must_exist():
    with pytest.raises(ValueError, match="365"):
        powergrid.make("ieee13_single").export_episode(365)
