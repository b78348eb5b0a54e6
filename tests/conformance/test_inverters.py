"""Inverters that follow their voltage come to rest within the tick, on NumPy, compiled and on JAX alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

import powergrid
from powergrid.agents.curves import CATEGORY_B, curtailed, droop
from powergrid.core import random
from powergrid.core.backend import jax_float64
from powergrid.core.types import Control, NodeLoad
from powergrid.datasets import Dataset
from powergrid.datasets.resample import Series
from powergrid.engine import inverters as engine
from powergrid.envs.functional import FunctionalEnv
from powergrid.plugins.registries import POLICIES
from powergrid.powerflow import method
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

TIGHT = {"tol_pu": 1e-12}
WEAK = {
    "ieee34": (
        ("848", "846", "844", "842", "860"),
        {"options": {"taps": "neutral"}, "regulators": {"local_control": False}},
    ),
    "case33bw": (("17", "16", "15", "14", "13"), {}),
}
"""Feeders with a weak end, and the buses there."""


@powergrid.register_dataset("without change")
def without_change(start: Any = None, end: Any = None, cache_dir: Any = None, download: bool = False) -> Dataset:
    """One day whose sun and load never change."""
    names = ("load_p_pu:x", "load_q_pu:x", "pv_pu:x", "price_per_mwh:x")
    one = {name: Series(np.ones(96), 900) for name in names}
    return Dataset.from_columns("without change", one, start=datetime(2022, 1, 1, tzinfo=UTC), utc_offset_h=0.0)


def weak_end(base: str, count: int, source_pu: float, policy: str = "volt_var", p_mw: float = 0.5) -> dict[str, Any]:
    """So many solar plants at the weak end of a feeder, one behind the other."""
    buses, network = WEAK[base]
    plants = [
        {
            "id": f"pv_{bus}",
            "type": "RES",
            "bus": bus,
            "policy": policy,
            "params": {"p_max_mw": p_mw, "sn_mva": 1.1 * p_mw},
        }
        for bus in buses[:count]
    ]
    return {
        "network": {"base": base, "load_scale": 0.6, "source_pu": source_pu, **network},
        "datasets": "without change",
        "agents": [
            *plants,
            {"id": "ess", "type": "ESS", "bus": buses[0], "params": {"max_p_mw": 1e-6, "capacity_mwh": 1e-6}},
        ],
        "simulation": {"episode_length": 6},
    }


def everything(phases: str = "balanced") -> dict[str, Any]:
    """Curves of every kind on a feeder whose regulators move: sun, wind, a battery, a generator, a converter."""
    three = phases == "three"
    at = {"712": "b"} if three else {}
    plant = [
        ("RES", "860", "volt_var_watt", {"p_max_mw": 0.6, "sn_mva": 0.6}),
        ("SolarPlant", "844", "volt_var", {"p_max_mw": 0.5, "sn_mva": 0.5}),
        ("WindTurbine", "848", "volt_watt", {"p_max_mw": 0.5, "sn_mva": 0.55}),
        ("ESS", "840", "volt_var_a", {"max_p_mw": 0.3, "capacity_mwh": 1.0, "sn_mva": 0.4}),
        ("DG", "836", "volt_var_watt", {"p_min_mw": 0.1, "p_max_mw": 0.4, "sn_mva": 0.5, "marginal_cost_per_mwh": 5.0}),
        ("Statcom", "834", "rule_based", {"sn_mva": 0.3, "droop_pu": 0.02}),
    ]  # fmt: skip
    agents = [
        {
            "id": f"unit_{i}",
            "type": kind,
            "bus": bus,
            "policy": policy,
            "params": params,
            **({"phases": at[bus]} if bus in at else {}),
        }
        for i, (kind, bus, policy, params) in enumerate(plant)
    ]
    if three:
        agents.append(
            {
                "id": "roof",
                "type": "RES",
                "bus": "822",
                "phases": "a",
                "policy": "volt_var",
                "params": {"p_max_mw": 0.2, "sn_mva": 0.25},
            }
        )
    agents.append(
        {"id": "battery", "type": "ESS", "bus": "858", "policy": "learned", "params": {"sn_mva": 0.6, "max_p_mw": 0.5}}
    )
    return {
        "network": {
            "base": "ieee34",
            "phases": phases,
            "load_scale": 0.4,
            "source_pu": 1.03,
            "regulators": {"v_set_pu": 1.035},
        },
        "agents": agents,
        "simulation": {"episode_length": 96},
    }


def episode(
    config: dict[str, Any], backend: str, day: int, ticks: int, count: int = 1, **options: Any
) -> dict[str, np.ndarray]:
    """Powers, voltages, slots and taps of a batch of equal days; random commands, none where nothing changes."""
    simulation = Simulation(build(config, **{**TIGHT, **options}), backend, count)
    key = random.fold_in(np, random.key_from_seed(np, np.arange(count)), np.zeros(count, np.int32))
    state, *_ = simulation.reset(key, np.full(count, day, np.int32))
    found: dict[str, list[Any]] = {name: [] for name in ("p_mw", "q_mvar", "v_pu", "slots", "tap", "converged")}
    layout = simulation.layout
    for tick in range(ticks):
        drawn = np.random.default_rng(tick).uniform(-1, 1, (count, len(layout.actors), layout.action_size))
        state, output = simulation.step(state, 0.0 * drawn if "datasets" in config else drawn)
        for name, values in (
            ("p_mw", output.p_mw), ("q_mvar", output.q_mvar), ("v_pu", output.flow.v_pu), ("slots", state.slots),
            ("tap", np.zeros(count) if layout.taps is None else state.devices[layout.taps].tap),
            ("converged", output.flow.converged),
        ):  # fmt: skip
            found[name].append(np.array(values))
    return {name: np.array(values) for name, values in found.items()}


def mismatch(config: dict[str, Any], found: dict[str, np.ndarray]) -> float:
    """Largest reactive power, over the rating, between what plants deliver and their curve at the voltages found."""
    layout = build(config, **TIGHT).layout
    given = layout.policies.inverters
    w = given.terminal(np, found["v_pu"])
    room = np.sqrt(np.maximum((0.55**2 - found["p_mw"][..., given.unit] ** 2), 0.0)) / 0.55
    wanted = np.clip(droop(np, w, given.curve), -room, room)
    return float(np.abs(found["q_mvar"][..., given.unit] / 0.55 - wanted).max())


@pytest.mark.parametrize("backend", ["numpy", "fused"])
@pytest.mark.parametrize("base", WEAK)
@pytest.mark.parametrize(("count", "source_pu"), [(1, 1.05), (3, 1.03), (5, 0.93), (5, 1.05)])
def test_reactive_power_rests_on_its_curve_and_stays_there(
    base: str, count: int, source_pu: float, backend: str
) -> None:
    """With loop gains up to 1.2 and more: constant data, constant powers, each on its curve at the voltage found."""
    config = weak_end(base, count, source_pu)
    found = episode(config, backend, 0, 5)
    assert found["converged"].all()
    assert np.abs(np.diff(found["q_mvar"][1:], axis=0)).max() < 1e-9
    assert mismatch(config, found) < 1e-9
    loose = episode(config, backend, 0, 5, tol_pu=1e-8)
    assert mismatch(config, loose) < 1e-6
    assert np.abs(loose["q_mvar"] - found["q_mvar"]).max() < 1e-6


@pytest.mark.parametrize("policy", ["volt_var", "volt_watt", "volt_var_watt"])
def test_one_unit_rests_where_a_bisection_of_the_exact_flow_says(policy: str) -> None:
    """Gain 3 and more: far beyond where reading the last voltage flips."""
    p_mw, sn_mva = 2.0, 2.2
    config = weak_end("ieee34", 1, 1.04, policy, p_mw)
    world = build(config, **TIGHT)
    network, bus = world.network, world.network.bus("848")
    solver = method("sparse_lu", network)
    plan = solver.plan(network, tol_pu=1e-13)
    own = network.node_load()

    def powers(w: float) -> tuple[float, float]:
        p = min(p_mw, float(curtailed(np, w, 0.0)) * p_mw) if "watt" in policy else p_mw
        room = np.sqrt(sn_mva**2 - p**2)
        q = float(np.clip(droop(np, w, CATEGORY_B) * sn_mva, -room, room)) if "var" in policy else 0.0
        return p, q

    def gap(w: float) -> float:
        p, q = powers(w)
        load = NodeLoad(own.p_mw.copy(), own.q_mvar.copy())
        load.p_mw[bus] -= p
        load.q_mvar[bus] -= q
        flow = solver.solve(plan, load, Control(v_source_pu=np.float64(1.04)))
        assert flow.converged
        return float(flow.v_pu[bus]) - w

    wanted = powers(brentq(gap, 0.95, 1.25, xtol=1e-14))
    assert abs(gap(1.02) - gap(1.09)) > 0.07 * 1.5  # it answers more than it is asked
    found = episode(config, "numpy", 0, 2)
    assert found["converged"].all()
    unit = world.layout.policies.inverters.unit[0]
    assert found["p_mw"][-1, 0, unit] == pytest.approx(wanted[0], abs=1e-8)
    assert found["q_mvar"][-1, 0, unit] == pytest.approx(wanted[1], abs=1e-8)


@pytest.mark.parametrize("phases", ["balanced", pytest.param("three", marks=pytest.mark.slow)])
def test_compiled_is_numpy(phases: str) -> None:
    config = everything(phases)
    plain, fused = (episode(config, backend, 170, 96, count=4) for backend in ("numpy", "fused"))
    assert plain["converged"].all()
    assert np.ptp(plain["tap"]) > 0.0
    moved = plain["q_mvar"].reshape(96, -1)
    assert (np.abs(moved).max(0) > 0.01).sum() > 8
    for name, values in plain.items():
        np.testing.assert_allclose(fused[name], values, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("phases", ["balanced", pytest.param("three", marks=pytest.mark.slow)])
def test_jax_is_numpy(phases: str) -> None:
    jax = pytest.importorskip("jax")
    config, ticks = everything(phases), 24
    plain = episode(config, "numpy", 170, ticks, method="sparse_lu")
    with jax_float64():
        env = FunctionalEnv(build(config, method="zbus", **TIGHT), dtype="float64", auto_reset=False)
        layout = env.world.layout
        key = random.key_from_seed(np, np.arange(1))
        _, state = jax.jit(env.reset)(jax.numpy.asarray(key), jax.numpy.full(1, 170))
        step = jax.jit(env.step)
        found: dict[str, list[Any]] = {"p_mw": [], "q_mvar": [], "v_pu": []}
        for tick in range(ticks):
            drawn = np.random.default_rng(tick).uniform(-1, 1, (1, len(layout.actors), layout.action_size))
            (group,) = env.groups
            _, state, _, _, info = step(jax.random.key(0), state, {group: drawn})
            output = info["output"]
            for name, values in (("p_mw", output.p_mw), ("q_mvar", output.q_mvar), ("v_pu", output.flow.v_pu)):
                found[name].append(np.asarray(values))
    for name, values in found.items():
        np.testing.assert_allclose(np.array(values), plain[name], atol=1e-9, err_msg=name)


def test_every_environment_has_its_own_bits() -> None:
    """Alone, among others, on one thread and on several."""
    whole = episode(everything(), "fused", 170, 12, count=11)
    alone = episode(everything(), "fused", 170, 12, count=1)
    for name, values in alone.items():
        np.testing.assert_array_equal(values[:, 0], whole[name][:, 0], err_msg=name)
    rewards = []
    for threads in (1, 2):
        vector = powergrid.make_vec(everything(), num_envs=9, threads=threads)
        vector.reset(seed=0)
        rewards.append([vector.step_array(vector.policy_array("idle")).reward for _ in range(6)])
    np.testing.assert_array_equal(*rewards)


def test_commands_by_a_policy_rest_in_the_tick_they_are_for() -> None:
    """An operator that commands what the curves say finds the voltages they are for, unless a regulator moves then."""
    env, policy, still = powergrid.make("voltage_control_34", tol_pu=1e-12), POLICIES.get("volt_var"), 0
    env.reset(seed=0, options={"day": 180})
    taps, inverters = env.world.layout.taps, env.world.layout.policies.inverters_of(policy)
    for _ in range(48):
        env.step(env.policy_actions("volt_var"))
        asked = droop(np, inverters.terminal(np, env.output.flow.v_pu), CATEGORY_B)
        if not env._state.devices[taps].moves.any():
            np.testing.assert_allclose(env._state.slots[inverters.q_slot], asked, atol=1e-6)
            still += 1
    assert still > 10


@pytest.mark.parametrize("backend", ["numpy", "fused"])
def test_what_does_not_come_to_rest_has_not_converged(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ROUNDS", 1)
    monkeypatch.setattr("powergrid.engine.compiled.inverters.ROUNDS", 1)
    found = episode(weak_end("ieee34", 5, 0.93), backend, 0, 1)
    assert not found["converged"].any()


def test_inverters_of_an_island_follow_the_voltage_that_its_battery_holds() -> None:
    """A line fails, a battery carries what lies behind it, and the plants there stay on their curves."""
    plants = [
        {
            "id": f"pv_{bus}",
            "type": "RES",
            "bus": bus,
            "policy": "volt_var_a",
            "params": {"p_max_mw": 0.1, "sn_mva": 0.15},
        }
        for bus in ("15", "17", "31")
    ]
    battery = {"max_p_mw": 2.0, "capacity_mwh": 20.0, "sn_mva": 3.0, "grid_forming": True}
    given = {
        "network": {
            "base": "case33bw",
            "load_scale": 0.6,
            "outages": [{"branch": "line_12", "start": 1800, "duration": 2700}],
        },
        "agents": [*plants, {"id": "ess", "type": "ESS", "bus": "14", "policy": "learned", "params": battery}],
        "simulation": {"episode_length": 8},
    }
    simulation = Simulation(build(given, **TIGHT))
    state, *_ = simulation.reset(np.array([[3, 4]], np.uint32), np.array([200], np.int32))
    inverters = simulation.layout.policies.inverters
    assert simulation.layout.grid.islands is not None
    alone = 0
    for _ in range(8):
        state, output = simulation.step(state, np.zeros((1, 1, simulation.layout.action_size)))
        assert output.flow.converged.all()
        asked = 0.15 * droop(np, inverters.terminal(np, output.flow.v_pu), inverters.curve)
        np.testing.assert_allclose(output.q_mvar[:, inverters.unit], asked, atol=1e-8)
        alone += int((np.abs(output.frequency_hz - 60.0) > 1e-9).any())
    assert alone > 0
