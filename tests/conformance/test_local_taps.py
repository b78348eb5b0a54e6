"""Regulators without local control keep the taps of their network, whatever computes the step."""

from __future__ import annotations

import numpy as np
import pytest

import powergrid
from powergrid.core.errors import ConfigError
from powergrid.envs.functional import FunctionalEnv

STILL = {"local_control": False}
PUBLISHED = {
    ("ieee34", "balanced"): [22 / 3, 12],
    ("ieee34", "three"): [12, 5, 5, 13, 11, 12],
    ("ieee123", "three"): [7, 7, 7, -1, 0, -1, 8, 1, 5],
}


def config(base: str, phases: str, agent: dict | None = None, **network: object) -> dict:
    ess = {"id": "ess", "type": "ESS", "bus": {"ieee34": "800", "ieee123": "150"}[base], "policy": "learned"}
    agents = [ess, *([agent] if agent else [])]
    return {"network": {"base": base, "phases": phases, **network}, "agents": agents}


def taps_after_a_tick(env: powergrid.PowerGridEnv) -> np.ndarray:
    env.reset(seed=0, options={"day": 0})
    env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
    return env._state.devices[env.world.layout.taps].tap


@pytest.mark.parametrize("backend", ["numpy", "fused"])
@pytest.mark.parametrize(("base", "phases"), PUBLISHED)
def test_taps_are_those_of_the_network(base: str, phases: str, backend: str) -> None:
    env = powergrid.make(config(base, phases, regulators=STILL), backend=backend)
    np.testing.assert_array_equal(env.world.network.regulators.tap, PUBLISHED[base, phases])
    np.testing.assert_array_equal(taps_after_a_tick(env), PUBLISHED[base, phases])
    neutral = powergrid.make(config(base, phases, regulators=STILL, options={"taps": "neutral"}), backend=backend)
    np.testing.assert_array_equal(taps_after_a_tick(neutral), 0.0)


def test_taps_on_jax() -> None:
    jax = pytest.importorskip("jax")
    world = powergrid.make(config("ieee34", "balanced", regulators=STILL), method="zbus").world
    _, state = FunctionalEnv(world).reset(jax.random.key(0))
    np.testing.assert_allclose(state.engine.devices[world.layout.taps].tap, [22 / 3, 12], rtol=1e-6)


def test_a_whole_network_stands_as_its_static_power_flow() -> None:
    """The environment's first voltages are the static ones of the same load, taps and capacitors."""
    given = config("ieee34", "balanced", regulators=STILL, capacitors={"control": "fixed"}, load_scale=0.6)
    env = powergrid.make(given, tol_pu=1e-12)
    env.reset(seed=0, options={"day": 0})
    env.step({"ess": np.zeros(1)})
    columns = env.world.layout.columns
    load = env.world.table.series([columns.column("load_p_pu")], np.zeros(1, int)).item()
    static = powergrid.networks.scaled(env.world.network, load=load).power_flow(tol_pu=1e-12)
    np.testing.assert_allclose(env.output.flow.v_pu, static.bus.v_pu, atol=1e-9)


def test_an_agent_begins_at_the_taps_of_the_network_and_moves_from_there() -> None:
    tap = {"id": "tap", "type": "Regulator", "bus": "852-RG11", "policy": "learned", "params": STILL}
    env = powergrid.make(config("ieee34", "balanced", tap))
    env.reset(seed=0, options={"day": 0})
    family = env.world.layout.taps
    unit = env.world.layout.families[family].ids.index("tap")
    before = env._state.devices[family].tap[unit]
    env.step({"ess": np.zeros(1), "tap": -np.ones(1)})
    assert (before, env._state.devices[family].tap[unit]) == (12.0, 8.0)
    coarse = {**tap, "params": {**STILL, "step_pu": 0.0125}}
    assert taps_after_a_tick(powergrid.make(config("ieee34", "balanced", coarse)))[unit] == pytest.approx(6.0)
    narrow = {**tap, "params": {**STILL, "tap_max": 10}}
    with pytest.raises(ConfigError, match=r'agents\[1\]\.params: "852-RG11" stands at tap 12, outside \[-16, 10\]'):
        powergrid.make(config("ieee34", "balanced", narrow))


def test_show_says_who_moves_them(capsys: pytest.CaptureFixture[str]) -> None:
    from powergrid.cli.show import hierarchy

    for rule, said in ((STILL, "at the tap that it has there"), ({}, "by local control")):
        resolved = powergrid.load_config(config("ieee34", "balanced", regulators=rule))
        lines = [str(child.label) for child in hierarchy(resolved, powergrid.make(resolved).world.agents).children]
        assert f"2 x Regulator of the network, {said}" in lines
