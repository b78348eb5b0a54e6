"""Derivatives of the step on JAX, against central differences of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core.backend import jax_float64
from powergrid.core.derivatives import NotDifferentiableError
from powergrid.core.errors import ConfigError

jax = pytest.importorskip("jax")

STEP = 1e-5
BATTERY = {"type": "ESS", "bus": "16", "params": {"capacity_mwh": 4.0, "max_p_mw": 1.0, "sn_mva": 1.2}}
GENERATOR = {
    "type": "DG",
    "bus": "16",
    "params": {
        "p_max_mw": 0.02,
        "p_min_mw": 0.01,
        "commitment": True,
        "marginal_cost_per_mwh": 60,
    },
}


def case33bw(*agents: dict[str, Any], **sections: Any) -> dict[str, Any]:
    ticks = {"episode_length": 8, "time_step": 3600}
    return {"network": {"base": "case33bw"}, "agents": list(agents), "simulation": ticks, **sections}


class Played:
    """The cost of a few ticks, by the actions of all agents."""

    def __init__(self, source: Any, ticks: int, day: int = 150, hour: int = 0):
        self.env = powergrid.make_functional(source, dtype="float64", auto_reset=False, tol_pu=1e-12)
        key = jax.random.key(3)
        _, begin = jax.jit(self.env.reset)(key, jax.numpy.asarray(day))
        begin = begin._replace(engine=begin.engine._replace(row=begin.engine.row + hour))
        rng = np.random.default_rng(0)
        self.actions = {
            name: jax.numpy.asarray(rng.uniform(-0.9, 0.9, (ticks, len(agents), self.env.action_size[name])))
            for name, agents in self.env.groups.items()
        }

        def cost(actions: Any) -> Any:
            def tick(state: Any, chosen: Any) -> Any:
                _, state, _, _, info = self.env.step(key, state, chosen)
                flow = info["output"].flow
                return state, info["money"].sum() + info["costs"].sum() + (flow.v_pu**2).sum() + flow.loss_mw

            return jax.lax.scan(tick, begin, actions)[1].sum()

        self.cost = jax.jit(cost)

    def slope(self) -> dict[str, np.ndarray]:
        return jax.tree.map(np.asarray, jax.jit(jax.grad(self.cost))(self.actions))

    def difference(self, name: str, at: tuple[int, ...]) -> float:
        ends = [self.cost({**self.actions, name: self.actions[name].at[at].add(by)}) for by in (STEP, -STEP)]
        return float(ends[0] - ends[1]) / (2 * STEP)


@pytest.mark.slow
def test_a_trading_day_begins_with_the_slopes_of_central_differences() -> None:
    with jax_float64():
        played = Played("p2p_microgrids", 6, day=40)
        slope = played.slope()["microgrid"]
        found = [(slope[at], played.difference("microgrid", at)) for at in np.ndindex(6, 3, 2)]
    assert np.isfinite(slope).all()
    near = [np.isclose(a, b, rtol=1e-4, atol=1e-6) for a, b in found]
    assert np.mean(near) > 0.9  # a few points may lie at a kink
    assert np.abs(slope).max() > 1.0


@pytest.mark.slow
def test_inverters_at_rest_answer_to_what_others_do() -> None:
    """Volt-var plants beside a battery: without their answer its slope by reactive power would be far off."""
    plants = [
        {"id": f"pv_{bus}", "type": "RES", "bus": bus, "policy": "volt_var", "params": {"p_max_mw": 2.0, "sn_mva": 2.3}}
        for bus in ("17", "14", "30")
    ]
    with jax_float64():
        played = Played(case33bw(*plants, {"id": "battery", "policy": "learned", **BATTERY}), 3, hour=10)
        slope = played.slope()["battery"]
        for at in np.ndindex(3, 1, 2):
            assert slope[at] == pytest.approx(played.difference("battery", at), rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_commitment_has_the_slope_between_off_and_on() -> None:
    with jax_float64():
        played = Played(case33bw({"id": "unit", "policy": "learned", **GENERATOR}), 1)
        assert played.env.differentiable.by_surrogate == {"unit": ("commit",)}
        assert played.env.differentiable.carried == ("unit", "unit.meter")
        played.actions["unit"] = played.actions["unit"].at[0, 0, 1].set(0.5)  # on: without power the tariff has a kink
        on, off = (played.cost({"unit": played.actions["unit"].at[0, 0, 1].set(end)}) for end in (1.0, -1.0))
        slope = played.slope()["unit"]
        assert played.difference("unit", (0, 0, 1)) == 0.0
    # an action spans two, the choice one; the cost is nearly linear in the power of so small a unit
    assert slope[0, 0, 1] == pytest.approx(float(on - off) / 2, rel=0.05)
    assert slope[0, 0, 1] != 0.0


def test_what_stands_on_steps_is_held() -> None:
    found = powergrid.make_functional("two_microgrids").differentiable
    taps = {name for name in found.held if "RG" in name or "reg" in name.lower()}
    assert taps
    assert not set(found.held) & set(found.carried)
    assert not found.refused
    found.require()


@pytest.mark.slow
def test_a_market_on_the_network_refuses_derivatives() -> None:
    operator = {"id": "operator", "type": "GridCoordinator", "sub_agents": ["a", "b"], "policy": "rule_based"}
    units = [{"id": name, "policy": "learned", **BATTERY} for name in "ab"]
    source = case33bw(*units, {**operator, "protocol": {"type": "lmp_market"}})
    with jax_float64():
        played = Played(source, 1)
        with pytest.raises(NotDifferentiableError, match=r"LmpMarket of .*linear program"):
            played.env.differentiable.require()
        with pytest.raises(NotDifferentiableError, match="linear program"):
            played.slope()


def test_agents_in_python_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="battery"):
        powergrid.make_functional(case33bw({"id": "battery", "policy": "mpc", **BATTERY}))
