"""Who acts, and who pays."""

from __future__ import annotations

import numpy as np
import pytest
import small_worlds
from small_worlds import DG, ESS, METER, PV, operator

import powergrid

DEVICES = ("ess_1", "dg_1", "pv_1")


def owner(env, unit: str) -> str:
    """Account that pays for a unit."""
    layout = env.world.layout
    for family in layout.families:
        if unit in family.ids:
            return layout.accounts[family.account[family.ids.index(unit)]]
    raise AssertionError(unit)


def own(device, **keys):
    return {**device, **keys}


def test_setpoint_coordinator_acts_and_pays_for_its_devices():
    env = small_worlds.make(ESS, DG, PV, METER, operator(protocol="setpoint"))
    assert env.possible_agents == ["operator_1"]
    assert env.action_labels("operator_1") == ("ess_1.p [MW]", "dg_1.p [MW]", "pv_1.p_share [1]")
    assert {owner(env, unit) for unit in (*DEVICES, "grid_1")} == {"operator_1"}


def test_setpoint_leaves_a_local_policy_alone():
    env = small_worlds.make(ESS, own(DG, policy="rule_based"), own(PV, policy="mppt"), METER, operator())
    assert env.action_labels("operator_1") == ("ess_1.p [MW]",)
    assert owner(env, "dg_1") == "operator_1"


def test_centralized_coordinator_acts_whatever_its_protocol():
    env = small_worlds.make(ESS, DG, PV, METER, operator(policy="centralized", protocol="price_signal"))
    assert env.possible_agents == ["operator_1"]
    assert env.action_labels("operator_1") == ("ess_1.p [MW]", "dg_1.p [MW]", "pv_1.p_share [1]")


def test_price_signal_parent_and_learned_children_all_act():
    env = small_worlds.make(
        ESS, own(DG, policy="rule_based"), own(PV, policy="mppt"), METER, operator(protocol="price_signal")
    )
    assert env.possible_agents == ["ess_1", "operator_1"]
    assert env.action_labels("operator_1") == ("operator_1.price [$/MWh]",)
    assert env.action_labels("ess_1") == ("ess_1.p [MW]",)
    assert owner(env, "ess_1") == "ess_1"  # a learned device answers for its own wear
    assert owner(env, "dg_1") == "operator_1"
    assert owner(env, "grid_1") == "operator_1"
    assert "operator_1.signal_price [$/MWh]" in env.observation_labels("ess_1")


def test_children_follow_the_parents_price_with_the_retail_part_on_top():
    env = small_worlds.make(
        own(DG, policy="rule_based"), METER, operator(protocol="price_signal", sub_agents=["dg_1", "grid_1"])
    )
    low, high = -1.0, -1.0 + 2.0 * 20.0 / 200.0  # 0 and 20 $/MWh, to which the retail price adds 45
    for price, produced in ((low, 0.0), (high, (20.0 + 45.0 - 45.0) / 80.0)):
        env.reset(seed=1, options={"day": 40})
        env.step({"operator_1": np.array([price])})
        assert float(env.output.p_mw[0]) == pytest.approx(produced, abs=1e-9)


def test_devices_alone_each_act_and_pay_at_their_own_terminal():
    env = small_worlds.make(ESS, DG, PV)
    assert env.possible_agents == list(DEVICES)
    assert [owner(env, unit) for unit in DEVICES] == list(DEVICES)
    env.reset(seed=1, options={"day": 40})
    env.step({"ess_1": np.array([-1.0]), "dg_1": np.array([1.0]), "pv_1": np.array([1.0])})
    output, names = env.output, list(env.money_names)
    now = env.world.table[int(env._state.row) - 1]
    columns = env.world.layout.columns
    retail, feed_in = now[columns.column("retail_per_mwh")], now[columns.column("feed_in_per_mwh")]
    grid = output.money[:, names.index("grid")]
    injected = dict(zip(env.world.layout.units, output.p_mw, strict=True))
    assert injected["ess_1"] == pytest.approx(-0.25)
    assert grid == pytest.approx([retail * 0.25, -feed_in * injected["dg_1"], -feed_in * injected["pv_1"]], abs=1e-9)


def test_a_device_without_a_decision_is_no_agent():
    fixed = {"kind": "solar", "p_max_mw": 0.6, "curtailable": False}
    env = small_worlds.make(ESS, own(PV, params=fixed, policy="mppt"))
    assert env.possible_agents == ["ess_1"]
    assert owner(env, "pv_1") == "pv_1"
    assert env.world.layout.accounts == ("ess_1", "pv_1")  # accounts that nobody acts for come last


def test_microgrids_pay_for_their_areas_and_share_the_rest():
    env = powergrid.make(small_worlds.microgrids())
    layout = env.world.layout
    assert layout.accounts == ("microgrid_1", "microgrid_2")
    assert layout.meters.names == ("mg1.pcc", "mg2.pcc", "source")
    assert [owner(env, unit) for unit in ("ess_1", "dg_2")] == ["microgrid_1", "microgrid_2"]
    share = layout.ledger.load_to_account  # series by account, the last column is nobody's
    network = env.world.network
    areas = np.array([network.buses.area[bus] for bus in network.loads.bus])
    for column, area in enumerate(["mg1", "mg2", ""]):
        assert share[:, column].sum() == pytest.approx(network.loads.p_mw[areas == area].sum())


def test_whoever_pays_at_the_source_answers_for_the_feeder():
    env = small_worlds.make()
    share = env.world.layout.ledger.load_to_account
    assert share[:, 0].sum() == pytest.approx(env.world.network.loads.p_mw.sum())
    assert not share[:, 1].any()


def test_market_members_act_even_without_devices_of_their_own_choice():
    given = small_worlds.microgrids(protocols=[{"type": "p2p_trading"}])
    for agent in given["agents"]:
        if agent["type"] != "GridCoordinator":
            agent["policy"] = "rule_based"
    env = powergrid.make(given)
    assert env.possible_agents == ["microgrid_1", "microgrid_2"]
    assert env.action_labels("microgrid_1") == ("microgrid_1.limit_price [1]",)
