"""Whoever is metered where: energy is paid once, violations cost the same, and all accounts together are the total."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import powergrid
from powergrid.learn.evaluate import evaluate

UNITS: dict[str, dict[str, Any]] = {
    "ess_1": {"type": "ESS", "bus": "671", "params": {"capacity_mwh": 4.0, "max_p_mw": 0.8}},
    "ess_2": {"type": "ESS", "bus": "680", "params": {"capacity_mwh": 2.0, "max_p_mw": 0.4}},
    "dg_1": {"type": "DG", "bus": "675", "params": {"p_max_mw": 0.5, "marginal_cost_per_mwh": 40.0}},
    "pv_1": {"type": "RES", "bus": "634", "params": {"kind": "solar", "p_max_mw": 0.6}, "policy": "mppt"},
}
BEHIND = {  # what lies behind each meter, read off the drawing of the feeder
    "": ["650-RG60", "632-671", "671-680", *UNITS],
    "650-RG60": ["632-671", "671-680", *UNITS],
    "632-671": ["671-680", "ess_1", "ess_2", "dg_1"],
    "671-680": ["ess_2"],
}
ACTIONS = (0.7, -0.9)
DAY = 170


@st.composite
def configurations(draw: Any) -> dict[str, Any]:
    """Meters at some places, devices and meters under some coordinators, some of them learned."""
    agents = [{"id": id, **unit} for id, unit in UNITS.items()]
    for agent in agents:
        agent["policy"] = agent.get("policy") or draw(st.sampled_from(["learned", "all_export", "all_import"]))
    places = draw(st.lists(st.sampled_from([*BEHIND, "unit:ess_1"]), unique=True))
    meters = [{"id": f"m_{i}", "type": "Grid", **({"bus": bus} if bus else {})} for i, bus in enumerate(places)]
    learned = {agent["id"] for agent in agents if agent["policy"] == "learned"}
    free, coordinators = [agent["id"] for agent in (*agents, *meters)], []
    for k in range(draw(st.integers(0, 2))):
        children = draw(st.lists(st.sampled_from(free), unique=True)) if free else []
        free = [id for id in free if id not in children]
        policy = "centralized" if learned & set(children) and draw(st.booleans()) else "rule_based"
        coordinators.append({"id": f"op_{k}", "type": "GridCoordinator", "sub_agents": children, "policy": policy})
    return {
        "network": {"base": "ieee13", "load_scale": 0.9, "load_series": "load_p_pu:com_1", "source_pu": 1.02},
        "agents": [*agents, *meters, *coordinators],
        "tariff": {"feed_in_share": draw(st.sampled_from([0.8, 1.0])), "retail_adder": draw(st.sampled_from([0, 20]))},
        "simulation": {"episode_length": len(ACTIONS), "time_step": 3600},
    }


def played(config: dict[str, Any]) -> tuple[Any, list[Any]]:
    env = powergrid.make(config, backend="numpy", tol_pu=1e-11)
    env.reset(seed=0, options={"day": DAY})
    outputs = []
    for value in ACTIONS:
        env.step_array(np.full((len(env.possible_agents), env.world.layout.action_size), value))
        outputs.append(env.output)
    return env, outputs


def bill(env: Any, tariff: dict[str, float], tick: int, output: Any) -> float:
    """What all meters together charge in an hour [$], from what passes each and none behind it."""
    layout, units = env.world.layout, dict(zip(env.world.layout.units, output.p_mw.tolist(), strict=True))
    row = env.world.table[DAY * 24 + tick]
    price = max(float(row[layout.columns.price]), 0.0)
    names = ["" if name == "source" else name for name in layout.meters.names if not name.endswith(".net")]
    readings = dict(zip(names, output.measured_mw.tolist(), strict=False))
    readings = {name: reading for name, reading in readings.items() if name or grid_at_source(env)}
    assert all(readings[unit] == -units[unit] for unit in units if unit in readings)
    total = 0.0
    for name in readings:
        inside = [other for other in BEHIND.get(name, []) if other in readings]
        nearest = [o for o in inside if not any(o in BEHIND.get(between, []) for between in inside)]
        p_mw = readings[name] - sum(readings[other] for other in nearest)
        total += (price + tariff["retail_adder"]) * max(p_mw, 0.0) - tariff["feed_in_share"] * price * max(-p_mw, 0.0)
    return total


def grid_at_source(env: Any) -> bool:
    return any(getattr(agent, "role", "") == "meter" and agent.bus == "" for agent in env.world.agents)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(configurations())
def test_energy_is_paid_once_and_violations_do_not_depend_on_meters(config):
    env, outputs = played(config)
    grid = list(env.money_names).index("grid")
    meters = env.export_episode(DAY).prices.meters
    assert sorted(unit for meter in meters for unit in meter.units) == sorted(UNITS)
    for tick, output in enumerate(outputs):
        assert output.money[:, grid].sum() == pytest.approx(bill(env, config["tariff"], tick, output), abs=1e-9)
        assert output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
        v_pu = output.flow.v_pu
        priced = 1000.0 * (np.maximum(v_pu - 1.05, 0.0) + np.maximum(0.95 - v_pu, 0.0)).sum()
        priced += 10.0 * np.maximum(output.flow.loading - 100.0, 0.0).sum()
        assert output.costs.sum() == pytest.approx(priced, abs=1e-9)
    without = {id for id in (agent["id"] for agent in config["agents"]) if id.startswith("m_")}
    bare = [agent for agent in config["agents"] if agent["id"] not in without]
    bare = [
        {**a, "sub_agents": [c for c in a["sub_agents"] if c not in without]} if "sub_agents" in a else a for a in bare
    ]
    other, unmetered = played({**config, "agents": bare})
    assert other.possible_agents == env.possible_agents
    acting = len(env.possible_agents)
    for one, two in zip(outputs, unmetered, strict=True):
        costs, columns = (
            [one.costs[:acting], list(env.constraint_names)],
            [two.costs[:acting], list(other.constraint_names)],
        )
        for name in columns[1]:
            mine = costs[0][:, costs[1].index(name)]
            assert mine == pytest.approx(columns[0][:, columns[1].index(name)], abs=1e-7)


def nested() -> dict[str, Any]:
    """Meters one behind the other, of three accounts, two of which nobody acts for."""
    agents: list[dict[str, Any]] = [{"id": id, **unit} for id, unit in UNITS.items()]
    meters = [
        {"id": "grid_1", "type": "Grid", "params": {"tariff": {"retail_adder": 5.0}}},
        {"id": "grid_2", "type": "Grid", "bus": "632-671"},
        {"id": "grid_3", "type": "Grid", "bus": "671-680"},
    ]
    op = {"id": "op_1", "type": "GridCoordinator", "policy": "centralized", "sub_agents": ["ess_2", "dg_1", "grid_2"]}
    return {
        "network": {"base": "ieee13", "load_scale": 1.3, "load_series": "load_p_pu:com_1"},
        "agents": [*agents, *meters, op],
        "simulation": {"episode_length": 4, "time_step": 3600},
    }


@pytest.mark.slow
def test_meters_behind_meters_on_every_backend():
    """NumPy, compiled and JAX to 1e-9."""
    jax = pytest.importorskip("jax")
    from powergrid.core.backend import jax_float64

    envs = [powergrid.make(nested(), backend=backend, tol_pu=1e-11) for backend in ("numpy", "fused")]
    assert envs[0].world.layout.accounts == ("ess_1", "op_1", "pv_1", "grid_1", "grid_3")
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (4, len(envs[0].possible_agents), 2))
    for env in envs:
        env.reset(seed=5, options={"day": DAY})
    with jax_float64():
        functional = powergrid.make_functional(nested(), dtype="float64", tol_pu=1e-11, auto_reset=False)
        _, state = functional.reset(jax.random.key(5), jax.numpy.asarray(DAY))
        step = jax.jit(lambda state, actions: functional.step(None, state, actions))
        for action in actions:
            one, two = (env.step_array(action) for env in envs)
            rows = {name: [functional.agents.index(a) for a in group] for name, group in functional.groups.items()}
            by_group = {name: action[at][:, : functional.action_size[name]] for name, at in rows.items()}
            _, state, _, _, info = step(state, by_group)
            for field in ("money", "costs", "measured_mw"):
                expected = getattr(one[-1], field)
                for found in (getattr(two[-1], field), np.asarray(getattr(info["output"], field))):
                    assert np.allclose(found, expected, rtol=1e-9, atol=1e-9), field
            assert one[1] == pytest.approx(two[1], abs=1e-9)
            assert np.abs(one[0] - two[0]).max() <= 1e-6


def test_a_meter_takes_the_documents_tariff_or_its_own():
    given = nested()
    env = powergrid.make({**given, "tariff": {"feed_in_share": 0.5, "retail_adder": 30.0}}, backend="numpy")
    tariff = {agent.id: agent.tariff for agent in env.world.agents if getattr(agent, "role", "") == "meter"}
    assert tariff == {
        "grid_1": (0.5, 5.0),
        "grid_2": (0.5, 30.0),
        "grid_3": (0.5, 30.0),
        "ess_1.meter": (0.5, 30.0),
        "ess_2.meter": (0.5, 30.0),
        "pv_1.meter": (0.5, 30.0),
    }


def test_a_meter_at_the_source_swallows_no_cost():
    """Energy not served in a dead part of the feeder costs the only agent the same, with and without a meter."""
    ess = {"id": "ess_1", "type": "ESS", "bus": "17"}
    config = {
        "network": {"base": "case33bw", "outages": [{"branch": "line_12", "start": 900, "duration": 3600}]},
        "simulation": {"episode_length": 8},
    }
    found = []
    for agents in ([ess], [ess, {"id": "m", "type": "GridConnection"}]):
        env = powergrid.make({**config, "agents": agents}, backend="numpy")
        env.reset(seed=0, options={"day": 30})
        cost = 0.0
        while env.agents:
            *_, infos = env.step({"ess_1": np.zeros(1)})
            cost += infos["ess_1"]["cost"]
        found.append(cost)
    assert found[0] == pytest.approx(1403.79, abs=0.05)
    assert found[1] == pytest.approx(found[0], abs=1e-9)


def test_what_nobody_owns_is_the_utilitys_where_nobody_acts():
    network = {**nested()["network"], "source_pu": 1.1}
    agents = [{"id": "pv_1", **UNITS["pv_1"]}]
    env = powergrid.make({**nested(), "network": network, "agents": agents}, backend="numpy")
    assert env.possible_agents == []
    assert env.world.layout.accounts == ("pv_1", "utility")
    env.reset(seed=0, options={"day": DAY})
    *_, output = env.step_array(np.zeros((0, 0)))
    assert output.costs[1].sum() > 0.0
    assert output.costs[0].sum() == 0.0


@pytest.mark.parametrize(
    ("agents", "match"),
    [
        ([{"id": "a", "type": "Grid"}, {"id": "b", "type": "Grid"}], r'meter "b": "a" is at the source already'),
        ([{"id": "utility", "type": "ESS", "bus": "671"}], '"utility" is the account of the utility'),
        (
            [{"id": "a", "type": "Grid", "params": {"feed_in_share": 0.8, "tariff": {"feed_in_share": 0.9}}}],
            "feed_in_share stands in tariff and beside it",
        ),
    ],
)
def test_meters_that_would_charge_twice_are_refused(agents, match):
    with pytest.raises(powergrid.ConfigError, match=match):
        powergrid.make({**nested(), "agents": [{"id": "pv_1", **UNITS["pv_1"]}, *agents]})


def test_a_meter_on_a_loop_is_refused():
    network = powergrid.network("case14")
    meter = {"id": "m_1", "type": "Grid", "bus": network.branches.name[0]}
    with pytest.raises(powergrid.ConfigError, match=r"agents\[0\].bus.*does not separate what lies behind it"):
        powergrid.make({"network": "case14", "agents": [meter, {"id": "ess_1", "type": "ESS", "bus": "5"}]})


def test_accounts_that_no_agent_owns_are_shown_and_all_sum_to_the_total(tmp_path):
    config = {**nested(), "agents": [dict(agent) for agent in nested()["agents"]]}
    env = powergrid.make(config, backend="numpy")
    assert env.export_episode(DAY).accounts == env.world.layout.accounts
    env.reset(seed=0, options={"day": DAY})
    assert env.accounts == {}
    total = np.zeros(2)
    while env.agents:
        env.step(env.policy_actions("rule_based"))
        shown = [[sum(account[part].values()) for part in ("money", "costs")] for account in env.accounts.values()]
        assert list(env.accounts) == list(env.world.layout.accounts)
        assert np.sum(shown, axis=0) == pytest.approx([env.output.money.sum(), env.output.costs.sum()])
        total += np.sum(shown, axis=0)
    found = evaluate(config, policy="rule_based", days=[DAY], out=tmp_path, show=False)
    outcome = found["rule_based"]
    assert list(outcome.other_accounts) == ["pv_1", "grid_1", "grid_3"]
    others = [[part.sum() for part in parts] for parts in outcome.other_accounts.values()]
    per_day = 24.0 / env.world.layout.settings.episode_length  # ticks of an hour
    assert np.sum(others, axis=0) + [outcome.money.sum(), outcome.costs.sum()] == pytest.approx(total * per_day)
    grid = found.money_names.index("grid")
    paid = outcome.money[:, grid].sum() + sum(money[:, grid].sum() for money, _ in outcome.other_accounts.values())
    assert outcome.utility_receives == pytest.approx(paid)
    written = json.loads((tmp_path / "evaluation.json").read_text())["policies"]["rule_based"]
    assert set(written["accounts_of_no_agent"]) == {"pv_1", "grid_1", "grid_3"}
    assert written["utility_receives_per_day"] == pytest.approx(paid)
    assert [column.header for column in found.table().columns][2] == "of it settled"
