"""Agents that are configured to learn act, or are refused by name with what would give them something to choose."""

from __future__ import annotations

import re
from typing import Any

import pytest

import powergrid
from powergrid.config import load_config
from powergrid.core.errors import ConfigError

ESS = {"id": "ess_1", "type": "ESS", "bus": "671", "policy": "learned"}
DG = {"id": "dg_1", "type": "DG", "bus": "675", "policy": "learned"}


def config(*agents: dict[str, Any], **sections: Any) -> dict[str, Any]:
    given = {"episode_length": 4, "time_step": 3600}
    return {"name": "x", "network": "ieee13", "agents": list(agents), "simulation": given, **sections}


def nested(system: str, grid: str) -> dict[str, Any]:
    return config(
        ESS,
        DG,
        coordinator("ess_1", "dg_1", protocol=grid),
        {"id": "iso_1", "type": "SystemAgent", "policy": "learned", "protocol": system, "sub_agents": ["grid_1"]},
    )


def coordinator(*children: str, **keys: Any) -> dict[str, Any]:
    return {"id": "grid_1", "type": "GridCoordinator", "policy": "learned", "sub_agents": list(children), **keys}


@pytest.mark.parametrize(
    ("system", "grid", "acting"),
    [
        ("price_signal", "price_signal", ["ess_1", "dg_1", "grid_1", "iso_1"]),
        ("price_signal", "setpoint", ["grid_1", "iso_1"]),
    ],
)
def test_nested_coordinators_act(system, grid, acting):
    assert powergrid.make(nested(system, grid), backend="numpy").possible_agents == acting


@pytest.mark.parametrize(
    ("given", "path", "message", "hint"),
    [
        (nested("setpoint", "setpoint"), 2, '"iso_1" commands everything below it', "take protocol: setpoint from"),
        (nested("setpoint", "price_signal"), 3, 'it commands "grid_1", which does not', 'give "grid_1" protocol'),
        (nested("setpoint", "none"), 3, 'it commands "grid_1", which does not', 'give "grid_1" protocol'),
        (
            config(
                ESS,
                coordinator("ess_1", protocol="setpoint"),
                {"id": "iso_1", "type": "SystemAgent", "policy": "mpc", "sub_agents": ["grid_1"]},
            ),
            1,
            '"iso_1" commands everything below it (its policy in Python)',
            "leave policy out here",
        ),
        (config(ESS, coordinator("ess_1")), 1, "sends nothing and commands no agent", "policy: centralized"),
        (
            config({**ESS, "policy": "rule_based"}, coordinator("ess_1", protocol="setpoint")),
            1,
            "none of its devices is learned",
            "policy: learned",
        ),
        (
            config({**ESS, "policy": "rule_based"}, coordinator("ess_1", policy="centralized")),
            1,
            "none of its devices is learned",
            "policy: learned",
        ),
        (
            config(ESS, coordinator("ess_1", policy="rule_based", protocol="setpoint")),
            0,
            '"grid_1" commands "ess_1" by its local policy "rule_based"',
            'give "grid_1" policy: learned',
        ),
        (
            config({"id": "pv_1", "type": "RES", "bus": "680", "policy": "learned", "params": {"curtailable": False}}),
            0,
            '"pv_1" has nothing to choose',
            "params: {curtailable: true} or params: {sn_mva: 1.0}",
        ),
    ],
)
def test_learned_agents_without_a_choice_are_refused(given, path, message, hint):
    with pytest.raises(ConfigError) as caught:
        load_config(given)
    issue = {issue.path: issue for issue in caught.value.issues}[f"agents[{path}].policy"]
    assert message in issue.message
    assert hint in issue.hint
    with pytest.raises(ConfigError, match=re.escape(message)):
        powergrid.make(given)


def test_every_such_agent_is_told_at_once_beside_other_faults():
    given = config(
        {**ESS, "bus": "nowhere"},
        coordinator("ess_1"),
        {"id": "pv_1", "type": "RES", "bus": "680", "policy": "learned", "params": {"curtailable": False}},
    )
    with pytest.raises(ConfigError) as caught:
        load_config(given)
    assert [issue.path for issue in caught.value.issues] == ["agents[0].bus", "agents[1].policy", "agents[2].policy"]


def test_what_is_not_said_to_learn_may_follow():
    """Coordinators that only hold an area or a bill, and devices that follow their data."""
    quiet = {"id": "pv_1", "type": "RES", "bus": "680", "params": {"curtailable": False}}
    holder = {"id": "grid_1", "type": "GridCoordinator", "sub_agents": ["ess_1", "pv_1"]}
    assert powergrid.make(config(ESS, quiet, holder), backend="numpy").possible_agents == ["ess_1"]


def test_members_of_a_market_and_short_forms_give_a_choice():
    grids = [coordinator("ess_1"), {**coordinator("dg_1"), "id": "grid_2"}]
    market = {"type": "p2p_trading", "members": ["grid_1", "grid_2"]}
    for extra in ({"protocols": [market]}, {"coordination": "p2p_trading"}, {"coordination": "price_signal"}):
        acting = powergrid.make(config(ESS, DG, *grids, **extra), backend="numpy").possible_agents
        assert {"grid_1", "grid_2"} <= set(acting)


def test_intervals_belong_to_who_decides():
    hour = 3600
    with pytest.raises(
        ConfigError, match=r'interval 7200: "grid_1" decides for "ess_1", at its own interval'
    ) as caught:
        load_config(config({**ESS, "interval": 2 * hour}, coordinator("ess_1", protocol="setpoint")))
    assert caught.value.issues[0].path == "agents[0].interval"
    holder = {"id": "grid_1", "type": "GridCoordinator", "sub_agents": ["ess_1"], "offset": hour}
    with pytest.raises(ConfigError, match='offset 3600: "grid_1" decides nothing'):
        load_config(config(ESS, holder))
    load_config(config(ESS, coordinator("ess_1", protocol="setpoint", interval=2 * hour)))
    load_config(config({**ESS, "policy": "rule_based", "interval": 2 * hour}, DG))
