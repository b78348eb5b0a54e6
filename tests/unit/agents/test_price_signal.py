"""Price signals: a parent with a rule changes nothing, and a signal shifts the tariff of the children's meter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.coordination.channels import Replacements

_UNITS = [
    {
        "id": "dg_1",
        "type": "DG",
        "bus": "675",
        "params": {"p_max_mw": 0.8, "marginal_cost_per_mwh": 60.0, "marginal_cost_slope_per_mw2h": 40.0},
    },
    {"id": "ess_1", "type": "ESS", "bus": "671", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.25}},
    {"id": "pv_1", "type": "RES", "bus": "680", "params": {"kind": "solar", "p_max_mw": 0.6}},
]


def powers(parent: dict[str, Any], backend: str = "numpy", share: float = 0.0) -> tuple[Any, np.ndarray]:
    """An environment after a day with these keys of the parent, and what its units inject in each tick [MW]."""
    units = [{**unit, "policy": "mppt" if unit["type"] == "RES" else "rule_based"} for unit in _UNITS]
    free = {"id": "ess_2", "type": "ESS", "bus": "634", "policy": "learned", "params": {"capacity_mwh": 1.0}}
    below = ["dg_1", "ess_1", "pv_1", "meter"]
    agents = [*units, free, {"id": "meter", "type": "GridConnection"}]
    config = {
        "network": {"base": "ieee13", "load_scale": 0.3, "load_series": "load_p_pu:com_1"},
        "agents": [*agents, {"id": "operator", "type": "GridCoordinator", "sub_agents": below, **parent}],
        "simulation": {"episode_length": 24, "time_step": 3600},
    }
    env = powergrid.make(config, backend=backend)
    env.reset(seed=0, options={"day": 200})
    found = []
    while env.agents:
        actions = {agent: np.full(env.action_space(agent).shape, share, np.float32) for agent in env.agents}
        env.step({**actions, "ess_2": np.zeros(env.action_space("ess_2").shape, np.float32)})
        found.append(np.array(env.output.p_mw))
    return env, np.array(found)


def prices_of(env: Any) -> np.ndarray:
    """Market prices of the day [$/MWh]."""
    return np.array([env.world.table[200 * 24 + tick][env.world.layout.columns.price] for tick in range(24)])


def signal(policy: str, **params: Any) -> dict[str, Any]:
    return {"policy": policy, "protocol": {"type": "price_signal", "params": params}}


@pytest.mark.parametrize("backend", ["numpy", "fused"])
@pytest.mark.parametrize("highest", [200.0, 30.0])
def test_units_below_a_parent_with_a_rule_act_as_without_a_parent(backend, highest):
    """Prices beyond the highest that the parent may send change nothing either."""
    env, free = powers({"policy": "rule_based"})
    assert prices_of(env).max() > 30.0
    _, told = powers(signal("rule_based", price_max_per_mwh=highest), backend)
    assert np.abs(free[:, :2]).max() > 0.2
    assert told == pytest.approx(free, abs=1e-6)


@pytest.mark.parametrize("share", [-0.7, 0.1])
def test_a_signal_shifts_what_energy_costs_and_earns(share):
    env, made = powers(signal("learned"), share=share)
    sent = 100.0 * (1.0 + share)
    bought = sent + 45.0
    sold = sent - 0.1 * prices_of(env)
    most, least = (np.clip((price - 60.0) / 40.0, 0.0, 0.8) for price in (bought, sold))
    output = made[:, env.world.layout.units.index("dg_1")]
    assert (output <= most + 1e-6).all()
    assert (output >= least - 1e-6).all()
    assert output.max() == pytest.approx(most, abs=1e-6)


def test_below_a_price_in_place_of_the_tariff_nothing_is_added():
    """A market's price reaches the members whole, and so does what they send on to their units."""

    class One:
        def __init__(self, id: str, above: tuple[One, ...] = ()):
            self.id, self._above = id, above

        def ancestors(self) -> tuple[One, ...]:
            return self._above

    operator = One("operator")
    member = One("member", (operator,))
    unit, other = One("unit", (member, operator)), One("other", (operator,))
    prices = Replacements(sent={"member": 7}, told={"member": 3}, whole_tariff=frozenset({3}))
    assert [prices.heard_by(one) for one in (unit, member, other)] == [7, 3, -1]
    assert [prices.replaces_tariff(one) for one in (unit, member, other)] == [True, True, False]
