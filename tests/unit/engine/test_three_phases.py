"""Environments on three-phase feeders: devices on phases, relays, unbalance, the compiled step and the reference."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import powergrid
from powergrid.core import random
from powergrid.core.errors import ConfigError, NetworkError
from powergrid.networks import network, scaled, with_taps
from powergrid.networks.terminals import device_nodes
from powergrid.powerflow.sequence import three_phase_buses
from powergrid.worlds.build import build
from powergrid.worlds.simulation import Simulation

ESS = {"id": "ess_1", "type": "ESS", "bus": "675", "phases": "ac", "params": {"capacity_mwh": 1.0, "max_p_mw": 0.3}}
PV = {"id": "pv_1", "type": "RES", "bus": "671", "params": {"kind": "solar", "p_max_mw": 0.6}, "policy": "learned"}
ONE = {"id": "pv_2", "type": "RES", "bus": "611", "params": {"kind": "solar", "p_max_mw": 0.1}}
METER = {"id": "grid_1", "type": "Grid"}
OPERATOR = {
    "id": "operator_1",
    "type": "GridCoordinator",
    "protocol": "setpoint",
    "sub_agents": ["ess_1", "pv_1", "pv_2", "grid_1"],
}


def config(*agents: dict[str, Any], base: str = "ieee13", **in_network: Any) -> dict[str, Any]:
    return {
        "name": "phases",
        "network": {"base": base, "phases": "three", "load_series": "load_p_pu:com_1", **in_network},
        "agents": list(agents) or [ESS, PV, ONE, METER, OPERATOR],
        "simulation": {"episode_length": 12, "time_step": 3600},
    }


@pytest.mark.parametrize(("base", "bus"), [("ieee13", "671"), ("ieee34", "848"), ("ieee123", "48")])
def test_the_compiled_step_equals_the_reference(base: str, bus: str) -> None:
    given = config() if base == "ieee13" else config({**PV, "bus": bus}, METER, base=base)
    world = build(given, tol_pu=1e-11)
    pair = [Simulation(world, backend) for backend in ("numpy", "fused")]
    assert [simulation.backend for simulation in pair] == ["numpy", "fused"]
    layout, rng = world.layout, np.random.default_rng(0)
    key = random.fold_in(np, random.key_from_seed(np, np.array([3, 4])), np.zeros(2, np.int32))
    states = [simulation.reset(key, np.array([180, 21], np.int32))[0] for simulation in pair]
    moves = 0.0
    for _ in range(12):
        actions = rng.uniform(-1, 1, (2, len(layout.actors), layout.action_size))
        steps = [simulation.step(state, actions) for simulation, state in zip(pair, states, strict=True)]
        states, outputs = [state for state, _ in steps], [output for _, output in steps]
        for name in ("observation", "money", "costs", "p_mw", "measured_mw"):
            one, other = (getattr(output, name) for output in outputs)
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(outputs[0].flow.v_pu, outputs[1].flow.v_pu, atol=1e-9)
        assert outputs[0].flow.converged.all()
        for one, other in zip(states[0].devices[layout.taps], states[1].devices[layout.taps], strict=True):
            np.testing.assert_array_equal(one, other)
        moves += states[0].devices[layout.taps].moves.sum()
    assert moves > 0


def test_jax_plays_the_same_episode() -> None:
    jax = pytest.importorskip("jax")
    from powergrid.core.backend import jax_float64

    world = build(config(), tol_pu=1e-11)
    simulation, layout = Simulation(world), world.layout
    seed, day = random.key_from_seed(np, np.array(3)), np.array(180, dtype=np.int32)
    actions = np.random.default_rng(0).uniform(-1, 1, (12, len(layout.actors), layout.action_size))
    with jax_float64():
        env = powergrid.make_functional(config(), dtype="float64", tol_pu=1e-11, auto_reset=False)
        rows = {name: np.array([env.agents.index(agent) for agent in agents]) for name, agents in env.groups.items()}

        def tick(state, action):
            _, state, _, _, info = env.step(None, state, {name: action[at] for name, at in rows.items()})
            return state, info["output"]

        play = jax.jit(lambda key, given: jax.lax.scan(tick, env.reset(key, jax.numpy.asarray(180))[1], given)[1])
        outputs = play(seed, actions)
    state, *_ = simulation.reset(random.fold_in(np, seed, np.array(0)), day)
    for t in range(12):
        state, output = simulation.step(state, actions[t])
        for name in ("observation", "money", "costs", "measured_mw"):
            found = np.asarray(getattr(outputs, name))[t]
            np.testing.assert_allclose(found, getattr(output, name), rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("base", ["ieee13", "ieee34", "ieee123"])
def test_reset_brings_regulators_where_they_settle_under_the_same_load(base: str) -> None:
    world = build(config({**PV, "bus": {"ieee13": "671", "ieee34": "848", "ieee123": "48"}[base]}, METER, base=base))
    key = random.key_from_seed(np, np.array(0))
    state, *_ = Simulation(world).reset(key, np.array(30, np.int32))
    level = float(world.table[int(state.row)][world.layout.grid.load_series[0]])
    expected = scaled(with_taps(world.network, 0.0), load=level).settled()
    taps = state.devices[world.layout.taps].tap
    tap_of = world.layout.regulators.tap_of
    np.testing.assert_array_equal(taps if tap_of is None else taps[tap_of], expected.regulators.tap)


def test_rules_choose_the_relay() -> None:
    def taps(*rules: dict[str, Any]) -> np.ndarray:
        world = build(config(PV, METER, regulators=list(rules)))
        state, *_ = Simulation(world).reset(random.key_from_seed(np, np.array(0)), np.array(30, np.int32))
        return state.devices[world.layout.taps].tap

    published, plain = taps(), taps({"relay": "plain", "v_set_pu": 1.0})
    assert published.shape == plain.shape == (3,)
    assert (published > plain).all()  # 122 V down the line against 120 V at the regulator
    assert taps({"gang": True}).shape == (1,)
    same = taps({"relay": "plain", "v_set_pu": 122 / 120, "r_v": 3.0, "x_v": 9.0, "ct_a": 700.0, "pt_ratio": 20.0})
    np.testing.assert_array_equal(same, published)


def test_a_learned_bank_is_one_agent() -> None:
    bank = {
        "id": "tap_1",
        "type": "Regulator",
        "bus": "650-RG60",
        "policy": "learned",
        "params": {"local_control": False},
    }
    with pytest.raises(ConfigError, match=r"agents\[0\].params: .*stand at different taps \(10, 8, 11\)"):
        powergrid.make(config(bank, PV, METER))
    env = powergrid.make(config({**bank, "params": {"local_control": False, "tap_init": 0}}, PV, METER))
    assert env.possible_agents[0] == "tap_1"
    assert env.action_space("tap_1").shape == (1,)
    env.reset(seed=0)
    env.step({"tap_1": np.ones(1), "pv_1": np.zeros(env.action_space("pv_1").shape)})
    np.testing.assert_array_equal(env._state.devices[env.world.layout.taps].tap, [4.0])
    assert (env.output.flow.v_pu[[env.world.network.bus(f"RG60.{phase}") for phase in "abc"]] > 1.02).all()


def test_phases_may_be_chosen_from_a_program() -> None:
    one = powergrid.make({"network": "ieee13", "agents": [PV, METER]}, phases="three")
    assert one.world.network.is_three_phase
    short = {"network": "ieee13", "phases": "three", "agents": [PV, METER]}
    assert powergrid.make(short).world.network.is_three_phase
    assert not hasattr(powergrid.make(short, phases="balanced").world.network, "pairs")
    assert powergrid.load_config(short).config.network.phases == "three"
    with pytest.raises(ConfigError, match="leave one of them out"):
        powergrid.make({**short, "network": {"base": "ieee13", "phases": "three"}})
    with pytest.raises(ConfigError, match=r"network\.phases"):
        powergrid.make({**short, "phases": "two"})


def test_a_device_feeds_its_own_phases_in_equal_shares() -> None:
    world = build(config({**ESS, "policy": "learned"}, METER))
    layout = world.layout
    share = layout.grid.inject(np, np.array([0.3]))
    for phase in "abc":
        node = world.network.bus(f"675.{phase}")
        assert share[node] == pytest.approx(0.15 if phase in "ac" else 0.0)
    assert share.sum() == pytest.approx(0.3)
    one = build(config({**ONE, "policy": "learned"}, METER))
    assert one.layout.grid.inject(np, np.array([0.1]))[one.network.bus("611.c")] == pytest.approx(0.1)


def test_unbalance_beyond_its_limit_is_a_named_cost() -> None:
    big = {**ESS, "phases": "b", "params": {"capacity_mwh": 4.0, "max_p_mw": 1.2}, "policy": "learned"}
    owner = {**OPERATOR, "sub_agents": ["ess_1", "grid_1"]}
    env = powergrid.make(config(big, METER, owner), unbalance_per_percent_h=200.0)
    env.reset(seed=1, options={"day": 200})
    _, _, _, _, infos = env.step({"operator_1": -np.ones(env.action_space("operator_1").shape)})
    flow, (_, nodes) = env.output.flow, three_phase_buses(env.world.network.buses)
    v, h = flow.v_re + 1j * flow.v_im, np.exp(2j * np.pi / 3)
    a, b, c = (v[nodes[:, k]] for k in range(3))
    percent = 100 * np.abs(a + h**2 * b + h * c) / np.abs(a + h * b + h**2 * c)
    assert percent.max() > 2.0
    costs = env.named(infos["operator_1"])["costs"]
    assert costs["unbalance"] == pytest.approx(200.0 * np.maximum(percent - 2.0, 0).sum(), rel=1e-6)


def test_a_flow_that_diverges_is_data() -> None:
    env = powergrid.make(config(PV, METER, load_scale=12.0))
    env.reset(seed=0)
    _, _, _, _, infos = env.step(env.policy_actions("idle"))
    assert not infos["pv_1"]["converged"]
    assert env.output.costs.sum() > 0.0
    with pytest.raises(NetworkError, match="newton solves balanced networks only"):
        env.world.network.power_flow(method="newton")


def test_a_meter_at_an_element_reads_all_its_phases() -> None:
    """And the exported episode knows which devices and loads lie behind it."""
    line = {"id": "meter_1", "type": "Grid", "bus": "632-671"}
    owner = {**OPERATOR, "sub_agents": ["ess_1", "pv_1", "pv_2", "meter_1"]}
    env = powergrid.make(config(ESS, PV, ONE, line, owner))
    env.reset(seed=0, options={"day": 10})
    env.step(env.policy_actions("idle"))
    flow, network = env.output.flow, env.world.network
    v, s = flow.v_re + 1j * flow.v_im, 0.0
    blocks, at = network.blocks, 0
    for size in blocks.size:  # the line's own matrix, found by its rows
        rows = blocks.row[at : at + size]
        if network.branches.name[rows[0]] == "632-671.a":
            first = int((blocks.size[: np.searchsorted(np.cumsum(blocks.size), at, side="right")] ** 2).sum())
            y = blocks.y_pu[first : first + size**2].reshape(size, size)
            nodes = blocks.node[at : at + size]
            s = (v[nodes[:3]] * np.conj(y @ v[nodes])[:3]).sum()
        at += size
    assert env.output.measured_mw[env.world.layout.meters.names.index("632-671")] == pytest.approx(s.real, abs=1e-7)
    data = env.export_episode(10)
    meter = next(meter for meter in data.prices.meters if meter.name == "632-671")
    assert set(meter.units) == {"ess_1", "pv_1", "pv_2"}
    behind = {"671", "684", "611", "652", "680", "692", "675"}
    level = env.world.table[10 * env.world.ticks_per_day][env.world.layout.grid.load_series[0]]
    places = network.places[network.loads.bus]
    least = network.loads.p_mw * (1 - network.loads.i_share_p * 0.05 - network.loads.z_share_p * (1 - 0.95**2))
    own = sum(p for p, node in zip(least, places, strict=True) if network.buses.bus[node] in behind)
    assert meter.load_mw[0] == pytest.approx(level * own, rel=1e-9)


def test_balanced_feeders_may_take_the_published_relays() -> None:
    def tap(**rule: object) -> float:
        given = config(PV, METER, regulators=[rule] if rule else [])
        given["network"].pop("phases")
        world = build(given)
        state, *_ = Simulation(world).reset(random.key_from_seed(np, np.array(0)), np.array(30, np.int32))
        level = float(world.table[int(state.row)][world.layout.grid.load_series[0]])
        if rule:
            expected = scaled(with_taps(world.network, 0.0), load=level).settled().regulators.tap
            np.testing.assert_array_equal(state.devices[world.layout.taps].tap, expected)
        return float(state.devices[world.layout.taps].tap[0])

    assert tap(relay="published") > tap() + 2


def test_missing_phases_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r'phases "a": bus "611" has no phase a\n.*it has c'):
        powergrid.make(config({**ONE, "phases": "a"}, METER))
    grid = network("ieee13", phases="three")
    agent = SimpleNamespace(id="pv_9", bus="645", phases="ab")
    with pytest.raises(NetworkError, match='agent "pv_9": bus "645" has no phase a; it has b and c'):
        device_nodes(grid, agent)
    with pytest.raises(ConfigError, match="has phase c only"):
        powergrid.make(config(modifications=[{"add_bus": {"name": "x", "vn_kv": 0.48, "at_bus": "611"}}]))
    with pytest.raises(NetworkError, match='only "ieee13" has three phases'):
        powergrid.networks.compose(
            grid, replace(network("ieee13")), "671", name="mg",
            transformer={"sn_mva": 1.0, "vk_percent": 5.0, "vkr_percent": 0.5},
        )  # fmt: skip


def test_the_other_phases_of_a_bank_have_relays_of_their_own_where_an_agent_moves_one() -> None:
    agents = [{"id": "tap_1", "type": "Regulator", "bus": "150-RG1.a", "params": {"tap_min": -8}}]
    env = powergrid.make({"name": "apart", "network": {"base": "ieee123", "phases": "three"}, "agents": agents})
    taps = env.world.layout.families[env.world.layout.taps]
    assert {"tap_1", "regulator_150-RG1.b", "regulator_150-RG1.c"} <= set(taps.ids)
    env.reset(seed=0)
