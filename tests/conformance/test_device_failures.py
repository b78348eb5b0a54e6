"""Devices that fail and return, agents that join and leave: the same numbers compiled as with NumPy and on JAX, the
same bits in any batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core import random
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

OFTEN = {"mtbf_h": 3.0, "mttr_h": 1.5}
SHORT = {"joins": [0, 7200], "lifetime_h": 4.0}
OUTPUT = (
    "observation", "central", "money", "costs", "p_mw", "q_mvar", "measured_mw", "due", "available", "frequency_hz",
)  # fmt: skip


def device(name: str, kind: str, bus: str, policy: str = "learned", **params: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "bus": bus, "policy": policy, "failures": OFTEN, "params": params}


def devices() -> dict[str, Any]:
    """Units of many kinds, some by rule, one at intervals, one pair behind a coordinator with a price."""
    agents = [
        device("ess", "ESS", "671", capacity_mwh=1.0, max_p_mw=0.3, replacement_cost_per_mwh=2e5) | {"interval": 2700},
        device("dg", "DG", "675", p_min_mw=0.1, p_max_mw=0.4, commitment=True, start_cost=20.0, no_load_cost_per_h=9.0),
        device("dg_rule", "DG", "680", "rule_based", p_max_mw=0.3, marginal_cost_per_mwh=20.0),
        device("pv", "RES", "634", "mppt", p_max_mw=0.2),
        device("plant", "SolarPlant", "680", "volt_var", p_max_mw=0.2, sn_mva=0.25),
        device("cell", "FuelCell", "671", p_max_mw=0.1, ramp_mw_per_h=0.1),
        device("ev", "EV", "652", "rule_based"),
        device("heat", "HeatPump", "646", "rule_based"),
        device("centre", "DataCenter", "684", "rule_based", p_max_mw=0.05),
        {"id": "boss", "type": "GridCoordinator", "policy": "rule_based", "sub_agents": ["ess_rule", "turbine"]},
        device("ess_rule", "ESS", "645", "rule_based", capacity_mwh=0.4, max_p_mw=0.1),
        device("turbine", "WindTurbine", "632", "mppt", p_max_mw=0.3),
    ]
    agents[9]["protocol"] = "price_signal"
    for k in (0, 1, 2, 9):
        agents[k]["presence"] = SHORT
    return {"name": "devices", "network": "ieee13", "agents": agents}


def islands() -> dict[str, Any]:
    """Units that form grids and fail while their line is out, and one that follows its voltage; they trade by rule."""
    forming = {"capacity_mwh": 1.0, "grid_forming": True}
    agents = [
        device("a", "ESS", "17", "rule_based", max_p_mw=0.4, sn_mva=0.6, **forming),
        device("b", "DG", "14", "rule_based", p_max_mw=0.5, sn_mva=0.6, grid_forming=True),
        device("c", "ESS", "15", "volt_var", max_p_mw=0.2, sn_mva=0.3, capacity_mwh=1.0),
        device("d", "DG", "29", p_max_mw=0.2),
    ]
    agents[1]["presence"] = SHORT
    outage = {"branch": ["line_4", "line_12"], "start": [0, 4 * 3600], "duration": 16 * 3600}
    trade = [{"type": "p2p_trading", "members": ["a", "b", "d"]}]
    return {
        "name": "islands",
        "network": {"base": "case33bw", "outages": [outage]},
        "agents": agents,
        "protocols": trade,
    }


def promises() -> dict[str, Any]:
    """Units that are dispatched together, some of which fail or leave; reserve and messages from one that leaves."""
    units = [
        device(f"dg_{k}", "DG", bus, "rule_based", p_max_mw=0.3, p_min_mw=0.02, marginal_cost_slope_per_mw2h=30.0 * k)
        for k, bus in enumerate(("671", "675", "680", "645"), 1)
    ]
    below = [{**units.pop(), "presence": SHORT}, device("ess", "ESS", "646", capacity_mwh=1.0, max_p_mw=0.2)]
    boss = {"id": "boss", "type": "GridCoordinator", "sub_agents": ["dg_4", "ess"], "presence": SHORT}
    boss["protocol"] = {"type": "reserve", "params": {"price_per_mw_h": 4.0, "missing_price_per_mw_h": 40.0}}
    units[1]["presence"] = SHORT
    dispatch = {"type": "admm", "members": [unit["id"] for unit in units], "params": {"target_mw": 0.4}}
    agents, messages = [*units, *below, boss], {"width": 1, "topology": "neighbours", "delay": 900}
    config = {"name": "promises", "network": "ieee13", "agents": agents}
    return {**config, "protocols": [dispatch], "messages": messages}


def started(simulation: Simulation, count: int) -> Any:
    days = (21 + 50 * np.arange(count, dtype=np.int32)) % 360
    key = random.fold_in(np, random.key_from_seed(np, np.arange(count)), np.zeros(count, np.int32))
    return simulation.reset(key, days).state


def of_last(state: Any) -> Any:
    """State of the last environment of a batch."""
    if isinstance(state, tuple):
        parts = [of_last(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state[-1]


@pytest.mark.parametrize("source", [devices(), islands(), promises()], ids=["devices", "islands", "promises"])
def test_compiled_is_numpy_in_any_batch(source: dict[str, Any]) -> None:
    world, count, failed = build(source, tol_pu=1e-11), 5, 0.0
    numpy, fused, alone = Simulation(world), Simulation(world, "fused", count), Simulation(world, "fused", 1)
    states = [started(numpy, count), started(fused, count)]
    one = of_last(states[1])
    alone.resume(one)
    layout = world.layout
    shape = (30, count, len(layout.actors), layout.action_size)
    for tick, chosen in enumerate(np.random.default_rng(0).uniform(-1.2, 1.2, shape)):
        states[0], plain = numpy.step(states[0], chosen)
        states[1], compiled = fused.step(states[1], chosen)
        one, single = alone.step(one, chosen[-1])
        failed += states[0].signals[:, layout.availability.column :].sum()
        pairs = [(name, getattr(plain, name), getattr(compiled, name)) for name in OUTPUT]
        pairs += [(name, getattr(states[0], name), getattr(states[1], name)) for name in ("slots", "signals", "v_re")]
        pairs += [(name, getattr(plain.flow, name), getattr(compiled.flow, name)) for name in ("v_pu", "p_slack_mw")]
        for family, *columns in zip(layout.families, *(state.devices for state in states), strict=True):
            fields = zip(family.kernel.State._fields, *columns, strict=True)
            pairs += [(f"{family.ids} {name}", *both) for name, *both in fields]
        for name, a, b in pairs:
            np.testing.assert_allclose(np.asarray(b, float), np.asarray(a, float), 1e-9, 1e-9, err_msg=f"{name} {tick}")
        for name in OUTPUT:
            assert np.array_equal(getattr(compiled, name)[-1], getattr(single, name)), (name, tick)
    assert failed > 15


def test_jax_is_numpy() -> None:
    jax = pytest.importorskip("jax")
    from powergrid.core.backend import jax_float64

    agents = devices()["agents"]
    source = {"name": "small", "network": "ieee13", "agents": [agents[k] for k in (1, 3, 5)]}
    source["agents"][0]["presence"] = {"joins": [900, 3600], "leaves": 5 * 3600}
    with jax_float64():
        env = powergrid.make(source, backend="numpy", episode_length=24)
        functional = powergrid.make_functional(source, dtype="float64", episode_length=24)
        observations, _ = env.reset(seed=5)
        seen, state = jax.jit(functional.reset)(jax.random.key(5))
        step, rng = jax.jit(functional.step), np.random.default_rng(0)
        for name, drawn in env._state.absences._asdict().items():
            assert np.array_equal(getattr(state.engine.absences, name), drawn), name
        changes = 0
        for tick in range(23):
            there = list(env.agents)
            actions = {agent: rng.uniform(-1, 1, env.action_space(agent).shape) for agent in env.possible_agents}
            observations, rewards, died, _, infos = env.step({agent: actions[agent] for agent in there})
            changes += there != env.agents
            stacked = {group: np.stack([actions[a] for a in members]) for group, members in functional.groups.items()}
            seen, state, paid, _, info = step(jax.random.key(0), state, stacked)
            for group, members in functional.groups.items():
                for k, agent in enumerate(members):
                    assert bool(info["alive"][group][k]) == (agent in env.agents)
                    assert bool(info["left"][group][k]) == died.get(agent, False)
                    assert float(paid[group][k]) == pytest.approx(rewards.get(agent, 0.0), rel=1e-6, abs=1e-6)
                    if agent not in env.agents:
                        assert not seen[group][k].any()
                        continue
                    np.testing.assert_allclose(
                        seen[group][k], observations[agent], 1e-5, 1e-5, err_msg=f"{agent} {tick}"
                    )
                    assert bool(info["due"][group][k]) == infos[agent]["due"]
                    assert np.array_equal(info["in_service"][group][k], infos[agent]["in_service"])
        assert changes == 2
