"""The planner: cases solved by hand, no look ahead, no history, and no day below the bound."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

import powergrid
from powergrid.agents.policies.mpc import ModelPredictiveControl, Settings, _expected_trade
from powergrid.core.errors import AgentError, ConfigError
from powergrid.devices.storage import Storage
from powergrid.learn.evaluate import evaluate
from powergrid.planning.dispatch import Meter

HOURS = pd.date_range("2023-01-01", "2024-01-01", freq="1h", inclusive="left")
BATTERY = {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}}
GENERATOR = {"id": "dg_1", "type": "DG", "bus": "675", "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 60}}
METER = {"id": "grid_1", "type": "GridConnection"}


def operator(*units, policy="mpc", protocol="setpoint", **more):
    return {
        "id": "operator_1",
        "type": "GridCoordinator",
        "policy": policy,
        "protocol": protocol,
        "sub_agents": list(units),
        **more,
    }


def system(*agents, **more):
    return {"name": "planned", "network": {"base": "ieee13", "load_scale": 0.3}, "agents": list(agents), **more}


def played(config, ticks=96, day=30, **given):
    """Injection of every unit by tick, and the environment."""
    env = powergrid.make(config, **given)
    env.reset(seed=0, options={"day": day})
    rows = []
    for _ in range(ticks):
        env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
        rows.append(env.output.p_mw.copy())
    return {unit: np.array(rows)[:, k] for k, unit in enumerate(env.world.layout.units)}, env


@pytest.fixture
def series(tmp_path):
    """Writes a day of prices and a load as files and gives the configuration's `datasets`."""

    def write(price, load=None, name="case"):
        whole = np.resize(np.asarray(price, float), 8760)
        demand = np.full(8760, 0.5) if load is None else load
        frame = pd.DataFrame({"time": HOURS, "price": whole, "load": demand})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        file = tmp_path / f"{name}.csv"
        return {"price": f"{file}:price", "load": f"{file}:load"}

    return write


DEVICES = (BATTERY, GENERATOR, METER)
IDS = ("ess_1", "dg_1", "grid_1")


def test_battery_and_generator_follow_the_prices(series):
    """Six cheap hours at night, six dear ones in the evening; the generator runs where power costs more."""
    price = np.full(24, 30.0)
    price[:6], price[17:23] = 5.0, 200.0
    power, env = played(system(*DEVICES, operator(*IDS), datasets=series(price)), day=40)
    night, evening = slice(0, 24), slice(68, 92)
    assert power["ess_1"][night].min() == pytest.approx(-0.25)
    charged = -power["ess_1"][night].sum() * 0.25
    assert charged * 0.95 == pytest.approx(0.4, abs=0.02)  # from half full to the upper end of the window
    assert power["ess_1"][evening].sum() * 0.25 > 0.5  # all that it may give away in the dear hours
    assert (power["ess_1"][24:68] > -1e-6).all()
    assert power["dg_1"][evening] == pytest.approx(np.full(24, 0.4))
    assert power["dg_1"][night] == pytest.approx(np.zeros(24))  # retail is 50 $/MWh there, the generator's cost 60
    assert env.agent("operator_1").policy_object.counts == {"plans": 96, "relaxed": 0, "failed": 0}


def test_what_the_agent_cannot_know_changes_nothing(series):
    """Loads beyond the six hours of its forecast are other ones: the first actions are the same, later ones are not."""
    day, price = 40, np.r_[np.full(12, 20.0), np.full(12, 90.0)]
    known = 0.5 + 0.4 * np.sin(np.arange(8760))
    other = known.copy()
    other[day * 24 + 7 :] = 0.1
    one, another = (
        played(system(*DEVICES, operator(*IDS), datasets=series(price, load, name)), ticks=40, day=day)[0]
        for load, name in ((known, "known"), (other, "other"))
    )
    for unit in ("ess_1", "dg_1"):
        np.testing.assert_array_equal(one[unit][:1], another[unit][:1])
    assert not np.allclose(one["dg_1"], another["dg_1"], atol=0.01)


def test_the_same_observation_gives_the_same_action():
    """Two environments of a batch, one of them in another order, and one alone."""
    env = powergrid.make("two_microgrids")
    alone = []
    for day in (30, 200):
        env.reset(seed=3, options={"day": day})
        for _ in range(5):
            env.step(env.policy_actions("mpc"))
        alone.append(env.policy_array("mpc"))
    again = powergrid.make("two_microgrids")
    again.reset(seed=3, options={"day": 200})
    for _ in range(5):
        again.step(again.policy_actions("mpc"))
    np.testing.assert_array_equal(again.policy_array("mpc"), alone[1])
    assert not np.array_equal(alone[0], alone[1])


class Alone(ModelPredictiveControl):
    """The planner that expects no trade."""

    class Settings(Settings):
        trade_growth_percent: float = 0.0


def test_limit_price_is_the_marginal_value():
    """Without trades to expect, importers bid retail, exporters ask feed-in, and a generator at work asks its cost."""
    env = powergrid.make("p2p_microgrids")
    env.reset(seed=0, options={"day": 30})
    seen = set()
    for _ in range(96):
        actions = env.policy_actions(Alone)
        env.step(actions)
        for k in (1, 2, 3):
            share = 0.5 * (1.0 + float(actions[f"microgrid_{k}"][-1]))
            read = float(env.output.measured_mw[env.world.layout.meters.names.index(f"mg{k}.pcc")])
            output = float(env.output.p_mw[env.world.layout.units.index(f"dg_{k}")])
            seen.add("buys" if share > 0.999 else "sells" if share < 0.001 else "between")
            if share > 0.999:
                assert read > -0.02
            elif share < 0.001:
                assert read < 0.02
            else:
                assert abs(read) < 0.02 or output < 0.399
    assert {"buys", "between"} <= seen


def test_members_of_a_market_plan_for_each_other():
    """The cheap generator also works for the neighbours, which pays for both sides."""
    paid, sold_mwh = {}, {}
    for policy in (ModelPredictiveControl, Alone):
        env = powergrid.make("p2p_microgrids")
        env.reset(seed=0, options={"day": 30})
        paid[policy] = sold_mwh[policy] = 0.0
        for _ in range(48):
            env.step(env.policy_actions(policy))
            state = env.global_state()
            paid[policy] += float(env.output.money.sum() + env.output.costs.sum())
            sold_mwh[policy] -= min(state["microgrid_1.p2p_bought [MWh]"], 0.0)
    assert paid[ModelPredictiveControl] < paid[Alone] - 3.0
    assert sold_mwh[ModelPredictiveControl] > 2.0 * sold_mwh[Alone]


def test_expected_trades_grow_only_where_nothing_was_left():
    meter = Meter("pcc", "m", (), np.zeros(2), np.array([90.0, 140.0]), np.array([40.0, 90.0]), "market_0")
    grown = _expected_trade(meter, 65.0, -0.2, -0.2, 0.05)  # sold all of 0.2 MW halfway between the prices
    assert grown.price_per_mwh == pytest.approx([65.0, 115.0])
    assert (grown.buy_mw, grown.sell_mw) == pytest.approx((0.05, 0.25))
    left = _expected_trade(meter, 50.0, -0.2, -0.3, 0.05)  # 0.1 MW went to the utility
    assert left.price_per_mwh == pytest.approx([50.0, 100.0])
    assert (left.buy_mw, left.sell_mw) == pytest.approx((0.05, 0.2))
    lacked = _expected_trade(meter, 0.0, 0.0, 0.3, 0.05)  # nobody sold
    assert lacked.price_per_mwh == pytest.approx([65.0, 115.0])
    assert (lacked.buy_mw, lacked.sell_mw) == pytest.approx((0.0, 0.05))


def test_a_price_signal_is_the_dual_of_the_balance(series):
    """The tariff shows it: what the generator asks for while it feeds a battery too, and retail where it stands."""
    agents = (
        {**BATTERY, "policy": "rule_based"},
        {**GENERATOR, "policy": "rule_based", "params": {"p_max_mw": 4.0, "marginal_cost_per_mwh": 60}},
        METER,
        operator(*IDS, protocol={"type": "price_signal", "params": {"price_max_per_mwh": 500}}),
    )
    # 64 less a tenth of 40 is 60 for what is fed in, and 5 plus 45 is the retail price
    for level, expected in ((40.0, 60.0 + 0.1 * 40.0), (5.0, 50.0 - 45.0)):
        _, env = played(system(*agents, datasets=series(np.full(24, level))), ticks=1, day=40)
        assert env.global_state()["operator_1.signal_price [$/MWh]"] == pytest.approx(expected, abs=1e-3)


def test_set_points_as_reference_are_the_planned_powers(series):
    price = np.r_[5.0, np.full(23, 150.0)]
    agents = (
        {**BATTERY, "policy": "rule_based"},
        {**GENERATOR, "policy": "rule_based"},
        METER,
        operator(*IDS, protocol={"type": "setpoint", "params": {"as": "reference"}}),
    )
    _, env = played(system(*agents, datasets=series(price)), ticks=1, day=40)
    state = env.global_state()
    assert state["ess_1.setpoint [MW]"] == pytest.approx(-0.25)
    assert state["dg_1.setpoint [MW]"] == pytest.approx(0.0, abs=1e-6)


def test_a_system_operator_plans_everything_below_it(series):
    """Two coordinators below it receive the power that is planned for their units."""
    agents = (
        {**BATTERY, "policy": "rule_based"},
        {**GENERATOR, "policy": "rule_based"},
        {**BATTERY, "id": "ess_2", "bus": "634", "policy": "rule_based"},
        {"id": "mg_1", "type": "GridCoordinator", "sub_agents": ["ess_1", "dg_1"], "policy": "rule_based"},
        {"id": "mg_2", "type": "GridCoordinator", "sub_agents": ["ess_2"], "policy": "rule_based"},
        {
            "id": "system_1",
            "type": "SystemAgent",
            "sub_agents": ["mg_1", "mg_2"],
            "policy": "mpc",
            "protocol": {"type": "setpoint", "params": {"as": "reference"}},
        },
    )
    env = powergrid.make(system(*agents, datasets=series(np.repeat([5.0, 30.0, 300.0], 8))))
    env.reset(seed=0, options={"day": 30})
    policy = env.agent("system_1").policy_object
    assert policy.planned == {"ess_1", "dg_1", "ess_2"}
    chosen = []

    def decide(observation):
        chosen.append(policy.act(observation))
        return chosen[-1]

    env.agent("system_1").decide = decide
    for _ in range(96):
        env.step({})
    powers = {name: np.array([step[name] for step in chosen]) for name in chosen[0]}
    assert set(powers) == {"mg_1.setpoint [MW]", "mg_2.setpoint [MW]"}
    assert powers["mg_2.setpoint [MW]"].min() < -0.2
    assert powers["mg_2.setpoint [MW]"].max() > 0.2
    assert powers["mg_1.setpoint [MW]"].max() > 0.4  # generator and battery together


def test_decisions_every_hour_plan_hours(series):
    power, env = played(system(*DEVICES, operator(*IDS, interval=3600), datasets=series(np.r_[5.0, np.full(23, 90.0)])))
    assert env.agent("operator_1").policy_object.counts["plans"] == 24
    for row in power["ess_1"].reshape(24, 4):
        assert np.ptp(row) < 0.06  # held, but for the window of the battery
    assert power["ess_1"][:4] == pytest.approx(np.full(4, -0.25))


@pytest.mark.parametrize("commitment", ["relaxed", "milp"])
def test_a_unit_that_may_be_off_is_switched(series, commitment):
    unit = {
        "id": "dg_1",
        "type": "DG",
        "bus": "675",
        "params": {
            "p_range": [0.3, 0.6],
            "commitment": True,
            "marginal_cost_per_mwh": 40,
            "no_load_cost_per_h": 5,
            "start_cost": 10,
            "min_up_h": 2,
        },
    }
    price = np.r_[np.full(8, 0.0), np.full(8, 150.0), np.full(8, 0.0)]
    policy = {"type": "mpc", "params": {"commitment": commitment}}
    agents = (BATTERY, unit, METER, operator(*IDS, policy=policy))
    power, _ = played(system(*agents, datasets=series(price)))
    on = power["dg_1"] > 1e-6
    assert on[32:64].all()
    assert not on[8:30].any()
    assert not on[66:].any()


def test_a_program_without_an_optimum_is_relaxed_counted_and_reported(series, monkeypatch, caplog):
    """A model whose stored energy is far above its window has no optimum; the plan without that window has one."""
    whole = Storage.linear
    monkeypatch.setattr(Storage, "linear", lambda self, exogenous: whole(self, exogenous)._replace(e_max_mwh=0.2))
    with caplog.at_level(logging.WARNING, "powergrid"):
        power, env = played(system(*DEVICES, operator(*IDS), datasets=series(np.full(24, 60.0))), ticks=12)
    counts = env.agent("operator_1").policy_object.counts
    assert counts["relaxed"] >= 1
    assert counts["failed"] == 0
    assert np.isfinite(power["ess_1"]).all()
    warnings = [record.message for record in caplog.records if "infeasible" in record.message]
    assert warnings
    assert len(warnings) <= 2  # the first and the tenth
    assert '"operator_1"' in warnings[0]


def test_an_agent_holds_where_nothing_can_be_planned(series, monkeypatch):
    whole = Storage.linear
    broken = lambda self, exogenous: whole(self, exogenous)._replace(e_min_mwh=float("nan"))  # noqa: E731
    monkeypatch.setattr(Storage, "linear", broken)
    power, env = played(system(*DEVICES, operator(*IDS), datasets=series(np.full(24, 60.0))), ticks=4)
    assert env.agent("operator_1").policy_object.counts["failed"] == 4
    assert power["ess_1"] == pytest.approx(np.zeros(4))


@pytest.mark.parametrize(("preset", "named"), [("voltage_control_34", "tap_1|cap_1"), ("voltage_control_13", "tap_1")])
def test_an_agent_with_nothing_to_plan_is_refused_by_name(preset, named):
    with pytest.raises(AgentError, match=f"({named}).*nothing to plan"):
        evaluate(preset, policy="mpc", days=[3], show=False)


def test_a_device_that_cannot_be_planned_is_refused_by_name():
    room = {"id": "hp_1", "type": "HeatPump", "bus": "675", "policy": "learned"}
    env = powergrid.make(system({**BATTERY, "policy": "learned"}, room, METER, operator("ess_1", "hp_1", "grid_1")))
    with pytest.raises(AgentError, match=r'"hp_1" \(HeatPump\).*rule_based'):
        env.reset(seed=0)


def test_parameters_are_checked():
    for params, place in (
        ({"horizon_h": -1}, "horizon_h"),
        ({"commitment": "whole"}, "commitment"),
        ({"hours": 3}, "hours"),
    ):
        with pytest.raises(ConfigError, match=place):
            powergrid.load_config(system(*DEVICES, operator(*IDS, policy={"type": "mpc", "params": params})))


def test_jax_refuses_it():
    with pytest.raises(ConfigError, match="operator_1"):
        powergrid.make_functional(system(*DEVICES, operator(*IDS)))


def test_it_costs_less_than_the_rule_and_no_less_than_the_bound():
    for preset in ("two_microgrids", "ieee34_multi"):
        found = evaluate(preset, policy=("mpc", "rule_based"), days=[30, 200], bound=True, show=False)
        assert found.bound is not None
        assert (found["mpc"].money.sum(-1) >= found.bound - 1e-6).all()
        saved = found["rule_based"].objective - found["mpc"].objective
        assert saved.mean() > (10.0 if preset == "two_microgrids" else -0.01)  # the rule is as good for lone batteries


def test_a_planned_agent_in_the_configuration_equals_one_from_outside():
    """The environment asks the same policy, whether it stands in for an actor or belongs to the agent."""
    agents = (BATTERY, GENERATOR, METER)
    inside, env = played(system(*agents, operator(*IDS)), ticks=30)
    outside = powergrid.make(system(*agents, operator(*IDS, policy="learned")))
    outside.reset(seed=0, options={"day": 30})
    for tick in range(30):
        outside.step(outside.policy_actions("mpc"))
        for k, unit in enumerate(outside.world.layout.units):
            assert float(outside.output.p_mw[k]) == pytest.approx(inside[unit][tick], abs=1e-6)
    assert env.agents == []


def test_a_planner_of_all_members_of_a_market_pools_their_energy(series):
    """A generator behind one meter replaces what the other buys, but only where both plan together and share a bill."""
    units = [
        {**GENERATOR, "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 60}, "bus": "mg1.675", "policy": "learned"},
        {**BATTERY, "bus": "mg2.671", "policy": "learned"},
    ]
    microgrids = [
        {
            "id": f"mg_{k}",
            "type": "GridCoordinator",
            "area": f"mg{k}",
            "sub_agents": [unit["id"]],
            "protocol": "setpoint",
        }
        for k, unit in enumerate(units, 1)
    ]
    operator = {"id": "all", "type": "SystemAgent", "sub_agents": ["mg_1", "mg_2"], "policy": "mpc"}
    operator["observability"] = "full"
    attached = {
        "network": "ieee13",
        "load_scale": 0.1,
        "transformer": {"sn_mva": 1.0, "vk_percent": 5.75, "vkr_percent": 0.75},
    }
    places = [{"attach": {**attached, "name": f"mg{k}", "at_bus": bus}} for k, bus in ((1, 808), (2, 830))]
    network = {"base": "ieee34", "load_scale": 0.3, "source_pu": 1.03, "modifications": places}
    pool = [{"type": "mid_market", "members": ["mg_1", "mg_2"]}]
    config = {"name": "pooled", "network": network, "agents": [operator, *microgrids, *units]}
    config["datasets"] = series(np.full(24, 40.0))  # retail 85, feed-in 36 $/MWh: it pays to replace, not to sell
    found = {}
    for name, protocols in (("pool", pool), ("own bills", [])):
        power, env = played({**config, "protocols": protocols}, ticks=8, day=40, backend="numpy")
        policy = env.agent("all").policy_object
        assert policy.site.whole_markets == (frozenset({"market_0"}) if protocols else frozenset())
        found[name] = power["dg_1"].mean()
    assert found["own bills"] < 0.25  # its own load
    assert found["pool"] > 1.5 * found["own bills"]
