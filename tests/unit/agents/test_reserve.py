"""Reserve: headroom by hand, money between parent and children, and units that can promise nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.agents.protocols.reserve import Kept, Limits, ReserveProtocol
from powergrid.core.errors import ConfigError
from powergrid.testing import check_protocol

PRICES = {"price_per_mw_h": 12.0, "missing_price_per_mw_h": 60.0}
DG = {"id": "dg_1", "type": "DG", "bus": "675", "params": {"p_max_mw": 0.4, "marginal_cost_per_mwh": 40.0}}
ESS = {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 2.0, "max_p_mw": 0.25}}


def made(*children: dict[str, Any], parent: str = "learned", child: str = "learned", **params: float) -> Any:
    protocol = {"type": "reserve", "params": {**PRICES, **params}}
    below = [{"policy": child, **unit} for unit in children]
    operator = {"id": "operator", "type": "GridCoordinator", "policy": parent, "protocol": protocol}
    config = {
        "network": {"base": "ieee13", "load_scale": 0.6},
        "agents": [*below, {**operator, "sub_agents": [unit["id"] for unit in children]}],
        "simulation": {"episode_length": 3, "time_step": 1800},
    }
    env = powergrid.make(config, backend="numpy")
    env.reset(seed=0, options={"day": 40})
    return env


def paid(env: Any) -> dict[str, float]:
    column = list(env.money_names).index("reserve")
    return dict(zip(env.world.layout.accounts, env.output.money[:, column].tolist(), strict=True))


@pytest.mark.parametrize(
    ("power", "required", "wanted"),
    [
        ((0.0, 0.0), (0.2, 0.1), (-12.0 * 0.2, 60.0 * 0.1)),  # an idle battery has nothing to stop
        ((0.3, -0.2), (0.2, 0.1), (-12.0 * 0.1 + 60.0 * 0.1, -12.0 * 0.1)),
        ((0.4, 0.25), (0.4, 0.25), (60.0 * 0.4, 60.0 * 0.25)),
        ((0.4, 0.25), (0.0, 0.0), (0.0, 0.0)),
    ],
)
@pytest.mark.parametrize("parent", ["learned", "rule_based"])
def test_headroom_is_paid_and_missing_headroom_charged(power, required, wanted, parent):
    env = made(DG, ESS, parent=parent)
    actions = {"dg_1": [power[0] / 0.2 - 1.0], "ess_1": [power[1] / 0.25]}
    if parent == "learned":
        actions["operator"] = [required[0] / 0.2 - 1.0, required[1] / 0.125 - 1.0]
    else:
        wanted = tuple(
            (-12.0 * min(held, most) + 60.0 * max(most - held, 0.0))
            for held, most in zip((0.4 - power[0], max(-power[1], 0.0)), (0.2 * 0.4, 0.2 * 0.25), strict=True)
        )
    env.step({agent: np.array(action, np.float32) for agent, action in actions.items()})
    accounts = paid(env)
    assert [accounts["dg_1"], accounts["ess_1"]] == pytest.approx([0.5 * value for value in wanted], abs=1e-5)
    assert sum(accounts.values()) == pytest.approx(0.0, abs=1e-9)
    assert env.output.transfers.sum() == pytest.approx(0.0, abs=1e-9)


def test_a_unit_out_of_service_holds_nothing():
    env = made({**DG, "failures": {}}, ESS)
    env.reset(seed=0, options={"day": 40, "device_outages": [{"device": "dg_1", "start": 1800, "duration": 1800}]})
    received = []
    for _ in range(3):
        env.step({"dg_1": np.array([-0.5]), "ess_1": np.array([-1.0]), "operator": np.array([0.5, 1.0])})
        received.append(paid(env)["dg_1"])
    worked = 0.5 * -12.0 * 0.3  # it injects 0.1 of 0.4 MW
    assert received == pytest.approx([worked, 0.5 * 60.0 * 0.3, worked], abs=1e-5)


def test_children_see_what_is_required_and_what_they_had():
    env = made(DG, ESS)
    observations, *_ = env.step({"dg_1": np.array([0.0]), "ess_1": np.array([-1.0]), "operator": np.array([0.5, -1.0])})
    seen = dict(zip(env.observation_labels("dg_1"), observations["dg_1"].tolist(), strict=True))
    assert seen["dg_1.reserve [MW]"] == pytest.approx(0.3)
    assert seen["dg_1.headroom [MW]"] == pytest.approx(0.2)
    assert not any(label.startswith("ess_1") for label in seen)


def test_nothing_is_settled_without_voltage():
    class Given:
        params = ReserveProtocol(**PRICES).params()
        dt_h, v_pu = 0.25, np.array([0.0, 1.0])
        works, tables = np.ones(2), Limits(np.array([0.4, 0.4]), np.array([0, 1]), np.array([0.4, 0.4]))

    _, held, paid, _ = ReserveProtocol.after(np, Given, Kept(np.array([0.3, 0.5])), np.zeros(2))
    assert held.headroom.tolist() == [0.0, 0.4]
    assert paid.reserve == pytest.approx([0.0, 0.25 * (60.0 * 0.1 - 12.0 * 0.4), -0.25 * (60.0 * 0.1 - 12.0 * 0.4)])


@pytest.mark.parametrize(
    "unit",
    [
        {"id": "pv_1", "type": "RES", "bus": "680", "params": {"kind": "solar", "p_max_mw": 0.6}, "policy": "mppt"},
        {**DG, "id": "dg_2", "params": {"p_max_mw": 0.4, "ramp_mw_per_h": 0.1}},
        {**DG, "id": "dg_2", "params": {"p_max_mw": 0.4, "commitment": True}},
    ],
)
def test_units_that_can_promise_nothing_are_refused_by_name(unit):
    with pytest.raises(ConfigError, match=rf'reserve: "{unit["id"]}" cannot promise power'):
        made(DG, unit)


def test_the_example_plays():
    env = powergrid.make("configs/reserve.yaml", backend="numpy")
    env.reset(seed=0)
    while env.agents:
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        assert sum(paid(env).values()) == pytest.approx(0.0, abs=1e-9)


def test_every_form_of_the_step_gives_the_same():
    check_protocol("reserve")
