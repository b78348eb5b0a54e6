"""Hierarchies of any depth: levels, prices that pass through several of them, accounts that balance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from powergrid.config import load_config
from powergrid.core.errors import AgentError, ArgumentError, ConfigError
from powergrid.envs import HierarchicalGridEnv
from tests.unit.engine.small_worlds import DG, ESS, PV, config

EXAMPLE = Path(__file__).resolve().parents[3] / "configs" / "hierarchical_3level.yaml"


def coordinator(id: str, *children: str, **keys: Any) -> dict[str, Any]:
    return {"id": id, "type": "GridCoordinator", "sub_agents": list(children), "policy": "learned", **keys}


def system(*children: str, **keys: Any) -> dict[str, Any]:
    return {"id": "iso", "type": "SystemAgent", "sub_agents": list(children), "policy": "learned", **keys}


def four_levels(**keys: Any) -> dict[str, Any]:
    """Operator above a feeder's agent above two microgrids above devices."""
    signal = {"type": "price_signal"}
    return config(
        {**ESS, "policy": "rule_based"},
        {**DG, "policy": "rule_based"},
        {**PV, "policy": "mppt"},
        coordinator("mg_1", "ess_1", protocol=signal, policy="rule_based"),
        coordinator("mg_2", "dg_1", "pv_1", protocol=signal, policy="rule_based"),
        coordinator("feeder", "mg_1", "mg_2", protocol=signal, policy="rule_based"),
        system("feeder", protocol=signal, **keys),
    )


def played(env: HierarchicalGridEnv, value: float, ticks: int = 3) -> HierarchicalGridEnv:
    env.reset(seed=1)
    for _ in range(ticks):
        env.step({agent: np.full(env.action_space(agent).shape, value) for agent in env.agents})
    return env


def test_the_example_has_three_levels_at_their_own_rates_and_balances():
    env = HierarchicalGridEnv.from_config(str(EXAMPLE), episode_length=61, backend="numpy")
    assert [list(env.agents_of_level(level))[:1] for level in (3, 2)] == [["iso"], ["mg_1"]]
    assert {"ess_1", "dg_1", "solar_2"} <= set(env.agents_of_level(1)) == set(env.device_agents)
    assert env.system_agent is env.agent("iso")
    assert list(env.grid_agents) == ["mg_1", "mg_2"]
    decided = dict.fromkeys(env.possible_agents, 0)
    env.reset(seed=0)
    for action in env.action_spaces.values():
        action.seed(0)
    while env.agents:
        *_, infos = env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        for agent, info in infos.items():
            decided[agent] += info["due"]
        assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
    assert [decided[agent] for agent in ("iso", "mg_1", "ess_1")] == [2, 5, 61]
    with pytest.raises(ArgumentError, match="level 4 has no agents; the levels of this hierarchy: 3, 2, 1"):
        env.agents_of_level(4)


def test_the_tree_names_level_policy_and_protocol():
    lines = HierarchicalGridEnv(four_levels(), backend="numpy").tree().splitlines()
    assert lines[:4] == [
        "iso: level 4, learned, price_signal",
        "`- feeder: level 3, rule_based, price_signal",
        "   |- mg_1: level 2, rule_based, price_signal",
        "   |  `- ess_1: level 1, rule_based",
    ]


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_a_price_passes_through_rule_based_levels_within_the_tick(backend):
    env = HierarchicalGridEnv(four_levels(), backend=backend)
    labels = [f"{column.owner}.{column.entry.name}" for column in env.world.layout.coordination.signals]
    powers = []
    for value, price in ((-1.0, 0.0), (0.5, 150.0)):
        played(env, value)
        state = env.get_state().state
        heard = dict(zip(labels, state.signals.tolist(), strict=True))
        assert {owner: heard[f"{owner}.signal_price"] for owner in ("iso", "feeder", "mg_1", "mg_2")} == pytest.approx(
            dict.fromkeys(("iso", "feeder", "mg_1", "mg_2"), price)
        )
        powers.append(dict(zip(env.world.layout.units, env.output.p_mw.tolist(), strict=True)))
    assert powers[0]["dg_1"] < powers[1]["dg_1"]  # the generator answers the operator's price, two levels above
    assert powers[1]["dg_1"] == pytest.approx(0.4)


@pytest.mark.parametrize("policy", ["learned", "rule_based", "centralized"])
def test_accounts_of_every_kind_of_operator_balance(policy):
    protocol = {} if policy == "centralized" else {"protocol": "price_signal"}
    below = {"protocol": "setpoint"} if policy != "rule_based" else {"protocol": "setpoint", "policy": "learned"}
    given = config(
        ESS, DG, PV, coordinator("mg_1", "ess_1", **below), coordinator("mg_2", "dg_1", "pv_1", **below),
        system("mg_1", "mg_2", policy=policy, **protocol),
    )  # fmt: skip
    if policy == "centralized":
        for agent in given["agents"][3:5]:
            agent.pop("policy")
    env = played(HierarchicalGridEnv(given, backend="numpy"), 0.3)
    expected = {"learned": {"iso", "mg_1", "mg_2"}, "rule_based": {"mg_1", "mg_2"}, "centralized": {"iso"}}
    assert set(env.possible_agents) == expected[policy]
    assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
    paid = sum(account["money"]["grid"] for account in env.accounts.values())
    assert paid == pytest.approx(
        env.output.transfers[..., -1].sum(), abs=1e-9
    )  # what accounts pay the utility receives


def test_what_a_coordinator_says_to_its_children():
    given = config(
        ESS, DG, PV, coordinator("mg_1", "ess_1", "dg_1", protocol={"type": "setpoint", "params": {"as": "reference"}}),
        system("mg_1", protocol={"type": "price_signal", "params": {"price_max_per_mwh": 100}}),
    )  # fmt: skip
    env = HierarchicalGridEnv(given, backend="numpy")
    iso, microgrid = env.agent("iso"), env.agent("mg_1")
    assert iso.coordinate_subordinates([0.5]) == {"mg_1": {"price": 75.0}}
    assert iso.coordinate_subordinates({"iso.price": 20.0}) == {"mg_1": {"price": 20.0}}
    assert microgrid.coordinate_subordinates([0.0, 1.0]) == {"ess_1": {"setpoint": 0.0}, "dg_1": {"setpoint": 0.4}}
    with pytest.raises(AgentError, match=r'"mg_1": the action has shape \(1,\), expected \(2,\)'):
        microgrid.coordinate_subordinates([0.0])
    with pytest.raises(AgentError, match=r"the action lacks dg_1\.setpoint"):
        microgrid.coordinate_subordinates({"ess_1.setpoint": 0.1})


@pytest.mark.parametrize(
    ("agents", "path", "message", "hint"),
    [
        (
            [coordinator("mg_1", "ess_1"), coordinator("mg_2", "ess_1")],
            "agents[2].sub_agents[0]",
            '"ess_1" already belongs to "mg_1"',
            "an agent has one parent at most",
        ),
        (
            [coordinator("mg_1", "mg_2"), coordinator("mg_2", "mg_1")],
            "agents[1].sub_agents",
            "the hierarchy has a cycle: mg_1 -> mg_2 -> mg_1",
            "take one of these out",
        ),
        ([coordinator("mg_1", "mg_1")], "agents[1].sub_agents", "a cycle: mg_1 -> mg_1", "take one of these out"),
        ([coordinator("mg_1", "es_1")], "agents[1].sub_agents[0]", 'no agent "es_1"', 'did you mean "ess_1"'),
        (
            [coordinator("mg_1", "iso"), system()],
            "agents[1].sub_agents[0]",
            '"iso" stands above "mg_1"',
            "an operator coordinates",
        ),
        (
            [coordinator("mg_1", "ess_1", "ess_1")],
            "agents[1].sub_agents[1]",
            '"ess_1" already belongs to "mg_1"',
            "one parent",
        ),
    ],
)
def test_hierarchies_that_are_none_are_refused_at_their_place(agents, path, message, hint):
    with pytest.raises(ConfigError) as caught:
        load_config(config(ESS, *agents))
    issue = {issue.path: issue for issue in caught.value.issues}[path]
    assert message in issue.message
    assert hint in issue.hint


def test_all_faults_of_a_hierarchy_are_noted_at_once():
    with pytest.raises(ConfigError) as caught:
        load_config(config(ESS, coordinator("mg_1", "ess_1", "gone"), coordinator("mg_2", "ess_1"), system("mg_9")))
    noted = {issue.path for issue in caught.value.issues}
    assert {"agents[1].sub_agents[1]", "agents[2].sub_agents[0]", "agents[3].sub_agents[0]"} <= noted
