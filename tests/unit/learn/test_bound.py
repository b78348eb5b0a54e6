"""The lower bound: cases solved by hand, and no policy on any day below it."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid
from powergrid.agents.device_agent import LinearDevice
from powergrid.learn.bound import NoBoundError, lower_bound
from powergrid.worlds.export import EpisodeData, Feeder, Meter, Prices, Weights

WEIGHTS = Weights(0.95, 1.05, 1000.0, 10.0, 10_000.0, 1.0, 1.0, np.inf)


def episode(linear, meters, *, settlement=None, initial=None, dt_h=1.0) -> EpisodeData:
    ticks = len(meters[0].load_mw)
    return EpisodeData(
        dt_h=dt_h,
        network=Feeder(None, np.zeros((ticks, 1)), np.zeros((ticks, 1)), {}),
        linear=linear,
        exogenous={},
        initial_state=initial or dict.fromkeys(linear, ()),
        prices=Prices(tuple(meters), settlement or dict.fromkeys(linear, 0.0)),
        weights=WEIGHTS,
    )


def meter(name, units, load, retail, feed_in, market="") -> Meter:
    return Meter(name, name, tuple(units), *(np.array(v, dtype=float) for v in (load, retail, feed_in)), market)


def test_battery_between_a_cheap_and_a_dear_hour():
    battery = LinearDevice(-0.5, 0.5, 0.1, 0.9, 0.3, eta_in=0.9, eta_out=0.8, throughput_cost_per_mwh=2.0)
    data = episode(
        {"ess": battery}, [meter("pcc", ["ess"], [1.0, 1.0], [20.0, 100.0], [10.0, 60.0])], settlement={"ess": 40.0}
    )
    bound = lower_bound(data)
    # charge 0.5 MW in hour one (0.3 + 0.45 = 0.75 MWh stored) and discharge 0.5 MW in hour two (0.625 MWh drawn)
    stored = 0.3 + 0.5 * 0.9 - 0.5 / 0.8
    expected = 20.0 * 1.5 + 100.0 * 0.5 + 2.0 * (0.5 + 0.5) + (0.3 - stored) * 40.0
    assert bound.cost == pytest.approx(expected, abs=1e-6)
    assert bound.dispatch["ess"] == pytest.approx([-0.5, 0.5], abs=1e-7)


def test_battery_too_lossy_for_the_spread_rests():
    battery = LinearDevice(-0.5, 0.5, 0.1, 0.9, 0.5, eta_in=0.8, eta_out=0.8)
    data = episode(
        {"ess": battery}, [meter("pcc", ["ess"], [1.0, 1.0], [50.0, 60.0], [0.0, 0.0])], settlement={"ess": 55.0}
    )
    bound = lower_bound(data)
    assert bound.cost == pytest.approx(50.0 + 60.0, abs=1e-6)
    assert bound.dispatch["ess"] == pytest.approx([0.0, 0.0], abs=1e-7)


def test_self_discharge_may_carry_the_energy_below_the_window():
    battery = LinearDevice(-0.5, 0.5, 0.1, 0.9, 0.1, decay_per_h=0.1)
    data = episode(
        {"ess": battery}, [meter("pcc", ["ess"], [0.0] * 3, [50.0] * 3, [0.0] * 3)], settlement={"ess": 10.0}
    )
    bound = lower_bound(data)
    assert bound.cost == pytest.approx((0.1 - 0.1 * 0.9**3) * 10.0, abs=1e-6)


def test_generator_runs_up_to_the_price_on_each_block():
    generator = LinearDevice(0.0, 1.0, cost_mw=(0.4, 0.6), cost_per_mwh=(30.0, 70.0))
    data = episode({"dg": generator}, [meter("pcc", ["dg"], [2.0, 0.2, 0.2], [90.0, 90.0, 50.0], [40.0, 40.0, 20.0])])
    bound = lower_bound(data)
    # hour one: all of it replaces purchases; hour two: the first block serves and sells; hour three: it only serves
    assert bound.dispatch["dg"] == pytest.approx([1.0, 0.4, 0.2], abs=1e-7)
    expected = (12.0 + 42.0 + 90.0) + (12.0 - 40.0 * 0.2) + 6.0
    assert bound.cost == pytest.approx(expected, abs=1e-6)


def test_ramp_holds_from_the_power_before_the_first_tick():
    generator = LinearDevice(0.0, 1.0, ramp_mw_per_h=0.3, cost_mw=(1.0,), cost_per_mwh=(10.0,))
    state = type("State", (), {"p_mw": 0.1})()
    data = episode({"dg": generator}, [meter("pcc", ["dg"], [2.0] * 3, [90.0] * 3, [0.0] * 3)], initial={"dg": state})
    assert lower_bound(data).dispatch["dg"] == pytest.approx([0.4, 0.7, 1.0], abs=1e-7)


def test_commitment_is_relaxed_but_not_free():
    unit = LinearDevice(
        0.0, 1.0, cost_mw=(1.0,), cost_per_mwh=(10.0,), commitment=True, p_on_min_mw=0.5, no_load_cost_per_h=20.0
    )
    data = episode({"dg": unit}, [meter("pcc", ["dg"], [1.0, 1.0], [31.0, 29.0], [0.0, 0.0])])
    bound = lower_bound(data)
    assert bound.dispatch["dg"] == pytest.approx([1.0, 0.0], abs=1e-7)
    assert bound.cost == pytest.approx(30.0 + 29.0, abs=1e-6)


def test_unserved_demand_costs_its_price():
    load = LinearDevice(-1.0, -0.4, curtailment_cost_per_mwh=80.0)
    data = episode({"load": load}, [meter("pcc", ["load"], [0.0, 0.0], [70.0, 200.0], [0.0, 0.0])])
    bound = lower_bound(data)
    assert bound.dispatch["load"] == pytest.approx([-1.0, -0.4], abs=1e-7)
    assert bound.cost == pytest.approx(70.0 + 0.4 * 200.0 + 0.6 * 80.0, abs=1e-6)


def test_free_power_may_be_curtailed():
    sun = LinearDevice(np.zeros(2), np.array([1.0, 0.5]))
    must = LinearDevice(np.array([1.0, 0.5]), np.array([1.0, 0.5]))
    for device, cost in ((sun, 30.0), (must, 30.0)):
        data = episode({"pv": device}, [meter("pcc", ["pv"], [0.2, 0.8], [100.0, 100.0], [0.0, 0.0])])
        assert lower_bound(data).cost == pytest.approx(cost, abs=1e-6)


def test_members_of_a_market_share_one_meter_and_others_do_not():
    sides = ("seller", ["pv"], [0.0], [90.0], [40.0]), ("buyer", [], [1.0], [90.0], [40.0])
    linear = {"pv": LinearDevice(np.zeros(1), np.ones(1))}
    apart = episode(linear, [meter(*side) for side in sides])
    together = episode(linear, [meter(*side, market="p2p") for side in sides])
    assert lower_bound(apart).cost == pytest.approx(90.0 - 40.0, abs=1e-6)
    assert lower_bound(together).cost == pytest.approx(0.0, abs=1e-6)


def test_two_tariffs_in_one_market_are_no_money_pump():
    # the seller's feed-in is above the buyer's retail: nobody can buy more there than its load to sell it here
    sides = ("seller", ["pv"], [0.0], [90.0], [60.0]), ("buyer", [], [1.0], [50.0], [40.0])
    data = episode({"pv": LinearDevice(np.zeros(1), np.ones(1))}, [meter(*side, market="p2p") for side in sides])
    assert lower_bound(data).cost == pytest.approx(50.0 - 60.0, abs=1e-6)


def test_what_stands_in_the_way_is_named():
    with pytest.raises(NoBoundError, match="heat_1"):
        lower_bound(episode({}, [meter("pcc", ["heat_1"], [1.0], [50.0], [0.0])]))
    impossible = LinearDevice(-0.5, 0.5, 0.4, 0.9, 0.1)
    with pytest.raises(NoBoundError, match="no optimum"):
        lower_bound(episode({"ess": impossible}, [meter("pcc", ["ess"], [1.0] * 2, [50.0] * 2, [0.0] * 2)], dt_h=0.01))


def idle(xp, layout, params, state, exogenous, noise):
    """Every device at rest: the slots as they are before the first decision."""
    return 0.0 * state.slots + layout.slots.rest


def drain(xp, layout, params, state, exogenous, noise):
    """Everything at its upper end: batteries empty themselves, generators run."""
    return 0.0 * state.slots + 1.0


def fill(xp, layout, params, state, exogenous, noise):
    """Everything at its lower end."""
    return 0.0 * state.slots - 1.0


POLICIES = ("rule_based", "random", idle, drain, fill)


def paid(env, policy, day, seed) -> float:
    """Money of all accounts over one day."""
    env.reset(seed=seed, options={"day": day})
    total = 0.0
    while env.agents:
        env.step(env.policy_actions(policy))
        assert env.output.flow.converged
        total += float(env.output.money.sum())
    return total


@pytest.mark.parametrize(
    "preset",
    ["p2p_microgrids", "two_microgrids", "ieee13_single", "ieee34_multi", "ieee34_microgrid", "voltage_control_34"],
)
@pytest.mark.filterwarnings("ignore:lmp_solver")
def test_no_policy_costs_less(preset):
    env = powergrid.make(preset)
    for day, seed in ((18, 0), (200, 1)):
        bound = lower_bound(env.export_episode(day, seed)).cost
        costs = [paid(env, policy, day, seed) for policy in POLICIES]
        assert min(costs) >= bound - 1e-6, (day, costs, bound)


def test_no_policy_costs_less_whatever_the_devices():
    """Commitment, ramps, reactive power, self-discharge, random initial energy, loads that can be left unserved."""
    agents = [
        {
            "id": "dg_1",
            "type": "DG",
            "bus": "675",
            "params": {
                "p_range": [0.2, 0.6],
                "sn_mva": 0.8,
                "commitment": True,
                "start_cost": 30.0,
                "shut_down_cost": 5.0,
                "no_load_cost_per_h": 6.0,
                "min_up_h": 2.0,
                "start_up_h": 1.0,
                "marginal_cost_per_mwh": 40.0,
                "marginal_cost_slope_per_mw2h": 50.0,
            },
        },
        {"id": "dg_2", "type": "DG", "bus": "671", "params": {"p_max_mw": 0.5, "ramp_mw_per_h": 0.1}},
        {
            "id": "ess_1",
            "type": "ESS",
            "bus": "680",
            "params": {"sn_mva": 0.6, "self_discharge_per_h": 0.02, "soc_init": 0.15, "soc_init_spread": 0.3},
        },
        {
            "id": "load_1",
            "type": "Load",
            "bus": "634",
            "params": {"p_mw": 0.3, "curtailable_share": 0.5, "curtailment_cost_per_mwh": 90.0},
            "policy": "learned",
        },
        {"id": "grid_1", "type": "Grid"},
        {
            "id": "operator_1",
            "type": "GridCoordinator",
            "policy": "learned",
            "protocol": "setpoint",
            "sub_agents": ["dg_1", "dg_2", "ess_1", "load_1", "grid_1"],
        },
    ]
    env = powergrid.make(
        {
            "name": "all",
            "network": {"base": "ieee13", "load_scale": 0.5},
            "agents": agents,
            "simulation": {"episode_length": 48, "time_step": 1800},
        }
    )
    for day, seed in ((18, 0), (120, 1), (200, 2)):
        bound = lower_bound(env.export_episode(day, seed)).cost
        costs = [paid(env, policy, day, seed) for policy in POLICIES]
        assert min(costs) >= bound - 1e-6, (day, costs, bound)
        assert min(costs) <= bound + 0.5 * abs(bound)  # and it is a bound worth having


def test_the_bounds_own_dispatch_costs_little_more_when_played():
    """Played back on the feeder, the optimum pays the losses on top, and nothing else."""
    env = powergrid.make("ieee13_single")
    day, seed = 18, 0
    data = env.export_episode(day, seed)
    bound = lower_bound(data)
    env.reset(seed=seed, options={"day": day})
    labels = env.action_labels("operator_1")
    spans = {label: entry for label, (_, entry) in zip(labels, env.world.layout.action_entries[0], strict=True)}
    total, lost, tick = 0.0, 0.0, 0
    while env.agents:
        action = np.zeros(len(labels), dtype=np.float64)
        for k, label in enumerate(labels):
            unit = label.split(".")[0]
            entry = spans[label]
            wanted = bound.dispatch[unit][tick] if entry.name == "p" else 1.0 if entry.name == "p_share" else 0.0
            action[k] = 2.0 * (wanted - entry.low) / (entry.high - entry.low) - 1.0
        env.step({"operator_1": np.clip(action, -1.0, 1.0)})
        total += float(env.output.money.sum())
        lost += float(env.output.flow.loss_mw) * data.dt_h * data.prices.meters[0].retail_per_mwh[tick]
        tick += 1
    assert bound.cost <= total <= bound.cost + lost + 0.01 * abs(bound.cost)
