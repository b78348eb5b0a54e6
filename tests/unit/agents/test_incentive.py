"""Incentives: what the parent pays is what its children get, whoever decides, and rules respond to them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.agents.protocols.incentive import IncentiveProtocol, Kept
from powergrid.core.errors import ConfigError
from powergrid.testing import check_protocol

BOUNDS = {"incentive_min_per_mwh": 10.0, "incentive_max_per_mwh": 80.0}
POLICIES = ("learned", "rule_based")


def agents(parent: str, ess: str, dg: str, **params: float) -> list[dict[str, Any]]:
    return [
        {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 2.0, "max_p_mw": 0.25}, "policy": ess},
        {
            "id": "dg_1",
            "type": "DG",
            "bus": "675",
            "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 90.0, "marginal_cost_slope_per_mw2h": 80.0},
            "policy": dg,
        },
        {"id": "meter", "type": "GridConnection"},
        {
            "id": "operator",
            "type": "GridCoordinator",
            "policy": parent,
            "sub_agents": ["ess_1", "dg_1", "meter"],
            "protocol": {"type": "incentive", "params": {**BOUNDS, **params}},
        },
    ]


def played(agents: list[dict[str, Any]], share: float = 0.5, ticks: int = 4, **network: Any) -> tuple[Any, list[Any]]:
    """An environment after a few ticks in which everybody chooses `share`, and its outputs."""
    source = {"base": "ieee13", "load_scale": 0.6, "load_series": "load_p_pu:com_1", **network}
    given = {"network": source, "agents": agents, "simulation": {"episode_length": ticks, "time_step": 3600}}
    env = powergrid.make(given, backend="numpy")
    env.reset(seed=0, options={"day": 40})
    outputs = []
    while env.agents:
        env.step({agent: np.full(env.action_space(agent).shape, share, np.float32) for agent in env.agents})
        outputs.append(env.output)
    return env, outputs


def paid(env: Any, output: Any) -> dict[str, float]:
    """What each account pays in incentives [$]."""
    column = list(env.money_names).index("incentive")
    return dict(zip(env.world.layout.accounts, output.money[:, column].tolist(), strict=True))


@pytest.mark.parametrize(("parent", "ess", "dg"), list(product(POLICIES, repeat=3)))
def test_the_parent_pays_what_its_children_get(parent, ess, dg):
    env, outputs = played(agents(parent, ess, dg))
    rates = {"learned": 10.0 + 0.75 * 70.0, "rule_based": BOUNDS["incentive_min_per_mwh"]}
    moved = 0.0
    for output in outputs:
        accounts, injected = paid(env, output), dict(zip(env.world.layout.units, output.p_mw.tolist(), strict=True))
        for child, policy in (("ess_1", ess), ("dg_1", dg)):
            if policy == "learned":  # a child with a rule is on its parent's account
                assert accounts[child] == pytest.approx(-rates[parent] * injected[child], abs=1e-5)
        assert sum(accounts.values()) == pytest.approx(0.0, abs=1e-9)
        assert output.transfers.sum() == pytest.approx(0.0, abs=1e-9)
        moved += sum(abs(value) for value in accounts.values())
    assert (moved > 1.0) == ("learned" in (ess, dg))
    assert "operator" in env.world.layout.accounts


def test_a_learned_child_sees_its_own_incentive_only():
    env, _ = played(agents("learned", "learned", "learned"))
    labels = env.observation_labels("ess_1")
    assert "ess_1.incentive [$/MWh]" in labels
    assert not any(label.startswith("dg_1") for label in labels)
    assert env.action_labels("operator") == ("ess_1.incentive [$/MWh]", "dg_1.incentive [$/MWh]")


def test_a_generator_with_a_rule_runs_at_the_retail_price_plus_its_incentive():
    env, outputs = played(agents("learned", "learned", "rule_based"), share=-0.2)
    incentive = 10.0 + 0.4 * 70.0
    columns = env.world.layout.columns
    for tick, output in enumerate(outputs):
        price = env.world.table[40 * 24 + tick][columns.price]
        wanted = np.clip((price + 45.0 + incentive - 90.0) / 80.0, 0.0, 0.4)
        assert 0.0 < wanted < 0.4
        assert output.p_mw[env.world.layout.units.index("dg_1")] == pytest.approx(wanted, abs=1e-5)


def test_an_incentive_adds_to_the_price_that_comes_from_above():
    below = agents("learned", "learned", "rule_based")
    top = {
        "id": "iso",
        "type": "SystemAgent",
        "policy": "learned",
        "sub_agents": ["operator"],
        "protocol": {"type": "price_signal", "params": {"price_min_per_mwh": 0.0, "price_max_per_mwh": 40.0}},
    }
    env, outputs = played([*below, top], share=-0.2)
    wanted = (0.4 * 40.0 + 45.0 + 10.0 + 0.4 * 70.0 - 90.0) / 80.0
    for output in outputs:
        assert output.p_mw[env.world.layout.units.index("dg_1")] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("source_pu", [0.93, 1.07])
def test_a_parent_with_a_rule_supports_the_voltage(source_pu):
    bounds = {"incentive_min_per_mwh": -30.0, "incentive_max_per_mwh": 60.0}
    regulators = {"v_set_pu": source_pu, "bandwidth_v": 2.0}
    env, _ = played(agents("rule_based", "learned", "learned", **bounds), source_pu=source_pu, regulators=regulators)
    names = [column.entry.name for column in env.world.layout.coordination.signals]
    rates = env._state.signals[[k for k, name in enumerate(names) if name == "incentive"]]
    assert (rates > 0.0).all() if source_pu < 1.0 else (rates < 0.0).all()


def test_the_rule_by_hand():
    protocol = IncentiveProtocol(incentive_min_per_mwh=-30.0, incentive_max_per_mwh=60.0)

    class Given:
        params = protocol.params()
        v_pu = np.array([0.90, 0.95, 0.965, 0.99, 1.01, 1.035, 1.2])

    orders = protocol.rule(np, Given, Kept(np.zeros(7)), None)
    assert orders.incentive == pytest.approx([60.0, 60.0, 30.0, 0.0, 0.0, -15.0, -30.0])


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"incentive_min_per_mwh": 5.0, "incentive_max_per_mwh": 5.0}, "must be below incentive_max_per_mwh 5"),
        ({"deadband_pu": 0.06}, "deadband_pu 0.06 must be below full_pu 0.05"),
    ],
)
def test_bounds_that_leave_no_choice_are_refused(params, match):
    with pytest.raises(ConfigError, match=match):
        played(agents("learned", "learned", "learned", **params))


def test_the_example_plays():
    env = powergrid.make("configs/incentives.yaml", backend="numpy")
    env.reset(seed=0)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    accounts = paid(env, env.output)
    assert accounts["operator"] == pytest.approx(-accounts["ess_1"], abs=1e-9)
    assert accounts["ess_1"] != 0.0


def test_every_form_of_the_step_gives_the_same():
    check_protocol("incentive")
