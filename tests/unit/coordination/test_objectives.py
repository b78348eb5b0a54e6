"""Whose money and violations a coordinator's reward sums: its own account, those below it, or all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core import random
from powergrid.core.backend import jax_float64, jax_numpy
from powergrid.core.errors import ArgumentError, ConfigError
from powergrid.worlds.build import build

WEIGHTS = {"reward_scale": 0.5, "safety_scale": 0.2, "max_penalty": 3.0}
BELOW = {"mg_1": {"mg_1", "ess_1", "dg_1"}, "iso": {"iso", "mg_1", "mg_2", "ess_1", "ess_2", "dg_1"}}
TICKS = 6


def battery(number: int, bus: str, policy: str = "learned") -> dict[str, Any]:
    params = {"capacity_mwh": 1.0, "max_p_mw": 0.25}
    return {"id": f"ess_{number}", "type": "ESS", "bus": bus, "policy": policy, "params": params}


def coordinator(id: str, type: str, below: list[str], **more: Any) -> dict[str, Any]:
    """A learned coordinator that pays those below it."""
    incentive = {"type": "incentive", "params": {"incentive_min_per_mwh": -40, "incentive_max_per_mwh": 40}}
    return {"id": id, "type": type, "sub_agents": below, "policy": "learned", "protocol": incentive, **more}


def config(**objectives: str) -> dict[str, Any]:
    """Three levels that pay each other, a battery that nobody coordinates, and voltages that cost more than the cap."""
    own = {id: {"objective": objective} for id, objective in objectives.items()}
    generator = {"id": "dg_1", "type": "DG", "bus": "675", "policy": "rule_based", "params": {"p_max_mw": 0.4}}
    return {
        "network": "ieee13",
        "simulation": {"time_step": 900, "episode_length": TICKS, "v_min_pu": 0.99},
        "training": WEIGHTS,
        "agents": [
            coordinator("iso", "SystemAgent", ["mg_1", "mg_2"], **own.get("iso", {})),
            coordinator("mg_1", "GridAgent", ["ess_1", "dg_1"], **own.get("mg_1", {})),
            coordinator("mg_2", "GridAgent", ["ess_2"], **own.get("mg_2", {})),
            battery(1, "671"),
            generator,
            battery(2, "680", "rule_based"),
            battery(3, "634"),
        ],
    }


def played(source: dict[str, Any], backend: str = "numpy", seed: int = 0) -> tuple[Any, np.ndarray, list[Any]]:
    """The environment, rewards of every tick ``(ticks, agents)``, and the accounts of every tick."""
    env = powergrid.make(source, backend=backend)
    env.reset(seed=3, options={"day": 40})
    rng, rewards, accounts = np.random.default_rng(seed), [], []
    for _ in range(TICKS):
        _, reward, _, _, _ = env.step({id: rng.uniform(-1, 1, env.action_space(id).shape) for id in env.agents})
        rewards.append([reward[id] for id in env.possible_agents])
        accounts.append(env.accounts)
    return env, np.array(rewards), accounts


def worth(accounts: dict[str, Any], whose: set[str]) -> float:
    """Reward of money and violations of some accounts."""
    known = whose & set(accounts)
    money = sum(sum(accounts[id]["money"].values()) for id in known)
    cost = sum(sum(accounts[id]["costs"].values()) for id in known)
    return -WEIGHTS["reward_scale"] * money - min(WEIGHTS["safety_scale"] * cost, WEIGHTS["max_penalty"])


def test_by_default_each_reward_is_its_own_account_to_the_bit():
    env, rewards, accounts = played(config())
    _, same, _ = played(config(iso="own", mg_1="own"))
    np.testing.assert_array_equal(rewards, same)
    assert env.objectives == {id: (id,) for id in env.possible_agents}
    for row, table in zip(rewards, accounts, strict=True):
        for id, reward in zip(env.possible_agents, row, strict=True):
            assert reward == pytest.approx(worth(table, {id}), abs=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "fused"])
@pytest.mark.parametrize("objective", ["below", "all"])
def test_a_reward_sums_the_money_and_the_violations_of_its_objective(objective, backend):
    """The cap holds for the sum, and nobody else's reward changes by a bit."""
    env, rewards, accounts = played(config(iso=objective, mg_1="below"), backend)
    _, before, _ = played(config(), backend)
    capped = 0
    for row, own, table in zip(rewards, before, accounts, strict=True):
        everybody = set(table)
        assert len(everybody) >= 5
        for k, id in enumerate(env.possible_agents):
            if id in ("iso", "mg_1"):
                whose = everybody if (id, objective) == ("iso", "all") else BELOW[id]
                assert set(env.objectives[id]) == whose & everybody
                assert row[k] == pytest.approx(worth(table, whose), abs=1e-9)
                assert abs(row[k] - own[k]) > 1e-6
                cost = sum(sum(table[one]["costs"].values()) for one in whose & everybody)
                capped += WEIGHTS["safety_scale"] * cost > WEIGHTS["max_penalty"]
            else:
                assert row[k] == own[k]
    assert capped


def test_what_passes_within_an_objective_cancels():
    """Whatever a coordinator pays to those below it, their money together is the same; its own is not."""
    totals: dict[str, list[float]] = {"own": [], "below": []}
    for objective, found in totals.items():
        for incentive in (-1.0, 0.2, 1.0):
            source = config(mg_1=objective)
            source["agents"][4]["policy"] = "learned"
            env = powergrid.make(source, backend="numpy")
            env.reset(seed=3, options={"day": 40})
            actions = {id: np.full(env.action_space(id).shape, 0.3) for id in env.agents}
            actions["mg_1"] = np.full(env.action_space("mg_1").shape, incentive)
            found.append(sum(env.step(actions)[1]["mg_1"] for _ in range(3)))
    assert totals["below"] == pytest.approx([totals["below"][0]] * 3, abs=1e-9)
    assert max(totals["own"]) - min(totals["own"]) > 1e-3


def test_vector_environments_sum_alike():
    source = config(iso="all", mg_1="below")
    env, wanted, _ = played(source)
    vector, rng = powergrid.make_vec(source, 2), np.random.default_rng(0)
    vector.reset(seed=[3, 5], options={"day": 40})
    for row in wanted:
        chosen = {id: rng.uniform(-1, 1, env.action_space(id).shape) for id in env.possible_agents}
        _, rewards, *_ = vector.step({id: np.tile(action, (2, 1)) for id, action in chosen.items()})
        for id, reward in zip(env.possible_agents, row, strict=True):
            assert rewards[id][0] == pytest.approx(reward, abs=1e-5)


def test_rewards_on_jax_are_those_on_numpy():
    world = build(config(iso="all", mg_1="below"))
    rng, ledger, accounts = np.random.default_rng(0), world.layout.ledger, len(world.layout.accounts)
    money = rng.normal(size=(4, accounts, len(ledger.money_names)))
    costs = rng.uniform(0, 4, (4, accounts, len(ledger.cost_names)))
    pytest.importorskip("jax")
    with jax_float64():
        traced = world.rewards(jax_numpy(), money, costs)
    np.testing.assert_allclose(np.asarray(traced), world.rewards(np, money, costs), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_functional_environments_sum_alike():
    source = config(iso="all", mg_1="below")
    env, wanted, _ = played(source)
    jax, rng = pytest.importorskip("jax"), np.random.default_rng(0)
    with jax_float64():
        functional = powergrid.make_functional(source, dtype="float64", auto_reset=False)
        _, state = functional.reset(random.key_from_seed(np, np.array(3)), jax.numpy.asarray(40))
        step = jax.jit(functional.step)
        for row in wanted[:2]:
            chosen = {id: rng.uniform(-1, 1, env.action_space(id).shape) for id in env.possible_agents}
            by_group = {name: np.stack([chosen[id] for id in ids]) for name, ids in functional.groups.items()}
            _, state, rewards, *_ = step(None, state, by_group)
            for name, ids in functional.groups.items():
                found = np.asarray(rewards[name])
                assert found == pytest.approx(row[[env.possible_agents.index(id) for id in ids]], abs=1e-5)


@pytest.mark.parametrize(
    ("at", "change", "wanted"),
    [
        (3, {"objective": "all"}, r"agents\[3\].objective.*is a device, whose reward sums its own account"),
        (0, {"objective": "below", "policy": "rule_based"}, r"agents\[0\].objective.*no outside code acts for it"),
        (0, {"objective": "everybody"}, r"agents\[0\].objective"),
    ],
)
def test_an_objective_without_effect_is_refused(at, change, wanted):
    source = config()
    source["agents"][at].update(change)
    with pytest.raises(ConfigError, match=wanted):
        powergrid.load_config(source)


def test_an_agent_object_knows_the_same_objectives():
    with pytest.raises(ArgumentError, match='there is no objective "under"'):
        powergrid.agents.GridAgent("mg_1", objective="under")
