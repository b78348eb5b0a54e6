"""Switches, outages and dead islands in compiled code: the same numbers as with NumPy, the same bits in any batch."""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

import powergrid
from powergrid.core import random
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

FEEDER = {f"line_{i}": i for i in range(37)}
STATE = ("slots", "v_re", "v_im")
OUTPUT = (
    "observation", "central", "money", "costs", "transfers", "p_mw", "q_mvar", "measured_mw", "clipped", "due", "done",
    "available", "frequency_hz",
)  # fmt: skip
FLOW = ("v_re", "v_im", "v_pu", "loading", "loss_mw", "p_slack_mw", "energised", "converged")


def battery(name: str, bus: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "type": "ESS", "bus": bus, "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3} | params}


def switch(name: str, branch: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "type": "Switch", "bus": branch, "params": params}


def outage(*branches: str, ticks: int = 8, **given: Any) -> dict[str, Any]:
    return {"branch": list(branches), "start": [0, 20 * 3600], "duration": ticks * 900, "probability": 0.9} | given


def feeder() -> dict[str, Any]:
    """Devices of several kinds behind lines that fail, one switch at a tie and one in the trunk."""
    agents = [
        battery("ess", "17"),
        {"id": "dg", "type": "DG", "bus": "30", "params": {"p_max_mw": 0.4, "sn_mva": 0.5, "commitment": True}},
        {"id": "pv", "type": "SolarPV", "bus": "14", "params": {"p_max_mw": 0.4}},
        switch("tie", "line_35", move_cost=3.0),
        switch("trunk", "line_7"),
    ]
    network = {"base": "case33bw", "outages": [outage("line_4", "line_1?"), outage("line_27", "line_2", "line_22")]}
    return {"name": "feeder", "network": network, "agents": agents}


def regulated(phases: str, following: bool = False) -> dict[str, Any]:
    """Regulators that may lose their voltage, and a plant that follows the voltage it has."""
    plant = {
        "id": "pv",
        "type": "SolarPV",
        "bus": "844",
        "policy": "volt_var",
        "params": {"p_max_mw": 0.2, "sn_mva": 0.25},
    }
    network = {
        "base": "ieee34",
        "phases": phases,
        "outages": [outage("808-812", "834-860"), outage("816-824", "858-834")],
    }
    agents = [battery("ess", "890", sn_mva=0.35), *([plant] if following else [])]
    return {"name": "regulated", "network": network, "agents": agents}


def islands() -> dict[str, Any]:
    """Units that form the grids of two islands, an empty battery among them, beside a plant and a tie switch."""
    units = [
        battery("a", "17", sn_mva=0.45, grid_forming=True, soc_init=0.11),
        battery("b", "29", max_p_mw=0.9, sn_mva=1.35, grid_forming=True),
        battery("c", "14", max_p_mw=0.05, sn_mva=0.08, grid_forming=True),
        {"id": "pv", "type": "SolarPV", "bus": "15", "params": {"p_max_mw": 0.2}},
        switch("tie", "line_35"),
    ]
    network = {"base": "case33bw", "outages": [outage("line_4", "line_12"), outage("line_27", "line_25")]}
    return {"name": "islands", "network": network, "agents": units}


def regulated_islands(phases: str) -> dict[str, Any]:
    """Regulators on both sides of lines that fail, and a battery that carries what is cut off."""
    source = regulated(phases)
    source["agents"] = [battery("ess", "890", sn_mva=0.45, grid_forming=True), battery("far", "836", sn_mva=0.4)]
    return source


def following_islands() -> dict[str, Any]:
    """The same units, and in their islands a plant and a battery that follow their voltage."""
    source = islands()
    plant = source["agents"][3]
    plant["params"] |= {"sn_mva": 0.25}
    source["agents"][3] = plant | {"policy": "volt_var_watt"}
    source["agents"].append(battery("near", "16", sn_mva=0.4) | {"policy": "volt_var"})
    return source


def regulated_following_islands(phases: str) -> dict[str, Any]:
    """Regulators beside a unit that forms grids and a plant and a battery that follow their voltage."""
    source = regulated_islands(phases)
    plant = {"id": "pv", "type": "SolarPV", "bus": "844", "params": {"p_max_mw": 0.2, "sn_mva": 0.25}}
    source["agents"] += [
        plant | {"policy": "volt_var_watt"},
        battery("near", "858", sn_mva=0.3) | {"policy": "volt_var"},
    ]
    return source


def trading() -> dict[str, Any]:
    """Microgrids that trade on a feeder whose lines fail."""
    text = (files("powergrid.config") / "presets" / "p2p_microgrids.yaml").read_text(encoding="utf-8")
    source = YAML(typ="safe").load(text)
    source["network"]["outages"] = [outage("808-812", "816-824"), outage("834-860")]
    return source


def trading_islands() -> dict[str, Any]:
    """The units of two islands and their neighbours trade by rule, and a parent tells the plant a price."""
    source = islands()
    source["agents"] = [{**agent, "policy": "rule_based"} for agent in source["agents"]]
    source["agents"][1]["policy"] = "learned"
    source["protocols"] = [{"type": "p2p_trading", "members": ["a", "b", "c"]}]
    boss = {"id": "boss", "type": "GridCoordinator", "policy": "rule_based", "sub_agents": ["pv"]}
    source["agents"].append({**boss, "protocol": "price_signal"})
    return source


def start(simulation: Simulation, count: int) -> Any:
    days = (21 + 50 * np.arange(count, dtype=np.int32)) % 360
    key = random.fold_in(np, random.key_from_seed(np, np.arange(count)), np.zeros(count, np.int32))
    return simulation.reset(key, days)[0], key, days


def commands(simulation: Simulation, count: int, ticks: int) -> np.ndarray:
    layout = simulation.layout
    return np.random.default_rng(0).uniform(-1.2, 1.2, (ticks, count, len(layout.actors), layout.action_size))


def assert_equal(plain: tuple[Any, Any], fused: tuple[Any, Any], tick: int) -> None:
    (before, one), (after, other) = plain, fused
    pairs = [(name, getattr(one, name), getattr(other, name)) for name in OUTPUT]
    pairs += [(name, getattr(one.flow, name), getattr(other.flow, name)) for name in FLOW]
    pairs += [(name, getattr(before, name), getattr(after, name)) for name in STATE]
    for i, states in enumerate(zip(before.devices, after.devices, strict=True)):
        pairs += [(f"family {i}", *columns) for columns in zip(*states, strict=True)]
    for name, a, b in pairs:
        assert np.shape(a) == np.shape(b), (tick, name)
        np.testing.assert_allclose(np.asarray(b, float), np.asarray(a, float), 1e-9, 1e-9, err_msg=f"{name} at {tick}")


def compare(source: dict[str, Any], count: int, ticks: int) -> int:
    """Play an episode with both backends; the number of steps in which something is dead or an island."""
    world = build(source, tol_pu=1e-11)
    pair = Simulation(world, "numpy"), Simulation(world, "fused", count)
    states, disturbed = [start(simulation, count)[0] for simulation in pair], 0
    for tick, chosen in enumerate(commands(pair[0], count, ticks)):
        plain, fused = (simulation.step(state, chosen) for simulation, state in zip(pair, states, strict=True))
        assert_equal(plain, fused, tick)
        states = [plain[0], fused[0]]
        alive, frequency_hz = plain[1].flow.energised, plain[1].frequency_hz
        disturbed += int((~alive.all(-1) | (frequency_hz % world.network.f_hz != 0.0).any(-1)).sum())
    return disturbed


@pytest.mark.parametrize(
    "source",
    [
        feeder(),
        regulated("balanced"),
        regulated("three"),
        regulated("balanced", following=True),
        trading(),
        islands(),
        trading_islands(),
        regulated_islands("balanced"),
        regulated_islands("three"),
        following_islands(),
        regulated_following_islands("three"),
    ],
    ids=[
        "devices",
        "regulators",
        "three phases",
        "volt-var",
        "market",
        "islands",
        "trading islands",
        "regulated islands",
        "three-phase islands",
        "following islands",
        "regulated following islands",
    ],
)
def test_compiled_is_numpy(source: dict[str, Any]) -> None:
    assert compare(source, 5, 96) > 10


@pytest.mark.parametrize(
    "source",
    [feeder(), regulated("three", following=True), islands(), following_islands()],
    ids=["devices", "volt-var", "islands", "following islands"],
)
def test_each_environment_has_its_bits_in_any_batch(source: dict[str, Any]) -> None:
    world, count = build(source), 11
    many, one = Simulation(world, "fused", count), Simulation(world, "fused", 1)
    state, key, days = start(many, count)
    alone, dead = one.reset(key[9], days[9])[0], 0
    for chosen in commands(many, count, 48):
        state, found = many.step(state, chosen)
        alone, expected = one.step(alone, chosen[9])
        dead += int((~found.flow.energised).any(-1).sum())
        for name in OUTPUT:
            assert np.array_equal(getattr(found, name)[9], getattr(expected, name)), name
        assert np.array_equal(state.v_re[9], alone.v_re)
    assert dead


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Any lines of the feeder fail, any others are switched."""
    branches = st.lists(st.sampled_from(sorted(FEEDER)), min_size=1, max_size=3, unique=True)
    outages = [
        outage(*draw(branches), ticks=draw(st.integers(1, 6)), start=[0, 3600 * draw(st.integers(0, 3))])
        for _ in range(draw(st.integers(0, 3)))
    ]
    switched = draw(st.lists(st.sampled_from(sorted(FEEDER)), min_size=1, max_size=3, unique=True))
    agents = [battery("a", "17"), battery("b", str(draw(st.integers(1, 32)))), *(switch(f"s {b}", b) for b in switched)]
    return {"name": "drawn", "network": {"base": "case33bw", "outages": outages}, "agents": agents}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_any_outages_and_switches(source: dict[str, Any]) -> None:
    compare(source, 4, 16)


def test_an_automatic_backend_is_compiled_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="powergrid"):
        assert powergrid.make(feeder()).backend == "fused"
        assert powergrid.make_vec(feeder(), 4).backend == "fused"
    assert not caplog.text


def test_environments_that_start_anew_draw_outages_of_their_own() -> None:
    """Episodes of a batch end one by one; those that begin then fail at their own times."""
    runs = []
    for backend in ("numpy", "fused"):
        env = powergrid.make_vec(feeder(), 4, episode_length=6, backend=backend)
        env.reset(seed=3)
        layout, rng = env.world.layout, np.random.default_rng(0)
        shape = (4, len(layout.actors), layout.action_size)
        steps = [env.step_array(rng.uniform(-1, 1, shape)) for _ in range(20)]
        runs.append([(step.reward.copy(), step.available.copy()) for step in steps])
    for (reward, available), (other, same) in zip(*runs, strict=True):
        np.testing.assert_allclose(reward, other, 1e-7, 1e-7)
        assert np.array_equal(available, same)
    assert not all(available.all() for _, available in runs[0])
