"""One step of small environments, recomputed by hand: energy, money, violations, observations and local control."""

from __future__ import annotations

import numpy as np
import pytest
import small_worlds

import powergrid
from powergrid.core import random
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

DT_H = 1.0


def run(env, policy="random", *, seed=2, day=180):
    """Yield ``(row of the table, state before, output)`` of every tick of an episode."""
    env.reset(seed=seed, options={"day": day})
    while env.agents:
        before = env._state
        env.step(env.policy_actions(policy))
        yield env.world.table[int(before.row) % len(env.world.table)], before, env.output


def load_mw(env, row) -> np.ndarray:
    """Active power of the network's own loads from the network's table and the series of the configuration."""
    network, columns = env.world.network, env.world.layout.columns
    given = env.world.resolved.config.network
    series = {"": given.load_series}
    series.update({m.attach.name: m.attach.load_series for m in given.modifications if m.attach})
    areas = [network.buses.area[bus] for bus in network.loads.bus]
    return network.loads.p_mw * np.array([row[columns.column(series[area])] for area in areas])


@pytest.mark.parametrize("config", [small_worlds.config(), small_worlds.microgrids(3)], ids=["feeder", "microgrids"])
def test_power_balances_in_every_tick(config):
    env = powergrid.make(config)
    for row, _, output in run(env):
        assert output.flow.converged
        fed_in = output.flow.p_slack_mw + output.p_mw.sum()
        assert fed_in == pytest.approx(load_mw(env, row).sum() + output.flow.loss_mw, abs=1e-6)
        assert output.flow.loss_mw > 0.0


def test_money_of_a_day_recomputed_by_hand():
    env = small_worlds.make()
    columns, names = env.world.layout.columns, list(env.money_names)
    soc, spent = 0.5, np.zeros(len(names))
    after = env.world.table[180 * 24 + 8 :][:24, columns.column("price_per_mwh")]  # the day that follows the episode
    settlement, retail_seen = (np.sort(np.maximum(after, 0.0))[:4].mean() + 45.0) / 0.95, []  # 0.8 MWh at 0.25 MW
    for row, _, output in run(env):
        ess, dg, _ = output.p_mw
        price = row[columns.column("price_per_mwh")]
        retail, feed_in = max(price, 0.0) + 45.0, 0.9 * max(price, 0.0)
        retail_seen.append(retail)
        imported = output.flow.p_slack_mw
        expected = dict.fromkeys(names, 0.0)
        expected["grid"] = (retail * max(imported, 0.0) - feed_in * max(-imported, 0.0)) * DT_H
        expected["fuel"] = (45.0 * dg + 0.5 * 80.0 * dg**2) * DT_H
        expected["wear"] = 2.0 * abs(ess) * DT_H
        drawn = (max(ess, 0.0) / 0.95 + min(ess, 0.0) * 0.95) * DT_H
        soc -= drawn
        expected["settlement"] = drawn * settlement
        assert output.money[0] == pytest.approx([expected[name] for name in names], abs=1e-9)
        assert output.transfers == pytest.approx(np.array([-expected["grid"], expected["grid"]]), abs=1e-9)
        spent += output.money[0]
    assert len(retail_seen) == 8
    for name in ("grid", "fuel", "wear", "settlement"):
        assert spent[names.index(name)] != 0.0


def test_settlement_adds_up_to_what_is_missing_at_the_end():
    env = small_worlds.make()
    label, column = "ess_1.soc [1]", list(env.money_names).index("settlement")
    paid = [output.money[0, column] for _, _, output in run(env)]
    missing = 0.5 - env.global_state()[label]
    price = env.global_state()["settlement_per_mwh:45 [$/MWh]"]
    assert np.sum(paid) == pytest.approx(missing * 1.0 * price)
    assert np.count_nonzero(paid) > 1  # energy is settled as it moves


def test_reward_is_minus_money_and_priced_violations():
    env = small_worlds.make(training={"reward_scale": 0.1, "safety_scale": 2.0, "max_penalty": 3.0})
    env.reset(seed=2, options={"day": 180})
    while env.agents:
        agents = env.agents
        _, rewards, _, _, infos = env.step(env.policy_actions("random"))
        for agent in agents:
            info = infos[agent]
            assert info["cost"] == pytest.approx(info["costs"].sum())
            assert rewards[agent] == pytest.approx(-0.1 * info["money"].sum() - min(2.0 * info["cost"], 3.0))


def test_transfers_sum_to_zero_with_a_market():
    given = small_worlds.microgrids(3, protocols=[{"type": "p2p_trading"}])
    env = powergrid.make(given)
    names, traded = list(env.money_names), 0
    for row, _, output in run(env):
        columns = env.world.layout.columns
        retail, feed_in = row[columns.column("retail_per_mwh")], row[columns.column("feed_in_per_mwh")]
        assert abs(output.transfers.sum()) <= 1e-9
        peers, utility = output.money[:, names.index("p2p")], output.money[:, names.index("grid")]
        assert output.transfers[:-1] == pytest.approx(-(peers + utility), abs=1e-12)
        assert abs(peers.sum()) <= 1e-9
        net = output.measured_mw[:3] * DT_H
        alone = retail * np.maximum(net, 0.0) + feed_in * np.minimum(net, 0.0)
        assert (peers + utility <= alone + 1e-9).all()  # nobody pays more than without the market
        traded += bool(peers.any())
    assert traded


def test_observations_hold_what_their_labels_say():
    env = small_worlds.make()
    network, units = env.world.network, env.world.layout.units
    observation, _ = env.reset(seed=2, options={"day": 180})
    labels = env.observation_labels("operator_1")
    assert len(labels) == len(set(labels)) == len(observation["operator_1"])
    while env.agents:
        row = env.world.table[int(env._state.row) + 1]
        observation, *_ = env.step(env.policy_actions("random"))
        seen = dict(zip(labels, observation["operator_1"].tolist(), strict=True))
        output, flow = env.output, env.output.flow
        power = dict(zip(units, output.p_mw, strict=True))
        soc = next(state.soc for state in env._state.devices if hasattr(state, "soc"))
        expected = {
            "ess_1.soc [1]": soc[0],
            "ess_1.p [MW]": power["ess_1"],
            "dg_1.p [MW]": power["dg_1"],
            "pv_1.p [MW]": power["pv_1"],
            "source.p [MW]": flow.p_slack_mw,
            "source.q [Mvar]": flow.q_slack_mvar,
            "operator_1.load [MW]": load_mw(env, row).sum(),  # of the tick to come, like all series
            **{f"bus_{bus}.v [pu]": flow.v_pu[network.buses.name.index(bus)] for bus in ("671", "675", "680")},
            **{name + unit: row[env.world.layout.columns.column(name)] for name, unit in (
                ("price_per_mwh:lz_north", " [$/MWh]"), ("pv_pu:south", " [pu]"), ("retail_per_mwh:45", " [$/MWh]"),
            )},
        }  # fmt: skip
        for label, value in expected.items():
            assert seen[label] == pytest.approx(float(value), rel=1e-6, abs=1e-6), label
        by_name = env.global_state()
        assert by_name["ess_1.soc [1]"] == seen["ess_1.soc [1]"]


def test_full_observability_sees_everything():
    env = powergrid.make(small_worlds.microgrids())
    given = small_worlds.microgrids()
    given["agents"][2]["observability"] = "full"
    full = powergrid.make(given)
    local, everything = env.observation_labels("microgrid_1"), full.observation_labels("microgrid_1")
    assert set(local) < set(everything)
    assert "ess_2.soc [1]" in everything
    assert "ess_2.soc [1]" not in local
    assert all(f"bus_{bus}.v [pu]" in everything for bus in env.world.network.buses.name)


def test_violations_go_to_the_owner_of_the_bus_and_the_rest_is_shared_equally():
    given = small_worlds.microgrids(2, simulation={"episode_length": 3, "time_step": 3600, "v_max_pu": 1.005})
    given["penalties"] = {"voltage_per_pu_h": 500.0, "overload_per_percent_h": 7.0}
    env = powergrid.make(given)
    names, network = list(env.constraint_names), env.world.network
    areas = np.array(network.buses.area)
    branch_areas = areas[network.branches.to_bus]
    for _, _, output in run(env):
        excess = np.maximum(output.flow.v_pu - 1.005, 0.0) + np.maximum(0.95 - output.flow.v_pu, 0.0)
        over = np.maximum(output.flow.loading - 100.0, 0.0)
        for account, area in enumerate(("mg1", "mg2")):
            costs = dict(zip(names, output.costs[account], strict=True))
            assert costs["voltage"] == pytest.approx(500.0 * excess[areas == area].sum())
            assert costs["overload"] == pytest.approx(7.0 * over[branch_areas == area].sum())
            assert costs["shared_voltage"] == pytest.approx(500.0 * excess[areas == ""].sum() / 2)
            assert costs["shared_overload"] == pytest.approx(7.0 * over[branch_areas == ""].sum() / 2)
        assert output.costs[0, names.index("shared_voltage")] > 0.0


@pytest.mark.parametrize("terminate", [False, True])
def test_divergence_counts_all_load_as_unserved(terminate):
    given = small_worlds.config(
        network={**small_worlds.NETWORK, "load_scale": 60.0},
        simulation={"episode_length": 4, "time_step": 3600, "terminate_on_divergence": terminate},
    )
    env = powergrid.make(given)
    names = list(env.constraint_names)
    ticks = 0
    for row, before, output in run(env):
        assert not output.flow.converged
        costs = dict(zip(names, output.costs[0], strict=True))
        assert costs.pop("unserved") == pytest.approx(10_000.0 * load_mw(env, row).sum() * DT_H)
        assert not any(costs.values())
        assert not output.measured_mw.any()
        assert np.isfinite(output.observation).all()
        assert (env._state.v_re == before.v_re).all()  # the last solved voltages stay
        ticks += 1
    assert ticks == (1 if terminate else 4)


def test_local_control_comes_to_rest_inside_its_band():
    env = powergrid.make(small_worlds.microgrids(3))
    world = env.world
    regulators = world.layout.families[world.layout.taps]
    columns = regulators.params
    env.reset(seed=2, options={"day": 180})
    moved = 0
    for _ in range(8):
        env.step(env.policy_actions("random"))
        taps = env._state.devices[world.layout.taps]
        relay = env.output.flow.v_pu[world.layout.regulators.relay_bus]
        inside = np.abs(relay - columns.v_set_pu) <= columns.half_band_pu + 1e-6
        at_end = (taps.tap <= columns.tap_min) | (taps.tap >= columns.tap_max)
        assert (inside | at_end).all()
        assert inside.any()
        moved += int(taps.moves.sum())
    assert moved > 0


def test_a_batch_is_its_environments_bit_for_bit():
    """Four lanes side by side give the bits of each alone, in every number that leaves the step."""
    simulation, alone = Simulation(build(small_worlds.microgrids())), Simulation(build(small_worlds.microgrids()))
    keys, days = random.key_from_seed(np, np.arange(4)), np.array([3, 100, 200, 364], dtype=np.int32)
    state, *_ = simulation.reset(keys, days)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (8, 4, 2, 2))
    outputs = []
    for tick in range(8):
        state, output = simulation.step(state, actions[tick])
        outputs.append(output)
    for lane in range(4):
        state, *_ = alone.reset(keys[lane], days[lane])
        for tick in range(8):
            state, output = alone.step(state, actions[tick, lane])
            for name in ("observation", "money", "costs", "p_mw", "measured_mw"):
                assert (getattr(output, name) == getattr(outputs[tick], name)[lane]).all(), (lane, tick, name)
