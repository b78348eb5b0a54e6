"""Adding a protocol or a policy is one file: three strange protocols and a policy with a memory pass the examiners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError
from powergrid.testing import check_policy, check_protocol

import strange  # noqa: F401  isort: skip  (registers protocols and policies)

BATTERY = {"type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}}


@pytest.mark.parametrize("name", ["curtailment", "gossip", "fund"])
def test_a_strange_protocol_passes_the_examiner(name: str) -> None:
    check_protocol(name)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("none", {}),
        ("price_signal", {}),
        ("setpoint", {}),
        ("setpoint", {"as": "reference", "tracking_price_per_mwh": 25.0}),
        ("p2p_trading", {}),
        ("p2p_trading", {"pricing": "pay_as_bid"}),
    ],
)
def test_a_protocol_of_the_package_passes_it(name: str, params: dict) -> None:
    check_protocol(name, **params)


def test_a_policy_with_a_memory_passes_the_examiner_and_remembers() -> None:
    check_policy("integral_voltage")
    agents = [{"id": "ess", **BATTERY, "policy": "integral_voltage"}, {"id": "ess_2", **BATTERY}]
    env = powergrid.make({"name": "memory", "network": "ieee13", "agents": agents})
    env.reset(seed=0)
    total = 0.0
    for _ in range(5):
        v_pu = np.hypot(env._state.v_re, env._state.v_im)[env.world.network.bus("671")]
        env.step({"ess_2": np.zeros(2, np.float32)[: env.action_space("ess_2").shape[0]]})
        total += 1.0 - v_pu
        assert env._state.policies[0].deviation_pu[0] == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_governed_commands_are_what_devices_deliver(backend: str) -> None:
    agents = [
        {"id": "ess", **BATTERY, "policy": "all_export"},
        {
            "id": "boss",
            "type": "GridCoordinator",
            "policy": "learned",
            "sub_agents": ["ess"],
            "protocol": "curtailment",
        },
    ]
    env = powergrid.make({"name": "governed", "network": "ieee13", "agents": agents}, backend=backend)
    env.reset(seed=0)
    for share in (1.0, 0.5, 0.0):
        env.step({"boss": np.array([2.0 * share - 1.0], np.float32)})
        assert env.output.p_mw[0] == pytest.approx(0.25 * share, abs=1e-6)
        assert env._state.slots[env.world.layout.families[0].slot[0, 0]] == 1.0  # what is chosen stays


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_children_pay_for_missing_their_reference(backend: str) -> None:
    reference = {"type": "setpoint", "params": {"as": "reference", "tracking_price_per_mwh": 40.0}}
    agents = [
        {"id": "ess_1", **BATTERY, "policy": "learned"},
        {
            "id": "boss",
            "type": "GridCoordinator",
            "policy": "learned",
            "sub_agents": ["ess_1"],
            "protocol": reference,
        },
    ]
    env = powergrid.make({"name": "reference", "network": "ieee13", "agents": agents}, backend=backend)
    env.reset(seed=0)
    assert set(env.agents) == {"ess_1", "boss"}
    assert env.action_labels("boss") == ("ess_1.setpoint [MW]",)
    action = np.zeros(env.action_space("ess_1").shape, np.float32)
    seen, *_ = env.step({"ess_1": action, "boss": np.array([0.4], np.float32)})
    at = env.observation_labels("ess_1").index("ess_1.setpoint [MW]")
    assert seen["ess_1"][at] == pytest.approx(0.1, abs=1e-6)
    row, column = env.possible_agents.index("ess_1"), env.money_names.index("tracking")
    assert env.output.money[row, column] == pytest.approx(40.0 * 0.1 * 0.25, abs=1e-6)
    assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)


def test_no_file_outside_a_protocol_knows_its_name_or_its_money() -> None:
    package = Path(powergrid.__file__).parent
    rooms = [package / room for room in ("coordination", "engine", "worlds", "envs", "learn")]
    for file in (file for room in rooms for file in room.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for word in ("p2p_trading", '"p2p"', "price_signal", "limit_per_mwh", "PeerToPeer", "lmp", "market_energy"):
            assert word not in text, f"{file} knows {word}"


def test_money_that_nobody_receives_is_found() -> None:
    with pytest.raises(AssertionError, match="counterparty receives differ"):
        check_protocol("leak")


def test_orders_by_rule_to_a_governing_protocol_govern_all_the_same() -> None:
    boss = {"id": "boss", "type": "GridCoordinator", "policy": "rule_based", "sub_agents": ["ess"]}
    agents = [{"id": "ess", **BATTERY, "policy": "all_export"}, {**boss, "protocol": "curtailment"}]
    other = {"id": "ess_2", **BATTERY, "policy": "learned"}
    env = powergrid.make({"name": "governed", "network": "ieee13", "agents": [*agents, other]})
    env.reset(seed=0)
    env.step({"ess_2": np.zeros(env.action_space("ess_2").shape, np.float32)})
    assert env.output.p_mw[0] == pytest.approx(0.125, abs=1e-6)  # the middle of the range of shares


def test_energy_is_settled_by_one_protocol() -> None:
    agents = [{"id": f"ess_{k}", **BATTERY, "policy": "learned"} for k in (1, 2)]
    protocols = [{"type": name, "members": ["ess_1", "ess_2"]} for name in ("p2p_trading", "mid_market")]
    with pytest.raises(ConfigError, match='settle the energy of "ess_1"'):
        powergrid.make({"name": "twice", "network": "ieee13", "agents": agents, "protocols": protocols})
