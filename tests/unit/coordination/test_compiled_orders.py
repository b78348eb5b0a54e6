"""Orders and commands of local policies, compiled: an episode equals that on NumPy to 1e-9, in any batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import powergrid.config
from powergrid.core import random
from powergrid.core.errors import NotCompilableError
from powergrid.testing import check_protocol
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

import strange  # noqa: F401  isort: skip  (registers protocols and policies)

TICKS, COUNT = 12, 11
PRESETS = Path(powergrid.config.__file__).parent / "presets"


def agents(policy: str = "rule_based") -> list[dict[str, Any]]:
    """Two batteries, two generators and a plant; the last battery is learned."""
    battery = {"type": "ESS", "params": {"capacity_mwh": 0.5, "max_p_mw": 0.2}}
    diesel = {"type": "DG", "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 45.0}}
    return [
        {"id": "ess_1", **battery, "bus": "671", "policy": policy},
        {"id": "dg_1", **diesel, "bus": "675", "policy": policy},
        {"id": "dg_2", **diesel, "bus": "680", "policy": policy, "interval": 1800},
        {"id": "pv_1", "type": "RES", "bus": "634", "params": {"kind": "solar", "p_max_mw": 0.3}, "policy": policy},
        {"id": "ess_2", **battery, "bus": "692", "policy": "learned"},
    ]


def compare(source: Mapping[str, Any]) -> None:
    """Play one episode in every form with the same actions."""
    given = {"name": "compared", "network": "ieee13", "simulation": {"time_step": 900, "episode_length": TICKS}}
    world = build({**given, **source}, tol_pu=1e-11)
    plain, alone, batch = Simulation(world), Simulation(world, "fused"), Simulation(world, "fused", count=COUNT)
    keys, days = random.key_from_seed(np, np.arange(COUNT)), np.arange(COUNT, dtype=np.int32) * 30
    wanted, found, many = (
        plain.reset(keys[2], days[2]).state,
        alone.reset(keys[2], days[2]).state,
        batch.reset(keys, days).state,
    )
    shape = (TICKS, COUNT, len(world.layout.actors), world.layout.action_size)
    for actions in np.random.default_rng(0).uniform(-1.0, 1.0, shape):
        wanted, reference = plain.step(wanted, actions[2])
        found, output = alone.step(found, actions[2])
        many, outputs = batch.step(many, actions)
        for what in ("observation", "money", "costs", "p_mw", "measured_mw"):
            values = getattr(output, what)
            assert values == pytest.approx(getattr(reference, what), abs=1e-9), what
            assert np.array_equal(values, getattr(outputs, what)[2]), what
        for what in ("slots", "signals", "v_re"):
            assert getattr(found, what) == pytest.approx(getattr(wanted, what), abs=1e-9), what
        for own, other in zip((*found.layers, *found.policies), (*wanted.layers, *wanted.policies), strict=True):
            for value, column in zip(own, other, strict=True):
                assert value == pytest.approx(column, abs=1e-9)


@pytest.mark.parametrize("name", ["wishes", "moods", "hermits", "p2p_trading", "gossip"])
@pytest.mark.parametrize("policy", ["rule_based", "no_trade", "random"])
def test_orders_of_peers(name: str, policy: str) -> None:
    members = ["ess_1", "dg_1", "dg_2", "pv_1", "ess_2"]
    compare({"agents": agents(policy), "protocols": [{"type": name, "members": members}]})


def boss(name: str, policy: str = "rule_based") -> dict[str, Any]:
    """A parent of all agents with a protocol."""
    below = ["ess_1", "dg_1", "dg_2", "pv_1", "ess_2"]
    return {"id": "boss", "type": "GridCoordinator", "policy": policy, "sub_agents": below, "protocol": name}


@pytest.mark.parametrize("policy", ["rule_based", "learned"])
@pytest.mark.parametrize("name", ["teller", "price_signal", "price_markup", "incentive", "curtailment"])
def test_orders_of_a_parent(name: str, policy: str) -> None:
    compare({"agents": [*agents(), boss(name, policy)]})


def test_a_kernel_that_is_not_memberwise_is_refused_under_that_mark() -> None:
    source = {"name": "marked", "network": "ieee13", "agents": [*agents(), boss("averager", "learned")]}
    with pytest.raises(NotCompilableError, match=r"Averager.*memberwise.*xp\.sum"):
        Simulation(build(source), "fused")


@pytest.mark.parametrize("name", ["wishes", *(pytest.param(n, marks=pytest.mark.slow) for n in ("moods", "teller"))])
def test_protocols_with_rules_pass_the_examiner(name: str) -> None:
    check_protocol(name)


@pytest.mark.parametrize("policy", ["curious", "integral_voltage"])
@pytest.mark.parametrize("protocol", ["wishes", "gossip", None])
def test_policies_with_a_kernel(policy: str, protocol: str | None) -> None:
    some = [{**agent, "policy": policy} if agent["id"] in ("ess_1", "dg_1", "dg_2") else agent for agent in agents()]
    members = [agent["id"] for agent in some]
    compare({"agents": some, **({"protocols": [{"type": protocol, "members": members}]} if protocol else {})})


def test_a_policy_with_a_kernel_under_a_parent_whose_price_it_sees() -> None:
    below = [agent["id"] for agent in agents("curious")[:3]]
    boss = {
        "id": "boss",
        "type": "GridCoordinator",
        "policy": "random",
        "sub_agents": below,
        "protocol": "price_signal",
    }
    some = [{**agent, "policy": "curious" if agent["id"] in below else "learned"} for agent in agents()]
    compare({"agents": [*some, boss]})


@pytest.mark.parametrize("preset", ["voltage_control_13", "voltage_control_34"])
def test_regulators_that_move_as_their_relays_would(preset: str) -> None:
    source = YAML(typ="safe").load(PRESETS / f"{preset}.yaml")
    others = [agent for agent in source["agents"] if "policy" in agent]
    for agent in others[:-1]:
        agent["policy"] = "relays" if agent["type"] == "Regulator" else "rule_based"
    compare(
        {**source, "agents": source["agents"], "simulation": {**source.get("simulation", {}), "episode_length": TICKS}}
    )
