"""Market at locational marginal prices: published prices, money, shortage, commands, and all forms of it."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid import markets
from powergrid.agents.protocols import lmp_market
from powergrid.core.errors import ConfigError, NetworkError, PowerGridError
from powergrid.learn.evaluate import evaluate
from powergrid.testing import check_protocol

PJM = {
    "alta": ("0", 40.0, 14.0),
    "park_city": ("0", 170.0, 15.0),
    "solitude": ("2", 520.0, 30.0),
    "sundance": ("3", 200.0, 40.0),
    "brighton": ("4", 600.0, 10.0),
}
"""Bus, capacity [MW] and cost [$/MWh] of each generator: F. Li and R. Bo, IEEE PES General Meeting 2010."""
PRICES = np.array([16.98, 16.98, 30.00, 39.94, 10.00])
"""Their prices [$/MWh]."""


def pjm(
    learned: tuple[str, ...] = (), network: dict[str, Any] | None = None, ticks: int = 3, **params: Any
) -> dict[str, Any]:
    """The 5-bus system of PJM, whose generators are the only ones to sell."""
    agents: list[dict[str, Any]] = [
        {
            "id": name,
            "type": "DG",
            "bus": bus,
            "policy": "learned" if name in learned else "rule_based",
            "params": {"p_max_mw": p_mw, "marginal_cost_per_mwh": cost},
        }
        for name, (bus, p_mw, cost) in PJM.items()
    ]
    market = {"type": "lmp_market", "params": {"import_mw": 0, "export_mw": 0, **params}}
    agents.append({"id": "iso", "type": "SystemAgent", "sub_agents": list(PJM), "protocol": market})
    grid = {"base": "case5", "gen_scale": 0, "sgen_scale": 0, "load_series": "constant"}
    if not learned:
        agents.append({"id": "spare", "type": "ESS", "bus": "1", "params": {"capacity_mwh": 1.0}, "policy": "learned"})
    return {
        "name": "pjm",
        "network": {**grid, **(network or {})},
        "agents": agents,
        "simulation": {"time_step": 3600, "episode_length": ticks},
    }


def feeder(*agents: dict[str, Any], **params: Any) -> dict[str, Any]:
    """Members on a feeder of 13 buses."""
    given = {"model": "lindistflow", **params}
    iso = {
        "id": "iso",
        "type": "SystemAgent",
        "sub_agents": [agent["id"] for agent in agents],
        "protocol": {"type": "lmp_market", "params": given},
    }
    return {
        "name": "feeder",
        "network": {"base": "ieee13", "load_scale": 0.5},
        "agents": [*copy.deepcopy(agents), iso],
        "simulation": {"time_step": 3600, "episode_length": 24},
    }


BATTERY = {
    "id": "ess",
    "type": "ESS",
    "bus": "671",
    "policy": "learned",
    "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25},
}
GENERATOR = {
    "id": "dg",
    "type": "DG",
    "bus": "675",
    "policy": "rule_based",
    "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 20.0, "marginal_cost_slope_per_mw2h": 100.0},
}
SUN = {"id": "pv", "type": "RES", "bus": "680", "policy": "mppt", "params": {"p_max_mw": 2.0}}


def signals(env: Any) -> dict[str, float]:
    """What was sent last, by receiver and name."""
    columns = env.world.layout.coordination.signals
    return {f"{c.owner}.{c.entry.name}": float(v) for c, v in zip(columns, env._state.signals, strict=True)}


def members_of(env: Any) -> list[int]:
    """Rows of the members among the accounts."""
    return env.world.layout.coordination.layers[0].accounts[:-2].tolist()


def energy_money(env: Any) -> np.ndarray:
    """What each account pays for energy on the market [$]."""
    return env.output.money[:, env.money_names.index("market_energy")]


@pytest.mark.parametrize("clearing", ["ipm", "highs"])
def test_generators_get_the_published_prices(clearing: str) -> None:
    env = powergrid.make(pjm(clearing=clearing), backend="numpy")
    env.reset(seed=0)
    env.step({"spare": np.zeros(1)})
    flow, units = env.output.flow, dict(zip(env.world.layout.units, env.output.p_mw, strict=True))
    state, told = env._state.layers[0], signals(env)
    np.testing.assert_allclose(state.price_per_mwh, PRICES, atol=0.005)
    np.testing.assert_allclose([units[name] for name in PJM], [40, 170, 323.49, 0, 466.51], atol=0.01)
    np.testing.assert_allclose(
        [told[f"{name}.lmp"] - told[f"{name}.lmp_congestion"] for name in PJM], told["iso.lmp_energy"], atol=1e-9
    )
    paid = energy_money(env)
    np.testing.assert_allclose(paid[members_of(env)], -PRICES * [units[name] for name in PJM], rtol=2e-4, atol=1e-3)
    # load-weighted prices, with the 26.38 $/MWh of bus 1, less what generators get: the rent; losses come at 39.94
    rent = np.array([300, 300, 400]) @ [26.38, 30.00, 39.94] + paid[members_of(env)].sum()
    operator = paid[env.world.layout.accounts.index("iso")]
    assert operator == pytest.approx(-(rent - 39.94 * float(flow.loss_mw)), rel=1e-3)
    np.testing.assert_allclose(env.output.transfers.sum(), 0.0, atol=1e-9)
    np.testing.assert_allclose([told[f"{name}.deviation"] for name in PJM], 0.0, atol=1e-9)


@cache
def bidding(scale: float) -> Any:
    """An environment in which all generators choose what they ask for, beside a source with limits."""
    config = pjm(tuple(PJM), {"load_scale": scale}, import_mw=300.0, export_mw=50.0)
    return powergrid.make(config, backend="numpy")


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.5, 1.0]))
def test_money_balances_and_nobody_trades_outside_its_order(seed: int, scale: float) -> None:
    """The price of an order that is not executed changes nobody's payment."""
    env, rng = bidding(scale), np.random.default_rng(seed)
    actions = {name: rng.uniform(-1.0, 1.0, 2) for name in PJM}

    def played() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        env.reset(seed=seed)
        env.step(actions)
        np.testing.assert_allclose(env.output.transfers.sum(), 0.0, atol=1e-9)
        assert np.isfinite(env.output.money).all()
        state = env._state.layers[0]
        return energy_money(env), state.set_mw, state.price_per_mwh

    paid, power, price = played()
    asked = np.array([PJM[name][2] + 20.0 * actions[name][0] for name in PJM])
    offered = np.array([PJM[name][1] * 0.5 * (actions[name][1] + 1.0) for name in PJM])
    small = 1e-4 * 1000.0
    assert (power >= -1e-9).all()
    assert (power <= offered + 1e-6).all()
    assert (price[power > small] >= asked[power > small] - 1e-4).all()
    assert (price[power < offered - small] <= asked[power < offered - small] + 1e-4).all()
    idle = [name for name, own, most in zip(PJM, power, offered, strict=True) if own < 1e-5 and most > small]
    if idle:
        actions[idle[0]] = np.array([1.0, actions[idle[0]][1]])
        np.testing.assert_allclose(played()[0], paid, atol=2e-6 * np.abs(paid).sum())


def test_demand_above_all_offers_is_priced_and_finite() -> None:
    env = powergrid.make(pjm(network={"load_scale": 2.0}, limit_percent=1000.0), backend="numpy")
    env.reset(seed=0)
    env.step({"spare": np.zeros(1)})
    told, operator = signals(env), env.world.layout.accounts.index("iso")
    missing = 2000.0 - sum(p_mw for _, p_mw, _ in PJM.values())
    assert told["iso.market_status"] == markets.UNSERVED
    assert told["iso.market_shed"] == pytest.approx(missing, rel=1e-6)
    np.testing.assert_allclose(env._state.layers[0].price_per_mwh, 10_000.0, rtol=1e-6)
    costs = env.output.costs[:, env.constraint_names.index("market_shed")]
    assert costs[operator] == pytest.approx(10_000.0 * missing, rel=1e-6)
    assert costs.sum() == costs[operator]
    assert np.isfinite(env.output.money).all()


def test_compiled_and_batched_steps_are_those_of_numpy() -> None:
    names = ("alta", "solitude")
    config = pjm(names, {"load_series": "load_p_pu"}, reserve_mw=40.0)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (3, 2, 2))
    plain, fused = (powergrid.make(config, backend=backend) for backend in ("numpy", "fused"))
    assert fused.backend == "fused"
    many = powergrid.make_vec(config, 9, backend="fused")
    for env in (plain, fused, many):
        env.reset(seed=3)
    for tick in range(3):
        told = [env.step({name: actions[tick, k] for k, name in enumerate(names)})[:2] for env in (plain, fused)]
        rows, rewards, *_ = many.step({name: np.tile(actions[tick, k], (9, 1)) for k, name in enumerate(names)})
        for name in names:
            np.testing.assert_allclose(told[1][0][name], told[0][0][name], rtol=1e-6)
            np.testing.assert_allclose(told[1][1][name], told[0][1][name], rtol=1e-9, atol=1e-9)
            if tick < 2:
                np.testing.assert_array_equal(rows[name][0], told[1][0][name])
                np.testing.assert_array_equal(rewards[name][0], told[1][1][name])
        for part in ("money", "costs", "p_mw"):
            np.testing.assert_allclose(getattr(fused.output, part), getattr(plain.output, part), atol=1e-8)
        np.testing.assert_allclose(fused._state.slots, plain._state.slots, atol=1e-12)
        np.testing.assert_allclose(fused._state.signals, plain._state.signals, atol=1e-8)


def test_both_methods_give_the_same_dispatch_and_prices() -> None:
    envs = [powergrid.make(pjm(tuple(PJM), clearing=name), backend="numpy") for name in ("highs", "ipm")]
    actions = np.random.default_rng(4).uniform(-1.0, 1.0, (3, len(PJM), 2))
    actions[..., 1] = np.abs(actions[..., 1])
    for env in envs:
        env.reset(seed=0)
    for tick in range(3):
        for env in envs:
            env.step(dict(zip(PJM, actions[tick], strict=True)))
        first, second = (env._state.layers[0] for env in envs)
        np.testing.assert_allclose(first.price_per_mwh, second.price_per_mwh, atol=1e-4)
        np.testing.assert_allclose(first.set_mw, second.set_mw, atol=1e-4 * 1000.0)


def test_energy_and_reserve_share_capacity() -> None:
    """1530 MW can serve 550 MW and hold 980 MW of the 990 MW that are required."""
    env = powergrid.make(pjm(network={"load_scale": 0.55}, model="copper_plate", reserve_mw=990.0), backend="numpy")
    env.reset(seed=0)
    env.step({"spare": np.zeros(1)})
    state = env._state.layers[0]
    np.testing.assert_allclose(state.held_mw + state.set_mw, [p_mw for _, p_mw, _ in PJM.values()], atol=1e-2)
    assert state.held_mw.sum() == pytest.approx(980.0, rel=1e-4)
    assert state.reserve_per_mwh[0] == pytest.approx(1000.0, rel=1e-6)
    np.testing.assert_allclose(state.price_per_mwh, 1010.0, rtol=1e-6)  # one more MW of the cheapest, and less reserve
    assert signals(env)["iso.market_status"] == markets.UNSERVED
    paid = env.output.money[:, env.money_names.index("market_reserve")]
    np.testing.assert_allclose(paid[members_of(env)], -state.reserve_per_mwh * state.held_mw, rtol=1e-9)
    assert paid.sum() == pytest.approx(0.0, abs=1e-9)


def test_sun_is_curtailed_where_the_voltage_is_at_its_limit() -> None:
    config = feeder(SUN, GENERATOR, BATTERY, v_min_pu=0.8, v_max_pu=1.0, voltage_bus=["680"], rounds=3)
    config["simulation"]["episode_length"] = 12
    env = powergrid.make(config, backend="numpy")
    env.reset(seed=0, options={"day": 180})
    kinds = [family.kernel.__name__ for family in env.world.layout.families]
    units, bus, full = env.world.layout.units, env.world.network.bus("680"), 0
    for _ in range(12):
        env.step({"ess": np.array([0.0, -1.0, 0.0])})
        offered, told = float(env._state.devices[kinds.index("Renewable")].available_mw[0]), signals(env)
        parts = [told[f"pv.lmp_{part}"] for part in ("congestion", "loss", "voltage")]
        assert told["pv.lmp"] == pytest.approx(told["iso.lmp_energy"] + sum(parts), abs=1e-9)
        power = env.output.p_mw[units.index("pv")]
        if power < offered - 1e-4:  # it offers for nothing, and is the last that is taken
            assert told["pv.lmp"] == pytest.approx(0.0, abs=1e-3)
            assert told["pv.lmp_voltage"] < -1.0
            assert env.output.flow.v_pu[bus] == pytest.approx(1.0, abs=1e-6)
            full += 1
        else:
            assert power == pytest.approx(offered, abs=1e-6)
            assert env.output.flow.v_pu[bus] < 1.0 + 1e-6
    assert 2 <= full <= 8


def test_stores_buy_and_sell_by_their_value() -> None:
    env = powergrid.make(feeder(BATTERY, GENERATOR), backend="numpy")
    assert env.action_labels("ess") == ("ess.markup [$/MWh]", "ess.quantity [1]", "ess.store_price [$/MWh]")
    at = env.world.layout.units.index("ess")
    env.reset(seed=0)
    env.step({"ess": np.array([0.0, 1.0, 1.0])})  # worth 200 $/MWh
    assert env.output.p_mw[at] == pytest.approx(-0.25, abs=1e-5)
    env.step({"ess": np.array([0.0, 1.0, -1.0])})  # worth nothing
    assert env.output.p_mw[at] == pytest.approx(0.25, abs=1e-5)
    env.step({"ess": np.array([0.0, -1.0, -1.0])})  # offers nothing
    assert env.output.p_mw[at] == pytest.approx(0.0, abs=1e-9)
    labels = env.action_labels("ess")
    by_rule = env.policy_actions("rule_based")["ess"]
    assert by_rule[:2] == pytest.approx([0.0, 1.0])
    row, columns = env.world.table, env.world.layout.columns
    tick = int(env._state.row)
    mean = row[np.array([tick])][0, len(columns.series) : len(columns.series) + 24].mean()
    assert 100.0 * (1.0 + by_rule[labels.index("ess.store_price [$/MWh]")]) == pytest.approx(min(mean, 200.0), rel=1e-6)
    assert env.policy_actions("no_trade")["ess"][1] == -1.0


def test_as_a_reference_units_decide_and_deviations_settle_at_the_price() -> None:
    env = powergrid.make(feeder(BATTERY, GENERATOR, **{"as": "reference"}), backend="numpy")
    env.reset(seed=0)
    action = np.zeros(len(env.action_labels("ess")))
    action[env.action_labels("ess").index("ess.p [MW]")] = 0.4
    env.step({"ess": action})
    told, power = signals(env), env.output.p_mw[env.world.layout.units.index("ess")]
    assert power == pytest.approx(0.1, abs=1e-9)
    assert told["ess.deviation"] == pytest.approx(power - told["ess.cleared"], abs=1e-9)
    assert abs(told["ess.deviation"]) > 1e-3
    row = env.world.layout.accounts.index("ess")
    assert energy_money(env)[row] == pytest.approx(-told["ess.lmp"] * power, abs=1e-9)
    assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)


def with_microgrids() -> dict[str, Any]:
    """Two microgrids behind meters on a feeder: one with a generator and a battery, one with sun."""
    guest = {"network": "ieee13", "load_scale": 0.1}
    attached = [{"attach": {**guest, "name": name, "at_bus": bus}} for name, bus in (("mg1", 808), ("mg2", 834))]
    agents = [
        {**GENERATOR, "bus": "mg1.675"},
        {**BATTERY, "bus": "mg1.671", "policy": "rule_based"},
        {**SUN, "bus": "mg2.680", "params": {"p_max_mw": 0.4}},
        {
            "id": "microgrid_1",
            "type": "GridCoordinator",
            "area": "mg1",
            "sub_agents": ["dg", "ess"],
            "policy": "learned",
        },
        {"id": "microgrid_2", "type": "GridCoordinator", "area": "mg2", "sub_agents": ["pv"], "policy": "learned"},
    ]
    config = feeder(*agents[3:], v_min_pu=0.85, v_max_pu=1.15)
    config["agents"] = [*agents, config["agents"][-1]]
    config["network"] = {"base": "ieee34", "source_pu": 1.03, "load_scale": 0.5, "modifications": attached}
    return config


def test_microgrids_pay_at_their_meters_and_the_utility_for_the_rest() -> None:
    env = powergrid.make(with_microgrids(), backend="numpy")
    assert env.action_labels("microgrid_2") == ("microgrid_2.markup [$/MWh]",)
    env.reset(seed=0, options={"day": 180})
    for _ in range(10):
        env.step(env.policy_actions("rule_based"))
    names, told, money = env.world.layout.meters.names, signals(env), energy_money(env)
    bought = dict(zip(names, env.output.measured_mw, strict=True))
    for k in (1, 2):
        assert money[k - 1] == pytest.approx(told[f"microgrid_{k}.lmp"] * bought[f"mg{k}.pcc"], abs=1e-9)
        # the market sees load, sun and what units can do; only losses behind the meter deviate
        assert abs(told[f"microgrid_{k}.deviation"]) < 0.01
    state, layout = env._state.layers[0], env.world.layout
    utility = float(state.others_per_h[0] - state.source_per_mwh[0] * bought["source"])
    assert env.output.transfers[-1] == pytest.approx(-utility, abs=1e-9)
    assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
    grid = env.output.money[:, env.money_names.index("grid")]
    np.testing.assert_array_equal(grid[[layout.accounts.index(name) for name in ("microgrid_1", "microgrid_2")]], 0.0)
    assert told["microgrid_2.lmp_loss"] != told["microgrid_1.lmp_loss"]
    with pytest.raises(NetworkError, match="no meter has a tariff"):
        env.export_episode(0)


def refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(PowerGridError, match=match):
        powergrid.make(config, backend="numpy")


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"model": "lindistflow"}, "hold voltages, which the lindistflow model lacks"),
        ({"v_min_pu": 0.9}, "v_min_pu: without effect with model: dc"),
        ({"model": "copper_plate", "limit_percent": 90}, "limit_percent: without effect with model: copper_plate"),
        ({"store_price_min_per_mwh": 300}, "store_price_min_per_mwh 300.0 must be below"),
        ({"monitored": ["line_9"]}, "line_9"),
        ({"reference_bus": "nowhere"}, "nowhere"),
        ({"model": "ac"}, "'dc', 'lindistflow' or 'copper_plate'"),
        ({"reserve_shortage_per_mwh": 5}, "only with reserve_mw"),
    ],
)
def test_wrong_settings_are_refused(params: dict[str, Any], match: str) -> None:
    refused(pjm(**params), match)


def changed(config: dict[str, Any], agent: str, **keys: Any) -> dict[str, Any]:
    for entry in config["agents"]:
        if entry["id"] == agent:
            entry.update(keys)
    return config


def test_operators_and_members_that_do_not_fit_are_refused() -> None:
    refused(changed(pjm(), "iso", policy="centralized"), '"iso" commands everything below it')
    refused(changed(pjm(), "iso", policy="learned"), '"iso" has nothing to choose')
    vehicle = {"id": "ev", "type": "EV", "bus": "671", "policy": "rule_based", "params": {"p_max_mw": 0.01}}
    refused(feeder(BATTERY, vehicle), '"ev" has no unit that the market can dispatch')
    breaker = {"id": "breaker", "type": "Switch", "bus": "671-692", "policy": "learned"}
    config = feeder(BATTERY, GENERATOR)
    config["agents"].append(breaker)
    refused(config, 'switch "breaker" may change')
    config = feeder(BATTERY, GENERATOR)
    config["protocols"] = [{"type": "lmp_market", "members": ["ess", "dg"]}]
    refused(config, "put it in `protocol` of a coordinator")
    config = with_microgrids()
    refused(changed(config, "ess", policy="learned"), '"ess" has nothing to choose')
    config["agents"][-1]["protocol"]["params"]["as"] = "reference"
    refused(config, '"ess" below its member "microgrid_1" pays for its own energy')
    config = feeder(BATTERY, GENERATOR)
    other = copy.deepcopy(config["agents"][-1])
    config["agents"].append({**other, "id": "iso_2", "sub_agents": ["pv"]})
    config["agents"].append(copy.deepcopy(SUN))
    refused(config, 'both "iso" and "iso_2" clear a market')


def test_the_simplex_method_is_refused_on_jax() -> None:
    with pytest.raises(ConfigError, match="clearing: ipm"):
        powergrid.make_functional(feeder(BATTERY, GENERATOR, clearing="highs"))


def test_status_is_that_of_the_clearing() -> None:
    assert lmp_market._NOT_CONVERGED == markets.NOT_CONVERGED


def test_stored_energy_is_settled_at_the_price_of_the_market() -> None:
    """Not at a retail price that nobody pays here: filling up would be free energy."""
    config = feeder(BATTERY, GENERATOR)
    env = powergrid.make(config, backend="numpy")
    assert "settlement_per_mwh:0 [$/MWh]" in env.observation_labels("ess")
    meter = {"id": "meter", "type": "GridConnection", "params": {"retail_adder_per_mwh": 30.0}}
    config["agents"].insert(0, meter)
    config["agents"][-1]["sub_agents"].append("meter")
    refused(config, 'the tariff of meter "meter" has no effect')


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_the_market_knows_which_units_are_out_of_service_and_who_is_there(backend: str) -> None:
    cheap = {"p_max_mw": 0.4, "marginal_cost_per_mwh": 1.0}
    env = powergrid.make(
        feeder(BATTERY, {**GENERATOR, "params": cheap, "failures": {}, "presence": {}}), backend=backend
    )
    at = env.world.layout.units.index("dg")
    for options, wanted in (
        ({"device_outages": [{"device": "dg", "start": 3600, "duration": 7200}]}, [0.4, 0.0, 0.0, 0.4]),
        ({"presence": [{"agent": "dg", "joins": 3600, "leaves": 10800}]}, [0.0, 0.4, 0.4, 0.0]),
    ):
        env.reset(seed=0, options=options)
        delivered = []
        for _ in range(4):
            env.step({"ess": np.array([0.0, -1.0, 0.0])})
            delivered.append(float(env.output.p_mw[at]))
            assert signals(env)["dg.cleared"] == pytest.approx(delivered[-1], abs=1e-9)
        np.testing.assert_allclose(delivered, wanted, atol=1e-5)


def test_lines_of_the_transmission_preset_fill_up() -> None:
    env = powergrid.make("iso_case30", backend="numpy")
    env.reset(seed=0, options={"day": 75})
    spread = []
    for _ in range(24):
        env.step(env.policy_actions("rule_based"))
        spread.append(float(np.ptp(env._state.layers[0].price_per_mwh)))
        assert env.output.flow.converged
        assert signals(env)["iso.market_status"] == markets.SOLVED
        assert env.output.flow.v_pu.min() > 0.95
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
    assert 0.2 < np.mean(np.array(spread) > 1.0) < 0.9


def test_prices_of_the_feeder_preset_rise_with_its_losses() -> None:
    """The microgrids stand one behind the other; nothing but losses makes their prices differ."""
    env = powergrid.make("iso_three_level_lmp", backend="numpy", episode_length=6)
    assert env.possible_agents == ["microgrid_1", "microgrid_2", "microgrid_3"]
    env.reset(seed=0, options={"day": int(env.world.days["test"][0])})
    members, surplus, outwards = ("microgrid_1", "microgrid_2", "microgrid_3"), 0.0, []
    for _ in range(6):
        env.step(env.policy_actions("rule_based"))
        told = signals(env)
        price = np.array([told[f"{member}.lmp"] for member in members])
        loss = np.array([told[f"{member}.lmp_loss"] for member in members])
        np.testing.assert_allclose(price, told["iso.lmp_energy"] + loss, atol=1e-6)
        assert np.ptp(price) > 0.1
        if all(told[f"{member}.cleared"] < 0.0 for member in members):  # power flows outwards
            outwards.append(price[1] - price[0])
        assert max(abs(told[f"{member}.deviation"]) for member in members) < 0.02
        assert told["iso.market_status"] == markets.SOLVED
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
        surplus -= env.accounts["iso"]["money"]["market_energy"]
    assert len(outwards) >= 3
    assert min(outwards) > 0.0
    assert surplus > 0.0  # of marginal losses


def test_the_feeder_preset_is_the_hierarchy_with_another_protocol() -> None:
    """Units, places and parameters of `iso_three_level`."""
    with_prices, with_signal = (
        [(agent.id, agent.type, agent.bus, agent.params) for agent in powergrid.load_config(name).config.agents]
        for name in ("iso_three_level_lmp", "iso_three_level")
    )
    assert with_prices == with_signal


@pytest.mark.slow
def test_the_feeder_preset_is_evaluated_and_bidding_at_cost_is_better_than_at_random() -> None:
    days = powergrid.make("iso_three_level_lmp").world.days["test"][::23]
    result = evaluate("iso_three_level_lmp", policy=["rule_based", "random"], days=days.tolist(), show=False)
    rule, other = (
        sum(part.sum(-1) for pair in ((own.money, own.costs), *own.other_accounts.values()) for part in pair)
        for own in result.outcomes
    )
    assert (rule < other).all()


def test_the_example_runs() -> None:
    env = powergrid.make("configs/lmp_market.yaml", backend="numpy")
    assert env.possible_agents == ["solitude", "brighton", "ess_1"]
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.policy_actions("rule_based"))
        assert env.output.flow.converged


@pytest.mark.slow
@pytest.mark.parametrize("params", [{"model": "lindistflow"}, {"model": "copper_plate", "as": "reference"}])
def test_it_is_the_same_in_every_form(params: dict[str, Any]) -> None:
    check_protocol("lmp_market", **params)
